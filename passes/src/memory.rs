//! Memory planning: every workspace buffer gets an offset, and dead buffers' bytes are used again.
//!
//! Buffers of constant size are placed largest first at the lowest offset free over their whole life (the greedy
//! order of Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net Inference", 2020). Buffers of
//! symbolic size share *slots*: two may share one when their lives do not meet and one provably holds the other;
//! slots lie one after the other behind the constant part.
//!
//! A result computed element for element from an operand that dies with the step takes the operand's place.
//!
//! Invariant, checked by [`crate::memory_check`]: buffers whose lives meet share no byte. Offsets are multiples of
//! [`ALIGNMENT`].

use nnc_ir::Dim;
use nnc_kernels::kernel::{Access, BufferRef, Kernel};
use nnc_kernels::plan::{Argument, Place, Program, Step};
use std::ops::RangeInclusive;

/// Alignment of every workspace buffer, in bytes.
pub const ALIGNMENT: i64 = 64;

/// Steps during which each buffer is in use, by position in [`Program::steps`]; steps inside `If` and `While` count
/// as the step they are in.
pub fn live_ranges(program: &Program) -> Vec<Option<RangeInclusive<usize>>> {
    let mut ranges: Vec<Option<RangeInclusive<usize>>> = vec![None; program.buffers.len()];
    for (position, step) in program.steps.iter().enumerate() {
        visit(step, &mut |argument| {
            let range = &mut ranges[argument.buffer.0 as usize];
            *range = Some(range.as_ref().map_or(position, |r| *r.start())..=position);
        });
    }
    ranges
}

/// Calls `f` on every buffer argument of a step.
pub(crate) fn visit(step: &Step, f: &mut dyn FnMut(&Argument)) {
    match step {
        Step::Run { arguments, .. } => arguments.iter().for_each(f),
        Step::Bind { source, .. } => f(source),
        // What is allocated has no place in the workspace.
        Step::Check(_) | Step::Allocate { .. } | Step::Release { .. } => {}
        Step::If { condition, then, otherwise } => {
            f(condition);
            then.iter().chain(otherwise).for_each(|s| visit(s, f));
        }
        Step::While { condition, body } => {
            f(condition);
            body.iter().for_each(|s| visit(s, f));
        }
    }
}

/// Whether two lives have a step in common.
pub(crate) fn meet(a: &RangeInclusive<usize>, b: &RangeInclusive<usize>) -> bool {
    a.start() <= b.end() && b.start() <= a.end()
}

fn align(bytes: &Dim) -> Dim {
    let alignment = Dim::from(ALIGNMENT);
    bytes.ceil_div(&alignment) * alignment
}

/// The allocations of a program, as the first of their buffers and the steps during which they are in use.
pub(crate) fn allocations(
    program: &Program,
    ranges: &[Option<RangeInclusive<usize>>],
) -> impl Iterator<Item = (usize, RangeInclusive<usize>)> + use<> {
    let (owner, lives) = unite_in_place(program, ranges);
    let first = owner.into_iter().enumerate().map(|(buffer, owner)| buffer == owner);
    lives
        .into_iter()
        .zip(first)
        .enumerate()
        .filter_map(|(buffer, (life, first))| Some((buffer, life.filter(|_| first)?)))
}

/// Groups of buffers that are one allocation: a kernel's result takes the place of an operand that dies with it, where
/// [`crate::in_place`] allows it. Yields for each buffer the group's first member and, for that one, the group's life.
fn unite_in_place(
    program: &Program,
    ranges: &[Option<RangeInclusive<usize>>],
) -> (Vec<usize>, Vec<Option<RangeInclusive<usize>>>) {
    let mut owner: Vec<usize> = (0..ranges.len()).collect();
    let mut lives = ranges.to_vec();
    for (position, step) in program.steps.iter().enumerate() {
        let Step::Run { kernel, arguments, .. } = step else { continue };
        let kernel = &program.kernels[kernel.0 as usize];
        for (read, write) in in_place_pairs(program, kernel, arguments) {
            let (x, y) = (arguments[read].buffer.0 as usize, arguments[write].buffer.0 as usize);
            let root = owner[x];
            let dies = lives[root].as_ref().is_some_and(|r| *r.end() == position);
            let born = ranges[y].as_ref().is_some_and(|r| *r.start() == position) && owner[y] == y;
            if dies && born {
                owner[y] = root;
                if let (Some(life), Some(added)) = (lives[root].clone(), ranges[y].clone()) {
                    lives[root] = Some(*life.start()..=*added.end());
                }
                break;
            }
        }
    }
    (owner, lives)
}

/// Argument positions (read, written) that a step could serve from one workspace buffer.
fn in_place_pairs(program: &Program, kernel: &Kernel, arguments: &[Argument]) -> Vec<(usize, usize)> {
    let workspace = |a: &Argument| matches!(program.buffers[a.buffer.0 as usize].place, Place::Workspace { .. });
    let references: Vec<BufferRef> = (0..kernel.buffers.len() as u32)
        .map(BufferRef)
        .filter(|b| !matches!(kernel.buffers[b.0 as usize].access, Access::Scratch { .. }))
        .collect();
    let mut pairs = vec![];
    for (w, written) in arguments.iter().enumerate() {
        if kernel.buffers[references[w].0 as usize].access != Access::Write || !workspace(written) {
            continue;
        }
        for (r, read) in arguments.iter().enumerate() {
            let size = |a: &Argument| &program.buffers[a.buffer.0 as usize].bytes;
            let once = |b| arguments.iter().filter(|a| a.buffer == b).count() == 1;
            if kernel.buffers[references[r].0 as usize].access == Access::Read
                && workspace(read)
                && once(read.buffer)
                && once(written.buffer)
                && read.offset == written.offset
                && size(read) == size(written)
                && crate::in_place::may_share(kernel, references[r], references[w])
            {
                pairs.push((r, w));
            }
        }
    }
    pairs
}

struct Slot {
    bytes: Dim,
    lives: Vec<RangeInclusive<usize>>,
    members: Vec<usize>,
}

/// Assigns every workspace buffer its offset, and the program its workspace size.
pub fn plan(program: &mut Program) {
    let ranges = live_ranges(program);
    let (owner, lives) = unite_in_place(program, &ranges);
    let mut fixed: Vec<(usize, i64, RangeInclusive<usize>)> = vec![];
    let mut slots: Vec<Slot> = vec![];
    for (i, buffer) in program.buffers.iter().enumerate() {
        if !matches!(buffer.place, Place::Workspace { .. }) {
            continue;
        }
        let Some(range) = lives[i].clone().filter(|_| owner[i] == i) else { continue };
        match buffer.bytes.as_const() {
            Some(bytes) => fixed.push((i, (bytes.max(1) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT, range)),
            None => add_to_slot(&mut slots, program, i, range),
        }
    }
    fixed.sort_by(|a, b| b.1.cmp(&a.1).then(a.2.start().cmp(b.2.start())).then(a.0.cmp(&b.0)));
    let mut placed: Vec<(i64, i64, RangeInclusive<usize>)> = vec![];
    let mut end = 0;
    for (i, bytes, range) in fixed {
        let mut busy: Vec<(i64, i64)> =
            placed.iter().filter(|p| meet(&p.2, &range)).map(|p| (p.0, p.0 + p.1)).collect();
        busy.sort_unstable();
        let mut offset = 0;
        for (from, to) in busy {
            if from - offset >= bytes {
                break;
            }
            offset = offset.max(to);
        }
        end = end.max(offset + bytes);
        placed.push((offset, bytes, range));
        program.buffers[i].place = Place::Workspace { offset: Dim::from(offset) };
    }
    let mut offset = Dim::from(end);
    for slot in slots {
        for member in slot.members {
            program.buffers[member].place = Place::Workspace { offset: offset.clone() };
        }
        offset = offset + align(&slot.bytes);
    }
    program.workspace_bytes = offset;
    for (i, &root) in owner.iter().enumerate() {
        if root != i {
            program.buffers[i].place = program.buffers[root].place.clone();
        }
    }
}

/// Puts a buffer of symbolic size into the first slot that is free over its life and comparable in size.
fn add_to_slot(slots: &mut Vec<Slot>, program: &Program, buffer: usize, range: RangeInclusive<usize>) {
    let bytes = program.buffers[buffer].bytes.clone();
    for slot in slots.iter_mut() {
        if slot.lives.iter().any(|l| meet(l, &range)) {
            continue;
        }
        let holds = slot.bytes == bytes || slot.bytes.provably_ge(&bytes, &program.dims);
        if !holds && !bytes.provably_ge(&slot.bytes, &program.dims) {
            continue;
        }
        if !holds {
            slot.bytes = bytes;
        }
        slot.lives.push(range);
        slot.members.push(buffer);
        return;
    }
    slots.push(Slot { bytes, lives: vec![range], members: vec![buffer] });
}

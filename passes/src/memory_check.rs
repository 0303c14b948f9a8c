//! The memory plan's independent checker: it knows the steps and the offsets, nothing of the planner's reasons.
//!
//! Rules:
//! 1. every offset is a multiple of 64 and not negative, every buffer ends inside the workspace;
//! 2. two workspace buffers share no byte unless the last step that uses one comes before the first step that uses
//!    the other; or the one is written, element for element, over the other in the step that last reads it.
//!
//! Symbolic plans are checked at several assignments of the symbols, small, large and mixed, within their bounds.

use nnc_ir::{Dim, Symbol, SymbolOrigin};
use nnc_kernels::plan::{Place, Program, Step};

/// A violated rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("memory plan: {0}")]
pub struct MemoryError(String);

struct Life {
    buffer: usize,
    name: String,
    first: usize,
    last: usize,
    offset: Dim,
    bytes: Dim,
}

/// Checks the plan of a program.
///
/// # Errors
/// The first violation found.
pub fn check(program: &Program) -> Result<(), MemoryError> {
    let mut lives: Vec<Option<Life>> = program.buffers.iter().map(|_| None).collect();
    for (position, step) in program.steps.iter().enumerate() {
        crate::memory::visit(step, &mut |argument| {
            let index = argument.buffer.0 as usize;
            let buffer = &program.buffers[index];
            let Place::Workspace { offset } = &buffer.place else { return };
            lives[index]
                .get_or_insert_with(|| Life {
                    buffer: index,
                    name: buffer.name.clone(),
                    first: position,
                    last: position,
                    offset: offset.clone(),
                    bytes: buffer.bytes.clone(),
                })
                .last = position;
        });
    }
    let lives: Vec<Life> = lives.into_iter().flatten().collect();
    for sample in 0..SAMPLES.len() {
        check_at(program, &lives, &|symbol| Some(value_of(program, symbol, sample)))?;
    }
    Ok(())
}

const SAMPLES: [i64; 5] = [0, 1, 7, 130, 1021];

/// The value that a sample gives a symbol: different per symbol, within its bounds.
fn value_of(program: &Program, symbol: Symbol, sample: usize) -> i64 {
    let info = program.dims.get(symbol);
    let base = match sample {
        0 => 0,
        s => SAMPLES[s] + i64::from(symbol.0) * (s as i64 * 13 % 5),
    };
    debug_assert!(info.origin == SymbolOrigin::Input || info.min <= info.max);
    base.clamp(info.min, info.max)
}

fn check_at(program: &Program, lives: &[Life], value_of: &impl Fn(Symbol) -> Option<i64>) -> Result<(), MemoryError> {
    let eval = |dim: &Dim| dim.eval(value_of).ok_or_else(|| MemoryError(format!("{dim} has no value")));
    let total = eval(&program.workspace_bytes)?;
    let mut spans = Vec::with_capacity(lives.len());
    for life in lives {
        let (start, bytes) = (eval(&life.offset)?, eval(&life.bytes)?);
        if start < 0 || start % 64 != 0 {
            return Err(MemoryError(format!("buffer {} lies at {start}", life.name)));
        }
        if start + bytes > total {
            return Err(MemoryError(format!("buffer {} ends past the workspace", life.name)));
        }
        spans.push((start, start + bytes));
    }
    // Sweep by address: only neighbours in memory can share bytes.
    let mut order: Vec<usize> = (0..lives.len()).filter(|&i| spans[i].0 < spans[i].1).collect();
    order.sort_unstable_by_key(|&i| spans[i]);
    for (k, &a) in order.iter().enumerate() {
        for &b in order[k + 1..].iter().take_while(|&&b| spans[b].0 < spans[a].1) {
            let meet = lives[a].first <= lives[b].last && lives[b].first <= lives[a].last;
            if meet && !replaces(program, &lives[a], &lives[b]) && !replaces(program, &lives[b], &lives[a]) {
                return Err(MemoryError(format!("buffers {} and {} share bytes", lives[a].name, lives[b].name)));
            }
        }
    }
    Ok(())
}

/// Whether `new` is written over `old` by the step that is the last to read it.
fn replaces(program: &Program, old: &Life, new: &Life) -> bool {
    if old.last != new.first || old.offset != new.offset || old.bytes != new.bytes {
        return false;
    }
    let Step::Run { kernel, arguments, .. } = &program.steps[old.last] else { return false };
    let kernel = &program.kernels[kernel.0 as usize];
    crate::memory::in_place_pairs(program, kernel, arguments).into_iter().any(|(read, write)| {
        arguments[read].buffer.0 as usize == old.buffer && arguments[write].buffer.0 as usize == new.buffer
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use nnc_ir::{DType, DimTable, SymbolInfo};
    use nnc_kernels::kernel::{Access, Kernel};
    use nnc_kernels::plan::{Argument, Buffer, BufferId, KernelId, Step};

    /// A program of buffers of the given sizes, and steps each using the named ones.
    fn program(sizes: &[Dim], steps: &[&[u32]], dims: DimTable) -> Program {
        let buffer = |(i, bytes): (usize, &Dim)| Buffer {
            name: format!("b{i}"),
            dtype: DType::U8,
            bytes: bytes.clone(),
            place: Place::Workspace { offset: Dim::from(0) },
        };
        let step = |used: &&[u32]| Step::Run {
            kernel: KernelId(0),
            arguments: used.iter().map(|&b| Argument { buffer: BufferId(b), offset: Dim::from(0) }).collect(),
            params: vec![],
            extent: Dim::from(1),
            work: Dim::from(1),
            origin: String::new(),
        };
        let mut kernel = Kernel::new("k");
        kernel.add_buffer("x", DType::U8, Access::Read);
        kernel.add_buffer("y", DType::U8, Access::Write);
        Program {
            name: "p".into(),
            dims,
            inputs: vec![],
            outputs: vec![],
            weights: vec![],
            buffers: sizes.iter().enumerate().map(buffer).collect(),
            kernels: vec![kernel],
            steps: steps.iter().map(step).collect(),
            workspace_bytes: Dim::from(0),
        }
    }

    #[test]
    fn a_chain_uses_two_buffers_worth_of_bytes() {
        let sizes = vec![Dim::from(100); 5];
        let mut p = program(&sizes, &[&[0, 1], &[1, 2], &[2, 3], &[3, 4]], DimTable::default());
        crate::memory::plan(&mut p);
        assert_eq!(check(&p), Ok(()));
        assert_eq!(p.workspace_bytes, Dim::from(256));
    }

    #[test]
    fn symbolic_buffers_share_slots_and_stay_apart() {
        let mut dims = DimTable::default();
        let n = Dim::sym(dims.new_symbol(SymbolInfo::input("n")));
        let sizes = vec![&n * 4, &n * 8, &n * 4, Dim::from(64)];
        let mut p = program(&sizes, &[&[0, 1], &[1, 2], &[2, 3]], dims);
        crate::memory::plan(&mut p);
        assert_eq!(check(&p), Ok(()));
        assert!(p.workspace_bytes.symbols().len() == 1);
    }

    #[test]
    fn overlapping_live_buffers_are_found() {
        let sizes = vec![Dim::from(100); 2];
        let mut p = program(&sizes, &[&[0, 1]], DimTable::default());
        p.workspace_bytes = Dim::from(256);
        p.buffers[1].place = Place::Workspace { offset: Dim::from(64) };
        assert!(check(&p).is_err_and(|e| e.to_string().contains("share bytes")));
        p.buffers[1].place = Place::Workspace { offset: Dim::from(192) };
        assert!(check(&p).is_err_and(|e| e.to_string().contains("ends past")));
    }
}

//! Which steps of a list become one launch: the walk that both ways to make launches share.
//!
//! A group grows while the next step fits. A small step that does not fit, and that no member of the group has to do
//! with, may wait: when a later step fits, it goes before the group, otherwise after.

use super::job;
use super::launch::Made;
use super::part::{Part, independent, scratch_bytes};
use crate::choose::{self, known};
use crate::lower::Lowered;
use crate::memory::{allocations, live_ranges};
use nnc_desc::Target;
use nnc_ir::{Dim, DimTable};
use nnc_kernels::kernel::Kernel;
use nnc_kernels::plan::{Buffer, KernelId, Place, Program, Step};
use std::collections::VecDeque;
use std::ops::RangeInclusive;

/// Most parts of a launch: what is gained by more is little, and their code is in one function.
const MOST_PARTS: usize = 16;
/// Most bytes of scratch memory in a kernel.
const MOST_SCRATCH: usize = 64 << 10;

/// A way to make one launch of several steps.
pub(super) trait Grouping {
    /// Whether a step may be, and is better, in one launch with a group of steps before it.
    fn fits(&self, kernels: &[Kernel], group: &[&Part], part: &Part) -> bool;

    /// The kernel of a group, and how it is run. `None` where it cannot be made.
    fn launch(&self, name: &str, kernels: &[Kernel], group: &[&Part]) -> Option<Made>;
}

/// Makes launches of neighbouring steps.
pub(super) fn regroup(lowered: &mut Lowered, target: &Target, grouping: &dyn Grouping) {
    let room = Room::of(&lowered.program);
    let kernels = std::mem::take(&mut lowered.program.kernels);
    let mut groups = Groups { dims: lowered.program.dims.clone(), kernels, target, grouping };
    let (steps, became) = groups.list(std::mem::take(&mut lowered.program.steps), Some(&room));
    lowered.program.steps = steps;
    lowered.program.kernels = groups.kernels;
    for region in &mut lowered.regions {
        let places = became.get(region.steps.clone()).unwrap_or_default();
        region.steps = match (places.iter().min(), places.iter().max()) {
            (Some(&first), Some(&last)) => first..last + 1,
            _ => 0..0,
        };
    }
}

/// Steps that may wait for what comes behind them to join a group. Each of them is looked at again for every group, so that a
/// graph of many steps that do not depend on each other would take the square of its size.
const MOST_WAITING: usize = 64;

/// What launches may take beyond the memory that the steps took, in hundredths of that or of the weights, whichever is
/// more: what the parts of a launch pass to each other lives at once.
const MORE_ROOM_PERCENT: u64 = 30;
const MORE_WEIGHTS_PERCENT: u64 = 4;

/// The memory of a program.
struct Room {
    /// Bytes of the buffers that are first needed before each step, and one more for all.
    begun: Vec<u128>,
    /// Bytes of the buffers that are last needed before each step.
    ended: Vec<u128>,
    /// Bytes that launches may take.
    most: u64,
}

impl Room {
    fn of(program: &Program) -> Room {
        let bytes = |buffer: &Buffer| match buffer.place {
            Place::Workspace { .. } => choose::assumed(&buffer.bytes, &program.dims, choose::MANY),
            Place::Input(_) | Place::Output(_) | Place::State(_) | Place::Weight(_) | Place::Allocated(_) => 0,
        };
        let ranges = live_ranges(program);
        // A step's result may take the place of an operand, which that of a launch does not.
        let mut taken = vec![0u64; program.steps.len()];
        for (buffer, life) in allocations(program, &ranges) {
            let bytes = bytes(&program.buffers[buffer]);
            taken[life].iter_mut().for_each(|sum| *sum = sum.saturating_add(bytes));
        }
        let (mut begun, mut ended) = (vec![0u128; program.steps.len() + 1], vec![0u128; program.steps.len() + 1]);
        for (range, buffer) in ranges.into_iter().zip(&program.buffers) {
            let Some(range) = range else { continue };
            begun[range.start() + 1] += u128::from(bytes(buffer));
            ended[range.end() + 1] += u128::from(bytes(buffer));
        }
        for position in 1..=program.steps.len() {
            begun[position] += begun[position - 1];
            ended[position] += ended[position - 1];
        }
        let taken = taken.into_iter().max().unwrap_or(0);
        let weights: u64 = program.weights.iter().map(|w| (w.packed_len() * w.source.dtype.size()) as u64).sum();
        let percent = |bytes: u64, n: u64| bytes.saturating_mul(n) / 100;
        let most = taken + percent(taken, MORE_ROOM_PERCENT).max(percent(weights, MORE_WEIGHTS_PERCENT));
        Room { begun, ended, most }
    }

    /// Bytes of all buffers that some of these steps need.
    fn during(&self, steps: &RangeInclusive<usize>) -> u128 {
        self.begun[steps.end() + 1] - self.ended[*steps.start()]
    }
}

struct Groups<'a> {
    dims: DimTable,
    kernels: Vec<Kernel>,
    target: &'a Target,
    grouping: &'a dyn Grouping,
}

/// Parts with their numbers in the list.
type Numbered = Vec<(usize, Part)>;

/// A group that may still grow.
#[derive(Default)]
struct Group {
    members: Numbered,
    /// Go before the members.
    before: Numbered,
    /// Wait for what comes.
    waiting: Numbered,
}

/// Steps as they are now, and where each of those before is.
struct Done {
    steps: Vec<Step>,
    became: Vec<usize>,
}

impl Done {
    fn add(&mut self, numbers: impl IntoIterator<Item = usize>, step: Step) {
        numbers.into_iter().for_each(|number| self.became[number] = self.steps.len());
        self.steps.push(step);
    }
}

impl Groups<'_> {
    /// Groups steps of a list, within its room if that is known; yields for each step where it is now.
    fn list(&mut self, steps: Vec<Step>, room: Option<&Room>) -> (Vec<Step>, Vec<usize>) {
        let mut done = Done { became: vec![0; steps.len()], steps: vec![] };
        let mut queue: VecDeque<(usize, Step)> = steps.into_iter().enumerate().collect();
        let mut group = Group::default();
        loop {
            let Some((number, step)) = queue.pop_front() else {
                if group.members.is_empty() {
                    return (done.steps, done.became);
                }
                self.close(std::mem::take(&mut group), &mut done, &mut queue);
                continue;
            };
            match Part::of(&step, &self.dims) {
                Some(part) if group.members.is_empty() || self.fits(&group, (number, &part), room) => {
                    group.before.append(&mut group.waiting);
                    group.members.push((number, part));
                }
                Some(part) if group.waiting.len() < MOST_WAITING && self.may_wait(&group, &part) => {
                    group.waiting.push((number, part))
                }
                None if group.members.is_empty() => {
                    let step = self.inside(step);
                    done.add([number], step);
                }
                _ => {
                    queue.push_front((number, step));
                    self.close(std::mem::take(&mut group), &mut done, &mut queue);
                }
            }
        }
    }

    /// Groups the steps inside of a branch or loop.
    fn inside(&mut self, step: Step) -> Step {
        match step {
            Step::If { condition, then, otherwise } => {
                Step::If { condition, then: self.list(then, None).0, otherwise: self.list(otherwise, None).0 }
            }
            Step::While { condition, body } => Step::While { condition, body: self.list(body, None).0 },
            Step::Run { .. } | Step::Bind { .. } | Step::Check(_) | Step::Allocate { .. } | Step::Release { .. } => {
                step
            }
        }
    }

    fn kernel(&self, part: &Part) -> &Kernel {
        &self.kernels[part.kernel.0 as usize]
    }

    fn fits(&self, group: &Group, (number, part): (usize, &Part), room: Option<&Room>) -> bool {
        let first = group.members.iter().chain(&group.waiting).map(|(number, _)| *number).min().unwrap_or(number);
        if room.is_some_and(|room| room.during(&(first..=number)) > u128::from(room.most)) {
            return false;
        }
        let parts: Vec<&Part> = group.members.iter().map(|(_, part)| part).collect();
        let scratch = parts.iter().chain([&part]).map(|p| scratch_bytes(self.kernel(p))).sum::<usize>();
        parts.len() < MOST_PARTS && scratch <= MOST_SCRATCH && self.grouping.fits(&self.kernels, &parts, part)
    }

    /// Whether a part may go before the group as well as after it.
    fn may_wait(&self, group: &Group, part: &Part) -> bool {
        let passes = |(_, other): &(usize, Part)| independent((other, self.kernel(other)), (part, self.kernel(part)));
        part.is_small(self.target) && group.members.iter().all(passes)
    }

    /// Adds what a group became; what waited is looked at again.
    fn close(&mut self, group: Group, done: &mut Done, queue: &mut VecDeque<(usize, Step)>) {
        let alone = |done: &mut Done, parts: Numbered| {
            parts.into_iter().for_each(|(number, part)| done.add([number], part.into_step()));
        };
        alone(done, group.before);
        match self.launch(&group.members) {
            Some(step) => done.add(group.members.iter().map(|(number, _)| *number), step),
            None => alone(done, group.members),
        }
        for (number, part) in group.waiting.into_iter().rev() {
            queue.push_front((number, part.into_step()));
        }
    }

    /// The launch of a group of several.
    fn launch(&mut self, members: &Numbered) -> Option<Step> {
        let parts: Vec<&Part> = members.iter().map(|(_, part)| part).collect();
        // The largest part says what the launch is for.
        let main = parts.iter().max_by_key(|part| part.nanoseconds).filter(|_| parts.len() > 1)?;
        let id = KernelId(self.kernels.len() as u32);
        let name = format!("{}_{}", job(self.kernel(main)), id.0);
        let Made { kernel, arguments, params, extent } = self.grouping.launch(&name, &self.kernels, &parts)?;
        let work = known(parts.iter().fold(Dim::ZERO, |sum, part| sum + &part.work));
        let apart = parts.iter().all(|part| part.apart);
        let origin = main.origin.clone();
        self.kernels.push(kernel);
        Some(Step::Run { kernel: id, arguments, params, extent, work, apart, origin })
    }
}

//! Launches of several parts: neighbouring steps, and which of them are to become one.

use super::{job, known};
use crate::choose;
use crate::lower::Lowered;
use nnc_desc::Target;
use nnc_ir::{Dim, DimTable};
use nnc_kernels::kernel::{Access, Kernel};
use nnc_kernels::plan::{Argument, KernelId, Step};

/// Most parts of a launch: what is gained by more is little, and their code is in one function.
const MOST_PARTS: usize = 16;
/// Most bytes of scratch memory in a kernel.
const MOST_SCRATCH: usize = 64 << 10;

/// A step that runs a kernel, taken apart.
#[derive(Clone)]
pub(super) struct Part {
    pub kernel: KernelId,
    pub arguments: Vec<Argument>,
    pub params: Vec<Dim>,
    pub extent: Dim,
    pub work: Dim,
    pub apart: bool,
    pub origin: String,
    /// Nanoseconds and items at the sizes that the cost model assumes.
    pub nanoseconds: u64,
    pub items: u64,
}

impl Part {
    fn of(step: &Step, dims: &DimTable) -> Option<Part> {
        let Step::Run { kernel, arguments, params, extent, work, apart, origin } = step else { return None };
        let assumed = |dim: &Dim| choose::assumed(dim, dims);
        Some(Part {
            kernel: *kernel,
            arguments: arguments.clone(),
            params: params.clone(),
            extent: extent.clone(),
            work: work.clone(),
            apart: *apart,
            origin: origin.clone(),
            nanoseconds: assumed(work),
            items: assumed(extent).max(1),
        })
    }

    /// Whether it is not worth sharing out.
    pub(super) fn is_small(&self, target: &Target) -> bool {
        self.nanoseconds <= target.rates.fork / 1000
    }

    fn into_step(self) -> Step {
        let Part { kernel, arguments, params, extent, work, apart, origin, .. } = self;
        Step::Run { kernel, arguments, params, extent, work, apart, origin }
    }
}

/// Bytes of a kernel's scratch memory.
fn scratch_bytes(kernel: &Kernel) -> usize {
    let bytes = |b: &nnc_kernels::BufferDecl| match b.access {
        Access::Scratch { elements } => elements * b.dtype.size(),
        Access::Read | Access::Write => 0,
    };
    kernel.buffers.iter().map(bytes).sum()
}

/// Whether no part reads or writes what the other writes.
pub(super) fn independent((x, x_kernel): (&Part, &Kernel), (y, y_kernel): (&Part, &Kernel)) -> bool {
    let writes = |kernel: &Kernel| -> Vec<bool> {
        let arguments = kernel.buffers.iter().filter(|b| !matches!(b.access, Access::Scratch { .. }));
        arguments.map(|b| b.access == Access::Write).collect()
    };
    let (x_writes, y_writes) = (writes(x_kernel), writes(y_kernel));
    x.arguments.iter().zip(&x_writes).all(|(a, a_written)| {
        y.arguments.iter().zip(&y_writes).filter(|(b, _)| a.buffer == b.buffer).all(|(_, b_written)| {
            match (a_written, b_written) {
                (false, false) => true,
                (true, true) => x.apart || y.apart,
                _ => false,
            }
        })
    })
}

/// A way to make one launch of several steps.
pub(super) trait Grouping {
    /// Whether a step may be, and is better, in one launch with a group of steps before it.
    fn fits(&self, kernels: &[Kernel], group: &[Part], part: &Part) -> bool;

    /// The kernel of a group; arguments, parameters and extent of its step. `None` where it cannot be made.
    fn launch(&self, name: &str, kernels: &[Kernel], group: &[Part]) -> Option<(Kernel, Vec<Argument>, Vec<Dim>, Dim)>;
}

/// Makes launches of neighbouring steps.
pub(super) fn regroup(lowered: &mut Lowered, grouping: &dyn Grouping) {
    let kernels = std::mem::take(&mut lowered.program.kernels);
    let mut groups = Groups { dims: lowered.program.dims.clone(), kernels, grouping };
    let (steps, became) = groups.list(std::mem::take(&mut lowered.program.steps));
    lowered.program.steps = steps;
    lowered.program.kernels = groups.kernels;
    for region in &mut lowered.regions {
        let range = &mut region.steps;
        if let (Some(&first), Some(&last)) = (became.get(range.start), became.get(range.end.wrapping_sub(1)))
            && range.start < range.end
        {
            *range = first..last + 1;
        }
    }
}

struct Groups<'a> {
    dims: DimTable,
    kernels: Vec<Kernel>,
    grouping: &'a dyn Grouping,
}

impl Groups<'_> {
    /// Groups steps of a list; yields for each step where it is now.
    fn list(&mut self, steps: Vec<Step>) -> (Vec<Step>, Vec<usize>) {
        let (mut done, mut became) = (vec![], vec![]);
        let mut group: Vec<Part> = vec![];
        for step in steps {
            match Part::of(&step, &self.dims) {
                Some(part) => {
                    if !group.is_empty() && !self.fits(&group, &part) {
                        self.launch(std::mem::take(&mut group), &mut done);
                    }
                    group.push(part);
                    became.push(done.len());
                }
                None => {
                    self.launch(std::mem::take(&mut group), &mut done);
                    became.push(done.len());
                    done.push(self.inside(step));
                }
            }
        }
        self.launch(group, &mut done);
        (done, became)
    }

    /// Groups the steps inside of a branch or loop.
    fn inside(&mut self, step: Step) -> Step {
        match step {
            Step::If { condition, then, otherwise } => {
                Step::If { condition, then: self.list(then).0, otherwise: self.list(otherwise).0 }
            }
            Step::While { condition, body } => Step::While { condition, body: self.list(body).0 },
            Step::Run { .. } | Step::Bind { .. } | Step::Check(_) => step,
        }
    }

    fn fits(&self, group: &[Part], part: &Part) -> bool {
        let scratch =
            group.iter().chain([part]).map(|p| scratch_bytes(&self.kernels[p.kernel.0 as usize])).sum::<usize>();
        group.len() < MOST_PARTS && scratch <= MOST_SCRATCH && self.grouping.fits(&self.kernels, group, part)
    }

    /// Adds the launch of a group.
    fn launch(&mut self, group: Vec<Part>, done: &mut Vec<Step>) {
        // The largest part says what the launch is for.
        let Some(main) = group.iter().max_by_key(|part| part.nanoseconds) else { return };
        let id = KernelId(self.kernels.len() as u32);
        let name = format!("{}_{}", job(&self.kernels[main.kernel.0 as usize]), id.0);
        let launch = if group.len() > 1 { self.grouping.launch(&name, &self.kernels, &group) } else { None };
        let Some((kernel, arguments, params, extent)) = launch else {
            done.extend(group.into_iter().map(Part::into_step));
            return;
        };
        self.kernels.push(kernel);
        let work = known(group.iter().fold(Dim::ZERO, |sum, part| sum + &part.work));
        let apart = group.iter().all(|part| part.apart);
        let origin = main.origin.clone();
        done.push(Step::Run { kernel: id, arguments, params, extent, work, apart, origin });
    }
}

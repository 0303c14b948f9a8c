//! Steps that do not depend on each other become one launch: the items of each part follow those of the part before.
//!
//! Zeroing a border, copying the operands of a concatenation and the two directions of a recurrent layer are steps of
//! their own when they are emitted. A part that is not worth sharing out becomes one item; of larger parts each keeps its
//! own, so that threads find one list of items that take about as long.
//!
//! Invariants: parts of a launch write different elements, and none reads what another writes.

mod graft;

use super::{job, known};
use crate::choose;
use crate::lower::Lowered;
use nnc_desc::Target;
use nnc_ir::{DType, Dim, DimTable};
use nnc_kernels::kernel::{Access, Expr, Kernel, Stmt};
use nnc_kernels::plan::{Argument, KernelId, Step};

/// Most parts of a launch: what is gained by more is little, and their code is in one function.
const MOST_PARTS: usize = 16;
/// Most bytes of scratch memory in a kernel.
const MOST_SCRATCH: usize = 64 << 10;

/// A step that runs a kernel, taken apart.
#[derive(Clone)]
struct Part {
    kernel: KernelId,
    arguments: Vec<Argument>,
    params: Vec<Dim>,
    extent: Dim,
    work: Dim,
    apart: bool,
    origin: String,
    /// Nanoseconds and items at the sizes that the cost model assumes.
    nanoseconds: u64,
    items: u64,
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

    fn into_step(self) -> Step {
        let Part { kernel, arguments, params, extent, work, apart, origin, .. } = self;
        Step::Run { kernel, arguments, params, extent, work, apart, origin }
    }
}

/// Joins neighbouring steps where that saves a launch.
pub fn join(lowered: &mut Lowered, target: &Target) {
    let mut joiner =
        Joiner { dims: lowered.program.dims.clone(), kernels: std::mem::take(&mut lowered.program.kernels), target };
    let steps = std::mem::take(&mut lowered.program.steps);
    let (steps, became) = joiner.list(steps);
    lowered.program.steps = steps;
    lowered.program.kernels = joiner.kernels;
    for region in &mut lowered.regions {
        let range = &mut region.steps;
        if let (Some(&first), Some(&last)) = (became.get(range.start), became.get(range.end.wrapping_sub(1)))
            && range.start < range.end
        {
            *range = first..last + 1;
        }
    }
}

struct Joiner<'a> {
    dims: DimTable,
    kernels: Vec<Kernel>,
    target: &'a Target,
}

impl Joiner<'_> {
    /// Joins steps of a list; yields for each step where it is now.
    fn list(&mut self, steps: Vec<Step>) -> (Vec<Step>, Vec<usize>) {
        let (mut done, mut became) = (vec![], vec![]);
        let mut group: Vec<Part> = vec![];
        for step in steps {
            match Part::of(&step, &self.dims) {
                Some(part) => {
                    if !self.joins(&group, &part) {
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

    /// Joins the steps inside of a branch or loop.
    fn inside(&mut self, step: Step) -> Step {
        match step {
            Step::If { condition, then, otherwise } => {
                Step::If { condition, then: self.list(then).0, otherwise: self.list(otherwise).0 }
            }
            Step::While { condition, body } => Step::While { condition, body: self.list(body).0 },
            Step::Run { .. } | Step::Bind { .. } | Step::Check(_) => step,
        }
    }

    fn kernel(&self, part: &Part) -> &Kernel {
        &self.kernels[part.kernel.0 as usize]
    }

    /// Whether a part may be, and is better, in one launch with those of a group.
    fn joins(&self, group: &[Part], part: &Part) -> bool {
        group.len() < MOST_PARTS
            && group.iter().all(|other| self.independent(other, part))
            && group.iter().all(|other| self.alike(other, part))
            && group.iter().all(|other| self.balanced(other, part))
            && group.iter().chain([part]).map(|p| scratch_bytes(self.kernel(p))).sum::<usize>() <= MOST_SCRATCH
    }

    /// Whether no part reads or writes what the other writes.
    fn independent(&self, x: &Part, y: &Part) -> bool {
        let writes = |part: &Part, place: usize| {
            let arguments = self.kernel(part).buffers.iter().filter(|b| !matches!(b.access, Access::Scratch { .. }));
            arguments.map(|b| b.access == Access::Write).nth(place).unwrap_or(true)
        };
        x.arguments.iter().enumerate().all(|(i, a)| {
            y.arguments.iter().enumerate().filter(|(_, b)| a.buffer == b.buffer).all(|(j, _)| {
                match (writes(x, i), writes(y, j)) {
                    (false, false) => true,
                    (true, true) => x.apart || y.apart,
                    _ => false,
                }
            })
        })
    }

    /// Whether one function of both is as good as two: where a generator of wide code knows only one of them, both would
    /// have narrow code. Moving elements is within every generator's means.
    fn alike(&self, x: &Part, y: &Part) -> bool {
        let (x, y) = (self.kernel(x), self.kernel(y));
        let same = x.buffers.len() == y.buffers.len()
            && x.buffers.iter().zip(&y.buffers).all(|(a, b)| (a.dtype, a.access) == (b.dtype, b.access));
        same || only_moves(x) || only_moves(y)
    }

    /// Whether threads that share the items of both are done at the same time.
    fn balanced(&self, x: &Part, y: &Part) -> bool {
        if self.is_small(x) || self.is_small(y) {
            return true;
        }
        let per_item = |part: &Part| part.nanoseconds / part.items;
        let (x, y) = (per_item(x).max(1), per_item(y).max(1));
        x.max(y) <= 2 * x.min(y)
    }

    /// Whether a part is not worth sharing out.
    fn is_small(&self, part: &Part) -> bool {
        part.nanoseconds <= self.target.rates.fork / 1000
    }

    /// Adds the launch of a group.
    fn launch(&mut self, mut group: Vec<Part>, done: &mut Vec<Step>) {
        if group.len() <= 1 {
            done.extend(group.pop().map(Part::into_step));
            return;
        }
        // The largest part says what the launch is for.
        let Some(main) = group.iter().max_by_key(|part| part.nanoseconds).cloned() else { return };
        let id = KernelId(self.kernels.len() as u32);
        let mut launch = graft::Launch::new(&format!("{}_{}", job(self.kernel(&main)), id.0));
        let mut small = vec![];
        for part in &group {
            let kernel = self.kernel(part);
            let body = launch.graft(kernel, &part.arguments, &part.params);
            if self.is_small(part) {
                small.append(&mut launch.all_items(body));
            } else {
                launch.add_items(body);
            }
        }
        if !small.is_empty() {
            launch.add_item(small);
        }
        let work = known(group.iter().fold(Dim::ZERO, |sum, part| sum + &part.work));
        let apart = group.iter().all(|part| part.apart);
        let (kernel, arguments, params, extent) = launch.finish();
        self.kernels.push(kernel);
        done.push(Step::Run { kernel: id, arguments, params, extent, work, apart, origin: main.origin });
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

/// Whether a kernel does nothing but write constants and copy 32-bit elements.
fn only_moves(kernel: &Kernel) -> bool {
    let plain = |dtype: DType| matches!(dtype, DType::F32 | DType::I32 | DType::U32);
    kernel.buffers.iter().all(|b| plain(b.dtype)) && moves(&kernel.body)
}

fn moves(statements: &[Stmt]) -> bool {
    statements.iter().all(|statement| match statement {
        Stmt::Let(_, Expr::Index(_) | Expr::Load(..)) => true,
        Stmt::Store(_, _, Expr::Load(..) | Expr::Const(_) | Expr::Var(_)) => true,
        Stmt::For(_, body) => moves(body),
        _ => false,
    })
}

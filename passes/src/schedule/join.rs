//! Steps that do not depend on each other become one launch: the items of each part follow those of the part before.
//!
//! Zeroing a border, copying the operands of a concatenation and the two directions of a recurrent layer are steps of
//! their own when they are emitted. A part that is not worth sharing out becomes one item; of larger parts each keeps its
//! own, so that threads find one list of items that take about as long.
//!
//! Invariants: parts of a launch write different elements, and none reads what another writes.

use super::group::{Grouping, regroup};
use super::launch::{Launch, Made};
use super::part::{Part, independent};
use crate::lower::Lowered;
use nnc_desc::Target;
use nnc_ir::DType;
use nnc_kernels::kernel::{Expr, Kernel, Stmt};

/// Joins neighbouring steps where that saves a launch.
pub fn join(lowered: &mut Lowered, target: &Target) {
    regroup(lowered, target, &Beside { target });
}

/// Parts beside each other.
struct Beside<'a> {
    target: &'a Target,
}

impl Grouping for Beside<'_> {
    fn fits(&self, kernels: &[Kernel], group: &[&Part], part: &Part) -> bool {
        let kernel = |part: &Part| &kernels[part.kernel.0 as usize];
        group.iter().all(|other| {
            independent((other, kernel(other)), (part, kernel(part)))
                && alike(kernel(other), kernel(part))
                && self.balanced(other, part)
        })
    }

    fn launch(&self, name: &str, kernels: &[Kernel], group: &[&Part]) -> Option<Made> {
        let mut launch = Launch::new();
        let mut small = vec![];
        for part in group {
            let body = launch.graft(&kernels[part.kernel.0 as usize], &part.arguments, &part.params);
            if part.is_small(self.target) {
                small.append(&mut launch.all_items(body));
            } else {
                launch.add_items(body);
            }
        }
        if !small.is_empty() {
            launch.add_item(small);
        }
        Some(launch.finish(name))
    }
}

impl Beside<'_> {
    /// Whether threads that share the items of both are done at the same time.
    fn balanced(&self, x: &Part, y: &Part) -> bool {
        if x.is_small(self.target) || y.is_small(self.target) {
            return true;
        }
        let per_item = |part: &Part| part.nanoseconds / part.items;
        let (x, y) = (per_item(x).max(1), per_item(y).max(1));
        x.max(y) <= 2 * x.min(y)
    }
}

/// Whether one function of both is as good as two: where a generator of wide code knows only one of them, both would
/// have narrow code. Moving elements is within every generator's means.
fn alike(x: &Kernel, y: &Kernel) -> bool {
    let same = x.buffers.len() == y.buffers.len()
        && x.buffers.iter().zip(&y.buffers).all(|(a, b)| (a.dtype, a.access) == (b.dtype, b.access));
    same || only_moves(x) || only_moves(y)
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

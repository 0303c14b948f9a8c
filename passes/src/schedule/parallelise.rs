//! Choosing the loop that threads share.

use super::substitute;
use nnc_kernels::kernel::{AxisKind, Index, Kernel, Loop, Stmt, Var};

/// Elements that one parallel iteration of a flat loop handles.
const BLOCK: i64 = 8192;

/// Makes the outermost loop the parallel one, if its iterations may run in any order.
///
/// A kernel whose body is definitions and then one loop runs that loop in parallel; definitions are repeated by
/// every task. A flat vector loop is cut into blocks.
pub(super) fn parallelise(kernel: &mut Kernel) {
    if !kernel.parallel.1.is_const(1) {
        return;
    }
    let (last, before) = match kernel.body.split_last() {
        Some((Stmt::For(l, _), before)) => (l.clone(), before),
        _ => return,
    };
    let pure = before.iter().all(|s| matches!(s, Stmt::Let(..)));
    let defined: Vec<Var> = before.iter().flat_map(Stmt::definitions).collect();
    let extent_known = last.extent.vars().iter().all(|v| kernel.params.contains(v) && !defined.contains(v));
    if !pure || !extent_known {
        return;
    }
    let Some(Stmt::For(_, mut inner)) = kernel.body.pop() else { return };
    let parallel = kernel.parallel.0;
    match last.axis {
        AxisKind::Serial | AxisKind::Unrolled => kernel.body.push(Stmt::For(last, inner)),
        AxisKind::Free => {
            let max = kernel.vars[last.var.0 as usize].max;
            kernel.vars[parallel.0 as usize].max = max;
            substitute(&mut inner, last.var, &parallel.index());
            kernel.parallel.1 = last.extent;
            kernel.body.append(&mut inner);
        }
        AxisKind::Vector => {
            let high = kernel.vars[last.var.0 as usize].max;
            if high < BLOCK {
                kernel.body.push(Stmt::For(last, inner));
                return;
            }
            let start = parallel.index() * &Index::from(BLOCK);
            let flat = &start + &last.var.index();
            substitute(&mut inner, last.var, &flat);
            kernel.vars[last.var.0 as usize].max = BLOCK - 1;
            kernel.vars[parallel.0 as usize].max = high / BLOCK;
            let left = &last.extent - &start;
            let exact = last.extent.as_const().is_some_and(|n| n % BLOCK == 0);
            let extent = if exact { Index::from(BLOCK) } else { left.min(&Index::from(BLOCK)) };
            kernel.parallel.1 = last.extent.ceil_div(&Index::from(BLOCK));
            kernel.body.push(Stmt::For(Loop { var: last.var, extent, axis: AxisKind::Vector }, inner));
        }
    }
}

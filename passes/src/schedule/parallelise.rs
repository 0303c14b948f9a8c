//! Choosing the loop that threads share.

use super::substitute;
use nnc_ir::DType;
use nnc_kernels::index::Ranges;
use nnc_kernels::kernel::{AxisKind, Expr, Index, Kernel, Loop, Stmt, Var};

/// Elements that one parallel iteration of a flat loop handles.
const BLOCK: i64 = 8192;

/// Iterations of a parallel loop that are enough for threads to share.
const ENOUGH: i64 = 64;

/// Makes the outermost loops the parallel one, as many as it takes for enough iterations, if those may run in any order.
///
/// A kernel whose body is definitions and then one loop runs that loop in parallel; definitions are repeated by
/// every task. A flat vector loop is cut into blocks.
pub(super) fn parallelise(kernel: &mut Kernel) {
    if !kernel.parallel.1.is_const(1) {
        return;
    }
    let pure = |(_, before): (&Stmt, &[Stmt])| before.iter().all(|s| matches!(s, Stmt::Let(..)));
    if !kernel.body.split_last().is_some_and(pure) {
        return;
    }
    merge_outermost(kernel);
    let (last, before) = match kernel.body.split_last() {
        Some((Stmt::For(l, _), before)) => (l.clone(), before),
        _ => return,
    };
    let defined: Vec<Var> = before.iter().flat_map(Stmt::definitions).collect();
    let extent_known = last.extent.vars().iter().all(|v| kernel.params.contains(v) && !defined.contains(v));
    if !extent_known {
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

/// Makes one loop of the outermost ones, as many as it takes for enough iterations.
fn merge_outermost(kernel: &mut Kernel) {
    let ranges = Ranges::new(kernel);
    let Some(last) = kernel.body.last() else { return };
    let (mut taken, mut next): (Vec<Loop>, Option<&Stmt>) = (vec![], Some(last));
    let mut extent = Index::ONE;
    while let Some(Stmt::For(l, body)) = next
        && l.axis == AxisKind::Free
        && l.extent.vars().iter().all(|v| kernel.params.contains(v))
        && extent.bounds(&ranges).0 < ENOUGH
    {
        extent = &extent * &l.extent;
        taken.push(l.clone());
        next = if let [only] = &body[..] { Some(only) } else { None };
    }
    if taken.len() < 2 {
        return;
    }
    let high = |extent: &Index| extent.bounds(&ranges).1.saturating_sub(1).max(0);
    let number = kernel.add_var("i", DType::I64, 0, high(&extent));
    let mut statements = vec![];
    let mut rest = number;
    for (at, l) in taken.iter().enumerate() {
        if at + 1 == taken.len() {
            statements.push(Stmt::Let(l.var, Expr::Index(rest.index())));
            break;
        }
        let left = taken[at + 1..].iter().fold(Index::ONE, |product, l| &product * &l.extent);
        statements.push(Stmt::Let(l.var, Expr::Index(rest.index().floor_div(&left))));
        let remainder = rest.index() - &l.var.index() * &left;
        rest = kernel.add_var("r", DType::I64, 0, high(&left));
        statements.push(Stmt::Let(rest, Expr::Index(remainder)));
    }
    let mut body = kernel.body.pop().map(|outermost| vec![outermost]).unwrap_or_default();
    for _ in &taken {
        if let Some(Stmt::For(_, inside)) = body.pop() {
            body = inside;
        }
    }
    statements.append(&mut body);
    kernel.body.push(Stmt::For(Loop { var: number, extent, axis: AxisKind::Free }, statements));
}

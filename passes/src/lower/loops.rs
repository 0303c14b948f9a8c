//! Loop transformations on a finished kernel: fusing perfectly nested loops, and choosing the parallel loop.

use nnc_kernels::kernel::{Access, AxisKind, BufferDecl, BufferRef, Index, Kernel, Loop, Stmt, Var};
use nnc_kernels::walk::{Mention, walk};

/// Elements that one parallel iteration of a flat loop handles.
const BLOCK: i64 = 8192;

/// Calls `f` on every index of the statements.
fn for_each_index(statements: &mut [Stmt], f: &mut dyn FnMut(&mut Index)) {
    walk(statements, &mut |mention| {
        if let Mention::Index(index) = mention {
            f(index);
        }
    });
}

/// Orders a kernel's buffers as its declaration demands: parameters first, then scratch memory.
pub(crate) fn scratch_last(kernel: &mut Kernel) {
    let scratch = |b: &BufferDecl| matches!(b.access, Access::Scratch { .. });
    let (last, first): (Vec<usize>, Vec<usize>) = (0..kernel.buffers.len()).partition(|&i| scratch(&kernel.buffers[i]));
    let order = [first, last].concat();
    let mut moved = vec![BufferRef(0); order.len()];
    for (to, &from) in order.iter().enumerate() {
        moved[from] = BufferRef(to as u32);
    }
    kernel.buffers = order.iter().map(|&i| kernel.buffers[i].clone()).collect();
    walk(&mut kernel.body, &mut |mention| {
        if let Mention::Buffer(buffer) = mention {
            *buffer = moved[buffer.0 as usize];
        }
    });
}

/// Substitutes a variable in every index of the statements; uses as plain expressions are left alone.
fn substitute(statements: &mut [Stmt], var: Var, by: &Index) {
    for_each_index(statements, &mut |i| *i = i.substitute(&|v| (v == var).then(|| by.clone())));
}

/// Whether a variable is used as an expression of its own.
fn mentions_as_value(statements: &mut [Stmt], var: Var) -> bool {
    let mut found = false;
    walk(statements, &mut |mention| found |= matches!(mention, Mention::Var(v) if *v == var));
    found
}

/// Fuses loops nested perfectly in each other wherever every index sees them as one.
pub(crate) fn collapse(kernel: &mut Kernel) {
    let mut body = std::mem::take(&mut kernel.body);
    collapse_block(&mut body, kernel);
    kernel.body = body;
}

fn collapse_block(statements: &mut [Stmt], kernel: &mut Kernel) {
    for statement in statements {
        match statement {
            Stmt::For(outer, body) => {
                collapse_block(body, kernel);
                if outer.axis != AxisKind::Serial || body.len() != 1 {
                    continue;
                }
                let Stmt::For(inner, _) = &mut body[0] else { continue };
                let inner = inner.clone();
                if inner.axis == AxisKind::Unrolled || !fusible(&mut body[..], outer.var, &inner) {
                    continue;
                }
                let extent = &outer.extent * &inner.extent;
                let info = &kernel.vars[outer.var.0 as usize];
                let high = (info.max.saturating_add(1))
                    .saturating_mul(kernel.vars[inner.var.0 as usize].max.saturating_add(1))
                    .saturating_sub(1);
                kernel.vars[inner.var.0 as usize].max = high;
                let Some(Stmt::For(_, mut innermost)) = body.pop() else { continue };
                substitute(&mut innermost, outer.var, &Index::ZERO);
                *outer = Loop { var: inner.var, extent, axis: inner.axis };
                *body = innermost;
            }
            Stmt::If(_, a, b) => {
                collapse_block(a, kernel);
                collapse_block(b, kernel);
            }
            Stmt::Reduce(_, body, _) | Stmt::While(_, body) => collapse_block(body, kernel),
            _ => {}
        }
    }
}

/// Whether outer and inner loop can run as one: in every index the outer variable's coefficient is the inner one's
/// times the inner extent.
fn fusible(body: &mut [Stmt], outer: Var, inner: &Loop) -> bool {
    let extent_free = !inner.extent.mentions(outer);
    if !extent_free || mentions_as_value(body, outer) || mentions_as_value(body, inner.var) {
        return false;
    }
    let mut good = true;
    for_each_index(body, &mut |index| {
        if !index.mentions(outer) && !index.mentions(inner.var) {
            return;
        }
        let ok = match (coefficient(index, outer), coefficient(index, inner.var)) {
            (Some(co), Some(ci)) => co == &ci * &inner.extent,
            _ => false,
        };
        good &= ok;
    });
    good
}

/// The coefficient of a variable in which the index is linear.
fn coefficient(index: &Index, var: Var) -> Option<Index> {
    nnc_kernels::affine::coefficient(index, var)
}

/// Makes the outermost loop the parallel one.
///
/// A kernel whose body is definitions and then one loop runs that loop in parallel; definitions are repeated by
/// every task. A flat vector loop is cut into blocks.
pub(crate) fn parallelise(kernel: &mut Kernel) {
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
        AxisKind::Unrolled => kernel.body.push(Stmt::For(last, inner)),
        AxisKind::Serial => {
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

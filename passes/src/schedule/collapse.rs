//! Fusing perfectly nested loops whose iterations may run in any order: one index then walks what several did.

use super::{for_each_index, mentions_as_value, substitute};
use nnc_kernels::kernel::{AxisKind, Index, Kernel, Loop, Stmt, Var};

/// Fuses loops nested perfectly in each other wherever every index sees them as one.
pub(super) fn collapse(kernel: &mut Kernel) {
    let mut body = std::mem::take(&mut kernel.body);
    collapse_block(&mut body, kernel);
    kernel.body = body;
}

fn collapse_block(statements: &mut [Stmt], kernel: &mut Kernel) {
    for statement in statements {
        match statement {
            Stmt::For(outer, body) => {
                collapse_block(body, kernel);
                if outer.axis != AxisKind::Free || body.len() != 1 {
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

//! Splitting vector loops over several axes where an index has to tell the axes apart: what a division yields in each lane
//! is then the index of a loop around.
//!
//! A loop over channels and positions that finds its channel as `floor(i / positions)` becomes a loop over channels and,
//! inside, one in lanes over positions. It is what [`super::collapse`] undoes, which comes before.

use super::{for_each_index, mentions_as_value, substitute};
use crate::lower::emit::identity;
use nnc_ir::DType;
use nnc_ir::dim::DimOp;
use nnc_kernels::index::{Factor, Polynomial, Ranges};
use nnc_kernels::kernel::{Accumulator, AxisKind, Expr, Index, Kernel, Loop, Stmt, Var};

/// Fewest iterations in lanes that are worth a loop of their own; an unknown number is taken to be more.
const ENOUGH: i64 = 32;

/// Splits vector loops whose indices divide by an inner extent.
pub(super) fn split(kernel: &mut Kernel) {
    let mut body = std::mem::take(&mut kernel.body);
    split_block(&mut body, kernel);
    kernel.body = body;
}

fn split_block(statements: &mut [Stmt], kernel: &mut Kernel) {
    for statement in statements {
        match statement {
            Stmt::If(_, a, b) => {
                split_block(a, kernel);
                split_block(b, kernel);
            }
            Stmt::For(l, _) | Stmt::Reduce(l, ..) if l.axis == AxisKind::Vector => {
                if let Some((count, inner)) = axes(statement, kernel) {
                    split_loop(statement, &count, inner, kernel);
                }
            }
            Stmt::For(_, body) | Stmt::Reduce(_, body, _) | Stmt::While(_, body) => split_block(body, kernel),
            _ => {}
        }
    }
}

/// The extents of two loops, outer and inner, that a vector loop had better be.
fn axes(statement: &mut Stmt, kernel: &Kernel) -> Option<(Index, Index)> {
    let (Stmt::For(l, _) | Stmt::Reduce(l, ..)) = &*statement else { return None };
    let Loop { var, extent, .. } = l.clone();
    // Bools have no constant that changes nothing in every combination.
    if let Stmt::Reduce(_, _, accumulators) = &*statement
        && accumulators.iter().any(|a| kernel.var_dtype(a.var) == DType::Bool)
    {
        return None;
    }
    let statements = std::slice::from_mut(statement);
    if mentions_as_value(statements, var) {
        return None;
    }
    let mut divisors = vec![];
    for_each_index(statements, &mut |index| divisors_of(index, var, &mut divisors));
    divisors.into_iter().find_map(|inner| {
        let wide = inner.as_const().is_none_or(|n| n >= ENOUGH);
        let count = extent.div_exact(&inner).filter(|count| wide && !count.is_const(1))?;
        Some((count, inner))
    })
}

/// Adds what the index divides the variable by.
fn divisors_of(index: &Index, var: Var, divisors: &mut Vec<Index>) {
    if !index.mentions(var) {
        return;
    }
    for (_, factors) in index.view().terms {
        for factor in factors {
            let Factor::Op(op, operands) = factor else { continue };
            if let (DimOp::FloorDiv, [dividend, divisor]) = (op, operands.as_slice())
                && dividend.as_var() == Some(var)
                && !divisors.contains(divisor)
            {
                divisors.push(divisor.clone());
            }
            operands.iter().for_each(|operand| divisors_of(operand, var, divisors));
        }
    }
}

/// Makes a vector loop one over `count` and, inside, one in lanes over `inner`.
fn split_loop(statement: &mut Stmt, count: &Index, inner: Index, kernel: &mut Kernel) {
    let (Stmt::For(l, _) | Stmt::Reduce(l, ..)) = &*statement else { return };
    let (var, high) = (l.var, kernel.vars[l.var.0 as usize].max);
    let outer = kernel.add_var("q", DType::I64, 0, count.as_const().map_or(high, |n| n - 1));
    let mut ranges = Ranges::new(kernel);
    let high = inner.as_const().map_or(high, |n| n - 1);
    let lane = kernel.add_var("i", DType::I64, 0, high);
    ranges.add(&kernel.vars[lane.0 as usize].name, 0, high, Some(&inner - 1));
    let statements = std::slice::from_mut(statement);
    substitute(statements, var, &(&outer.index() * &inner + &lane.index()));
    for_each_index(statements, &mut |index| {
        if index.mentions(lane) {
            *index = index.simplify(&ranges);
        }
    });
    let around = |axis| Loop { var: outer, extent: count.clone(), axis };
    let within = Loop { var: lane, extent: inner, axis: AxisKind::Vector };
    *statement = match std::mem::replace(statement, Stmt::Fail(0)) {
        Stmt::For(_, body) => Stmt::For(around(AxisKind::Free), vec![Stmt::For(within, body)]),
        Stmt::Reduce(_, body, accumulators) => {
            let mut parts = vec![];
            let mut wholes = vec![];
            for a in accumulators {
                let dtype = kernel.var_dtype(a.var);
                let part = kernel.add_var("part", dtype, i64::MIN, i64::MAX);
                parts.push(Accumulator { var: part, op: a.op, init: identity(a.op, dtype), value: a.value });
                wholes.push(Accumulator { var: a.var, op: a.op, init: a.init, value: Expr::Var(part) });
            }
            Stmt::Reduce(around(AxisKind::Serial), vec![Stmt::Reduce(within, body, parts)], wholes)
        }
        other => other,
    };
}

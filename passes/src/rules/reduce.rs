//! Reductions of reductions, and of what is done to every element alike.

use super::approx::merges;
use super::net::Net;
use super::rule::{Rule, exactly};
use super::saturate::Site;
use egg::Id;
use nnc_ir::Dim;
use nnc_ir::op::{BinaryOp, Op, ReduceOp, UnaryOp};

/// The rules.
pub const RULES: &[Rule] = &[exactly("reduce-reduce", 2, reduce_reduce)];

/// Maxima and minima over some axes and then others are taken at once.
fn reduce_reduce(net: &mut Net, site: &Site) -> Vec<Id> {
    match (site.op, site.args) {
        (Op::Reduce { op: op @ (ReduceOp::Max | ReduceOp::Min), axes }, &[x]) => joined(net, *op, axes, x),
        _ => vec![],
    }
}

/// A reduction over `axes` of reductions of the same kind.
fn joined(net: &mut Net, op: ReduceOp, axes: &[usize], x: Id) -> Vec<Id> {
    let inner = net.pick(x, |inner, args| match inner {
        Op::Reduce { op: first, axes } if *first == op => Some((args[0], axes.clone())),
        _ => None,
    });
    let mut found = vec![];
    for (first, gone) in inner {
        // The axes left by the first reduction, by number.
        let left: Vec<usize> = (0..net.facts(first).ty.rank()).filter(|a| !gone.contains(a)).collect();
        let mut all = gone.clone();
        all.extend(axes.iter().map(|&a| left[a]));
        all.sort_unstable();
        found.extend(net.add(Op::Reduce { op, axes: all }, &[first]));
    }
    found
}

/// Sums of sums, as [`reduce_reduce`].
pub(super) fn sum_of_sums(net: &mut Net, site: &Site) -> Vec<Id> {
    let (Op::Reduce { op: op @ ReduceOp::Sum, axes }, &[x]) = (site.op, site.args) else { return vec![] };
    // Of 16-bit floats the sums between are rounded.
    if net.dtype(x).is_float() && !merges(net.dtype(x)) { vec![] } else { joined(net, *op, axes, x) }
}

/// The largest of `x * s` is the largest of `x`, times `s`, for a positive number; with a negative one it is the smallest.
/// Rounding is monotone, so that all but the sign of a zero stays. Likewise for `x + c`, and for a bound.
pub(super) fn extreme_of_map(net: &mut Net, site: &Site) -> Vec<Id> {
    let (Op::Reduce { op: op @ (ReduceOp::Max | ReduceOp::Min), axes }, &[x]) = (site.op, site.args) else {
        return vec![];
    };
    if !net.dtype(x).is_float() {
        return vec![];
    }
    let (wide, shape, dtype) = (net.shape(x), net.shape(site.class), net.dtype(x));
    let dims = &net.egraph.analysis.dims;
    let full = axes.iter().all(|&axis| wide[axis].provably_ge(&Dim::ONE, dims));
    let other = if *op == ReduceOp::Max { ReduceOp::Min } else { ReduceOp::Max };
    let maps = net.pick(x, |op, args| match op {
        Op::Unary(UnaryOp::Neg) => Some((None, args[0], args[0])),
        Op::Binary(f @ (BinaryOp::Add | BinaryOp::Mul | BinaryOp::Max | BinaryOp::Min)) => {
            Some((Some(*f), args[0], args[1]))
        }
        _ => None,
    });
    let mut found = vec![];
    for (f, a, b) in maps {
        let Some(f) = f else {
            let inner = net.add(Op::Reduce { op: other, axes: axes.clone() }, &[a]);
            found.extend(inner.and_then(|inner| net.unary(UnaryOp::Neg, inner)));
            continue;
        };
        let (x, constant) = if net.splat(b).is_some() { (a, b) } else { (b, a) };
        let Some(value) = net.splat(constant).filter(|value| value.is_finite()) else { continue };
        let kind = match f {
            BinaryOp::Mul if value < 0.0 => other,
            // Infinity times 0 is no number.
            BinaryOp::Mul if value == 0.0 => continue,
            // Of nothing the bound is not the result.
            BinaryOp::Max | BinaryOp::Min if !full => continue,
            _ => *op,
        };
        let inner = net.add(Op::Reduce { op: kind, axes: axes.clone() }, &[x]);
        let constant = net.full(dtype, value, shape.clone());
        found.extend(inner.zip(constant).and_then(|(inner, c)| net.binary(f, inner, c)));
    }
    found
}

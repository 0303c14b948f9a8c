//! Arithmetic that can be written with cheaper operations, exactly.

use super::net::Net;
use super::saturate::Site;
use super::{Rule, one};
use egg::Id;
use nnc_ir::op::{BinaryOp, Op, UnaryOp};

/// The rules.
pub const RULES: &[Rule] = &[
    Rule::exact("square", square),
    Rule::exact("divide-by-power-of-two", divide_by_power_of_two),
    Rule::exact("add-negated", add_negated),
    Rule::exact("multiply-by-minus-one", multiply_by_minus_one),
    Rule::exact("clamp-twice", clamp_twice),
    Rule::exact("recip-power", recip_power),
];

/// `x ^ 2` is `x * x`.
fn square(net: &mut Net, site: &Site) -> Vec<Id> {
    match (site.op, site.args) {
        (Op::Binary(BinaryOp::Pow), &[x, y]) if net.is_splat(y, 2.0) => one(net.binary(BinaryOp::Mul, x, x)),
        _ => vec![],
    }
}

/// `x ^ -1` is `1 / x`.
fn recip_power(net: &mut Net, site: &Site) -> Vec<Id> {
    match (site.op, site.args) {
        (Op::Binary(BinaryOp::Pow), &[x, y]) if net.is_splat(y, -1.0) && net.dtype(x).is_float() => {
            one(net.unary(UnaryOp::Recip, x))
        }
        _ => vec![],
    }
}

/// `x / 2^n` is `x * 2^-n`, which rounds alike.
fn divide_by_power_of_two(net: &mut Net, site: &Site) -> Vec<Id> {
    let (Op::Binary(BinaryOp::Div), &[x, y]) = (site.op, site.args) else { return vec![] };
    let Some(divisor) = net.splat(y).filter(|_| net.dtype(x).is_float()) else { return vec![] };
    // Powers whose reciprocal is normal in every float type.
    let exact = divisor.is_normal() && divisor.abs().log2().fract() == 0.0 && (divisor.abs().log2()).abs() <= 14.0;
    if !exact {
        return vec![];
    }
    let shape = net.shape(y);
    let factor = net.full(net.dtype(x), 1.0 / divisor, shape);
    one(factor.and_then(|factor| net.binary(BinaryOp::Mul, x, factor)))
}

/// `x + -y` is `x - y`, and `x - -y` is `x + y`.
fn add_negated(net: &mut Net, site: &Site) -> Vec<Id> {
    let negated = |net: &Net, id| net.pick_one(id, |op, args| matches!(op, Op::Unary(UnaryOp::Neg)).then(|| args[0]));
    match (site.op, site.args) {
        (Op::Binary(BinaryOp::Add), &[x, y]) => {
            if let Some(inner) = negated(net, y) {
                one(net.binary(BinaryOp::Sub, x, inner))
            } else if let Some(inner) = negated(net, x) {
                one(net.binary(BinaryOp::Sub, y, inner))
            } else {
                vec![]
            }
        }
        (Op::Binary(BinaryOp::Sub), &[x, y]) => match negated(net, y) {
            Some(inner) => one(net.binary(BinaryOp::Add, x, inner)),
            None => vec![],
        },
        _ => vec![],
    }
}

/// `x * -1` is `-x`.
fn multiply_by_minus_one(net: &mut Net, site: &Site) -> Vec<Id> {
    let (Op::Binary(BinaryOp::Mul), &[x, y]) = (site.op, site.args) else { return vec![] };
    if !net.dtype(x).is_float() {
        return vec![];
    }
    if net.is_splat(y, -1.0) {
        one(net.unary(UnaryOp::Neg, x))
    } else if net.is_splat(x, -1.0) {
        one(net.unary(UnaryOp::Neg, y))
    } else {
        vec![]
    }
}

/// `max(max(x, a), b)` is `max(x, max(a, b))` for constants, and likewise for minima.
fn clamp_twice(net: &mut Net, site: &Site) -> Vec<Id> {
    let (Op::Binary(f @ (BinaryOp::Max | BinaryOp::Min)), &[x, y]) = (site.op, site.args) else { return vec![] };
    if net.splat(y).is_none() {
        return vec![];
    }
    let inner = net.pick(x, |op, args| matches!(op, Op::Binary(g) if g == f).then(|| (args[0], args[1])));
    let mut found = vec![];
    for (inner, bound) in inner {
        if net.splat(bound).is_some() && net.splat(inner).is_none() {
            let bound = net.binary(*f, bound, y);
            found.extend(bound.and_then(|bound| net.binary(*f, inner, bound)));
        }
    }
    found
}

//! Arithmetic that can be written with cheaper operations, exactly.

use super::net::Net;
use super::one;
use super::rule::{Rule, exact, exactly};
use super::saturate::Site;
use egg::Id;
use nnc_ir::op::{BinaryOp, Op};

/// The rules.
pub const RULES: &[Rule] = &[
    exact("square", "(pow ?x 2)", "(mul ?x ?x)"),
    exactly("divide-by-power-of-two", 1, divide_by_power_of_two),
    exact("add-negated", "(add ?x (neg ?y))", "(sub ?x ?y)"),
    exact("subtract-negated", "(sub ?x (neg ?y))", "(add ?x ?y)"),
    exact("multiply-by-minus-one", "(mul ?x -1) if float(x)", "(neg ?x)"),
    exact("max-twice", "(max (max ?x ?a) ?b) if splat(a), splat(b), not splat(x)", "(max ?x (max ?a ?b))"),
    exact("min-twice", "(min (min ?x ?a) ?b) if splat(a), splat(b), not splat(x)", "(min ?x (min ?a ?b))"),
    exact("recip-power", "(pow ?x -1) if float(x)", "(recip ?x)"),
];

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

//! Every rule that may change a value by rounding. `--numerics strict` leaves this table out.
//!
//! Bounds, for finite results without cancellation: each rule reorders at most three roundings, so it moves a result
//! by at most 3 units in the last place of the largest intermediate; the tests evaluate both sides and allow
//! `1e-5` of the largest magnitude for `f32`. `power-half` differs from `pow` at negative infinity alone,
//! `divide-by-broadcast` at divisors near the ends of the range.

use super::batch_norm;
use super::net::Net;
use super::saturate::Site;
use super::{Rule, one};
use egg::Id;
use nnc_ir::DType;
use nnc_ir::op::{BinaryOp, Op, UnaryOp};

/// Rules of elementwise arithmetic.
pub const RULES: &[Rule] = &[
    Rule { name: "divide-by-constant", apply: divide_by_constant },
    Rule { name: "divide-by-broadcast", apply: divide_by_broadcast },
    Rule { name: "power-half", apply: power_half },
    Rule { name: "cube", apply: cube },
    Rule { name: "merge-factors", apply: merge_factors },
    Rule { name: "merge-addends", apply: merge_addends },
];

/// Rules that fold scales and offsets into weights.
pub const AFFINE: &[Rule] = &[
    Rule { name: "subtract-constant", apply: batch_norm::subtract_constant },
    Rule { name: "offset-then-scale", apply: batch_norm::offset_then_scale },
    Rule { name: "conv-scale", apply: batch_norm::conv_scale },
    Rule { name: "contract-scale", apply: batch_norm::contract_scale },
];

/// `x / c` is `x * (1 / c)`.
fn divide_by_constant(net: &mut Net, site: &Site) -> Vec<Id> {
    let (Op::Binary(BinaryOp::Div), &[x, y]) = (site.op, site.args) else { return vec![] };
    if !net.dtype(x).is_float() || !net.is_known(y) || net.is_known(x) {
        return vec![];
    }
    // Infinite or subnormal reciprocals would lose more than rounding.
    let plain = |value: f64| value.is_finite() && (1e-4..1e4).contains(&value.abs());
    let safe = match (net.splat(y), base(net, y)) {
        (Some(value), _) => plain(value),
        (None, Some(tensor)) => tensor.to_f64s().into_iter().all(plain),
        _ => false,
    };
    if !safe {
        return vec![];
    }
    let factor = net.unary(UnaryOp::Recip, y);
    one(factor.and_then(|factor| net.binary(BinaryOp::Mul, x, factor)))
}

/// `x / broadcast(y)` is `x * broadcast(1 / y)`: one division per row of a softmax or a normalisation. Where `|y|` is
/// beyond `2^126` or below `2^-126` the reciprocal loses precision or range; divisors there are sums and deviations.
fn divide_by_broadcast(net: &mut Net, site: &Site) -> Vec<Id> {
    let (Op::Binary(BinaryOp::Div), &[x, y]) = (site.op, site.args) else { return vec![] };
    if !matches!(net.dtype(x), DType::F32 | DType::F64) || net.is_known(y) || net.is_known(x) {
        return vec![];
    }
    let shape = net.shape(y);
    let mut found = vec![];
    for (inner, axes) in net.broadcasts(y) {
        let repeats = (0..shape.len()).any(|axis| {
            let held = axes.iter().position(|&a| a == axis).map(|i| &net.facts(inner).ty.shape[i]);
            held != Some(&shape[axis]) && !shape[axis].is_const(1)
        });
        if repeats {
            let factor = net.unary(UnaryOp::Recip, inner).and_then(|r| net.broadcast(r, shape.clone(), axes));
            found.extend(factor.and_then(|factor| net.binary(BinaryOp::Mul, x, factor)));
        }
    }
    found
}

/// The data of a constant, or of the constant that a broadcast repeats.
fn base(net: &Net, id: Id) -> Option<nnc_ir::Tensor> {
    const MOST: usize = 1 << 16;
    let repeated = net.broadcasts(id).into_iter().map(|(inner, _)| inner);
    let tensor = std::iter::once(id).chain(repeated).find_map(|id| net.constant(id).cloned());
    tensor.filter(|t| t.len() <= MOST)
}

/// `x ^ 0.5` is the square root.
fn power_half(net: &mut Net, site: &Site) -> Vec<Id> {
    match (site.op, site.args) {
        (Op::Binary(BinaryOp::Pow), &[x, y]) if net.dtype(x).is_float() => {
            if net.is_splat(y, 0.5) {
                one(net.unary(UnaryOp::Sqrt, x))
            } else if net.is_splat(y, -0.5) {
                one(net.unary(UnaryOp::Rsqrt, x))
            } else {
                vec![]
            }
        }
        _ => vec![],
    }
}

/// `x ^ 3` is `x * x * x`.
fn cube(net: &mut Net, site: &Site) -> Vec<Id> {
    match (site.op, site.args) {
        (Op::Binary(BinaryOp::Pow), &[x, y]) if net.is_splat(y, 3.0) && net.dtype(x).is_float() => {
            let square = net.binary(BinaryOp::Mul, x, x);
            one(square.and_then(|square| net.binary(BinaryOp::Mul, square, x)))
        }
        _ => vec![],
    }
}

/// `(x * a) * b` is `x * (a * b)` for constants.
fn merge_factors(net: &mut Net, site: &Site) -> Vec<Id> {
    merge(net, site, BinaryOp::Mul)
}

/// `(x + a) + b` is `x + (a + b)` for constants.
fn merge_addends(net: &mut Net, site: &Site) -> Vec<Id> {
    merge(net, site, BinaryOp::Add)
}

fn merge(net: &mut Net, site: &Site, f: BinaryOp) -> Vec<Id> {
    if !matches!(site.op, Op::Binary(g) if *g == f) || !net.dtype(site.class).is_float() {
        return vec![];
    }
    let Some((x, outer)) = batch_norm::split_known(net, site.args) else { return vec![] };
    let inner = net.pick(x, |op, args| match op {
        Op::Binary(g) if *g == f => Some([args[0], args[1]]),
        _ => None,
    });
    let mut found = vec![];
    for args in inner {
        let Some((x, first)) = batch_norm::split_known(net, &args) else { continue };
        let both = net.binary(f, first, outer);
        found.extend(both.and_then(|both| net.binary(f, x, both)));
    }
    found
}

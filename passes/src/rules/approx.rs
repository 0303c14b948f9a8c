//! Every rule that may change a value. `--numerics strict` leaves these tables out.
//!
//! Three kinds, a table each:
//!
//! - [`SIGNS`] may change the sign of a zero, nothing else.
//! - [`RULES`] round differently: each reorders at most three roundings, so it moves a finite result by at most 3 units in
//!   the last place of the largest intermediate. They apply only where no discrete operation sees the result
//!   ([`super::discrete`]), and only with constants that are finite and normal and whose merging neither overflows nor
//!   underflows; a run-time divisor must be known to have a finite reciprocal ([`super::range`]).
//! - [`AFFINE`] fold scales and offsets into the weights of a product that sums several terms. What a sum rounds to
//!   depends on the order of its terms, which no model prescribes, so these apply whatever comes after.
//!
//! None but the first is applied to 16-bit floats: kernels compute those in `f32`, so that merging constants would add
//! roundings rather than save them.
//!
//! The tests evaluate both sides and allow `1e-5` of the largest magnitude for `f32`; each row has an example that ends
//! in a discrete operation.

use super::batch_norm;
use super::net::Net;
use super::range::{at_least, magnitudes};
use super::saturate::Site;
use super::{Rule, one};
use egg::Id;
use nnc_ir::DType;
use nnc_ir::op::{BinaryOp, Op, UnaryOp};

/// Rules after which a zero may have another sign.
pub const SIGNS: &[Rule] = &[
    Rule::exact("add-zero", add_zero),
    Rule::exact("subtract-from-zero", subtract_from_zero),
    Rule::exact("negate-difference", negate_difference),
];

/// Rules of elementwise arithmetic that round differently.
pub const RULES: &[Rule] = &[
    Rule::rounding("divide-by-constant", divide_by_constant),
    Rule::rounding("divide-by-broadcast", divide_by_broadcast),
    Rule::rounding("power-half", power_half),
    Rule::rounding("cube", cube),
    Rule::rounding("merge-factors", merge_factors),
    Rule::rounding("merge-addends", merge_addends),
];

/// Rules that fold scales and offsets into products.
pub const AFFINE: &[Rule] = &[
    Rule::within_sum("subtract-constant", batch_norm::subtract_constant),
    Rule::within_sum("offset-then-scale", batch_norm::offset_then_scale),
    Rule::within_sum("merge-offsets", batch_norm::merge_offsets),
    Rule::within_sum("conv-scale", batch_norm::conv_scale),
    Rule::within_sum("contract-scale", batch_norm::contract_scale),
];

/// `x + 0` is `x`, but for `-0 + 0`, which is `0`.
fn add_zero(net: &mut Net, site: &Site) -> Vec<Id> {
    match (site.op, site.args) {
        (Op::Binary(BinaryOp::Add), &[x, y]) if net.is_splat(y, 0.0) => vec![x],
        (Op::Binary(BinaryOp::Add), &[x, y]) if net.is_splat(x, 0.0) => vec![y],
        _ => vec![],
    }
}

/// `0 - x` is `-x`, but for `0 - 0`, which is `0`.
fn subtract_from_zero(net: &mut Net, site: &Site) -> Vec<Id> {
    match (site.op, site.args) {
        (Op::Binary(BinaryOp::Sub), &[x, y]) if net.is_splat(x, 0.0) => one(net.unary(UnaryOp::Neg, y)),
        _ => vec![],
    }
}

/// `-(x - y)` is `y - x`, but for equal operands, where it is `-0`.
fn negate_difference(net: &mut Net, site: &Site) -> Vec<Id> {
    let (Op::Unary(UnaryOp::Neg), &[x]) = (site.op, site.args) else { return vec![] };
    let inner = net.pick(x, |op, args| matches!(op, Op::Binary(BinaryOp::Sub)).then(|| (args[0], args[1])));
    inner.into_iter().filter_map(|(a, b)| net.binary(BinaryOp::Sub, b, a)).collect()
}

/// Whether constants of a type may be merged.
pub(super) fn merges(dtype: DType) -> bool {
    matches!(dtype, DType::F32 | DType::F64)
}

/// `x / c` is `x * (1 / c)`.
fn divide_by_constant(net: &mut Net, site: &Site) -> Vec<Id> {
    let (Op::Binary(BinaryOp::Div), &[x, y]) = (site.op, site.args) else { return vec![] };
    if !merges(net.dtype(x)) || !net.is_known(y) || net.is_known(x) {
        return vec![];
    }
    // Infinite or subnormal reciprocals would lose more than rounding, and so would a division by zero.
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

/// `x / broadcast(y)` is `x * broadcast(1 / y)`: one division per row of a softmax or a normalisation. The divisor must
/// be known to be normal, as a softmax's sum and a deviation with its epsilon are; above `2^126` its reciprocal is
/// subnormal and has two bits less.
fn divide_by_broadcast(net: &mut Net, site: &Site) -> Vec<Id> {
    let (Op::Binary(BinaryOp::Div), &[x, y]) = (site.op, site.args) else { return vec![] };
    if !merges(net.dtype(x)) || net.is_known(y) || net.is_known(x) {
        return vec![];
    }
    let shape = net.shape(y);
    let mut found = vec![];
    for (inner, axes) in net.broadcasts(y) {
        let repeats = (0..shape.len()).any(|axis| {
            let held = axes.iter().position(|&a| a == axis).map(|i| &net.facts(inner).ty.shape[i]);
            held != Some(&shape[axis]) && !shape[axis].is_const(1)
        });
        if repeats && at_least(net, inner) >= f64::from(f32::MIN_POSITIVE) {
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

/// `x ^ 0.5` is the square root of what is not negative (of `-inf` one is infinite, the other NaN), and `x ^ -0.5` its
/// reciprocal where `x` is not 0 either, for zeros have signs.
fn power_half(net: &mut Net, site: &Site) -> Vec<Id> {
    match (site.op, site.args) {
        (Op::Binary(BinaryOp::Pow), &[x, y]) if net.dtype(x).is_float() => {
            if net.is_splat(y, 0.5) && at_least(net, x) >= 0.0 {
                one(net.unary(UnaryOp::Sqrt, x))
            } else if net.is_splat(y, -0.5) && at_least(net, x) > 0.0 {
                one(net.unary(UnaryOp::Rsqrt, x))
            } else {
                vec![]
            }
        }
        _ => vec![],
    }
}

/// `x ^ 3` is `x * x * x`. Where `x * x` overflows or underflows, so does the cube.
fn cube(net: &mut Net, site: &Site) -> Vec<Id> {
    match (site.op, site.args) {
        (Op::Binary(BinaryOp::Pow), &[x, y]) if net.is_splat(y, 3.0) && merges(net.dtype(x)) => {
            let square = net.binary(BinaryOp::Mul, x, x);
            one(square.and_then(|square| net.binary(BinaryOp::Mul, square, x)))
        }
        _ => vec![],
    }
}

/// `(x * a) * b` is `x * (a * b)` for constants whose product is in the range of normal numbers.
fn merge_factors(net: &mut Net, site: &Site) -> Vec<Id> {
    merge(
        net,
        site,
        BinaryOp::Mul,
        |_, _| true,
        |net, a, b| {
            let (Some(a), Some(b)) = (magnitudes(net, a), magnitudes(net, b)) else { return false };
            let (least, most) = normal(net.dtype(site.class));
            a.within(least, most) && b.within(least, most) && a.least * b.least >= least && a.most * b.most <= most
        },
    )
}

/// `(x + a) + b` is `x + (a + b)` for constants.
fn merge_addends(net: &mut Net, site: &Site) -> Vec<Id> {
    merge(net, site, BinaryOp::Add, |_, _| true, addends_merge)
}

/// The least and the largest normal number of a type.
fn normal(dtype: DType) -> (f64, f64) {
    match dtype {
        DType::F64 => (f64::MIN_POSITIVE, f64::MAX),
        _ => (f64::from(f32::MIN_POSITIVE), f64::from(f32::MAX)),
    }
}

/// Whether two constants may be added first. A large one added and taken away again rounds on purpose: constants that
/// may cancel must be so small that what they round away is below `2^-13`.
pub(super) fn addends_merge(net: &mut Net, a: Id, b: Id) -> bool {
    let (Some(first), Some(second)) = (magnitudes(net, a), magnitudes(net, b)) else { return false };
    let dtype = net.dtype(a);
    let unit = if dtype == DType::F64 { f64::EPSILON } else { f64::from(f32::EPSILON) };
    let small = first.most.max(second.most) * unit <= 1.0 / 8192.0;
    let agree = net.splat(a).zip(net.splat(b)).is_some_and(|(a, b)| (a >= 0.0) == (b >= 0.0));
    (small || agree) && first.most + second.most <= normal(dtype).1
}

/// `f(f(x, a), b)` is `f(x, f(a, b))` for constants, where `x` and the pair are accepted.
pub(super) fn merge(
    net: &mut Net,
    site: &Site,
    f: BinaryOp,
    takes: impl Fn(&Net, Id) -> bool,
    pair: impl Fn(&mut Net, Id, Id) -> bool,
) -> Vec<Id> {
    if !matches!(site.op, Op::Binary(g) if *g == f) || !merges(net.dtype(site.class)) {
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
        if takes(net, x) && pair(net, first, outer) {
            let both = net.binary(f, first, outer);
            found.extend(both.and_then(|both| net.binary(f, x, both)));
        }
    }
    found
}

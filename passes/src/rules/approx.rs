//! Every rule that may change a value. `--numerics strict` leaves these tables out.
//!
//! Three kinds, a table each:
//!
//! - [`SIGNS`] may change the sign of a zero, nothing else.
//! - [`RULES`] round single operations differently. They apply only where no discrete operation sees the result
//!   ([`super::discrete`]), and only with constants that are finite and normal and whose merging neither overflows nor
//!   underflows; a run-time divisor must be known to have a finite reciprocal ([`super::range`]).
//! - [`AFFINE`] fold scales and offsets into the weights of a product that sums several terms, or sum in another order. What a sum rounds to
//!   depends on the order of its terms, which no model prescribes, so these apply whatever comes after.
//!
//! None but the first is applied to 16-bit floats: kernels compute those in `f32`, so that merging constants would add
//! roundings rather than save them.
//!
//! A row says how many roundings its two sides have together; [`super::rule::Effect::bound`] is what follows of it, and a
//! test holds every row to its bound. Each row has an example that ends in a discrete operation.

use super::net::Net;
use super::range::{at_least, magnitudes};
use super::rule::{Effect, Rule, Touches, rounds, signs, sums, with_effect};
use super::saturate::Site;
use super::{batch_norm, products, reduce};
use egg::Id;
use nnc_ir::DType;
use nnc_ir::op::{BinaryOp, Op, UnaryOp};

/// Rules after which a zero may have another sign.
pub const SIGNS: &[Rule] = &[
    signs("add-zero", "(add ?x 0)", "?x"),
    signs("subtract-from-zero", "(sub 0 ?x)", "(neg ?x)"),
    signs("negate-difference", "(neg (sub ?x ?y))", "(sub ?y ?x)"),
    with_effect("extreme-of-map", Effect::Signs, 2, reduce::extreme_of_map),
    signs("positive-part", "(max ?x 0) if at_least_zero(x)", "?x"),
    signs("magnitude-of-positive", "(abs ?x) if at_least_zero(x)", "?x"),
    // A mask times a number: 0 times a negative one is `-0`.
    signs("select-factor", "(mul (convert ?c) ?k) if bool(c), splat(k), finite(k)", "(select ?c ?k 0)"),
];

/// Rules of elementwise arithmetic that round differently.
pub const RULES: &[Rule] = &[
    rounds(
        "divide-by-constant",
        3,
        "(div ?x ?c) if merges(x), known(c), not known(x), plain(c)",
        "(mul ?x (recip ?c))",
    ),
    with_effect("divide-by-broadcast", SINGLE_3, 2, divide_by_broadcast),
    // Of `-inf` one is infinite, the other NaN; and zeros have signs.
    rounds("power-half", 2, "(pow ?x 0.5) if float(x), at_least_zero(x)", "(sqrt ?x)"),
    rounds("power-minus-half", 2, "(pow ?x -0.5) if float(x), above_zero(x)", "(rsqrt ?x)"),
    // Where `x * x` overflows or underflows, so does the cube.
    rounds("cube", 3, "(pow ?x 3) if merges(x)", "(mul (mul ?x ?x) ?x)"),
    rounds(
        "merge-factors",
        4,
        "(mul (mul ?x ?a) ?b) if merges(x), not known(x), known(a), known(b), factors_merge(a, b)",
        "(mul ?x (mul ?a ?b))",
    ),
    rounds(
        "merge-addends",
        4,
        "(add (add ?x ?a) ?b) if merges(x), not known(x), known(a), known(b), addends_merge(a, b)",
        "(add ?x (add ?a ?b))",
    ),
];

/// Rules around sums: they fold scales and offsets into products, and sum in another order.
pub const AFFINE: &[Rule] = &[
    // Exact, but of no use by itself: offsets meet.
    sums("subtract-constant", 0, "(sub ?x ?c) if float(x), known(c), not known(x)", "(add ?x (neg ?c))"),
    with_effect("offset-then-scale", SUM_4, 3, batch_norm::offset_then_scale),
    sums(
        "merge-offsets",
        4,
        "(add (add ?x ?a) ?b) if merges(x), not known(x), known(a), known(b), sum(x), addends_merge(a, b)",
        "(add ?x (add ?a ?b))",
    ),
    with_effect("sum-of-sums", SUM_0, 2, reduce::sum_of_sums),
    with_effect("associate", SUM_0, 2, products::associate),
    with_effect("scaled-operand", SUM_2, 2, products::scaled_operand),
    with_effect("conv-scale", SUM_2, 3, batch_norm::conv_scale),
    with_effect("contract-scale", SUM_2, 3, batch_norm::contract_scale),
];

const SINGLE_3: Effect = Effect::Rounds { roundings: 3, touches: Touches::Single };
const SUM_0: Effect = Effect::Rounds { roundings: 0, touches: Touches::Sum };
const SUM_2: Effect = Effect::Rounds { roundings: 2, touches: Touches::Sum };
const SUM_4: Effect = Effect::Rounds { roundings: 4, touches: Touches::Sum };

/// Whether constants of a type may be merged.
pub(super) fn merges(dtype: DType) -> bool {
    matches!(dtype, DType::F32 | DType::F64)
}

/// Whether a known class has plain reciprocals: infinite or subnormal ones would lose more than rounding, and so would a
/// division by zero.
pub(super) fn plain(net: &Net, id: Id) -> bool {
    let plain = |value: f64| value.is_finite() && (1e-4..1e4).contains(&value.abs());
    match (net.splat(id), base(net, id)) {
        (Some(value), _) => plain(value),
        (None, Some(tensor)) => tensor.to_f64s().into_iter().all(plain),
        _ => false,
    }
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

/// Whether two constants may be multiplied first: they and their product are in the range of normal numbers.
pub(super) fn factors_merge(net: &mut Net, a: Id, b: Id) -> bool {
    let (least, most) = normal(net.dtype(a));
    let (Some(a), Some(b)) = (magnitudes(net, a), magnitudes(net, b)) else { return false };
    a.within(least, most) && b.within(least, most) && a.least * b.least >= least && a.most * b.most <= most
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

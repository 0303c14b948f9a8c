//! Comparisons, selections and masks: what is known to hold, and masks written as arithmetic.
//!
//! Exporters build masks of counted indices, comparisons, casts and selections. What bounds of values decide goes, and
//! what is left is logic on bools, which a kernel computes where it reads the mask.

use super::net::Net;
use super::one;
use super::range::interval;
use super::rule::{Rule, exact, exactly};
use super::saturate::Site;
use egg::Id;
use nnc_ir::op::{BinaryOp, Op};

/// The rules.
pub const RULES: &[Rule] = &[
    exactly("compare-by-range", 1, compare_by_range),
    exact("compare-same-holds", "(eq|le|ge ?x ?x) if not float(x)", "1"),
    // Not even NaN is less than itself.
    exact("compare-same-fails", "(lt|gt ?x ?x)", "0"),
    exact("differs-from-itself", "(ne ?x ?x) if not float(x)", "0"),
    exact("not-equal", "(not (eq ?x ?y))", "(ne ?x ?y)"),
    exact("not-different", "(not (ne ?x ?y))", "(eq ?x ?y)"),
    // Neither holds of NaN.
    exact("not-less", "(not (lt ?x ?y)) if not float(x)", "(ge ?x ?y)"),
    exact("not-greater", "(not (gt ?x ?y)) if not float(x)", "(le ?x ?y)"),
    exact("not-at-most", "(not (le ?x ?y)) if not float(x)", "(gt ?x ?y)"),
    exact("not-at-least", "(not (ge ?x ?y)) if not float(x)", "(lt ?x ?y)"),
    exact("and-opposite", "(and ?x (not ?x))", "0"),
    exact("or-opposite", "(or ?x (not ?x))", "1"),
    exact("select-condition", "(select ?c 1 0) if bool(root)", "?c"),
    exact("select-opposite", "(select ?c 0 1) if bool(root)", "(not ?c)"),
    exact("select-again-true", "(select ?c (select ?c ?x ?y) ?z)", "(select ?c ?x ?z)"),
    exact("select-again-false", "(select ?c ?x (select ?c ?y ?z))", "(select ?c ?x ?z)"),
    exact("select-both", "(select ?a (select ?b ?x ?y) ?y)", "(select (and ?a ?b) ?x ?y)"),
    exact("select-either", "(select ?a ?x (select ?b ?x ?y))", "(select (or ?a ?b) ?x ?y)"),
    exact("number-of-bool-is-0", "(eq (convert ?c) 0) if bool(c)", "(not ?c)"),
    exact("number-of-bool-is-1", "(eq (convert ?c) 1) if bool(c)", "?c"),
    exact("number-of-bool-is-not-0", "(ne|gt (convert ?c) 0) if bool(c)", "?c"),
    exact("number-of-bool-is-not-1", "(ne|lt (convert ?c) 1) if bool(c)", "(not ?c)"),
    exact("one-without-bool", "(sub 1 (convert ?c)) if bool(c)", "(convert (not ?c))"),
    exact("convert-select", "(convert (select ?c 1 0))", "(convert ?c)"),
    exact("convert-select-opposite", "(convert (select ?c 0 1))", "(convert (not ?c))"),
    exact("max-by-range", "(max ?x ?y) if stays_above(x, y)", "?x"),
    exact("min-by-range", "(min ?x ?y) if stays_below(x, y)", "?x"),
];

/// A comparison that bounds decide. NaN compares as false, so floats are only known to fail, or to differ.
fn compare_by_range(net: &mut Net, site: &Site) -> Vec<Id> {
    let (Op::Binary(f), &[x, y]) = (site.op, site.args) else { return vec![] };
    if !f.is_comparison() {
        return vec![];
    }
    let (a, b) = (interval(net, x), interval(net, y));
    let (below, above) = (a.high < b.low, a.low > b.high);
    let (at_most, at_least) = (a.high <= b.low, a.low >= b.high);
    let holds = match f {
        BinaryOp::Lt => decide(below, at_least),
        BinaryOp::Le => decide(at_most, above),
        BinaryOp::Gt => decide(above, at_most),
        BinaryOp::Ge => decide(at_least, below),
        BinaryOp::Eq => decide(false, below || above),
        BinaryOp::Ne => decide(below || above, false),
        _ => None,
    };
    let sure = holds.filter(|&holds| !net.dtype(x).is_float() || holds == (*f == BinaryOp::Ne));
    let ty = net.ty(site.class);
    one(sure.and_then(|holds| net.full(ty.dtype, f64::from(u8::from(holds)), ty.shape.clone())))
}

/// Whether a comparison holds, of what proves either.
fn decide(holds: bool, fails: bool) -> Option<bool> {
    (holds != fails).then_some(holds)
}

/// Whether the greater of two is the first, to the bit. The second is no NaN, which would win; zeros have signs.
pub(super) fn stays_above(net: &mut Net, x: Id, y: Id) -> bool {
    let (a, b) = (interval(net, x), interval(net, y));
    number(net, y) && (a.low > b.high || a.low == b.high && (!net.dtype(x).is_float() || b.high != 0.0))
}

/// Whether the smaller of two is the first, to the bit.
pub(super) fn stays_below(net: &mut Net, x: Id, y: Id) -> bool {
    let (a, b) = (interval(net, x), interval(net, y));
    number(net, y) && (a.high < b.low || a.high == b.low && (!net.dtype(x).is_float() || b.low != 0.0))
}

/// Whether no element is NaN.
fn number(net: &Net, id: Id) -> bool {
    !net.dtype(id).is_float() || net.splat(id).is_some_and(|value| !value.is_nan())
}

//! The guards that patterns name. Each answers no when it does not know.

use super::{Bindings, Check};
use crate::rules::approx::{addends_merge, factors_merge, merges, plain};
use crate::rules::batch_norm::is_sum;
use crate::rules::cost::moves_units_only;
use crate::rules::identity::embeds;
use crate::rules::logic::{stays_above, stays_below};
use crate::rules::net::Net;
use crate::rules::range::at_least;
use egg::Id;
use nnc_ir::op::Op;
use nnc_ir::{DType, Dim};

/// A condition on classes, or on the attributes of an operation and a class.
#[derive(Clone, Copy, Debug)]
pub enum Guard {
    /// On one class.
    Class(fn(&mut Net, Id) -> bool),
    /// On two classes.
    Pair(fn(&mut Net, Id, Id) -> bool),
    /// On three classes.
    Three(fn(&Net, Id, Id, Id) -> bool),
    /// On an operation and its operand.
    Operation(fn(&Net, &Op, Id) -> bool),
}

impl Guard {
    /// How many attributes and classes it takes.
    pub(super) fn operands(self) -> (usize, usize) {
        match self {
            Guard::Class(_) => (0, 1),
            Guard::Pair(_) => (0, 2),
            Guard::Three(_) => (0, 3),
            Guard::Operation(_) => (1, 1),
        }
    }
}

/// The guards by name.
pub const GUARDS: &[(&str, Guard)] = &[
    ("float", Guard::Class(|net, x| net.dtype(x).is_float())),
    ("bool", Guard::Class(|net, x| net.dtype(x) == DType::Bool)),
    // Types whose constants may be merged.
    ("merges", Guard::Class(|net, x| merges(net.dtype(x)))),
    // Depends on constants alone.
    ("known", Guard::Class(|net, x| net.is_known(x))),
    // Has one value everywhere, which is known.
    ("splat", Guard::Class(|net, x| net.splat(x).is_some())),
    ("finite", Guard::Class(|net, x| net.splat(x).is_some_and(f64::is_finite))),
    ("at_least_zero", Guard::Class(|net, x| at_least(net, x) >= 0.0)),
    ("above_zero", Guard::Class(|net, x| at_least(net, x) > 0.0)),
    ("stays_above", Guard::Pair(stays_above)),
    ("stays_below", Guard::Pair(stays_below)),
    // All elements have plain reciprocals.
    ("plain", Guard::Class(|net, x| plain(net, x))),
    // Holds a product with constant weights that sums several terms.
    ("sum", Guard::Class(|net, x| is_sum(net, x))),
    ("same_type", Guard::Pair(|net, x, y| net.dtype(x) == net.dtype(y))),
    ("same_shape", Guard::Pair(|net, x, y| net.facts(x).ty.shape == net.facts(y).ty.shape)),
    ("factors_merge", Guard::Pair(factors_merge)),
    ("addends_merge", Guard::Pair(addends_merge)),
    // Converting the first to the second and then to the third is converting it to the third.
    ("lossless", Guard::Three(lossless)),
    (
        "moves_units_only",
        Guard::Operation(|net, op, x| match op {
            Op::Transpose { perm } => moves_units_only(&net.ty(x), perm),
            _ => false,
        }),
    ),
    ("repeats_nothing", Guard::Operation(repeats_nothing)),
    ("takes_all", Guard::Operation(takes_all)),
    (
        "no_border",
        Guard::Operation(|_, op, _| match op {
            Op::Pad { low, high, .. } => low.iter().chain(high).all(|d| d.is_const(0)),
            _ => false,
        }),
    ),
];

impl Check {
    pub(super) fn holds(&self, net: &mut Net, bound: &Bindings) -> bool {
        let class = |i: usize| self.classes.get(i).and_then(|&at| bound.classes[at]);
        let answer = match self.guard {
            Guard::Class(f) => class(0).map(|x| f(net, x)),
            Guard::Pair(f) => class(0).zip(class(1)).map(|(x, y)| f(net, x, y)),
            Guard::Three(f) => class(0).zip(class(1)).zip(class(2)).map(|((x, y), z)| f(net, x, y, z)),
            Guard::Operation(f) => {
                let op = self.attributes.first().and_then(|&at| bound.attributes[at].as_ref());
                op.zip(class(0)).map(|(op, x)| f(net, op, x))
            }
        };
        answer.is_some_and(|holds| holds != self.negated)
    }
}

fn lossless(net: &Net, first: Id, middle: Id, last: Id) -> bool {
    let (from, middle, to) = (net.dtype(first), net.dtype(middle), net.dtype(last));
    // Between integers a conversion wraps, from a float it saturates.
    let wraps = from.is_int() && to.is_int() && from != to && !embeds(from, to);
    embeds(from, middle) && !(wraps && middle.is_float())
}

fn repeats_nothing(net: &Net, op: &Op, x: Id) -> bool {
    let Op::Broadcast { shape, axes } = op else { return false };
    let from = &net.facts(x).ty.shape;
    shape.iter().enumerate().all(|(i, size)| match axes.iter().position(|&a| a == i) {
        Some(operand) => from[operand] == *size,
        None => size.is_const(1),
    })
}

fn takes_all(net: &Net, op: &Op, x: Id) -> bool {
    let Op::Slice { starts, sizes, steps } = op else { return false };
    let from_zero = starts.iter().all(|s: &Dim| s.is_const(0)) && steps.iter().all(|&s| s == 1);
    from_zero && net.facts(x).ty.shape == *sizes
}

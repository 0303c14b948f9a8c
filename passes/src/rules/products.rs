//! Products of which a part is read, or that stand side by side; products of products with constants. Those of which an
//! operand is repeated are in `repeats`.
//!
//! Products of one operand that are read apart (query, key and value) are joined by the pass `merge_contracts`, not here:
//! each alone gains nothing, so an extraction that looks at one class at a time would never choose it.

use super::net::Net;
use super::one;
use super::range::magnitudes;
use super::rule::{Rule, exactly};
use super::saturate::Site;
use super::{approx, batch_norm, repeats};
use egg::Id;
use nnc_ir::op::{BinaryOp, Op};
use nnc_ir::{DType, Dim};
use std::ops::Range;

/// The rules.
pub const RULES: &[Rule] = &[
    exactly("slice-contract", 2, slice_contract),
    exactly("slice-conv", 2, slice_conv),
    exactly("concat-products", 2, concat_products),
    exactly("contract-batch", 3, repeats::split_batch),
    exactly("contract-repeated", 2, repeats::repeated),
];

/// A slice of an operand.
struct Cut {
    starts: Vec<Dim>,
    sizes: Vec<Dim>,
    steps: Vec<i64>,
}

impl Cut {
    fn whole(shape: Vec<Dim>) -> Cut {
        Cut { starts: vec![Dim::ZERO; shape.len()], steps: vec![1; shape.len()], sizes: shape }
    }

    /// Takes of one axis what another slice takes of one.
    fn take(&mut self, axis: usize, slice: (&[Dim], &[Dim], &[i64]), from: usize) {
        self.starts[axis] = slice.0[from].clone();
        self.sizes[axis] = slice.1[from].clone();
        self.steps[axis] = slice.2[from];
    }

    fn of(self, net: &mut Net, x: Id) -> Option<Id> {
        let all = net.facts(x).ty.shape == self.sizes
            && self.steps.iter().all(|&step| step == 1)
            && self.starts.iter().all(|start| start.is_const(0));
        if all {
            Some(x)
        } else {
            net.add(Op::Slice { starts: self.starts, sizes: self.sizes, steps: self.steps }, &[x])
        }
    }
}

/// A part of a product is the product of parts.
fn slice_contract(net: &mut Net, site: &Site) -> Vec<Id> {
    let (Op::Slice { starts, sizes, steps }, &[x]) = (site.op, site.args) else { return vec![] };
    let slice = (starts.as_slice(), sizes.as_slice(), steps.as_slice());
    let mut found = vec![];
    for (op, lhs, rhs) in
        net.pick(x, |op, args| matches!(op, Op::Contract { .. }).then(|| (op.clone(), args[0], args[1])))
    {
        let Op::Contract { batch, contract, .. } = &op else { continue };
        let (mut left, mut right) = (Cut::whole(net.shape(lhs)), Cut::whole(net.shape(rhs)));
        for (axis, &(l, r)) in batch.iter().enumerate() {
            left.take(l, slice, axis);
            right.take(r, slice, axis);
        }
        let paired =
            |axis: usize, side: fn(&(usize, usize)) -> usize| batch.iter().chain(contract).any(|p| side(p) == axis);
        let mut next = batch.len();
        for axis in (0..left.sizes.len()).filter(|&axis| !paired(axis, |p| p.0)) {
            left.take(axis, slice, next);
            next += 1;
        }
        for axis in (0..right.sizes.len()).filter(|&axis| !paired(axis, |p| p.1)) {
            right.take(axis, slice, next);
            next += 1;
        }
        let parts = left.of(net, lhs).zip(right.of(net, rhs));
        found.extend(parts.and_then(|(lhs, rhs)| net.add(op, &[lhs, rhs])));
    }
    found
}

/// Some output channels, and some of the batch, of a convolution: of one in groups, whole groups.
fn slice_conv(net: &mut Net, site: &Site) -> Vec<Id> {
    let (Op::Slice { starts, sizes, steps }, &[x]) = (site.op, site.args) else { return vec![] };
    // A scalar is no convolution.
    let (whole, Some(last)) = (net.shape(x), sizes.len().checked_sub(1)) else { return vec![] };
    let spatial = 1..last;
    let uncut = spatial.clone().all(|axis| sizes[axis] == whole[axis] && steps[axis] == 1);
    if !uncut {
        return vec![];
    }
    let slice = (starts.as_slice(), sizes.as_slice(), steps.as_slice());
    let convs = net.pick(x, |op, args| match op {
        Op::Conv { window, groups, out } => Some((window.clone(), *groups, *out, args[0], args[1])),
        _ => None,
    });
    let mut found = vec![];
    for (window, groups, out, image, weights) in convs {
        let (mut images, mut filters) = (Cut::whole(net.shape(image)), Cut::whole(net.shape(weights)));
        images.take(0, slice, 0);
        filters.take(last, slice, last);
        let Some(part) = groups_of(groups, &whole[last], (&starts[last], &sizes[last], steps[last])) else { continue };
        if groups > 1 {
            // Each group reads channels of its own: the size of the weights' axis before the last.
            let each = &filters.sizes[last - 1];
            images.starts[last] = each * &Dim::from(part.start);
            images.sizes[last] = each * &Dim::from(part.len());
        }
        let op = Op::Conv { window, groups: part.len(), out };
        let parts = images.of(net, image).zip(filters.of(net, weights));
        found.extend(parts.and_then(|(image, weights)| net.add(op, &[image, weights])));
    }
    found
}

/// The groups of a convolution that yield a part of its channels, when they yield nothing else.
fn groups_of(groups: usize, channels: &Dim, (start, size, step): (&Dim, &Dim, i64)) -> Option<Range<usize>> {
    if groups == 1 {
        return Some(0..1);
    }
    let constant = |dim: &Dim| dim.as_const().and_then(|n| usize::try_from(n).ok());
    let (start, size) = (constant(start)?, constant(size)?);
    let each = constant(channels)?.checked_div(groups).filter(|&each| each > 0)?;
    let whole = step == 1 && size > 0 && start % each == 0 && size % each == 0;
    whole.then(|| start / each..(start + size) / each)
}

/// Products of one operand with constants, side by side, are a product with the constants side by side.
fn concat_products(net: &mut Net, site: &Site) -> Vec<Id> {
    let Op::Concat { axis } = site.op else { return vec![] };
    let Some((&first, others)) = site.args.split_first().filter(|(_, others)| !others.is_empty()) else {
        return vec![];
    };
    let product = |op: &Op, args: &[Id]| {
        matches!(op, Op::Contract { .. } | Op::Conv { groups: 1, .. }).then(|| (op.clone(), args[0], args[1]))
    };
    let mut found = vec![];
    for (op, x, w) in net.pick(first, product) {
        let Some(along) = column_axis(net, &op, w, *axis, net.facts(first).ty.rank()) else { continue };
        let mut weights = vec![w];
        for &other in others {
            let same = |(f, y, _): &(Op, Id, Id)| *f == op && net.equal(*y, x);
            weights.extend(net.pick(other, product).into_iter().find(same).map(|(_, _, w)| w));
        }
        if weights.len() == site.args.len() && weights.iter().all(|&w| net.is_known(w)) && !net.is_known(x) {
            let joined = net.add(Op::Concat { axis: along }, &weights);
            found.extend(joined.and_then(|joined| net.add(op, &[x, joined])));
        }
    }
    found
}

/// The axis of the weights that an axis of a product's result is.
fn column_axis(net: &Net, op: &Op, weights: Id, axis: usize, rank: usize) -> Option<usize> {
    let right = net.facts(weights).ty.rank();
    match op {
        Op::Conv { .. } => (axis + 1 == rank).then_some(right - 1),
        Op::Contract { batch, contract, .. } => {
            let free: Vec<usize> = (0..right).filter(|&a| !batch.iter().chain(contract).any(|p| p.1 == a)).collect();
            free.get(axis.checked_sub(rank - free.len())?).copied()
        }
        _ => None,
    }
}

/// The largest magnitude of weights that are multiplied with each other.
const MOST: f64 = (1u64 << 32) as f64;

/// `(x * v) * w` is `x * (v * w)` for matrices of constants, on whichever side of each product they stand. Which is
/// cheaper is for extraction to say.
pub(super) fn associate(net: &mut Net, site: &Site) -> Vec<Id> {
    let (Some((outer, out)), &[lhs, rhs]) = (one_pair(site.op), site.args) else { return vec![] };
    if !approx::merges(out) || !batch_norm::sums_several(net, site.op, site.args) {
        return vec![];
    }
    let mut found = vec![];
    for (w, inner, right) in [(lhs, rhs, false), (rhs, lhs, true)] {
        let (of_w, of_inner) = if right { (outer.1, outer.0) } else { outer };
        if is_matrix(net, w) {
            let weights = Weights { class: w, summed: of_w, right };
            found.extend(associate_inner(net, out, weights, (inner, of_inner)));
        }
    }
    found
}

/// A matrix of constants, and how it stands in a product.
#[derive(Clone, Copy)]
struct Weights {
    class: Id,
    /// The axis that the product sums.
    summed: usize,
    /// Whether it is the right operand.
    right: bool,
}

/// Products with `outer` of the products in a class, of which an axis is summed.
fn associate_inner(net: &mut Net, out: DType, outer: Weights, (inner, summed): (Id, usize)) -> Vec<Id> {
    let products = net.pick(inner, |op, args| one_pair(op).map(|(pair, _)| (op.clone(), pair, args[0], args[1])));
    let mut found = vec![];
    for (op, pair, lhs, rhs) in products {
        for (v, x, right) in [(lhs, rhs, false), (rhs, lhs, true)] {
            let (of_v, of_x) = if right { (pair.1, pair.0) } else { pair };
            // What is summed must be what the constants of the first product yield.
            let columns = if right { net.facts(inner).ty.rank().saturating_sub(1) } else { 0 };
            let sums = batch_norm::sums_several(net, &op, &[lhs, rhs]);
            if summed != columns || !sums || net.is_known(x) || !is_matrix(net, v) {
                continue;
            }
            let small = |id| magnitudes(net, id).is_some_and(|m| m.most <= MOST);
            if ![v, outer.class].into_iter().all(small) {
                continue;
            }
            // The constants keep the side on which the last of them stood, for there its axis is in the result.
            let product = |pair: (usize, usize)| Op::Contract { batch: vec![], contract: vec![pair], out };
            let (first, second) = if outer.right {
                ((v, outer.class, (1 - of_v, outer.summed)), (of_x, 0))
            } else {
                ((outer.class, v, (outer.summed, 1 - of_v)), (1, of_x))
            };
            let Some(both) = net.add(product(first.2), &[first.0, first.1]) else { continue };
            let args = if outer.right { [x, both] } else { [both, x] };
            found.extend(net.add(product(second), &args));
        }
    }
    found
}

/// The axes that a product sums, and its type, when it sums one of each operand and pairs no others.
fn one_pair(op: &Op) -> Option<((usize, usize), DType)> {
    match op {
        Op::Contract { batch, contract, out } if batch.is_empty() && contract.len() == 1 => Some((contract[0], *out)),
        _ => None,
    }
}

/// Whether a class is a matrix of constants.
fn is_matrix(net: &Net, id: Id) -> bool {
    net.is_known(id) && net.facts(id).ty.rank() == 2
}

/// `(x * s) . y` is `(x . y) * s` for one number `s`: what scales an operand is done where the product is stored.
pub(super) fn scaled_operand(net: &mut Net, site: &Site) -> Vec<Id> {
    let (Op::Contract { out, .. }, &[lhs, rhs]) = (site.op, site.args) else { return vec![] };
    // Constant weights take scales from behind the product.
    let weights = net.is_known(lhs) || net.is_known(rhs);
    if weights || !approx::merges(*out) || !batch_norm::sums_several(net, site.op, site.args) {
        return vec![];
    }
    let shape = net.shape(site.class);
    let mut found = vec![];
    for side in [0, 1] {
        let scaled = |op: &Op, args: &[Id]| (*op == Op::Binary(BinaryOp::Mul)).then(|| (args[0], args[1]));
        for (x, y) in net.pick(if side == 0 { lhs } else { rhs }, scaled) {
            let (x, factor) = if net.splat(y).is_some() { (x, y) } else { (y, x) };
            let Some(value) = net.splat(factor).filter(|s| (1.0 / MOST..MOST).contains(&s.abs())) else { continue };
            let args = if side == 0 { [x, rhs] } else { [lhs, x] };
            let product = net.add(site.op.clone(), &args);
            let factor = net.full(*out, value, shape.clone());
            let result = product.zip(factor).and_then(|(product, s)| net.binary(BinaryOp::Mul, product, s));
            found.extend(one(result));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{RULES, approx};
    use crate::rules::Rule;
    use crate::rules::tests::{check, examples::text, parse};

    /// A slice that begins or ends within a group would need that group divided.
    #[test]
    fn parts_of_groups_stay() {
        let rules: Vec<&Rule> = RULES.iter().filter(|rule| rule.name == "slice-conv").collect();
        let divides = |start: i64, size: i64, step: i64| {
            let body = format!(
                "%2 = constant f32[1, 2, 12] random=1\n%3 = conv %0, %2 window={{ size=[1] strides=[1] dilations=[1] pad_low=[0] pad_high=[0] }} groups=3 out=f32 : f32[1, 5, 12]\n%4 = slice %3 starts=[0, 0, {start}] sizes=[1, 5, {size}] steps=[1, 1, {step}] : f32[1, 5, {size}]"
            );
            check(&parse(&text("f32[1, 5, 6]", &body)), &rules, 1).unwrap().contains_key("slice-conv")
        };
        let cuts = [(0, 4, 1), (4, 8, 1), (4, 3, 1), (2, 4, 1), (0, 4, 2), (0, 0, 1)];
        assert_eq!(
            cuts.map(|(start, size, step)| divides(start, size, step)),
            [true, true, false, false, false, false]
        );
    }

    /// Square matrices fit whatever is summed: only the constants' own columns may be.
    #[test]
    fn constants_meet_where_one_sums_what_the_other_yields() {
        let rules: Vec<&Rule> = approx::AFFINE.iter().filter(|rule| rule.name == "associate").collect();
        let operands = |right: bool, x: &str, c: &str| if right { format!("{x}, {c}") } else { format!("{c}, {x}") };
        for case in 0..64u32 {
            let [outer, inner, l, r, a, b] = [0, 1, 2, 3, 4, 5].map(|bit| case >> bit & 1 == 1);
            let (first, second) = (operands(inner, "%0", "%5"), operands(outer, "%7", "%6"));
            let [l, r, a, b] = [l, r, a, b].map(usize::from);
            let body = format!(
                "%5 = constant f32[4, 4] random=1\n%6 = constant f32[4, 4] random=2\n%7 = contract {first} batch=[] contract=[({a}, {b})] out=f32 : f32[4, 4]\n%8 = contract {second} batch=[] contract=[({l}, {r})] out=f32 : f32[4, 4]"
            );
            let applies = check(&parse(&text("f32[4, 4]", &body)), &rules, 1).unwrap().contains_key("associate");
            let summed = if outer { l } else { r };
            assert_eq!(applies, summed == usize::from(inner), "{body}");
        }
    }
}

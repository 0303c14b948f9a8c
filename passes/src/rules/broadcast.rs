//! Broadcasts move toward the results, so that arithmetic is done before elements are repeated.
//!
//! Canonical form: the operand of a broadcast has no unit axes; a broadcast of a broadcast is one.

use super::groups::{groups, same_but_units};
use super::net::Net;
use super::one;
use super::rule::{Rule, exact, exactly};
use super::saturate::Site;
use egg::Id;
use nnc_ir::op::{Op, ReduceOp};
use nnc_ir::{Dim, Tensor};

/// The rules.
pub const RULES: &[Rule] = &[
    exactly("broadcast-squeeze", 1, squeeze),
    exactly("broadcast-reshape", 2, broadcast_reshape),
    exactly("broadcast-broadcast", 2, broadcast_broadcast),
    exact("broadcast-units", "(broadcast:to ?x) if repeats_nothing(to, x)", "(reshape ?x)"),
    exactly("elementwise-broadcast", 2, elementwise),
    exactly("transpose-broadcast", 2, transpose),
    exactly("reshape-broadcast", 2, reshape),
    exactly("slice-broadcast", 2, slice),
    exactly("reduce-broadcast", 2, reduce),
    exactly("concat-splat", 1, concat_splat),
    exactly("shrink-splat", 1, shrink_splat),
];

/// Unit axes of the operand go.
fn squeeze(net: &mut Net, site: &Site) -> Vec<Id> {
    let (Op::Broadcast { shape, axes }, &[x]) = (site.op, site.args) else { return vec![] };
    let from = net.shape(x);
    if from.iter().all(|d| !d.is_const(1)) {
        return vec![];
    }
    let (dims, axes) = from.into_iter().zip(axes.iter().copied()).filter(|(d, _)| !d.is_const(1)).unzip();
    let squeezed = net.reshape(x, dims);
    one(squeezed.and_then(|x| net.broadcast(x, shape.clone(), axes)))
}

/// A broadcast of a reshape that only added or removed unit axes reads the reshape's operand, as where a mean was kept
/// with a unit axis: `broadcast(reshape(mean))` is `broadcast(mean)`. One operation less, and leading axes stay leading.
fn broadcast_reshape(net: &mut Net, site: &Site) -> Vec<Id> {
    let (Op::Broadcast { shape, axes }, &[x]) = (site.op, site.args) else { return vec![] };
    let from = net.shape(x);
    let solid: Vec<usize> =
        from.iter().zip(axes).filter(|(size, _)| !size.is_const(1)).map(|(_, &axis)| axis).collect();
    let mut found = vec![];
    for inner in net.all_reshapes(x) {
        let source = net.shape(inner);
        if !same_but_units(&source, &from) {
            continue;
        }
        // Solid axes keep their places; a unit axis takes the first one free before the next solid axis.
        let (mut places, mut next_solid, mut free) = (vec![], solid.iter().copied(), 0);
        for size in &source {
            let place = if size.is_const(1) { Some(free) } else { next_solid.next() };
            places.extend(place);
            free = place.map_or(free, |p| p + 1);
        }
        // What does not fit, the operation refuses.
        found.extend(net.broadcast(inner, shape.clone(), places));
    }
    found
}

fn broadcast_broadcast(net: &mut Net, site: &Site) -> Vec<Id> {
    let (Op::Broadcast { shape, axes }, &[x]) = (site.op, site.args) else { return vec![] };
    let mut found = vec![];
    for (inner, first) in net.broadcasts(x) {
        found.extend(net.broadcast(inner, shape.clone(), first.iter().map(|&a| axes[a]).collect()));
    }
    found
}

/// Operands that are all broadcasts, or constants of one value, are combined before they are repeated, over the axes
/// that any of them has.
fn elementwise(net: &mut Net, site: &Site) -> Vec<Id> {
    if !matches!(site.op, Op::Unary(_) | Op::Binary(_) | Op::Select | Op::Convert(_) | Op::Bitcast(_)) {
        return vec![];
    }
    let shape = net.shape(site.class);
    // The first broadcast of each operand: one is enough, for they are in canonical form or will be.
    let Some(parts) = site.args.iter().map(|&arg| spread(net, arg)).collect::<Option<Vec<_>>>() else {
        return vec![];
    };
    let mut union: Vec<usize> = parts.iter().flat_map(|(_, axes)| axes.iter().copied()).collect();
    union.sort_unstable();
    union.dedup();
    // Something must be gained: an axis that no operand has.
    if (0..shape.len()).all(|axis| union.contains(&axis) || shape[axis].is_const(1)) {
        return vec![];
    }
    let small: Vec<Dim> = union.iter().map(|&axis| shape[axis].clone()).collect();
    let mut operands = vec![];
    for (inner, axes) in parts {
        let place = |axis: &usize| union.iter().position(|u| u == axis);
        let Some(places) = axes.iter().map(place).collect::<Option<Vec<_>>>() else { return vec![] };
        operands.extend(net.broadcast(inner, small.clone(), places));
    }
    if operands.len() != site.args.len() {
        return vec![];
    }
    let result = net.add(site.op.clone(), &operands);
    one(result.and_then(|result| net.broadcast(result, shape, union)))
}

/// What a class repeats, and the axes it has; a constant of one value repeats a scalar.
fn spread(net: &mut Net, id: Id) -> Option<(Id, Vec<usize>)> {
    if let Some(value) = net.splat(id) {
        let scalar = net.tensor(Tensor::scalar_of(net.dtype(id), value));
        return Some((scalar, vec![]));
    }
    let narrow = |(inner, axes): &(Id, Vec<usize>)| net.facts(*inner).ty.shape.len() == axes.len();
    net.broadcasts(id).into_iter().filter(narrow).min_by_key(|(_, axes)| axes.len())
}

fn transpose(net: &mut Net, site: &Site) -> Vec<Id> {
    let (Op::Transpose { perm }, &[x]) = (site.op, site.args) else { return vec![] };
    let shape = net.shape(site.class);
    let mut found = vec![];
    for (inner, axes) in net.broadcasts(x) {
        // Where each operand axis ends up, and the operand's axes in that order.
        let place = |axis: usize| perm.iter().position(|&p| p == axis);
        let Some(places) = axes.iter().map(|&a| place(a)).collect::<Option<Vec<usize>>>() else { continue };
        let mut order: Vec<usize> = (0..places.len()).collect();
        order.sort_by_key(|&i| places[i]);
        let axes = order.iter().map(|&i| places[i]).collect();
        let inner = net.transpose(inner, order);
        found.extend(inner.and_then(|inner| net.broadcast(inner, shape.clone(), axes)));
    }
    found
}

/// A reshape whose groups hold either all or nothing of the operand's elements.
fn reshape(net: &mut Net, site: &Site) -> Vec<Id> {
    let (Op::Reshape { shape }, &[x]) = (site.op, site.args) else { return vec![] };
    let wide = net.shape(x);
    let Some(groups) = groups(&wide, shape) else { return vec![] };
    let mut found = vec![];
    'next: for (inner, axes) in net.broadcasts(x) {
        let from = net.shape(inner);
        let (mut dims, mut new_axes) = (vec![], vec![]);
        for group in &groups {
            let present = |axis: usize| axes.iter().position(|&a| a == axis).filter(|&i| !from[i].is_const(1));
            let solid = |axis: usize| !wide[axis].is_const(1);
            let held = group.from.clone().filter(|&a| present(a).is_some()).count();
            let wanted = group.from.clone().filter(|&a| solid(a)).count();
            if held == 0 {
                continue;
            }
            if held != wanted {
                continue 'next;
            }
            for axis in group.to.clone() {
                dims.push(shape[axis].clone());
                new_axes.push(axis);
            }
        }
        let inner = net.reshape(inner, dims);
        found.extend(inner.and_then(|inner| net.broadcast(inner, shape.clone(), new_axes)));
    }
    found
}

fn slice(net: &mut Net, site: &Site) -> Vec<Id> {
    let (Op::Slice { starts, sizes, steps }, &[x]) = (site.op, site.args) else { return vec![] };
    let mut found = vec![];
    for (inner, axes) in net.broadcasts(x) {
        let from = net.shape(inner);
        let (mut inner_starts, mut inner_sizes, mut inner_steps) = (vec![], vec![], vec![]);
        for (size, &axis) in from.iter().zip(&axes) {
            // A unit axis is repeated, so any part of it is repeated as well.
            let unit = size.is_const(1);
            inner_starts.push(if unit { Dim::ZERO } else { starts[axis].clone() });
            inner_sizes.push(if unit { Dim::ONE } else { sizes[axis].clone() });
            inner_steps.push(if unit { 1 } else { steps[axis] });
        }
        let whole =
            inner_sizes == from && inner_starts.iter().all(|s| s.is_const(0)) && inner_steps.iter().all(|&s| s == 1);
        let part = if whole {
            Some(inner)
        } else {
            net.add(Op::Slice { starts: inner_starts, sizes: inner_sizes, steps: inner_steps }, &[inner])
        };
        found.extend(part.and_then(|part| net.broadcast(part, sizes.clone(), axes)));
    }
    found
}

/// The largest of equal elements is any of them, when there is one.
fn reduce(net: &mut Net, site: &Site) -> Vec<Id> {
    let (Op::Reduce { op: ReduceOp::Max | ReduceOp::Min, axes: reduced }, &[x]) = (site.op, site.args) else {
        return vec![];
    };
    let wide = net.shape(x);
    let dims = &net.egraph.analysis.dims;
    if !reduced.iter().all(|&axis| wide[axis].provably_ge(&Dim::ONE, dims)) {
        return vec![];
    }
    let shape = net.shape(site.class);
    let mut found = vec![];
    for (inner, axes) in net.broadcasts(x) {
        if reduced.iter().any(|axis| axes.contains(axis)) {
            continue;
        }
        let axes = axes.iter().map(|&a| a - reduced.iter().filter(|&&r| r < a).count()).collect();
        found.extend(net.broadcast(inner, shape.clone(), axes));
    }
    found
}

/// Operands of one common value.
fn concat_splat(net: &mut Net, site: &Site) -> Vec<Id> {
    let (Op::Concat { .. }, Some(&first)) = (site.op, site.args.first()) else { return vec![] };
    let Some(value) = net.splat(first) else { return vec![] };
    if !site.args.iter().all(|&x| net.is_splat(x, value)) {
        return vec![];
    }
    let ty = net.ty(site.class);
    one(net.full(ty.dtype, value, ty.shape.clone()))
}

/// A constant of one value is a broadcast scalar.
fn shrink_splat(net: &mut Net, site: &Site) -> Vec<Id> {
    if matches!(site.op, Op::Broadcast { .. }) || net.facts(site.class).ty.shape.is_empty() {
        return vec![];
    }
    let Some(value) = net.splat(site.class) else { return vec![] };
    let ty = net.ty(site.class);
    let exact = ty.count().as_const().is_none_or(|n| n > 1);
    if exact { one(net.full(ty.dtype, value, ty.shape.clone())) } else { vec![] }
}

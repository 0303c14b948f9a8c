//! Reshapes move toward the results: through elementwise operations, and through products where the axes allow, so
//! that what follows a product stays in its epilogue.

use super::groups::{Group, groups, same_but_units};
use super::net::Net;
use super::rule::{Rule, exactly};
use super::saturate::Site;
use egg::Id;
use nnc_ir::Dim;
use nnc_ir::op::{Op, ReduceOp};

/// The rules.
pub const RULES: &[Rule] = &[
    exactly("elementwise-reshape", 2, elementwise),
    exactly("reduce-reshape", 2, reduce),
    exactly("contract-reshape", 2, contract),
    exactly("contract-split", 3, contract_split),
    exactly("slice-reshape", 2, slice),
    exactly("concat-reshape", 2, concat),
];

/// `f(reshape(x), y)` is `reshape(f(x, reshape(y)))`. The other operands must be reshapes from the same shape, or
/// broadcasts or constants that the inverse reshape can pass.
fn elementwise(net: &mut Net, site: &Site) -> Vec<Id> {
    if !matches!(site.op, Op::Unary(_) | Op::Binary(_) | Op::Select | Op::Convert(_) | Op::Bitcast(_)) {
        return vec![];
    }
    let shape = net.shape(site.class);
    let mut sources: Vec<Vec<Dim>> = vec![];
    for &arg in site.args {
        for inner in net.reshapes(arg) {
            let source = net.shape(inner);
            // Of a scalar nothing is gained, and a broadcast operand belongs to the broadcast rules.
            if !source.is_empty() && source != shape && !sources.contains(&source) {
                sources.push(source);
            }
        }
    }
    let mut found = vec![];
    for source in sources {
        let operands: Option<Vec<Id>> = site.args.iter().map(|&arg| unshape(net, arg, &source)).collect();
        let Some(operands) = operands else { continue };
        let result = net.add(site.op.clone(), &operands);
        found.extend(result.and_then(|result| net.reshape(result, shape.clone())));
    }
    found
}

/// A class in the shape it was reshaped from, at no cost.
fn unshape(net: &mut Net, id: Id, source: &[Dim]) -> Option<Id> {
    if let Some(inner) = net.all_reshapes(id).into_iter().find(|&inner| net.facts(inner).ty.shape == source) {
        return Some(inner);
    }
    let shape = net.shape(id);
    // Only a group of axes that the broadcast fills or leaves alone as a whole can be regrouped.
    let groups = groups(&shape, source)?;
    let passes = net.splat(id).is_some()
        || net.is_known(id)
        || net.broadcasts(id).iter().any(|(inner, axes)| {
            let from = &net.facts(*inner).ty.shape;
            groups.iter().all(|group| {
                let held = group.from.clone().filter(|&axis| {
                    !shape[axis].is_const(1)
                        && axes.iter().position(|&a| a == axis).is_some_and(|i| !from[i].is_const(1))
                });
                let solid = group.from.clone().filter(|&axis| !shape[axis].is_const(1)).count();
                let held = held.count();
                held == 0 || held == solid
            })
        });
    if passes { net.reshape(id, source.to_vec()) } else { None }
}

/// A reduction of a reshape: over unit axes it is a reshape; else the reduced axes are whole groups.
fn reduce(net: &mut Net, site: &Site) -> Vec<Id> {
    let (Op::Reduce { op, axes }, &[x]) = (site.op, site.args) else { return vec![] };
    let shape = net.shape(site.class);
    let wide = net.shape(x);
    let mut found = vec![];
    if axes.iter().all(|&axis| wide[axis].is_const(1)) {
        found.extend(net.reshape(x, shape.clone()));
    }
    for inner in net.reshapes(x) {
        let source = net.shape(inner);
        let Some(groups) = groups(&source, &wide) else { continue };
        let Some(reduced) = whole_groups(&groups, axes, &wide) else { continue };
        if !reduced.is_empty() {
            let result = net.add(Op::Reduce { op: *op, axes: reduced }, &[inner]);
            found.extend(result.and_then(|result| net.reshape(result, shape.clone())));
        }
    }
    if matches!(op, ReduceOp::Sum | ReduceOp::Max | ReduceOp::Min | ReduceOp::Prod) {
        found.extend(reduce_units(net, site, &wide, axes));
    }
    found
}

/// Unit axes among reduced ones go by a reshape first.
fn reduce_units(net: &mut Net, site: &Site, wide: &[Dim], axes: &[usize]) -> Option<Id> {
    let Op::Reduce { op, .. } = site.op else { return None };
    let units = axes.iter().filter(|&&a| wide[a].is_const(1)).count();
    if units == 0 || units == axes.len() {
        return None;
    }
    let gone = |axis: usize| axes.contains(&axis) && wide[axis].is_const(1);
    let dims = (0..wide.len()).filter(|&a| !gone(a)).map(|a| wide[a].clone()).collect();
    let axes = axes.iter().filter(|&&a| !gone(a)).map(|&a| a - (0..a).filter(|&b| gone(b)).count()).collect();
    let squeezed = net.reshape(site.args[0], dims)?;
    net.add(Op::Reduce { op: *op, axes }, &[squeezed])
}

/// The operand axes of the groups that `axes` of the result cover; `None` when one is covered in part.
fn whole_groups(groups: &[Group], axes: &[usize], to: &[Dim]) -> Option<Vec<usize>> {
    let mut covered = vec![];
    for group in groups {
        let held = group.to.clone().filter(|a| axes.contains(a) && !to[*a].is_const(1)).count();
        let solid = group.to.clone().filter(|&a| !to[a].is_const(1)).count();
        if held != 0 {
            if held != solid {
                return None;
            }
            covered.extend(group.from.clone());
        }
    }
    Some(covered)
}

/// The free leading axes of a product may be split or merged after it: `contract(reshape(x), w)` is
/// `reshape(contract(x, w))`.
fn contract(net: &mut Net, site: &Site) -> Vec<Id> {
    let (Op::Contract { batch, contract, out }, &[x, w]) = (site.op, site.args) else { return vec![] };
    // With batch axes the result's order differs from the operand's; those are left alone.
    if !batch.is_empty() {
        return vec![];
    }
    let shape = net.shape(site.class);
    let wide = net.shape(x);
    let mut found = vec![];
    'next: for inner in net.reshapes(x) {
        let source = net.shape(inner);
        if same_but_units(&source, &wide) && source.len() >= wide.len() {
            continue;
        }
        let Some(groups) = groups(&source, &wide) else { continue };
        let mut pairs = vec![];
        for &(left, right) in contract {
            // A summed axis stays one axis.
            let Some(group) = groups.iter().find(|g| g.to.contains(&left)) else { continue 'next };
            if group.from.len() != 1 || group.to.len() != 1 {
                continue 'next;
            }
            pairs.push((group.from.start, right));
        }
        let result = net.add(Op::Contract { batch: vec![], contract: pairs, out: *out }, &[inner, w]);
        found.extend(result.and_then(|result| net.reshape(result, shape.clone())));
    }
    found
}

/// A summed axis that a reshape merged is summed as the axes it was: `contract(reshape(x), w)` is
/// `contract(x, reshape(w))`. It pays when `x` is a transpose that the product then reads in place, as where attention
/// joins its heads.
fn contract_split(net: &mut Net, site: &Site) -> Vec<Id> {
    let (Op::Contract { batch, contract, out }, &[x, w]) = (site.op, site.args) else { return vec![] };
    let &[(left, right)] = contract.as_slice() else { return vec![] };
    if !batch.is_empty() || !net.is_known(w) {
        return vec![];
    }
    let (shape, wide, weights) = (net.shape(site.class), net.shape(x), net.shape(w));
    let mut found = vec![];
    for inner in net.reshapes(x) {
        let source = net.shape(inner);
        // Without a transpose below nothing is gained.
        if net.transposes(inner).is_empty() {
            continue;
        }
        let Some(groups) = groups(&source, &wide) else { continue };
        let Some(group) = groups.iter().find(|g| g.to.contains(&left)) else { continue };
        if group.to.len() != 1 || group.from.len() < 2 {
            continue;
        }
        let mut split = weights.clone();
        split.splice(right..=right, source[group.from.clone()].iter().cloned());
        let pairs = group.from.clone().enumerate().map(|(i, axis)| (axis, right + i)).collect();
        let Some(w) = net.reshape(w, split) else { continue };
        let result = net.add(Op::Contract { batch: vec![], contract: pairs, out: *out }, &[inner, w]);
        found.extend(result.and_then(|result| net.reshape(result, shape.clone())));
    }
    found
}

/// A slice of a reshape that adds or removes unit axes.
fn slice(net: &mut Net, site: &Site) -> Vec<Id> {
    let (Op::Slice { starts, sizes, steps }, &[x]) = (site.op, site.args) else { return vec![] };
    let wide = net.shape(x);
    let mut found = vec![];
    'next: for inner in net.reshapes(x) {
        let source = net.shape(inner);
        let Some(groups) = groups(&source, &wide) else { continue };
        let mut new = (vec![Dim::ZERO; source.len()], source.clone(), vec![1; source.len()]);
        for group in &groups {
            let whole = group.to.clone().all(|a| starts[a].is_const(0) && steps[a] == 1 && sizes[a] == wide[a]);
            if whole {
                continue;
            }
            let (&[from], &[to]) =
                (&group.from.clone().collect::<Vec<_>>()[..], &group.to.clone().collect::<Vec<_>>()[..])
            else {
                continue 'next;
            };
            new.0[from] = starts[to].clone();
            new.1[from] = sizes[to].clone();
            new.2[from] = steps[to];
        }
        let part = net.add(Op::Slice { starts: new.0, sizes: new.1, steps: new.2 }, &[inner]);
        found.extend(part.and_then(|part| net.reshape(part, sizes.clone())));
    }
    found
}

/// Operands that all gained or lost the same unit axes.
fn concat(net: &mut Net, site: &Site) -> Vec<Id> {
    let (Op::Concat { axis }, Some(&first)) = (site.op, site.args.first()) else { return vec![] };
    let shape = net.shape(site.class);
    let wide = net.shape(first);
    let mut found = vec![];
    for inner in net.reshapes(first) {
        let source = net.shape(inner);
        let Some(groups) = groups(&source, &wide) else { continue };
        let Some(group) = groups.iter().find(|g| g.to.contains(axis)) else { continue };
        if group.from.len() != 1 || group.to.len() != 1 || group.from.start >= source.len() {
            continue;
        }
        let along = group.from.start;
        let mut operands = vec![];
        for &arg in site.args {
            let mut wanted = source.clone();
            wanted[along] = net.facts(arg).ty.shape[*axis].clone();
            operands.extend(unshape(net, arg, &wanted));
        }
        if operands.len() == site.args.len() {
            let joined = net.add(Op::Concat { axis: along }, &operands);
            found.extend(joined.and_then(|joined| net.reshape(joined, shape.clone())));
        }
    }
    found
}

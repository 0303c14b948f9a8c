//! Transposes sink toward the results, where they meet their inverses or the edge of the model.
//!
//! Import wraps each convolution and pool in a pair of transposes, to channels-last and back. With `T` the transpose
//! back, these rules turn `f(T(x))` into `T(f(x))` for every operation between two convolutions, until the next
//! transpose to channels-last cancels `T`. They only ever move transposes one way, so they end; where sinking does not
//! pay, extraction keeps the original. What is gathered moves the other way, for indices are fewer than what they read.

use super::net::{Net, inverse, is_identity};
use super::rule::{Rule, exactly};
use super::saturate::Site;
use super::transpose_shape as shape;
use egg::Id;
use nnc_ir::op::Op;

/// The rules.
pub const RULES: &[Rule] = &[
    exactly("elementwise-transpose", 2, elementwise),
    exactly("concat-transpose", 2, concat),
    exactly("reduce-transpose", 2, reduce),
    exactly("along-axis-transpose", 2, along_axis),
    exactly("broadcast-transpose", 2, broadcast),
    exactly("contract-transpose", 2, contract),
    exactly("transpose-contract", 2, transpose_of_contract),
    exactly("reshape-transpose", 2, shape::reshape),
    exactly("slice-transpose", 2, shape::slice),
    exactly("pad-transpose", 2, shape::pad),
    exactly("gather-transpose", 2, shape::gather),
    exactly("transpose-gather", 2, shape::transpose_of_gather),
    exactly("elements-transpose", 2, elements),
    exactly("transpose-iota", 2, shape::transpose_of_iota),
];

/// The distinct permutations that operands are transposed by.
fn perms(net: &Net, args: &[Id]) -> Vec<Vec<usize>> {
    let mut found: Vec<Vec<usize>> = vec![];
    for &arg in args {
        for (_, perm) in net.transposes(arg) {
            if !found.contains(&perm) {
                found.push(perm);
            }
        }
    }
    found
}

/// All operands with a transpose taken off; one that has none is transposed the other way.
fn take_off(net: &mut Net, args: &[Id], perm: &[usize]) -> Option<Vec<Id>> {
    let bare = |net: &mut Net, arg: Id| {
        let inner = net.transposes(arg).into_iter().find(|(_, p)| p == perm);
        inner.map(|(inner, _)| inner).or_else(|| net.transpose(arg, inverse(perm)))
    };
    args.iter().map(|&arg| bare(net, arg)).collect()
}

fn elementwise(net: &mut Net, site: &Site) -> Vec<Id> {
    if !matches!(site.op, Op::Unary(_) | Op::Binary(_) | Op::Select | Op::Convert(_) | Op::Bitcast(_)) {
        return vec![];
    }
    let mut found = vec![];
    for perm in perms(net, site.args) {
        let Some(operands) = take_off(net, site.args, &perm) else { continue };
        let result = net.add(site.op.clone(), &operands);
        found.extend(result.and_then(|result| net.transpose(result, perm)));
    }
    found
}

fn concat(net: &mut Net, site: &Site) -> Vec<Id> {
    let Op::Concat { axis } = site.op else { return vec![] };
    let mut found = vec![];
    for perm in perms(net, site.args) {
        let Some(operands) = take_off(net, site.args, &perm) else { continue };
        let result = net.add(Op::Concat { axis: perm[*axis] }, &operands);
        found.extend(result.and_then(|result| net.transpose(result, perm)));
    }
    found
}

/// Elements gathered or replaced by indices along an axis. What is replaced several times is so along that axis, in the same
/// order.
fn elements(net: &mut Net, site: &Site) -> Vec<Id> {
    let (Op::GatherElements { axis } | Op::ScatterElements { axis, .. }) = site.op else { return vec![] };
    let mut found = vec![];
    for perm in perms(net, site.args) {
        let Some(operands) = take_off(net, site.args, &perm) else { continue };
        let op = match site.op {
            Op::ScatterElements { op, .. } => Op::ScatterElements { axis: perm[*axis], op: *op },
            _ => Op::GatherElements { axis: perm[*axis] },
        };
        let result = net.add(op, &operands);
        found.extend(result.and_then(|result| net.transpose(result, perm)));
    }
    found
}

/// The permutation left when some axes of a transposed value vanish: `gone` in the result of the transpose.
fn without(perm: &[usize], gone: &[usize]) -> Vec<usize> {
    let left: Vec<usize> = (0..perm.len()).filter(|a| !gone.contains(a)).map(|a| perm[a]).collect();
    left.iter().map(|&axis| left.iter().filter(|&&other| other < axis).count()).collect()
}

fn reduce(net: &mut Net, site: &Site) -> Vec<Id> {
    let axes = match site.op {
        Op::Reduce { axes, .. } => axes.clone(),
        Op::ArgReduce { axis, .. } => vec![*axis],
        _ => return vec![],
    };
    let &[x] = site.args else { return vec![] };
    let mut found = vec![];
    for (inner, perm) in net.transposes(x) {
        let mut inner_axes: Vec<usize> = axes.iter().map(|&a| perm[a]).collect();
        inner_axes.sort_unstable();
        let op = match site.op {
            Op::ArgReduce { max, last, .. } => Op::ArgReduce { axis: inner_axes[0], max: *max, last: *last },
            Op::Reduce { op, .. } => Op::Reduce { op: *op, axes: inner_axes },
            _ => continue,
        };
        let result = net.add(op, &[inner]);
        found.extend(result.and_then(|result| net.transpose(result, without(&perm, &axes))));
    }
    found
}

/// Operations along one axis that keep all axes.
fn along_axis(net: &mut Net, site: &Site) -> Vec<Id> {
    let (Op::Cumulative { op, axis, exclusive, reverse }, &[x]) = (site.op, site.args) else { return vec![] };
    let mut found = vec![];
    for (inner, perm) in net.transposes(x) {
        let op = Op::Cumulative { op: *op, axis: perm[*axis], exclusive: *exclusive, reverse: *reverse };
        let result = net.add(op, &[inner]);
        found.extend(result.and_then(|result| net.transpose(result, perm)));
    }
    found
}

fn broadcast(net: &mut Net, site: &Site) -> Vec<Id> {
    let (Op::Broadcast { shape, axes }, &[x]) = (site.op, site.args) else { return vec![] };
    let mut found = vec![];
    for (inner, perm) in net.transposes(x) {
        // The operand's axes keep their places among the result's, in the order they have before the transpose.
        let undo = inverse(&perm);
        let mut inner_shape = shape.clone();
        let mut outer: Vec<usize> = (0..shape.len()).collect();
        for (i, &axis) in axes.iter().enumerate() {
            inner_shape[axis] = shape[axes[undo[i]]].clone();
            outer[axis] = axes[perm[i]];
        }
        let result = net.broadcast(inner, inner_shape, axes.clone());
        found.extend(result.and_then(|result| net.transpose(result, outer)));
    }
    found
}

/// A product reads its operands' axes in any order.
fn contract(net: &mut Net, site: &Site) -> Vec<Id> {
    let (Op::Contract { batch, contract, out }, &[lhs, rhs]) = (site.op, site.args) else { return vec![] };
    let mut found = vec![];
    let left_rank = net.facts(lhs).ty.rank();
    let right_rank = net.facts(rhs).ty.rank();
    let free = |rank: usize, used: &dyn Fn(usize) -> bool| (0..rank).filter(|&a| !used(a)).collect::<Vec<_>>();
    let left_free = free(left_rank, &|a| batch.iter().chain(contract).any(|p| p.0 == a));
    let right_free = free(right_rank, &|a| batch.iter().chain(contract).any(|p| p.1 == a));
    for side in [0, 1] {
        let (operand, own_free) = if side == 0 { (lhs, &left_free) } else { (rhs, &right_free) };
        for (inner, perm) in net.transposes(operand) {
            let rename = |&(l, r): &(usize, usize)| if side == 0 { (perm[l], r) } else { (l, perm[r]) };
            let op = Op::Contract {
                batch: batch.iter().map(rename).collect(),
                contract: contract.iter().map(rename).collect(),
                out: *out,
            };
            let args = if side == 0 { [inner, rhs] } else { [lhs, inner] };
            let Some(result) = net.add(op, &args) else { continue };
            // The free axes of this operand now come in the order they have before the transpose.
            let renamed: Vec<usize> = own_free.iter().map(|&a| perm[a]).collect();
            let first = batch.len() + if side == 0 { 0 } else { left_free.len() };
            let mut order: Vec<usize> = (0..batch.len() + left_free.len() + right_free.len()).collect();
            for (i, axis) in renamed.iter().enumerate() {
                order[first + i] = first + renamed.iter().filter(|other| *other < axis).count();
            }
            found.extend(net.transpose(result, order));
        }
    }
    found
}

/// A transpose of a product that only reorders the batch axes, or exchanges the operands' axes so that constant
/// weights come to the right.
fn transpose_of_contract(net: &mut Net, site: &Site) -> Vec<Id> {
    let (Op::Transpose { perm }, &[x]) = (site.op, site.args) else { return vec![] };
    let products = net.pick(x, |op, args| match op {
        Op::Contract { batch, contract, out } => Some((batch.clone(), contract.clone(), *out, args[0], args[1])),
        _ => None,
    });
    let mut found = vec![];
    for (batch, contract, out, lhs, rhs) in products {
        let batches = batch.len();
        if perm[..batches].iter().any(|&a| a >= batches) {
            continue;
        }
        let new_batch: Vec<(usize, usize)> = perm[..batches].iter().map(|&a| batch[a]).collect();
        let left_free = net.facts(lhs).ty.rank() - batches - contract.len();
        let right_free = net.facts(rhs).ty.rank() - batches - contract.len();
        let rest: Vec<usize> = perm[batches..].iter().map(|&a| a - batches).collect();
        if is_identity(&rest) {
            found.extend(net.add(Op::Contract { batch: new_batch, contract, out }, &[lhs, rhs]));
            continue;
        }
        let exchange: Vec<usize> = (left_free..left_free + right_free).chain(0..left_free).collect();
        if rest == exchange && net.is_known(lhs) && !net.is_known(rhs) {
            let swap = |pairs: &[(usize, usize)]| pairs.iter().map(|&(l, r)| (r, l)).collect::<Vec<_>>();
            let op = Op::Contract { batch: swap(&new_batch), contract: swap(&contract), out };
            found.extend(net.add(op, &[rhs, lhs]));
        }
    }
    found
}

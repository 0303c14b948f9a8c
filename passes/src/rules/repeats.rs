//! Products of which an operand is repeated along a batch axis: attention whose queries share keys and values.
//!
//! Exporters repeat each head of the keys for the queries of a group, and merge heads and repetitions into one axis.
//! [`split_batch`] takes such an axis apart again; [`repeated`] makes the repetition an axis of the other operand's rows. So
//! nothing is repeated in memory, and one product has all the rows of a group.

use super::groups::groups;
use super::net::Net;
use super::saturate::Site;
use egg::Id;
use nnc_ir::op::Op;

/// Pairs of axes, of the left operand and of the right one.
type Pairs = Vec<(usize, usize)>;

/// A batch axis that one operand's reshape merged is taken apart: `contract(x, reshape(y))` is
/// `reshape(contract(reshape(x), y))`.
pub(super) fn split_batch(net: &mut Net, site: &Site) -> Vec<Id> {
    let (Op::Contract { batch, contract, out }, &[lhs, rhs]) = (site.op, site.args) else { return vec![] };
    let shape = net.shape(site.class);
    let mut found = vec![];
    for (merged, other, right) in [(lhs, rhs, false), (rhs, lhs, true)] {
        for inner in net.reshapes(merged) {
            // Without a broadcast below nothing is gained.
            if net.broadcasts(inner).is_empty() {
                continue;
            }
            let side = |pair: &(usize, usize)| if right { (pair.1, pair.0) } else { *pair };
            let pairs: (Pairs, Pairs) = (batch.iter().map(side).collect(), contract.iter().map(side).collect());
            let Some((batch, contract, split)) = split(net, (inner, merged, other), &pairs) else { continue };
            let op = Op::Contract {
                batch: batch.iter().map(side).collect(),
                contract: contract.iter().map(side).collect(),
                out: *out,
            };
            let args = if right { [split, inner] } else { [inner, split] };
            let result = net.add(op, &args);
            found.extend(result.and_then(|result| net.reshape(result, shape.clone())));
        }
    }
    found
}

/// The pairs of axes, and the other operand, when one operand is what its reshape was made of: each pair names that operand's
/// axis first. Axes that are not of the batch must be the same before and after.
fn split(net: &mut Net, (inner, merged, other): (Id, Id, Id), pairs: &(Pairs, Pairs)) -> Option<(Pairs, Pairs, Id)> {
    let (source, shape, wide) = (net.shape(inner), net.shape(merged), net.shape(other));
    let groups = groups(&source, &shape)?;
    let mut from = vec![];
    for axis in 0..shape.len() {
        let group = groups.iter().find(|group| group.to.contains(&axis) && group.to.len() == 1)?;
        let of_batch = pairs.0.iter().any(|pair| pair.0 == axis);
        from.push(Some(group.from.clone()).filter(|from| of_batch || from.len() == 1)?);
    }
    if from.iter().all(|axes| axes.len() == 1) {
        return None;
    }
    let (mut starts, mut dims) = (vec![], vec![]);
    for (axis, size) in wide.iter().enumerate() {
        starts.push(dims.len());
        match pairs.0.iter().find(|pair| pair.1 == axis) {
            Some(pair) => dims.extend(source[from[pair.0].clone()].iter().cloned()),
            None => dims.push(size.clone()),
        }
    }
    let both = |&(own, theirs): &(usize, usize)| from[own].clone().zip(starts[theirs]..).collect::<Pairs>();
    let (batch, contract) = (pairs.0.iter().flat_map(both).collect(), pairs.1.iter().flat_map(both).collect());
    Some((batch, contract, net.reshape(other, dims)?))
}

/// A batch axis along which one operand is repeated is an axis of the other operand alone.
pub(super) fn repeated(net: &mut Net, site: &Site) -> Vec<Id> {
    let (Op::Contract { batch, contract, out }, &[lhs, rhs]) = (site.op, site.args) else { return vec![] };
    let ranks = [lhs, rhs].map(|x| net.facts(x).ty.rank());
    let mut found = vec![];
    for (operand, right) in [(lhs, false), (rhs, true)] {
        let own = |pair: &(usize, usize)| if right { pair.1 } else { pair.0 };
        let wide = net.shape(operand);
        for (inner, axes) in net.broadcasts(operand) {
            let full = net.facts(inner).ty.shape.iter().zip(&axes).all(|(size, &axis)| *size == wide[axis]);
            let gone: Vec<usize> = (0..wide.len()).filter(|axis| !axes.contains(axis)).collect();
            let of_batch = gone.iter().all(|axis| batch.iter().any(|pair| own(pair) == *axis));
            if gone.is_empty() || !full || !of_batch {
                continue;
            }
            let kept = |pair: &(usize, usize)| {
                let place = axes.iter().position(|&axis| axis == own(pair))?;
                Some(if right { (pair.0, place) } else { (place, pair.1) })
            };
            let fewer: Pairs = batch.iter().filter_map(kept).collect();
            let summed: Pairs = contract.iter().filter_map(kept).collect();
            let (args, mut left) = (if right { [lhs, inner] } else { [inner, rhs] }, ranks);
            left[usize::from(right)] = axes.len();
            let before = names(batch, contract, ranks, right, &|axis| axis);
            let after = names(&fewer, &summed, left, right, &|axis| axes[axis]);
            let order: Option<Vec<usize>> = before.iter().map(|name| after.iter().position(|n| n == name)).collect();
            let result = net.add(Op::Contract { batch: fewer, contract: summed, out: *out }, &args);
            found.extend(result.zip(order).and_then(|(result, order)| net.transpose(result, order)));
        }
    }
    found
}

/// The axes of a product's result, by the operand whose axis each is: `true` for the one at hand, whose axes `rename` names;
/// the other's axis stands for a pair.
fn names(
    batch: &[(usize, usize)],
    contract: &[(usize, usize)],
    ranks: [usize; 2],
    right: bool,
    rename: &dyn Fn(usize) -> usize,
) -> Vec<(bool, usize)> {
    let mut names: Vec<(bool, usize)> = batch.iter().map(|pair| (false, if right { pair.0 } else { pair.1 })).collect();
    for (rank, side) in ranks.into_iter().zip([false, true]) {
        let paired = |axis: usize| batch.iter().chain(contract).any(|p| axis == if side { p.1 } else { p.0 });
        let free = (0..rank).filter(|&axis| !paired(axis));
        names.extend(free.map(|axis| if side == right { (true, rename(axis)) } else { (false, axis) }));
    }
    names
}

#[cfg(test)]
mod tests {
    use crate::rules::Rule;
    use crate::rules::products::RULES;
    use crate::rules::tests::{check, examples::text, parse};

    /// Only what is repeated along the batch alone, and whole, is left as it is.
    #[test]
    fn other_axes_may_be_repeated_too() {
        let rules: Vec<&Rule> = RULES.iter().filter(|rule| rule.name == "contract-repeated").collect();
        let applies = |shape: &str, axes: &str| {
            let body = format!(
                "%2 = broadcast %1 shape=[2, 3, 7, 5] axes=[{axes}] : f32[2, 3, 7, 5]\n%3 = contract %0, %2 batch=[(0, 0), (1, 1)] contract=[(3, 3)] out=f32 : f32[2, 3, 4, 7]"
            );
            let graph = parse(&text(&format!("f32[2, 3, 4, 5], f32[{shape}]"), &body));
            check(&graph, &rules, 1).unwrap().contains_key("contract-repeated")
        };
        let kept = [("3, 7, 5", "1, 2, 3"), ("7, 5", "2, 3"), ("2, 7, 5", "0, 2, 3")];
        assert_eq!(kept.map(|(shape, axes)| applies(shape, axes)), [true; 3]);
        let others = [("3, 1, 5", "1, 2, 3"), ("3, 7", "1, 2"), ("3, 5", "1, 3"), ("1, 3, 7, 5", "0, 1, 2, 3")];
        assert_eq!(others.map(|(shape, axes)| applies(shape, axes)), [false; 4]);
    }
}

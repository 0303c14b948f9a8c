//! Transposes through operations that rearrange elements themselves.

use super::groups::groups;
use super::net::{Net, inverse};
use super::saturate::Site;
use egg::Id;
use nnc_ir::Dim;
use nnc_ir::op::Op;

/// A reshape each of whose groups of axes lies together, and in order, before the transpose as well.
pub(super) fn reshape(net: &mut Net, site: &Site) -> Vec<Id> {
    let (Op::Reshape { shape }, &[x]) = (site.op, site.args) else { return vec![] };
    let wide = net.shape(x);
    let Some(groups) = groups(&wide, shape) else { return vec![] };
    let mut found = vec![];
    'next: for (inner, perm) in net.transposes(x) {
        let source = net.shape(inner);
        // The number of each solid axis of the source, in order.
        let rank_of = |axis: usize| (0..axis).filter(|&a| !source[a].is_const(1)).count();
        let mut blocks: Vec<(usize, &super::groups::Group)> = vec![];
        for group in &groups {
            let ranks: Vec<usize> =
                group.from.clone().map(|a| perm[a]).filter(|&a| !source[a].is_const(1)).map(rank_of).collect();
            if ranks.windows(2).any(|pair| pair[1] != pair[0] + 1) {
                continue 'next;
            }
            // Groups of unit axes have no place of their own: they come last.
            blocks.push((ranks.first().copied().unwrap_or(usize::MAX), group));
        }
        blocks.sort_by_key(|(first, _)| *first);
        let order: Vec<usize> = blocks.iter().flat_map(|(_, group)| group.to.clone()).collect();
        let dims: Vec<Dim> = order.iter().map(|&axis| shape[axis].clone()).collect();
        let inner = net.reshape(inner, dims);
        found.extend(inner.and_then(|inner| net.transpose(inner, inverse(&order))));
    }
    found
}

/// `list`, one entry for each axis of a transpose's result, in the order of its operand.
fn before<T: Clone>(list: &[T], perm: &[usize]) -> Vec<T> {
    inverse(perm).iter().map(|&i| list[i].clone()).collect()
}

pub(super) fn slice(net: &mut Net, site: &Site) -> Vec<Id> {
    let (Op::Slice { starts, sizes, steps }, &[x]) = (site.op, site.args) else { return vec![] };
    let mut found = vec![];
    for (inner, perm) in net.transposes(x) {
        let op = Op::Slice { starts: before(starts, &perm), sizes: before(sizes, &perm), steps: before(steps, &perm) };
        let result = net.add(op, &[inner]);
        found.extend(result.and_then(|result| net.transpose(result, perm)));
    }
    found
}

pub(super) fn pad(net: &mut Net, site: &Site) -> Vec<Id> {
    let (Op::Pad { low, high, mode }, &[x, value]) = (site.op, site.args) else { return vec![] };
    let mut found = vec![];
    for (inner, perm) in net.transposes(x) {
        let op = Op::Pad { low: before(low, &perm), high: before(high, &perm), mode: *mode };
        let result = net.add(op, &[inner, value]);
        found.extend(result.and_then(|result| net.transpose(result, perm)));
    }
    found
}

/// A gather along one axis, as nearest-neighbour resizing is written.
pub(super) fn gather(net: &mut Net, site: &Site) -> Vec<Id> {
    let (Op::Gather { axis, batch: 0 }, &[x, index]) = (site.op, site.args) else { return vec![] };
    let rank = net.facts(index).ty.rank();
    let mut found = vec![];
    for (inner, perm) in net.transposes(x) {
        let along = perm[*axis];
        let Some(result) = net.add(Op::Gather { axis: along, batch: 0 }, &[inner, index]) else { continue };
        // The index's axes stand where the gathered axis was.
        let place = |a: usize| if a < along { a } else { a - 1 + rank };
        let order: Vec<usize> = (0..*axis)
            .map(|i| place(perm[i]))
            .chain(along..along + rank)
            .chain((axis + 1..perm.len()).map(|i| place(perm[i])))
            .collect();
        found.extend(net.transpose(result, order));
    }
    found
}

/// A transpose of what was gathered that moves the axes of the index alone: as of embeddings, for models that have time
/// before the batch.
pub(super) fn transpose_of_gather(net: &mut Net, site: &Site) -> Vec<Id> {
    let (Op::Transpose { perm }, &[x]) = (site.op, site.args) else { return vec![] };
    let gathers = net.pick(x, |op, args| match op {
        Op::Gather { axis, batch: 0 } => Some((*axis, args[0], args[1])),
        _ => None,
    });
    let mut found = vec![];
    for (axis, table, index) in gathers {
        let of_index = axis..axis + net.facts(index).ty.rank();
        if (0..perm.len()).any(|a| perm[a] != a && !of_index.contains(&a)) {
            continue;
        }
        let moved = net.transpose(index, perm[of_index].iter().map(|&a| a - axis).collect());
        found.extend(moved.and_then(|index| net.add(Op::Gather { axis, batch: 0 }, &[table, index])));
    }
    found
}

pub(super) fn transpose_of_iota(net: &mut Net, site: &Site) -> Vec<Id> {
    let (Op::Transpose { perm }, &[x]) = (site.op, site.args) else { return vec![] };
    let counted = net.pick(x, |op, _| match op {
        Op::Iota { dtype, shape, axis } => Some((*dtype, shape.clone(), *axis)),
        _ => None,
    });
    let mut found = vec![];
    for (dtype, shape, axis) in counted {
        let shape = perm.iter().map(|&a| shape[a].clone()).collect();
        found.extend(net.add(Op::Iota { dtype, shape, axis: inverse(perm)[axis] }, &[]));
    }
    found
}

#[cfg(test)]
mod tests {
    use crate::rules::Rule;
    use crate::rules::tests::{check, examples::text, parse};
    use crate::rules::transpose::RULES;

    /// Only the axes of an index are exchanged by exchanging the index's.
    #[test]
    fn axes_of_tables_stay() {
        let rules: Vec<&Rule> = RULES.iter().filter(|rule| rule.name == "transpose-gather").collect();
        let moves = |perm: &str| {
            let body = format!(
                "%2 = gather %0, %1 axis=1 batch=0 : f32[3, 2, 2, 3]\n%3 = transpose %2 perm=[{perm}] : f32[3, 2, 2, 3]"
            );
            check(&parse(&text("f32[3, 4, 3], i64[2, 2]", &body)), &rules, 1).unwrap().contains_key("transpose-gather")
        };
        assert_eq!(["0, 2, 1, 3", "3, 2, 1, 0", "3, 1, 2, 0"].map(moves), [true, false, false]);
    }
}

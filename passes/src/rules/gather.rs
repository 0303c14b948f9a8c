//! Gathers whose indices count are slices; gathers of what counts are indices, and of what repeats what is repeated.
//!
//! Position tables are read by `0, 1, 2, ...`, which exporters store or compute; masks are read by coordinates that
//! count along axes of the result. A slice is a view, and needs no check of indices. A gather of a slice is left alone:
//! kernels read through views, and the index would need an addition.
//!
//! Invariant: an index is known to be in range before its gather goes, for a run with one out of range must fail.

use super::count::Count;
use super::net::Net;
use super::one;
use super::range::interval;
use super::rule::{Rule, exactly};
use super::saturate::Site;
use egg::Id;
use nnc_ir::op::{BinaryOp, Op};
use nnc_ir::{DType, Dim};

/// The rules.
pub const RULES: &[Rule] = &[
    exactly("gather-counted", 4, gather_counted),
    exactly("gather-coordinates", 5, gather_coordinates),
    exactly("gather-one-value", 2, gather_one_value),
    exactly("gather-count", 4, gather_count),
    exactly("gather-repeated", 2, gather_repeated),
    exactly("slice-gather", 2, slice_gather),
];

/// The part of an axis of `size` that indices read: start, count and step, when all are in range.
fn part(net: &Net, index: &Count, shape: &[Dim], size: &Dim) -> Option<(Dim, Dim, i64)> {
    let dims = &net.egraph.analysis.dims;
    let read = index.axis.map_or(Dim::ONE, |axis| shape[axis].clone());
    let (low, high) = index.ends(&read);
    let fits = low.provably_ge(&Dim::ZERO, dims) && size.provably_gt(&high, dims);
    fits.then(|| (index.start.clone(), read, if index.step == 0 { 1 } else { index.step }))
}

/// A gather whose indices count along one axis is a slice, repeated along the others.
fn gather_counted(net: &mut Net, site: &Site) -> Vec<Id> {
    let (Op::Gather { axis, batch: 0 }, &[x, index]) = (site.op, site.args) else { return vec![] };
    let (from, shape, result) = (net.shape(x), net.shape(index), net.shape(site.class));
    let Some(counted) = Count::of(net, index) else { return vec![] };
    let Some((start, read, step)) = part(net, &counted, &shape, &from[*axis]) else { return vec![] };
    let (mut starts, mut sizes, mut steps) = (vec![Dim::ZERO; from.len()], from.clone(), vec![1; from.len()]);
    (starts[*axis], sizes[*axis], steps[*axis]) = (start, read, step);
    let Some(slice) = net.add(Op::Slice { starts, sizes: sizes.clone(), steps }, &[x]) else { return vec![] };
    // The one index that counts keeps its axis; without one the axis goes.
    let place = |a: usize| if a < *axis { a } else { (a + shape.len()).saturating_sub(1) };
    let mut places: Vec<usize> = (0..from.len()).map(place).collect();
    let kept = match counted.axis {
        Some(counted) => {
            places[*axis] = axis + counted;
            Some(slice)
        }
        None => {
            places.remove(*axis);
            sizes.remove(*axis);
            net.reshape(slice, sizes)
        }
    };
    one(kept.and_then(|kept| net.broadcast(kept, result, places)))
}

/// A gather by coordinates each of which counts along an axis of the result, all different, is a slice likewise.
fn gather_coordinates(net: &mut Net, site: &Site) -> Vec<Id> {
    let (Op::GatherNd { batch: 0 }, &[x, index]) = (site.op, site.args) else { return vec![] };
    let (from, shape, result) = (net.shape(x), net.shape(index), net.shape(site.class));
    let Some(last) = shape.len().checked_sub(1) else { return vec![] };
    let joined = |op: &Op, args: &[Id]| (*op == Op::Concat { axis: last }).then(|| args.to_vec());
    let mut found = vec![];
    for coordinates in net.pick(index, joined) {
        let single = coordinates.iter().all(|&c| net.facts(c).ty.shape[last].is_const(1));
        let counts: Option<Vec<Count>> = coordinates.iter().map(|&c| Count::of(net, c)).collect();
        let Some(counts) = counts.filter(|_| single) else { continue };
        let axes: Option<Vec<usize>> = counts.iter().map(|c| c.axis.filter(|&axis| axis != last)).collect();
        let Some(mut axes) = axes.filter(|axes| axes.iter().enumerate().all(|(i, a)| !axes[..i].contains(a))) else {
            continue;
        };
        let (mut starts, mut sizes, mut steps) = (vec![Dim::ZERO; from.len()], from.clone(), vec![1; from.len()]);
        let parts: Option<Vec<_>> = counts.iter().zip(&from).map(|(c, size)| part(net, c, &shape, size)).collect();
        let Some(parts) = parts else { continue };
        for (i, (start, read, step)) in parts.into_iter().enumerate() {
            (starts[i], sizes[i], steps[i]) = (start, read, step);
        }
        // Axes without a coordinate come last.
        axes.extend((counts.len()..from.len()).map(|axis| last + axis - counts.len()));
        let mut order: Vec<usize> = (0..axes.len()).collect();
        order.sort_by_key(|&i| axes[i]);
        let slice = net.add(Op::Slice { starts, sizes, steps }, &[x]);
        let sorted = slice.and_then(|slice| net.transpose(slice, order.clone()));
        let places = order.iter().map(|&i| axes[i]).collect();
        found.extend(sorted.and_then(|sorted| net.broadcast(sorted, result.clone(), places)));
    }
    found
}

/// Whatever is gathered of equal elements is one of them.
fn gather_one_value(net: &mut Net, site: &Site) -> Vec<Id> {
    let &[x, index] = site.args else { return vec![] };
    let Some(value) = net.splat(x) else { return vec![] };
    let from = net.shape(x);
    let indexed = match site.op {
        Op::Gather { axis, .. } | Op::GatherElements { axis } => *axis..*axis + 1,
        Op::GatherNd { batch } => {
            let count = net.facts(index).ty.shape.last().and_then(Dim::as_const).unwrap_or(i64::MAX);
            let count = usize::try_from(count).unwrap_or(usize::MAX);
            *batch..batch.saturating_add(count).min(from.len())
        }
        _ => return vec![],
    };
    let ty = net.ty(site.class);
    if in_range(net, index, &from[indexed]) { one(net.full(ty.dtype, value, ty.shape.clone())) } else { vec![] }
}

/// Whether every index is known to be one of axes of these sizes.
fn in_range(net: &Net, index: Id, sizes: &[Dim]) -> bool {
    let (bounds, dims) = (interval(net, index), &net.egraph.analysis.dims);
    sizes.iter().all(|size| bounds.low >= 0.0 && bounds.high < size.bounds(dims).0 as f64)
}

/// What is gathered along the axis that counts is `start + step * index`.
fn gather_count(net: &mut Net, site: &Site) -> Vec<Id> {
    let (Op::Gather { axis, batch: 0 }, &[x, index]) = (site.op, site.args) else { return vec![] };
    let (dtype, sizes) = (net.dtype(x), net.shape(x));
    // Narrower integers may end before the axis does.
    if !matches!(dtype, DType::I32 | DType::I64) || !in_range(net, index, &sizes[*axis..=*axis]) {
        return vec![];
    }
    let Some(counted) = Count::of(net, x).filter(|counted| counted.axis == Some(*axis)) else { return vec![] };
    let result = net.shape(site.class);
    one(numbered(net, &counted, dtype, index).and_then(|found| {
        let rank = net.facts(index).ty.rank();
        net.broadcast(found, result, (*axis..axis + rank).collect())
    }))
}

/// The elements at some indices of the axis that counts.
fn numbered(net: &mut Net, counted: &Count, dtype: DType, index: Id) -> Option<Id> {
    let shape = net.shape(index);
    let mut found = if net.dtype(index) == dtype { index } else { net.add(Op::Convert(dtype), &[index])? };
    if counted.step != 1 {
        let step = net.full(dtype, counted.step as f64, shape.clone())?;
        found = net.binary(BinaryOp::Mul, found, step)?;
    }
    if counted.start.is_const(0) {
        return Some(found);
    }
    let start = Count { axis: None, start: counted.start.clone(), step: 0 }.make(net, dtype, &shape)?;
    net.binary(BinaryOp::Add, found, start)
}

/// What is gathered along a repeated axis is what is repeated.
fn gather_repeated(net: &mut Net, site: &Site) -> Vec<Id> {
    let (Op::Gather { axis, batch: 0 }, &[x, index]) = (site.op, site.args) else { return vec![] };
    if !in_range(net, index, &net.shape(x)[*axis..=*axis]) {
        return vec![];
    }
    let (result, rank) = (net.shape(site.class), net.facts(index).ty.rank());
    let mut found = vec![];
    for (inner, axes) in net.broadcasts(x) {
        if !axes.contains(axis) {
            let places = axes.iter().map(|&a| if a < *axis { a } else { a + rank - 1 }).collect();
            found.extend(net.broadcast(inner, result.clone(), places));
        }
    }
    found
}

/// A slice of what was gathered gathers less: of the index along its axes, of the operand along the others.
fn slice_gather(net: &mut Net, site: &Site) -> Vec<Id> {
    let (Op::Slice { starts, sizes, steps }, &[x]) = (site.op, site.args) else { return vec![] };
    let whole = net.shape(x);
    let inner = net.pick(x, |op, args| match op {
        Op::Gather { axis, batch: 0 } => Some((*axis, args[0], args[1])),
        _ => None,
    });
    let mut found = vec![];
    for (axis, table, index) in inner {
        let rank = net.facts(index).ty.rank();
        let cut = |axes: &[usize]| Op::Slice {
            starts: axes.iter().map(|&a| starts[a].clone()).collect(),
            sizes: axes.iter().map(|&a| sizes[a].clone()).collect(),
            steps: axes.iter().map(|&a| steps[a]).collect(),
        };
        let touched = |a: usize| sizes[a] != whole[a] || steps[a] != 1;
        let mut part = index;
        if (axis..axis + rank).any(touched) {
            let Some(id) = net.add(cut(&(axis..axis + rank).collect::<Vec<_>>()), &[index]) else { continue };
            part = id;
        }
        let mut of = table;
        if (0..axis).chain(axis + rank..whole.len()).any(touched) {
            let from = net.shape(table);
            let place = |a: usize| if a < axis { a } else { a + rank - 1 };
            let mut op = (vec![Dim::ZERO; from.len()], from.clone(), vec![1; from.len()]);
            for a in (0..from.len()).filter(|&a| a != axis) {
                (op.0[a], op.1[a], op.2[a]) = (starts[place(a)].clone(), sizes[place(a)].clone(), steps[place(a)]);
            }
            let Some(id) = net.add(Op::Slice { starts: op.0, sizes: op.1, steps: op.2 }, &[table]) else { continue };
            of = id;
        }
        found.extend(net.add(Op::Gather { axis, batch: 0 }, &[of, part]));
    }
    found
}

#[cfg(test)]
mod tests {
    use crate::rules::EXACT;
    use crate::rules::load::load;
    use crate::rules::saturate::{Limits, saturate};
    use crate::rules::tests::parse;

    /// Whether an exact rule applies to a graph.
    fn applies(text: &str, rule: &str) -> bool {
        let mut loaded = load(&parse(text), false);
        let rules: Vec<_> = EXACT.iter().copied().flatten().collect();
        let report = saturate(&mut loaded.net, &rules, Limits::default(), &mut crate::fuel::Fuel::default());
        report.applied.contains_key(rule)
    }

    /// Whether a gather of 7 rows by these indices becomes something else.
    fn goes(index: &str, shape: &str) -> bool {
        let text = format!(
            "graph @g(%0 x: f32[7, 2]) -> (y: %9) {{\n  %1 = constant i64{shape} {index}\n  %9 = gather %0, %1 axis=0 batch=0 : f32[{}, 2]\n}}\n",
            shape.trim_matches(['[', ']'])
        );
        applies(&text, "gather-counted")
    }

    #[test]
    fn indices_of_rows_that_are_known_are_in_range() {
        let goes = |rule: &str, table: &str, least: i64, most: i64| {
            let dtype = table.rsplit([':', '[']).nth(1).unwrap_or_default();
            let text = format!(
                "graph @g(%0 x: i64[7], %10 t: f32[2], %12 u: f32[7]) -> (y: %9) {{
  %1 = constant i64[7] splat={least}
  %2 = max %0, %1 : i64[7]
  %3 = constant i64[7] splat={most}
  %4 = min %2, %3 : i64[7]
  %11 = constant f32[] splat=3
  %5 = {table}
  %9 = gather %5, %4 axis=0 batch=0 : {dtype}[7, 2]
}}
"
            );
            applies(&text, rule)
        };
        let tables = [
            ("gather-one-value", "broadcast %11 shape=[7, 2] axes=[] : f32[7, 2]"),
            ("gather-count", "iota dtype=i32 shape=[7, 2] axis=0 : i32[7, 2]"),
            ("gather-repeated", "broadcast %10 shape=[7, 2] axes=[1] : f32[7, 2]"),
        ];
        for (rule, table) in tables {
            let ends = [(0, 6), (0, 7), (-1, 6)];
            assert_eq!(ends.map(|(least, most)| goes(rule, table, least, most)), [true, false, false], "{rule}");
        }
        // Along the other axis nothing repeats, or counts.
        assert!(!goes("gather-count", "iota dtype=i32 shape=[7, 2] axis=1 : i32[7, 2]", 0, 6));
        assert!(!goes("gather-repeated", "broadcast %12 shape=[7, 2] axes=[0] : f32[7, 2]", 0, 6));
        // Of narrow integers it is not asked what they do beyond the last.
        assert!(!goes("gather-count", "iota dtype=i8 shape=[700, 2] axis=0 : i8[700, 2]", 0, 6));
    }

    /// A run with an index out of range must fail, so such a gather stays; so does one whose indices do not count.
    #[test]
    fn indices_are_known_to_be_in_range() {
        for (index, shape, expected) in [
            ("[4, 5, 6]", "[3]", true),
            ("[5, 6, 7]", "[3]", false),
            ("[2, 1, 0]", "[3]", true),
            ("[1, 0, -1]", "[3]", false),
            ("[6]", "[1]", true),
            ("[7]", "[1]", false),
            ("[-1]", "[1]", false),
            ("[0, 1, 3]", "[3]", false),
            ("[0, 2, 0, 2]", "[2, 2]", true),
            ("[0, 2, 0, 3]", "[2, 2]", false),
        ] {
            assert_eq!(goes(index, shape), expected, "{index}");
        }
    }
}

//! Masks that depend on indices alone: comparisons of integers that count, rather than tensors.
//!
//! Exporters write a causal mask as a triangle of ones, stored or computed, of which a run reads a part; or as a comparison
//! of positions. As a comparison of counted indices it takes no memory, and where sizes decide it, as in a step that
//! reads one token, it goes altogether.

use super::count::Count;
use super::net::Net;
use super::one;
use super::parts::is_map;
use super::range::Interval;
use super::rule::{Rule, exactly};
use super::saturate::Site;
use egg::Id;
use nnc_ir::op::{BinaryOp, Op};
use nnc_ir::{DType, Dim, Tensor};

/// The rules.
pub const RULES: &[Rule] = &[
    exactly("compare-counted", 4, compare_counted),
    exactly("compare-narrower", 4, compare_narrower),
    exactly("constant-triangle", 1, constant_triangle),
    exactly("slice-iota", 2, slice_iota),
    exactly("slice-of-indices", 4, slice_of_indices),
];

/// Constants with fewer elements stay: what is made for them would be evaluated again.
const LEAST: usize = 1 << 10;
/// Constants with more elements are not looked at.
const MOST: usize = 1 << 24;

/// The two sides of a comparison of integers that count.
fn compared(net: &Net, site: &Site) -> Option<(BinaryOp, Count, Count)> {
    match (site.op, site.args) {
        // Narrower ones may have wrapped.
        (Op::Binary(f), &[x, y]) if f.is_comparison() && net.dtype(x).size() >= 4 => {
            Some((*f, Count::of(net, x)?, Count::of(net, y)?))
        }
        _ => None,
    }
}

/// A comparison that holds, or fails, at all indices for every size.
fn compare_counted(net: &mut Net, site: &Site) -> Vec<Id> {
    let Some((f, x, y)) = compared(net, site) else { return vec![] };
    let shape = net.shape(site.class);
    let (low, high) = x.less(&y, &shape);
    let dims = &net.egraph.analysis.dims;
    let (above, at_least) = (low.provably_gt(&Dim::ZERO, dims), low.provably_ge(&Dim::ZERO, dims));
    let (below, at_most) = (Dim::ZERO.provably_gt(&high, dims), Dim::ZERO.provably_ge(&high, dims));
    let (holds, fails) = match f {
        BinaryOp::Lt => (below, at_least),
        BinaryOp::Le => (at_most, above),
        BinaryOp::Gt => (above, at_most),
        BinaryOp::Ge => (at_least, below),
        BinaryOp::Eq => (at_least && at_most, above || below),
        BinaryOp::Ne => (above || below, at_least && at_most),
        _ => return vec![],
    };
    if holds == fails {
        return vec![];
    }
    one(net.full(DType::Bool, f64::from(u8::from(holds)), shape))
}

/// Of what 32 bits hold twice as many are compared at once.
fn compare_narrower(net: &mut Net, site: &Site) -> Vec<Id> {
    let Some((f, x, y)) = compared(net, site) else { return vec![] };
    if net.dtype(site.args[0]) != DType::I64 {
        return vec![];
    }
    let shape = net.shape(site.class);
    let narrow = Interval::of_type(DType::I32);
    let fits = |count: &Count| {
        let (low, high) = count.ends(&count.axis.map_or(Dim::ONE, |axis| shape[axis].clone()));
        let dims = &net.egraph.analysis.dims;
        let ends = [low.bounds(dims), high.bounds(dims)];
        ends.iter().all(|end| end.0 as f64 >= narrow.low && end.1 as f64 <= narrow.high)
    };
    if !fits(&x) || !fits(&y) {
        return vec![];
    }
    let sides = x.make(net, DType::I32, &shape).zip(y.make(net, DType::I32, &shape));
    one(sides.and_then(|(x, y)| net.binary(f, x, y)))
}

/// Where a constant has one value up to a diagonal and another beyond it, in the two axes that are no unit axes.
struct Triangle {
    rows: usize,
    columns: usize,
    /// The columns of row 0 up to the diagonal, less one.
    diagonal: i64,
    up_to: f64,
    beyond: f64,
}

fn triangle(tensor: &Tensor) -> Option<Triangle> {
    let solid: Vec<usize> = (0..tensor.shape.len()).filter(|&axis| tensor.shape[axis] != 1).collect();
    let &[rows, columns] = solid.as_slice() else { return None };
    let width = tensor.shape[columns];
    if !(LEAST..=MOST).contains(&tensor.len()) {
        return None;
    }
    let corner = |row: usize, column: usize| tensor.get_f64(row * width + column);
    // The corners farthest from the diagonal.
    let (up_to, beyond) = (corner(tensor.shape[rows] - 1, 0), corner(0, width - 1));
    let same = |a: f64, b: f64| a == b && a.is_sign_negative() == b.is_sign_negative();
    let diagonal = match (0..width).rev().find(|&column| same(corner(0, column), up_to)) {
        Some(column) => column as i64,
        None => -((0..tensor.shape[rows]).take_while(|&row| !same(corner(row, 0), up_to)).count() as i64),
    };
    let fits = (0..tensor.len()).all(|i| {
        let (row, column) = ((i / width) as i64, (i % width) as i64);
        same(tensor.get_f64(i), if column <= row + diagonal { up_to } else { beyond })
    });
    (fits && !same(up_to, beyond)).then_some(Triangle { rows, columns, diagonal, up_to, beyond })
}

/// A constant triangle is a comparison of its indices.
fn constant_triangle(net: &mut Net, site: &Site) -> Vec<Id> {
    let Op::Constant(id) = site.op else { return vec![] };
    let tensor = net.egraph.analysis.consts.get(*id);
    let exact = !matches!(tensor.dtype, DType::I64 | DType::U64);
    let Some(found) = triangle(tensor).filter(|_| exact) else { return vec![] };
    let (dtype, shape) = (tensor.dtype, net.shape(site.class));
    let column = Count { axis: Some(found.columns), start: Dim::ZERO, step: 1 };
    let row = Count { axis: Some(found.rows), start: Dim::from(found.diagonal), step: 1 };
    let sides = column.make(net, DType::I32, &shape).zip(row.make(net, DType::I32, &shape));
    let Some((column, row)) = sides else { return vec![] };
    let one_of = match (dtype, found.up_to != 0.0) {
        (DType::Bool, true) => net.binary(BinaryOp::Le, column, row),
        (DType::Bool, false) => net.binary(BinaryOp::Gt, column, row),
        _ => {
            let condition = net.binary(BinaryOp::Le, column, row);
            let values = net.full(dtype, found.up_to, shape.clone()).zip(net.full(dtype, found.beyond, shape));
            condition.zip(values).and_then(|(condition, (a, b))| net.add(Op::Select, &[condition, a, b]))
        }
    };
    one(one_of)
}

/// A part of counted indices counts as well.
fn slice_iota(net: &mut Net, site: &Site) -> Vec<Id> {
    let (Op::Slice { starts, sizes, steps }, &[x]) = (site.op, site.args) else { return vec![] };
    let axes = net.pick(x, |op, _| match op {
        Op::Iota { axis, dtype, .. } if !dtype.is_float() => Some(*axis),
        _ => None,
    });
    let mut found = vec![];
    for axis in axes {
        let part = Count { axis: Some(axis), start: starts[axis].clone(), step: steps[axis] };
        found.extend(part.make(net, net.dtype(x), sizes));
    }
    found
}

/// Operations that [`of_indices`] looks through.
const DEPTH: usize = 3;

/// Whether a class depends on indices and constants alone.
fn of_indices(net: &Net, id: Id, depth: usize) -> bool {
    let below = |op: &Op, args: &[Id]| {
        let follows = matches!(op, Op::Broadcast { .. }) || is_map(op);
        let holds = match (op, depth.checked_sub(1)) {
            (Op::Iota { .. } | Op::Dims { .. }, _) => true,
            (_, Some(depth)) if follows => args.iter().all(|&arg| of_indices(net, arg, depth)),
            _ => false,
        };
        holds.then_some(())
    };
    net.is_known(id) || net.pick_one(id, below).is_some()
}

/// A part of what depends on indices alone is computed of the part's indices. Of other maps a part is seldom worth a loop of
/// its own: the whole is computed once, in longer runs, however many parts are read.
fn slice_of_indices(net: &mut Net, site: &Site) -> Vec<Id> {
    let (Op::Slice { .. }, &[x]) = (site.op, site.args) else { return vec![] };
    let maps = net.pick(x, |op, args| is_map(op).then(|| (op.clone(), args.to_vec())));
    let mut found = vec![];
    for (map, args) in maps {
        if args.iter().all(|&arg| of_indices(net, arg, DEPTH)) {
            let parts: Option<Vec<Id>> = args.iter().map(|&arg| net.add(site.op.clone(), &[arg])).collect();
            found.extend(parts.and_then(|parts| net.add(map, &parts)));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuel::Fuel;
    use crate::rules::load::load;
    use crate::rules::saturate::{Limits, saturate};
    use crate::rules::tests::parse;

    /// What is known of a comparison of `start + i`, of `n + 1` integers from 0, with `n + other`.
    fn known(f: &str, start: i64, other: i64) -> Option<f64> {
        let size = if other == 0 { "n".to_owned() } else { format!("n + {other}") };
        let text = format!(
            "dim n in 0..
graph @g(%0 x: f32[n]) -> (y: %9) {{
  %1 = iota dtype=i64 shape=[n + 1] axis=0 : i64[n + 1]
  %2 = constant i64[] [{start}]
  %3 = broadcast %2 shape=[n + 1] axes=[] : i64[n + 1]
  %4 = add %1, %3 : i64[n + 1]
  %5 = dims dims=[{size}] scalar=true : i64[]
  %6 = broadcast %5 shape=[n + 1] axes=[] : i64[n + 1]
  %9 = {f} %4, %6 : bool[n + 1]
}}
"
        );
        let graph = parse(&text);
        let mut loaded = load(&graph, false);
        let rules: Vec<&Rule> = RULES.iter().collect();
        saturate(&mut loaded.net, &rules, Limits::default(), &mut Fuel::default());
        loaded.net.splat(loaded.classes[graph.outputs[0].1.index()].unwrap())
    }

    #[test]
    fn comparisons_that_sizes_decide() {
        for (f, start, other, expected) in [
            ("le", 0, 0, Some(1.0)),
            ("lt", 0, 0, None),
            ("lt", 0, 1, Some(1.0)),
            ("gt", 0, 0, Some(0.0)),
            ("ge", 0, 0, None),
            ("ge", 0, 1, Some(0.0)),
            ("eq", 0, 0, None),
            ("eq", 0, 1, Some(0.0)),
            ("ne", 0, 1, Some(1.0)),
            ("le", 1, 0, None),
            ("le", 1, 1, Some(1.0)),
        ] {
            assert_eq!(known(f, start, other), expected, "{f} {start} {other}");
        }
    }

    fn of(rows: usize, columns: usize, value: impl Fn(i64, i64) -> f64) -> Option<(i64, f64, f64)> {
        let at = |i: usize| value((i / columns) as i64, (i % columns) as i64);
        let values: Vec<f64> = (0..rows * columns).map(at).collect();
        let tensor = Tensor::from_f64s(DType::F32, &[1, rows, 1, columns], &values);
        triangle(&tensor).map(|t| (t.diagonal, t.up_to, t.beyond))
    }

    #[test]
    fn diagonals() {
        for diagonal in [-90, -3, -1, 0, 1, 5, 100] {
            let found = of(100, 120, |row, column| if column <= row + diagonal { 0.0 } else { f64::NEG_INFINITY });
            assert_eq!(found, Some((diagonal, 0.0, f64::NEG_INFINITY)), "{diagonal}");
        }
        assert_eq!(of(100, 100, |row, column| if (row, column) == (7, 5) || column > row { 1.0 } else { 0.0 }), None);
        assert_eq!(of(100, 100, |_, _| 1.0), None);
        assert_eq!(of(100, 100, |row, column| if row <= column { 1.0 } else { 0.0 }), Some((-1, 0.0, 1.0)));
        // Small ones stay.
        assert_eq!(of(10, 10, |row, column| if row <= column { 1.0 } else { 0.0 }), None);
        assert_eq!(of(100, 100, |row, column| if row == column { 1.0 } else { 0.0 }), None);
        assert_eq!(of(100, 100, |row, column| if row >= column { 0.0 } else { -0.0 }), Some((0, 0.0, -0.0)));
    }
}

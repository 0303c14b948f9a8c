//! Operators that move elements without computing.

use nnc_ir::{DType, Dim};

use super::{Row, row};
use crate::fuzz::onnx::gen_state::Gen;
use crate::fuzz::onnx::net::{Attr, Var};
use crate::fuzz::onnx::range::Range;

pub(super) const ROWS: &[Row] = &[
    row(&["Transpose", "Transpose"], 13, transpose),
    row(&["Reshape", "Reshape"], 14, reshape),
    row(&["Flatten"], 13, flatten),
    row(&["Squeeze"], 13, squeeze),
    row(&["Unsqueeze"], 13, unsqueeze),
    row(&["Expand"], 13, expand),
    row(&["Tile"], 13, tile),
    row(&["Concat", "Concat"], 13, concat),
    row(&["Split"], 13, split),
    row(&["Slice", "Slice", "Slice"], 13, slice),
    row(&["Pad", "Pad"], 13, pad),
    row(&["CenterCropPad"], 18, center_crop_pad),
    row(&["DepthToSpace"], 13, depth_to_space),
    row(&["SpaceToDepth"], 13, space_to_depth),
    row(&["Trilu"], 14, trilu),
    row(&["ReverseSequence"], 10, reverse_sequence),
    row(&["Cast"], 13, cast),
    row(&["CastLike"], 15, cast_like),
];

/// An axis of a value, and how attributes write it: from the end as well.
pub(super) fn axis(g: &mut Gen, rank: usize) -> Option<(usize, i64)> {
    if rank == 0 {
        return None;
    }
    let axis = g.random.below(rank);
    Some((axis, if g.random.percent(40) { axis as i64 - rank as i64 } else { axis as i64 }))
}

fn moved(g: &mut Gen, op: &str, x: &Var, attributes: Vec<(&'static str, Attr)>, dims: Vec<Dim>) -> Option<()> {
    g.one(op, &[x], attributes, x.dtype, dims, x.range)
}

fn transpose(g: &mut Gen, op: &str) -> Option<()> {
    let x = g.any(1, 5);
    if g.random.percent(15) {
        let dims = x.dims.iter().rev().cloned().collect();
        return moved(g, op, &x, vec![], dims);
    }
    let perm = g.random.permutation(x.rank());
    let dims = perm.iter().map(|&i| x.dims[i].clone()).collect();
    moved(g, op, &x, vec![("perm", Attr::Ints(perm.iter().map(|&i| i as i64).collect()))], dims)
}

/// Merges neighbours, splits constants, inserts and drops ones; at most one symbolic dimension is written as -1.
fn reshape(g: &mut Gen, op: &str) -> Option<()> {
    let x = g.any(0, 5);
    let mut dims = x.dims.clone();
    for _ in 0..1 + g.random.below(3) {
        let at = g.random.below(dims.len().max(1));
        match g.random.below(4) {
            0 if dims.len() > 1 && at + 1 < dims.len() => {
                let merged = &dims[at] * &dims[at + 1];
                dims.splice(at..at + 2, [merged]);
            }
            1 if !dims.is_empty() => {
                let n = dims[at].as_const()?;
                let factor = (2..n).find(|f| n % f == 0)?;
                let pair = if g.random.percent(50) { [factor, n / factor] } else { [n / factor, factor] };
                dims.splice(at..=at, pair.map(Dim::from));
            }
            2 if dims.len() < 5 => dims.insert(at, Dim::ONE),
            _ => {
                if let Some(one) = dims.iter().position(|d| d.is_const(1)) {
                    dims.remove(one);
                }
            }
        }
    }
    let mut free = false;
    let mut shape = vec![];
    for (i, dim) in dims.iter().enumerate() {
        shape.push(match dim.as_const() {
            Some(0) | None if x.dims.get(i) == Some(dim) => 0,
            Some(n) if n > 0 && (free || g.random.percent(80)) => n,
            // The free dimension cannot be found out beside an empty one.
            _ if free || dims.iter().enumerate().any(|(j, d)| j != i && d.as_const() == Some(0)) => return None,
            _ => {
                free = true;
                -1
            }
        });
    }
    if free {
        for (i, dim) in dims.iter().enumerate() {
            if shape[i] == 0 {
                g.at_least(dim, 1)?;
            }
        }
    }
    let shape = g.vector(&shape);
    g.one(op, &[&x, &shape], vec![], x.dtype, dims, x.range)
}

fn flatten(g: &mut Gen, op: &str) -> Option<()> {
    let x = g.any(1, 4);
    let at = g.random.below(x.rank() + 1);
    let product = |dims: &[Dim]| dims.iter().fold(Dim::ONE, |a, b| a * b);
    let dims = vec![product(&x.dims[..at]), product(&x.dims[at..])];
    moved(g, op, &x, vec![("axis", Attr::Int(at as i64))], dims)
}

fn squeeze(g: &mut Gen, op: &str) -> Option<()> {
    let x = g.pick(|v| v.dims.iter().any(|d| d.is_const(1)))?;
    let ones: Vec<usize> = (0..x.rank()).filter(|&i| x.dims[i].is_const(1)).collect();
    let gone: Vec<usize> = ones.iter().copied().filter(|_| g.random.percent(60)).collect();
    if gone.is_empty() {
        return None;
    }
    let dims = (0..x.rank()).filter(|i| !gone.contains(i)).map(|i| x.dims[i].clone()).collect();
    let axes = g.vector(&gone.iter().map(|&i| i as i64).collect::<Vec<_>>());
    g.one(op, &[&x, &axes], vec![], x.dtype, dims, x.range)
}

fn unsqueeze(g: &mut Gen, op: &str) -> Option<()> {
    let x = g.any(0, 3);
    let rank = x.rank() + 1 + g.random.below(2);
    let mut axes = g.random.permutation(rank);
    axes.truncate(rank - x.rank());
    let mut old = x.dims.iter().cloned();
    let dims = (0..rank).map(|i| if axes.contains(&i) { Some(Dim::ONE) } else { old.next() }).collect::<Option<_>>()?;
    let axes = g.vector(&axes.iter().map(|&i| i as i64).collect::<Vec<_>>());
    g.one(op, &[&x, &axes], vec![], x.dtype, dims, x.range)
}

fn expand(g: &mut Gen, op: &str) -> Option<()> {
    let x = g.any(0, 4);
    let mut dims: Vec<Dim> = (0..g.random.below(2)).map(|_| Dim::from(2)).collect();
    for dim in &x.dims {
        dims.push(if dim.is_const(1) && g.random.percent(70) {
            Dim::from(*g.random.of(&[2, 3, 5]))
        } else {
            dim.clone()
        });
    }
    // A 1 in the shape keeps what is there.
    let shape: Vec<i64> = dims.iter().map(|d| d.as_const().unwrap_or(1)).collect();
    let shape = g.vector(&shape);
    g.one(op, &[&x, &shape], vec![], x.dtype, dims, x.range)
}

fn tile(g: &mut Gen, op: &str) -> Option<()> {
    let x = g.any(1, 4);
    let repeats: Vec<i64> = (0..x.rank()).map(|_| *g.random.of(&[1, 1, 2, 3])).collect();
    let dims = x.dims.iter().zip(&repeats).map(|(d, r)| d * *r).collect();
    let repeats = g.vector(&repeats);
    g.one(op, &[&x, &repeats], vec![], x.dtype, dims, x.range)
}

fn concat(g: &mut Gen, op: &str) -> Option<()> {
    let x = g.any(1, 5);
    let (at, written) = axis(g, x.rank())?;
    let mut parts = vec![x.clone()];
    for _ in 0..1 + g.random.below(3) {
        let fits = |v: &Var| {
            v.dtype == x.dtype && v.rank() == x.rank() && (0..x.rank()).all(|i| i == at || v.dims[i] == x.dims[i])
        };
        let part = match g.random.percent(75) {
            true => g.pick(fits)?,
            false => {
                let mut dims = x.dims.clone();
                dims[at] = g.dim();
                if dims.iter().any(|d| g.depends_on_data(d)) {
                    return None;
                }
                let range = g.range(x.dtype);
                g.fresh(x.dtype, dims, range)
            }
        };
        parts.push(part);
    }
    if g.random.percent(30) {
        parts.reverse();
    }
    let mut dims = x.dims.clone();
    dims[at] = parts.iter().fold(Dim::ZERO, |sum, p| sum + &p.dims[at]);
    let range = parts.iter().map(|p| p.range).reduce(Range::or)?;
    g.one(op, &parts.iter().collect::<Vec<_>>(), vec![("axis", Attr::Int(written))], x.dtype, dims, range)
}

fn split(g: &mut Gen, op: &str) -> Option<()> {
    let x = g.get(&g.any_dtypes(), (1, 4), |v| v.dims.iter().any(|d| d.as_const().is_some_and(|d| d > 1)));
    let at = (0..x.rank()).find(|&i| x.dims[i].as_const().is_some_and(|d| d > 1))?;
    let n = x.dims[at].as_const()?;
    let first = g.random.within(0, n);
    let mut sizes = vec![first, n - first];
    if g.random.percent(30) {
        sizes.insert(1, 0);
    }
    let result = |size: &i64| {
        let mut dims = x.dims.clone();
        dims[at] = Dim::from(*size);
        (x.dtype, dims, x.range)
    };
    let results = sizes.iter().map(result).collect();
    let sizes = g.vector(&sizes);
    g.emit(op, &[&x, &sizes], vec![("axis", Attr::Int(at as i64))], results).map(drop)
}

/// One axis, or two; from either end, and steps of both signs.
fn slice(g: &mut Gen, op: &str) -> Option<()> {
    let x = g.any(1, 5);
    let mut dims = x.dims.clone();
    let (mut starts, mut ends, mut axes, mut steps) = (vec![], vec![], vec![], vec![]);
    for axis in g.random.permutation(x.rank()).into_iter().take(1 + g.random.below(2)) {
        let n = dims[axis].clone();
        let (start, end, step, size) = match (n.as_const(), g.random.below(5)) {
            (Some(n), 0) if n > 0 => {
                let step = *g.random.of(&[1, 2, 3]);
                let start = g.random.within(0, n - 1);
                let end = g.random.within(start, n + 2);
                (start, end, step, Dim::from((end.min(n) - start + step - 1) / step))
            }
            (Some(n), 1) if n > 0 => {
                let step = *g.random.of(&[-1, -2]);
                let start = g.random.within(0, n - 1);
                (start - n, i64::MIN + 1, step, Dim::from(start / -step + 1))
            }
            (_, 2) => (-1, i64::MIN + 1, -1, n.clone()),
            (_, 3) => {
                let skip = 1 + g.random.below(3) as i64;
                g.at_least(&n, skip)?;
                (skip, i64::MAX, 1, &n - skip)
            }
            _ => {
                let skip = 1 + g.random.below(2) as i64;
                g.at_least(&n, skip)?;
                (0, -skip, 1, &n - skip)
            }
        };
        starts.push(start);
        ends.push(end);
        axes.push(axis as i64);
        steps.push(step);
        dims[axis] = size;
    }
    let operands = [starts, ends, axes, steps].map(|list| g.vector(&list));
    let [a, b, c, d] = &operands;
    g.one(op, &[&x, a, b, c, d], vec![], x.dtype, dims, x.range)
}

fn pad(g: &mut Gen, op: &str) -> Option<()> {
    let dtypes = [g.float, g.float, DType::I64, DType::I32];
    let x = g.get(&dtypes, (1, 5), |_| true);
    let modes: &[&str] =
        if g.net.opset >= 19 { &["constant", "edge", "reflect", "wrap"] } else { &["constant", "edge", "reflect"] };
    let mode = *g.random.of(modes);
    let (mut low, mut high) = (vec![0; x.rank()], vec![0; x.rank()]);
    let mut dims = x.dims.clone();
    for axis in 0..x.rank() {
        if g.random.percent(50) {
            continue;
        }
        let amounts: &[i64] = if mode == "constant" { &[0, 1, 2, 3, -1] } else { &[0, 1, 2] };
        (low[axis], high[axis]) = (*g.random.of(amounts), *g.random.of(amounts));
        let least = match mode {
            "reflect" => low[axis].max(high[axis]) + 1,
            "wrap" => low[axis].max(high[axis]).max(1),
            "edge" => 1,
            _ => -low[axis].min(0) - high[axis].min(0),
        };
        g.at_least(&dims[axis], least)?;
        dims[axis] = &dims[axis] + (low[axis] + high[axis]);
    }
    low.extend(high);
    let amounts = g.vector(&low);
    let mut range = x.range;
    let mut operands = vec![&x, &amounts];
    let value = g.scalar(x.dtype, 3.0);
    if mode == "constant" && g.random.percent(60) {
        range = range.or_number(3.0);
        operands.push(&value);
    }
    g.one(op, &operands, vec![("mode", Attr::Text(mode))], x.dtype, dims, range.or_number(0.0))
}

fn center_crop_pad(g: &mut Gen, op: &str) -> Option<()> {
    let x = g.get(&[g.float, DType::I64], (1, 4), |_| true);
    let sizes: Vec<i64> = (0..x.rank()).map(|_| g.random.within(1, 8)).collect();
    let dims = sizes.iter().map(|&s| Dim::from(s)).collect();
    let shape = g.vector(&sizes);
    g.one(op, &[&x, &shape], vec![], x.dtype, dims, x.range.or_number(0.0))
}

fn depth_to_space(g: &mut Gen, op: &str) -> Option<()> {
    let (n, h, w) = (g.dim(), g.dim(), g.dim());
    let depth = 4 * (1 + g.random.below(3));
    let range = g.range(g.float);
    let x = g.input(g.float, vec![n.clone(), Dim::from(depth), h.clone(), w.clone()], range);
    let mode = *g.random.of(&["DCR", "CRD"]);
    let dims = vec![n, Dim::from(depth / 4), h * 2, w * 2];
    moved(g, op, &x, vec![("blocksize", Attr::Int(2)), ("mode", Attr::Text(mode))], dims)
}

fn space_to_depth(g: &mut Gen, op: &str) -> Option<()> {
    let fits = |v: &Var| {
        let even = |d: &Dim| d.as_const().is_some_and(|d| d % 2 == 0);
        v.rank() == 4 && v.dtype == DType::F32 && even(&v.dims[2]) && even(&v.dims[3])
    };
    let x = match g.pick(fits) {
        Some(x) => x,
        None => {
            let (n, c) = (g.dim(), g.dim());
            let range = g.range(DType::F32);
            g.input(DType::F32, vec![n, c, Dim::from(4), Dim::from(6)], range)
        }
    };
    let half = |d: &Dim| d.as_const().map(|d| Dim::from(d / 2));
    let dims = vec![x.dims[0].clone(), &x.dims[1] * 4, half(&x.dims[2])?, half(&x.dims[3])?];
    moved(g, op, &x, vec![("blocksize", Attr::Int(2))], dims)
}

fn trilu(g: &mut Gen, op: &str) -> Option<()> {
    let x = g.get(&[g.float, DType::I64, DType::Bool], (2, 4), |_| true);
    let upper = g.random.below(2) as i64;
    let k = g.random.within(-2, 2);
    let k = g.scalar(DType::I64, k as f64);
    let operands: &[&Var] = if g.random.percent(70) { &[&x, &k] } else { &[&x] };
    g.one(op, operands, vec![("upper", Attr::Int(upper))], x.dtype, x.dims.clone(), x.range.or_number(0.0))
}

fn reverse_sequence(g: &mut Gen, op: &str) -> Option<()> {
    let x = g.get(&[g.float, DType::I64], (2, 4), |_| true);
    let (batch, time) = if g.random.percent(50) { (0, 1) } else { (1, 0) };
    let lengths = g.lengths(DType::I64, x.dims[batch].clone(), &x.dims[time])?;
    let attributes = vec![("batch_axis", Attr::Int(batch as i64)), ("time_axis", Attr::Int(time as i64))];
    g.one(op, &[&x, &lengths], attributes, x.dtype, x.dims.clone(), x.range)
}

fn cast(g: &mut Gen, op: &str) -> Option<()> {
    let x = g.any(0, 5);
    let to = *g.random.of(&[
        DType::F32,
        g.float,
        DType::I64,
        DType::I32,
        DType::Bool,
        DType::U8,
        DType::I8,
        DType::F64,
        DType::F16,
    ]);
    let range = cast_range(&x, to)?;
    g.one(op, &[&x], vec![("to", Attr::Int(i64::from(crate::fuzz::case::onnx_type(to))))], to, x.dims.clone(), range)
}

fn cast_like(g: &mut Gen, op: &str) -> Option<()> {
    let (x, like) = (g.any(0, 5), g.any(0, 3));
    let range = cast_range(&x, like.dtype)?;
    g.one(op, &[&x, &like], vec![], like.dtype, x.dims.clone(), range)
}

/// What a cast gives; `None` where implementations may differ.
fn cast_range(x: &Var, to: DType) -> Option<Range> {
    let range = x.range;
    if to == DType::Bool {
        range.bits?;
        return Some(Range::exact(0.0, 1.0, 0));
    }
    if to.is_float() {
        return Some(range);
    }
    range.bits?;
    let all = Range::all(to);
    match range.within(all.low, all.high) {
        true => Some(Range { bits: Some(0), low: range.low.trunc(), high: range.high.trunc() }),
        // Integers wrap; floats out of range are nobody's promise.
        false if !x.dtype.is_float() => Some(all),
        false => None,
    }
}

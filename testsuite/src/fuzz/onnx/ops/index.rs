//! Gathers, scatters and operators whose result size is found in data.

use nnc_ir::{DType, Dim};

use super::movement::axis;
use super::{Row, row};
use crate::fuzz::onnx::gen_state::Gen;
use crate::fuzz::onnx::net::{Attr, Var};
use crate::fuzz::onnx::range::Range;

pub(super) const ROWS: &[Row] = &[
    row(&["Gather", "Gather"], 13, gather),
    row(&["GatherElements"], 13, gather_elements),
    row(&["GatherND"], 13, gather_nd),
    row(&["ScatterElements"], 18, scatter_elements),
    row(&["ScatterND"], 18, scatter_nd),
    row(&["NonZero"], 13, non_zero),
    row(&["Compress"], 11, compress),
    row(&["Unique"], 11, unique),
];

fn integer(g: &mut Gen) -> DType {
    *g.random.of(&[DType::I64, DType::I64, DType::I32])
}

fn gather(g: &mut Gen, op: &str) -> Option<()> {
    let x = g.any(1, 4);
    let (at, written) = axis(g, x.rank())?;
    let rank = g.rank(0, 2);
    let shape = g.shape(rank);
    let dtype = integer(g);
    if g.depends_on_data(&x.dims[at]) {
        return None;
    }
    let index = g.indices(dtype, shape.clone(), &x.dims[at], true)?;
    let dims = [&x.dims[..at], &shape, &x.dims[at + 1..]].concat();
    g.one(op, &[&x, &index], vec![("axis", Attr::Int(written))], x.dtype, dims, x.range)
}

/// Dimensions no greater than those of a value but along an axis.
fn part(g: &mut Gen, x: &Var, at: usize) -> Vec<Dim> {
    let part = |(i, d): (usize, &Dim)| match d.as_const() {
        _ if i == at => Dim::from(g.random.within(1, 4)),
        Some(n) if n > 1 && g.random.percent(40) => Dim::from(n - 1),
        _ => d.clone(),
    };
    x.dims.iter().enumerate().map(part).collect()
}

fn gather_elements(g: &mut Gen, op: &str) -> Option<()> {
    let x = g.any(1, 4);
    let (at, written) = axis(g, x.rank())?;
    let dims = part(g, &x, at);
    if x.dims.iter().any(|d| g.depends_on_data(d)) {
        return None;
    }
    let dtype = integer(g);
    let index = g.indices(dtype, dims.clone(), &x.dims[at], true)?;
    g.one(op, &[&x, &index], vec![("axis", Attr::Int(written))], x.dtype, dims, x.range)
}

fn gather_nd(g: &mut Gen, op: &str) -> Option<()> {
    let x = g.any(1, 4);
    if g.depends_on_data(&x.dims[0]) {
        return None;
    }
    // One coordinate: more would need indices of different bounds.
    let rank = g.rank(0, 2);
    let mut dims = g.shape(rank);
    dims.push(Dim::ONE);
    let index = g.indices(DType::I64, dims.clone(), &x.dims[0], true)?;
    dims.pop();
    dims.extend_from_slice(&x.dims[1..]);
    g.one(op, &[&x, &index], vec![], x.dtype, dims, x.range)
}

/// Indices are constant and distinct where the order of updates would matter.
fn scatter_elements(g: &mut Gen, op: &str) -> Option<()> {
    let x = g.get(&[g.float, DType::I64, DType::I32], (1, 3), |v| v.range.magnitude() < 1e4);
    let (at, written) = axis(g, x.rank())?;
    let n = x.dims[at].as_const().filter(|&n| n > 0)?;
    let reduction = *g.random.of(&["none", "add", "max", "min"]);
    let mut dims = part(g, &x, at);
    let count = g.random.within(1, n.min(4));
    dims[at] = Dim::from(count);
    let shape: Vec<usize> = dims.iter().map(|d| d.as_const().map(|d| d as usize)).collect::<Option<_>>()?;
    let stride: usize = shape[at + 1..].iter().product();
    let order = g.random.permutation(n as usize);
    let total: usize = shape.iter().product();
    let place = |i: usize| order[i / stride.max(1) % count as usize] as i64;
    let values: Vec<i64> = (0..total).map(|i| if reduction == "none" { place(i) } else { place(i) % n }).collect();
    let index = g.constant(nnc_ir::Tensor::from_slice(&shape, &values));
    let range = g.range(x.dtype);
    let updates = g.fresh(x.dtype, dims, range);
    let range = if reduction == "add" { x.range.plus(updates.range).or(x.range) } else { x.range.or(updates.range) };
    let attributes = vec![("axis", Attr::Int(written)), ("reduction", Attr::Text(reduction))];
    g.one(op, &[&x, &index, &updates], attributes, x.dtype, x.dims.clone(), range)
}

fn scatter_nd(g: &mut Gen, op: &str) -> Option<()> {
    let x = g.get(&[g.float, DType::I64, DType::I32], (1, 3), |v| v.range.magnitude() < 1e4);
    let n = x.dims[0].as_const().filter(|&n| n > 0)? as usize;
    if x.dims.iter().any(|d| g.depends_on_data(d)) {
        return None;
    }
    let count = 1 + g.random.below(n.min(4));
    let mut order: Vec<i64> = g.random.permutation(n).into_iter().map(|i| i as i64).collect();
    order.truncate(count);
    let index = g.constant(nnc_ir::Tensor::from_slice(&[count, 1], &order));
    let reduction = *g.random.of(&["none", "add", "max", "min"]);
    let mut dims = x.dims.clone();
    dims[0] = Dim::from(count);
    let range = g.range(x.dtype);
    let updates = g.fresh(x.dtype, dims, range);
    let range = if reduction == "add" { x.range.plus(updates.range).or(x.range) } else { x.range.or(updates.range) };
    g.one(op, &[&x, &index, &updates], vec![("reduction", Attr::Text(reduction))], x.dtype, x.dims.clone(), range)
}

fn count_of(g: &Gen, dims: &[Dim]) -> i64 {
    dims.iter().map(|d| g.size(d)).product()
}

fn non_zero(g: &mut Gen, op: &str) -> Option<()> {
    let x = g.get(&[DType::F32, DType::I64, DType::Bool, DType::I32], (1, 3), |v| v.range.bits.is_some());
    x.range.bits?;
    let most = count_of(g, &x.dims);
    let count = g.unknown(most);
    let dims = vec![Dim::from(x.rank()), count];
    g.one(op, &[&x], vec![], DType::I64, dims, Range::exact(0.0, 5000.0, 0))
}

fn compress(g: &mut Gen, op: &str) -> Option<()> {
    let x = g.any(1, 3);
    if g.random.percent(30) {
        let n = x.dims.iter().fold(Dim::ONE, |a, b| a * b);
        let like = g.get(&[DType::Bool], (1, 1), |v| v.dims[0] == n);
        if like.dims[0] != n {
            return None;
        }
        let most = count_of(g, &x.dims);
        let count = g.unknown(most);
        return g.one(op, &[&x, &like], vec![], x.dtype, vec![count], x.range);
    }
    let (at, written) = axis(g, x.rank())?;
    let n = x.dims[at].clone();
    if g.depends_on_data(&n) {
        return None;
    }
    let condition = g.fresh(DType::Bool, vec![n.clone()], Range::exact(0.0, 1.0, 0));
    let most = g.size(&n);
    let count = g.unknown(most);
    let mut dims = x.dims.clone();
    dims[at] = count;
    g.one(op, &[&x, &condition], vec![("axis", Attr::Int(written))], x.dtype, dims, x.range)
}

fn unique(g: &mut Gen, op: &str) -> Option<()> {
    let x = g.get(&[DType::F32, DType::I64], (1, 2), |v| v.range.bits.is_some());
    x.range.bits?;
    let most = count_of(g, &x.dims);
    let count = g.unknown(most);
    let whole = x.dims.iter().fold(Dim::ONE, |a, b| a * b);
    let index = |dim: &Dim| (DType::I64, vec![dim.clone()], Range::exact(0.0, 5000.0, 0));
    let results = vec![(x.dtype, vec![count.clone()], x.range), index(&count), index(&whole), index(&count)];
    let sorted = g.random.below(2) as i64;
    g.emit(op, &[&x], vec![("sorted", Attr::Int(sorted))], results).map(drop)
}

//! Matrix products.

use nnc_ir::{DType, Dim};

use super::{Row, row};
use crate::fuzz::onnx::gen_state::{Gen, broadcast};
use crate::fuzz::onnx::net::{Attr, Var};
use crate::fuzz::onnx::range::Range;

pub(super) const ROWS: &[Row] = &[
    row(&["MatMul", "MatMul", "MatMul", "MatMul"], 13, matmul),
    row(&["Gemm", "Gemm"], 13, gemm),
    row(&["Einsum"], 12, einsum),
    row(&["MatMulInteger"], 10, matmul_integer),
    row(&["Det"], 11, det),
];

/// The range of sums of `n` products, with room for larger sizes later.
fn product(g: &Gen, a: &Var, b: &Var, n: &Dim) -> Range {
    a.range.times(b.range).sum(g.size(n).max(1) as f64 * 8.0)
}

fn operand(g: &mut Gen, low: usize, high: usize) -> Var {
    g.get(&[g.float], (low, high), |v| v.range.magnitude() < 100.0)
}

/// A right operand of `[size, columns]`, or a value of the pool.
fn right(g: &mut Gen, left: &Var, batch: &[Dim]) -> Var {
    let size = left.dims[left.rank() - 1].clone();
    let found = g.pick(|v| {
        v.dtype == left.dtype && v.rank() >= 2 && v.dims[v.rank() - 2] == size && v.range.magnitude() < 100.0
    });
    if let Some(found) = found.filter(|_| g.random.percent(50)) {
        return found;
    }
    let columns = g.dim();
    let mut dims = batch.to_vec();
    dims.extend([size, columns]);
    let range = g.range(left.dtype);
    g.fresh(left.dtype, dims, range)
}

fn matmul(g: &mut Gen, op: &str) -> Option<()> {
    let a = operand(g, 1, 4);
    let k = a.dims.last()?.clone();
    if g.depends_on_data(&k) {
        return None;
    }
    if g.random.percent(10) {
        let range = g.range(a.dtype);
        let b = g.fresh(a.dtype, vec![k.clone()], range);
        let dims = a.dims[..a.rank() - 1].to_vec();
        let range = product(g, &a, &b, &k);
        return g.one(op, &[&a, &b], vec![], a.dtype, dims, range);
    }
    let batch: Vec<Dim> = match g.random.percent(50) {
        true => vec![],
        false => a.dims[..a.rank().saturating_sub(2)].to_vec(),
    };
    if batch.iter().any(|d| g.depends_on_data(d)) {
        return None;
    }
    let b = right(g, &a, &batch);
    let (rows, columns) = (a.rank().checked_sub(2).map(|i| a.dims[i].clone()), b.dims[b.rank() - 1].clone());
    let mut dims = broadcast(&a.dims[..a.rank().saturating_sub(2)], &b.dims[..b.rank() - 2])?;
    dims.extend(rows);
    dims.push(columns);
    let range = product(g, &a, &b, &k);
    g.one(op, &[&a, &b], vec![], a.dtype, dims, range)
}

fn gemm(g: &mut Gen, op: &str) -> Option<()> {
    let a = operand(g, 2, 2);
    let (ta, tb) = (g.random.percent(30), g.random.percent(50));
    let (m, k) = if ta { (a.dims[1].clone(), a.dims[0].clone()) } else { (a.dims[0].clone(), a.dims[1].clone()) };
    if g.depends_on_data(&k) {
        return None;
    }
    let n = g.dim();
    let range = g.range(a.dtype);
    let b = g.fresh(a.dtype, if tb { vec![n.clone(), k.clone()] } else { vec![k.clone(), n.clone()] }, range);
    let mut attributes = vec![("transA", Attr::Int(i64::from(ta))), ("transB", Attr::Int(i64::from(tb)))];
    let mut result = product(g, &a, &b, &k);
    if g.random.percent(30) {
        attributes.extend([("alpha", Attr::Float(0.5)), ("beta", Attr::Float(2.0))]);
        result = result.times(Range::exact(0.5, 0.5, 1));
    }
    let dims = vec![m, n];
    if g.random.percent(70) {
        let like = Var { dims: dims.clone(), ..a.clone() };
        let c = g.partner(&like, |g| g.range(g.float));
        if broadcast(&dims, &c.dims).as_ref() != Some(&dims) {
            return None;
        }
        let result = result.plus(c.range.times(Range::exact(1.0, 2.0, 0)));
        return g.one(op, &[&a, &b, &c], attributes, a.dtype, dims, result);
    }
    g.one(op, &[&a, &b], attributes, a.dtype, dims, result)
}

fn einsum(g: &mut Gen, op: &str) -> Option<()> {
    let equations = [
        "ij,jk->ik",
        "ij,kj->ki",
        "bij,bjk->bik",
        "bhid,bhjd->bhij",
        "i,j->ij",
        "ij,ij->i",
        "bij,jk->bki",
        "ij->ji",
        "ii->i",
        "bij->b",
    ];
    let equation = *g.random.of(&equations);
    let (inputs, output) = equation.split_once("->")?;
    let mut sizes: Vec<(char, Dim)> = vec![];
    let mut operands = vec![];
    for labels in inputs.split(',') {
        let mut dims = vec![];
        for label in labels.chars() {
            let known = sizes.iter().find(|s| s.0 == label).map(|s| s.1.clone());
            let dim = known.unwrap_or_else(|| g.dim());
            sizes.push((label, dim.clone()));
            dims.push(dim);
        }
        if !g.small(&dims) {
            return None;
        }
        let range = g.range(g.float);
        let existing = g.pick(|v| v.dtype == DType::F32 && v.dims == dims && v.range.magnitude() < 100.0);
        operands.push(match existing {
            Some(var) => var,
            None => g.fresh(DType::F32, dims, Range { bits: range.bits.map(|b| b.min(3)), ..range }),
        });
    }
    let dims: Vec<Dim> = output.chars().filter_map(|c| sizes.iter().find(|s| s.0 == c).map(|s| s.1.clone())).collect();
    let summed: f64 =
        sizes.iter().filter(|s| !output.contains(s.0)).map(|s| g.size(&s.1).max(1) as f64 * 8.0).product();
    let range = operands.iter().map(|o| o.range).reduce(Range::times)?.sum(summed);
    g.one(op, &operands.iter().collect::<Vec<_>>(), vec![("equation", Attr::Text(equation))], DType::F32, dims, range)
}

fn matmul_integer(g: &mut Gen, op: &str) -> Option<()> {
    let a = g.get(&[DType::U8, DType::I8], (2, 3), |_| true);
    let k = a.dims[a.rank() - 1].clone();
    if g.depends_on_data(&k) {
        return None;
    }
    let n = g.dim();
    let right = *g.random.of(&[DType::U8, DType::I8]);
    let range = g.range(right);
    let b = g.fresh(right, vec![k.clone(), n.clone()], range);
    let mut dims = a.dims[..a.rank() - 1].to_vec();
    dims.push(n);
    let all = Range::exact(-1e6, 1e6, 0);
    if g.random.percent(50) {
        let (za, zb) = (g.scalar(a.dtype, 3.0), g.scalar(right, 2.0));
        return g.one(op, &[&a, &b, &za, &zb], vec![], DType::I32, dims, all);
    }
    g.one(op, &[&a, &b], vec![], DType::I32, dims, all)
}

/// Of small matrices, whose determinants stay small.
fn det(g: &mut Gen, op: &str) -> Option<()> {
    let n = g.random.within(1, 4);
    let rank = g.rank(0, 2);
    let mut dims = g.shape(rank);
    let results = dims.clone();
    dims.extend([Dim::from(n), Dim::from(n)]);
    let range = *g.random.of(&[Range::exact(-2.0, 2.0, 1), Range::rounded(-2.0, 2.0)]);
    let x = g.fresh(DType::F32, dims, range);
    g.one(op, &[&x], vec![], DType::F32, results, Range::rounded(-400.0, 400.0))
}

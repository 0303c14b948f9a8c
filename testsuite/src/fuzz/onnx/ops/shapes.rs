//! Operators that make tensors of shapes and numbers.

use nnc_ir::{DType, Dim, Tensor};

use super::{Row, row};
use crate::fuzz::onnx::gen_state::Gen;
use crate::fuzz::onnx::net::Attr;
use crate::fuzz::onnx::range::Range;

pub(super) const ROWS: &[Row] = &[
    row(&["Shape"], 15, shape),
    row(&["Size"], 13, size),
    row(&["ConstantOfShape"], 9, constant_of_shape),
    row(&["Constant"], 13, constant),
    row(&["EyeLike"], 9, eye_like),
    row(&["Range"], 11, range),
    row(&["OneHot"], 11, one_hot),
];

fn shape(g: &mut Gen, op: &str) -> Option<()> {
    let x = g.any(1, 5);
    let start = g.random.below(x.rank());
    let attributes = if start > 0 { vec![("start", Attr::Int(start as i64))] } else { vec![] };
    let dims = vec![Dim::from(x.rank() - start)];
    g.one(op, &[&x], attributes, DType::I64, dims, Range::exact(0.0, 5000.0, 0))
}

fn size(g: &mut Gen, op: &str) -> Option<()> {
    let x = g.any(0, 5);
    g.one(op, &[&x], vec![], DType::I64, vec![], Range::exact(0.0, 1e6, 0))
}

/// The shape of another value, or a constant one.
fn constant_of_shape(g: &mut Gen, op: &str) -> Option<()> {
    let value = *g.random.of(&[0.0, 1.0, 3.0]);
    let dtype = *g.random.of(&[g.float, DType::I64, DType::Bool]);
    let value = if dtype == DType::Bool { 1.0 } else { value };
    let tensor = Tensor::from_f64s(dtype, &[1], &[value]);
    let x = g.any(1, 4);
    let rank = Dim::from(x.rank());
    let shape = g.emit("Shape", &[&x], vec![], vec![(DType::I64, vec![rank], Range::exact(0.0, 5000.0, 0))])?;
    let attributes = vec![("value", Attr::Tensor(tensor))];
    g.one(op, &[&shape[0]], attributes, dtype, x.dims.clone(), Range::exact(value, value, 0))
}

fn constant(g: &mut Gen, op: &str) -> Option<()> {
    let rank = g.rank(0, 3);
    let shape: Vec<usize> = (0..rank).map(|_| g.random.within(1, 4) as usize).collect();
    let range = g.range(g.float);
    let tensor = g.tensor(g.float, &shape, range);
    let dims = shape.iter().map(|&d| Dim::from(d)).collect();
    g.one(op, &[], vec![("value", Attr::Tensor(tensor))], g.float, dims, range)
}

fn eye_like(g: &mut Gen, op: &str) -> Option<()> {
    let x = g.get(&[DType::F32, DType::I64], (2, 2), |_| true);
    let k = g.random.within(-1, 1);
    g.one(op, &[&x], vec![("k", Attr::Int(k))], x.dtype, x.dims.clone(), Range::exact(0.0, 1.0, 0))
}

fn range(g: &mut Gen, op: &str) -> Option<()> {
    let (start, count, step) = (g.random.within(-3, 3), g.random.within(0, 9), *g.random.of(&[1, 2, -1]));
    let dtype = *g.random.of(&[DType::I64, DType::I32, DType::F32]);
    let scalars = [start, start + count * step, step].map(|v| g.scalar(dtype, v as f64));
    let [a, b, c] = &scalars;
    g.one(op, &[a, b, c], vec![], dtype, vec![Dim::from(count)], Range::exact(-30.0, 30.0, 0))
}

fn one_hot(g: &mut Gen, op: &str) -> Option<()> {
    let indices = g.get(&[DType::I64], (0, 3), |v| v.range.within(-50.0, 50.0));
    if !indices.range.within(-50.0, 50.0) {
        return None;
    }
    let depth = g.random.within(1, 6);
    let (depth_value, values) =
        (g.scalar(DType::I64, depth as f64), g.constant(Tensor::from_slice(&[2], &[0f32, 1.0])));
    let axis = g.random.below(indices.rank() + 1);
    let mut dims = indices.dims.clone();
    dims.insert(axis, Dim::from(depth));
    let attributes = vec![("axis", Attr::Int(axis as i64))];
    g.one(op, &[&indices, &depth_value, &values], attributes, DType::F32, dims, Range::exact(0.0, 1.0, 0))
}

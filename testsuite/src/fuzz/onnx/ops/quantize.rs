//! Quantisation. Scales are powers of two and operands exact, so that every rounding has one answer.

use nnc_ir::{DType, Tensor};

use super::{Row, row};
use crate::fuzz::onnx::gen_state::Gen;
use crate::fuzz::onnx::range::Range;

pub(super) const ROWS: &[Row] = &[
    row(&["QuantizeLinear"], 13, quantize),
    row(&["DequantizeLinear"], 13, dequantize),
    row(&["QLinearMatMul"], 10, q_linear_matmul),
];

fn power(g: &mut Gen) -> f64 {
    *g.random.of(&[0.125, 0.25, 0.5, 1.0])
}

fn quantize(g: &mut Gen, op: &str) -> Option<()> {
    let x = g.bounded(&[DType::F32], -500.0, 500.0, true);
    let scale = power(g);
    let scale = g.scalar(DType::F32, scale);
    let dtype = *g.random.of(&[DType::U8, DType::I8]);
    let zero = g.scalar(dtype, 3.0);
    g.one(op, &[&x, &scale, &zero], vec![], dtype, x.dims.clone(), Range::all(dtype))
}

fn dequantize(g: &mut Gen, op: &str) -> Option<()> {
    let x = g.get(&[DType::U8, DType::I8], (0, 4), |_| true);
    let (value, zero) = (power(g), g.scalar(x.dtype, 2.0));
    let scale = g.scalar(DType::F32, value);
    let range = x.range.plus(Range::exact(-2.0, -2.0, 0)).times(scale.range);
    g.one(op, &[&x, &scale, &zero], vec![], DType::F32, x.dims.clone(), range)
}

fn q_linear_matmul(g: &mut Gen, op: &str) -> Option<()> {
    let a = g.get(&[DType::U8], (2, 3), |_| true);
    let k = a.dims[a.rank() - 1].clone();
    if g.depends_on_data(&k) {
        return None;
    }
    let n = g.dim();
    let range = g.range(DType::U8);
    let b = g.fresh(DType::U8, vec![k, n.clone()], range);
    let scalars = [1.0, 0.5, 8.0].map(|s| g.constant(Tensor::scalar_of(DType::F32, s)));
    let zeros = [1.0, 2.0, 3.0].map(|z| g.constant(Tensor::scalar_of(DType::U8, z)));
    let mut dims = a.dims[..a.rank() - 1].to_vec();
    dims.push(n);
    let inputs = [&a, &scalars[0], &zeros[0], &b, &scalars[1], &zeros[1], &scalars[2], &zeros[2]];
    g.one(op, &inputs, vec![], DType::U8, dims, Range::all(DType::U8))
}

//! Quantisation. Scales are powers of two and operands exact, so that every rounding has one answer.

use nnc_ir::{DType, Tensor};

use super::windows::{Convolution, image_of};
use super::{Row, row};
use crate::fuzz::onnx::gen_state::Gen;
use crate::fuzz::onnx::net::Attr;
use crate::fuzz::onnx::range::Range;

pub(super) const ROWS: &[Row] = &[
    row(&["QuantizeLinear"], 13, quantize),
    row(&["DequantizeLinear"], 13, dequantize),
    row(&["QLinearMatMul"], 10, q_linear_matmul),
    row(&["ConvInteger", "QLinearConv"], 10, conv),
    row(&["DynamicQuantizeLinear"], 11, dynamic),
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

fn conv(g: &mut Gen, op: &str) -> Option<()> {
    let (x, channels) = image_of(g, DType::U8, (1, 2))?;
    let Convolution { dims, weights, attributes } = Convolution::draw(g, &x, channels)?;
    // Greater products of both signs leave the 16 bits that some implementations sum two of them in.
    let signed = g.random.percent(50);
    let (dtype, range) =
        if signed { (DType::I8, Range::exact(-20.0, 20.0, 0)) } else { (DType::U8, Range::all(DType::U8)) };
    let w = g.weight(dtype, &weights, range);
    let (x_zero, w_zero) = (*g.random.of(&[0.0, 3.0, 128.0]), *g.random.of(&[0.0, 0.0, 5.0]));
    let zeros = [g.scalar(DType::U8, x_zero), g.scalar(dtype, w_zero)];
    if op == "ConvInteger" {
        let range = Range::exact(-1e7, 1e7, 0);
        return g.one(op, &[&x, &w, &zeros[0], &zeros[1]], attributes, DType::I32, dims, range);
    }
    let scales: Vec<_> = [power(g), power(g), 64.0].into_iter().map(|s| g.scalar(DType::F32, s)).collect();
    let y_zero = g.scalar(DType::U8, 100.0);
    let bias = g.weight(DType::I32, &weights[..1], Range::exact(-500.0, 500.0, 0));
    let mut inputs = vec![&x, &scales[0], &zeros[0], &w, &scales[1], &zeros[1], &scales[2], &y_zero];
    if g.random.percent(60) {
        inputs.push(&bias);
    }
    g.one(op, &inputs, attributes, DType::U8, dims, Range::all(DType::U8))
}

/// Of a vector that holds both ends of its range, so that the scale is a power of two.
fn dynamic(g: &mut Gen, op: &str) -> Option<()> {
    let (low, high) = (-16.0, 15.875);
    let dim = g.dim();
    let x = g.fresh(DType::F32, vec![dim.clone()], Range::exact(low, high, 3));
    let ends = g.constant(Tensor::from_slice(&[2], &[low as f32, high as f32]));
    let dims = vec![dim + 2];
    let range = Range::exact(low, high, 3);
    let whole =
        g.emit("Concat", &[&x, &ends], vec![("axis", Attr::Int(0))], vec![(DType::F32, dims.clone(), range)])?;
    let scale = (DType::F32, vec![], Range::exact(0.125, 0.125, 3));
    let zero = (DType::U8, vec![], Range::exact(128.0, 128.0, 0));
    let results = vec![(DType::U8, dims, Range::all(DType::U8)), scale, zero];
    g.emit(op, &[whole.first()?], vec![], results).map(drop)
}

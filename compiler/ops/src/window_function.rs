//! Tables for signal processing: HannWindow (<https://onnx.ai/onnx/operators/onnx__HannWindow.html>), HammingWindow
//! (<https://onnx.ai/onnx/operators/onnx__HammingWindow.html>), BlackmanWindow
//! (<https://onnx.ai/onnx/operators/onnx__BlackmanWindow.html>) and MelWeightMatrix
//! (<https://onnx.ai/onnx/operators/onnx__MelWeightMatrix.html>), opsets 17 on.

use crate::context::Context;
use crate::error::{Result, unsupported};
use nnc_ir::op::{BinaryOp, UnaryOp};
use nnc_ir::{DType, Dim, ValueId};

/// `c0 - c1 cos(2 pi n / N) + c2 cos(4 pi n / N)`.
fn cosines(ctx: &mut Context, [c0, c1, c2]: [f64; 3]) -> Result<Vec<ValueId>> {
    let size = ctx.input(0)?;
    let periodic = ctx.flag("periodic", true)?;
    let dtype = ctx.dtype_attribute("output_datatype")?.unwrap_or(DType::F32);
    let size = ctx.convert(size, DType::I64)?;
    let count = ctx.bind_dim(size, ctx.stated_dim(0, 0), None)?;
    let period = if periodic { count.clone() } else { Dim::max(&(&count - 1), &Dim::ONE) };
    let place = ctx.iota(DType::F64, &[count], 0)?;
    let period = ctx.dim_scalar(period)?;
    let period = ctx.convert(period, DType::F64)?;
    let turns = ctx.div(place, period)?;
    let mut sum = ctx.scalar(DType::F64, c0);
    for (coefficient, factor) in [(-c1, 1.0), (c2, 2.0)] {
        if coefficient != 0.0 {
            let angle = ctx.binary_scalar(BinaryOp::Mul, turns, factor * std::f64::consts::TAU)?;
            let wave = ctx.unary(UnaryOp::Cos, angle)?;
            let wave = ctx.binary_scalar(BinaryOp::Mul, wave, coefficient)?;
            sum = ctx.add(sum, wave)?;
        }
    }
    Ok(vec![ctx.convert(sum, dtype)?])
}

/// The Hann window.
pub fn hann(ctx: &mut Context) -> Result<Vec<ValueId>> {
    cosines(ctx, [0.5, 0.5, 0.0])
}

/// The Hamming window.
pub fn hamming(ctx: &mut Context) -> Result<Vec<ValueId>> {
    cosines(ctx, [25.0 / 46.0, 21.0 / 46.0, 0.0])
}

/// The Blackman window.
pub fn blackman(ctx: &mut Context) -> Result<Vec<ValueId>> {
    cosines(ctx, [0.42, 0.5, 0.08])
}

/// Triangular filters, evenly spaced on the mel scale, as a matrix.
pub fn mel_weight_matrix(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let mut operands = vec![];
    for index in 0..5 {
        let value = ctx.input(index)?;
        let value = ctx.reshape(value, &[])?;
        operands.push(ctx.convert(value, DType::F64)?);
    }
    let [bands, length, rate, low, high] = operands[..] else { return Ok(vec![]) };
    let dtype = ctx.dtype_attribute("output_datatype")?.unwrap_or(DType::F32);
    let mut shape = vec![];
    for (axis, size) in [length, bands].into_iter().enumerate() {
        let known = ctx.constant_scalar(size).map(|n| if axis == 0 { (n / 2.0).floor() + 1.0 } else { n });
        shape.push(match (known, ctx.stated_dim(0, axis)) {
            (Some(known), _) => Dim::from(known as i64),
            (None, None) => {
                return Err(unsupported(
                    "num_mel_bins and dft_length must be known at compile time; make them constants",
                ));
            }
            (None, Some(stated)) => {
                let mut size = ctx.convert(size, DType::I64)?;
                if axis == 0 {
                    let half = ctx.binary_scalar(BinaryOp::Div, size, 2.0)?;
                    size = ctx.binary_scalar(BinaryOp::Add, half, 1.0)?;
                }
                ctx.bind_dim(size, Some(stated), None)?
            }
        });
    }
    let mel = |ctx: &mut Context, hertz: ValueId| -> Result<ValueId> {
        let ratio = ctx.binary_scalar(BinaryOp::Div, hertz, 700.0)?;
        let ratio = ctx.binary_scalar(BinaryOp::Add, ratio, 1.0)?;
        let log = ctx.unary(UnaryOp::Log, ratio)?;
        ctx.binary_scalar(BinaryOp::Mul, log, 2595.0 / std::f64::consts::LN_10)
    };
    let (low, high) = (mel(ctx, low)?, mel(ctx, high)?);
    let span = ctx.sub(high, low)?;
    let edges = &shape[1] + 2;
    let edge_count = ctx.dim_scalar(edges.clone())?;
    let edge_count = ctx.convert(edge_count, DType::F64)?;
    let step = ctx.div(span, edge_count)?;
    let edge = ctx.iota(DType::F64, &[edges], 0)?;
    let edge = ctx.mul(edge, step)?;
    let edge = ctx.add(edge, low)?;
    let edge = ctx.binary_scalar(BinaryOp::Mul, edge, std::f64::consts::LN_10 / 2595.0)?;
    let edge = ctx.unary(UnaryOp::Exp, edge)?;
    let edge = ctx.binary_scalar(BinaryOp::Sub, edge, 1.0)?;
    let edge = ctx.binary_scalar(BinaryOp::Mul, edge, 700.0)?;
    let scale = ctx.binary_scalar(BinaryOp::Add, length, 1.0)?;
    let edge = ctx.mul(edge, scale)?;
    let edge = ctx.div(edge, rate)?;
    let edge = ctx.unary(UnaryOp::Floor, edge)?;
    let mut points = vec![];
    for first in 0..3 {
        points.push(ctx.slice_axis(edge, 0, Dim::from(first), shape[1].clone())?);
    }
    let row = ctx.iota(DType::F64, &[shape[0].clone(), Dim::ONE], 0)?;
    let (zero, one) = (ctx.scalar(DType::F64, 0.0), ctx.scalar(DType::F64, 1.0));
    let side = |ctx: &mut Context, from: ValueId, to: ValueId| -> Result<ValueId> {
        let width = ctx.sub(to, from)?;
        let flat = ctx.binary_scalar(BinaryOp::Eq, width, 0.0)?;
        let safe = ctx.select(flat, one, width)?;
        let inner = ctx.sub(row, from)?;
        ctx.div(inner, safe)
    };
    let rising = side(ctx, points[0], points[1])?;
    let falling = side(ctx, points[2], points[1])?;
    let above = ctx.binary(BinaryOp::Ge, row, points[0])?;
    let below = ctx.binary(BinaryOp::Lt, row, points[1])?;
    let left = ctx.binary(BinaryOp::And, above, below)?;
    let above = ctx.binary(BinaryOp::Gt, row, points[1])?;
    let below = ctx.binary(BinaryOp::Lt, row, points[2])?;
    let right = ctx.binary(BinaryOp::And, above, below)?;
    let middle = ctx.binary(BinaryOp::Eq, row, points[1])?;
    let y = ctx.select(left, rising, zero)?;
    let y = ctx.select(right, falling, y)?;
    let y = ctx.select(middle, one, y)?;
    Ok(vec![ctx.convert(y, dtype)?])
}

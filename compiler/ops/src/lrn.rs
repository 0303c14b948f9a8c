//! LRN (<https://onnx.ai/onnx/operators/onnx__LRN.html>), all opsets.

use crate::context::Context;
use crate::error::{Result, invalid};
use nnc_ir::op::{BinaryOp, ReduceOp, Window};
use nnc_ir::{DType, Dim, Op, ValueId};

/// `x / (bias + alpha / size * s)^beta`, where `s` sums the squares of `size` neighbouring channels.
pub fn lrn(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let input = ctx.input(0)?;
    let size = ctx.optional_int("size")?.and_then(|n| usize::try_from(n).ok()).filter(|n| (1..1 << 20).contains(n));
    let size = size.ok_or_else(|| invalid("attribute `size` must be positive"))?;
    let (alpha, beta) = (f64::from(ctx.float("alpha", 1e-4)?), f64::from(ctx.float("beta", 0.75)?));
    let bias = f64::from(ctx.float("bias", 1.0)?);
    let dtype = ctx.dtype(input);
    let work = if dtype == DType::F64 { DType::F64 } else { DType::F32 };
    let x = ctx.convert(input, work)?;
    let shape = ctx.shape(x);
    let [batch, channels, rest @ ..] = shape.as_slice() else {
        return Err(invalid("the input must have a batch and channels"));
    };
    // A pool along the channels: they are its only spatial axis.
    let plane = rest.iter().fold(Dim::ONE, |n, d| n * d);
    let squares = ctx.mul(x, x)?;
    let squares = ctx.reshape(squares, &[batch.clone(), channels.clone(), plane])?;
    let window = Window {
        size: vec![size],
        strides: vec![1],
        dilations: vec![1],
        pad_low: vec![(size - 1) / 2],
        pad_high: vec![size / 2],
    };
    let sums = ctx.one(Op::Pool { op: ReduceOp::Sum, window }, &[squares])?;
    let sums = ctx.reshape(sums, &shape)?;
    let scaled = ctx.binary_scalar(BinaryOp::Mul, sums, alpha / size as f64)?;
    let base = ctx.binary_scalar(BinaryOp::Add, scaled, bias)?;
    let power = ctx.binary_scalar(BinaryOp::Pow, base, beta)?;
    let y = ctx.div(x, power)?;
    Ok(vec![ctx.convert(y, dtype)?])
}

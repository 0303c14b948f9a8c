//! Normalisation by statistics of the input itself.
//!
//! LayerNormalization (<https://onnx.ai/onnx/operators/onnx__LayerNormalization.html>), RMSNormalization
//! (<https://onnx.ai/onnx/operators/onnx__RMSNormalization.html>), GroupNormalization
//! (<https://onnx.ai/onnx/operators/onnx__GroupNormalization.html>; scale and bias per group in opset 18, per channel
//! from 21 on), InstanceNormalization (<https://onnx.ai/onnx/operators/onnx__InstanceNormalization.html>),
//! LpNormalization (<https://onnx.ai/onnx/operators/onnx__LpNormalization.html>) and MeanVarianceNormalization
//! (<https://onnx.ai/onnx/operators/onnx__MeanVarianceNormalization.html>); all opsets.
//!
//! Variances are means of squared differences (two passes), not differences of means as ONNX's function bodies have
//! them: the same number with less cancellation.

use crate::context::Context;
use crate::error::{Result, invalid, unfit, unsupported};
use nnc_ir::op::{BinaryOp, ReduceOp, UnaryOp};
use nnc_ir::{DType, Dim, ValueId};

/// An input normalised over some axes.
pub(crate) struct Normalized {
    pub y: ValueId,
    pub mean: ValueId,
    /// 1 / sqrt(variance + epsilon).
    pub inverse: ValueId,
}

pub(crate) fn normalize(ctx: &mut Context, x: ValueId, axes: &[usize], epsilon: f64) -> Result<Normalized> {
    let mean = ctx.mean(x, axes, true)?;
    let centered = ctx.sub(x, mean)?;
    let squares = ctx.mul(centered, centered)?;
    let variance = ctx.mean(squares, axes, true)?;
    let variance = ctx.binary_scalar(BinaryOp::Add, variance, epsilon)?;
    let inverse = ctx.unary(UnaryOp::Rsqrt, variance)?;
    let y = ctx.mul(centered, inverse)?;
    Ok(Normalized { y, mean, inverse })
}

/// The input in the type of the first stage, which `stash_type` names (f32); f64 stays, being more precise.
pub(crate) fn stashed(ctx: &mut Context, x: ValueId) -> Result<ValueId> {
    match (ctx.int("stash_type", 1)?, ctx.dtype(x)) {
        (_, DType::F64) => Ok(x),
        (1, _) => ctx.convert(x, DType::F32),
        // Any other type is computed in f32 too and rounded afterwards.
        (10 | 16, _) => ctx.convert(x, DType::F32),
        (other, _) => Err(unsupported(format!("stash_type {other} is not supported; use 1 (float)"))),
    }
}

/// `y * scale + bias` in the type of the input, both broadcast to it.
pub(crate) fn affine(ctx: &mut Context, y: ValueId, scale: Option<ValueId>, bias: Option<ValueId>) -> Result<ValueId> {
    let shape = ctx.shape(y);
    let mut result = y;
    for (operand, op) in [(scale, BinaryOp::Mul), (bias, BinaryOp::Add)] {
        if let Some(operand) = operand {
            let operand = ctx.convert(operand, ctx.dtype(y))?;
            let operand = ctx.broadcast_to(operand, &shape)?;
            result = ctx.binary(op, result, operand)?;
        }
    }
    Ok(result)
}

/// Over the axes from `axis` on.
pub fn layer_normalization(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let (x, scale, bias) = (ctx.input(0)?, ctx.input(1)?, ctx.optional_input(2)?);
    let (rank, dtype) = (ctx.rank(x), ctx.dtype(x));
    let axis = ctx.int("axis", -1)?;
    let axis = ctx.axis(axis, rank)?;
    let epsilon = ctx.float("epsilon", 1e-5)?;
    let inner = stashed(ctx, x)?;
    let axes: Vec<usize> = (axis..rank).collect();
    let normalized = normalize(ctx, inner, &axes, epsilon.into())?;
    let y = ctx.convert(normalized.y, dtype)?;
    let mut results = vec![affine(ctx, y, Some(scale), bias)?];
    for (i, statistic) in [(1, normalized.mean), (2, normalized.inverse)] {
        results.push(if ctx.wants_output(i) { ctx.convert(statistic, DType::F32)? } else { statistic });
    }
    Ok(results)
}

/// By the root of the mean square over the axes from `axis` on.
pub fn rms_normalization(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let (x, scale) = (ctx.input(0)?, ctx.input(1)?);
    let (rank, dtype) = (ctx.rank(x), ctx.dtype(x));
    let axis = ctx.int("axis", -1)?;
    let axis = ctx.axis(axis, rank)?;
    let epsilon = ctx.float("epsilon", 1e-5)?;
    let inner = stashed(ctx, x)?;
    let axes: Vec<usize> = (axis..rank).collect();
    let (y, inverse) = by_root_mean_square(ctx, inner, &axes, epsilon.into())?;
    let y = ctx.convert(y, dtype)?;
    // ONNX Runtime's operator of an older name yields the second.
    Ok(vec![affine(ctx, y, Some(scale), None)?, inverse])
}

/// `x` over the root of its mean square along some axes, and 1 over that root.
pub(crate) fn by_root_mean_square(
    ctx: &mut Context,
    x: ValueId,
    axes: &[usize],
    epsilon: f64,
) -> Result<(ValueId, ValueId)> {
    let squares = ctx.mul(x, x)?;
    let mean = ctx.mean(squares, axes, true)?;
    let mean = ctx.binary_scalar(BinaryOp::Add, mean, epsilon)?;
    let inverse = ctx.unary(UnaryOp::Rsqrt, mean)?;
    Ok((ctx.mul(x, inverse)?, inverse))
}

/// `x`'s shape with 1 everywhere but at the channels (axis 1).
fn per_channel(ctx: &Context, x: ValueId) -> Vec<Dim> {
    (0..ctx.rank(x)).map(|axis| if axis == 1 { ctx.dim(x, 1) } else { Dim::ONE }).collect()
}

fn group_size(channels: &Dim, groups: &Dim) -> Result<Dim> {
    let uneven = || unfit([channels], format_args!("the channels do not divide into {groups} groups"));
    channels.div_exact(groups).ok_or_else(uneven)
}

/// `x: [N, C, ..]` normalised over each group of channels of each instance.
pub(crate) fn by_groups(ctx: &mut Context, x: ValueId, groups: &Dim, epsilon: f64) -> Result<ValueId> {
    let shape = ctx.shape(x);
    let mut apart = shape.clone();
    apart.splice(1..2, [groups.clone(), group_size(&ctx.dim(x, 1), groups)?]);
    let apart_x = ctx.reshape(x, &apart)?;
    let axes: Vec<usize> = (2..apart.len()).collect();
    let y = normalize(ctx, apart_x, &axes, epsilon)?.y;
    ctx.reshape(y, &shape)
}

/// Over each group of channels of each instance.
pub fn group_normalization(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let (x, mut scale, mut bias) = (ctx.input(0)?, ctx.input(1)?, ctx.input(2)?);
    let (shape, dtype) = (ctx.shape(x), ctx.dtype(x));
    let epsilon = ctx.float("epsilon", 1e-5)?;
    let groups = ctx.optional_int("num_groups")?.filter(|&g| g > 0).ok_or_else(|| invalid("num_groups is missing"))?;
    if shape.len() < 2 {
        return Err(invalid(format!("the input {} has no channels", ctx.show(x))));
    }
    let groups = Dim::from(groups);
    let per_group = group_size(&shape[1], &groups)?;
    let inner = stashed(ctx, x)?;
    let y = by_groups(ctx, inner, &groups, epsilon.into())?;
    let y = ctx.convert(y, dtype)?;
    let channels = per_channel(ctx, x);
    for operand in [&mut scale, &mut bias] {
        if ctx.opset() < 21 {
            let spread = ctx.broadcast_axis(*operand, &[groups.clone(), per_group.clone()], 0)?;
            *operand = spread;
        }
        *operand = ctx.reshape(*operand, &channels)?;
    }
    Ok(vec![affine(ctx, y, Some(scale), Some(bias))?])
}

/// Over the spatial axes of each channel of each instance.
pub fn instance_normalization(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let (x, scale, bias) = (ctx.input(0)?, ctx.input(1)?, ctx.input(2)?);
    let epsilon = ctx.float("epsilon", 1e-5)?;
    let (rank, dtype) = (ctx.rank(x), ctx.dtype(x));
    if rank < 3 {
        return Err(invalid(format!("the input {} has no spatial axes", ctx.show(x))));
    }
    let inner = if dtype == DType::F64 { x } else { ctx.convert(x, DType::F32)? };
    let axes: Vec<usize> = (2..rank).collect();
    let y = normalize(ctx, inner, &axes, epsilon.into())?.y;
    let y = ctx.convert(y, dtype)?;
    let channels = per_channel(ctx, x);
    let scale = ctx.reshape(scale, &channels)?;
    let bias = ctx.reshape(bias, &channels)?;
    Ok(vec![affine(ctx, y, Some(scale), Some(bias))?])
}

/// By the 1- or 2-norm along an axis; 0 where the norm is 0.
pub fn lp_normalization(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let x = ctx.input(0)?;
    let axis = ctx.int("axis", -1)?;
    let axis = ctx.axis(axis, ctx.rank(x))?;
    let norm = match ctx.int("p", 2)? {
        1 => sum_of_magnitudes(ctx, x, axis)?,
        2 => length(ctx, x, axis)?,
        other => return Err(invalid(format!("p is {other}, it must be 1 or 2"))),
    };
    // Every element is 0 where the norm is.
    Ok(vec![over(ctx, x, norm)?])
}

/// The 1-norm along an axis, which stays.
pub(crate) fn sum_of_magnitudes(ctx: &mut Context, x: ValueId, axis: usize) -> Result<ValueId> {
    let magnitude = ctx.unary(UnaryOp::Abs, x)?;
    ctx.reduce(ReduceOp::Sum, magnitude, &[axis], true)
}

/// The 2-norm along an axis, which stays.
pub(crate) fn length(ctx: &mut Context, x: ValueId, axis: usize) -> Result<ValueId> {
    let squares = ctx.mul(x, x)?;
    let sum = ctx.reduce(ReduceOp::Sum, squares, &[axis], true)?;
    ctx.unary(UnaryOp::Sqrt, sum)
}

/// `x / norm`; `x` where the norm is 0.
pub(crate) fn over(ctx: &mut Context, x: ValueId, norm: ValueId) -> Result<ValueId> {
    let zero = ctx.binary_scalar(BinaryOp::Eq, norm, 0.0)?;
    let one = ctx.scalar(ctx.dtype(x), 1.0);
    let divisor = ctx.select(zero, one, norm)?;
    ctx.div(x, divisor)
}

/// To mean 0 and variance 1 over some axes.
pub fn mean_variance_normalization(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let x = ctx.input(0)?;
    let dtype = ctx.dtype(x);
    let axes = ctx.ints("axes")?.map_or(vec![0, 2, 3], <[i64]>::to_vec);
    let axes = ctx.axes(&axes, ctx.rank(x))?;
    let inner = if dtype == DType::F64 { x } else { ctx.convert(x, DType::F32)? };
    let mean = ctx.mean(inner, &axes, true)?;
    let centered = ctx.sub(inner, mean)?;
    let squares = ctx.mul(centered, centered)?;
    let variance = ctx.mean(squares, &axes, true)?;
    let deviation = ctx.unary(UnaryOp::Sqrt, variance)?;
    // As in the operator's function body.
    let deviation = ctx.binary_scalar(BinaryOp::Add, deviation, 1e-9)?;
    let y = ctx.div(centered, deviation)?;
    Ok(vec![ctx.convert(y, dtype)?])
}

#[cfg(test)]
mod tests {
    use crate::testing::sketch;
    use nnc_onnx::ElemType::{Float, Float16};

    #[test]
    fn layer_normalization() {
        let sketch =
            sketch().input("x", Float16, "batch 4").input("s", Float16, "4").node("LayerNormalization", "x s -> y m");
        assert_eq!(sketch.output("m").result_type(), "f32[batch, 1]");
    }

    #[test]
    fn group_normalization() {
        for (opset, parameters) in [(18, "2"), (21, "6")] {
            let sketch = sketch().opset(opset).input("x", Float, "1 6 4 4").input("s", Float, parameters);
            let sketch =
                sketch.input("b", Float, parameters).node("GroupNormalization", "x s b -> y").int("num_groups", 2);
            assert_eq!(sketch.output("y").result_type(), "f32[1, 6, 4, 4]");
        }
    }

    #[test]
    fn values() {
        let x = || sketch().given("x", &[2, 2], &[1.0f32, 3.0, 0.0, 0.0]);
        let layer =
            x().floats("s", &[2], &[1.0, 2.0]).floats("b", &[2], &[0.5, 0.5]).node("LayerNormalization", "x s b -> y");
        assert_eq!(layer.output("y").run(), "f32[2, 2] -0.5 2.5 0.5 0.5");
        let rms = x().floats("s", &[2], &[1.0, 2.0]).node("RMSNormalization", "x s -> y");
        assert_eq!(rms.output("y").run(), "f32[2, 2] 0.4472 2.6833 0 0");
        assert_eq!(x().node("LpNormalization", "x -> y").output("y").run(), "f32[2, 2] 0.3162 0.9487 0 0");
        let mean = x().node("MeanVarianceNormalization", "x -> y").int_list("axes", &[1]).output("y");
        assert_eq!(mean.run(), "f32[2, 2] -1 1 0 0");
    }
}

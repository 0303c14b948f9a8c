//! Matrix products of integers: MatMulInteger (<https://onnx.ai/onnx/operators/onnx__MatMulInteger.html>) and
//! QLinearMatMul (<https://onnx.ai/onnx/operators/onnx__QLinearMatMul.html>), all opsets; and ONNX Runtime's
//! MatMulIntegerToFloat, DynamicQuantizeMatMul and QGemm
//! (<https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md>).

use crate::context::Context;
use crate::error::Result;
use crate::matmul::{matmul_of, scaled};
use crate::quantize::{constant_zero_point, dynamic_quantize_linear, quantize};
use nnc_ir::op::{BinaryOp, ReduceOp};
use nnc_ir::{DType, ValueId};

/// Product of 8-bit integers to `i32`.
pub fn matmul_integer(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let (a, b) = (ctx.input(0)?, ctx.input(1)?);
    let (a_zero, b_zero) = (ctx.optional_input(2)?, ctx.optional_input(3)?);
    Ok(vec![product(ctx, (a, a_zero), (b, b_zero))?])
}

/// Product of quantized values to a quantized value.
pub fn q_linear_matmul(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let inputs = (0..8).map(|i| ctx.input(i)).collect::<Result<Vec<ValueId>>>()?;
    let [a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero] = inputs[..] else { return Ok(vec![]) };
    let y = scaled_product(ctx, (a, a_scale, Some(a_zero)), (b, b_scale, Some(b_zero)))?;
    Ok(vec![quantize(ctx, y, y_scale, Some(y_zero), (0, 0), ctx.dtype(y_zero))?])
}

/// Product of quantized values to floats, with a bias.
pub fn matmul_integer_to_float(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let (a, b, a_scale, b_scale) = (ctx.input(0)?, ctx.input(1)?, ctx.input(2)?, ctx.input(3)?);
    let (a_zero, b_zero, bias) = (ctx.optional_input(4)?, ctx.optional_input(5)?, ctx.optional_input(6)?);
    let y = scaled_product(ctx, (a, a_scale, a_zero), (b, b_scale, b_zero))?;
    Ok(vec![bias.map_or(Ok(y), |bias| ctx.add(y, bias))?])
}

/// Product of floats, quantized by the range they have, and quantized weights, with a bias.
pub fn dynamic_quantize_matmul(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let (b, b_scale) = (ctx.input(1)?, ctx.input(2)?);
    let (b_zero, bias) = (ctx.optional_input(3)?, ctx.optional_input(4)?);
    let quantized = dynamic_quantize_linear(ctx)?;
    let &[a, a_scale, a_zero] = &quantized[..] else { return Ok(vec![]) };
    let y = scaled_product(ctx, (a, a_scale, Some(a_zero)), (b, b_scale, b_zero))?;
    Ok(vec![bias.map_or(Ok(y), |bias| ctx.add(y, bias))?])
}

/// `alpha * A * B + C` of quantized matrices, each transposed on request; C counts in products of the scales. Quantized
/// again where a scale is given, else floats.
pub fn q_gemm(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let (mut a, a_scale, a_zero) = (ctx.input(0)?, ctx.input(1)?, ctx.optional_input(2)?);
    let (mut b, b_scale, b_zero) = (ctx.input(3)?, ctx.input(4)?, ctx.optional_input(5)?);
    ctx.require_rank(a, 2, "A")?;
    ctx.require_rank(b, 2, "B")?;
    for (operand, name) in [(&mut a, "transA"), (&mut b, "transB")] {
        if ctx.flag(name, false)? {
            *operand = ctx.transpose(*operand, &[1, 0])?;
        }
    }
    let mut y = product(ctx, (a, a_zero), (b, b_zero))?;
    if let Some(c) = ctx.optional_input(6)? {
        y = ctx.add(y, c)?;
    }
    let y = times_scales(ctx, y, (a, a_scale), b_scale)?;
    let alpha = ctx.float("alpha", 1.0)?;
    let y = scaled(ctx, y, alpha)?;
    match (ctx.optional_input(7)?, ctx.optional_input(8)?) {
        (None, _) => Ok(vec![y]),
        (Some(scale), zero) => {
            let dtype = ctx.dtype(zero.unwrap_or(a));
            Ok(vec![quantize(ctx, y, scale, zero, (0, 0), dtype)?])
        }
    }
}

/// An operand, its scale and its zero point.
type Quantized = (ValueId, ValueId, Option<ValueId>);

/// The product of the numbers that quantized operands mean.
fn scaled_product(ctx: &mut Context, a: Quantized, b: Quantized) -> Result<ValueId> {
    let y = product(ctx, (a.0, a.2), (b.0, b.2))?;
    times_scales(ctx, y, (a.0, a.1), b.1)
}

/// A sum of products of integers times the scales of the operands.
fn times_scales(ctx: &mut Context, y: ValueId, (a, a_scale): (ValueId, ValueId), b_scale: ValueId) -> Result<ValueId> {
    let y = ctx.convert(y, DType::F32)?;
    let a_scale = rows(ctx, a_scale, a)?;
    let a_scale = ctx.convert(a_scale, DType::F32)?;
    let b_scale = columns(ctx, b_scale)?;
    let b_scale = ctx.convert(b_scale, DType::F32)?;
    let scale = ctx.mul(a_scale, b_scale)?;
    ctx.mul(y, scale)
}

/// The product of operands less their zero points, in `i32`.
fn product(
    ctx: &mut Context,
    (a, a_zero): (ValueId, Option<ValueId>),
    (b, b_zero): (ValueId, Option<ValueId>),
) -> Result<ValueId> {
    if let (Some(zero), Some(0.0)) = (constant_zero_point(ctx, a_zero), constant_zero_point(ctx, b_zero)) {
        // The sum of (a - zero) * b is that of a * b less zero times the sum of b.
        let y = matmul_of(ctx, a, b, DType::I32)?;
        if zero == 0.0 {
            return Ok(y);
        }
        let inner = ctx.rank(b).saturating_sub(2);
        let b = ctx.convert(b, DType::I32)?;
        let vector = ctx.rank(a) == 1;
        let sums = ctx.reduce(ReduceOp::Sum, b, &[inner], ctx.rank(b) > 1 && !vector)?;
        let less = ctx.binary_scalar(BinaryOp::Mul, sums, zero)?;
        return ctx.sub(y, less);
    }
    let a_zero = a_zero.map(|zero| rows(ctx, zero, a)).transpose()?;
    let b_zero = b_zero.map(|zero| columns(ctx, zero)).transpose()?;
    let a = less(ctx, a, a_zero)?;
    let b = less(ctx, b, b_zero)?;
    matmul_of(ctx, a, b, DType::I32)
}

fn less(ctx: &mut Context, x: ValueId, zero: Option<ValueId>) -> Result<ValueId> {
    let x = ctx.convert(x, DType::I32)?;
    match zero {
        None => Ok(x),
        Some(zero) => {
            let zero = ctx.convert(zero, DType::I32)?;
            ctx.sub(x, zero)
        }
    }
}

/// A parameter of the left operand: one, or one per row.
fn rows(ctx: &mut Context, parameter: ValueId, of: ValueId) -> Result<ValueId> {
    if ctx.ty(parameter).count().is_const(1) {
        return ctx.reshape(parameter, &[]);
    }
    if ctx.rank(parameter) == 1 && ctx.rank(of) > 1 { ctx.unsqueeze(parameter, &[1]) } else { Ok(parameter) }
}

/// A parameter of the right operand: one, or one per column.
fn columns(ctx: &mut Context, parameter: ValueId) -> Result<ValueId> {
    if ctx.ty(parameter).count().is_const(1) { ctx.reshape(parameter, &[]) } else { Ok(parameter) }
}

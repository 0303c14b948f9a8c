//! Quantization.
//!
//! QuantizeLinear (<https://onnx.ai/onnx/operators/onnx__QuantizeLinear.html>), DequantizeLinear
//! (<https://onnx.ai/onnx/operators/onnx__DequantizeLinear.html>) and DynamicQuantizeLinear
//! (<https://onnx.ai/onnx/operators/onnx__DynamicQuantizeLinear.html>); all opsets. Narrow types
//! are bytes in the core (`narrow.rs`); their integers are kept within their range here.

use crate::context::Context;
use crate::error::{Result, invalid, unsupported};
use crate::narrow::{self, ElementType, Narrow};
use crate::narrow_floats::Conversion;
use crate::tensors;
use nnc_ir::op::{BinaryOp, ReduceOp, UnaryOp};
use nnc_ir::{DType, Dim, Encoding, ValueId};
use nnc_onnx::{ElemType, TypeInfo};

/// The zero point when it is one known value; 0 when it is left out.
pub(crate) fn constant_zero_point(ctx: &mut Context, zero: Option<ValueId>) -> Option<f64> {
    match zero {
        None => Some(0.0),
        Some(zero) => ctx.constant_value(zero).and_then(|t| t.splat()),
    }
}

/// `saturate(round(x / scale) + zero)` in a type of the core; `axis` and `block` say where parameters lie, see [`spread`].
pub(crate) fn quantize(
    ctx: &mut Context,
    x: ValueId,
    scale: ValueId,
    zero: Option<ValueId>,
    (axis, block): (usize, i64),
    dtype: DType,
) -> Result<ValueId> {
    let y = moved_ratio(ctx, x, scale, zero, (axis, block), true)?;
    // The conversion saturates.
    ctx.convert(y, dtype)
}

/// As [`quantize`], in a narrow type; its floats are rounded after all else.
fn quantize_narrow(
    ctx: &mut Context,
    x: ValueId,
    scale: ValueId,
    zero: Option<ValueId>,
    layout: (usize, i64),
    encoding: Encoding,
    conversion: Conversion,
) -> Result<Narrow> {
    let range = narrow::range(encoding);
    let mut y = moved_ratio(ctx, x, scale, zero, layout, range.is_some())?;
    if let Some((low, high)) = range {
        y = ctx.binary_scalar(BinaryOp::Max, y, low)?;
        y = ctx.binary_scalar(BinaryOp::Min, y, high)?;
    }
    ctx.encode(y, encoding, conversion)
}

/// `x / scale + zero`, the quotient rounded to whole numbers or not.
fn moved_ratio(
    ctx: &mut Context,
    x: ValueId,
    scale: ValueId,
    zero: Option<ValueId>,
    (axis, block): (usize, i64),
    whole: bool,
) -> Result<ValueId> {
    let work = if ctx.dtype(x) == DType::F64 { DType::F64 } else { DType::F32 };
    let shape = ctx.shape(x);
    let x = ctx.convert(x, work)?;
    let scale = ctx.convert(scale, work)?;
    let scale = spread(ctx, scale, &shape, axis, block)?;
    let mut y = ctx.div(x, scale)?;
    if whole {
        y = ctx.unary(UnaryOp::Round, y)?;
    }
    if constant_zero_point(ctx, zero) != Some(0.0)
        && let Some(zero) = zero
    {
        let zero = ctx.convert(zero, work)?;
        let zero = spread(ctx, zero, &shape, axis, block)?;
        y = ctx.add(y, zero)?;
    }
    Ok(y)
}

/// A sum of products of integers, in units of `scale`, as an integer in units of `to`: `saturate(round(sum * (scale / to)) +
/// zero)`. ONNX Runtime divides the scales first too, which matters where a result lies half-way between integers.
pub(crate) fn requantize(
    ctx: &mut Context,
    sum: ValueId,
    scale: ValueId,
    (to, zero): (ValueId, Option<ValueId>),
    dtype: DType,
) -> Result<ValueId> {
    let sum = ctx.convert(sum, DType::F32)?;
    let to = ctx.convert(to, DType::F32)?;
    let to = spread(ctx, to, &[], 0, 0)?;
    let factor = ctx.div(scale, to)?;
    let scaled = ctx.mul(sum, factor)?;
    let mut y = ctx.unary(UnaryOp::Round, scaled)?;
    if constant_zero_point(ctx, zero) != Some(0.0)
        && let Some(zero) = zero
    {
        let zero = ctx.convert(zero, DType::F32)?;
        let zero = spread(ctx, zero, &[], 0, 0)?;
        y = ctx.add(y, zero)?;
    }
    // The conversion saturates.
    ctx.convert(y, dtype)
}

/// A scale or zero point so that it broadcasts to `shape`: of one element, of one per index of `axis`, or (`block` > 0)
/// of one per `block` indices of `axis`.
pub(crate) fn spread(ctx: &mut Context, parameter: ValueId, shape: &[Dim], axis: usize, block: i64) -> Result<ValueId> {
    if block > 0 {
        ctx.require_rank(parameter, shape.len(), "a blocked scale or zero point")?;
        let inner = ctx.unsqueeze(parameter, &[axis + 1])?;
        let mut repeated = ctx.shape(inner);
        repeated[axis + 1] = Dim::from(block);
        let inner = ctx.broadcast_to(inner, &repeated)?;
        let merged = &repeated[axis] * &repeated[axis + 1];
        repeated.remove(axis + 1);
        repeated[axis] = merged;
        let whole = ctx.reshape(inner, &repeated)?;
        return ctx.slice_axis(whole, axis, Dim::ZERO, shape[axis].clone());
    }
    if ctx.ty(parameter).count().is_const(1) {
        return ctx.reshape(parameter, &[]);
    }
    ctx.require_rank(parameter, 1, "a scale or zero point")?;
    if shape.len() <= axis {
        return Err(invalid(format!("axis {axis} of the scale is out of range for rank {}", shape.len())));
    }
    let mut along = vec![Dim::ONE; shape.len()];
    along[axis] = ctx.dim(parameter, 0);
    ctx.reshape(parameter, &along)
}

/// Attributes `axis` and `block_size`; the axis matters only where there is more than one scale.
fn layout(ctx: &mut Context, x: ValueId, scale: ValueId) -> Result<(usize, i64)> {
    let axis = ctx.int("axis", 1)?;
    let block = ctx.int("block_size", 0)?;
    if block < 0 {
        return Err(invalid("block_size is negative"));
    }
    if block == 0 && ctx.ty(scale).count().is_const(1) {
        return Ok((0, 0));
    }
    Ok((ctx.axis(axis, ctx.rank(x))?, block))
}

/// The type quantized to: that of the zero point, else the attribute, else what the file states, else `u8`.
fn target(ctx: &mut Context) -> Result<ElementType> {
    let stated = match ctx.declared_output(0) {
        Some(TypeInfo::Tensor { elem_type, .. }) => Some(*elem_type),
        _ => None,
    };
    let number = ctx.int("output_dtype", 0)?;
    let target = if ctx.has_input(2) {
        ctx.input_element_type(2)?
    } else {
        tensors::type_of_number(if number == 0 { stated.unwrap_or(ElemType::Uint8).number().into() } else { number })?
    };
    match target {
        ElementType::Plain(dtype) if !dtype.is_int() => {
            Err(unsupported(format!("quantizing to {dtype} is not supported; use an integer type")))
        }
        target => Ok(target),
    }
}

/// Floats to integers or to narrower floats.
pub fn quantize_linear(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let (x, scale) = (ctx.input(0)?, ctx.input(1)?);
    let target = target(ctx)?;
    let zero = if ctx.has_input(2) { Some(ctx.number_input(2)?) } else { None };
    let conversion = Conversion { saturate: ctx.flag("saturate", true)?, ..Conversion::DEFAULT };
    // Of divisions in less than f32.
    ctx.no_effect("precision");
    let layout = layout(ctx, x, scale)?;
    match target {
        ElementType::Plain(dtype) => Ok(vec![quantize(ctx, x, scale, zero, layout, dtype)?]),
        ElementType::Narrow(encoding) => {
            let y = quantize_narrow(ctx, x, scale, zero, layout, encoding, conversion)?;
            ctx.define_narrow(0, y);
            Ok(vec![y.value])
        }
    }
}

/// Integers or narrow floats to floats.
pub fn dequantize_linear(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let (x, scale) = (ctx.number_input(0)?, ctx.input(1)?);
    let zero = if ctx.has_input(2) { Some(ctx.number_input(2)?) } else { None };
    let (axis, block) = layout(ctx, x, scale)?;
    let number = ctx.int("output_dtype", 0)?;
    let dtype = if number == 0 { ctx.dtype(scale) } else { tensors::dtype_of_number(number)? };
    let shape = ctx.shape(x);
    let wide = ctx.dtype(x).size() > 2;
    let work = if ctx.dtype(scale) == DType::F64 { DType::F64 } else { DType::F32 };
    let mut y = if wide { x } else { ctx.convert(x, work)? };
    if constant_zero_point(ctx, zero) != Some(0.0)
        && let Some(zero) = zero
    {
        let zero = if wide { zero } else { ctx.convert(zero, work)? };
        let zero = spread(ctx, zero, &shape, axis, block)?;
        y = ctx.sub(y, zero)?;
    }
    y = ctx.convert(y, work)?;
    let scale = ctx.convert(scale, work)?;
    let scale = spread(ctx, scale, &shape, axis, block)?;
    let y = ctx.mul(y, scale)?;
    Ok(vec![ctx.convert(y, dtype)?])
}

/// Floats to `u8` with the parameters that fit them: outputs y, scale, zero point.
pub fn dynamic_quantize_linear(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let x = ctx.input(0)?;
    let axes: Vec<usize> = (0..ctx.rank(x)).collect();
    let low = ctx.reduce(ReduceOp::Min, x, &axes, false)?;
    let high = ctx.reduce(ReduceOp::Max, x, &axes, false)?;
    let low = ctx.binary_scalar(BinaryOp::Min, low, 0.0)?;
    let high = ctx.binary_scalar(BinaryOp::Max, high, 0.0)?;
    let span = ctx.sub(high, low)?;
    let scale = ctx.binary_scalar(BinaryOp::Div, span, 255.0)?;
    let ratio = ctx.div(low, scale)?;
    let ratio = ctx.unary(UnaryOp::Neg, ratio)?;
    let zero = ctx.unary(UnaryOp::Round, ratio)?;
    let zero = ctx.convert(zero, DType::U8)?;
    let y = quantize(ctx, x, scale, Some(zero), (0, 0), DType::U8)?;
    Ok(vec![y, scale, zero])
}

#[cfg(test)]
mod tests {
    use crate::testing::sketch;
    use nnc_onnx::ElemType;

    #[test]
    fn quantized() {
        // Ties go to even, what is out of range to the nearest end.
        let x = [0.25f32, 0.75, 1.25, -0.25, 1000.0, -1000.0];
        for (elem, zero, expected) in [
            (ElemType::Uint8, 10, "u8[6] 10 12 12 10 255 0"),
            (ElemType::Int8, 0, "i8[6] 0 2 2 0 127 -128"),
            (ElemType::Int4, 0, "i4[6] 0 2 2 0 7 -8"),
            (ElemType::Uint4, 1, "u4[6] 1 3 3 1 15 0"),
            (ElemType::Float8E5M2, 0, "f8e5m2[6] 0.5 1.5 2.5 -0.5 2048 -2048"),
            (ElemType::Float4E2M1, 0, "f4e2m1[6] 0.5 1.5 2 -0.5 6 -6"),
        ] {
            let sketch = sketch().given("x", &[6], &x).floats("s", &[], &[0.5]);
            let sketch = sketch.initializer("z", elem, &[], vec![zero]).node("QuantizeLinear", "x s z -> y");
            assert_eq!(sketch.output("y").run(), expected, "{elem}");
        }
    }

    #[test]
    fn parameters() {
        let x: Vec<u8> = (0..8).collect();
        for (shape, attributes, expected) in [
            (&[1][..], &[][..], "f32[2, 4] 0 1 2 3 4 5 6 7"),
            (&[2], &[("axis", 0)], "f32[2, 4] 0 1 2 3 8 10 12 14"),
            (&[4], &[("axis", -1)], "f32[2, 4] 0 2 6 12 4 10 18 28"),
            (&[2, 2], &[("axis", 1), ("block_size", 2)], "f32[2, 4] 0 1 4 6 12 15 24 28"),
            (&[2, 2], &[("axis", 1), ("block_size", 3)], "f32[2, 4] 0 1 2 6 12 15 18 28"),
            (&[3], &[("axis", 1)], "cannot be broadcast"),
        ] {
            let count = shape.iter().product::<usize>();
            let scale: Vec<f32> = (1..=count).map(|v| v as f32).collect();
            let sketch = sketch().given("x", &[2, 4], &x).floats("s", shape, &scale);
            let mut sketch = sketch.node("DequantizeLinear", "x s -> y");
            for &(name, value) in attributes {
                sketch = sketch.int(name, value);
            }
            let found = sketch.output("y").run();
            assert!(found.contains(expected), "{shape:?}: {found}");
        }
    }

    #[test]
    fn dynamic() {
        let sketch = sketch().given("x", &[3], &[-1.0f32, 0.0, 1.55]).node("DynamicQuantizeLinear", "x -> y s z");
        assert_eq!(sketch.output("y").run(), "u8[3] 0 100 255");
    }
}

//! Quantization.
//!
//! QuantizeLinear (<https://onnx.ai/onnx/operators/onnx__QuantizeLinear.html>), DequantizeLinear
//! (<https://onnx.ai/onnx/operators/onnx__DequantizeLinear.html>) and DynamicQuantizeLinear
//! (<https://onnx.ai/onnx/operators/onnx__DynamicQuantizeLinear.html>); all opsets. 2- and 4-bit integers are 8-bit ones
//! in the core; they are kept within their range here.

use crate::context::Context;
use crate::error::{Result, invalid, unsupported};
use crate::tensors;
use nnc_ir::op::{BinaryOp, ReduceOp, UnaryOp};
use nnc_ir::{DType, Dim, ValueId};
use nnc_onnx::{ElemType, TypeInfo};

/// An integer type, and its range where that is less than the type's.
pub(crate) type Target = (DType, Option<(f64, f64)>);

fn target_of(elem: ElemType) -> Result<Target> {
    let range = match elem {
        ElemType::Int4 => Some((-8.0, 7.0)),
        ElemType::Uint4 => Some((0.0, 15.0)),
        ElemType::Int2 => Some((-2.0, 1.0)),
        ElemType::Uint2 => Some((0.0, 3.0)),
        _ => None,
    };
    match tensors::dtype(elem).filter(|dtype| dtype.is_int()) {
        Some(dtype) => Ok((dtype, range)),
        None => Err(unsupported(format!("quantizing to {elem} is not supported; use an integer type"))),
    }
}

/// The zero point when it is one known value; 0 when it is left out.
pub(crate) fn constant_zero_point(ctx: &mut Context, zero: Option<ValueId>) -> Option<f64> {
    match zero {
        None => Some(0.0),
        Some(zero) => ctx.constant_value(zero).and_then(|t| t.splat()),
    }
}

/// `saturate(round(x / scale) + zero)`; `axis` and `block` say where parameters lie, see [`spread`].
pub(crate) fn quantize(
    ctx: &mut Context,
    x: ValueId,
    scale: ValueId,
    zero: Option<ValueId>,
    (axis, block): (usize, i64),
    (dtype, range): Target,
) -> Result<ValueId> {
    let work = if ctx.dtype(x) == DType::F64 { DType::F64 } else { DType::F32 };
    let shape = ctx.shape(x);
    let x = ctx.convert(x, work)?;
    let scale = ctx.convert(scale, work)?;
    let scale = spread(ctx, scale, &shape, axis, block)?;
    let ratio = ctx.div(x, scale)?;
    let zero = match zero {
        Some(zero) if constant_zero_point(ctx, Some(zero)) != Some(0.0) => {
            let zero = ctx.convert(zero, work)?;
            Some(spread(ctx, zero, &shape, axis, block)?)
        }
        _ => None,
    };
    rounded(ctx, ratio, zero, (dtype, range))
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
    let zero = match zero {
        Some(zero) if constant_zero_point(ctx, Some(zero)) != Some(0.0) => {
            let zero = ctx.convert(zero, DType::F32)?;
            Some(spread(ctx, zero, &[], 0, 0)?)
        }
        _ => None,
    };
    rounded(ctx, scaled, zero, (dtype, None))
}

/// `saturate(round(x) + zero)`.
fn rounded(ctx: &mut Context, x: ValueId, zero: Option<ValueId>, (dtype, range): Target) -> Result<ValueId> {
    let mut y = ctx.unary(UnaryOp::Round, x)?;
    if let Some(zero) = zero {
        y = ctx.add(y, zero)?;
    }
    if let Some((low, high)) = range {
        y = ctx.binary_scalar(BinaryOp::Max, y, low)?;
        y = ctx.binary_scalar(BinaryOp::Min, y, high)?;
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

/// The type quantized to: that of the zero point, else the attribute, else `u8`.
fn target(ctx: &mut Context, zero: Option<ValueId>) -> Result<Target> {
    let number = ctx.int("output_dtype", 0)?;
    if number != 0 {
        let elem = i32::try_from(number).ok().and_then(ElemType::from_number);
        return target_of(elem.ok_or_else(|| invalid(format!("{number} is not the number of an element type")))?);
    }
    // The width of narrow types is lost in the zero point's value.
    let stated = match ctx.declared_output(0) {
        Some(TypeInfo::Tensor { elem_type, .. }) => Some(*elem_type),
        _ => None,
    };
    let name = ctx.node.inputs.get(2).map(String::as_str);
    let stored = name.and_then(|name| ctx.frame().initializers.get(name)).map(|tensor| tensor.elem_type);
    match (stored.or(stated), zero) {
        (Some(elem), _) => target_of(elem),
        (None, Some(zero)) => Ok((ctx.dtype(zero), None)),
        (None, None) => Ok((DType::U8, None)),
    }
}

/// Floats to integers.
pub fn quantize_linear(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let (x, scale) = (ctx.input(0)?, ctx.input(1)?);
    let zero = ctx.optional_input(2)?;
    let target = target(ctx, zero)?;
    // Both concern float types alone: `saturate` float8, `precision` divisions in less than f32.
    ctx.no_effect("saturate");
    ctx.no_effect("precision");
    let layout = layout(ctx, x, scale)?;
    Ok(vec![quantize(ctx, x, scale, zero, layout, target)?])
}

/// Integers to floats.
pub fn dequantize_linear(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let (x, scale) = (ctx.input(0)?, ctx.input(1)?);
    let zero = ctx.optional_input(2)?;
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
    let y = quantize(ctx, x, scale, Some(zero), (0, 0), (DType::U8, None))?;
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
            (ElemType::Int4, 0, "i8[6] 0 2 2 0 7 -8"),
            (ElemType::Uint4, 1, "u8[6] 1 3 3 1 15 0"),
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

//! Convolutions of integers: ConvInteger (<https://onnx.ai/onnx/operators/onnx__ConvInteger.html>) and QLinearConv
//! (<https://onnx.ai/onnx/operators/onnx__QLinearConv.html>), all opsets.

use crate::context::Context;
use crate::conv::{add_bias, attributes, borders, filters_last};
use crate::error::Result;
use crate::quantize::{constant_zero_point, quantize};
use crate::window::Border;
use nnc_ir::op::{BinaryOp, ReduceOp, Window};
use nnc_ir::{DType, Dim, Op, ValueId};

/// Convolution of 8-bit integers to `i32`.
pub fn conv_integer(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let (x, w) = (ctx.input(0)?, ctx.input(1)?);
    let (x_zero, w_zero) = (ctx.optional_input(2)?, ctx.optional_input(3)?);
    let y = accumulate(ctx, (x, x_zero), (w, w_zero))?;
    Ok(vec![ctx.channels_first(y)?])
}

/// Convolution of quantized values to a quantized value.
pub fn q_linear_conv(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let inputs = (0..8).map(|i| ctx.input(i)).collect::<Result<Vec<ValueId>>>()?;
    let [x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero] = inputs[..] else { return Ok(vec![]) };
    let mut y = accumulate(ctx, (x, Some(x_zero)), (w, Some(w_zero)))?;
    if let Some(bias) = ctx.optional_input(8)? {
        y = add_bias(ctx, y, bias)?;
    }
    let y = ctx.convert(y, DType::F32)?;
    // One scale, or one per output channel, which is the last axis here.
    let x_scale = vector(ctx, x_scale)?;
    let w_scale = vector(ctx, w_scale)?;
    let scale = ctx.mul(x_scale, w_scale)?;
    let y = ctx.mul(y, scale)?;
    let y = quantize(ctx, y, y_scale, Some(y_zero), (0, 0), ctx.dtype(y_zero))?;
    Ok(vec![ctx.channels_first(y)?])
}

fn vector(ctx: &mut Context, scale: ValueId) -> Result<ValueId> {
    let count: Dim = ctx.ty(scale).count();
    let scale = ctx.reshape(scale, &[count])?;
    ctx.convert(scale, DType::F32)
}

/// The products less the zero points, summed: `i32[N, spatial.., O]`.
fn accumulate(
    ctx: &mut Context,
    (x, x_zero): (ValueId, Option<ValueId>),
    (w, w_zero): (ValueId, Option<ValueId>),
) -> Result<ValueId> {
    let (attributes, groups) = attributes(ctx, x, w)?;
    let x = ctx.channels_last(x)?;
    let borders = borders(ctx, x, &attributes);
    integer_conv(ctx, (x, x_zero), (w, w_zero), (attributes.window(), groups), &borders)
}

/// The convolution of integers less their zero points, `i32[N, spatial.., O]`: operands are channels-last and
/// `[O, C, kernel..]`, `x_zero` a scalar, `w_zero` a scalar or vector of O.
fn integer_conv(
    ctx: &mut Context,
    (x, x_zero): (ValueId, Option<ValueId>),
    (w, w_zero): (ValueId, Option<ValueId>),
    (window, groups): (Window, usize),
    borders: &[Border],
) -> Result<ValueId> {
    let mut window = window;
    if let (Some(zero), Some(0.0)) = (constant_zero_point(ctx, x_zero), constant_zero_point(ctx, w_zero)) {
        // The sum of (x - zero) * w is that of x * w less zero times the sum of w; the border is the zero point.
        let implicit = zero == 0.0;
        let x = ctx.with_borders(x, borders, &mut window, implicit, zero)?;
        let last = filters_last(ctx, w)?;
        let y = ctx.one(Op::Conv { window, groups, out: DType::I32 }, &[x, last])?;
        if implicit {
            return Ok(y);
        }
        let w = ctx.convert(w, DType::I32)?;
        let axes: Vec<usize> = (1..ctx.rank(w)).collect();
        let sums = ctx.reduce(ReduceOp::Sum, w, &axes, false)?;
        let less = ctx.binary_scalar(BinaryOp::Mul, sums, -zero)?;
        return add_bias(ctx, y, less);
    }
    // In general in i32, where zero points can be subtracted.
    let mut x = ctx.convert(x, DType::I32)?;
    if let Some(zero) = x_zero {
        let zero = ctx.convert(zero, DType::I32)?;
        let zero = ctx.reshape(zero, &[])?;
        x = ctx.sub(x, zero)?;
    }
    let mut w = ctx.convert(w, DType::I32)?;
    if let Some(zero) = w_zero {
        let zero = ctx.convert(zero, DType::I32)?;
        let zero = if ctx.ty(zero).count().is_const(1) {
            ctx.reshape(zero, &[])?
        } else {
            let shape = ctx.shape(w);
            ctx.broadcast_axis(zero, &shape, 0)?
        };
        w = ctx.sub(w, zero)?;
    }
    let x = ctx.with_borders(x, borders, &mut window, true, 0.0)?;
    let w = filters_last(ctx, w)?;
    ctx.one(Op::Conv { window, groups, out: DType::I32 }, &[x, w])
}

#[cfg(test)]
mod tests {
    use crate::testing::sketch;

    #[test]
    fn zero_points() {
        // By way of the sum of the weights, and in general, when zero points are constants; and when they are not.
        for constant in [true, false] {
            for (w_zero, expected) in [(0u8, "i32[1, 1, 4] -9 -6 11 4"), (1, "i32[1, 1, 4] -6 -2 8 0")] {
                let sketch = sketch().given("x", &[1, 1, 3], &[1u8, 3, 8]).given("w", &[1, 1, 2], &[1u8, 3]);
                let sketch = match constant {
                    true => sketch.initializer("a", nnc_onnx::ElemType::Uint8, &[], vec![4]).initializer(
                        "b",
                        nnc_onnx::ElemType::Uint8,
                        &[],
                        vec![w_zero],
                    ),
                    false => sketch.given("a", &[], &[4u8]).given("b", &[], &[w_zero]),
                };
                let sketch = sketch.node("ConvInteger", "x w a b -> y").int_list("pads", &[1, 1]).output("y");
                assert_eq!(sketch.run(), expected, "{constant}");
            }
        }
    }
}

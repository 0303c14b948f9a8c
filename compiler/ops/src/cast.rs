//! Conversions between element types.
//!
//! Cast (<https://onnx.ai/onnx/operators/onnx__Cast.html>, opsets 6 on), CastLike
//! (<https://onnx.ai/onnx/operators/onnx__CastLike.html>), BitCast (<https://onnx.ai/onnx/operators/onnx__BitCast.html>).

use crate::context::Context;
use crate::error::{Result, invalid};
use nnc_ir::{DType, Op, ValueId};

/// The element type the attribute `to` names.
fn target(ctx: &mut Context) -> Result<DType> {
    ctx.dtype_attribute("to")?.ok_or_else(|| invalid("attribute `to` is missing"))
}

/// These concern 8-bit float types alone.
fn ignore_rounding(ctx: &mut Context) {
    ctx.no_effect("saturate");
    ctx.no_effect("round_mode");
}

/// The input in the type `to`.
pub fn cast(ctx: &mut Context) -> Result<Vec<ValueId>> {
    ignore_rounding(ctx);
    let (x, to) = (ctx.input(0)?, target(ctx)?);
    Ok(vec![ctx.convert(x, to)?])
}

/// The first input in the type of the second.
pub fn cast_like(ctx: &mut Context) -> Result<Vec<ValueId>> {
    ignore_rounding(ctx);
    let (x, like) = (ctx.input(0)?, ctx.input(1)?);
    Ok(vec![ctx.convert(x, ctx.dtype(like))?])
}

/// The input's bits seen as the type `to`.
pub fn bit_cast(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let (x, to) = (ctx.input(0)?, target(ctx)?);
    let from = ctx.dtype(x);
    if from == to {
        return Ok(vec![x]);
    }
    // A bool is a byte of 0 or 1, so these two are conversions.
    if from == DType::Bool || to == DType::Bool {
        let byte =
            if from == DType::Bool { ctx.convert(x, DType::U8)? } else { ctx.one(Op::Bitcast(DType::U8), &[x])? };
        let seen = if to == DType::Bool { ctx.convert(byte, to)? } else { ctx.one(Op::Bitcast(to), &[byte])? };
        return Ok(vec![seen]);
    }
    Ok(vec![ctx.one(Op::Bitcast(to), &[x])?])
}

#[cfg(test)]
mod tests {
    use crate::testing::sketch;

    #[test]
    fn values() {
        for (to, expected) in [(7, "i64[3] -1 0 2"), (9, "bool[3] 1 0 1"), (10, "f16[3] -1.5 0 2.75")] {
            let sketch = sketch().given("x", &[3], &[-1.5f32, 0.0, 2.75]).node("Cast", "x -> y").int("to", to);
            assert_eq!(sketch.output("y").run(), expected);
        }
        let bits = sketch().opset(26).given("x", &[1], &[1.0f32]).node("BitCast", "x -> y").int("to", 6).output("y");
        assert_eq!(bits.run(), "i32[1] 1065353216");
        let strings = sketch().given("x", &[1], &[1.0f32]).node("Cast", "x -> y").int("to", 8).output("y");
        assert!(strings.run().contains("elements of type string are not supported"));
    }
}

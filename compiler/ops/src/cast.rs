//! Conversions between element types.
//!
//! Cast (<https://onnx.ai/onnx/operators/onnx__Cast.html>, opsets 6 on), CastLike
//! (<https://onnx.ai/onnx/operators/onnx__CastLike.html>), BitCast (<https://onnx.ai/onnx/operators/onnx__BitCast.html>).

use crate::context::Context;
use crate::error::{Result, invalid};
use crate::narrow::{ElementType, Narrow};
use crate::narrow_floats::{Conversion, Rounding};
use crate::string_numbers;
use nnc_ir::{DType, Op, ValueId};

/// The element type the attribute `to` names.
fn target(ctx: &mut Context) -> Result<ElementType> {
    ctx.type_attribute("to")?.ok_or_else(|| invalid("attribute `to` is missing"))
}

/// Attributes `saturate` and `round_mode`, which concern 8-bit floats alone.
fn conversion(ctx: &mut Context) -> Result<Conversion> {
    let powers = match ctx.string("round_mode", "up")?.as_str() {
        "up" => Rounding::Up,
        "down" => Rounding::Down,
        "nearest" => Rounding::Nearest,
        other => return Err(invalid(format!("round_mode `{other}` is not one of up, down, nearest"))),
    };
    Ok(Conversion { saturate: ctx.flag("saturate", true)?, powers })
}

/// The first input in the type `to`.
fn converted(ctx: &mut Context, to: ElementType) -> Result<Vec<ValueId>> {
    let conversion = conversion(ctx)?;
    if let (Some(narrow), ElementType::Narrow(encoding)) = (ctx.narrow_input(0)?, to)
        && narrow.encoding == encoding
    {
        // Also of what is no number.
        return yields(ctx, narrow);
    }
    let x = ctx.number_input(0)?;
    match to {
        ElementType::Plain(dtype) => Ok(vec![ctx.convert(x, dtype)?]),
        ElementType::Narrow(encoding) => {
            let narrow = ctx.encode(x, encoding, conversion)?;
            yields(ctx, narrow)
        }
    }
}

fn yields(ctx: &mut Context, narrow: Narrow) -> Result<Vec<ValueId>> {
    ctx.define_narrow(0, narrow);
    Ok(vec![narrow.value])
}

/// The number of strings among the types of elements.
const STRING: i64 = 8;

/// The input in the type `to`.
pub fn cast(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let strings = ctx.optional_strings(0)?;
    if ctx.optional_int("to")? == Some(STRING) {
        conversion(ctx)?;
        let strings = match strings {
            Some(strings) => strings,
            None => {
                let x = ctx.number_input(0)?;
                string_numbers::written(ctx, x)?
            }
        };
        ctx.define_strings(0, strings);
        return Ok(vec![]);
    }
    if let (Some(strings), ElementType::Plain(dtype)) = (strings, target(ctx)?) {
        conversion(ctx)?;
        return Ok(vec![string_numbers::read(ctx, &strings, dtype)?]);
    }
    let to = target(ctx)?;
    converted(ctx, to)
}

/// The first input in the type of the second.
pub fn cast_like(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let to = ctx.input_element_type(1)?;
    converted(ctx, to)
}

/// The input's bits seen as the type `to`.
pub fn bit_cast(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let (narrow, to) = (ctx.narrow_input(0)?, target(ctx)?);
    // A narrow type's bits are those of a byte, or of some of its bits.
    let (x, bits) = match narrow {
        Some(narrow) => (ctx.codes(narrow)?, narrow.encoding.bits()),
        None => {
            let x = ctx.input(0)?;
            (x, 8 * ctx.dtype(x).size())
        }
    };
    let (dtype, wanted) = match to {
        ElementType::Plain(dtype) => (dtype, 8 * dtype.size()),
        ElementType::Narrow(encoding) => (DType::U8, encoding.bits()),
    };
    if bits != wanted {
        return Err(invalid(format!("elements of {bits} bits cannot be seen as some of {wanted}")));
    }
    let seen = seen_as(ctx, x, dtype)?;
    match to {
        ElementType::Plain(_) => Ok(vec![seen]),
        ElementType::Narrow(encoding) => {
            let narrow = ctx.of_codes(seen, encoding)?;
            yields(ctx, narrow)
        }
    }
}

/// The bits of a tensor seen as another type of the core.
fn seen_as(ctx: &mut Context, x: ValueId, to: DType) -> Result<ValueId> {
    let from = ctx.dtype(x);
    if from == to {
        return Ok(x);
    }
    // A bool is a byte of 0 or 1, so these two are conversions.
    if from == DType::Bool || to == DType::Bool {
        let byte =
            if from == DType::Bool { ctx.convert(x, DType::U8)? } else { ctx.one(Op::Bitcast(DType::U8), &[x])? };
        return if to == DType::Bool { ctx.convert(byte, to) } else { ctx.one(Op::Bitcast(to), &[byte]) };
    }
    ctx.one(Op::Bitcast(to), &[x])
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
    }
}

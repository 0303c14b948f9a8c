//! Binary and variadic elementwise operators with multidirectional broadcasting.
//!
//! Pages: `https://onnx.ai/onnx/operators/onnx__<Name>.html`; every opset since `consumed_inputs` went away (6), the
//! variadic ones included, which broadcast since opset 8.

use crate::context::Context;
use crate::error::{Result, invalid};
use nnc_ir::op::{BinaryOp, UnaryOp};
use nnc_ir::{DType, Dim, Op, ValueId};

macro_rules! rows {
    ($($function:ident $op:ident)*) => { $(
        #[doc = concat!("`", stringify!($op), "` of the elements, broadcast together.")]
        pub fn $function(ctx: &mut Context) -> Result<Vec<ValueId>> {
            let (x, y) = operands(ctx)?;
            Ok(vec![ctx.binary(BinaryOp::$op, x, y)?])
        }
    )* };
}
rows! {
    add Add
    sub Sub
    mul Mul
    div Div
    // Of bools as of integers, bit by bit.
    and And
    or Or
    xor Xor
    greater Gt
    greater_or_equal Ge
    less Lt
    less_or_equal Le
}

/// Whether elements are the same, numbers or strings.
pub fn equal(ctx: &mut Context) -> Result<Vec<ValueId>> {
    if ctx.optional_strings(0)?.is_none() {
        let (x, y) = operands(ctx)?;
        return Ok(vec![ctx.binary(BinaryOp::Eq, x, y)?]);
    }
    let pair = [ctx.strings_input(0)?, ctx.strings_input(1)?];
    let (numbers, [offsets, bytes]) = ctx.join_tables(&pair)?;
    let (left, right) = ctx.broadcast2(numbers[0], numbers[1])?;
    let order = ctx.one(Op::CompareStrings, &[offsets, bytes, left, right])?;
    Ok(vec![ctx.binary_scalar(BinaryOp::Eq, order, 0.0)?])
}

macro_rules! variadic_rows {
    ($($function:ident $op:ident)*) => { $(
        #[doc = concat!("`", stringify!($op), "` of all inputs, from left to right.")]
        pub fn $function(ctx: &mut Context) -> Result<Vec<ValueId>> {
            Ok(vec![fold(ctx, BinaryOp::$op)?])
        }
    )* };
}
variadic_rows! {
    max Max
    min Min
    sum Add
}

/// The two operands. Before opset 7 the second is repeated only on request, and lies along the first from `axis` on.
fn operands(ctx: &mut Context) -> Result<(ValueId, ValueId)> {
    let (x, y) = (ctx.input(0)?, ctx.input(1)?);
    if ctx.opset() >= 7 {
        return Ok((x, y));
    }
    ctx.no_effect("broadcast");
    let Some(axis) = ctx.optional_int("axis")? else { return Ok((x, y)) };
    let axis = ctx.axis(axis, ctx.rank(x))?;
    let mut shape = ctx.shape(y);
    let trailing = ctx.rank(x).saturating_sub(axis + shape.len());
    shape.extend(vec![Dim::ONE; trailing]);
    Ok((x, ctx.reshape(y, &shape)?))
}

fn fold(ctx: &mut Context, op: BinaryOp) -> Result<ValueId> {
    let inputs = ctx.inputs()?;
    let mut result = inputs[0];
    for &input in &inputs[1..] {
        result = ctx.binary(op, result, input)?;
    }
    Ok(result)
}

/// The mean of all inputs.
pub fn mean(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let sum = fold(ctx, BinaryOp::Add)?;
    Ok(vec![ctx.binary_scalar(BinaryOp::Div, sum, ctx.input_count() as f64)?])
}

/// The remainder, with the divisor's sign or (`fmod`) the dividend's.
pub fn modulo(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let (x, y) = (ctx.input(0)?, ctx.input(1)?);
    let op = if ctx.flag("fmod", false)? { BinaryOp::Rem } else { BinaryOp::Mod };
    Ok(vec![ctx.binary(op, x, y)?])
}

/// `x ^ y` in the type of `x`; the types may differ since opset 12.
pub fn pow(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let (x, y) = operands(ctx)?;
    let (base, exponent) = (ctx.dtype(x), ctx.dtype(y));
    if let Some(power) = ctx.constant_scalar(y)
        && ctx.rank(y) <= ctx.rank(x)
        && base.is_float()
    {
        // The powers that exporters write most; exact, and cheaper than a call.
        match power {
            1.0 => return Ok(vec![x]),
            2.0 => return Ok(vec![ctx.mul(x, x)?]),
            3.0 => {
                let square = ctx.mul(x, x)?;
                return Ok(vec![ctx.mul(square, x)?]);
            }
            0.5 => return Ok(vec![ctx.unary(UnaryOp::Sqrt, x)?]),
            -1.0 => return Ok(vec![ctx.unary(UnaryOp::Recip, x)?]),
            _ => {}
        }
    }
    // The type wide enough for both, in which the power is taken.
    let common = match (base.is_float(), exponent.is_float()) {
        (true, true) if exponent.size() > base.size() => exponent,
        (true, _) => base,
        (false, true) => exponent,
        (false, false) if base == exponent => base,
        (false, false) => DType::I64,
    };
    let (x, y) = (ctx.convert(x, common)?, ctx.convert(y, common)?);
    let power = ctx.binary(BinaryOp::Pow, x, y)?;
    Ok(vec![ctx.convert(power, base)?])
}

/// `x << y` or `x >> y`; an amount outside the type's width leaves only the sign of a right-shifted number.
pub fn bit_shift(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let (x, y) = (ctx.input(0)?, ctx.input(1)?);
    let dtype = ctx.dtype(x);
    let right = match ctx.string("direction", "")?.as_str() {
        "RIGHT" => true,
        "LEFT" => false,
        other => return Err(invalid(format!("direction is `{other}`, it must be `LEFT` or `RIGHT`"))),
    };
    let op = if right { BinaryOp::Shr } else { BinaryOp::Shl };
    let bits = (8 * dtype.size()) as i64;
    if ctx.constant_ints(y).is_some_and(|amounts| amounts.iter().all(|a| (0..bits).contains(a))) {
        return Ok(vec![ctx.binary(op, x, y)?]);
    }
    let high = ctx.binary_scalar(BinaryOp::Ge, y, bits as f64)?;
    let low = ctx.binary_scalar(BinaryOp::Lt, y, 0.0)?;
    let outside = ctx.binary(BinaryOp::Or, high, low)?;
    let zero = ctx.scalar(dtype, 0.0);
    let amount = ctx.select(outside, zero, y)?;
    let shifted = ctx.binary(op, x, amount)?;
    let fill = if right && dtype.is_signed() { ctx.binary_scalar(BinaryOp::Shr, x, (bits - 1) as f64)? } else { zero };
    Ok(vec![ctx.select(outside, fill, shifted)?])
}

/// Elements of the second or the third input.
pub fn where_(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let (condition, x, y) = (ctx.input(0)?, ctx.input(1)?, ctx.input(2)?);
    Ok(vec![ctx.select(condition, x, y)?])
}

#[cfg(test)]
mod tests {
    use crate::testing::sketch;
    use nnc_onnx::ElemType::Float;

    #[test]
    fn broadcasting() {
        for (x, y, result) in [
            ("2 3", "3", "f32[2, 3]"),
            ("batch 1", "4", "f32[batch, 4]"),
            ("batch 3", "batch 3", "f32[batch, 3]"),
            ("2 3", "2", "test.onnx: Add \"n0\": sizes `3` and `2` cannot be broadcast together"),
        ] {
            let sketch = sketch().input("x", Float, x).input("y", Float, y).node("Add", "x y -> z").output("z");
            assert_eq!(sketch.result_type(), result);
        }
    }

    #[test]
    fn remainders_and_powers() {
        let ints = |op: &str, fmod| {
            let sketch = sketch().given("x", &[4], &[7i64, -7, 7, -7]).given("y", &[4], &[3i64, 3, -3, -3]);
            let sketch = sketch.node(op, "x y -> z");
            if fmod { sketch.int("fmod", 1) } else { sketch }.output("z").run()
        };
        assert_eq!(ints("Mod", false), "i64[4] 1 2 -2 -1");
        assert_eq!(ints("Mod", true), "i64[4] 1 -1 1 -1");
        assert_eq!(ints("Div", false), "i64[4] 2 -2 -2 2");
        let mixed = sketch().given("x", &[2], &[2i32, 3]).given("y", &[2], &[3.0f32, 2.0]).node("Pow", "x y -> z");
        assert_eq!(mixed.output("z").run(), "i32[2] 8 9");
        let square = sketch().given("x", &[2], &[2.0f32, -3.0]).ints("y", &[], &[2]).node("Pow", "x y -> z");
        assert_eq!(square.output("z").run(), "f32[2] 4 9");
    }

    #[test]
    fn shifts() {
        let shift = |direction| {
            let sketch = sketch().given("x", &[4], &[16i8, -16, -16, 1]).given("y", &[4], &[1i8, 2, 9, -1]);
            sketch.node("BitShift", "x y -> z").string("direction", direction).output("z").run()
        };
        assert_eq!(shift("RIGHT"), "i8[4] 8 -4 -1 0");
        assert_eq!(shift("LEFT"), "i8[4] 32 -64 0 0");
        assert!(shift("UP").contains("direction is `UP`"));
    }

    #[test]
    fn variadic() {
        let inputs =
            || sketch().given("a", &[2], &[1.0f32, 5.0]).given("b", &[], &[3.0f32]).given("c", &[1], &[2.0f32]);
        for (op, expected) in [("Max", "3 5"), ("Min", "1 2"), ("Sum", "6 10"), ("Mean", "2 3.3333")] {
            let found = inputs().node(op, "a b c -> y").output("y").run();
            assert_eq!(found, format!("f32[2] {expected}"), "{op}");
        }
    }

    #[test]
    fn broadcast_along_an_axis_before_opset_7() {
        let sketch = sketch().opset(6).given("x", &[2, 2], &[1.0f32, 2.0, 3.0, 4.0]).given("y", &[2], &[10.0f32, 20.0]);
        let sketch = sketch.node("Add", "x y -> z").int("broadcast", 1).int("axis", 0).output("z");
        assert_eq!(sketch.run(), "f32[2, 2] 11 12 23 24");
    }
}

//! Elementwise operators that are one core op: a row each.
//!
//! Pages: `https://onnx.ai/onnx/operators/onnx__<Name>.html`; every opset since `consumed_inputs` went away (6).

use crate::context::Context;
use crate::error::Result;
use nnc_ir::op::{BinaryOp, UnaryOp};
use nnc_ir::{DType, ValueId};

macro_rules! rows {
    ($($function:ident $op:ident)*) => { $(
        #[doc = concat!("`", stringify!($op), "` of each element.")]
        pub fn $function(ctx: &mut Context) -> Result<Vec<ValueId>> {
            let x = ctx.input(0)?;
            Ok(vec![ctx.unary(UnaryOp::$op, x)?])
        }
    )* };
}
rows! {
    acos Acos
    acosh Acosh
    asin Asin
    asinh Asinh
    atan Atan
    atanh Atanh
    bitwise_not BitNot
    cos Cos
    cosh Cosh
    exp Exp
    is_nan IsNan
    log Log
    neg Neg
    not Not
    reciprocal Recip
    sigmoid Sigmoid
    sign Sign
    sin Sin
    sinh Sinh
    sqrt Sqrt
    tan Tan
    tanh Tanh
}

/// Functions that ONNX also defines on types where they change nothing, or that the core op lacks.
macro_rules! float_rows {
    ($($function:ident $op:ident)*) => { $(
        #[doc = concat!("`", stringify!($op), "` of each element; integers are left as they are.")]
        pub fn $function(ctx: &mut Context) -> Result<Vec<ValueId>> {
            let x = ctx.input(0)?;
            Ok(vec![if ctx.dtype(x).is_float() { ctx.unary(UnaryOp::$op, x)? } else { x }])
        }
    )* };
}
float_rows! {
    ceil Ceil
    floor Floor
    round Round
}

/// `|x|`.
pub fn abs(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let x = ctx.input(0)?;
    Ok(vec![if ctx.dtype(x).is_signed() { ctx.unary(UnaryOp::Abs, x)? } else { x }])
}

/// The error function; integers (allowed since opset 9) are computed in f32.
pub fn erf(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let x = ctx.input(0)?;
    let dtype = ctx.dtype(x);
    let float = if dtype.is_float() { x } else { ctx.convert(x, DType::F32)? };
    let y = ctx.unary(UnaryOp::Erf, float)?;
    Ok(vec![ctx.convert(y, dtype)?])
}

/// Infinity of the signs the attributes name.
pub fn is_inf(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let x = ctx.input(0)?;
    let negative = ctx.flag("detect_negative", true)?;
    let positive = ctx.flag("detect_positive", true)?;
    Ok(vec![match (negative, positive) {
        (true, true) => ctx.unary(UnaryOp::IsInf, x)?,
        (true, false) => ctx.binary_scalar(BinaryOp::Eq, x, f64::NEG_INFINITY)?,
        (false, true) => ctx.binary_scalar(BinaryOp::Eq, x, f64::INFINITY)?,
        (false, false) => ctx.full(DType::Bool, 0.0, &ctx.shape(x))?,
    }])
}

#[cfg(test)]
mod tests {
    use crate::testing::sketch;

    #[test]
    fn values() {
        for (op, expected) in [
            ("Abs", "f32[4] 2.5 0.5 1.5 inf"),
            ("Ceil", "f32[4] -2 -0 2 inf"),
            ("Round", "f32[4] -2 -0 2 inf"),
            ("Sign", "f32[4] -1 -1 1 1"),
            ("Erf", "f32[4] -0.9996 -0.5205 0.9661 1"),
            ("IsNaN", "bool[4] 0 0 0 0"),
        ] {
            let sketch = sketch().given("x", &[4], &[-2.5f32, -0.5, 1.5, f32::INFINITY]).node(op, "x -> y").output("y");
            assert_eq!(sketch.run(), expected, "{op}");
        }
        let x = [f32::NEG_INFINITY, f32::INFINITY, f32::NAN];
        let negative = sketch().given("x", &[3], &x).node("IsInf", "x -> y").int("detect_positive", 0).output("y");
        assert_eq!(negative.run(), "bool[3] 1 0 0");
    }
}

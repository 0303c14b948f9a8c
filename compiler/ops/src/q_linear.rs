//! Operators on quantised tensors that ONNX Runtime's quantiser writes: QLinearAdd, QLinearMul, QLinearConcat,
//! QLinearSigmoid, QLinearLeakyRelu, QLinearSoftmax, QLinearAveragePool, QLinearGlobalAveragePool, QLinearReduceMean and
//! QLinearWhere, and the sums MulInteger and ReduceSumInteger
//! (<https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md>). Each is its function of the numbers
//! meant, quantised again; scales and zero points are of whole tensors.

use crate::activation::fused;
use crate::context::Context;
use crate::error::{Result, invalid};
use crate::pool::averaged;
use crate::quantize::quantize;
use crate::softmax::softmax_over;
use crate::window::Channels;
use nnc_ir::op::{BinaryOp, ReduceOp};
use nnc_ir::{DType, ValueId};

/// The numbers that input `at` means, with its scale and its zero point in the two inputs behind it.
fn meant(ctx: &mut Context, at: usize) -> Result<ValueId> {
    let (x, scale, zero) = (ctx.input(at)?, ctx.input(at + 1)?, ctx.optional_input(at + 2)?);
    meant_by(ctx, x, scale, zero)
}

/// The numbers that `x` means by a scale and a zero point.
pub(crate) fn meant_by(ctx: &mut Context, x: ValueId, scale: ValueId, zero: Option<ValueId>) -> Result<ValueId> {
    let mut y = ctx.convert(x, DType::F32)?;
    if let Some(zero) = zero {
        let zero = whole(ctx, zero)?;
        let zero = ctx.convert(zero, DType::F32)?;
        y = ctx.sub(y, zero)?;
    }
    let scale = whole(ctx, scale)?;
    ctx.mul(y, scale)
}

/// A parameter of one element as a scalar.
fn whole(ctx: &mut Context, parameter: ValueId) -> Result<ValueId> {
    if !ctx.ty(parameter).count().is_const(1) {
        return Err(invalid(format!("a scale or zero point is {}, it must have one element", ctx.show(parameter))));
    }
    ctx.reshape(parameter, &[])
}

/// Quantised by the scale in input `at` and the zero point behind it; in the type of `like` where there is none.
fn quantized(ctx: &mut Context, y: ValueId, at: usize, like: ValueId) -> Result<Vec<ValueId>> {
    let (scale, zero) = (ctx.input(at)?, ctx.optional_input(at + 1)?);
    let dtype = ctx.dtype(zero.unwrap_or(like));
    Ok(vec![quantize(ctx, y, scale, zero, (0, 0), dtype)?])
}

fn binary(ctx: &mut Context, op: BinaryOp) -> Result<Vec<ValueId>> {
    let (a, b) = (meant(ctx, 0)?, meant(ctx, 3)?);
    let y = ctx.binary(op, a, b)?;
    let like = ctx.input(0)?;
    quantized(ctx, y, 6, like)
}

/// Sum, broadcast.
pub fn add(ctx: &mut Context) -> Result<Vec<ValueId>> {
    binary(ctx, BinaryOp::Add)
}

/// Product, broadcast.
pub fn mul(ctx: &mut Context) -> Result<Vec<ValueId>> {
    binary(ctx, BinaryOp::Mul)
}

/// Tensors one after the other along an axis: the result's parameters come first, then each operand with its own.
pub fn concat(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let count = ctx.input_count();
    if count < 5 || !(count - 2).is_multiple_of(3) {
        return Err(invalid(format!("it has {count} inputs, it must have two and three for each operand")));
    }
    let operands = (2..count).step_by(3).map(|at| meant(ctx, at)).collect::<Result<Vec<ValueId>>>()?;
    let axis = ctx.optional_int("axis")?.ok_or_else(|| invalid("axis is missing"))?;
    let axis = ctx.axis(axis, ctx.rank(operands[0]))?;
    let y = ctx.concat(&operands, axis)?;
    let like = ctx.input(2)?;
    quantized(ctx, y, 0, like)
}

fn activation(ctx: &mut Context, name: &str, alpha: Option<f32>) -> Result<Vec<ValueId>> {
    let x = meant(ctx, 0)?;
    let y = fused(ctx, name, [alpha, None], x)?;
    let like = ctx.input(0)?;
    quantized(ctx, y, 3, like)
}

/// `1 / (1 + exp(-x))`.
pub fn sigmoid(ctx: &mut Context) -> Result<Vec<ValueId>> {
    activation(ctx, "Sigmoid", None)
}

/// `x < 0 ? alpha * x : x`.
pub fn leaky_relu(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let alpha = ctx.float("alpha", 0.01)?;
    activation(ctx, "LeakyRelu", Some(alpha))
}

/// Softmax along an axis; for opsets below 13, over it and all behind it.
pub fn softmax(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let x = meant(ctx, 0)?;
    let (axis, opset) = (ctx.int("axis", -1)?, ctx.int("opset", 13)?);
    let rank = ctx.rank(x);
    let axis = ctx.axis(axis, rank)?;
    let axes: Vec<usize> = if opset < 13 { (axis..rank).collect() } else { vec![axis] };
    let y = softmax_over(ctx, x, &axes)?;
    let like = ctx.input(0)?;
    quantized(ctx, y, 3, like)
}

/// Means over the spatial axes; channels come first or last.
pub fn global_average_pool(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let x = meant(ctx, 0)?;
    let rank = ctx.rank(x);
    if rank < 3 {
        return Err(invalid(format!("the input {} has no spatial axes", ctx.show(x))));
    }
    let axes: Vec<usize> = match Channels::stated(ctx, Channels::First)? {
        Channels::Last => (1..rank - 1).collect(),
        Channels::First => (2..rank).collect(),
    };
    let y = ctx.mean(x, &axes, true)?;
    let like = ctx.input(0)?;
    quantized(ctx, y, 3, like)
}

/// Means of windows; channels come first or last.
pub fn average_pool(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let x = meant(ctx, 0)?;
    let channels = Channels::stated(ctx, Channels::First)?;
    let y = averaged(ctx, x, channels)?;
    let like = ctx.input(0)?;
    quantized(ctx, y, 3, like)
}

/// The axes named by an attribute, all where it names none, and whether they stay.
fn reduced_axes(ctx: &mut Context, x: ValueId) -> Result<(Vec<usize>, bool)> {
    let keep = ctx.flag("keepdims", true)?;
    let rank = ctx.rank(x);
    let axes = match ctx.ints("axes")? {
        None | Some([]) => (0..rank).collect(),
        Some(axes) => ctx.axes(axes, rank)?,
    };
    Ok((axes, keep))
}

/// Means over axes.
pub fn reduce_mean(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let x = meant(ctx, 0)?;
    let (axes, keep) = reduced_axes(ctx, x)?;
    let y = ctx.mean(x, &axes, keep)?;
    let like = ctx.input(0)?;
    quantized(ctx, y, 3, like)
}

/// The numbers of the second input where the first is true, those of the third elsewhere.
pub fn where_(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let (condition, x, y) = (ctx.input(0)?, meant(ctx, 1)?, meant(ctx, 4)?);
    let z = ctx.select(condition, x, y)?;
    let like = ctx.input(1)?;
    quantized(ctx, z, 7, like)
}

/// Sums over axes in `i32`, in `u32` for numbers without a sign where that is what the output is stated to be.
pub fn reduce_sum_integer(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let x = ctx.input(0)?;
    let unsigned = matches!(
        ctx.declared_output(0),
        Some(nnc_onnx::TypeInfo::Tensor { elem_type: nnc_onnx::ElemType::Uint32, .. })
    );
    let x = ctx.convert(x, if unsigned { DType::U32 } else { DType::I32 })?;
    let (axes, keep) = reduced_axes(ctx, x)?;
    Ok(vec![ctx.reduce(ReduceOp::Sum, x, &axes, keep)?])
}

/// The product of operands less their zero points, in `i32`.
pub fn mul_integer(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let mut operand = |at: usize| {
        let (x, zero) = (ctx.input(at)?, ctx.optional_input(at + 1)?);
        let x = ctx.convert(x, DType::I32)?;
        let Some(zero) = zero else { return Ok(x) };
        let zero = ctx.convert(zero, DType::I32)?;
        let zero = whole(ctx, zero)?;
        ctx.sub(x, zero)
    };
    let (a, b) = (operand(0)?, operand(2)?);
    Ok(vec![ctx.mul(a, b)?])
}

#[cfg(test)]
mod tests {
    use crate::testing::{Sketch, sketch};

    /// `x` means 0, 1, 2, 3; a scale of 0.5 and a zero point of 1.
    fn x() -> Sketch {
        let x = sketch().given("x", &[1, 1, 4], &[1u8, 3, 5, 7]).given("z", &[], &[1u8]);
        let x = x.given_bools("c", &[4], &[1, 0, 1, 0]);
        x.floats("s", &[], &[0.5]).floats("t", &[], &[0.25])
    }

    #[test]
    fn values() {
        for (op, signature, expected) in [
            ("QLinearAdd", "x s z x s z t z -> y", "u8[1, 1, 4] 1 9 17 25"),
            ("QLinearMul", "x s z x s z t z -> y", "u8[1, 1, 4] 1 5 17 37"),
            ("QLinearSigmoid", "x s z t z -> y", "u8[1, 1, 4] 3 4 5 5"),
            ("QLinearLeakyRelu", "x s z t z -> y", "u8[1, 1, 4] 1 5 9 13"),
            ("QLinearGlobalAveragePool", "x s z t z -> y", "u8[1, 1, 1] 7"),
            ("QLinearReduceMean", "x s z t z -> y", "u8[1, 1, 1] 7"),
            ("QLinearWhere", "c x s z x t z t z -> y", "u8[1, 1, 4] 1 3 9 7"),
            ("MulInteger", "x z x -> y", "i32[1, 1, 4] 0 6 20 42"),
            ("ReduceSumInteger", "x -> y", "i32[1, 1, 1] 16"),
            ("QLinearAdd", "x x z x s z t z -> y", "must have one element"),
            ("QLinearConcat", "t z x s -> y", "it has 4 inputs"),
        ] {
            let found = x().node(op, signature).domain("com.microsoft").output("y").run();
            assert!(found.contains(expected), "{op}: {found}");
        }
        let concat = x().node("QLinearConcat", "t z x s z x t z -> y").domain("com.microsoft").int("axis", 1);
        assert_eq!(concat.output("y").run(), "u8[1, 2, 4] 1 5 9 13 1 3 5 7");
    }
}

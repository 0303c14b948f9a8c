//! Softmax (<https://onnx.ai/onnx/operators/onnx__Softmax.html>), LogSoftmax
//! (<https://onnx.ai/onnx/operators/onnx__LogSoftmax.html>) and Hardmax
//! (<https://onnx.ai/onnx/operators/onnx__Hardmax.html>): over one axis from opset 13 on, over all axes from `axis` on
//! together before.

use crate::context::Context;
use crate::error::Result;
use nnc_ir::op::{BinaryOp, ReduceOp, UnaryOp};
use nnc_ir::{DType, Dim, Op, ValueId};

/// The input and the axes normalised together.
fn operand(ctx: &mut Context) -> Result<(ValueId, Vec<usize>)> {
    let x = ctx.input(0)?;
    let rank = ctx.rank(x);
    let old = ctx.opset() < 13;
    let axis = ctx.int("axis", if old { 1 } else { -1 })?;
    // A flattened vector's second axis is one past its last: nothing is left to normalise together.
    if old && axis == rank as i64 {
        return Ok((x, vec![]));
    }
    let axis = ctx.axis(axis, rank)?;
    Ok((x, if old { (axis..rank).collect() } else { vec![axis] }))
}

/// `x - max(x)` over the axes.
fn shifted(ctx: &mut Context, x: ValueId, axes: &[usize]) -> Result<ValueId> {
    let largest = ctx.reduce(ReduceOp::Max, x, axes, true)?;
    ctx.sub(x, largest)
}

/// Softmax over the axes.
pub(crate) fn softmax_over(ctx: &mut Context, x: ValueId, axes: &[usize]) -> Result<ValueId> {
    let shifted = shifted(ctx, x, axes)?;
    let e = ctx.unary(UnaryOp::Exp, shifted)?;
    let sum = ctx.reduce(ReduceOp::Sum, e, axes, true)?;
    ctx.div(e, sum)
}

/// Log-softmax over the axes.
pub(crate) fn log_softmax_over(ctx: &mut Context, x: ValueId, axes: &[usize]) -> Result<ValueId> {
    let shifted = shifted(ctx, x, axes)?;
    let e = ctx.unary(UnaryOp::Exp, shifted)?;
    let sum = ctx.reduce(ReduceOp::Sum, e, axes, true)?;
    let log = ctx.unary(UnaryOp::Log, sum)?;
    ctx.sub(shifted, log)
}

/// `exp(x)` divided by its sum.
pub fn softmax(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let (x, axes) = operand(ctx)?;
    Ok(vec![softmax_over(ctx, x, &axes)?])
}

/// ONNX Runtime's softmax of the sum of two tensors, over all axes from `axis` on together.
pub fn bias_softmax(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let (x, bias) = (ctx.input(0)?, ctx.input(1)?);
    // It says which axes of the bias have size 1, as the bias itself does.
    ctx.no_effect("is_inner_broadcast");
    let sum = ctx.add(x, bias)?;
    let rank = ctx.rank(sum);
    let axis = ctx.int("axis", 1)?;
    let axes: Vec<usize> = (ctx.axis(axis, rank)?..rank).collect();
    Ok(vec![softmax_over(ctx, sum, &axes)?])
}

/// The logarithm of softmax.
pub fn log_softmax(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let (x, axes) = operand(ctx)?;
    Ok(vec![log_softmax_over(ctx, x, &axes)?])
}

/// 1 at the first largest element, 0 elsewhere.
pub fn hardmax(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let (x, axes) = operand(ctx)?;
    let (shape, dtype) = (ctx.shape(x), ctx.dtype(x));
    let Some(&first) = axes.first() else { return Ok(vec![ctx.full(dtype, 1.0, &shape)?]) };
    // Several axes are seen as one.
    let last = axes[axes.len() - 1];
    let merged = shape[first..=last].iter().fold(Dim::ONE, |n, d| n * d);
    let mut flat = shape.clone();
    flat.splice(first..=last, [merged]);
    let x = ctx.reshape(x, &flat)?;
    let best = ctx.one(Op::ArgReduce { axis: first, max: true, last: false }, &[x])?;
    let best = ctx.unsqueeze(best, &[first])?;
    let place = ctx.iota(DType::I64, &flat, first)?;
    let hot = ctx.binary(BinaryOp::Eq, best, place)?;
    let hot = ctx.convert(hot, dtype)?;
    Ok(vec![ctx.reshape(hot, &shape)?])
}

#[cfg(test)]
mod tests {
    use crate::testing::sketch;

    #[test]
    fn axes_by_opset() {
        let x = |opset| sketch().opset(opset).given("x", &[1, 2, 2], &[0.0f32, 0.0, 1.0, 0.0]);
        assert_eq!(x(13).node("Softmax", "x -> y").output("y").run(), "f32[1, 2, 2] 0.5 0.5 0.7311 0.2689");
        assert_eq!(x(11).node("Softmax", "x -> y").output("y").run(), "f32[1, 2, 2] 0.1749 0.1749 0.4754 0.1749");
        assert_eq!(x(13).node("Hardmax", "x -> y").output("y").run(), "f32[1, 2, 2] 1 0 1 0");
        assert_eq!(x(11).node("Hardmax", "x -> y").output("y").run(), "f32[1, 2, 2] 0 0 1 0");
        let log = x(13).node("LogSoftmax", "x -> y").int("axis", 1).output("y");
        assert_eq!(log.run(), "f32[1, 2, 2] -1.3133 -0.6931 -0.3133 -0.6931");
    }

    #[test]
    fn bias() {
        let x =
            sketch().given("x", &[2, 2], &[0.0f32, 0.0, 0.0, 3.0f32.ln()]).floats("b", &[1, 2], &[0.0, 3.0f32.ln()]);
        let node = x.node("BiasSoftmax", "x b -> y").domain("com.microsoft").int("is_inner_broadcast", 0);
        assert_eq!(node.output("y").run(), "f32[2, 2] 0.25 0.75 0.1 0.9");
    }
}

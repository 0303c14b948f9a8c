//! ReverseSequence (<https://onnx.ai/onnx/operators/onnx__ReverseSequence.html>); all opsets.

use crate::context::Context;
use crate::error::{Result, invalid};
use nnc_ir::op::BinaryOp;
use nnc_ir::{DType, Op, ValueId};

/// The first elements along the time axis in reverse, as many as the batch's length says.
pub fn reverse_sequence(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let (x, lengths) = (ctx.input(0)?, ctx.input(1)?);
    let batch = ctx.int("batch_axis", 1)?;
    let time = ctx.int("time_axis", 0)?;
    let rank = ctx.rank(x);
    let (batch, time) = (ctx.axis(batch, rank)?, ctx.axis(time, rank)?);
    if batch == time {
        return Err(invalid("batch_axis and time_axis are the same"));
    }
    let perm: Vec<usize> = [batch, time].into_iter().chain((0..rank).filter(|a| *a != batch && *a != time)).collect();
    let ordered = ctx.transpose(x, &perm)?;
    let shape = &ctx.shape(ordered)[..2];
    let step = ctx.iota(DType::I64, shape, 1)?;
    let lengths = ctx.convert(lengths, DType::I64)?;
    let lengths = ctx.broadcast_axis(lengths, shape, 0)?;
    let mirrored = ctx.sub(lengths, step)?;
    let mirrored = ctx.binary_scalar(BinaryOp::Sub, mirrored, 1.0)?;
    let inside = ctx.binary(BinaryOp::Lt, step, lengths)?;
    let index = ctx.select(inside, mirrored, step)?;
    let reversed = ctx.one(Op::Gather { axis: 1, batch: 1 }, &[ordered, index])?;
    let mut inverse = vec![0; rank];
    for (i, &p) in perm.iter().enumerate() {
        inverse[p] = i;
    }
    Ok(vec![ctx.transpose(reversed, &inverse)?])
}

#[cfg(test)]
mod tests {
    use crate::testing::sketch;

    #[test]
    fn values() {
        let x: Vec<f32> = (0..6u8).map(f32::from).collect();
        let sketch = sketch().given("x", &[3, 2], &x).given("n", &[2], &[3i64, 2]);
        assert_eq!(sketch.node("ReverseSequence", "x n -> y").output("y").run(), "f32[3, 2] 4 3 2 1 0 5");
    }
}

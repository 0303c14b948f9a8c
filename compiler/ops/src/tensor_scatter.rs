//! TensorScatter (<https://onnx.ai/onnx/operators/onnx__TensorScatter.html>), opsets 24 on.

use crate::context::Context;
use crate::error::{Result, invalid};
use nnc_ir::op::{BinaryOp, ScatterOp};
use nnc_ir::{DType, Op, ValueId};

/// The cache with `update` written along one axis, from a place of its own in each batch element.
pub fn tensor_scatter(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let (cache, update) = (ctx.input(0)?, ctx.input(1)?);
    let rank = ctx.rank(cache);
    let axis = ctx.int("axis", -2)?;
    let axis = ctx.axis(axis, rank)?;
    if axis == 0 || ctx.rank(update) != rank {
        return Err(invalid("the axis must not be the first, and both tensors must have as many axes"));
    }
    let circular = match ctx.string("mode", "linear")?.as_str() {
        "linear" => false,
        "circular" => true,
        other => return Err(invalid(format!("mode `{other}` is not one of linear, circular"))),
    };
    let start = ctx.optional_input(2)?;
    if let Some(start) = start {
        ctx.require_rank(start, 1, "write_indices")?;
    }
    Ok(vec![written(ctx, cache, update, axis, start, circular)?])
}

/// `cache` with `update` written along `axis`, from `start` (one for each batch element) on or from 0.
pub(crate) fn written(
    ctx: &mut Context,
    cache: ValueId,
    update: ValueId,
    axis: usize,
    start: Option<ValueId>,
    circular: bool,
) -> Result<ValueId> {
    let shape = ctx.shape(update);
    let mut place = ctx.iota(DType::I64, &shape, axis)?;
    if let Some(start) = start {
        let start = ctx.convert(start, DType::I64)?;
        let start = ctx.unsqueeze(start, &(1..shape.len()).collect::<Vec<_>>())?;
        place = ctx.add(place, start)?;
    }
    if circular {
        let size = ctx.dim_scalar(ctx.dim(cache, axis))?;
        place = ctx.binary(BinaryOp::Mod, place, size)?;
    }
    ctx.one(Op::ScatterElements { axis, op: ScatterOp::Replace }, &[cache, place, update])
}

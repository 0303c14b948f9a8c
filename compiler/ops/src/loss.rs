//! NegativeLogLikelihoodLoss (<https://onnx.ai/onnx/operators/onnx__NegativeLogLikelihoodLoss.html>) and
//! SoftmaxCrossEntropyLoss (<https://onnx.ai/onnx/operators/onnx__SoftmaxCrossEntropyLoss.html>), opsets 12 on.

use crate::context::Context;
use crate::error::{Result, invalid};
use crate::softmax::log_softmax_over;
use nnc_ir::op::{BinaryOp, ReduceOp, UnaryOp};
use nnc_ir::{DType, Op, ValueId};

/// The loss of log-probabilities.
pub fn negative_log_likelihood_loss(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let x = ctx.input(0)?;
    Ok(vec![loss(ctx, x)?])
}

/// The loss of scores, and their log-probabilities.
pub fn softmax_cross_entropy_loss(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let x = ctx.input(0)?;
    if ctx.rank(x) < 2 {
        return Err(invalid("the scores must have a batch and classes"));
    }
    let log = log_softmax_over(ctx, x, &[1])?;
    Ok(vec![loss(ctx, log)?, log])
}

/// The loss for log-probabilities `[N, C, d..]` and the classes `[N, d..]` of input 1.
fn loss(ctx: &mut Context, log: ValueId) -> Result<ValueId> {
    let mut target = ctx.input(1)?;
    let rank = ctx.rank(log);
    if rank < 2 {
        return Err(invalid("the scores must have a batch and classes"));
    }
    ctx.require_rank(target, rank - 1, "the target")?;
    for axis in 0..rank - 1 {
        // The axes but that of the classes.
        let size = ctx.dim(log, if axis == 0 { 0 } else { axis + 1 });
        target = ctx.with_size(target, axis, &size, || format!("the target's size of axis {axis}"))?;
    }
    let dtype = ctx.dtype(log);
    let target = ctx.convert(target, DType::I64)?;
    let ignored = match ctx.optional_int("ignore_index")? {
        Some(index) => Some(ctx.binary_scalar(BinaryOp::Eq, target, index as f64)?),
        None => None,
    };
    let zero = ctx.scalar(dtype, 0.0);
    let class = match ignored {
        Some(ignored) => {
            let first = ctx.int_scalar(0);
            ctx.select(ignored, first, target)?
        }
        None => target,
    };
    let class = ctx.normalize_index(class, &ctx.dim(log, 1))?;
    let place = ctx.unsqueeze(class, &[1])?;
    let chosen = ctx.one(Op::GatherElements { axis: 1 }, &[log, place])?;
    let chosen = ctx.squeeze(chosen, &[1])?;
    let mut losses = ctx.unary(UnaryOp::Neg, chosen)?;
    let mut weights = match ctx.optional_input(2)? {
        Some(weights) => {
            ctx.require_rank(weights, 1, "the class weights")?;
            Some(ctx.gather(weights, class)?)
        }
        None => None,
    };
    if let Some(ignored) = ignored {
        let before = match weights {
            Some(weights) => weights,
            None => ctx.scalar(dtype, 1.0),
        };
        weights = Some(ctx.select(ignored, zero, before)?);
    }
    if let Some(weights) = weights {
        losses = ctx.mul(losses, weights)?;
    }
    let axes: Vec<usize> = (0..rank - 1).collect();
    match ctx.string("reduction", "mean")?.as_str() {
        "none" => Ok(losses),
        "sum" => ctx.reduce(ReduceOp::Sum, losses, &axes, false),
        "mean" => match weights {
            None => ctx.mean(losses, &axes, false),
            Some(weights) => {
                let sum = ctx.reduce(ReduceOp::Sum, losses, &axes, false)?;
                let total = ctx.reduce(ReduceOp::Sum, weights, &axes, false)?;
                ctx.div(sum, total)
            }
        },
        other => Err(invalid(format!("reduction `{other}` is not one of none, sum, mean"))),
    }
}

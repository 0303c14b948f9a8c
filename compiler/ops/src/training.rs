//! Steps of optimizers, domain `ai.onnx.preview.training`:
//! Adagrad (<https://onnx.ai/onnx/operators/onnx_aionnxpreviewtraining_Adagrad.html>),
//! Adam (<https://onnx.ai/onnx/operators/onnx_aionnxpreviewtraining_Adam.html>) and
//! Momentum (<https://onnx.ai/onnx/operators/onnx_aionnxpreviewtraining_Momentum.html>); all opsets.

use crate::context::Context;
use crate::error::{Result, invalid};
use nnc_ir::ValueId;
use nnc_ir::op::{BinaryOp, UnaryOp};

/// The learning rate, the update count, and for each optimized tensor its `kinds` tensors.
struct Operands {
    rate: ValueId,
    count: ValueId,
    tensors: Vec<Vec<ValueId>>,
}

/// Inputs are R, T, then all tensors X, all gradients G, and so on.
fn operands(ctx: &mut Context, kinds: usize) -> Result<Operands> {
    let inputs = ctx.inputs()?;
    let [rate, count, rest @ ..] = inputs.as_slice() else { return Err(invalid("R and T are missing")) };
    if rest.is_empty() || rest.len() % kinds != 0 {
        return Err(invalid(format!("{} tensors do not split into {kinds} kinds", rest.len())));
    }
    let each = rest.len() / kinds;
    let tensors = (0..each).map(|i| (0..kinds).map(|k| rest[k * each + i]).collect()).collect();
    let count = ctx.convert(*count, ctx.dtype(*rate))?;
    Ok(Operands { rate: *rate, count, tensors })
}

/// Results by tensor, in the order of outputs: by kind.
fn by_kind(results: &[Vec<ValueId>], kinds: usize) -> Vec<ValueId> {
    (0..kinds).flat_map(|k| results.iter().filter_map(move |r| r.get(k).copied())).collect()
}

fn times(ctx: &mut Context, x: ValueId, factor: f64) -> Result<ValueId> {
    ctx.binary_scalar(BinaryOp::Mul, x, factor)
}

/// `G + norm_coefficient * X`.
fn regularized(ctx: &mut Context, x: ValueId, gradient: ValueId, coefficient: f64) -> Result<ValueId> {
    let less = times(ctx, x, coefficient)?;
    ctx.add(less, gradient)
}

/// One step of Adagrad.
pub fn adagrad(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let norm = f64::from(ctx.float("norm_coefficient", 0.0)?);
    let decay = f64::from(ctx.float("decay_factor", 0.0)?);
    let epsilon = f64::from(ctx.float("epsilon", 1e-6)?);
    let Operands { rate, count, tensors } = operands(ctx, 3)?;
    let slowdown = times(ctx, count, decay)?;
    let slowdown = ctx.binary_scalar(BinaryOp::Add, slowdown, 1.0)?;
    let rate = ctx.div(rate, slowdown)?;
    let mut results = vec![];
    for tensor in tensors {
        let [x, gradient, squares] = tensor[..] else { continue };
        let gradient = regularized(ctx, x, gradient, norm)?;
        let square = ctx.mul(gradient, gradient)?;
        let squares = ctx.add(squares, square)?;
        let root = ctx.unary(UnaryOp::Sqrt, squares)?;
        let root = ctx.binary_scalar(BinaryOp::Add, root, epsilon)?;
        let step = ctx.mul(rate, gradient)?;
        let step = ctx.div(step, root)?;
        results.push(vec![ctx.sub(x, step)?, squares]);
    }
    Ok(by_kind(&results, 2))
}

/// One step of Adam.
pub fn adam(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let (alpha, beta) = (f64::from(ctx.float("alpha", 0.9)?), f64::from(ctx.float("beta", 0.999)?));
    let epsilon = f64::from(ctx.float("epsilon", 1e-6)?);
    let norm = f64::from(ctx.float("norm_coefficient", 0.0)?);
    let norm_post = f64::from(ctx.float("norm_coefficient_post", 0.0)?);
    let Operands { rate, count, tensors } = operands(ctx, 4)?;
    let dtype = ctx.dtype(rate);
    let one = ctx.scalar(dtype, 1.0);
    let mut unbiased = vec![];
    for base in [alpha, beta] {
        let base = ctx.scalar(dtype, base);
        let power = ctx.binary(BinaryOp::Pow, base, count)?;
        unbiased.push(ctx.sub(one, power)?);
    }
    let root = ctx.unary(UnaryOp::Sqrt, unbiased[1])?;
    let adjusted = ctx.mul(rate, root)?;
    let adjusted = ctx.div(adjusted, unbiased[0])?;
    let later = ctx.binary_scalar(BinaryOp::Gt, count, 0.0)?;
    let rate = ctx.select(later, adjusted, rate)?;
    let average = |ctx: &mut Context, before: ValueId, now: ValueId, weight: f64| -> Result<ValueId> {
        let before = times(ctx, before, weight)?;
        let now = times(ctx, now, 1.0 - weight)?;
        ctx.add(before, now)
    };
    let mut results = vec![];
    for tensor in tensors {
        let [x, gradient, mean, squares] = tensor[..] else { continue };
        let gradient = regularized(ctx, x, gradient, norm)?;
        let mean = average(ctx, mean, gradient, alpha)?;
        let square = ctx.mul(gradient, gradient)?;
        let squares = average(ctx, squares, square, beta)?;
        let root = ctx.unary(UnaryOp::Sqrt, squares)?;
        let root = ctx.binary_scalar(BinaryOp::Add, root, epsilon)?;
        let step = ctx.mul(rate, mean)?;
        let step = ctx.div(step, root)?;
        let moved = ctx.sub(x, step)?;
        results.push(vec![times(ctx, moved, 1.0 - norm_post)?, mean, squares]);
    }
    Ok(by_kind(&results, 3))
}

/// One step of gradient descent with momentum.
pub fn momentum(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let mut required = |name: &str| -> Result<f64> {
        let value = ctx.optional_float(name)?.ok_or_else(|| invalid(format!("attribute `{name}` is missing")))?;
        Ok(value.into())
    };
    let (alpha, beta, norm) = (required("alpha")?, required("beta")?, required("norm_coefficient")?);
    let nesterov = match ctx.string("mode", "standard")?.as_str() {
        "standard" => false,
        "nesterov" => true,
        other => return Err(invalid(format!("mode `{other}` is not one of standard, nesterov"))),
    };
    let Operands { rate, count, tensors } = operands(ctx, 3)?;
    let dtype = ctx.dtype(rate);
    let later = ctx.binary_scalar(BinaryOp::Gt, count, 0.0)?;
    let (beta, one) = (ctx.scalar(dtype, beta), ctx.scalar(dtype, 1.0));
    let beta = ctx.select(later, beta, one)?;
    let mut results = vec![];
    for tensor in tensors {
        let [x, gradient, velocity] = tensor[..] else { continue };
        let gradient = regularized(ctx, x, gradient, norm)?;
        let kept = times(ctx, velocity, alpha)?;
        let added = ctx.mul(beta, gradient)?;
        let velocity = ctx.add(kept, added)?;
        let direction = if nesterov {
            let ahead = times(ctx, velocity, alpha)?;
            ctx.add(gradient, ahead)?
        } else {
            velocity
        };
        let step = ctx.mul(rate, direction)?;
        results.push(vec![ctx.sub(x, step)?, velocity]);
    }
    Ok(by_kind(&results, 2))
}

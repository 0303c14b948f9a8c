//! CausalConvWithState (<https://onnx.ai/onnx/operators/onnx__CausalConvWithState.html>), opsets 27 on.

use crate::context::Context;
use crate::conv::{add_bias, filters_last};
use crate::error::{Result, invalid, unsupported};
use nnc_ir::op::{PadMode, UnaryOp, Window};
use nnc_ir::{DType, Dim, Op, ValueId};

/// A depthwise convolution over the past and present; outputs the result and the last inputs.
pub fn causal_conv_with_state(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let (x, w) = (ctx.input(0)?, ctx.input(1)?);
    ctx.require_rank(x, 3, "the input")?;
    ctx.require_rank(w, 3, "the weights")?;
    let fixed = |d: Dim| d.as_const().and_then(|n| usize::try_from(n).ok()).filter(|&n| n > 0);
    let (Some(channels), Some(size)) = (fixed(ctx.dim(w, 0)), fixed(ctx.dim(w, 2))) else {
        return Err(unsupported("the weights must have a fixed shape; fix their dimensions with --dim"));
    };
    let before = Dim::from(size - 1);
    let whole = match ctx.optional_input(3)? {
        Some(past) => ctx.concat(&[past, x], 2)?,
        None => {
            let low = vec![Dim::ZERO, Dim::ZERO, before.clone()];
            ctx.pad(x, low, vec![Dim::ZERO; 3], PadMode::Constant, 0.0)?
        }
    };
    let out = ctx.dtype(x);
    let window = Window { size: vec![size], strides: vec![1], dilations: vec![1], pad_low: vec![0], pad_high: vec![0] };
    let rows = ctx.channels_last(whole)?;
    let filters = filters_last(ctx, w)?;
    let mut y = ctx.one(Op::Conv { window, groups: channels, out }, &[rows, filters])?;
    if let Some(bias) = ctx.optional_input(2)? {
        y = add_bias(ctx, y, bias)?;
    }
    match ctx.string("activation", "none")?.as_str() {
        "none" => {}
        "silu" | "swish" => {
            let work = if out == DType::F64 { DType::F64 } else { DType::F32 };
            let wide = ctx.convert(y, work)?;
            let gate = ctx.unary(UnaryOp::Sigmoid, wide)?;
            let gated = ctx.mul(wide, gate)?;
            y = ctx.convert(gated, out)?;
        }
        other => return Err(invalid(format!("activation `{other}` is not one of none, silu, swish"))),
    }
    let y = ctx.channels_first(y)?;
    let length = ctx.dim(whole, 2);
    let state = ctx.slice_axis(whole, 2, length - &before, before)?;
    Ok(vec![y, state])
}

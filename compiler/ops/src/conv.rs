//! Conv (<https://onnx.ai/onnx/operators/onnx__Conv.html>), all opsets.

use crate::context::Context;
use crate::error::{Result, invalid, unsupported};
use crate::window::{Border, WindowAttributes};
use nnc_ir::{Dim, Op, ValueId};

/// Convolution with bias.
pub fn conv(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let (x, w) = (ctx.input(0)?, ctx.input(1)?);
    let bias = ctx.optional_input(2)?;
    let (attributes, groups) = attributes(ctx, x, w)?;
    let out = ctx.dtype(x);
    let x = ctx.channels_last(x)?;
    let borders = borders(ctx, x, &attributes);
    let mut window = attributes.window();
    let x = ctx.with_borders(x, &borders, &mut window, true, 0.0)?;
    let w = filters_last(ctx, w)?;
    let mut y = ctx.one(Op::Conv { window, groups, out }, &[x, w])?;
    if let Some(bias) = bias {
        y = add_bias(ctx, y, bias)?;
    }
    Ok(vec![ctx.channels_first(y)?])
}

/// The attributes of a convolution with weights `w: [O, C / groups, kernel..]`.
pub(crate) fn attributes(ctx: &mut Context, x: ValueId, w: ValueId) -> Result<(WindowAttributes, usize)> {
    let rank = ctx.rank(x);
    ctx.require_rank(w, rank, "the weights")?;
    let kernel = ctx.shape(w).get(2..).map(<[Dim]>::to_vec).unwrap_or_default();
    let size: Option<Vec<usize>> = kernel.iter().map(|d| d.as_const().and_then(|n| usize::try_from(n).ok())).collect();
    let size = size.ok_or_else(|| unsupported("the kernel's size must be fixed; fix its dimensions with --dim"))?;
    let attributes = WindowAttributes::read(ctx, rank, Some(size))?;
    let groups = usize::try_from(ctx.int("group", 1)?).ok().filter(|&g| g > 0);
    Ok((attributes, groups.ok_or_else(|| invalid("attribute `group` must be positive"))?))
}

/// The borders for a channels-last input.
pub(crate) fn borders(ctx: &Context, x: ValueId, attributes: &WindowAttributes) -> Vec<Border> {
    let shape = ctx.shape(x);
    attributes.borders(ctx, shape.get(1..shape.len() - 1).unwrap_or_default())
}

/// `[O, C, kernel..]` as `[kernel.., C, O]`.
pub(crate) fn filters_last(ctx: &mut Context, w: ValueId) -> Result<ValueId> {
    let rank = ctx.rank(w);
    let perm: Vec<usize> = (2..rank).chain([1, 0]).collect();
    ctx.transpose(w, &perm)
}

/// A bias of the last axis added.
pub(crate) fn add_bias(ctx: &mut Context, y: ValueId, bias: ValueId) -> Result<ValueId> {
    ctx.require_rank(bias, 1, "the bias")?;
    let shape = ctx.shape(y);
    let bias = ctx.broadcast_axis(bias, &shape, shape.len() - 1)?;
    ctx.add(y, bias)
}

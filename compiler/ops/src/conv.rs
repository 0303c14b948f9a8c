//! Conv (<https://onnx.ai/onnx/operators/onnx__Conv.html>), all opsets.

use crate::context::Context;
use crate::error::{Result, invalid, unsupported};
use crate::window::{Border, WindowAttributes};
use nnc_ir::op::{BinaryOp, ReduceOp, Window};
use nnc_ir::{DType, Dim, Op, ValueId};

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

/// The convolution of integers less their zero points, `i32[N, spatial.., O]`: operands are channels-last and
/// `[O, C, kernel..]`, `x_zero` a scalar, `w_zero` a scalar or vector of O.
pub(crate) fn integer_conv(
    ctx: &mut Context,
    (x, x_zero): (ValueId, Option<ValueId>),
    (w, w_zero): (ValueId, Option<ValueId>),
    (window, groups): (Window, usize),
    borders: &[Border],
) -> Result<ValueId> {
    let constant = |ctx: &mut Context, zero: Option<ValueId>| match zero {
        None => Some(0.0),
        Some(zero) => ctx.constant_value(zero).and_then(|t| t.splat()),
    };
    let mut window = window;
    if let (Some(zero), Some(0.0)) = (constant(ctx, x_zero), constant(ctx, w_zero)) {
        // The sum of (x - zero) * w is that of x * w less zero times the sum of w; the border is the zero point.
        let implicit = zero == 0.0;
        let x = ctx.with_borders(x, borders, &mut window, implicit, zero)?;
        let last = filters_last(ctx, w)?;
        let y = ctx.one(Op::Conv { window, groups, out: DType::I32 }, &[x, last])?;
        if implicit {
            return Ok(y);
        }
        let w = ctx.convert(w, DType::I32)?;
        let axes: Vec<usize> = (1..ctx.rank(w)).collect();
        let sums = ctx.reduce(ReduceOp::Sum, w, &axes, false)?;
        let less = ctx.binary_scalar(BinaryOp::Mul, sums, -zero)?;
        return add_bias(ctx, y, less);
    }
    // In general in i32, where zero points can be subtracted.
    let mut x = ctx.convert(x, DType::I32)?;
    if let Some(zero) = x_zero {
        let zero = ctx.convert(zero, DType::I32)?;
        let zero = ctx.reshape(zero, &[])?;
        x = ctx.sub(x, zero)?;
    }
    let mut w = ctx.convert(w, DType::I32)?;
    if let Some(zero) = w_zero {
        let zero = ctx.convert(zero, DType::I32)?;
        let zero = if ctx.ty(zero).count().is_const(1) {
            ctx.reshape(zero, &[])?
        } else {
            let shape = ctx.shape(w);
            ctx.broadcast_axis(zero, &shape, 0)?
        };
        w = ctx.sub(w, zero)?;
    }
    let x = ctx.with_borders(x, borders, &mut window, true, 0.0)?;
    let w = filters_last(ctx, w)?;
    ctx.one(Op::Conv { window, groups, out: DType::I32 }, &[x, w])
}

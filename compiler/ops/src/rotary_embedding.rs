//! RotaryEmbedding (<https://onnx.ai/onnx/operators/onnx__RotaryEmbedding.html>), opsets 23 on, and ONNX Runtime's of that
//! name (<https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md>).

use crate::context::Context;
use crate::error::{Result, invalid, unfit, unsupported};
use nnc_ir::{DType, Dim, Op, ValueId};

/// Pairs of elements of each head turned by an angle that depends on the position.
pub fn rotary_embedding(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let (x, mut cos, mut sin) = (ctx.input(0)?, ctx.input(1)?, ctx.input(2)?);
    let positions = ctx.optional_input(3)?;
    let heads = ctx.int("num_heads", 0)?;
    let (apart, head_axis) = heads_apart(ctx, x, |_, hidden| {
        hidden.div_exact(&Dim::from(heads)).filter(|_| heads > 0).map(|size| (Dim::from(heads), size))
    })?;
    if let Some(positions) = positions {
        (cos, sin) = (at(ctx, cos, positions)?, at(ctx, sin, positions)?);
    }
    let turned = match ctx.int("rotary_embedding_dim", 0)? {
        0 => ctx.dim(apart, 3),
        n => Dim::from(n),
    };
    let interleaved = ctx.flag("interleaved", false)?;
    let y = turn(ctx, apart, [cos, sin], head_axis, (turned, interleaved))?;
    Ok(vec![ctx.reshape(y, &ctx.shape(x))?])
}

/// The same with the positions second: one for each element, or one from which they are counted.
pub fn rotary_embedding_by_position(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let (x, mut positions, cos, sin) = (ctx.input(0)?, ctx.input(1)?, ctx.input(2)?, ctx.input(3)?);
    // It says how inputs may be stored in place, and scales nothing.
    ctx.no_effect("is_packed_batching");
    if ctx.float("scale", 1.0)? != 1.0 {
        return Err(unsupported("scale is not 1, which ONNX Runtime ignores; remove the attribute"));
    }
    ctx.require_rank(cos, 2, "the cosines")?;
    let turned = ctx.dim(cos, 1) * Dim::from(2);
    let (heads, part) = (ctx.int("num_heads", 0)?, ctx.int("rotary_embedding_dim", 0)?);
    if part > 0 && heads <= 0 && ctx.rank(x) == 3 {
        return Err(invalid("rotary_embedding_dim needs num_heads"));
    }
    let (apart, head_axis) = heads_apart(ctx, x, |_, hidden| {
        if heads > 0 {
            return Some((Dim::from(heads), hidden.div_exact(&Dim::from(heads))?));
        }
        // Heads are turned as a whole.
        Some((hidden.div_exact(&turned)?, turned.clone()))
    })?;
    if ctx.rank(positions) == 1 {
        let steps = ctx.dim(apart, 3 - head_axis);
        let index = ctx.iota(DType::I64, &[Dim::ONE, steps], 1)?;
        positions = ctx.add(index, positions)?;
    }
    let (cos, sin) = (at(ctx, cos, positions)?, at(ctx, sin, positions)?);
    let interleaved = ctx.flag("interleaved", false)?;
    let y = turn(ctx, apart, [cos, sin], head_axis, (turned, interleaved))?;
    Ok(vec![ctx.reshape(y, &ctx.shape(x))?])
}

/// The input with its heads as an axis before or behind that of the positions, and which axis that is. `split` says how
/// many heads of what size the last axis of `[B, S, H * D]` has.
fn heads_apart(
    ctx: &mut Context,
    x: ValueId,
    split: impl FnOnce(&Context, &Dim) -> Option<(Dim, Dim)>,
) -> Result<(ValueId, usize)> {
    let shape = ctx.shape(x);
    match shape.as_slice() {
        [_, _, _, _] => Ok((x, 1)),
        [batch, steps, hidden] => {
            let uneven = || unfit([hidden], format_args!("num_heads does not divide {}", ctx.show(x)));
            let (heads, size) = split(ctx, hidden).ok_or_else(uneven)?;
            Ok((ctx.reshape(x, &[batch.clone(), steps.clone(), heads, size])?, 2))
        }
        _ => Err(invalid(format!("the input is {}, it must have three or four axes", ctx.show(x)))),
    }
}

/// The rows of a table of cosines or sines for these positions.
pub(crate) fn at(ctx: &mut Context, table: ValueId, positions: ValueId) -> Result<ValueId> {
    let index = ctx.normalize_index(positions, &ctx.dim(table, 0))?;
    ctx.gather(table, index)
}

/// The first `turned` elements of each head of `x` turned by angles of which `angles` are cosines and sines, `[B, S, n]`; the
/// two numbers of a pair lie side by side (`interleaved`), or half of them apart. The heads are axis `head_axis` of four.
pub(crate) fn turn(
    ctx: &mut Context,
    x: ValueId,
    [cos, sin]: [ValueId; 2],
    head_axis: usize,
    (turned, interleaved): (Dim, bool),
) -> Result<ValueId> {
    ctx.require_rank(cos, 3, "the cosines of the positions")?;
    ctx.require_rank(sin, 3, "the sines of the positions")?;
    let cos = ctx.unsqueeze(cos, &[head_axis])?;
    let sin = ctx.unsqueeze(sin, &[head_axis])?;
    let shape = ctx.shape(x);
    let half = turned.div_exact(&Dim::from(2)).ok_or_else(|| unsupported("the rotated size must be even"))?;
    let (first, second) = if interleaved {
        (strided(ctx, x, Dim::ZERO, &half)?, strided(ctx, x, Dim::ONE, &half)?)
    } else {
        let first = ctx.slice_axis(x, 3, Dim::ZERO, half.clone())?;
        (first, ctx.slice_axis(x, 3, half.clone(), half.clone())?)
    };
    let real = [ctx.mul(cos, first)?, ctx.mul(sin, second)?];
    let imaginary = [ctx.mul(sin, first)?, ctx.mul(cos, second)?];
    let real = ctx.sub(real[0], real[1])?;
    let imaginary = ctx.add(imaginary[0], imaginary[1])?;
    let mut y = if interleaved {
        let pair = [ctx.unsqueeze(real, &[4])?, ctx.unsqueeze(imaginary, &[4])?];
        let pairs = ctx.concat(&pair, 4)?;
        let mut whole = shape.clone();
        whole[3] = turned.clone();
        ctx.reshape(pairs, &whole)?
    } else {
        ctx.concat(&[real, imaginary], 3)?
    };
    let rest = (&shape[3] - &turned).simplify(ctx.dims());
    if !rest.is_const(0) {
        let kept = ctx.slice_axis(x, 3, turned, rest)?;
        y = ctx.concat(&[y, kept], 3)?;
    }
    Ok(y)
}

/// Every second element of the last axis.
fn strided(ctx: &mut Context, x: ValueId, start: Dim, count: &Dim) -> Result<ValueId> {
    let mut sizes = ctx.shape(x);
    sizes[3] = count.clone();
    let starts = vec![Dim::ZERO, Dim::ZERO, Dim::ZERO, start];
    ctx.one(Op::Slice { starts, sizes, steps: vec![1, 1, 1, 2] }, &[x])
}

//! RotaryEmbedding (<https://onnx.ai/onnx/operators/onnx__RotaryEmbedding.html>), opsets 23 on.

use crate::context::Context;
use crate::error::{Result, invalid, unfit, unsupported};
use nnc_ir::{Dim, Op, ValueId};

/// Pairs of elements of each head turned by an angle that depends on the position.
pub fn rotary_embedding(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let (x, mut cos, mut sin) = (ctx.input(0)?, ctx.input(1)?, ctx.input(2)?);
    let shape = ctx.shape(x);
    let heads = ctx.int("num_heads", 0)?;
    // The heads are an axis before or after that of the positions.
    let (split, head_axis) = match shape.as_slice() {
        [_, _, _, _] => (shape.clone(), 1),
        [batch, steps, hidden] => {
            let size = hidden.div_exact(&Dim::from(heads)).filter(|_| heads > 0);
            let size =
                size.ok_or_else(|| unfit([hidden], format_args!("num_heads {heads} does not divide {}", ctx.show(x))))?;
            (vec![batch.clone(), steps.clone(), Dim::from(heads), size], 2)
        }
        _ => return Err(invalid(format!("the input is {}, it must have three or four axes", ctx.show(x)))),
    };
    let heads_apart = ctx.reshape(x, &split)?;
    if let Some(positions) = ctx.optional_input(3)? {
        for cache in [&mut cos, &mut sin] {
            let index = ctx.normalize_index(positions, &ctx.dim(*cache, 0))?;
            *cache = ctx.one(Op::Gather { axis: 0, batch: 0 }, &[*cache, index])?;
        }
    }
    ctx.require_rank(cos, 3, "the cosines of the positions")?;
    ctx.require_rank(sin, 3, "the sines of the positions")?;
    let cos = ctx.unsqueeze(cos, &[head_axis])?;
    let sin = ctx.unsqueeze(sin, &[head_axis])?;

    let size = split[3].clone();
    let turned = match ctx.int("rotary_embedding_dim", 0)? {
        0 => size.clone(),
        n => Dim::from(n),
    };
    let half = turned.div_exact(&Dim::from(2)).ok_or_else(|| unsupported("the rotated size must be even"))?;
    let interleaved = ctx.flag("interleaved", false)?;
    let (first, second) = if interleaved {
        (strided(ctx, heads_apart, Dim::ZERO, &half)?, strided(ctx, heads_apart, Dim::ONE, &half)?)
    } else {
        let first = ctx.slice_axis(heads_apart, 3, Dim::ZERO, half.clone())?;
        (first, ctx.slice_axis(heads_apart, 3, half.clone(), half.clone())?)
    };
    let real = [ctx.mul(cos, first)?, ctx.mul(sin, second)?];
    let imaginary = [ctx.mul(sin, first)?, ctx.mul(cos, second)?];
    let real = ctx.sub(real[0], real[1])?;
    let imaginary = ctx.add(imaginary[0], imaginary[1])?;
    let mut y = if interleaved {
        let pair = [ctx.unsqueeze(real, &[4])?, ctx.unsqueeze(imaginary, &[4])?];
        let pairs = ctx.concat(&pair, 4)?;
        let mut whole = split.clone();
        whole[3] = turned.clone();
        ctx.reshape(pairs, &whole)?
    } else {
        ctx.concat(&[real, imaginary], 3)?
    };
    let rest = (&size - &turned).simplify(ctx.dims());
    if !rest.is_const(0) {
        let kept = ctx.slice_axis(heads_apart, 3, turned, rest)?;
        y = ctx.concat(&[y, kept], 3)?;
    }
    Ok(vec![ctx.reshape(y, &shape)?])
}

/// Every second element of the last axis.
fn strided(ctx: &mut Context, x: ValueId, start: Dim, count: &Dim) -> Result<ValueId> {
    let mut sizes = ctx.shape(x);
    sizes[3] = count.clone();
    let starts = vec![Dim::ZERO, Dim::ZERO, Dim::ZERO, start];
    ctx.one(Op::Slice { starts, sizes, steps: vec![1, 1, 1, 2] }, &[x])
}

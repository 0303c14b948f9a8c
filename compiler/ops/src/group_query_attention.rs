//! GroupQueryAttention (<https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md>): attention with
//! heads that share keys, rotary embedding, and a cache of keys and values.
//!
//! The cache is as long as that of the past, or as the longest sequence where that is more; in each sequence the new keys
//! lie behind those that it has (`seqlens_k` says how many it has then, less one).

use crate::attention::{Mask, Scoring, attend, merge_heads, scale, split_heads};
use crate::context::Context;
use crate::error::{Result, invalid, unfit, unsupported};
use crate::norm::{affine, by_root_mean_square};
use crate::rotary_embedding::{at, turn};
use crate::tensor_scatter::written;
use nnc_ir::op::{BinaryOp, PadMode};
use nnc_ir::{DType, Dim, ValueId};

/// Outputs the result, the keys, the values, and the scores before or after softmax.
pub fn group_query_attention(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let [heads, key_heads] = [heads(ctx, "num_heads")?, heads(ctx, "kv_num_heads")?];
    plain_cache(ctx)?;
    let [q, k, v] = operands(ctx, [heads, key_heads])?;
    let (q, k) = normalised(ctx, q, k)?;
    let (batch, steps) = (ctx.dim(q, 0), ctx.dim(q, 2));
    let lengths = ctx.input(5)?;
    let lengths = ctx.convert(lengths, DType::I64)?;
    let lengths = ctx.reshape(lengths, &[batch])?;
    // A prompt shorter than others starts at 0 like those.
    let count = ctx.dim_scalar(steps.clone())?;
    let before = ctx.sub(lengths, count)?;
    let before = ctx.binary_scalar(BinaryOp::Add, before, 1.0)?;
    let before = ctx.binary_scalar(BinaryOp::Max, before, 0.0)?;
    let first = ctx.unsqueeze(before, &[1])?;
    let index = ctx.iota(DType::I64, &[Dim::ONE, steps.clone()], 1)?;
    let places = ctx.add(first, index)?;
    let total = longest(ctx, &steps)?;
    let turns = positions(ctx, places, &total)?;
    let (q, k) = turned(ctx, q, k, turns)?;
    let [keys, values] = cache(ctx, [k, v], before, &total)?;
    let total = ctx.dim(keys, 2);

    let mut mask = Mask::default();
    let place = ctx.unsqueeze(places, &[1, 3])?;
    let causal = ctx.flag("causal", true)?;
    // A window counts the query itself.
    let window = ctx.int("local_window_size", -1)?;
    let left = if window > 0 { window - 1 } else { -1 };
    mask.near(ctx, place, &total, causal, [left, -1])?;
    if !causal {
        let end = ctx.unsqueeze(lengths, &[1, 2, 3])?;
        let end = ctx.binary_scalar(BinaryOp::Add, end, 1.0)?;
        mask.before(ctx, end, &total)?;
    }
    if let Some(bias) = ctx.optional_input(10)? {
        // There may be more room for keys than there are.
        let missing = (&total - ctx.dim(bias, 3)).simplify(ctx.dims());
        let high = vec![Dim::ZERO, Dim::ZERO, Dim::ZERO, missing];
        let bias = ctx.pad(bias, vec![Dim::ZERO; 4], high, PadMode::Constant, 0.0)?;
        mask.add(ctx, bias)?;
    }
    let sink = match ctx.optional_input(11)? {
        Some(sink) => Some(ctx.reshape(sink, &[Dim::ONE, Dim::from(heads), Dim::ONE, Dim::ONE])?),
        None if ctx.flag("smooth_softmax", false)? => Some(ctx.scalar(DType::F32, 0.0)),
        None => None,
    };
    ctx.no_effect("smooth_softmax");
    let cap = ctx.float("softcap", 0.0)?.into();
    let how = Scoring { scale: scale(ctx, q, true)?, cap, precision: None, sink };
    let attended = attend(ctx, [q, keys, values], &how, &mask)?;
    let shown = if ctx.int("qk_output", 0)? == 2 { attended.stages[3] } else { attended.stages[2] };
    let y = merge_heads(ctx, attended.y)?;
    Ok(vec![y, keys, values, shown])
}

fn heads(ctx: &mut Context, name: &str) -> Result<i64> {
    ctx.optional_int(name)?.filter(|&n| n > 0).ok_or_else(|| invalid(format!("{name} is missing")))
}

/// An error where the cache is quantised or keeps a part of the sequence alone.
fn plain_cache(ctx: &mut Context) -> Result<()> {
    let kinds = [ctx.string("k_quant_type", "NONE")?, ctx.string("v_quant_type", "NONE")?];
    ctx.no_effect("kv_cache_bit_width");
    if kinds.iter().any(|kind| kind != "NONE") || ctx.has_input(12) || ctx.has_input(13) {
        return Err(unsupported("a quantised cache is not supported; export with one of floats"));
    }
    if ctx.flag("sliding_window_cache", false)? {
        return Err(unsupported("sliding_window_cache is not supported; export with a cache of whole sequences"));
    }
    Ok(())
}

/// Queries, keys and values as `[B, H, S, D]`, given as three tensors or side by side.
fn operands(ctx: &mut Context, [heads, key_heads]: [i64; 2]) -> Result<[ValueId; 3]> {
    let q = ctx.input(0)?;
    let (q, k, v) = match (ctx.optional_input(1)?, ctx.optional_input(2)?) {
        (Some(k), Some(v)) => (q, k, v),
        (None, None) => {
            ctx.require_rank(q, 3, "the query")?;
            let width = ctx.dim(q, 2);
            let count = key_heads.checked_mul(2).and_then(|n| n.checked_add(heads));
            let size = count.and_then(|count| width.div_exact(&Dim::from(count)));
            let size =
                size.ok_or_else(|| unfit([&width], "the query does not split into its heads and those of keys"))?;
            let (own, shared) = (&size * Dim::from(heads), &size * Dim::from(key_heads));
            let after_keys = &own + &shared;
            (
                ctx.slice_axis(q, 2, Dim::ZERO, own.clone())?,
                ctx.slice_axis(q, 2, own, shared.clone())?,
                ctx.slice_axis(q, 2, after_keys, shared)?,
            )
        }
        _ => return Err(invalid("the key or the value is missing")),
    };
    Ok([split_heads(ctx, q, heads)?, split_heads(ctx, k, key_heads)?, split_heads(ctx, v, key_heads)?])
}

/// Queries and keys over the root of the mean square of each head, where there are weights for that.
fn normalised(ctx: &mut Context, q: ValueId, k: ValueId) -> Result<(ValueId, ValueId)> {
    let epsilon = ctx.float("qk_norm_epsilon", 1e-6)?;
    let mut norm = |x: ValueId, index: usize| match ctx.optional_input(index)? {
        None => Ok(x),
        Some(weight) => {
            let wide = ctx.convert(x, DType::F32)?;
            let (y, _) = by_root_mean_square(ctx, wide, &[3], epsilon.into())?;
            let y = affine(ctx, y, Some(weight), None)?;
            ctx.convert(y, ctx.dtype(x))
        }
    };
    Ok((norm(q, 14)?, norm(k, 15)?))
}

/// How many keys the longest sequence has.
fn longest(ctx: &mut Context, steps: &Dim) -> Result<Dim> {
    let total = ctx.input(6)?;
    let total = ctx.convert(total, DType::I64)?;
    let most = match ctx.optional_input(3)? {
        Some(past) => ctx.dim(past, 2) + steps,
        None => steps.clone(),
    };
    ctx.bind_dim(total, None, Some(most))
}

/// By what positions elements are turned: by their places, or as an input says; in a prompt that is from its first element
/// on, for all sequences.
fn positions(ctx: &mut Context, places: ValueId, total: &Dim) -> Result<ValueId> {
    let Some(given) = ctx.optional_input(9)? else { return Ok(places) };
    ctx.require_rank(given, 2, "position_ids")?;
    let steps = ctx.dim(places, 1);
    let prompt = steps.eq01(total).simplify(ctx.dims());
    if prompt.is_const(0) {
        return Ok(given);
    }
    let first = ctx.slice_axis(given, 0, Dim::ZERO, Dim::ONE)?;
    let first = ctx.slice_axis(first, 1, Dim::ZERO, Dim::ONE)?;
    let index = ctx.iota(DType::I64, &[Dim::ONE, steps], 1)?;
    let counted = ctx.add(index, first)?;
    let prompt = ctx.dim_scalar(prompt)?;
    let prompt = ctx.binary_scalar(BinaryOp::Ne, prompt, 0.0)?;
    ctx.select(prompt, counted, given)
}

/// Queries and keys turned by the angles of positions, `[B, S]`, if asked for.
fn turned(ctx: &mut Context, q: ValueId, k: ValueId, positions: ValueId) -> Result<(ValueId, ValueId)> {
    let interleaved = ctx.flag("rotary_interleaved", false)?;
    if !ctx.flag("do_rotary", false)? {
        return Ok((q, k));
    }
    let (cos, sin) = (ctx.input(7)?, ctx.input(8)?);
    let size = ctx.dim(cos, 1) * Dim::from(2);
    let angles = [at(ctx, cos, positions)?, at(ctx, sin, positions)?];
    let q = turn(ctx, q, angles, 1, (size.clone(), interleaved))?;
    Ok((q, turn(ctx, k, angles, 1, (size, interleaved))?))
}

/// Keys and values with those of the past, written behind the ones that each sequence has `before`.
fn cache(ctx: &mut Context, now: [ValueId; 2], before: ValueId, total: &Dim) -> Result<[ValueId; 2]> {
    let past = match (ctx.optional_input(3)?, ctx.optional_input(4)?) {
        (Some(keys), Some(values)) => Some([keys, values]),
        _ => None,
    };
    let mut results = now;
    for (i, result) in results.iter_mut().enumerate() {
        let old = past.map_or(now[i], |past| past[i]);
        ctx.require_rank(old, 4, "a cache")?;
        let length = ctx.dim(old, 2);
        let room = Dim::max(&length, total);
        let mut high = vec![Dim::ZERO; 4];
        high[2] = (room - length).simplify(ctx.dims());
        let wider = ctx.pad(old, vec![Dim::ZERO; 4], high, PadMode::Constant, 0.0)?;
        *result = if past.is_some() { written(ctx, wider, now[i], 2, Some(before), false)? } else { wider };
    }
    Ok(results)
}

#[cfg(test)]
mod tests {
    use crate::testing::sketch;
    use nnc_onnx::ElemType::{Float, Int32};

    /// One head of size 1; a cache of three, of which the sequence has two.
    #[test]
    fn steps_behind_the_past() {
        let x = sketch().given("q", &[1, 1, 1], &[0.0f32]).given("k", &[1, 1, 1], &[7.0f32]);
        let x = x.given("p", &[1, 1, 3, 1], &[1.0f32, 2.0, 3.0]).given("n", &[1], &[2i32]).given("t", &[], &[3i32]);
        let node = |signature: &str, window: i64, output: &str| {
            let node = x.clone().node("GroupQueryAttention", signature).domain("com.microsoft");
            let node = node.int("num_heads", 1).int("kv_num_heads", 1).int("local_window_size", window);
            node.output(output).run()
        };
        assert_eq!(node("q k k p p n t -> y z", -1, "z"), "f32[1, 1, 3, 1] 1 2 7");
        assert_eq!(node("q k k p p n t -> y z", -1, "y"), "f32[1, 1, 1] 3.3333");
        assert_eq!(node("q k k p p n t -> y z", 2, "y"), "f32[1, 1, 1] 4.5");
        assert!(node("q k k p p n t _ _ _ _ _ q -> y", -1, "y").contains("a quantised cache"));
    }

    #[test]
    fn shapes() {
        let x = sketch().input("q", Float, "b s 8").input("p", Float, "b 1 c 2").input("n", Int32, "b");
        let x = x.input("m", Float, "b t").node("Shape", "m -> d").ints("one", &[], &[1]);
        let x = x.node("Gather", "d one -> t").node("Cast", "t -> u").int("to", 6);
        let node = |output: &str| {
            let node = x.clone().node("GroupQueryAttention", "q _ _ p p n u -> y z").domain("com.microsoft");
            node.int("num_heads", 2).int("kv_num_heads", 1).output(output).result_type()
        };
        assert_eq!(node("y"), "f32[b, s, 4]");
        assert_eq!(node("z"), "f32[b, 1, max(c, t), 2]");
    }
}

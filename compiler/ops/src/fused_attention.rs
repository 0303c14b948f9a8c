//! Attention that ONNX Runtime's optimiser fuses with what is around it: Attention, QAttention, MultiHeadAttention and
//! DecoderMaskedMultiHeadAttention
//! (<https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md>).
//!
//! Masks of integers add a number to the scores, so that a query that may attend to nothing attends to everything alike.

use crate::attention::{Mask, Scoring, after, attend, merge_heads, scale, split_heads};
use crate::context::Context;
use crate::error::{Result, invalid, unfit, unsupported};
use crate::integer_matmul::scaled_product;
use crate::matmul::matmul_of;
use crate::tensor_scatter::written;
use nnc_ir::op::BinaryOp;
use nnc_ir::{DType, Dim, Op, ValueId};

/// Projects the input to queries, keys and values, of which the last two come after those of the past: outputs the
/// result and keys and values as one tensor.
pub fn attention(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let (x, weights, bias) = (ctx.input(0)?, ctx.input(1)?, ctx.optional_input(2)?);
    let out = ctx.dtype(x);
    let projected = matmul_of(ctx, x, weights, out)?;
    let operands = Projected { projected, bias, mask: 3, past: 4, score_bias: Some(5) };
    if ctx.has_input(6) {
        return Err(in_place());
    }
    self_attention(ctx, &operands)
}

/// The same of a quantised input and quantised weights.
pub fn q_attention(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let (x, weights, bias) = (ctx.input(0)?, ctx.input(1)?, ctx.input(2)?);
    let (x_scale, weights_scale) = (ctx.input(3)?, ctx.input(4)?);
    let (x_zero, weights_zero) = (ctx.optional_input(6)?, ctx.optional_input(7)?);
    let projected = scaled_product(ctx, (x, x_scale, x_zero), (weights, weights_scale, weights_zero))?;
    let operands = Projected { projected, bias: Some(bias), mask: 5, past: 8, score_bias: None };
    self_attention(ctx, &operands)
}

/// Queries, keys and values side by side, and which inputs the others are.
struct Projected {
    projected: ValueId,
    bias: Option<ValueId>,
    mask: usize,
    past: usize,
    score_bias: Option<usize>,
}

fn in_place() -> crate::error::Error {
    unsupported("past and present in one buffer are not supported; export them as tensors of their own")
}

fn self_attention(ctx: &mut Context, operands: &Projected) -> Result<Vec<ValueId>> {
    let mut projected = operands.projected;
    ctx.require_rank(projected, 3, "the input")?;
    if let Some(bias) = operands.bias {
        projected = ctx.add(projected, bias)?;
    }
    let heads = head_count(ctx)?;
    if ctx.flag("do_rotary", false)? {
        return Err(unsupported("do_rotary is not supported; export RotaryEmbedding as its own node"));
    }
    ctx.no_effect("rotary_embedding_dim");
    if ctx.flag("past_present_share_buffer", false)? {
        return Err(in_place());
    }
    let width = ctx.dim(projected, 2);
    let sizes: Vec<Dim> = match ctx.ints("qkv_hidden_sizes")? {
        Some(&[q, k, v]) => [q, k, v].into_iter().map(Dim::from).collect(),
        Some(_) => return Err(invalid("qkv_hidden_sizes must have three elements")),
        None => {
            let third = width.div_exact(&Dim::from(3));
            let uneven = || unfit([&width], "the weights do not split into those of queries, keys and values");
            vec![third.ok_or_else(uneven)?; 3]
        }
    };
    let mut parts = vec![];
    let mut start = Dim::ZERO;
    for size in sizes {
        let part = ctx.slice_axis(projected, 2, start.clone(), size.clone())?;
        parts.push(split_heads(ctx, part, heads)?);
        start = &start + &size;
    }
    let &[q, mut k, mut v] = &parts[..] else { return Ok(vec![]) };
    let mut past = Dim::ZERO;
    if let Some(both) = ctx.optional_input(operands.past)? {
        ctx.require_rank(both, 5, "past")?;
        past = ctx.dim(both, 3);
        k = with_past(ctx, both, 0, k)?;
        v = with_past(ctx, both, 1, v)?;
    }
    let score_bias = operands.score_bias.map_or(Ok(None), |index| ctx.optional_input(index))?;
    let mask = ctx.optional_input(operands.mask)?;
    let seen = Seen { mask, score_bias, past, causal: ctx.flag("unidirectional", false)? };
    let y = attended(ctx, [q, k, v], seen)?.0;
    let mut results = vec![y];
    if ctx.wants_output(1) {
        let pair = [ctx.unsqueeze(k, &[0])?, ctx.unsqueeze(v, &[0])?];
        results.push(ctx.concat(&pair, 0)?);
    }
    Ok(results)
}

fn head_count(ctx: &mut Context) -> Result<i64> {
    ctx.optional_int("num_heads")?.filter(|&n| n > 0).ok_or_else(|| invalid("num_heads is missing"))
}

/// The keys (0) or values (1) of the past and those behind them.
fn with_past(ctx: &mut Context, both: ValueId, which: usize, now: ValueId) -> Result<ValueId> {
    let part = ctx.slice_axis(both, 0, Dim::from(which), Dim::ONE)?;
    let part = ctx.squeeze(part, &[0])?;
    ctx.concat(&[part, now], 2)
}

/// What restricts the keys that a query sees.
struct Seen {
    /// Integers, see [`filter`].
    mask: Option<ValueId>,
    score_bias: Option<ValueId>,
    /// How many keys come before the first query's.
    past: Dim,
    causal: bool,
}

/// The result `[B, S, H * D]`, and the scores before softmax.
fn attended(ctx: &mut Context, operands: [ValueId; 3], seen: Seen) -> Result<(ValueId, ValueId)> {
    let [q, k, _] = operands;
    let (queries, keys) = (ctx.dim(q, 2), ctx.dim(k, 2));
    let mut mask = Mask::default();
    let value = ctx.float("mask_filter_value", -10000.0)?;
    if let Some(given) = seen.mask {
        let bias = filter(ctx, given, [&ctx.dim(q, 0), &queries, &keys], (&seen.past, value))?;
        mask.add(ctx, bias)?;
    }
    if let Some(bias) = seen.score_bias {
        mask.add(ctx, bias)?;
    }
    if seen.causal {
        let place = ctx.iota(DType::I64, &[queries, Dim::ONE], 0)?;
        let place = after(ctx, place, seen.past)?;
        mask.near(ctx, place, &keys, true, [-1; 2])?;
    }
    let how = Scoring::scaled(scale(ctx, q, true)?);
    let attended = attend(ctx, operands, &how, &mask)?;
    Ok((merge_heads(ctx, attended.y)?, attended.stages[2]))
}

/// What a mask of integers adds to the scores: 0 or `value`. It has a number for each key (0: not to be seen), for each pair
/// of query and key, or says for each sequence where its keys end and, behind all of those, where they start.
fn filter(
    ctx: &mut Context,
    mask: ValueId,
    [batch, queries, keys]: [&Dim; 3],
    (past, value): (&Dim, f32),
) -> Result<ValueId> {
    let shape = ctx.shape(mask);
    let seen = match shape.as_slice() {
        [count] => {
            let places = ctx.convert(mask, DType::I64)?;
            let key = ctx.iota(DType::I64, std::slice::from_ref(keys), 0)?;
            let bound = |ctx: &mut Context, start: Dim, op| {
                let part = ctx.slice_axis(places, 0, start, batch.clone())?;
                let part = ctx.unsqueeze(part, &[1, 2, 3])?;
                ctx.binary(op, key, part)
            };
            let ends = bound(ctx, Dim::ZERO, BinaryOp::Lt)?;
            if *count == batch * Dim::from(2) {
                let starts = bound(ctx, batch.clone(), BinaryOp::Ge)?;
                ctx.binary(BinaryOp::And, ends, starts)?
            } else {
                ends
            }
        }
        [_, _] => {
            let seen = ctx.binary_scalar(BinaryOp::Gt, mask, 0.0)?;
            ctx.unsqueeze(seen, &[1, 2])?
        }
        [_, _, _] => {
            let seen = ctx.binary_scalar(BinaryOp::Gt, mask, 0.0)?;
            ctx.unsqueeze(seen, &[1])?
        }
        [_, _, _, _] => {
            // For the longest sequence there may be: the rows of these queries.
            let rows = ctx.slice_axis(mask, 2, past.clone(), queries.clone())?;
            let part = ctx.slice_axis(rows, 3, Dim::ZERO, keys.clone())?;
            ctx.binary_scalar(BinaryOp::Gt, part, 0.0)?
        }
        _ => return Err(invalid(format!("the mask is {}, it must have one to four axes", ctx.show(mask)))),
    };
    let (zero, value) = (ctx.scalar(DType::F32, 0.0), ctx.scalar(DType::F32, value.into()));
    ctx.select(seen, zero, value)
}

/// Outputs the result, the keys, the values, and the scores.
pub fn multi_head_attention(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let heads = head_count(ctx)?;
    let [q, k, v] = operands(ctx, heads, 3)?;
    if ctx.has_input(8) || ctx.has_input(9) {
        return Err(in_place());
    }
    let (mut keys, mut values, mut past) = (k, v, Dim::ZERO);
    if let (Some(past_keys), Some(past_values)) = (ctx.optional_input(6)?, ctx.optional_input(7)?) {
        past = ctx.dim(past_keys, 2);
        keys = ctx.concat(&[past_keys, k], 2)?;
        values = ctx.concat(&[past_values, v], 2)?;
    }
    let (mask, score_bias) = (ctx.optional_input(4)?, ctx.optional_input(5)?);
    let seen = Seen { mask, score_bias, past, causal: ctx.flag("unidirectional", false)? };
    let (y, scores) = attended(ctx, [q, keys, values], seen)?;
    Ok(vec![y, keys, values, scores])
}

/// The same for one query of each sequence, whose key and value are written into a buffer of those of the past.
pub fn decoder_masked_multi_head_attention(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let heads = head_count(ctx)?;
    let [q, k, v] = operands(ctx, heads, 10)?;
    let shared = ctx.flag("past_present_share_buffer", false)?;
    // Whether the scores are wanted, which the outputs say.
    ctx.no_effect("output_qk");
    if ctx.has_input(9) {
        return Err(unsupported("cache_indirection is not supported; export the model without beam search"));
    }
    let (mut keys, mut values) = (k, v);
    let mut mask = Mask::default();
    let (past_keys, past_values) = (ctx.optional_input(5)?, ctx.optional_input(6)?);
    let mut total = ctx.dim(k, 2);
    if let (Some(past_keys), Some(past_values)) = (past_keys, past_values) {
        if shared {
            let length = ctx.input(7)?;
            let length = ctx.reshape(length, &[Dim::ONE])?;
            let length = ctx.convert(length, DType::I64)?;
            let batch = ctx.dim(q, 0);
            let start = ctx.broadcast_to(length, &[batch])?;
            keys = written(ctx, past_keys, k, 2, Some(start), false)?;
            values = written(ctx, past_values, v, 2, Some(start), false)?;
            mask.near(ctx, length, &ctx.dim(keys, 2), true, [-1; 2])?;
        } else {
            keys = ctx.concat(&[past_keys, k], 2)?;
            values = ctx.concat(&[past_values, v], 2)?;
        }
        total = ctx.dim(keys, 2);
    }
    let filter_value = ctx.float("mask_filter_value", -10000.0)?;
    let batch = ctx.dim(q, 0);
    if let Some(given) = ctx.optional_input(3)? {
        let bias = filter(ctx, given, [&batch, &Dim::ONE, &total], (&Dim::ZERO, filter_value))?;
        mask.add(ctx, bias)?;
    }
    if let Some(bias) = ctx.optional_input(4)? {
        mask.add(ctx, bias)?;
    }
    let how = Scoring::scaled(scale(ctx, q, true)?);
    let attended = attend(ctx, [q, keys, values], &how, &mask)?;
    let y = merge_heads(ctx, attended.y)?;
    Ok(vec![y, keys, values, attended.stages[2]])
}

/// Queries, keys and values as `[B, H, S, D]`, with the bias, which is input `bias`: each its own tensor, or keys and values
/// or all three in one. Keys and values that have four axes already are those of a past that this node does not extend.
fn operands(ctx: &mut Context, heads: i64, bias: usize) -> Result<[ValueId; 3]> {
    let (q, k, v) = (ctx.input(0)?, ctx.optional_input(1)?, ctx.optional_input(2)?);
    let parts = match (k, v) {
        (None, None) if ctx.rank(q) == 5 => [packed(ctx, q, 0)?, packed(ctx, q, 1)?, packed(ctx, q, 2)?],
        (None, None) => {
            // Side by side.
            ctx.require_rank(q, 3, "the query")?;
            let third = ctx.dim(q, 2).div_exact(&Dim::from(3));
            let third = third.ok_or_else(|| unfit([&ctx.dim(q, 2)], "the query does not split into three"))?;
            let mut part = |i: i64| ctx.slice_axis(q, 2, &third * Dim::from(i), third.clone());
            [part(0)?, part(1)?, part(2)?]
        }
        (Some(k), None) if ctx.rank(k) == 5 => [q, packed(ctx, k, 0)?, packed(ctx, k, 1)?],
        (Some(k), Some(v)) => [q, k, v],
        _ => return Err(invalid("the key or the value is missing")),
    };
    let bias = ctx.optional_input(bias)?;
    let mut start = Dim::ZERO;
    let mut found = [q; 3];
    for (part, found) in parts.into_iter().zip(&mut found) {
        if ctx.rank(part) == 4 {
            *found = part;
            continue;
        }
        let mut part = part;
        let width = ctx.dim(part, 2);
        if let Some(bias) = bias {
            let bias = ctx.slice_axis(bias, 0, start.clone(), width.clone())?;
            part = ctx.add(part, bias)?;
        }
        start = &start + &width;
        *found = split_heads(ctx, part, heads)?;
    }
    Ok(found)
}

/// The tensor at `index` of those packed in `[B, S, H, n, D]`, as `[B, S, H * D]`.
fn packed(ctx: &mut Context, x: ValueId, index: usize) -> Result<ValueId> {
    let part = ctx.slice_axis(x, 3, Dim::from(index), Dim::ONE)?;
    let shape = ctx.shape(part);
    let [batch, steps, heads, _, size] = shape.as_slice() else {
        return Err(invalid(format!("{} has not the five axes of packed operands", ctx.show(x))));
    };
    ctx.one(Op::Reshape { shape: vec![batch.clone(), steps.clone(), heads * size] }, &[part])
}

#[cfg(test)]
mod tests {
    use crate::testing::{Sketch, sketch};

    /// One head of size 1 over two steps; keys 0 and ln 3, values 1 and 5.
    fn operands() -> Sketch {
        let x = sketch().given("q", &[1, 2, 1], &[1.0f32, 1.0]).given("k", &[1, 2, 1], &[0.0f32, 3.0f32.ln()]);
        let x = x.given("v", &[1, 2, 1], &[1.0f32, 5.0]).given("b", &[3], &[0.0f32, 0.0, 1.0]);
        let x =
            x.given("m", &[1, 2], &[1i32, 0]).given("e", &[1], &[1i32]).given("p", &[2, 1, 1, 1, 1], &[0.0f32, 9.0]);
        let packed = [1.0f32, 0.0, 1.0, 1.0, 3.0f32.ln(), 5.0];
        x.given("all", &[1, 2, 1, 3, 1], &packed).given("side", &[1, 2, 3], &packed)
    }

    #[test]
    fn masks_and_packed_operands() {
        for (signature, causal, expected) in [
            ("q k v -> y", 0, "f32[1, 2, 1] 4 4"),
            ("q k v b -> y", 0, "f32[1, 2, 1] 5 5"),
            ("q k v _ m -> y", 0, "f32[1, 2, 1] 1 1"),
            ("q k v _ e -> y", 0, "f32[1, 2, 1] 1 1"),
            ("q k v -> y", 1, "f32[1, 2, 1] 1 4"),
            ("all -> y", 0, "f32[1, 2, 1] 4 4"),
            ("all _ _ b -> y", 0, "f32[1, 2, 1] 5 5"),
            ("q k -> y", 0, "the key or the value is missing"),
        ] {
            let node = operands().node("MultiHeadAttention", signature).domain("com.microsoft").int("num_heads", 1);
            let found = node.int("unidirectional", causal).output("y").run();
            assert!(found.contains(expected), "{signature}: {found}");
        }
    }

    #[test]
    fn weights_and_past() {
        let x = operands().floats("w", &[3, 3], &[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]);
        let node = |signature: &str, output: &str| {
            let node = x.clone().node("Attention", signature).domain("com.microsoft").int("num_heads", 1);
            node.output(output).run()
        };
        assert_eq!(node("side w -> y", "y"), "f32[1, 2, 1] 4 4");
        // The key of the past is 0: weights 1/5, 1/5 and 3/5 of 9, 1 and 5.
        assert_eq!(node("side w _ _ p -> y", "y"), "f32[1, 2, 1] 5 5");
        assert_eq!(node("side w _ _ p -> y z", "z"), "f32[2, 1, 1, 3, 1] 0 0 1.0986 9 1 5");
        assert!(node("side w _ _ p _ e -> y", "y").contains("one buffer"));
    }
}

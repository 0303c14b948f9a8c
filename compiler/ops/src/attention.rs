//! Attention (<https://onnx.ai/onnx/operators/onnx__Attention.html>, opsets 23 on) and FlexAttention
//! (<https://onnx.ai/onnx/operators/onnx_aionnxpreview_FlexAttention.html>).
//!
//! Several query heads that share a key head are an axis of their own in the contractions, so keys and values are never
//! repeated. What may be attended is kept as a bool and selects scores; a mask of floats is added to them.

use crate::context::Context;
use crate::error::{Result, invalid, unfit, unsupported};
use crate::item::Item;
use crate::softmax::softmax_over;
use crate::tensors;
use nnc_ir::op::{BinaryOp, PadMode, ReduceOp, UnaryOp};
use nnc_ir::{DType, Dim, Op, ValueId};

/// `[B, S, H * D]` as `[B, H, S, D]`.
pub(crate) fn split_heads(ctx: &mut Context, x: ValueId, heads: i64) -> Result<ValueId> {
    let shape = ctx.shape(x);
    let [batch, steps, hidden] = shape.as_slice() else { return Err(invalid("Q, K and V differ in rank")) };
    let size = hidden.div_exact(&Dim::from(heads)).filter(|_| heads > 0);
    let size =
        size.ok_or_else(|| unfit([hidden], format_args!("{} does not split into {heads} heads", ctx.show(x))))?;
    let x = ctx.reshape(x, &[batch.clone(), steps.clone(), Dim::from(heads), size])?;
    ctx.transpose(x, &[0, 2, 1, 3])
}

/// `[B, H, S, D]` as `[B, S, H * D]`.
pub(crate) fn merge_heads(ctx: &mut Context, x: ValueId) -> Result<ValueId> {
    ctx.require_rank(x, 4, "a tensor of heads")?;
    let x = ctx.transpose(x, &[0, 2, 1, 3])?;
    let shape = ctx.shape(x);
    ctx.reshape(x, &[shape[0].clone(), shape[1].clone(), &shape[2] * &shape[3]])
}

/// A product of `[B, H, S, ..]` with `[B, H / n, ..]`: each head of the right operand serves n of the left one.
fn grouped(ctx: &mut Context, left: ValueId, right: ValueId, right_axis: usize) -> Result<ValueId> {
    let shape = ctx.shape(left);
    let shared = ctx.dim(right, 1);
    let out = ctx.dtype(left);
    if shape.len() != 4 || ctx.rank(right) != 4 {
        return Err(invalid("Q, K and V must have three or four axes"));
    }
    let batch = vec![(0, 0), (1, 1)];
    if shape[1] == shared {
        return ctx.one(Op::Contract { batch, contract: vec![(3, right_axis)], out }, &[left, right]);
    }
    let uneven = || unfit([&shape[1], &shared], "the query heads do not share the key heads evenly");
    let count = shape[1].div_exact(&shared).ok_or_else(uneven)?;
    let split = [shape[0].clone(), shared, count, shape[2].clone(), shape[3].clone()];
    let left = ctx.reshape(left, &split)?;
    let y = ctx.one(Op::Contract { batch, contract: vec![(4, right_axis)], out }, &[left, right])?;
    let width = ctx.dim(y, 4);
    ctx.reshape(y, &[shape[0].clone(), shape[1].clone(), shape[2].clone(), width])
}

/// `scale * Q * K^T`, with the scale applied before the sum.
fn scores(ctx: &mut Context, q: ValueId, k: ValueId, scale: f64) -> Result<ValueId> {
    let half = matches!(ctx.dtype(q), DType::F16 | DType::BF16);
    if !half {
        let q = ctx.binary_scalar(BinaryOp::Mul, q, scale)?;
        return grouped(ctx, q, k, 3);
    }
    // Half on each side, which keeps 16-bit floats in range.
    let root = scale.abs().sqrt();
    let q = ctx.binary_scalar(BinaryOp::Mul, q, root.copysign(scale))?;
    let k = ctx.binary_scalar(BinaryOp::Mul, k, root)?;
    grouped(ctx, q, k, 3)
}

/// The attribute `scale`, else 1 over the root of the size of a head of `q: [B, H, S, D]`; 0 means the same as none where
/// `zero_is_none`.
pub(crate) fn scale(ctx: &mut Context, q: ValueId, zero_is_none: bool) -> Result<f64> {
    if let Some(scale) = ctx.optional_float("scale")?.filter(|&s| !(zero_is_none && s == 0.0)) {
        return Ok(scale.into());
    }
    let size = ctx.dim(q, 3).as_const().filter(|&n| n > 0);
    let size = size.ok_or_else(|| unsupported("the head size must be known; fix it with --dim, or state `scale`"))?;
    Ok(1.0 / (size as f64).sqrt())
}

/// Which keys a query may attend to.
#[derive(Default)]
pub(crate) struct Mask {
    allowed: Option<ValueId>,
    /// Added to the scores.
    bias: Option<ValueId>,
    /// A query may find no key at all.
    may_be_empty: bool,
}

impl Mask {
    /// Forbids keys where `allowed` is false.
    pub fn restrict(&mut self, ctx: &mut Context, allowed: ValueId) -> Result<()> {
        self.allowed = Some(match self.allowed {
            None => allowed,
            Some(before) => ctx.binary(BinaryOp::And, before, allowed)?,
        });
        Ok(())
    }

    /// Adds `bias` to the scores.
    pub fn add(&mut self, ctx: &mut Context, bias: ValueId) -> Result<()> {
        self.bias = Some(match self.bias {
            None => bias,
            Some(before) => ctx.add(before, bias)?,
        });
        Ok(())
    }

    /// Forbids keys after the query's place (`causal`), and those more than so many places before or after it (not
    /// negative: no bound). `place` has an axis of size 1 where `keys` lie.
    pub fn near(
        &mut self,
        ctx: &mut Context,
        place: ValueId,
        keys: &Dim,
        causal: bool,
        [left, right]: [i64; 2],
    ) -> Result<()> {
        let key = ctx.iota(DType::I64, &[Dim::ONE, keys.clone()], 1)?;
        if causal {
            let allowed = ctx.binary(BinaryOp::Le, key, place)?;
            self.restrict(ctx, allowed)?;
        }
        for (size, op, add) in [(left, BinaryOp::Ge, left.saturating_neg()), (right, BinaryOp::Le, right)] {
            if size >= 0 {
                let bound = ctx.binary_scalar(BinaryOp::Add, place, add as f64)?;
                let allowed = ctx.binary(op, key, bound)?;
                self.restrict(ctx, allowed)?;
            }
        }
        Ok(())
    }

    /// Forbids keys from the place `end` on, which has an axis of size 1 where `keys` lie.
    pub fn before(&mut self, ctx: &mut Context, end: ValueId, keys: &Dim) -> Result<()> {
        let key = ctx.iota(DType::I64, std::slice::from_ref(keys), 0)?;
        let allowed = ctx.binary(BinaryOp::Lt, key, end)?;
        self.restrict(ctx, allowed)
    }
}

/// The mask of inputs and attributes; `keys` is how many keys there are, `past` how many of them were cached.
fn mask(ctx: &mut Context, queries: &Dim, keys: &Dim, past: Option<Dim>) -> Result<Mask> {
    let mut mask = Mask::default();
    let filled = match ctx.optional_input(6)? {
        Some(filled) => {
            ctx.require_rank(filled, 1, "nonpad_kv_seqlen")?;
            let filled = ctx.convert(filled, DType::I64)?;
            Some(ctx.unsqueeze(filled, &[1, 2, 3])?)
        }
        None => None,
    };
    if let Some(given) = ctx.optional_input(3)? {
        let given = full_width(ctx, given, keys, filled.is_some())?;
        mask.may_be_empty = true;
        if ctx.dtype(given) == DType::Bool {
            mask.restrict(ctx, given)?;
        } else {
            mask.add(ctx, given)?;
        }
    }
    let causal = ctx.flag("is_causal", false)?;
    let window = [ctx.int("left_window_size", -1)?, ctx.int("right_window_size", -1)?];
    if causal || window.iter().any(|&size| size >= 0) {
        let mut place = ctx.iota(DType::I64, &[queries.clone(), Dim::ONE], 0)?;
        if let (None, Some(filled)) = (&past, filled) {
            let count = ctx.dim_scalar(queries.clone())?;
            let offset = ctx.sub(filled, count)?;
            mask.may_be_empty = true;
            place = ctx.add(place, offset)?;
        } else if let Some(past) = past {
            place = after(ctx, place, past)?;
        }
        mask.may_be_empty |= window.iter().any(|&size| size >= 0);
        mask.near(ctx, place, keys, causal, window)?;
    }
    if let Some(filled) = filled {
        mask.before(ctx, filled, keys)?;
        mask.may_be_empty = true;
    }
    Ok(mask)
}

/// Places counted from the first of some cached keys on.
pub(crate) fn after(ctx: &mut Context, place: ValueId, past: Dim) -> Result<ValueId> {
    if past.is_const(0) {
        return Ok(place);
    }
    let offset = ctx.dim_scalar(past)?;
    ctx.add(place, offset)
}

/// A mask for fewer keys than there are forbids the others.
fn full_width(ctx: &mut Context, mask: ValueId, keys: &Dim, cache: bool) -> Result<ValueId> {
    let rank = ctx.rank(mask);
    let Some(last) = rank.checked_sub(1) else { return Ok(mask) };
    let missing = (keys - ctx.dim(mask, last)).simplify(ctx.dims());
    let fixed = missing.as_const();
    // Sizes that may differ are taken to be equal, unless the operator is in its mode with a cache outside.
    if fixed.is_some_and(|n| n <= 0) || fixed.is_none() && !cache {
        return Ok(mask);
    }
    let mut high = vec![Dim::ZERO; rank];
    high[last] = missing;
    let value = if ctx.dtype(mask) == DType::Bool { 0.0 } else { f64::NEG_INFINITY };
    ctx.pad(mask, vec![Dim::ZERO; rank], high, PadMode::Constant, value)
}

/// Softmax over the last axis; a row of nothing but -inf gives 0.
fn softmax_or_zero(ctx: &mut Context, x: ValueId) -> Result<ValueId> {
    let axis = [ctx.rank(x).saturating_sub(1)];
    let dtype = ctx.dtype(x);
    let zero = ctx.scalar(dtype, 0.0);
    let one = ctx.scalar(dtype, 1.0);
    let largest = ctx.reduce(ReduceOp::Max, x, &axis, true)?;
    let empty = ctx.binary_scalar(BinaryOp::Eq, largest, f64::NEG_INFINITY)?;
    let largest = ctx.select(empty, zero, largest)?;
    let shifted = ctx.sub(x, largest)?;
    let e = ctx.unary(UnaryOp::Exp, shifted)?;
    let sum = ctx.reduce(ReduceOp::Sum, e, &axis, true)?;
    let sum = ctx.select(empty, one, sum)?;
    ctx.div(e, sum)
}

/// Softmax over the last axis with one score more, `sink`, whose weight is left out.
fn softmax_beside(ctx: &mut Context, x: ValueId, sink: ValueId) -> Result<ValueId> {
    let axis = [ctx.rank(x).saturating_sub(1)];
    let largest = ctx.reduce(ReduceOp::Max, x, &axis, true)?;
    let largest = ctx.binary(BinaryOp::Max, largest, sink)?;
    let shifted = ctx.sub(x, largest)?;
    let e = ctx.unary(UnaryOp::Exp, shifted)?;
    let sum = ctx.reduce(ReduceOp::Sum, e, &axis, true)?;
    let shifted = ctx.sub(sink, largest)?;
    let rest = ctx.unary(UnaryOp::Exp, shifted)?;
    let sum = ctx.add(sum, rest)?;
    ctx.div(e, sum)
}

/// How scores become weights.
pub(crate) struct Scoring {
    /// Factor of the products.
    pub scale: f64,
    /// Scores are bounded by `cap * tanh(score / cap)` where it is positive.
    pub cap: f64,
    /// The type of softmax, if not that of the operands.
    pub precision: Option<DType>,
    /// A score more in every row, of no value: broadcast to `[B, H, 1, 1]`.
    pub sink: Option<ValueId>,
}

impl Scoring {
    /// Scores by a factor alone.
    pub fn scaled(scale: f64) -> Scoring {
        Scoring { scale, cap: 0.0, precision: None, sink: None }
    }
}

/// What attention yields.
pub(crate) struct Attended {
    /// `[B, H, S, D]`.
    pub y: ValueId,
    /// Scores `[B, H, S, T]`: as they are, capped, masked, and the weights.
    pub stages: [ValueId; 4],
}

/// Values weighted by the scores of queries and keys, each `[B, H, S, D]`: the core of all operators of attention.
pub(crate) fn attend(ctx: &mut Context, [q, k, v]: [ValueId; 3], how: &Scoring, mask: &Mask) -> Result<Attended> {
    let dtype = ctx.dtype(q);
    let plain = scores(ctx, q, k, how.scale)?;
    let mut capped = plain;
    if how.cap > 0.0 {
        let inner = ctx.binary_scalar(BinaryOp::Div, plain, how.cap)?;
        let bounded = ctx.unary(UnaryOp::Tanh, inner)?;
        capped = ctx.binary_scalar(BinaryOp::Mul, bounded, how.cap)?;
    }
    let mut x = capped;
    if let Some(bias) = mask.bias {
        let bias = ctx.convert(bias, dtype)?;
        x = ctx.add(x, bias)?;
    }
    if let Some(allowed) = mask.allowed {
        let forbidden = ctx.scalar(dtype, f64::NEG_INFINITY);
        x = ctx.select(allowed, x, forbidden)?;
    }
    let masked = x;
    let x = ctx.convert(x, how.precision.unwrap_or(dtype))?;
    let weights = match how.sink {
        Some(sink) => {
            let sink = ctx.convert(sink, ctx.dtype(x))?;
            softmax_beside(ctx, x, sink)?
        }
        None if mask.may_be_empty => softmax_or_zero(ctx, x)?,
        None => softmax_over(ctx, x, &[3])?,
    };
    let weights = ctx.convert(weights, dtype)?;
    let values = ctx.convert(v, dtype)?;
    let y = grouped(ctx, weights, values, 2)?;
    Ok(Attended { y, stages: [plain, capped, masked, weights] })
}

/// Outputs Y, present_key, present_value, qk_matmul_output.
pub fn attention(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let (mut q, mut k, mut v) = (ctx.input(0)?, ctx.input(1)?, ctx.input(2)?);
    let (query_heads, key_heads) = (ctx.optional_int("q_num_heads")?, ctx.optional_int("kv_num_heads")?);
    let merged = ctx.rank(q) == 3;
    if merged {
        let (Some(query_heads), Some(key_heads)) = (query_heads, key_heads) else {
            return Err(invalid("inputs of rank 3 need q_num_heads and kv_num_heads"));
        };
        q = split_heads(ctx, q, query_heads)?;
        k = split_heads(ctx, k, key_heads)?;
        v = split_heads(ctx, v, key_heads)?;
    }
    for (value, what) in [(q, "Q"), (k, "K"), (v, "V")] {
        ctx.require_rank(value, 4, what)?;
    }
    let mut past = None;
    if let (Some(past_key), Some(past_value)) = (ctx.optional_input(4)?, ctx.optional_input(5)?) {
        past = Some(ctx.dim(past_key, 2));
        k = ctx.concat(&[past_key, k], 2)?;
        v = ctx.concat(&[past_value, v], 2)?;
    }
    let (queries, keys) = (ctx.dim(q, 2), ctx.dim(k, 2));
    let shown = ctx.int("qk_matmul_output_mode", 0)?;
    let precision = match ctx.optional_int("softmax_precision")? {
        Some(number) if number != 0 => Some(tensors::dtype_of_number(number)?),
        _ => None,
    };
    let how = Scoring { scale: scale(ctx, q, false)?, cap: ctx.float("softcap", 0.0)?.into(), precision, sink: None };
    let mask = mask(ctx, &queries, &keys, past)?;
    let attended = attend(ctx, [q, k, v], &how, &mask)?;
    let y = if merged { merge_heads(ctx, attended.y)? } else { attended.y };
    let stage = usize::try_from(shown).ok().and_then(|i| attended.stages.get(i).copied());
    let stage = stage.ok_or_else(|| invalid(format!("qk_matmul_output_mode is {shown}, it must be 0 to 3")))?;
    Ok(vec![y, k, v, stage])
}

/// Attention whose scores and probabilities go through subgraphs.
pub fn flex_attention(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let (q, k, v) = (ctx.input(0)?, ctx.input(1)?, ctx.input(2)?);
    for (value, what) in [(q, "Q"), (k, "K"), (v, "V")] {
        ctx.require_rank(value, 4, what)?;
    }
    let dtype = ctx.dtype(q);
    let scale = scale(ctx, q, false)?;
    let precision = match ctx.optional_int("softmax_precision")? {
        Some(number) if number != 0 => tensors::dtype_of_number(number)?,
        _ if dtype == DType::F64 => DType::F64,
        _ => DType::F32,
    };
    let wide_q = ctx.convert(q, precision)?;
    let wide_k = ctx.convert(k, precision)?;
    let mut x = scores(ctx, wide_q, wide_k, scale)?;
    x = modified(ctx, "score_mod", x)?;
    x = softmax_or_zero(ctx, x)?;
    x = modified(ctx, "prob_mod", x)?;
    let wide_v = ctx.convert(v, precision)?;
    let y = grouped(ctx, x, wide_v, 2)?;
    Ok(vec![ctx.convert(y, dtype)?])
}

/// `x` through the subgraph of that name, if there is one.
fn modified(ctx: &mut Context, name: &str, x: ValueId) -> Result<ValueId> {
    if !ctx.has_attribute(name) {
        return Ok(x);
    }
    let graph = ctx.subgraph(name)?;
    let results = ctx.inline(graph, &[Item::Numbers(x)])?;
    match results.first().map(|y| y.number()).transpose()? {
        Some(y) if ctx.ty(y) == ctx.ty(x) => Ok(y),
        _ => Err(unfit(&ctx.ty(x).shape, format_args!("`{name}` must yield what it takes, {}", ctx.show(x)))),
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::sketch;
    use nnc_onnx::ElemType::Float;

    #[test]
    fn shapes() {
        for (q, k, heads, result) in [
            ("b 8 s 64", "b 2 t 64", None, "f32[b, 8, s, 64]"),
            ("b s 512", "b t 128", Some((8, 2)), "f32[b, s, 512]"),
            ("b s 512", "b t 512", None, "need q_num_heads"),
            ("b s 512", "b t 512", Some((7, 7)), "does not split into 7 heads"),
            ("b 8 s 64", "b 3 t 64", None, "do not share the key heads evenly"),
        ] {
            let sketch = sketch().opset(24).input("q", Float, q).input("k", Float, k);
            let mut sketch = sketch.node("Attention", "q k k -> y").int("is_causal", 1);
            if let Some((queries, keys)) = heads {
                sketch = sketch.int("q_num_heads", queries).int("kv_num_heads", keys);
            }
            let found = sketch.output("y").result_type();
            assert!(found.contains(result), "{q} {k}: {found}");
        }
    }

    #[test]
    fn nothing_to_attend_to_gives_zero() {
        let ones = [1.0f32; 2];
        let sketch = sketch().opset(23).given("q", &[1, 1, 2, 1], &ones).given("k", &[1, 1, 2, 1], &ones);
        let sketch = sketch.given_bools("m", &[2, 2], &[1, 0, 0, 0]).node("Attention", "q k k m -> y").output("y");
        assert_eq!(sketch.run(), "f32[1, 1, 2, 1] 1 0");
    }
}

//! Normalisations that ONNX Runtime's optimiser fuses with what is around them: SkipLayerNormalization,
//! SkipSimplifiedLayerNormalization, EmbedLayerNormalization, QEmbedLayerNormalization, GroupNorm and SkipGroupNorm
//! (<https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md>).

use crate::activation::swish_of;
use crate::context::Context;
use crate::emit::roomy;
use crate::error::{Result, invalid, unsupported};
use crate::norm::{affine, by_groups, by_root_mean_square, normalize};
use crate::q_linear::meant_by;
use crate::window::Channels;
use nnc_ir::op::{BinaryOp, ReduceOp};
use nnc_ir::{DType, Dim, ValueId};

/// The epsilon where none is given.
const EPSILON: f32 = 1e-12;

/// Sum of the input, another and a bias, to mean 0 and variance 1 over the last axis.
pub fn skip_layer_normalization(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let (gamma, beta, bias) = (ctx.input(2)?, ctx.optional_input(3)?, ctx.optional_input(4)?);
    let sum = with_skip(ctx, bias)?;
    let (last, epsilon) = (ctx.rank(sum).saturating_sub(1), ctx.float("epsilon", EPSILON)?);
    let inner = roomy(ctx, sum)?;
    let normalized = normalize(ctx, inner, &[last], epsilon.into())?;
    let y = ctx.convert(normalized.y, ctx.dtype(sum))?;
    let y = affine(ctx, y, Some(gamma), beta)?;
    Ok(vec![y, normalized.mean, normalized.inverse, sum])
}

/// Sum of the input, another and a bias, over the root of its mean square along the last axis.
pub fn skip_simplified_layer_normalization(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let (gamma, bias) = (ctx.input(2)?, ctx.optional_input(3)?);
    let sum = with_skip(ctx, bias)?;
    let (last, epsilon) = (ctx.rank(sum).saturating_sub(1), ctx.float("epsilon", EPSILON)?);
    let inner = roomy(ctx, sum)?;
    let (y, inverse) = by_root_mean_square(ctx, inner, &[last], epsilon.into())?;
    let y = ctx.convert(y, ctx.dtype(sum))?;
    let y = affine(ctx, y, Some(gamma), None)?;
    // The mean, which is not taken away, is an output in name only.
    Ok(vec![y, inverse, inverse, sum])
}

fn with_skip(ctx: &mut Context, bias: Option<ValueId>) -> Result<ValueId> {
    let (x, skip) = (ctx.input(0)?, ctx.input(1)?);
    let sum = ctx.add(x, skip)?;
    bias.map_or(Ok(sum), |bias| ctx.add(sum, bias))
}

/// Embeddings of words, positions and segments, summed and normalised over the last axis; of a mask, how many elements
/// of each sequence it has.
pub fn embed_layer_normalization(ctx: &mut Context) -> Result<Vec<ValueId>> {
    ctx.no_effect("mask_index_type");
    let positions = ctx.optional_input(8)?;
    embedded(ctx, positions, |ctx, at| ctx.optional_input(at).map(|x| x.map(Parameter::plain)))
}

/// The same of quantised tables and weights.
pub fn q_embed_layer_normalization(ctx: &mut Context) -> Result<Vec<ValueId>> {
    embedded(ctx, None, |ctx, at| {
        let Some(values) = ctx.optional_input(at)? else { return Ok(None) };
        let quantised = Some((ctx.input(at + 6)?, ctx.optional_input(at + 11)?));
        Ok(Some(Parameter { values, quantised }))
    })
}

/// A table or vector of weights.
#[derive(Clone, Copy)]
struct Parameter {
    values: ValueId,
    /// Scale and zero point of integers.
    quantised: Option<(ValueId, Option<ValueId>)>,
}

impl Parameter {
    fn plain(values: ValueId) -> Parameter {
        Parameter { values, quantised: None }
    }

    /// The numbers that some of its values mean.
    fn meant(self, ctx: &mut Context, values: ValueId) -> Result<ValueId> {
        self.quantised.map_or(Ok(values), |(scale, zero)| meant_by(ctx, values, scale, zero))
    }

    /// The rows that `index` names.
    fn rows(self, ctx: &mut Context, index: ValueId) -> Result<ValueId> {
        ctx.require_rank(self.values, 2, "a table of embeddings")?;
        let index = ctx.normalize_index(index, &ctx.dim(self.values, 0))?;
        let rows = ctx.gather(self.values, index)?;
        self.meant(ctx, rows)
    }
}

/// `parameter` finds the tables and weights by the numbers of inputs.
fn embedded(
    ctx: &mut Context,
    positions: Option<ValueId>,
    parameter: impl Fn(&mut Context, usize) -> Result<Option<Parameter>>,
) -> Result<Vec<ValueId>> {
    let (words, segments, mask) = (ctx.input(0)?, ctx.optional_input(1)?, ctx.optional_input(7)?);
    let mut required = |at: usize| parameter(ctx, at)?.ok_or_else(|| invalid(format!("input {at} is missing")));
    let (word_table, position_table) = (required(2)?, required(3)?);
    let (gamma, beta) = (required(5)?, required(6)?);
    let segment_table = parameter(ctx, 4)?;
    let gamma = gamma.meant(ctx, gamma.values)?;
    let beta = beta.meant(ctx, beta.values)?;
    let epsilon = ctx.float("epsilon", EPSILON)?;
    ctx.require_rank(words, 2, "the words")?;
    let (batch, steps) = (ctx.dim(words, 0), ctx.dim(words, 1));
    let mut sum = word_table.rows(ctx, words)?;
    let positions = match positions {
        Some(positions) => position_table.rows(ctx, positions)?,
        None => {
            let first = ctx.slice_axis(position_table.values, 0, Dim::ZERO, steps)?;
            position_table.meant(ctx, first)?
        }
    };
    sum = ctx.add(sum, positions)?;
    if let (Some(segments), Some(table)) = (segments, segment_table) {
        let segments = table.rows(ctx, segments)?;
        sum = ctx.add(sum, segments)?;
    }
    let inner = roomy(ctx, sum)?;
    let normalized = normalize(ctx, inner, &[2], epsilon.into())?;
    let y = ctx.convert(normalized.y, ctx.dtype(sum))?;
    let y = affine(ctx, y, Some(gamma), Some(beta))?;
    let counts = match mask {
        Some(mask) => {
            let ones = ctx.binary_scalar(BinaryOp::Eq, mask, 1.0)?;
            let ones = ctx.convert(ones, DType::I32)?;
            ctx.reduce(ReduceOp::Sum, ones, &[1], false)?
        }
        None => ctx.full(DType::I32, 0.0, &[batch])?,
    };
    Ok(vec![y, counts, sum])
}

/// Group normalisation, then an activation.
pub fn group_norm(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let x = ctx.input(0)?;
    let channels = Channels::stated(ctx, Channels::Last)?;
    Ok(vec![normalised_groups(ctx, x, channels)?])
}

/// The same of the sum of the input, another and a bias, which is an output too.
pub fn skip_group_norm(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let (x, mut skip, bias) = (ctx.input(0)?, ctx.input(3)?, ctx.optional_input(4)?);
    let channels = Channels::stated(ctx, Channels::Last)?;
    // One vector for each instance, or for all: where the channels lie.
    let spatial: Vec<usize> = match channels {
        Channels::First => (2..ctx.rank(x)).collect(),
        Channels::Last => (1..ctx.rank(x).saturating_sub(1)).collect(),
    };
    if ctx.rank(skip) == 2 {
        skip = ctx.unsqueeze(skip, &spatial)?;
    }
    let mut sum = ctx.add(x, skip)?;
    if let Some(mut bias) = bias {
        if channels == Channels::First {
            bias = ctx.unsqueeze(bias, &(1..ctx.rank(x).saturating_sub(1)).collect::<Vec<_>>())?;
        }
        sum = ctx.add(sum, bias)?;
    }
    Ok(vec![normalised_groups(ctx, sum, channels)?, sum])
}

fn normalised_groups(ctx: &mut Context, x: ValueId, channels: Channels) -> Result<ValueId> {
    let (gamma, beta) = (ctx.input(1)?, ctx.input(2)?);
    let groups = ctx.optional_int("groups")?.filter(|&n| n > 0).ok_or_else(|| invalid("groups is missing"))?;
    let epsilon = ctx.float("epsilon", 1e-5)?;
    let (dtype, rank) = (ctx.dtype(x), ctx.rank(x));
    if rank < 3 {
        return Err(invalid(format!("the input {} has no spatial axes", ctx.show(x))));
    }
    let x = roomy(ctx, x)?;
    let first = if channels == Channels::Last { ctx.channels_first(x)? } else { x };
    let y = by_groups(ctx, first, &Dim::from(groups), epsilon.into())?;
    let y = ctx.channels_last(y)?;
    let y = affine(ctx, y, Some(gamma), Some(beta))?;
    let y = match ctx.int("activation", 0)? {
        0 => y,
        1 => swish_of(ctx, y, 1.0)?,
        other => return Err(unsupported(format!("activation {other} is not supported; use 0 (none) or 1 (SiLU)"))),
    };
    let y = channels.restored(ctx, y)?;
    ctx.convert(y, dtype)
}

#[cfg(test)]
mod tests {
    use crate::testing::{Sketch, sketch};

    fn skipped(op: &str, signature: &str) -> Sketch {
        let x = sketch().given("x", &[1, 2], &[1.0f32, 2.0]).given("s", &[1, 2], &[0.0f32, 1.0]);
        let x = x.floats("g", &[2], &[1.0, 2.0]).floats("b", &[2], &[0.5, 0.5]);
        x.node(op, signature).domain("com.microsoft").output("y")
    }

    #[test]
    fn values() {
        assert_eq!(skipped("SkipLayerNormalization", "x s g b -> y").run(), "f32[1, 2] -0.5 2.5");
        assert_eq!(skipped("SkipLayerNormalization", "x s g _ b -> m _ _ y").run(), "f32[1, 2] 1.5 3.5");
        assert_eq!(skipped("SkipSimplifiedLayerNormalization", "x s g -> y").run(), "f32[1, 2] 0.4472 2.6833");
    }

    /// Two channels in a group, of two elements each; gains of 1 and 2.
    #[test]
    fn groups() {
        let x = sketch().given("x", &[1, 2, 1, 2], &[0.0f32, 1.0, 2.0, 3.0]).floats("g", &[2], &[1.0, 2.0]);
        let x = x.floats("b", &[2], &[0.0, 1.0]).given("s", &[1, 2], &[1.0f32, 0.0]);
        let node = |op: &str, signature: &str, attributes: &[(&str, i64)], output: &str| {
            let mut node = x.clone().node(op, signature).domain("com.microsoft").float("epsilon", 0.0);
            for &(name, value) in attributes {
                node = node.int(name, value);
            }
            node.output(output).run()
        };
        let last = "f32[1, 2, 1, 2] -1.3416 0.1056 0.4472 3.6833";
        assert_eq!(node("GroupNorm", "x g b -> y", &[("groups", 1)], "y"), last);
        let first = [("groups", 1), ("channels_last", 0), ("activation", 1)];
        assert_eq!(node("GroupNorm", "x g b -> y", &first, "y"), "f32[1, 2, 1, 2] -0.278 -0.1744 1.6467 3.593");
        let sum = node("SkipGroupNorm", "x g b s -> y z", &[("groups", 2)], "z");
        assert_eq!(sum, "f32[1, 2, 1, 2] 1 1 3 3");
    }

    #[test]
    fn embeddings() {
        let x = sketch().given("w", &[1, 2], &[1i32, 0]).given("m", &[1, 2], &[1i32, 0]);
        let x = x.floats("t", &[2, 2], &[1.0, 3.0, 2.0, 5.0]).floats("p", &[3, 2], &[0.0, 0.0, 1.0, 0.0, 9.0, 9.0]);
        let x = x.floats("g", &[2], &[1.0, 1.0]).floats("b", &[2], &[0.0, 1.0]);
        let node =
            |signature| x.clone().node("EmbedLayerNormalization", signature).domain("com.microsoft").output("y").run();
        assert_eq!(node("w _ t p _ g b m -> y"), "f32[1, 2, 2] -1 2 -1 2");
        assert_eq!(node("w _ t p _ g b m -> _ y"), "i32[1] 1");
        assert_eq!(node("w _ t p _ g b m -> _ _ y"), "f32[1, 2, 2] 2 5 2 3");
    }
}

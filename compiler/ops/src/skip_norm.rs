//! Normalisations that ONNX Runtime's optimiser fuses with what is around them: SkipLayerNormalization,
//! SkipSimplifiedLayerNormalization and EmbedLayerNormalization
//! (<https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md>).

use crate::context::Context;
use crate::emit::roomy;
use crate::error::Result;
use crate::norm::{affine, by_root_mean_square, normalize};
use nnc_ir::op::{BinaryOp, ReduceOp};
use nnc_ir::{DType, Dim, Op, ValueId};

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
    let (words, segments) = (ctx.input(0)?, ctx.optional_input(1)?);
    let (word_table, position_table, segment_table) = (ctx.input(2)?, ctx.input(3)?, ctx.optional_input(4)?);
    let (gamma, beta) = (ctx.input(5)?, ctx.input(6)?);
    let (mask, positions) = (ctx.optional_input(7)?, ctx.optional_input(8)?);
    ctx.no_effect("mask_index_type");
    let epsilon = ctx.float("epsilon", EPSILON)?;
    ctx.require_rank(words, 2, "the words")?;
    let (batch, steps) = (ctx.dim(words, 0), ctx.dim(words, 1));
    let mut sum = rows_of(ctx, word_table, words)?;
    let positions = match positions {
        Some(positions) => rows_of(ctx, position_table, positions)?,
        None => ctx.slice_axis(position_table, 0, Dim::ZERO, steps)?,
    };
    sum = ctx.add(sum, positions)?;
    if let (Some(segments), Some(table)) = (segments, segment_table) {
        let segments = rows_of(ctx, table, segments)?;
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

/// The rows of a table that `index` names.
fn rows_of(ctx: &mut Context, table: ValueId, index: ValueId) -> Result<ValueId> {
    ctx.require_rank(table, 2, "a table of embeddings")?;
    let index = ctx.normalize_index(index, &ctx.dim(table, 0))?;
    ctx.one(Op::Gather { axis: 0, batch: 0 }, &[table, index])
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

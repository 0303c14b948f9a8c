//! LinearRegressor and LinearClassifier of `ai.onnx.ml` (<https://onnx.ai/onnx/operators/index_ml.html>), all versions.
//!
//! Where the standard is silent, as ONNX Runtime: one score of two classes becomes one for each, and a regressor of one
//! target leaves its score as it is, but for `PROBIT`.

use crate::context::Context;
use crate::error::{Result, invalid, unsupported};
use crate::matmul::matmul_of;
use crate::norm::over;
use crate::softmax::softmax_over;
use nnc_ir::op::{BinaryOp, ReduceOp, UnaryOp};
use nnc_ir::{DType, Tensor, ValueId};

/// The input as rows of features; a single row may lack its axis.
pub(crate) fn rows(ctx: &mut Context) -> Result<ValueId> {
    let x = ctx.input(0)?;
    let x = if ctx.rank(x) == 1 { ctx.unsqueeze(x, &[0])? } else { x };
    ctx.require_rank(x, 2, "the input")?;
    Ok(x)
}

/// Rows of the input times coefficients, plus intercepts: `[rows, count]`.
fn scores(ctx: &mut Context, count: usize) -> Result<ValueId> {
    let x = rows(ctx)?;
    let x = ctx.convert(x, DType::F32)?;
    let coefficients = ctx.floats("coefficients")?.ok_or_else(|| invalid("coefficients is missing"))?;
    if count == 0 || !coefficients.len().is_multiple_of(count) {
        return Err(invalid(format!("{} coefficients do not divide into {count} rows", coefficients.len())));
    }
    let weights = ctx.constant(Tensor::from_slice(&[count, coefficients.len() / count], coefficients));
    let weights = ctx.transpose(weights, &[1, 0])?;
    let y = matmul_of(ctx, x, weights, DType::F32)?;
    match ctx.floats("intercepts")?.unwrap_or_default() {
        [] => Ok(y),
        intercepts if intercepts.len() == count => {
            let intercepts = ctx.constant(Tensor::from_slice(&[count], intercepts));
            ctx.add(y, intercepts)
        }
        intercepts => Err(invalid(format!("there are {} intercepts for {count} results", intercepts.len()))),
    }
}

/// What `post_transform` names, of several scores a row.
pub(crate) fn transformed(ctx: &mut Context, scores: ValueId, name: &str) -> Result<ValueId> {
    match name {
        "NONE" => Ok(scores),
        "LOGISTIC" => ctx.unary(UnaryOp::Sigmoid, scores),
        "SOFTMAX" => softmax_over(ctx, scores, &[1]),
        "SOFTMAX_ZERO" => softmax_of_others(ctx, scores),
        "PROBIT" => probit(ctx, scores),
        other => Err(invalid(format!("post_transform `{other}` is not known"))),
    }
}

/// Scores of targets transformed; a single one stays as it is, but for `PROBIT`.
pub(crate) fn of_targets(ctx: &mut Context, y: ValueId, targets: usize, transform: &str) -> Result<ValueId> {
    if targets == 1 && transform != "PROBIT" { Ok(y) } else { transformed(ctx, y, transform) }
}

/// `2 / (3.14159 * 0.147)`, in single precision throughout.
const TWO_OVER_PI_A: f64 = 4.330_750_5;

/// The number below which a normal one is with these probabilities, by ONNX Runtime's formula.
///
/// Source: S. Winitzki, "A handy approximation for the error function and its inverse", 2008.
fn probit(ctx: &mut Context, x: ValueId) -> Result<ValueId> {
    let x = ctx.binary_scalar(BinaryOp::Mul, x, 2.0)?;
    let x = ctx.binary_scalar(BinaryOp::Sub, x, 1.0)?;
    let below = ctx.unary(UnaryOp::Neg, x)?;
    let below = ctx.binary_scalar(BinaryOp::Add, below, 1.0)?;
    let above = ctx.binary_scalar(BinaryOp::Add, x, 1.0)?;
    let product = ctx.mul(below, above)?;
    let log = ctx.unary(UnaryOp::Log, product)?;
    let half = ctx.binary_scalar(BinaryOp::Mul, log, 0.5)?;
    let part = ctx.binary_scalar(BinaryOp::Add, half, TWO_OVER_PI_A)?;
    let rest = ctx.binary_scalar(BinaryOp::Mul, log, f64::from(1.0f32 / 0.147))?;
    let square = ctx.mul(part, part)?;
    let square = ctx.sub(square, rest)?;
    let root = ctx.unary(UnaryOp::Sqrt, square)?;
    let root = ctx.sub(root, part)?;
    let root = ctx.unary(UnaryOp::Sqrt, root)?;
    let root = ctx.binary_scalar(BinaryOp::Mul, root, std::f64::consts::SQRT_2)?;
    let negative = ctx.binary_scalar(BinaryOp::Lt, x, 0.0)?;
    let opposite = ctx.unary(UnaryOp::Neg, root)?;
    ctx.select(negative, opposite, root)
}

/// Softmax of the scores that are not 0; those that are stay.
fn softmax_of_others(ctx: &mut Context, scores: ValueId) -> Result<ValueId> {
    let magnitude = ctx.unary(UnaryOp::Abs, scores)?;
    let others = ctx.binary_scalar(BinaryOp::Gt, magnitude, 1e-7)?;
    let most = ctx.reduce(ReduceOp::Max, scores, &[1], true)?;
    let less = ctx.sub(scores, most)?;
    let powers = ctx.unary(UnaryOp::Exp, less)?;
    let zero = ctx.scalar(DType::F32, 0.0);
    let powers = ctx.select(others, powers, zero)?;
    let sum = ctx.reduce(ReduceOp::Sum, powers, &[1], true)?;
    over(ctx, powers, sum)
}

/// A score for each target.
pub fn linear_regressor(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let targets = usize::try_from(ctx.int("targets", 1)?).unwrap_or(0);
    let y = scores(ctx, targets)?;
    let name = ctx.string("post_transform", "NONE")?;
    Ok(vec![of_targets(ctx, y, targets, &name)?])
}

/// The class with the greatest score, and the scores of all.
pub fn linear_classifier(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let labels = ctx.labels(["classlabels_ints", "classlabels_strings"])?;
    // Each class is scored by itself anyway.
    ctx.no_effect("multi_class");
    let count = match ctx.floats("intercepts")?.map_or(0, <[f32]>::len) {
        0 => labels.len(),
        count => count,
    };
    let y = scores(ctx, count)?;
    let name = ctx.string("post_transform", "NONE")?;
    if count > 1 {
        if labels.len() < count {
            return Err(invalid(format!("there are {} labels for {count} classes", labels.len())));
        }
        let label = ctx.greatest(y, &labels)?;
        let scores = transformed(ctx, y, &name)?;
        return Ok(ctx.classified(label, scores));
    }
    let positive = ctx.binary_scalar(BinaryOp::Gt, y, 0.0)?;
    if labels.len() != 2 {
        return Err(invalid(format!("one score cannot tell {} labels apart", labels.len())));
    }
    if name == "PROBIT" {
        return Err(unsupported(
            "post_transform `PROBIT` of one score of two classes says nothing of the other; use NONE",
        ));
    }
    let label = ctx.either(positive, &labels)?;
    let score = if name == "LOGISTIC" { ctx.unary(UnaryOp::Sigmoid, y)? } else { y };
    let one = ctx.scalar(DType::F32, 1.0);
    let rest = ctx.sub(one, score)?;
    let both = ctx.concat(&[rest, score], 1)?;
    Ok(ctx.classified(label, both))
}

#[cfg(test)]
mod tests {
    use crate::testing::{Sketch, sketch};
    use nnc_onnx::Attribute;

    fn model(op: &str, signature: &str, coefficients: &[f32], intercepts: &[f32]) -> Sketch {
        let x = sketch().given("x", &[2, 2], &[1.0f32, 2.0, -1.0, 0.5]).node(op, signature).domain("ai.onnx.ml");
        let x = x.attribute("coefficients", Attribute::Floats(coefficients.to_vec()));
        x.attribute("intercepts", Attribute::Floats(intercepts.to_vec()))
    }

    #[test]
    fn regressor() {
        let two = || model("LinearRegressor", "x -> y", &[1.0, 0.0, 0.0, 1.0], &[0.5, 0.0]).int("targets", 2);
        assert_eq!(two().output("y").run(), "f32[2, 2] 1.5 2 -0.5 0.5");
        assert_eq!(
            two().string("post_transform", "SOFTMAX").output("y").run(),
            "f32[2, 2] 0.3775 0.6225 0.2689 0.7311"
        );
        assert!(two().string("post_transform", "SQUARE").output("y").run().contains("`SQUARE` is not known"));
        let half = model("LinearRegressor", "x -> y", &[0.5, 0.0], &[0.25]).string("post_transform", "PROBIT");
        assert_eq!(half.output("y").run(), "f32[2, 1] 0.6746 NaN");
        let short = model("LinearRegressor", "x -> y", &[1.0, 0.0, 1.0], &[]).int("targets", 2).output("y");
        assert!(short.run().contains("3 coefficients do not divide into 2 rows"));
    }

    #[test]
    fn classifier() {
        let one = |result: &str| {
            let x = model("LinearClassifier", "x -> l s", &[1.0, 0.0], &[0.0]).int_list("classlabels_ints", &[5, 7]);
            x.string("post_transform", "LOGISTIC").output(result).run()
        };
        assert_eq!(one("l"), "i64[2] 7 5");
        assert_eq!(one("s"), "f32[2, 2] 0.2689 0.7311 0.7311 0.2689");
        let three = |result: &str| {
            let x = model("LinearClassifier", "x -> l s", &[1.0, 0.0, 0.0, 1.0, 0.0, 0.0], &[0.0; 3]);
            let x = x.int_list("classlabels_ints", &[3, 2, 9]).string("post_transform", "SOFTMAX_ZERO");
            x.output(result).run()
        };
        assert_eq!(three("l"), "i64[2] 2 2");
        assert_eq!(three("s"), "f32[2, 3] 0.2689 0.7311 0 0.1824 0.8176 0");
    }
}

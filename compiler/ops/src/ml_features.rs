//! Transformations of features: Scaler, Normalizer, Imputer, Binarizer, ArrayFeatureExtractor and FeatureVectorizer of
//! `ai.onnx.ml` (<https://onnx.ai/onnx/operators/index_ml.html>), all versions, on numbers.

use crate::context::Context;
use crate::error::{Result, invalid, unfit};
use crate::norm::{length, over, sum_of_magnitudes};
use nnc_ir::op::{BinaryOp, ReduceOp, UnaryOp};
use nnc_ir::{DType, Dim, Op, Tensor, ValueId};

/// A list of one element, or of one for each feature, as a tensor that broadcasts.
fn per_feature(ctx: &mut Context, list: &[f32], what: &str, features: &Dim) -> Result<ValueId> {
    match list {
        [] => Err(invalid(format!("{what} is empty"))),
        &[one] => Ok(ctx.scalar(DType::F32, one.into())),
        several if features.is_const(several.len() as i64) => {
            Ok(ctx.constant(Tensor::from_slice(&[list.len()], several)))
        }
        several => {
            let name = ctx.dims().display(features);
            Err(unfit([features], format_args!("{what} has {} elements, the input {name} features", several.len())))
        }
    }
}

/// The size of the last axis.
fn features(ctx: &Context, x: ValueId) -> Result<Dim> {
    ctx.ty(x).shape.last().cloned().ok_or_else(|| invalid("the input is a scalar, it must have features"))
}

/// `(x - offset) * scale`, in f32.
pub fn scaler(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let input = ctx.input(0)?;
    let count = features(ctx, input)?;
    let mut y = ctx.convert(input, DType::F32)?;
    for (name, op) in [("offset", BinaryOp::Sub), ("scale", BinaryOp::Mul)] {
        if let Some(list) = ctx.floats(name)? {
            let parameter = per_feature(ctx, list, name, &count)?;
            y = ctx.binary(op, y, parameter)?;
        }
    }
    Ok(vec![y])
}

/// Over the largest element of a row, the sum of its magnitudes, or its length; where that is 0 a row stays.
pub fn normalizer(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let input = ctx.input(0)?;
    features(ctx, input)?;
    let last = ctx.rank(input) - 1;
    let x = ctx.convert(input, DType::F32)?;
    let norm = match ctx.string("norm", "MAX")?.as_str() {
        "MAX" => ctx.reduce(ReduceOp::Max, x, &[last], true)?,
        "L1" => sum_of_magnitudes(ctx, x, last)?,
        "L2" => length(ctx, x, last)?,
        other => return Err(invalid(format!("norm is `{other}`, it must be `MAX`, `L1` or `L2`"))),
    };
    Ok(vec![over(ctx, x, norm)?])
}

/// Another number in place of the one that says that there is none; NaN is equal to itself here.
pub fn imputer(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let x = ctx.input(0)?;
    let (count, dtype) = (features(ctx, x)?, ctx.dtype(x));
    let floats = ctx.floats("imputed_value_floats")?;
    let ints = ctx.ints("imputed_value_int64s")?;
    let (absent_float, absent_int) = (ctx.float("replaced_value_float", 0.0)?, ctx.int("replaced_value_int64", 0)?);
    let (imputed, absent) = if dtype.is_float() {
        let list = floats.ok_or_else(|| invalid("imputed_value_floats is missing"))?;
        let imputed = per_feature(ctx, list, "imputed_value_floats", &count)?;
        let absent = if absent_float.is_nan() {
            ctx.unary(UnaryOp::IsNan, x)?
        } else {
            ctx.binary_scalar(BinaryOp::Eq, x, absent_float.into())?
        };
        (ctx.convert(imputed, dtype)?, absent)
    } else {
        let list = ints.filter(|list| !list.is_empty()).ok_or_else(|| invalid("imputed_value_int64s is missing"))?;
        if list.len() != 1 && !count.is_const(list.len() as i64) {
            let message = format!("imputed_value_int64s has {} elements for {}", list.len(), ctx.show(x));
            return Err(unfit([&count], message));
        }
        let imputed = ctx.ints_constant(list);
        let absent = ctx.int_scalar(absent_int);
        let absent = ctx.convert(absent, dtype)?;
        (ctx.convert(imputed, dtype)?, ctx.binary(BinaryOp::Eq, x, absent)?)
    };
    Ok(vec![ctx.select(absent, imputed, x)?])
}

/// 1 above a threshold, else 0.
pub fn binarizer(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let x = ctx.input(0)?;
    let threshold = ctx.float("threshold", 0.0)?;
    let above = ctx.binary_scalar(BinaryOp::Gt, x, threshold.into())?;
    Ok(vec![ctx.convert(above, ctx.dtype(x))?])
}

/// The features at some indices of the last axis; of a vector, as a row.
pub fn array_feature_extractor(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let (mut x, index) = (ctx.input(0)?, ctx.input(1)?);
    if ctx.rank(x) == 1 {
        x = ctx.unsqueeze(x, &[0])?;
    }
    let size = features(ctx, x)?;
    let count = ctx.ty(index).count();
    let index = ctx.reshape(index, &[count])?;
    let index = ctx.normalize_index(index, &size)?;
    let axis = ctx.rank(x) - 1;
    Ok(vec![ctx.one(Op::Gather { axis, batch: 0 }, &[x, index])?])
}

/// The features of all inputs one after the other, in f32.
pub fn feature_vectorizer(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let sizes = ctx.ints("inputdimensions")?.unwrap_or_default();
    let mut columns = vec![];
    for (i, x) in ctx.inputs()?.into_iter().enumerate() {
        let x = if ctx.rank(x) == 1 { ctx.unsqueeze(x, &[0])? } else { x };
        ctx.require_rank(x, 2, "an input")?;
        let x = ctx.convert(x, DType::F32)?;
        // Inputs are cut to the sizes stated.
        let size = sizes.get(i).map_or_else(|| ctx.dim(x, 1), |&size| Dim::from(size));
        columns.push(ctx.slice_axis(x, 1, Dim::ZERO, size)?);
    }
    Ok(vec![ctx.concat(&columns, 1)?])
}

#[cfg(test)]
mod tests {
    use crate::testing::{Sketch, sketch};
    use nnc_onnx::Attribute;

    const DOMAIN: &str = "ai.onnx.ml";

    fn x(op: &str) -> Sketch {
        sketch().given("x", &[2, 2], &[1.0f32, -3.0, 0.0, 0.0]).node(op, "x -> y").domain(DOMAIN)
    }

    #[test]
    fn numbers() {
        let list = |values: &[f32]| Attribute::Floats(values.to_vec());
        let scaler = x("Scaler").attribute("offset", list(&[1.0, 2.0])).attribute("scale", list(&[0.5]));
        assert_eq!(scaler.output("y").run(), "f32[2, 2] 0 -2.5 -0.5 -1");
        let wrong = x("Scaler").attribute("offset", list(&[1.0, 2.0, 3.0]));
        assert!(wrong.output("y").run().contains("offset has 3 elements, the input 2 features"));
        for (norm, expected) in [("MAX", "1 -3 0 0"), ("L1", "0.25 -0.75 0 0"), ("L2", "0.3162 -0.9487 0 0")] {
            let found = x("Normalizer").string("norm", norm).output("y").run();
            assert_eq!(found, format!("f32[2, 2] {expected}"), "{norm}");
        }
        let imputer = x("Imputer").attribute("imputed_value_floats", list(&[7.0, 8.0])).output("y");
        assert_eq!(imputer.run(), "f32[2, 2] 1 -3 7 8");
        assert_eq!(x("Binarizer").float("threshold", 0.5).output("y").run(), "f32[2, 2] 1 0 0 0");
    }

    #[test]
    fn columns() {
        let x = sketch().given("x", &[2, 3], &[1i64, 2, 3, 4, 5, 6]).given("i", &[2], &[2i64, 0]);
        let picked = x.clone().node("ArrayFeatureExtractor", "x i -> y").domain(DOMAIN).output("y");
        assert_eq!(picked.run(), "i64[2, 2] 3 1 6 4");
        let joined = x.given("z", &[2, 1], &[7.0f32, 8.0]).node("FeatureVectorizer", "x z -> y").domain(DOMAIN);
        assert_eq!(joined.output("y").run(), "f32[2, 4] 1 2 3 7 4 5 6 8");
    }
}

//! Random numbers: RandomNormal, RandomUniform, their Like forms, Bernoulli and Multinomial.
//!
//! Pages: `https://onnx.ai/onnx/operators/onnx__<Name>.html`; all opsets. Numbers depend on the seed, or the node's name
//! where none is given, and nothing else: every run of a compiled model draws the same ones.

use crate::context::Context;
use crate::error::{Result, invalid};
use crate::softmax::softmax_over;
use nnc_ir::op::{BinaryOp, Distribution, ReduceOp};
use nnc_ir::{DType, Dim, Op, ValueId};
use rustc_hash::FxHasher;
use std::hash::Hasher;

/// Numbers of one distribution.
fn draw(ctx: &mut Context, distribution: Distribution, dtype: DType, shape: &[Dim]) -> Result<ValueId> {
    let seed = match ctx.optional_float("seed")? {
        Some(seed) => u64::from(seed.to_bits()),
        None => {
            let mut hasher = FxHasher::default();
            hasher.write(ctx.node.name.as_bytes());
            ctx.node.outputs.iter().for_each(|name| hasher.write(name.as_bytes()));
            hasher.finish()
        }
    };
    if !dtype.is_float() {
        return Err(invalid(format!("random numbers of type {dtype}")));
    }
    let counter = ctx.int_scalar(0);
    ctx.one(Op::Random { distribution, dtype, shape: shape.to_vec(), seed }, &[counter])
}

fn normal(ctx: &mut Context) -> Result<Distribution> {
    Ok(Distribution::Normal { mean: ctx.float("mean", 0.0)?.into(), std: ctx.float("scale", 1.0)?.into() })
}

fn uniform(ctx: &mut Context) -> Result<Distribution> {
    Ok(Distribution::Uniform { low: ctx.float("low", 0.0)?.into(), high: ctx.float("high", 1.0)?.into() })
}

/// Attribute `shape`.
fn shape(ctx: &mut Context) -> Result<Vec<Dim>> {
    let sizes = ctx.ints("shape")?.ok_or_else(|| invalid("attribute `shape` is missing"))?;
    match sizes.iter().find(|&&n| n < 0) {
        Some(size) => Err(invalid(format!("the shape has the size {size}"))),
        None => Ok(sizes.iter().map(|&n| Dim::from(n)).collect()),
    }
}

/// Normal numbers of a shape.
pub fn random_normal(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let (distribution, shape) = (normal(ctx)?, shape(ctx)?);
    let dtype = ctx.dtype_attribute("dtype")?.unwrap_or(DType::F32);
    Ok(vec![draw(ctx, distribution, dtype, &shape)?])
}

/// Uniform numbers of a shape.
pub fn random_uniform(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let (distribution, shape) = (uniform(ctx)?, shape(ctx)?);
    let dtype = ctx.dtype_attribute("dtype")?.unwrap_or(DType::F32);
    Ok(vec![draw(ctx, distribution, dtype, &shape)?])
}

fn like(ctx: &mut Context, distribution: Distribution) -> Result<Vec<ValueId>> {
    let x = ctx.input(0)?;
    let dtype = ctx.dtype_attribute("dtype")?.unwrap_or(ctx.dtype(x));
    let shape = ctx.shape(x);
    Ok(vec![draw(ctx, distribution, dtype, &shape)?])
}

/// Normal numbers in the input's shape.
pub fn random_normal_like(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let distribution = normal(ctx)?;
    like(ctx, distribution)
}

/// Uniform numbers in the input's shape.
pub fn random_uniform_like(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let distribution = uniform(ctx)?;
    like(ctx, distribution)
}

/// 1 with the probability given, else 0.
pub fn bernoulli(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let x = ctx.input(0)?;
    let dtype = ctx.dtype_attribute("dtype")?.unwrap_or(ctx.dtype(x));
    let shape = ctx.shape(x);
    let x = ctx.convert(x, DType::F32)?;
    let drawn = draw(ctx, Distribution::Uniform { low: 0.0, high: 1.0 }, DType::F32, &shape)?;
    let hit = ctx.binary(BinaryOp::Lt, drawn, x)?;
    Ok(vec![ctx.convert(hit, dtype)?])
}

/// Classes drawn by their unnormalised log-probabilities.
pub fn multinomial(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let x = ctx.input(0)?;
    ctx.require_rank(x, 2, "the input")?;
    let count = ctx.int("sample_size", 1)?;
    if count < 1 {
        return Err(invalid("sample_size must be positive"));
    }
    let dtype = ctx.dtype_attribute("dtype")?.unwrap_or(DType::I32);
    let (batch, classes) = (ctx.dim(x, 0), ctx.dim(x, 1));
    let x = ctx.convert(x, DType::F32)?;
    let probabilities = softmax_over(ctx, x, &[1])?;
    let running = Op::Cumulative { op: ReduceOp::Sum, axis: 1, exclusive: false, reverse: false };
    let running = ctx.one(running, &[probabilities])?;
    let shape = [batch, Dim::from(count)];
    let drawn = draw(ctx, Distribution::Uniform { low: 0.0, high: 1.0 }, DType::F32, &shape)?;
    // The class drawn is the number of classes whose running sum does not exceed the draw.
    let running = ctx.unsqueeze(running, &[1])?;
    let drawn = ctx.unsqueeze(drawn, &[2])?;
    let passed = ctx.binary(BinaryOp::Le, running, drawn)?;
    let passed = ctx.convert(passed, DType::I64)?;
    let class = ctx.reduce(ReduceOp::Sum, passed, &[2], false)?;
    let last = ctx.dim_scalar(classes - 1)?;
    let class = ctx.binary(BinaryOp::Min, class, last)?;
    Ok(vec![ctx.convert(class, dtype)?])
}

#[cfg(test)]
mod tests {
    use crate::testing::sketch;

    #[test]
    fn drawn() {
        let uniform = |name: &str| {
            sketch().node("RandomUniform", &format!("-> {name}")).int_list("shape", &[4]).output(name).run()
        };
        assert_eq!(uniform("a"), uniform("a"));
        assert_ne!(uniform("a"), uniform("b"));
        let sure = sketch().given("p", &[3], &[0.0f32, 1.0, 0.0]).node("Bernoulli", "p -> y").output("y");
        assert_eq!(sure.run(), "f32[3] 0 1 0");
        let low = f32::NEG_INFINITY;
        let sure = sketch().given("x", &[1, 3], &[low, 0.0, low]).node("Multinomial", "x -> y").int("sample_size", 4);
        assert_eq!(sure.output("y").run(), "i32[1, 4] 1 1 1 1");
        let bad = sketch().node("RandomNormal", "-> y").int_list("shape", &[-1]).output("y").run();
        assert!(bad.contains("the shape has the size -1"), "{bad}");
    }
}

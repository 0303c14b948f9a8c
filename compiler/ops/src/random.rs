//! Random numbers: RandomNormal, RandomUniform, their Like forms, Bernoulli and Multinomial.
//!
//! Pages: `https://onnx.ai/onnx/operators/onnx__<Name>.html`; all opsets. Numbers depend on the node's seed and the
//! iteration of the loops it is in, so that every run draws the same ones. Where it has no seed they depend on its name
//! and on the seed that the run is given: no two nodes draw the same ones, and runs with one seed do.

use crate::context::Context;
use crate::error::{Result, invalid};
use crate::softmax::softmax_over;
use nnc_ir::op::{BinaryOp, Distribution, ReduceOp};
use nnc_ir::{DType, Dim, Op, ValueId};
use rustc_hash::FxHasher;
use std::hash::Hasher;

/// Numbers of one distribution.
fn draw(ctx: &mut Context, distribution: Distribution, dtype: DType, shape: &[Dim]) -> Result<ValueId> {
    let seed = ctx.optional_float("seed")?.map(|seed| u64::from(seed.to_bits()));
    drawn(ctx, distribution, dtype, shape, seed)
}

/// The same with the node's seed, if it has one.
pub(crate) fn drawn(
    ctx: &mut Context,
    distribution: Distribution,
    dtype: DType,
    shape: &[Dim],
    seed: Option<u64>,
) -> Result<ValueId> {
    if !dtype.is_float() {
        return Err(invalid(format!("random numbers of type {dtype}")));
    }
    let (key, mut counter) = match seed {
        Some(seed) => (seed, ctx.int_scalar(0)),
        None => {
            let seed = ctx.frame_mut().graph.dims.seed();
            (hash_of_names(ctx), ctx.dim_scalar(Dim::sym(seed))?)
        }
    };
    for iteration in ctx.iterations() {
        // An odd factor, so that different counters stay different; far apart, so that numbers of iterations cannot meet.
        let factor = ctx.int_scalar(SPREAD);
        counter = ctx.mul(counter, factor)?;
        counter = ctx.add(counter, iteration)?;
        counter = ctx.binary_scalar(BinaryOp::Add, counter, 1.0)?;
    }
    ctx.one(Op::Random { distribution, dtype, shape: shape.to_vec(), seed: key }, &[counter])
}

/// The factor of D. Knuth's linear congruential generator MMIX.
const SPREAD: i64 = 6_364_136_223_846_793_005;

/// A number that no other node of the model has, as likely as not.
fn hash_of_names(ctx: &Context) -> u64 {
    let mut hasher = FxHasher::default();
    hasher.write(ctx.node.name.as_bytes());
    ctx.node.outputs.iter().for_each(|name| hasher.write(name.as_bytes()));
    hasher.finish()
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
    use crate::testing::{Sketch, sketch};
    use nnc_onnx::ElemType::{Bool, Float, Int64};

    /// All outputs of a run with a seed.
    fn draws(sketch: &Sketch, seed: u64) -> Vec<Vec<f64>> {
        let graph = sketch.translate().unwrap();
        nnc_ir::verify::verify(&graph).unwrap();
        nnc_eval::run_with_seed(&graph, &[], seed).unwrap().iter().map(nnc_ir::Tensor::to_f64s).collect()
    }

    /// How two samples go together, -1 to 1.
    fn correlation(a: &[f64], b: &[f64]) -> f64 {
        let [(ma, va), (mb, vb)] = [moments(a), moments(b)];
        a.iter().zip(b).map(|(a, b)| (a - ma) * (b - mb)).sum::<f64>() / a.len() as f64 / (va * vb).sqrt()
    }

    /// Mean and variance.
    fn moments(sample: &[f64]) -> (f64, f64) {
        let mean = sample.iter().sum::<f64>() / sample.len() as f64;
        (mean, sample.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / sample.len() as f64)
    }

    #[test]
    fn draws_follow_seeds() {
        let two = sketch().node("RandomUniform", "-> a").int_list("shape", &[8]).output("a");
        let two = two.node("RandomUniform", "-> b").int_list("shape", &[8]).float("seed", 1.0).output("b");
        let (one, other) = (draws(&two, 1), draws(&two, 2));
        assert_eq!(one, draws(&two, 1));
        assert_eq!(one, draws(&two, 1 | 1 << 63));
        assert_ne!(one[0], other[0]);
        assert_eq!(one[1], other[1]);
    }

    #[test]
    fn moments_and_independence() {
        const COUNT: i64 = 40_000;
        let normal = |x: Sketch, name: &str| x.node("RandomNormal", name).int_list("shape", &[COUNT]);
        let x = normal(sketch(), "-> a").float("mean", 3.0).float("scale", 2.0).output("a");
        let x = normal(x, "-> b").output("b");
        let x = x.node("RandomUniform", "-> c").int_list("shape", &[COUNT]).float("low", -1.0).float("high", 5.0);
        let x = x.output("c");
        let runs = [draws(&x, 0), draws(&x, 1), draws(&x, 1 << 40)];
        for run in &runs {
            for (sample, mean, variance) in [(&run[0], 3.0, 4.0), (&run[1], 0.0, 1.0), (&run[2], 2.0, 3.0)] {
                let found = moments(sample);
                // Five times what the mean, and about what the variance, is usually off.
                let off = 5.0 * (variance / COUNT as f64).sqrt();
                assert!((found.0 - mean).abs() < off && (found.1 / variance - 1.0).abs() < 0.05, "{found:?}");
            }
        }
        let samples: Vec<&Vec<f64>> = runs.iter().flatten().collect();
        for (i, a) in samples.iter().enumerate() {
            for b in &samples[..i] {
                assert!(correlation(a, b).abs() < 5.0 / (COUNT as f64).sqrt());
            }
            assert!(correlation(&a[1..], &a[..a.len() - 1]).abs() < 5.0 / (COUNT as f64).sqrt());
        }
    }

    #[test]
    fn classes_by_their_probabilities() {
        let logits = [0.0f32, 1.0, -1.0, 2.0].map(|p| p + 7.0);
        let x = sketch().floats("x", &[1, 4], &logits).node("Multinomial", "x -> y").int("sample_size", 40_000);
        let drawn = &draws(&x.output("y"), 5)[0];
        let sum: f64 = logits.iter().map(|p| f64::from(*p).exp()).sum();
        for (class, p) in logits.iter().enumerate() {
            let p = f64::from(*p).exp() / sum;
            let found = drawn.iter().filter(|&&c| c == class as f64).count() as f64 / 40_000.0;
            assert!((found - p).abs() < 5.0 * (p * (1.0 - p) / 40_000.0).sqrt(), "{class}: {found}, not {p}");
        }
        let x = sketch().floats("x", &[1], &[0.3]).ints("n", &[1], &[40_000]).node("Expand", "x n -> p");
        let drawn = &draws(&x.node("Bernoulli", "p -> y").output("y"), 6)[0];
        assert!((moments(drawn).0 - 0.3).abs() < 5.0 * (0.21f64 / 40_000.0).sqrt());
    }

    /// Iterations draw different numbers, whether a loop is unrolled or not, with a seed or without.
    #[test]
    fn iterations_draw_anew() {
        for seeded in [false, true] {
            let body = |grows: bool| {
                let body = sketch().input("i", Int64, "").input("c", Bool, "").input("s", Float, "n");
                let body = body.node("RandomUniform", "-> r").int_list("shape", &[1]);
                let body = if seeded { body.float("seed", 2.0) } else { body };
                let body = body.node("Identity", "c -> d").node("Identity", "r -> e");
                let body =
                    if grows { body.node("Concat", "s r -> t").int("axis", 0) } else { body.node("Add", "s r -> t") };
                body.output("d").output("t").output("e")
            };
            for grows in [false, true] {
                let x = sketch().ints("m", &[], &[3]).floats("z", &[1], &[0.0]).node("Loop", "m _ z -> t e");
                let run = &draws(&x.graph("body", body(grows)).output("e"), 9)[0];
                assert!(run[0] != run[1] && run[1] != run[2] && run[0] != run[2], "{run:?}");
            }
        }
    }

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
        let seeded = |name: &str| {
            let uniform = sketch().node("RandomUniform", &format!("-> {name}")).int_list("shape", &[4]);
            uniform.float("seed", 3.0).output(name).run()
        };
        assert_eq!(seeded("a"), seeded("b"));
        let bad = sketch().node("RandomNormal", "-> y").int_list("shape", &[-1]).output("y").run();
        assert!(bad.contains("the shape has the size -1"), "{bad}");
    }
}

//! Operators that pass their input on.
//!
//! Identity (<https://onnx.ai/onnx/operators/onnx__Identity.html>, opsets 1 on) and, at inference, Dropout
//! (<https://onnx.ai/onnx/operators/onnx__Dropout.html>, opsets 6 on).

use crate::context::Context;
use crate::error::Result;
use crate::random::drawn;
use crate::sequence::pass_on;
use nnc_ir::op::{BinaryOp, Distribution};
use nnc_ir::{DType, ValueId};

/// The input, which may be a sequence.
pub fn identity(ctx: &mut Context) -> Result<Vec<ValueId>> {
    pass_on(ctx)
}

/// The input and a mask that keeps everything; in training mode, random elements of it.
pub fn dropout(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let x = ctx.input(0)?;
    let training = if ctx.opset() < 12 {
        ctx.no_effect("ratio");
        ctx.no_effect("is_test");
        None
    } else {
        ctx.optional_input(2)?
    };
    let mut results = vec![x];
    if ctx.wants_output(1) {
        // The mask was of the data's type before opset 10.
        let dtype = if ctx.opset() < 10 { ctx.dtype(x) } else { DType::Bool };
        results.push(ctx.full(dtype, 1.0, &ctx.shape(x))?);
    }
    match training {
        Some(training) if ctx.constant_scalar(training) != Some(0.0) => trained(ctx, training, results),
        _ => {
            ctx.no_effect("seed");
            Ok(results)
        }
    }
}

/// The results when a flag says whether this is training: elements are kept with probability `1 - ratio` and scaled.
fn trained(ctx: &mut Context, training: ValueId, inference: Vec<ValueId>) -> Result<Vec<ValueId>> {
    let x = inference[0];
    let (shape, dtype) = (ctx.shape(x), ctx.dtype(x));
    let ratio = match ctx.optional_input(1)? {
        Some(ratio) => {
            let ratio = ctx.reshape(ratio, &[])?;
            ctx.convert(ratio, DType::F32)?
        }
        None => ctx.scalar(DType::F32, 0.5),
    };
    let seed = ctx.optional_int("seed")?.map(|seed| seed as u64);
    let draw = drawn(ctx, Distribution::Uniform { low: 0.0, high: 1.0 }, DType::F32, &shape, seed)?;
    let kept = ctx.binary(BinaryOp::Ge, draw, ratio)?;
    let one = ctx.scalar(DType::F32, 1.0);
    let rest = ctx.sub(one, ratio)?;
    let scale = ctx.div(one, rest)?;
    let scale = ctx.convert(scale, dtype)?;
    let scaled = ctx.mul(x, scale)?;
    let zero = ctx.scalar(dtype, 0.0);
    let dropped = ctx.select(kept, scaled, zero)?;
    let training = ctx.reshape(training, &[])?;
    let mut results = vec![ctx.select(training, dropped, x)?];
    if let Some(&all) = inference.get(1) {
        results.push(ctx.select(training, kept, all)?);
    }
    Ok(results)
}

#[cfg(test)]
mod tests {
    use crate::testing::sketch;

    #[test]
    fn dropout() {
        let mask = sketch().given("x", &[2], &[1.0f32, 2.0]).node("Dropout", "x -> y m").output("m");
        assert_eq!(mask.run(), "bool[2] 1 1");
        let training = sketch().given("x", &[2], &[1.0f32, 2.0]).given("r", &[], &[0.0f32]).given_bools("t", &[], &[1]);
        assert_eq!(training.node("Dropout", "x r t -> y").output("y").run(), "f32[2] 1 2");
    }
}

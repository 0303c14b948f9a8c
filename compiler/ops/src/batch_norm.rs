//! BatchNormalization (<https://onnx.ai/onnx/operators/onnx__BatchNormalization.html>, opsets 6 on): by statistics that
//! are inputs, and from opset 14 on, with `training_mode`, by those of the batch.

use crate::context::Context;
use crate::error::{Result, invalid, unsupported};
use nnc_ir::op::{BinaryOp, UnaryOp};
use nnc_ir::{DType, ValueId};

/// `(x - mean) / sqrt(variance + epsilon) * scale + bias` per channel, as one product and one sum.
pub fn batch_normalization(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let x = ctx.input(0)?;
    let (rank, dtype, shape) = (ctx.rank(x), ctx.dtype(x), ctx.shape(x));
    if rank < 2 {
        return Err(invalid(format!("the input {} has no channels", ctx.show(x))));
    }
    let epsilon = ctx.float("epsilon", 1e-5)?;
    let momentum = f64::from(ctx.float("momentum", 0.9)?);
    let training = ctx.flag("training_mode", false)?;
    if ctx.opset() < 9 && !ctx.flag("spatial", true)? {
        return Err(unsupported("spatial = 0 is not supported; export the model for opset 9 or later"));
    }
    if ctx.opset() < 7 && !ctx.flag("is_test", false)? {
        return Err(unsupported("it is in training mode; export the model for inference"));
    }
    if !training && (1..ctx.output_count()).any(|i| ctx.wants_output(i)) {
        return Err(unsupported("it is in training mode; export the model for inference"));
    }
    // Statistics of a wider type than the data's are not rounded first.
    let mut inner = if dtype == DType::F64 { DType::F64 } else { DType::F32 };
    let mut parameters = vec![];
    for i in 1..5 {
        let parameter = ctx.input(i)?;
        if ctx.dtype(parameter) == DType::F64 {
            inner = DType::F64;
        }
        parameters.push(parameter);
    }
    for parameter in &mut parameters {
        *parameter = ctx.convert(*parameter, inner)?;
    }
    let [scale, bias, input_mean, input_variance] = parameters[..] else {
        return Err(invalid("it needs five inputs"));
    };
    let wide = ctx.convert(x, inner)?;
    let (mut mean, mut variance) = (input_mean, input_variance);
    let mut running = vec![];
    if training {
        let axes: Vec<usize> = (0..rank).filter(|&a| a != 1).collect();
        let own = ctx.mean(wide, &axes, true)?;
        let centered = ctx.sub(wide, own)?;
        let squares = ctx.mul(centered, centered)?;
        mean = ctx.squeeze(own, &axes)?;
        variance = ctx.mean(squares, &axes, false)?;
        for (i, old, new) in [(3, input_mean, mean), (4, input_variance, variance)] {
            let old = ctx.binary_scalar(BinaryOp::Mul, old, momentum)?;
            let new = ctx.binary_scalar(BinaryOp::Mul, new, 1.0 - momentum)?;
            let sum = ctx.add(old, new)?;
            let input = ctx.input(i)?;
            running.push(ctx.convert(sum, ctx.dtype(input))?);
        }
    }
    let variance = ctx.binary_scalar(BinaryOp::Add, variance, epsilon.into())?;
    let inverse = ctx.unary(UnaryOp::Rsqrt, variance)?;
    let factor = ctx.mul(scale, inverse)?;
    let shift = ctx.mul(mean, factor)?;
    let shift = ctx.sub(bias, shift)?;
    let factor = ctx.broadcast_axis(factor, &shape, 1)?;
    let shift = ctx.broadcast_axis(shift, &shape, 1)?;
    let y = ctx.mul(wide, factor)?;
    let y = ctx.add(y, shift)?;
    let mut results = vec![ctx.convert(y, dtype)?];
    results.extend(running);
    Ok(results)
}

#[cfg(test)]
mod tests {
    use crate::testing::sketch;

    #[test]
    fn values() {
        let parameters = || {
            let sketch = sketch().given("x", &[1, 2, 2], &[1.0f32, 3.0, 5.0, 5.0]).floats("s", &[2], &[1.0, 2.0]);
            sketch.floats("b", &[2], &[0.0, 1.0]).floats("m", &[2], &[2.0, 4.0]).floats("v", &[2], &[4.0, 1.0])
        };
        let inference = parameters().node("BatchNormalization", "x s b m v -> y").float("epsilon", 0.0).output("y");
        assert_eq!(inference.run(), "f32[1, 2, 2] -0.5 0.5 3 3");
        let training = parameters().node("BatchNormalization", "x s b m v -> y n w").int("training_mode", 1);
        assert_eq!(training.output("w").run(), "f32[2] 3.7 0.9");
        let old = parameters().node("BatchNormalization", "x s b m v -> y n w").output("y");
        assert!(old.run().contains("training mode"));
    }
}

//! Activation functions, composed of elementwise core ops; fusion makes them one expression again.
//!
//! Pages: `https://onnx.ai/onnx/operators/onnx__<Name>.html`; every opset since `consumed_inputs` went away (6). Those of
//! `com.microsoft`: <https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md>. The
//! formulas are those of the operators' reference implementations, arranged so that no intermediate overflows; those of
//! several steps are computed in f32 for 16-bit floats and rounded once.

use crate::context::Context;
use crate::emit::roomy;
use crate::error::{Result, invalid, unfit, unsupported};
use nnc_ir::op::{BinaryOp, UnaryOp};
use nnc_ir::{DType, Dim, ValueId};

/// A function of the first input, computed in f32 when that is a 16-bit float.
fn rounded_once(
    ctx: &mut Context,
    function: impl FnOnce(&mut Context, ValueId) -> Result<ValueId>,
) -> Result<Vec<ValueId>> {
    let x = ctx.input(0)?;
    let dtype = ctx.dtype(x);
    let wide = roomy(ctx, x)?;
    let y = function(ctx, wide)?;
    Ok(vec![ctx.convert(y, dtype)?])
}

/// `x < 0 ? negative : x`, where the second is computed of `x`.
fn where_negative(ctx: &mut Context, x: ValueId, negative: ValueId) -> Result<ValueId> {
    let below = ctx.binary_scalar(BinaryOp::Lt, x, 0.0)?;
    ctx.select(below, negative, x)
}

/// `alpha * (exp(x) - 1)`.
fn scaled_expm1(ctx: &mut Context, x: ValueId, alpha: f64) -> Result<ValueId> {
    let less = ctx.unary(UnaryOp::Expm1, x)?;
    scaled(ctx, less, alpha)
}

/// `alpha * x`.
fn scaled(ctx: &mut Context, x: ValueId, alpha: f64) -> Result<ValueId> {
    if alpha == 1.0 { Ok(x) } else { ctx.binary_scalar(BinaryOp::Mul, x, alpha) }
}

/// `clamp(alpha * x + beta, 0, 1)`.
fn hard_sigmoid_of(ctx: &mut Context, x: ValueId, alpha: f64, beta: f64) -> Result<ValueId> {
    let y = scaled(ctx, x, alpha)?;
    let y = ctx.binary_scalar(BinaryOp::Add, y, beta)?;
    let y = ctx.binary_scalar(BinaryOp::Max, y, 0.0)?;
    ctx.binary_scalar(BinaryOp::Min, y, 1.0)
}

/// `log(1 + exp(x))` as `max(x, 0) + log1p(exp(-|x|))`, which neither overflows nor rounds to 0.
fn softplus_of(ctx: &mut Context, x: ValueId) -> Result<ValueId> {
    let magnitude = ctx.unary(UnaryOp::Abs, x)?;
    let negated = ctx.unary(UnaryOp::Neg, magnitude)?;
    let e = ctx.unary(UnaryOp::Exp, negated)?;
    let log = ctx.unary(UnaryOp::Log1p, e)?;
    let linear = ctx.binary_scalar(BinaryOp::Max, x, 0.0)?;
    ctx.add(linear, log)
}

/// `x * sigmoid(alpha * x)`.
pub(crate) fn swish_of(ctx: &mut Context, x: ValueId, alpha: f64) -> Result<ValueId> {
    let inner = scaled(ctx, x, alpha)?;
    let gate = ctx.unary(UnaryOp::Sigmoid, inner)?;
    ctx.mul(x, gate)
}

/// `max(x, 0)`.
pub fn relu(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let x = ctx.input(0)?;
    Ok(vec![ctx.binary_scalar(BinaryOp::Max, x, 0.0)?])
}

/// `x < 0 ? alpha * x : x`.
pub fn leaky_relu(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let x = ctx.input(0)?;
    let alpha = ctx.float("alpha", 0.01)?;
    let negative = scaled(ctx, x, alpha.into())?;
    Ok(vec![where_negative(ctx, x, negative)?])
}

/// `x < 0 ? slope * x : x`; the slope is broadcast to `x`.
pub fn prelu(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let (x, mut slope) = (ctx.input(0)?, ctx.input(1)?);
    if ctx.opset() < 7 && ctx.rank(slope) == 1 && ctx.rank(x) > 2 && !ctx.dim(slope, 0).is_const(1) {
        // One slope per channel.
        let ones = vec![Dim::ONE; ctx.rank(x) - 2];
        let per_channel: Vec<Dim> = ctx.shape(slope).into_iter().chain(ones).collect();
        slope = ctx.reshape(slope, &per_channel)?;
    }
    let slope = ctx.broadcast_to(slope, &ctx.shape(x))?;
    let negative = ctx.mul(x, slope)?;
    Ok(vec![where_negative(ctx, x, negative)?])
}

/// `x < 0 ? alpha * (exp(x) - 1) : x`.
pub fn elu(ctx: &mut Context) -> Result<Vec<ValueId>> {
    rounded_once(ctx, |ctx, x| {
        let alpha = ctx.float("alpha", 1.0)?;
        let negative = scaled_expm1(ctx, x, alpha.into())?;
        where_negative(ctx, x, negative)
    })
}

/// Elu times gamma, with the constants of the paper (arXiv 1706.02515).
pub fn selu(ctx: &mut Context) -> Result<Vec<ValueId>> {
    rounded_once(ctx, |ctx, x| {
        let alpha = ctx.float("alpha", 1.673_263_2)?;
        let gamma = ctx.float("gamma", 1.050_701)?;
        let negative = scaled_expm1(ctx, x, alpha.into())?;
        let y = where_negative(ctx, x, negative)?;
        scaled(ctx, y, gamma.into())
    })
}

/// `x < 0 ? alpha * (exp(x / alpha) - 1) : x`.
pub fn celu(ctx: &mut Context) -> Result<Vec<ValueId>> {
    rounded_once(ctx, |ctx, x| {
        let alpha = f64::from(ctx.float("alpha", 1.0)?);
        if alpha == 0.0 {
            return Err(invalid("alpha is 0, it divides"));
        }
        let inner = if alpha == 1.0 { x } else { ctx.binary_scalar(BinaryOp::Div, x, alpha)? };
        let negative = scaled_expm1(ctx, inner, alpha)?;
        where_negative(ctx, x, negative)
    })
}

/// `x * Phi(x)`, exactly or by the tanh approximation.
fn gelu_of(ctx: &mut Context, x: ValueId, exact: bool) -> Result<ValueId> {
    let inner = if exact {
        let z = ctx.binary_scalar(BinaryOp::Mul, x, std::f64::consts::FRAC_1_SQRT_2)?;
        ctx.unary(UnaryOp::Erf, z)?
    } else {
        let square = ctx.mul(x, x)?;
        let cube = ctx.mul(square, x)?;
        let cube = ctx.binary_scalar(BinaryOp::Mul, cube, 0.044715)?;
        let sum = ctx.add(x, cube)?;
        let z = ctx.binary_scalar(BinaryOp::Mul, sum, (2.0 / std::f64::consts::PI).sqrt())?;
        ctx.unary(UnaryOp::Tanh, z)?
    };
    let sum = ctx.binary_scalar(BinaryOp::Add, inner, 1.0)?;
    let half = ctx.binary_scalar(BinaryOp::Mul, x, 0.5)?;
    ctx.mul(half, sum)
}

/// Gelu; ONNX Runtime's of that name has no attribute and is exact.
pub fn gelu(ctx: &mut Context) -> Result<Vec<ValueId>> {
    rounded_once(ctx, |ctx, x| match ctx.string("approximate", "none")?.as_str() {
        "none" => gelu_of(ctx, x, true),
        "tanh" => gelu_of(ctx, x, false),
        other => Err(invalid(format!("approximate is `{other}`, it must be `none` or `tanh`"))),
    })
}

/// ONNX Runtime's exact gelu of the input and a bias of its last axis.
pub fn bias_gelu(ctx: &mut Context) -> Result<Vec<ValueId>> {
    biased_gelu(ctx, true)
}

/// ONNX Runtime's approximate gelu of the input and a bias of its last axis, which may be left out.
pub fn fast_gelu(ctx: &mut Context) -> Result<Vec<ValueId>> {
    biased_gelu(ctx, false)
}

fn biased_gelu(ctx: &mut Context, exact: bool) -> Result<Vec<ValueId>> {
    rounded_once(ctx, |ctx, x| {
        let x = match ctx.optional_input(1)? {
            Some(bias) => {
                let bias = ctx.convert(bias, ctx.dtype(x))?;
                ctx.add(x, bias)?
            }
            None => x,
        };
        gelu_of(ctx, x, exact)
    })
}

/// ONNX Runtime's: the first half of the last axis times the exact gelu of the second, a bias added before.
pub fn bias_split_gelu(ctx: &mut Context) -> Result<Vec<ValueId>> {
    rounded_once(ctx, |ctx, x| {
        let bias = ctx.input(1)?;
        let bias = ctx.convert(bias, ctx.dtype(x))?;
        let sum = ctx.add(x, bias)?;
        let Some(last) = ctx.rank(sum).checked_sub(1) else { return Err(invalid("the input has no axes")) };
        let half = ctx.dim(sum, last).div_exact(&Dim::from(2));
        let half = half.ok_or_else(|| unfit([&ctx.dim(sum, last)], "the last axis does not split into two"))?;
        let left = ctx.slice_axis(sum, last, Dim::ZERO, half.clone())?;
        let right = ctx.slice_axis(sum, last, half.clone(), half)?;
        let gate = gelu_of(ctx, right, true)?;
        ctx.mul(left, gate)
    })
}

/// ONNX Runtime's `x * sigmoid(alpha * x)`.
pub fn quick_gelu(ctx: &mut Context) -> Result<Vec<ValueId>> {
    rounded_once(ctx, |ctx, x| {
        let alpha = ctx.float("alpha", 1.702)?;
        swish_of(ctx, x, alpha.into())
    })
}

/// The activation that a fused operator names, with its parameters: alpha and beta, or the least and the greatest value.
pub(crate) fn fused(ctx: &mut Context, name: &str, parameters: [Option<f32>; 2], x: ValueId) -> Result<ValueId> {
    let parameter = |i: usize, default: f32| f64::from(parameters[i].unwrap_or(default));
    match name {
        "" => Ok(x),
        "Relu" => ctx.binary_scalar(BinaryOp::Max, x, 0.0),
        "Tanh" => ctx.unary(UnaryOp::Tanh, x),
        "Sigmoid" => ctx.unary(UnaryOp::Sigmoid, x),
        "LeakyRelu" => {
            let negative = scaled(ctx, x, parameter(0, 0.01))?;
            where_negative(ctx, x, negative)
        }
        "Elu" => {
            let negative = scaled_expm1(ctx, x, parameter(0, 1.0))?;
            where_negative(ctx, x, negative)
        }
        "HardSigmoid" => hard_sigmoid_of(ctx, x, parameter(0, 0.2), parameter(1, 0.5)),
        "Softplus" => softplus_of(ctx, x),
        "Clip" => {
            let x = ctx.binary_scalar(BinaryOp::Max, x, parameter(0, f32::MIN))?;
            ctx.binary_scalar(BinaryOp::Min, x, parameter(1, f32::MAX))
        }
        other => {
            Err(unsupported(format!("the fused activation `{other}` is not supported; export it as its own node")))
        }
    }
}

/// `clamp(alpha * x + beta, 0, 1)`.
pub fn hard_sigmoid(ctx: &mut Context) -> Result<Vec<ValueId>> {
    rounded_once(ctx, |ctx, x| {
        let alpha = ctx.float("alpha", 0.2)?;
        let beta = ctx.float("beta", 0.5)?;
        hard_sigmoid_of(ctx, x, alpha.into(), beta.into())
    })
}

/// `x * clamp(x / 6 + 1 / 2, 0, 1)`.
pub fn hard_swish(ctx: &mut Context) -> Result<Vec<ValueId>> {
    rounded_once(ctx, |ctx, x| {
        let gate = hard_sigmoid_of(ctx, x, 1.0 / 6.0, 0.5)?;
        ctx.mul(x, gate)
    })
}

/// `x * tanh(softplus(x))`.
pub fn mish(ctx: &mut Context) -> Result<Vec<ValueId>> {
    rounded_once(ctx, |ctx, x| {
        let inner = softplus_of(ctx, x)?;
        let gate = ctx.unary(UnaryOp::Tanh, inner)?;
        ctx.mul(x, gate)
    })
}

/// `log(1 + exp(x))`.
pub fn softplus(ctx: &mut Context) -> Result<Vec<ValueId>> {
    rounded_once(ctx, softplus_of)
}

/// `x / (1 + |x|)`.
pub fn softsign(ctx: &mut Context) -> Result<Vec<ValueId>> {
    rounded_once(ctx, |ctx, x| {
        let magnitude = ctx.unary(UnaryOp::Abs, x)?;
        let divisor = ctx.binary_scalar(BinaryOp::Add, magnitude, 1.0)?;
        ctx.div(x, divisor)
    })
}

/// `x > alpha ? x : 0`.
pub fn thresholded_relu(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let x = ctx.input(0)?;
    let alpha = ctx.float("alpha", 1.0)?;
    let above = ctx.binary_scalar(BinaryOp::Gt, x, alpha.into())?;
    let zero = ctx.scalar(ctx.dtype(x), 0.0);
    Ok(vec![ctx.select(above, x, zero)?])
}

/// `x < -lambd ? x + bias : x > lambd ? x - bias : 0`; integers compute in f32, as the attributes are floats.
pub fn shrink(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let input = ctx.input(0)?;
    let bias = f64::from(ctx.float("bias", 0.0)?);
    let lambd = f64::from(ctx.float("lambd", 0.5)?);
    let dtype = ctx.dtype(input);
    let x = if dtype.is_float() { input } else { ctx.convert(input, DType::F32)? };
    let low = ctx.binary_scalar(BinaryOp::Lt, x, -lambd)?;
    let high = ctx.binary_scalar(BinaryOp::Gt, x, lambd)?;
    let raised = ctx.binary_scalar(BinaryOp::Add, x, bias)?;
    let lowered = ctx.binary_scalar(BinaryOp::Sub, x, bias)?;
    let zero = ctx.scalar(ctx.dtype(x), 0.0);
    let y = ctx.select(high, lowered, zero)?;
    let y = ctx.select(low, raised, y)?;
    Ok(vec![ctx.convert(y, dtype)?])
}

/// `x * sigmoid(alpha * x)`.
pub fn swish(ctx: &mut Context) -> Result<Vec<ValueId>> {
    rounded_once(ctx, |ctx, x| {
        let alpha = ctx.float("alpha", 1.0)?;
        swish_of(ctx, x, alpha.into())
    })
}

/// `swish(a) * b`.
pub fn swiglu(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let b = ctx.input(1)?;
    rounded_once(ctx, |ctx, a| {
        let alpha = ctx.float("alpha", 1.0)?;
        let gate = swish_of(ctx, a, alpha.into())?;
        let b = ctx.convert(b, ctx.dtype(a))?;
        ctx.mul(gate, b)
    })
}

#[cfg(test)]
mod tests {
    use crate::testing::sketch;

    #[test]
    fn values() {
        for (op, attribute, expected) in [
            ("Relu", None, "0 0 0 0.5 3"),
            ("LeakyRelu", Some(("alpha", 0.5)), "-1.5 -0.25 0 0.5 3"),
            ("Elu", Some(("alpha", 2.0)), "-1.9004 -0.7869 0 0.5 3"),
            ("Celu", Some(("alpha", 2.0)), "-1.5537 -0.4424 0 0.5 3"),
            ("Selu", None, "-1.6706 -0.6918 0 0.5254 3.1521"),
            ("Gelu", None, "-0.004 -0.1543 0 0.3457 2.996"),
            ("HardSigmoid", None, "0 0.4 0.5 0.6 1"),
            ("HardSwish", None, "-0 -0.2083 0 0.2917 3"),
            ("Mish", None, "-0.1456 -0.2207 0 0.3752 2.9865"),
            ("Softplus", None, "0.0486 0.4741 0.6931 0.9741 3.0486"),
            ("Softsign", None, "-0.75 -0.3333 0 0.3333 0.75"),
            ("ThresholdedRelu", None, "0 0 0 0 3"),
            ("Shrink", Some(("bias", 1.0)), "-2 0 0 0 2"),
            ("Swish", Some(("alpha", 2.0)), "-0.0074 -0.1345 0 0.3655 2.9926"),
        ] {
            let mut sketch = sketch().opset(28).given("x", &[5], &[-3.0f32, -0.5, 0.0, 0.5, 3.0]).node(op, "x -> y");
            if let Some((name, value)) = attribute {
                sketch = sketch.float(name, value);
            }
            assert_eq!(sketch.output("y").run(), format!("f32[5] {expected}"), "{op}");
        }
        // Near zero, and where little is left, digits stay.
        let small = |op, x: &[f32]| {
            let graph = sketch().given("x", &[x.len()], x).node(op, "x -> y").output("y").translate().unwrap();
            let input = [nnc_ir::Tensor::from_slice(&[x.len()], x)];
            nnc_eval::run(&graph, &input).unwrap().remove(0).to_f64s()
        };
        let close = |found: Vec<f64>, expected: &[f64]| {
            found.iter().zip(expected).all(|(f, e)| (f - e).abs() <= 1e-6 * e.abs())
        };
        let tail = [-10.0f32, -17.0, -20.0, -40.0];
        assert!(close(small("Softplus", &tail), &tail.map(|x| f64::from(x).exp().ln_1p())));
        for op in ["Elu", "Celu"] {
            let near = [-1e-3f32, -1e-6, -1e-9];
            assert!(close(small(op, &near), &near.map(|x| f64::from(x).exp_m1())), "{op}");
        }
        // Far from zero nothing overflows.
        let far = |op| sketch().given("x", &[2], &[-200.0f32, 200.0]).node(op, "x -> y").output("y").run();
        assert_eq!(far("Softplus"), "f32[2] 0 200");
        assert_eq!(far("Mish"), "f32[2] -0 200");
        assert_eq!(far("Elu"), "f32[2] -1 200");
    }

    #[test]
    fn split_in_two() {
        let x = sketch().given("x", &[1, 2], &[3.0f32, 0.5]).floats("b", &[2], &[0.0, 0.5]);
        let node = x.node("BiasSplitGelu", "x b -> y").domain("com.microsoft").output("y");
        assert_eq!(node.run(), "f32[1, 1] 2.524");
    }
}

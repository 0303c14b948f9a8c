//! Products that ONNX Runtime's optimiser fuses with what is around them: FusedMatMul (TransposeMatMul by its older name),
//! FusedGemm, FusedConv and NhwcFusedConv
//! (<https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md>).

use crate::activation::fused;
use crate::context::Context;
use crate::conv::convolved;
use crate::error::Result;
use crate::matmul::{gemm, matmul_of, scaled};
use crate::window::Channels;
use nnc_ir::ValueId;

/// `alpha * A * B`, each transposed on request.
pub fn fused_matmul(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let a = operand(ctx, 0, "transA", "transBatchA")?;
    let b = operand(ctx, 1, "transB", "transBatchB")?;
    let out = ctx.dtype(a);
    let y = matmul_of(ctx, a, b, out)?;
    let alpha = ctx.float("alpha", 1.0)?;
    Ok(vec![scaled(ctx, y, alpha)?])
}

/// An operand: its first axis goes before its last on request, then the last two are exchanged on request.
fn operand(ctx: &mut Context, index: usize, transposed: &str, batch_inside: &str) -> Result<ValueId> {
    let mut x = ctx.input(index)?;
    let (transposed, batch_inside) = (ctx.flag(transposed, false)?, ctx.flag(batch_inside, false)?);
    let rank = ctx.rank(x);
    if rank < 2 {
        return Ok(x);
    }
    if batch_inside {
        x = ctx.move_axis(x, 0, rank - 2)?;
    }
    if transposed { ctx.move_axis(x, rank - 2, rank - 1) } else { Ok(x) }
}

/// Gemm, then an activation.
pub fn fused_gemm(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let y = gemm(ctx)?;
    let name = ctx.string("activation", "")?;
    let parameters = [ctx.optional_float("activation_alpha")?, ctx.optional_float("activation_beta")?];
    ctx.no_effect("activation_gamma");
    y.into_iter().map(|y| fused(ctx, &name, parameters, y)).collect()
}

/// Conv, plus a tensor of the result's shape, then an activation.
pub fn fused_conv(ctx: &mut Context) -> Result<Vec<ValueId>> {
    convolved_and_more(ctx, Channels::First)
}

/// The same with the channels of inputs and result last.
pub fn nhwc_fused_conv(ctx: &mut Context) -> Result<Vec<ValueId>> {
    convolved_and_more(ctx, Channels::Last)
}

fn convolved_and_more(ctx: &mut Context, channels: Channels) -> Result<Vec<ValueId>> {
    let y = convolved(ctx, channels)?;
    let added = ctx.optional_input(3)?;
    let name = ctx.string("activation", "")?;
    let given = ctx.floats("activation_params")?.unwrap_or_default();
    let parameters = [given.first().copied(), given.get(1).copied()];
    let y = added.map_or(Ok(y), |added| ctx.add(y, added))?;
    Ok(vec![fused(ctx, &name, parameters, y)?])
}

#[cfg(test)]
mod tests {
    use crate::testing::sketch;

    #[test]
    fn transposed_operands() {
        // As [2, 1, 3]: the batch lies inside.
        let x = sketch().given("a", &[2, 1, 3], &[1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let x = x.given("b", &[1, 2, 3], &[1.0f32, 0.0, 0.0, 0.0, 1.0, 0.0]);
        let node = x.node("FusedMatMul", "a b -> y").domain("com.microsoft").float("alpha", 2.0);
        let node = node.int("transBatchA", 1).int("transB", 1).output("y");
        assert_eq!(node.run(), "f32[1, 2, 2] 2 4 8 10");
    }

    #[test]
    fn activations() {
        for (name, expected) in [("Relu", "0 0.5"), ("LeakyRelu", "-0.5 0.5"), ("Clip", "0.5 0.5")] {
            let x = sketch().given("a", &[1, 1], &[1.0f32]).given("b", &[1, 2], &[-1.0f32, 0.5]);
            let node = x.node("FusedGemm", "a b -> y").domain("com.microsoft").string("activation", name);
            let node = node.float("activation_alpha", 0.5).float("activation_beta", 4.0).output("y");
            assert_eq!(node.run(), format!("f32[1, 2] {expected}"), "{name}");
        }
    }

    #[test]
    fn convolution_and_sum() {
        let x = sketch().given("x", &[1, 1, 2], &[1.0f32, -2.0]).floats("w", &[1, 1, 1], &[2.0]);
        let x = x.given("z", &[1, 1, 2], &[0.5f32, 1.0]);
        let node = x.node("FusedConv", "x w _ z -> y").domain("com.microsoft").string("activation", "Relu");
        assert_eq!(node.output("y").run(), "f32[1, 1, 2] 2.5 0");
    }

    #[test]
    fn channels_last() {
        let x = sketch().given("x", &[1, 2, 2], &[1.0f32, 2.0, 3.0, 4.0]).floats("w", &[1, 2, 1], &[1.0, -1.0]);
        let x = x.given("z", &[1, 2, 1], &[0.5f32, 2.0]);
        let node = x.node("NhwcFusedConv", "x w _ z -> y").domain("com.microsoft").string("activation", "Relu");
        assert_eq!(node.output("y").run(), "f32[1, 2, 1] 0 1");
    }
}

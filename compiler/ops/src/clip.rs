//! Clip (<https://onnx.ai/onnx/operators/onnx__Clip.html>): bounds as attributes until opset 10, as inputs from 11 on.

use crate::context::Context;
use crate::error::Result;
use nnc_ir::ValueId;
use nnc_ir::op::BinaryOp;

/// `min(max(x, low), high)`.
pub fn clip(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let mut x = ctx.input(0)?;
    if ctx.opset() < 11 {
        let bounds = [(ctx.optional_float("min")?, BinaryOp::Max), (ctx.optional_float("max")?, BinaryOp::Min)];
        for (bound, op) in bounds {
            if let Some(bound) = bound.filter(|b| b.abs() < f32::MAX) {
                x = ctx.binary_scalar(op, x, bound.into())?;
            }
        }
        return Ok(vec![x]);
    }
    for (index, op) in [(1, BinaryOp::Max), (2, BinaryOp::Min)] {
        if let Some(bound) = ctx.optional_input(index)? {
            // Some exporters write bounds of shape [1].
            let bound = ctx.reshape(bound, &[])?;
            x = ctx.binary(op, x, bound)?;
        }
    }
    Ok(vec![x])
}

#[cfg(test)]
mod tests {
    use crate::testing::sketch;
    use nnc_onnx::ElemType::Float;

    #[test]
    fn bounds_by_opset() {
        let old = sketch().opset(6).input("x", Float, "n").node("Clip", "x -> y").float("min", 0.0).float("max", 6.0);
        assert_eq!(old.output("y").result_type(), "f32[n]");
        let new = sketch().input("x", Float, "n").floats("high", &[], &[6.0]).node("Clip", "x _ high -> y");
        assert_eq!(new.output("y").result_type(), "f32[n]");
        let stray = sketch().input("x", Float, "n").node("Clip", "x -> y").float("min", 0.0).output("y");
        assert!(stray.result_type().contains("attribute `min` is not known to Clip of opset 23"));
    }
}

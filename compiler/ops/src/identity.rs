//! Operators that pass their input on.
//!
//! Identity (<https://onnx.ai/onnx/operators/onnx__Identity.html>, opsets 1 on) and, at inference, Dropout
//! (<https://onnx.ai/onnx/operators/onnx__Dropout.html>, opsets 7 on).

use crate::context::Context;
use crate::error::{Result, unsupported};
use nnc_ir::{DType, ValueId};

/// The input.
pub fn identity(ctx: &mut Context) -> Result<Vec<ValueId>> {
    Ok(vec![ctx.input(0)?])
}

/// The input and a mask that keeps everything.
pub fn dropout(ctx: &mut Context) -> Result<Vec<ValueId>> {
    ctx.no_effect("ratio");
    ctx.no_effect("seed");
    let x = ctx.input(0)?;
    if let Some(training) = ctx.optional_input(2)?
        && ctx.require_scalar(training, "training_mode")? != 0.0
    {
        return Err(unsupported("training mode is not supported; export the model for inference"));
    }
    let mut results = vec![x];
    if ctx.wants_output(1) {
        // The mask was of the data's type before opset 10.
        let dtype = if ctx.opset() < 10 { ctx.dtype(x) } else { DType::Bool };
        results.push(ctx.full(dtype, 1.0, &ctx.shape(x))?);
    }
    Ok(results)
}

//! Elementwise operators that are one core op: a row each.
//!
//! Pages: `https://onnx.ai/onnx/operators/onnx__<Name>.html`; all opsets since they lost `consumed_inputs` (6).

use crate::context::Context;
use crate::error::Result;
use nnc_ir::ValueId;
use nnc_ir::op::{BinaryOp, UnaryOp};

macro_rules! rows {
    ($($function:ident $op:ident)*) => { $(
        #[doc = concat!("`", stringify!($op), "` of each element.")]
        pub fn $function(ctx: &mut Context) -> Result<Vec<ValueId>> {
            let x = ctx.input(0)?;
            Ok(vec![ctx.unary(UnaryOp::$op, x)?])
        }
    )* };
}
rows! {
    abs Abs
    neg Neg
    sigmoid Sigmoid
    tanh Tanh
    sqrt Sqrt
    exp Exp
    log Log
}

/// `max(x, 0)`.
pub fn relu(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let x = ctx.input(0)?;
    Ok(vec![ctx.binary_scalar(BinaryOp::Max, x, 0.0)?])
}

//! Operators that write elements at indices into a copy.
//!
//! ScatterElements (<https://onnx.ai/onnx/operators/onnx__ScatterElements.html>, `reduction` from opset 16 on), its
//! older name Scatter (opsets 9 to 10) and ScatterND (<https://onnx.ai/onnx/operators/onnx__ScatterND.html>).

use crate::context::Context;
use crate::error::{Result, invalid};
use crate::gather::normalize_coordinates;
use nnc_ir::op::ScatterOp;
use nnc_ir::{Op, ValueId};

fn reduction(ctx: &mut Context) -> Result<ScatterOp> {
    Ok(match ctx.string("reduction", "none")?.as_str() {
        "none" => ScatterOp::Replace,
        "add" => ScatterOp::Add,
        "mul" => ScatterOp::Mul,
        "max" => ScatterOp::Max,
        "min" => ScatterOp::Min,
        other => return Err(invalid(format!("reduction `{other}` is not one of none, add, mul, max, min"))),
    })
}

/// An update for each index, at the index's own place on the other axes.
pub fn scatter_elements(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let (x, index, updates) = (ctx.input(0)?, ctx.input(1)?, ctx.input(2)?);
    let axis = ctx.int("axis", 0)?;
    let axis = ctx.axis(axis, ctx.rank(x))?;
    let op = reduction(ctx)?;
    let index = ctx.normalize_index(index, &ctx.dim(x, axis))?;
    Ok(vec![ctx.one(Op::ScatterElements { axis, op }, &[x, index, updates])?])
}

/// Slices at coordinates.
pub fn scatter_nd(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let (x, index, updates) = (ctx.input(0)?, ctx.input(1)?, ctx.input(2)?);
    let op = reduction(ctx)?;
    let index = normalize_coordinates(ctx, x, index, 0)?;
    Ok(vec![ctx.one(Op::ScatterNd(op), &[x, index, updates])?])
}

#[cfg(test)]
mod tests {
    use crate::testing::sketch;

    #[test]
    fn values() {
        let sketch1 = sketch().given("x", &[4], &[1.0f32, 2.0, 3.0, 4.0]).given("i", &[2], &[-1i64, 1]);
        let sketch1 = sketch1.given("u", &[2], &[10.0f32, 20.0]).node("ScatterElements", "x i u -> y");
        assert_eq!(sketch1.string("reduction", "add").output("y").run(), "f32[4] 1 22 3 14");
        let sketch2 = sketch().given("x", &[4], &[1.0f32, 2.0, 3.0, 4.0]).given("i", &[2, 1], &[-1i64, 0]);
        let sketch2 = sketch2.given("u", &[2], &[10.0f32, 20.0]).node("ScatterND", "x i u -> y").output("y");
        assert_eq!(sketch2.run(), "f32[4] 20 2 3 10");
    }
}

//! CumSum (<https://onnx.ai/onnx/operators/onnx__CumSum.html>) and CumProd
//! (<https://onnx.ai/onnx/operators/onnx__CumProd.html>); all opsets.

use crate::context::Context;
use crate::error::Result;
use nnc_ir::op::{BinaryOp, ReduceOp};
use nnc_ir::{DType, Op, ValueId};

fn cumulative(ctx: &mut Context, op: ReduceOp) -> Result<Vec<ValueId>> {
    let (x, axis) = (ctx.input(0)?, ctx.input(1)?);
    let exclusive = ctx.flag("exclusive", false)?;
    let reverse = ctx.flag("reverse", false)?;
    let rank = ctx.rank(x);
    if let Some([axis]) = ctx.constant_ints(axis).as_deref() {
        let axis = ctx.axis(*axis, rank)?;
        return Ok(vec![ctx.one(Op::Cumulative { op, axis, exclusive, reverse }, &[x])?]);
    }
    // An axis that only the run knows: one result per axis, of which it picks one.
    let axis = ctx.reshape(axis, &[])?;
    let axis = ctx.normalize_index(axis, &rank.into())?;
    let axis = ctx.convert(axis, DType::I64)?;
    let mut result = x;
    for candidate in 0..rank {
        let sums = ctx.one(Op::Cumulative { op, axis: candidate, exclusive, reverse }, &[x])?;
        let chosen = ctx.binary_scalar(BinaryOp::Eq, axis, candidate as f64)?;
        result = ctx.select(chosen, sums, result)?;
    }
    Ok(vec![result])
}

/// Running sums.
pub fn cum_sum(ctx: &mut Context) -> Result<Vec<ValueId>> {
    cumulative(ctx, ReduceOp::Sum)
}

/// Running products.
pub fn cum_prod(ctx: &mut Context) -> Result<Vec<ValueId>> {
    cumulative(ctx, ReduceOp::Prod)
}

#[cfg(test)]
mod tests {
    use crate::testing::sketch;

    #[test]
    fn axis_known_or_not() {
        let x: Vec<f32> = (1..7u8).map(f32::from).collect();
        let known =
            sketch().given("x", &[2, 3], &x).ints("a", &[], &[-1]).node("CumSum", "x a -> y").int("exclusive", 1);
        assert_eq!(known.output("y").run(), "f32[2, 3] 0 1 3 0 4 9");
        let run =
            sketch().given("x", &[2, 3], &x).given("a", &[], &[-2i32]).node("CumSum", "x a -> y").int("reverse", 1);
        assert_eq!(run.output("y").run(), "f32[2, 3] 5 7 9 4 5 6");
    }
}

//! OneHot (<https://onnx.ai/onnx/operators/onnx__OneHot.html>) and Trilu
//! (<https://onnx.ai/onnx/operators/onnx__Trilu.html>): tensors chosen between by comparing indices; all opsets.

use crate::context::Context;
use crate::error::{Result, invalid};
use nnc_ir::op::BinaryOp;
use nnc_ir::{DType, Dim, ValueId};

/// `values[1]` where the new axis's index is the element, `values[0]` elsewhere.
pub fn one_hot(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let (index, depth, values) = (ctx.input(0)?, ctx.input(1)?, ctx.input(2)?);
    let rank = ctx.rank(index) + 1;
    let axis = ctx.int("axis", -1)?;
    let axis = ctx.axis(axis, rank)?;
    let depth = ctx.convert(depth, DType::I64)?;
    let stated = ctx.stated_dim(0, axis);
    let depth = ctx.bind_dim(depth, stated, None)?;
    if let Some(n) = depth.as_const().filter(|n| *n < 0) {
        return Err(invalid(format!("depth is {n}")));
    }
    let index = ctx.normalize_index(index, &depth)?;
    let index = ctx.unsqueeze(index, &[axis])?;
    let mut shape = ctx.shape(index);
    shape[axis] = depth;
    let place = ctx.iota(DType::I64, &shape, axis)?;
    let hot = ctx.binary(BinaryOp::Eq, index, place)?;
    let mut choices = vec![];
    for i in 0..2 {
        let choice = ctx.slice_axis(values, 0, Dim::from(i), Dim::ONE)?;
        choices.push(ctx.reshape(choice, &[])?);
    }
    Ok(vec![ctx.select(hot, choices[1], choices[0])?])
}

/// The upper or lower triangle of each matrix, zeros elsewhere.
pub fn trilu(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let x = ctx.input(0)?;
    let upper = ctx.flag("upper", true)?;
    let k = match ctx.optional_input(1)? {
        Some(k) => {
            let k = ctx.reshape(k, &[])?;
            ctx.convert(k, DType::I64)?
        }
        None => ctx.int_scalar(0),
    };
    let shape = ctx.shape(x);
    let Some(first) = shape.len().checked_sub(2) else {
        return Err(invalid(format!("the input {} is not a matrix", ctx.show(x))));
    };
    let row = ctx.iota(DType::I64, &shape[first..], 0)?;
    let column = ctx.iota(DType::I64, &shape[first..], 1)?;
    let diagonal = ctx.sub(column, row)?;
    let kept = ctx.binary(if upper { BinaryOp::Ge } else { BinaryOp::Le }, diagonal, k)?;
    let zero = ctx.scalar(ctx.dtype(x), 0.0);
    Ok(vec![ctx.select(kept, x, zero)?])
}

#[cfg(test)]
mod tests {
    use crate::testing::sketch;

    #[test]
    fn values() {
        let hot = sketch().given("i", &[3], &[0i64, -1, 7]).ints("d", &[], &[3]).floats("v", &[2], &[0.0, 5.0]);
        assert_eq!(hot.node("OneHot", "i d v -> y").output("y").run(), "f32[3, 3] 5 0 0 0 0 5 0 0 0");
        let x: Vec<f32> = (1..7u8).map(f32::from).collect();
        let upper = sketch().given("x", &[2, 3], &x).ints("k", &[], &[1]).node("Trilu", "x k -> y").output("y");
        assert_eq!(upper.run(), "f32[2, 3] 0 2 3 0 0 6");
        let lower = sketch().given("x", &[2, 3], &x).given("k", &[], &[0i64]).node("Trilu", "x k -> y").int("upper", 0);
        assert_eq!(lower.output("y").run(), "f32[2, 3] 1 0 0 4 5 0");
    }
}

//! Det (<https://onnx.ai/onnx/operators/onnx__Det.html>); all opsets.
//!
//! Gaussian elimination with partial pivoting, one column after the other, all matrices of the batch at once.

use crate::context::Context;
use crate::error::{Result, invalid, unsupported};
use nnc_ir::op::{BinaryOp, UnaryOp};
use nnc_ir::{DType, Dim, Op, ValueId};

/// The determinant of each matrix.
pub fn det(ctx: &mut Context) -> Result<Vec<ValueId>> {
    const LARGEST: i64 = 32;
    let x = ctx.input(0)?;
    let shape = ctx.shape(x);
    let Some((batch, [rows, columns])) = shape.split_last_chunk::<2>() else {
        return Err(invalid(format!("the input {} is not a matrix", ctx.show(x))));
    };
    if rows != columns {
        return Err(invalid(format!("the matrices of {} are not square", ctx.show(x))));
    }
    let size = rows.as_const().filter(|&n| n <= LARGEST).ok_or_else(|| {
        unsupported(format!(
            "the size `{}` must be fixed and at most {LARGEST}; fix it with --dim",
            ctx.dims().display(rows)
        ))
    })?;
    let count = batch.iter().fold(Dim::ONE, |n, d| n * d);
    let mut matrix = ctx.reshape(x, &[count.clone(), rows.clone(), columns.clone()])?;
    let mut det = ctx.full(ctx.dtype(x), 1.0, &[count])?;
    for left in (1..=size).rev() {
        let step = eliminate(ctx, matrix, left)?;
        det = ctx.mul(det, step.factor)?;
        matrix = step.rest;
    }
    Ok(vec![ctx.reshape(det, batch)?])
}

struct Step {
    /// What this column contributes to the determinant.
    factor: ValueId,
    /// The matrix without the pivot's row and the first column.
    rest: ValueId,
}

/// Clears the first column of `[count, size, size]` below the element of the largest magnitude.
fn eliminate(ctx: &mut Context, matrix: ValueId, size: i64) -> Result<Step> {
    let dtype = ctx.dtype(matrix);
    let one = ctx.scalar(dtype, 1.0);
    let column = ctx.slice_axis(matrix, 2, Dim::ZERO, Dim::ONE)?;
    let column = ctx.squeeze(column, &[2])?;
    let magnitude = ctx.unary(UnaryOp::Abs, column)?;
    let place = ctx.one(Op::ArgReduce { axis: 1, max: true, last: false }, &[magnitude])?;
    let pivot_row = ctx.one(Op::Gather { axis: 1, batch: 1 }, &[matrix, place])?;
    let pivot = ctx.slice_axis(pivot_row, 1, Dim::ZERO, Dim::ONE)?;
    let pivot = ctx.squeeze(pivot, &[1])?;
    // Exchanging two rows turns the sign.
    let stays = ctx.binary_scalar(BinaryOp::Eq, place, 0.0)?;
    let negated = ctx.unary(UnaryOp::Neg, pivot)?;
    let factor = ctx.select(stays, pivot, negated)?;
    let less = Dim::from(size - 1);
    let first_row = ctx.slice_axis(matrix, 1, Dim::ZERO, Dim::ONE)?;
    let others = ctx.slice_axis(matrix, 1, Dim::ONE, less.clone())?;
    let shape = ctx.shape(others);
    let index = ctx.iota(DType::I64, &shape, 1)?;
    let index = ctx.binary_scalar(BinaryOp::Add, index, 1.0)?;
    let place = ctx.unsqueeze(place, &[1, 2])?;
    let exchanged = ctx.binary(BinaryOp::Eq, index, place)?;
    let others = ctx.select(exchanged, first_row, others)?;
    // With a pivot of 0 the determinant is 0 whatever the rest is, as long as that is finite.
    let singular = ctx.binary_scalar(BinaryOp::Eq, pivot, 0.0)?;
    let divisor = ctx.select(singular, one, pivot)?;
    let divisor = ctx.unsqueeze(divisor, &[1, 2])?;
    let heads = ctx.slice_axis(others, 2, Dim::ZERO, Dim::ONE)?;
    let ratios = ctx.div(heads, divisor)?;
    let tails = ctx.slice_axis(others, 2, Dim::ONE, less.clone())?;
    let pivot_tail = ctx.slice_axis(pivot_row, 1, Dim::ONE, less)?;
    let pivot_tail = ctx.unsqueeze(pivot_tail, &[1])?;
    let cleared = ctx.mul(ratios, pivot_tail)?;
    Ok(Step { factor, rest: ctx.sub(tails, cleared)? })
}

#[cfg(test)]
mod tests {
    use crate::testing::sketch;

    #[test]
    fn values() {
        let x = [0.0f32, 2.0, 3.0, 4.0, 1.0, 2.0, 2.0, 4.0];
        assert_eq!(sketch().given("x", &[2, 2, 2], &x).node("Det", "x -> y").output("y").run(), "f32[2] -6 -0");
        let three = [2.0f32, 0.0, 1.0, 1.0, 3.0, 2.0, 0.0, 1.0, 4.0];
        assert_eq!(sketch().given("x", &[3, 3], &three).node("Det", "x -> y").output("y").run(), "f32[] 21");
        let wide = sketch().given("x", &[1, 2], &[0.0f32; 2]).node("Det", "x -> y").output("y");
        assert!(wide.run().contains("not square"));
    }
}

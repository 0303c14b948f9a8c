//! Det (<https://onnx.ai/onnx/operators/onnx__Det.html>), opsets 11 on, and ONNX Runtime's Inverse
//! (<https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md>).

use crate::context::Context;
use crate::error::{Result, invalid, unsupported};
use nnc_ir::op::{BinaryOp, UnaryOp};
use nnc_ir::{DType, Dim, Op, ValueId};

/// Larger matrices would make too long a graph.
const MOST_ROWS: i64 = 64;

/// Determinants by elimination with row pivots, one step per row.
pub fn det(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let x = ctx.input(0)?;
    let shape = ctx.shape(x);
    let (count, size) = matrices(ctx, x)?;
    let dtype = ctx.dtype(x);
    let work = if dtype == DType::F64 { DType::F64 } else { DType::F32 };
    let mut rest = ctx.convert(x, work)?;
    rest = ctx.reshape(rest, &[count, Dim::from(size), Dim::from(size)])?;
    let mut result: Option<ValueId> = None;
    for left in (1..=size).rev() {
        let (pivot, next) = eliminate(ctx, rest, left)?;
        result = Some(match result {
            None => pivot,
            Some(before) => ctx.mul(before, pivot)?,
        });
        rest = next;
    }
    let result = result.ok_or_else(|| invalid("the matrix is empty"))?;
    let result = ctx.reshape(result, &shape[..shape.len() - 2])?;
    Ok(vec![ctx.convert(result, dtype)?])
}

/// The factor of the determinant for the first column of `[batch, n, n]`, and the matrix without row and column.
fn eliminate(ctx: &mut Context, x: ValueId, n: i64) -> Result<(ValueId, ValueId)> {
    let one = Dim::ONE;
    if n == 1 {
        let pivot = ctx.squeeze(x, &[1, 2])?;
        return Ok((pivot, x));
    }
    let work = ctx.dtype(x);
    let column = ctx.slice_axis(x, 2, Dim::ZERO, one.clone())?;
    let magnitude = ctx.unary(UnaryOp::Abs, column)?;
    let place = ctx.one(Op::ArgReduce { axis: 1, max: true, last: false }, &[magnitude])?;
    let row = ctx.one(Op::Gather { axis: 1, batch: 1 }, &[x, place])?;
    // The first row goes where the pivot's was; swapping turns the sign.
    let first = ctx.slice_axis(x, 1, Dim::ZERO, one.clone())?;
    let number = ctx.iota(DType::I64, &[Dim::ONE, Dim::from(n), Dim::ONE], 1)?;
    let wide_place = ctx.unsqueeze(place, &[2])?;
    let here = ctx.binary(BinaryOp::Eq, number, wide_place)?;
    let swapped = ctx.select(here, first, x)?;
    let others = ctx.slice_axis(swapped, 1, one.clone(), Dim::from(n - 1))?;
    let pivot = ctx.slice_axis(row, 2, Dim::ZERO, one.clone())?;
    let zero = ctx.binary_scalar(BinaryOp::Eq, pivot, 0.0)?;
    let unit = ctx.scalar(work, 1.0);
    let divisor = ctx.select(zero, unit, pivot)?;
    let factors = ctx.slice_axis(others, 2, Dim::ZERO, one.clone())?;
    let factors = ctx.div(factors, divisor)?;
    let row_rest = ctx.slice_axis(row, 2, one.clone(), Dim::from(n - 1))?;
    let less = ctx.mul(factors, row_rest)?;
    let next = ctx.slice_axis(others, 2, one, Dim::from(n - 1))?;
    let next = ctx.sub(next, less)?;
    let kept = ctx.binary_scalar(BinaryOp::Eq, wide_place, 0.0)?;
    let negated = ctx.unary(UnaryOp::Neg, pivot)?;
    let factor = ctx.select(kept, pivot, negated)?;
    Ok((ctx.squeeze(factor, &[1, 2])?, next))
}

/// ONNX Runtime's inverses of matrices, by elimination with row pivots in the matrix beside the unit matrix.
pub fn inverse(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let x = ctx.input(0)?;
    let shape = ctx.shape(x);
    let (count, size) = matrices(ctx, x)?;
    let (dtype, n) = (ctx.dtype(x), Dim::from(size));
    let work = if dtype == DType::F64 { DType::F64 } else { DType::F32 };
    let matrix = ctx.convert(x, work)?;
    let matrix = ctx.reshape(matrix, &[count.clone(), n.clone(), n.clone()])?;
    let number = ctx.iota(DType::I64, &[Dim::ONE, n.clone(), Dim::ONE], 1)?;
    let column = ctx.iota(DType::I64, &[Dim::ONE, Dim::ONE, n.clone()], 2)?;
    let unit = ctx.binary(BinaryOp::Eq, number, column)?;
    let unit = ctx.convert(unit, work)?;
    let unit = ctx.broadcast_to(unit, &[count, n.clone(), n.clone()])?;
    let mut both = ctx.concat(&[matrix, unit], 2)?;
    for step in 0..size {
        // The rows above have had their turn.
        let column = ctx.slice_axis(both, 2, Dim::from(step), Dim::ONE)?;
        let magnitude = ctx.unary(UnaryOp::Abs, column)?;
        let left = ctx.binary_scalar(BinaryOp::Ge, number, step as f64)?;
        let none = ctx.scalar(work, -1.0);
        let magnitude = ctx.select(left, magnitude, none)?;
        let place = ctx.one(Op::ArgReduce { axis: 1, max: true, last: false }, &[magnitude])?;
        let row = ctx.one(Op::Gather { axis: 1, batch: 1 }, &[both, place])?;
        let first = ctx.slice_axis(both, 1, Dim::from(step), Dim::ONE)?;
        let wide_place = ctx.unsqueeze(place, &[2])?;
        let here = ctx.binary(BinaryOp::Eq, number, wide_place)?;
        let swapped = ctx.select(here, first, both)?;
        let pivot = ctx.slice_axis(row, 2, Dim::from(step), Dim::ONE)?;
        let row = ctx.div(row, pivot)?;
        let factors = ctx.slice_axis(swapped, 2, Dim::from(step), Dim::ONE)?;
        let less = ctx.mul(factors, row)?;
        let others = ctx.sub(swapped, less)?;
        let own = ctx.binary_scalar(BinaryOp::Eq, number, step as f64)?;
        both = ctx.select(own, row, others)?;
    }
    let y = ctx.slice_axis(both, 2, n.clone(), n)?;
    let y = ctx.reshape(y, &shape)?;
    Ok(vec![ctx.convert(y, dtype)?])
}

/// How many matrices `x` holds, and how many rows each has.
fn matrices(ctx: &Context, x: ValueId) -> Result<(Dim, i64)> {
    let shape = ctx.shape(x);
    let [batch @ .., rows, columns] = shape.as_slice() else { return Err(invalid("the input is not a matrix")) };
    if rows != columns {
        return Err(invalid(format!("the matrices of {} are not square", ctx.show(x))));
    }
    let size = rows.as_const().filter(|&n| (1..=MOST_ROWS).contains(&n));
    let size = size.ok_or_else(|| unsupported(format!("only fixed sizes up to {MOST_ROWS} are supported")))?;
    Ok((batch.iter().fold(Dim::ONE, |n, d| n * d), size))
}

#[cfg(test)]
mod tests {
    use crate::testing::sketch;

    /// The first pivot is in the second row.
    #[test]
    fn inverse() {
        let x = sketch().given("x", &[2, 2], &[0.0f32, 2.0, 4.0, 2.0]).node("Inverse", "x -> y");
        assert_eq!(x.domain("com.microsoft").output("y").run(), "f32[2, 2] -0.25 0.25 0.5 0");
    }

    #[test]
    fn values() {
        for (shape, x, expected) in [
            (&[1, 1][..], &[5.0f32][..], "f32[] 5"),
            (&[2, 2], &[1.0, 2.0, 3.0, 4.0], "f32[] -2"),
            // Needs a pivot; has none.
            (&[3, 3], &[0.0, 1.0, 2.0, 1.0, 0.0, 3.0, 4.0, -3.0, 8.0], "f32[] -2"),
            (&[2, 2, 2], &[2.0, 4.0, 1.0, 2.0, 0.0, 1.0, 1.0, 0.0], "f32[2] 0 -1"),
        ] {
            assert_eq!(sketch().given("x", shape, x).node("Det", "x -> y").output("y").run(), expected, "{x:?}");
        }
    }
}

//! Operators whose result sizes depend on data.
//!
//! NonZero (<https://onnx.ai/onnx/operators/onnx__NonZero.html>), Compress
//! (<https://onnx.ai/onnx/operators/onnx__Compress.html>) and Unique
//! (<https://onnx.ai/onnx/operators/onnx__Unique.html>); all opsets.

use crate::context::Context;
use crate::error::Result;
use nnc_ir::op::{BinaryOp, ReduceOp};
use nnc_ir::{DType, Dim, Op, ValueId};

/// A symbol for a number between 0 and `upper`.
fn count_symbol(ctx: &mut Context, upper: Dim) -> nnc_ir::Symbol {
    let most = upper.bounds(ctx.dims()).1;
    ctx.fresh_dim("count", (0, most), Some(upper))
}

/// Coordinates of the nonzero elements, `i64[count, rank]`.
pub(crate) fn coordinates(ctx: &mut Context, x: ValueId) -> Result<ValueId> {
    let upper = ctx.ty(x).count();
    let count = count_symbol(ctx, upper);
    ctx.one(Op::NonZero { count }, &[x])
}

/// Coordinates of the nonzero elements, one row per axis.
pub fn non_zero(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let x = ctx.input(0)?;
    // A scalar counts as a vector of one element.
    let x = if ctx.rank(x) == 0 { ctx.reshape(x, &[Dim::ONE])? } else { x };
    let found = coordinates(ctx, x)?;
    Ok(vec![ctx.transpose(found, &[1, 0])?])
}

/// The slices along an axis (or the elements, flattened) for which the condition holds.
pub fn compress(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let (x, condition) = (ctx.input(0)?, ctx.input(1)?);
    ctx.require_rank(condition, 1, "the condition")?;
    let (x, axis) = match ctx.optional_int("axis")? {
        Some(axis) => (x, ctx.axis(axis, ctx.rank(x))?),
        None => (ctx.reshape(x, &[ctx.ty(x).count()])?, 0),
    };
    let found = coordinates(ctx, condition)?;
    let index = ctx.squeeze(found, &[1])?;
    Ok(vec![ctx.one(Op::Gather { axis, batch: 0 }, &[x, index])?])
}

/// Distinct elements, or distinct slices along an axis.
pub fn unique(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let x = ctx.input(0)?;
    let sorted = ctx.flag("sorted", true)?;
    match ctx.optional_int("axis")? {
        None => {
            let flat = ctx.reshape(x, &[ctx.ty(x).count()])?;
            distinct(ctx, flat, sorted)
        }
        Some(axis) => {
            let axis = ctx.axis(axis, ctx.rank(x))?;
            let keys = slice_keys(ctx, x, axis, sorted)?;
            let mut results = distinct(ctx, keys, true)?;
            results[0] = ctx.one(Op::Gather { axis, batch: 0 }, &[x, results[1]])?;
            Ok(results)
        }
    }
}

/// ONNX Runtime's: distinct elements by first occurrence, for each element the one that it equals, and how often each
/// occurs.
pub fn unique_by_occurrence(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let x = ctx.input(0)?;
    ctx.require_rank(x, 1, "the input")?;
    let results = distinct(ctx, x, false)?;
    let &[y, _, inverse, counts] = &results[..] else { return Ok(vec![]) };
    Ok(vec![y, inverse, counts])
}

fn distinct(ctx: &mut Context, x: ValueId, sorted: bool) -> Result<Vec<ValueId>> {
    let upper = ctx.ty(x).count();
    let count = count_symbol(ctx, upper);
    ctx.push(Op::Unique { sorted, count }, &[x])
}

/// For each slice along `axis` a number, equal for equal slices and ordered like the slices (`sorted`: by value, else
/// by first occurrence): every slice is compared with every other one.
fn slice_keys(ctx: &mut Context, x: ValueId, axis: usize, sorted: bool) -> Result<ValueId> {
    let n = ctx.dim(x, axis);
    let rows = ctx.move_axis(x, axis, 0)?;
    let width = ctx.shape(rows)[1..].iter().fold(Dim::ONE, |w, d| w * d);
    let rows = ctx.reshape(rows, &[n.clone(), width.clone()])?;
    let all = [n.clone(), n.clone(), width];
    let one = ctx.one(Op::Broadcast { shape: all.to_vec(), axes: vec![0, 2] }, &[rows])?;
    let other = ctx.one(Op::Broadcast { shape: all.to_vec(), axes: vec![1, 2] }, &[rows])?;
    let differ = ctx.binary(BinaryOp::Ne, one, other)?;
    let differ = ctx.convert(differ, DType::U8)?;
    if !sorted {
        // The first slice that is equal.
        let any = ctx.reduce(ReduceOp::Max, differ, &[2], false)?;
        return ctx.one(Op::ArgReduce { axis: 1, max: false, last: false }, &[any]);
    }
    // How many slices are less: compared at the first place where two differ.
    let place = ctx.one(Op::ArgReduce { axis: 2, max: true, last: false }, &[differ])?;
    let place = ctx.unsqueeze(place, &[2])?;
    let left = ctx.one(Op::GatherElements { axis: 2 }, &[one, place])?;
    let right = ctx.one(Op::GatherElements { axis: 2 }, &[other, place])?;
    let less = ctx.binary(BinaryOp::Lt, right, left)?;
    let less = ctx.convert(less, DType::I64)?;
    ctx.reduce(ReduceOp::Sum, less, &[1, 2], false)
}

#[cfg(test)]
mod tests {
    use crate::testing::sketch;

    #[test]
    fn values() {
        let found = sketch().given("x", &[2, 2], &[1.0f32, 0.0, 2.0, 3.0]).node("NonZero", "x -> y").output("y");
        assert_eq!(found.run(), "i64[2, 3] 0 1 1 0 0 1");
        let kept = sketch().given("x", &[3], &[1.0f32, 2.0, 3.0]).given_bools("c", &[3], &[1, 0, 1]);
        assert_eq!(kept.node("Compress", "x c -> y").int("axis", 0).output("y").run(), "f32[2] 1 3");
    }

    #[test]
    fn unique() {
        let flat = |output: &str, sorted| {
            let sketch = sketch().given("x", &[6], &[2.0f32, 1.0, 1.0, 3.0, 4.0, 3.0]);
            sketch.node("Unique", "x -> y i v c").int("sorted", sorted).output(output).run()
        };
        assert_eq!(flat("y", 0), "f32[4] 2 1 3 4");
        assert_eq!(flat("i", 1), "i64[4] 1 0 3 4");
        assert_eq!(flat("v", 1), "i64[6] 1 0 0 2 3 2");
        let rows = |output: &str, sorted| {
            let sketch = sketch().given("x", &[4, 2], &[2.0f32, 3.0, 1.0, 9.0, 2.0, 3.0, 1.0, 0.0]);
            sketch.node("Unique", "x -> y i v c").int("axis", 0).int("sorted", sorted).output(output).run()
        };
        assert_eq!(rows("y", 1), "f32[3, 2] 1 0 1 9 2 3");
        assert_eq!(rows("v", 1), "i64[4] 2 1 2 0");
        assert_eq!(rows("c", 1), "i64[3] 1 1 2");
        assert_eq!(rows("y", 0), "f32[3, 2] 2 3 1 9 1 0");
    }
}

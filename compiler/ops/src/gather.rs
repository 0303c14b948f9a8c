//! Operators that read elements at indices.
//!
//! Gather (<https://onnx.ai/onnx/operators/onnx__Gather.html>), GatherElements
//! (<https://onnx.ai/onnx/operators/onnx__GatherElements.html>) and GatherND
//! (<https://onnx.ai/onnx/operators/onnx__GatherND.html>, `batch_dims` from opset 12 on). Negative indices count from
//! the end.

use crate::context::Context;
use crate::error::{Result, invalid, unfit};
use nnc_ir::op::{BinaryOp, Relation};
use nnc_ir::{DType, Dim, Op, ValueId};

/// Slices at the indices along one axis.
pub fn gather(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let (x, index) = (ctx.input(0)?, ctx.input(1)?);
    let axis = ctx.int("axis", 0)?;
    let axis = ctx.axis(axis, ctx.rank(x))?;
    let size = ctx.dim(x, axis);
    if let Some([i]) = ctx.constant_ints(index).as_deref()
        && ctx.rank(index) <= 1
        && let Some(start) = position(*i, &size)
    {
        // One element at a known place is a slice.
        let slice = ctx.slice_axis(x, axis, start, Dim::ONE)?;
        return Ok(vec![if ctx.rank(index) == 0 { ctx.squeeze(slice, &[axis])? } else { slice }]);
    }
    let index = ctx.normalize_index(index, &size)?;
    Ok(vec![ctx.one(Op::Gather { axis, batch: 0 }, &[x, index])?])
}

/// Where a constant index lies; `None` when it is not known to be within the axis.
fn position(index: i64, size: &Dim) -> Option<Dim> {
    let size = size.as_const()?;
    let from_start = if index < 0 { index.checked_add(size)? } else { index };
    (0..size).contains(&from_start).then(|| Dim::from(from_start))
}

/// An element for each index, at the index's own place on the other axes.
pub fn gather_elements(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let (x, index) = (ctx.input(0)?, ctx.input(1)?);
    let axis = ctx.int("axis", 0)?;
    let axis = ctx.axis(axis, ctx.rank(x))?;
    let index = ctx.normalize_index(index, &ctx.dim(x, axis))?;
    Ok(vec![ctx.one(Op::GatherElements { axis }, &[x, index])?])
}

/// ONNX Runtime's: all slices of some length along an axis, so many elements apart; what lies within a slice comes last.
pub fn unfold_tensor(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let x = ctx.input(0)?;
    let rank = ctx.rank(x);
    let axis = ctx.int("dim", -1)?;
    let axis = ctx.axis(axis, rank)?;
    let (size, step) = (ctx.optional_int("size")?, ctx.int("step", 1)?);
    let size = size.filter(|&n| n > 0).ok_or_else(|| invalid("size must be positive"))?;
    if step < 1 {
        return Err(invalid("step must be positive"));
    }
    ctx.require(Dim::from(size), Relation::AtMost, ctx.dim(x, axis), "the size of a slice".into())?;
    let count = (ctx.dim(x, axis) - Dim::from(size)).floor_div(&Dim::from(step)) + 1;
    let shape = [count.simplify(ctx.dims()), Dim::from(size)];
    let start = ctx.iota(DType::I64, &shape, 0)?;
    let start = ctx.binary_scalar(BinaryOp::Mul, start, step as f64)?;
    let offset = ctx.iota(DType::I64, &shape, 1)?;
    let index = ctx.add(start, offset)?;
    let y = ctx.one(Op::Gather { axis, batch: 0 }, &[x, index])?;
    Ok(vec![ctx.move_axis(y, axis + 1, rank)?])
}

/// Slices at coordinates.
pub fn gather_nd(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let (x, index) = (ctx.input(0)?, ctx.input(1)?);
    let batch = ctx.int("batch_dims", 0)?;
    let batch = usize::try_from(batch).map_err(|_| invalid(format!("batch_dims is {batch}")))?;
    let index = normalize_coordinates(ctx, x, index, batch)?;
    Ok(vec![ctx.one(Op::GatherNd { batch }, &[x, index])?])
}

/// Coordinates (along the last axis of `index`) into the axes of `x` from `batch` on, as `i64` and not negative.
pub(crate) fn normalize_coordinates(ctx: &mut Context, x: ValueId, index: ValueId, batch: usize) -> Result<ValueId> {
    let index = ctx.convert(index, DType::I64)?;
    if ctx.frame().not_negative(index) {
        return Ok(index);
    }
    let shape = ctx.shape(x);
    let count = ctx.shape(index).last().and_then(Dim::as_const).and_then(|n| usize::try_from(n).ok());
    let Some(sizes) = count.and_then(|n| shape.get(batch..batch.checked_add(n)?)) else {
        let coordinates = ctx.shape(index);
        let message = format!("the coordinates {} do not fit {}", ctx.show(index), ctx.show(x));
        return Err(unfit(coordinates.last(), message));
    };
    let sizes = ctx.dims_vector(sizes.to_vec())?;
    let wrapped = ctx.add(index, sizes)?;
    let negative = ctx.binary_scalar(BinaryOp::Lt, index, 0.0)?;
    ctx.select(negative, wrapped, index)
}

#[cfg(test)]
mod tests {
    use crate::testing::sketch;

    #[test]
    fn negative_indices() {
        let x = || sketch().given("x", &[2, 3], &[0.0f32, 1.0, 2.0, 10.0, 11.0, 12.0]);
        let rows = x().given("i", &[2], &[-1i64, 0]).node("Gather", "x i -> y").output("y");
        assert_eq!(rows.run(), "f32[2, 3] 10 11 12 0 1 2");
        let column = x().ints("i", &[], &[-2]).node("Gather", "x i -> y").int("axis", 1).output("y");
        assert_eq!(column.run(), "f32[2] 1 11");
        let narrow = x().given("i", &[2, 1], &[-1i32, 0]).node("GatherElements", "x i -> y").int("axis", 1);
        assert_eq!(narrow.output("y").run(), "f32[2, 1] 2 10");
        let points = x().given("i", &[2, 2], &[-1i64, -1, 0, 1]).node("GatherND", "x i -> y").output("y");
        assert_eq!(points.run(), "f32[2] 12 1");
        let batched = x().given("i", &[2, 1], &[-1i64, 0]).node("GatherND", "x i -> y").int("batch_dims", 1);
        assert_eq!(batched.output("y").run(), "f32[2] 2 10");
        let outside = x().given("i", &[1], &[2i64]).node("Gather", "x i -> y").output("y");
        assert!(outside.run().contains("Gather \"n0\""), "{}", outside.run());
    }
}

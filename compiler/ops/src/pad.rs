//! Pad (<https://onnx.ai/onnx/operators/onnx__Pad.html>): attributes until opset 10, inputs from 11 on, `axes` from 18
//! and mode `wrap` from 19 on. Negative amounts remove elements. ONNX Runtime's
//! operator of that name has inputs from its first version on.

use crate::context::Context;
use crate::error::{Result, invalid, unsupported};
use nnc_ir::op::{BinaryOp, PadMode};
use nnc_ir::{DType, Dim, Op, ValueId};

/// The input with a border.
pub fn pad(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let x = ctx.input(0)?;
    let mode = mode(ctx)?;
    let (pads, value, axes) = if ctx.opset() < 11 {
        let pads = ctx.ints("pads")?.ok_or_else(|| invalid("attribute `pads` is missing"))?;
        let pads = ctx.ints_constant(pads);
        let value = ctx.float("value", 0.0)?;
        (pads, Some(ctx.scalar(ctx.dtype(x), value.into())), None)
    } else {
        (ctx.input(1)?, ctx.optional_input(2)?, ctx.optional_input(3)?)
    };
    by(ctx, x, mode, pads, value, axes)
}

/// ONNX Runtime's, whose amounts are an input, perhaps a matrix of one row.
pub fn pad_by_inputs(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let (x, pads, value) = (ctx.input(0)?, ctx.input(1)?, ctx.optional_input(2)?);
    let mode = mode(ctx)?;
    let pads = ctx.reshape(pads, &[ctx.ty(pads).count()])?;
    by(ctx, x, mode, pads, value, None)
}

fn mode(ctx: &mut Context) -> Result<PadMode> {
    match ctx.string("mode", "constant")?.as_str() {
        "constant" => Ok(PadMode::Constant),
        "edge" => Ok(PadMode::Edge),
        "reflect" => Ok(PadMode::Reflect),
        "wrap" => Ok(PadMode::Wrap),
        other => Err(invalid(format!("mode `{other}` is not one of constant, edge, reflect, wrap"))),
    }
}

/// The amounts before and after each of `axes` (all where there are none) are `pads`.
fn by(
    ctx: &mut Context,
    x: ValueId,
    mode: PadMode,
    pads: ValueId,
    value: Option<ValueId>,
    axes: Option<ValueId>,
) -> Result<Vec<ValueId>> {
    let rank = ctx.rank(x);
    let value = match value {
        Some(value) => ctx.reshape(value, &[])?,
        None => ctx.scalar(ctx.dtype(x), 0.0),
    };
    let axes: Vec<usize> = match axes {
        None => (0..rank).collect(),
        Some(axes) => match ctx.constant_ints(axes) {
            Some(axes) => axes.iter().map(|&a| ctx.axis(a, rank)).collect::<Result<_>>()?,
            None => {
                let pads = spread(ctx, pads, axes, rank)?;
                return Ok(vec![at_run_time(ctx, x, pads, &(0..rank).collect::<Vec<_>>(), mode, value)?]);
            }
        },
    };
    if !ctx.ty(pads).count().is_const(2 * axes.len() as i64) {
        return Err(invalid(format!("pads are {}, {} amounts are needed", ctx.show(pads), 2 * axes.len())));
    }
    let Some(amounts) = ctx.symbolic(pads) else {
        return Ok(vec![at_run_time(ctx, x, pads, &axes, mode, value)?]);
    };
    let (mut low, mut high) = (vec![Dim::ZERO; rank], vec![Dim::ZERO; rank]);
    for (i, &axis) in axes.iter().enumerate() {
        (low[axis], high[axis]) = (amounts[i].clone(), amounts[axes.len() + i].clone());
    }
    Ok(vec![padded(ctx, x, &low, &high, mode, value)?])
}

/// A border of known amounts, which may be negative.
pub(crate) fn padded(
    ctx: &mut Context,
    mut x: ValueId,
    low: &[Dim],
    high: &[Dim],
    mode: PadMode,
    value: ValueId,
) -> Result<ValueId> {
    let (mut before, mut after) = (vec![], vec![]);
    for axis in 0..ctx.rank(x) {
        let table = ctx.dims();
        let outside = |amount: &Dim| Dim::max(amount, &Dim::ZERO).simplify(table);
        let inside = |amount: &Dim| Dim::max(&-amount, &Dim::ZERO).simplify(table);
        let (cut_low, cut_high) = (inside(&low[axis]), inside(&high[axis]));
        before.push(outside(&low[axis]));
        after.push(outside(&high[axis]));
        let size = ctx.dim(x, axis);
        let kept = (&size - &cut_low - &cut_high).simplify(ctx.dims());
        x = ctx.slice_axis(x, axis, cut_low, kept)?;
        // Mirroring further than the core op does: more than once around.
        let far = |amount: &Dim, size: &Dim| !size.provably_gt(amount, ctx.dims());
        let size = ctx.dim(x, axis);
        if mode == PadMode::Reflect && (far(&before[axis], &size) || far(&after[axis], &size)) {
            let low = ctx.dim_scalar(before[axis].clone())?;
            let total = &size + &before[axis] + &after[axis];
            x = gather_border(ctx, x, axis, low, total, mode, value)?;
            (before[axis], after[axis]) = (Dim::ZERO, Dim::ZERO);
        }
    }
    if before.iter().chain(&after).all(|d| d.is_const(0)) {
        return Ok(x);
    }
    ctx.one(Op::Pad { low: before, high: after, mode }, &[x, value])
}

/// The amounts for all axes from those for the axes that only the run knows.
fn spread(ctx: &mut Context, pads: ValueId, axes: ValueId, rank: usize) -> Result<ValueId> {
    let index = ctx.normalize_index(axes, &Dim::from(rank))?;
    let count = ctx.dim(index, 0);
    let mut halves = vec![];
    for half in 0..2 {
        let amounts = ctx.slice_axis(pads, 0, &count * half, count.clone())?;
        let zeros = ctx.ints_constant(&vec![0; rank]);
        let op = Op::ScatterElements { axis: 0, op: nnc_ir::op::ScatterOp::Replace };
        halves.push(ctx.one(op, &[zeros, index, amounts])?);
    }
    ctx.concat(&halves, 0)
}

/// A border of amounts that only the run knows: along each axis, elements gathered at computed indices.
fn at_run_time(
    ctx: &mut Context,
    mut x: ValueId,
    pads: ValueId,
    axes: &[usize],
    mode: PadMode,
    value: ValueId,
) -> Result<ValueId> {
    let pads = ctx.convert(pads, DType::I64)?;
    for (i, &axis) in axes.iter().enumerate() {
        let mut amounts = vec![];
        for place in [i, axes.len() + i] {
            let amount = ctx.slice_axis(pads, 0, Dim::from(place), Dim::ONE)?;
            amounts.push(ctx.reshape(amount, &[])?);
        }
        let size = ctx.dim_scalar(ctx.dim(x, axis))?;
        let total = ctx.add(size, amounts[0])?;
        let total = ctx.add(total, amounts[1])?;
        let stated = ctx.stated_dim(0, axis);
        let total = ctx.bind_dim(total, stated, None)?;
        x = gather_border(ctx, x, axis, amounts[0], total, mode, value)?;
    }
    Ok(x)
}

/// One axis with a border of `low` elements before, `total` long.
fn gather_border(
    ctx: &mut Context,
    x: ValueId,
    axis: usize,
    low: ValueId,
    total: Dim,
    mode: PadMode,
    value: ValueId,
) -> Result<ValueId> {
    let size = ctx.dim(x, axis);
    if size.is_const(0) && mode != PadMode::Constant {
        return Err(unsupported("an empty axis has nothing to repeat"));
    }
    let place = ctx.iota(DType::I64, std::slice::from_ref(&total), 0)?;
    let place = ctx.sub(place, low)?;
    let last = ctx.dim_scalar(&size - 1)?;
    let mut index = match mode {
        PadMode::Constant | PadMode::Edge => place,
        PadMode::Wrap => {
            let period = ctx.dim_scalar(size.clone())?;
            ctx.binary(BinaryOp::Mod, place, period)?
        }
        PadMode::Reflect => {
            // There and back without repeating the ends; one element alone has period 0, so at least 1.
            let period = ctx.dim_scalar(Dim::max(&((&size - 1) * 2), &Dim::ONE))?;
            let there = ctx.binary(BinaryOp::Mod, place, period)?;
            let back = ctx.sub(period, there)?;
            ctx.binary(BinaryOp::Min, there, back)?
        }
    };
    index = ctx.binary_scalar(BinaryOp::Max, index, 0.0)?;
    index = ctx.binary(BinaryOp::Min, index, last)?;
    if mode != PadMode::Constant {
        return ctx.one(Op::Gather { axis, batch: 0 }, &[x, index]);
    }
    // Elements outside are read at index 0 and then replaced; an axis may be empty, so it gets one more element.
    let rank = ctx.rank(x);
    let (none, mut one) = (vec![Dim::ZERO; rank], vec![Dim::ZERO; rank]);
    one[axis] = Dim::ONE;
    let longer = ctx.one(Op::Pad { low: none, high: one, mode }, &[x, value])?;
    let low_side = ctx.binary_scalar(BinaryOp::Lt, place, 0.0)?;
    let high_side = ctx.binary(BinaryOp::Gt, place, last)?;
    let outside = ctx.binary(BinaryOp::Or, low_side, high_side)?;
    let beyond = ctx.dim_scalar(size)?;
    let index = ctx.select(outside, beyond, index)?;
    ctx.one(Op::Gather { axis, batch: 0 }, &[longer, index])
}

#[cfg(test)]
mod tests {
    use crate::testing::sketch;
    use nnc_onnx::ElemType::{Float, Int64};

    #[test]
    fn sizes() {
        for (x, pads, mode, result) in [
            ("2 3", [0, 1, 0, 2], "constant", "f32[2, 6]"),
            ("2 3", [0, -1, 0, 2], "constant", "f32[2, 4]"),
            ("2 3", [0, 5, 0, 0], "reflect", "f32[2, 8]"),
            ("2 n", [0, 1, 0, 1], "edge", "f32[2, n + 2]"),
        ] {
            let sketch = sketch().input("x", Float, x).ints("p", &[4], &pads);
            let found = sketch.node("Pad", "x p -> y").string("mode", mode).output("y").result_type();
            assert!(found.contains(result), "{x} {pads:?}: {found}");
        }
        let sketch = sketch().input("x", Float, "4").input("p", Int64, "2").node("Pad", "x p -> y").output("y");
        assert_eq!(sketch.result_type(), "f32[size_0]");
    }

    #[test]
    fn values() {
        for (pads, mode, expected) in [
            ([1, 2], "constant", "f32[6] 9 1 2 3 9 9"),
            ([1, 2], "edge", "f32[6] 1 1 2 3 3 3"),
            ([1, 2], "reflect", "f32[6] 2 1 2 3 2 1"),
            ([1, 2], "wrap", "f32[6] 3 1 2 3 1 2"),
            ([-1, 1], "constant", "f32[3] 2 3 9"),
            ([5, 0], "reflect", "f32[8] 2 1 2 3 2 1 2 3"),
        ] {
            let known = sketch().given("x", &[3], &[1.0f32, 2.0, 3.0]).ints("p", &[2], &pads).floats("v", &[], &[9.0]);
            let known = known.node("Pad", "x p v -> y").string("mode", mode).output("y");
            assert_eq!(known.run(), expected, "{mode} {pads:?}");
            let run = sketch().given("x", &[3], &[1.0f32, 2.0, 3.0]).given("p", &[2], &pads).floats("v", &[], &[9.0]);
            let run = run.node("Pad", "x p v -> y").string("mode", mode).output("y");
            assert_eq!(run.run(), expected, "{mode} {pads:?} at run time");
        }
    }
}

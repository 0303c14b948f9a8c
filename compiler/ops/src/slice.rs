//! Slice (<https://onnx.ai/onnx/operators/onnx__Slice.html>): attributes until opset 9, inputs from 10 on.
//!
//! Starts and ends known at compile time, as expressions over the model's dimensions, give the core `slice`; others are
//! gathered along each axis at indices the run computes.

use crate::context::Context;
use crate::error::{Result, invalid, unsupported};
use nnc_ir::op::BinaryOp;
use nnc_ir::{DType, Dim, DimTable, Op, ValueId};

/// Ends at or beyond this stand for "to the end", whatever the axis's size is, and steps beyond it for one element.
const HUGE: i64 = i32::MAX as i64;

/// The elements from `starts` to `ends`.
pub fn slice(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let x = ctx.input(0)?;
    let rank = ctx.rank(x);
    if ctx.opset() < 10 {
        let list = |values: Option<&[i64]>, name| {
            values
                .map(|v| v.iter().map(|&v| Dim::from(v)).collect::<Vec<Dim>>())
                .ok_or_else(|| invalid(format!("attribute `{name}` is missing")))
        };
        let starts = list(ctx.ints("starts")?, "starts")?;
        let ends = list(ctx.ints("ends")?, "ends")?;
        let axes = match ctx.ints("axes")? {
            Some(axes) => axes.to_vec(),
            None => (0..starts.len() as i64).collect(),
        };
        let steps = vec![1; starts.len()];
        return Ok(vec![known(ctx, x, &starts, &ends, &axes, &steps)?]);
    }
    let (starts, ends) = (ctx.input(1)?, ctx.input(2)?);
    let (axes, steps) = (ctx.optional_input(3)?, ctx.optional_input(4)?);
    let count = match ctx.shape(starts).as_slice() {
        [count] => count.as_const().filter(|&n| n <= rank as i64),
        _ => None,
    };
    let Some(count) = count else {
        return Err(invalid(format!("starts must be a vector of at most {rank} elements, not {}", ctx.show(starts))));
    };
    let known_axes = match axes {
        None => Some((0..count).collect()),
        Some(axes) => ctx.constant_ints(axes),
    };
    let known_steps = match steps {
        None => Some(vec![1; count as usize]),
        Some(steps) => ctx.constant_ints(steps),
    };
    if let (Some(axes), Some(steps)) = (&known_axes, &known_steps)
        && let (Some(starts), Some(ends)) = (ctx.symbolic(starts), ctx.symbolic(ends))
    {
        return Ok(vec![known(ctx, x, &starts, &ends, axes, steps)?]);
    }
    let operands = Operands { starts, ends, axes, steps };
    Ok(vec![at_run_time(ctx, x, &operands, known_axes.as_deref())?])
}

/// `condition ? a : b` for a condition that the bounds of the symbols may decide.
fn choose(condition: Dim, a: &Dim, b: &Dim, table: &DimTable) -> Dim {
    condition.select(a, b).simplify(table)
}

/// A start or end of an axis of `size`, counted from its beginning and clamped to `low..=high`. Backward, a start before
/// the first element is the first element, by ONNX's text; numpy has nothing to start from there.
fn resolve(position: &Dim, size: &Dim, low: &Dim, high: &Dim, table: &DimTable) -> Dim {
    match position.as_const() {
        Some(p) if p >= HUGE => return high.clone(),
        Some(p) if p <= -HUGE => return low.min(high).simplify(table),
        _ => {}
    }
    let from_start = choose(position.lt01(&Dim::ZERO), &(position + size), position, table);
    from_start.max(low).min(high).simplify(table)
}

fn known(ctx: &mut Context, x: ValueId, starts: &[Dim], ends: &[Dim], axes: &[i64], steps: &[i64]) -> Result<ValueId> {
    if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
        return Err(invalid("starts, ends, axes and steps differ in length"));
    }
    let shape = ctx.shape(x);
    let mut first = vec![Dim::ZERO; shape.len()];
    let mut sizes = shape.clone();
    let mut all_steps = vec![1; shape.len()];
    ctx.axes(axes, shape.len())?;
    for (i, &axis) in axes.iter().enumerate() {
        let axis = ctx.axis(axis, shape.len())?;
        let (size, step, table) = (&shape[axis], steps[i].clamp(-HUGE, HUGE), ctx.dims());
        if step == 0 {
            return Err(invalid(format!("the step of axis {axis} is 0")));
        }
        let (low, high) = if step > 0 { (Dim::ZERO, size.clone()) } else { (Dim::from(-1), size - 1) };
        let start = resolve(&starts[i], size, &Dim::ZERO, &high, table);
        let end = resolve(&ends[i], size, &low, &high, table);
        let (span, stride) = if step > 0 { (&end - &start, step) } else { (&start - &end, -step) };
        let count = (span + (stride - 1)).floor_div(&Dim::from(stride));
        sizes[axis] = count.max(&Dim::ZERO).simplify(table);
        // An empty result reads nothing; any start is right.
        first[axis] = if sizes[axis].is_const(0) { Dim::ZERO } else { start };
        all_steps[axis] = step;
    }
    if sizes == shape && all_steps.iter().all(|&s| s == 1) {
        return Ok(x);
    }
    ctx.one(Op::Slice { starts: first, sizes, steps: all_steps }, &[x])
}

struct Operands {
    starts: ValueId,
    ends: ValueId,
    axes: Option<ValueId>,
    steps: Option<ValueId>,
}

fn at_run_time(ctx: &mut Context, x: ValueId, operands: &Operands, axes: Option<&[i64]>) -> Result<ValueId> {
    let rank = ctx.rank(x);
    let count = ctx.dim(operands.starts, 0);
    let mut vectors = vec![];
    for (given, default) in [(Some(operands.starts), 0), (Some(operands.ends), i64::MAX), (operands.steps, 1)] {
        let given = match given {
            Some(given) => ctx.convert(given, DType::I64)?,
            None => ctx.full(DType::I64, default as f64, std::slice::from_ref(&count))?,
        };
        vectors.push((given, default));
    }
    let axes: Vec<usize> = match (axes, operands.axes) {
        (Some(axes), _) => axes.iter().map(|&a| ctx.axis(a, rank)).collect::<Result<_>>()?,
        (None, Some(axes)) => {
            // Axes known to the run alone: the vectors are spread over all axes, with defaults for the others.
            let index = ctx.normalize_index(axes, &Dim::from(rank))?;
            for (vector, default) in &mut vectors {
                let all = ctx.ints_constant(&vec![*default; rank]);
                let op = Op::ScatterElements { axis: 0, op: nnc_ir::op::ScatterOp::Replace };
                *vector = ctx.one(op, &[all, index, *vector])?;
            }
            (0..rank).collect()
        }
        (None, None) => return Err(unsupported("the axes must be known at compile time")),
    };
    let mut result = x;
    for (i, axis) in axes.into_iter().enumerate() {
        let mut scalars = vec![];
        for (vector, _) in &vectors {
            let element = ctx.slice_axis(*vector, 0, Dim::from(i), Dim::ONE)?;
            scalars.push(ctx.reshape(element, &[])?);
        }
        result = gather_range(ctx, result, axis, [scalars[0], scalars[1], scalars[2]])?;
    }
    Ok(result)
}

/// The elements of one axis from a start to an end with a step, all of them scalars the run knows.
fn gather_range(ctx: &mut Context, x: ValueId, axis: usize, [start, end, step]: [ValueId; 3]) -> Result<ValueId> {
    let extent = ctx.dim(x, axis);
    let size = ctx.dim_scalar(extent.clone())?;
    // Larger steps would overflow below.
    let step = ctx.binary_scalar(BinaryOp::Min, step, HUGE as f64)?;
    let step = ctx.binary_scalar(BinaryOp::Max, step, -HUGE as f64)?;
    let backward = ctx.binary_scalar(BinaryOp::Lt, step, 0.0)?;
    let (zero, one, minus_one) = (ctx.int_scalar(0), ctx.int_scalar(1), ctx.int_scalar(-1));
    let low = ctx.select(backward, minus_one, zero)?;
    let before = ctx.sub(size, one)?;
    let high = ctx.select(backward, before, size)?;
    let clamp = |ctx: &mut Context, position: ValueId, low: ValueId| {
        let wrapped = ctx.add(position, size)?;
        let negative = ctx.binary_scalar(BinaryOp::Lt, position, 0.0)?;
        let position = ctx.select(negative, wrapped, position)?;
        let position = ctx.binary(BinaryOp::Max, position, low)?;
        ctx.binary(BinaryOp::Min, position, high)
    };
    let (start, end) = (clamp(ctx, start, zero)?, clamp(ctx, end, low)?);
    let span = ctx.sub(end, start)?;
    // Division truncates: one step less one, in the step's direction, rounds it away from zero.
    let toward = ctx.select(backward, minus_one, one)?;
    let rounded = ctx.add(span, step)?;
    let rounded = ctx.sub(rounded, toward)?;
    let count = ctx.div(rounded, step)?;
    let count = ctx.binary(BinaryOp::Max, count, zero)?;
    let stated = ctx.stated_dim(0, axis);
    let count = ctx.bind_dim(count, stated, Some(extent))?;
    let index = ctx.iota(DType::I64, &[count], 0)?;
    let index = ctx.mul(index, step)?;
    let index = ctx.add(index, start)?;
    ctx.one(Op::Gather { axis, batch: 0 }, &[x, index])
}

#[cfg(test)]
mod tests {
    use crate::testing::sketch;
    use nnc_onnx::ElemType::{Float, Int64};

    #[test]
    fn sizes() {
        for (x, start, end, step, result) in [
            ("10", 2, 5, 1, "f32[3]"),
            ("10", -3, i64::MAX, 1, "f32[3]"),
            ("10", 0, 1000, 3, "f32[4]"),
            ("10", -1, i64::MIN, -1, "f32[10]"),
            ("10", 8, 2, -2, "f32[3]"),
            ("10", 5, 2, 1, "f32[0]"),
            ("10", 20, 30, 1, "f32[0]"),
            ("n", 0, i64::MAX, 1, "f32[n]"),
            ("n", 0, 4, 1, "f32[min(4, n)]"),
            ("n", 0, 4, i64::MAX, "f32[floor("),
            ("10", 0, 4, 0, "step of axis 0 is 0"),
        ] {
            let sketch = sketch().input("x", Float, x).ints("s", &[1], &[start]).ints("e", &[1], &[end]);
            let sketch = sketch.ints("a", &[1], &[0]).ints("t", &[1], &[step]);
            let found = sketch.node("Slice", "x s e a t -> y").output("y").result_type();
            assert!(found.contains(result), "{x} {start} {end} {step}: {found}");
        }
    }

    #[test]
    fn run_time_bounds() {
        let sketch = sketch().input("x", Float, "10").input("s", Int64, "1").input("e", Int64, "1");
        assert_eq!(sketch.node("Slice", "x s e -> y").output("y").result_type(), "f32[size_0]");
    }

    #[test]
    fn values() {
        // Known at compile time and known to the run alone, the elements are the same.
        let x: Vec<i64> = (0..10).collect();
        for (start, end, step, expected) in [
            (2, 5, 1, "i64[3] 2 3 4"),
            (-3, i64::MAX, 1, "i64[3] 7 8 9"),
            (8, 2, -2, "i64[3] 8 6 4"),
            (-1, i64::MIN, -3, "i64[4] 9 6 3 0"),
            (5, 2, 1, "i64[0]"),
            (1, 9, 4, "i64[2] 1 5"),
            (-100, -200, -1, "i64[1] 0"),
            (-100, 3, -1, "i64[0]"),
            (100, 7, -1, "i64[2] 9 8"),
            (2, 9, i64::MAX, "i64[1] 2"),
            (-1, i64::MIN, i64::MIN, "i64[1] 9"),
        ] {
            let known = sketch().given("x", &[10], &x).ints("s", &[1], &[start]).ints("e", &[1], &[end]);
            let known = known.ints("a", &[1], &[0]).ints("t", &[1], &[step]).node("Slice", "x s e a t -> y");
            assert_eq!(known.output("y").run(), expected);
            let run = sketch().given("x", &[10], &x).given("s", &[1], &[start]).given("e", &[1], &[end]);
            let run = run.given("a", &[1], &[0i64]).given("t", &[1], &[step]).node("Slice", "x s e a t -> y");
            assert_eq!(run.output("y").run(), expected);
        }
    }
}

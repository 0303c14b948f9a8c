//! Reductions: ReduceSum, ReduceMax and their eight relatives.
//!
//! Pages: `https://onnx.ai/onnx/operators/onnx__Reduce<Name>.html`; axes as an attribute until opset 17 (ReduceSum: 12),
//! as an input from then on. 16-bit floats are squared, exponentiated and averaged in f32.

use crate::context::Context;
use crate::emit::roomy;
use crate::error::{Result, unsupported};
use crate::reshape::Axes;
use nnc_ir::op::{BinaryOp, ReduceOp, UnaryOp};
use nnc_ir::{DType, Dim, ValueId};

/// One reduction over sorted axes.
type Reduction = fn(&mut Context<'_, '_>, ValueId, &[usize], bool) -> Result<ValueId>;

macro_rules! rows {
    ($($function:ident $reduction:path;)*) => { $(
        #[doc = concat!("The operator of `", stringify!($reduction), "`.")]
        pub fn $function(ctx: &mut Context) -> Result<Vec<ValueId>> {
            over_axes(ctx, $reduction)
        }
    )* };
}
rows! {
    reduce_l1 l1;
    reduce_l2 l2;
    reduce_log_sum log_sum;
    reduce_log_sum_exp log_sum_exp;
    reduce_max max;
    reduce_mean mean;
    reduce_min min;
    reduce_prod prod;
    reduce_sum sum;
    reduce_sum_square sum_square;
}

fn over_axes(ctx: &mut Context, reduction: Reduction) -> Result<Vec<ValueId>> {
    let x = ctx.input(0)?;
    let keep = ctx.flag("keepdims", true)?;
    let no_op = ctx.flag("noop_with_empty_axes", false)?;
    let since = if ctx.op_type() == "ReduceSum" { 13 } else { 18 };
    let rank = ctx.rank(x);
    let axes = match ctx.axes_operand(since)? {
        Axes::Known(axes) => ctx.axes(&axes, rank)?,
        Axes::Absent => vec![],
        Axes::RunTime => return Ok(vec![at_run_time(ctx, x, keep, reduction)?]),
    };
    if axes.is_empty() && no_op {
        return Ok(vec![x]);
    }
    let axes = if axes.is_empty() { (0..rank).collect() } else { axes };
    Ok(vec![reduction(ctx, x, &axes, keep)?])
}

/// Axes that only the run knows: one result for each choice that gives the stated shape, of which the run picks one.
fn at_run_time(ctx: &mut Context, x: ValueId, keep: bool, reduction: Reduction) -> Result<ValueId> {
    const MOST_RANK: usize = 6;
    let stated = ctx.stated_shape(0, "the axes")?;
    let (shape, axes) = (ctx.shape(x), ctx.input(1)?);
    if shape.len() > MOST_RANK {
        return Err(unsupported("the axes must be known at compile time; make them a constant"));
    }
    let index = ctx.normalize_index(axes, &Dim::from(shape.len()))?;
    let mut result: Option<ValueId> = None;
    let mut choices = vec![];
    for choice in 1u32..1 << shape.len() {
        let chosen: Vec<usize> = (0..shape.len()).filter(|a| choice >> a & 1 == 1).collect();
        let reduced = shape.iter().enumerate().filter(|(a, _)| keep || !chosen.contains(a));
        let reduced = reduced.map(|(a, d)| if chosen.contains(&a) { Dim::ONE } else { d.clone() });
        if ctx.dim(axes, 0).as_const().is_some_and(|n| n != chosen.len() as i64) || !reduced.eq(stated.iter().cloned())
        {
            continue;
        }
        choices.push(choice);
        let candidate = reduction(ctx, x, &chosen, keep)?;
        result = Some(match result {
            None => candidate,
            Some(others) => {
                let is_chosen = same_set(ctx, index, &chosen)?;
                ctx.select(is_chosen, candidate, others)?
            }
        });
    }
    let help = || unsupported("the stated shape of the output is that of no reduction; correct it");
    let result = result.ok_or_else(help)?;
    ctx.claim_axes(axes, shape.len(), &choices)?;
    Ok(result)
}

/// Whether an index vector of the same length holds these axes, in any order.
fn same_set(ctx: &mut Context, index: ValueId, axes: &[usize]) -> Result<ValueId> {
    let mut all = ctx.scalar(DType::Bool, 1.0);
    for &axis in axes {
        let equal = ctx.binary_scalar(BinaryOp::Eq, index, axis as f64)?;
        let equal = ctx.convert(equal, DType::U8)?;
        let any = ctx.reduce(ReduceOp::Max, equal, &[0], false)?;
        let any = ctx.convert(any, DType::Bool)?;
        all = ctx.binary(BinaryOp::And, all, any)?;
    }
    Ok(all)
}

/// The input as floats: f32, or f64 for 32- and 64-bit integers.
fn as_float(ctx: &mut Context, x: ValueId) -> Result<ValueId> {
    match ctx.dtype(x) {
        DType::F64 => Ok(x),
        dtype if dtype.is_int() && dtype.size() >= 4 => ctx.convert(x, DType::F64),
        _ => ctx.convert(x, DType::F32),
    }
}

/// A reduction of bools by way of bytes.
fn extremum(ctx: &mut Context, op: ReduceOp, x: ValueId, axes: &[usize], keep: bool) -> Result<ValueId> {
    let dtype = ctx.dtype(x);
    let x = if dtype == DType::Bool { ctx.convert(x, DType::U8)? } else { x };
    let y = ctx.reduce(op, x, axes, keep)?;
    ctx.convert(y, dtype)
}

fn max(ctx: &mut Context, x: ValueId, axes: &[usize], keep: bool) -> Result<ValueId> {
    extremum(ctx, ReduceOp::Max, x, axes, keep)
}

fn min(ctx: &mut Context, x: ValueId, axes: &[usize], keep: bool) -> Result<ValueId> {
    extremum(ctx, ReduceOp::Min, x, axes, keep)
}

fn sum(ctx: &mut Context, x: ValueId, axes: &[usize], keep: bool) -> Result<ValueId> {
    ctx.reduce(ReduceOp::Sum, x, axes, keep)
}

fn prod(ctx: &mut Context, x: ValueId, axes: &[usize], keep: bool) -> Result<ValueId> {
    ctx.reduce(ReduceOp::Prod, x, axes, keep)
}

fn mean(ctx: &mut Context, x: ValueId, axes: &[usize], keep: bool) -> Result<ValueId> {
    let dtype = ctx.dtype(x);
    let x = roomy(ctx, x)?;
    let y = ctx.mean(x, axes, keep)?;
    ctx.convert(y, dtype)
}

fn l1(ctx: &mut Context, x: ValueId, axes: &[usize], keep: bool) -> Result<ValueId> {
    let magnitude = if ctx.dtype(x).is_signed() { ctx.unary(UnaryOp::Abs, x)? } else { x };
    sum(ctx, magnitude, axes, keep)
}

fn l2(ctx: &mut Context, x: ValueId, axes: &[usize], keep: bool) -> Result<ValueId> {
    let dtype = ctx.dtype(x);
    let x = as_float(ctx, x)?;
    let squares = ctx.mul(x, x)?;
    let total = sum(ctx, squares, axes, keep)?;
    let root = ctx.unary(UnaryOp::Sqrt, total)?;
    ctx.convert(root, dtype)
}

fn sum_square(ctx: &mut Context, x: ValueId, axes: &[usize], keep: bool) -> Result<ValueId> {
    let dtype = ctx.dtype(x);
    let x = roomy(ctx, x)?;
    let squares = ctx.mul(x, x)?;
    let total = sum(ctx, squares, axes, keep)?;
    ctx.convert(total, dtype)
}

fn log_sum(ctx: &mut Context, x: ValueId, axes: &[usize], keep: bool) -> Result<ValueId> {
    let dtype = ctx.dtype(x);
    let x = as_float(ctx, x)?;
    let total = sum(ctx, x, axes, keep)?;
    let log = ctx.unary(UnaryOp::Log, total)?;
    ctx.convert(log, dtype)
}

/// `m + log(sum(exp(x - m)))` with the largest element `m`, where that is finite.
fn log_sum_exp(ctx: &mut Context, x: ValueId, axes: &[usize], keep: bool) -> Result<ValueId> {
    let dtype = ctx.dtype(x);
    let x = as_float(ctx, x)?;
    let largest = ctx.reduce(ReduceOp::Max, x, axes, true)?;
    let infinite = ctx.unary(UnaryOp::IsInf, largest)?;
    let zero = ctx.scalar(ctx.dtype(x), 0.0);
    let largest = ctx.select(infinite, zero, largest)?;
    let shifted = ctx.sub(x, largest)?;
    let e = ctx.unary(UnaryOp::Exp, shifted)?;
    let total = sum(ctx, e, axes, true)?;
    let log = ctx.unary(UnaryOp::Log, total)?;
    let y = ctx.add(log, largest)?;
    let y = if keep { y } else { ctx.squeeze(y, axes)? };
    ctx.convert(y, dtype)
}

#[cfg(test)]
mod tests {
    use crate::testing::sketch;
    use nnc_onnx::ElemType::Float;

    #[test]
    fn axes_by_opset() {
        let old = sketch().opset(13).input("x", Float, "2 3 4").node("ReduceMean", "x -> y").int_list("axes", &[-1]);
        assert_eq!(old.output("y").result_type(), "f32[2, 3, 1]");
        let new = sketch().input("x", Float, "2 3 n").ints("a", &[2], &[0, 2]).node("ReduceMean", "x a -> y");
        assert_eq!(new.int("keepdims", 0).output("y").result_type(), "f32[3]");
        let all = sketch().input("x", Float, "2 3").node("ReduceLogSumExp", "x -> y").int("keepdims", 0);
        assert_eq!(all.output("y").result_type(), "f32[]");
        let none = sketch().input("x", Float, "2 3").node("ReduceSum", "x -> y").int("noop_with_empty_axes", 1);
        assert_eq!(none.output("y").result_type(), "f32[2, 3]");
    }

    #[test]
    fn values() {
        for (op, expected) in [
            ("ReduceSum", "-1 7"),
            ("ReduceMean", "-0.5 3.5"),
            ("ReduceMax", "1 4"),
            ("ReduceMin", "-2 3"),
            ("ReduceProd", "-2 12"),
            ("ReduceL1", "3 7"),
            ("ReduceL2", "2.2361 5"),
            ("ReduceSumSquare", "5 25"),
            ("ReduceLogSumExp", "1.0486 4.3133"),
        ] {
            let sketch = sketch().given("x", &[2, 2], &[1.0f32, -2.0, 3.0, 4.0]).ints("a", &[1], &[1]);
            let sketch = sketch.node(op, "x a -> y").int("keepdims", 0).output("y");
            assert_eq!(sketch.run(), format!("f32[2] {expected}"), "{op}");
        }
        let far = sketch().given("x", &[2], &[1000.0f32, 1000.0]).node("ReduceLogSumExp", "x -> y").output("y");
        assert_eq!(far.run(), "f32[1] 1000.6932");
    }

    #[test]
    fn axes_known_to_the_run_alone() {
        use nnc_onnx::{DimInfo, TypeInfo};
        let mut sketch = sketch().given("x", &[2, 2], &[1.0f32, 2.0, 3.0, 4.0]).given("a", &[1], &[-2i64]);
        sketch = sketch.node("ReduceSum", "x a -> y").int("keepdims", 0).output("y");
        assert!(sketch.run().contains("the axes must be known at compile time"));
        // Either axis gives this shape; the run chooses.
        let shape = Some(vec![DimInfo::Size(2)]);
        sketch.model.graph.outputs[0].ty = Some(TypeInfo::Tensor { elem_type: Float, shape });
        assert_eq!(sketch.run(), "f32[2] 4 6");
    }
}

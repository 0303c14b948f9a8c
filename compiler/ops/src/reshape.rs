//! Operators that keep the elements in row-major order and change the shape.
//!
//! Reshape (<https://onnx.ai/onnx/operators/onnx__Reshape.html>, opsets 5 on, `allowzero` from 14 on), Flatten
//! (<https://onnx.ai/onnx/operators/onnx__Flatten.html>), Squeeze (<https://onnx.ai/onnx/operators/onnx__Squeeze.html>)
//! and Unsqueeze (<https://onnx.ai/onnx/operators/onnx__Unsqueeze.html>), the two with axes as an attribute until
//! opset 12 and as an input from 13 on; ExpandDims is ONNX Runtime's.

use crate::context::Context;
use crate::error::{Result, invalid, unsupported};
use crate::shapes::MOST_AXES;
use nnc_ir::op::{BinaryOp, ReduceOp, Relation};
use nnc_ir::{DType, Dim, ValueId};

fn count(shape: &[Dim]) -> Dim {
    shape.iter().fold(Dim::ONE, |n, d| n * d)
}

/// The elements in the shape given: 0 keeps the input's size, -1 takes what is left.
pub fn reshape(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let (x, shape) = (ctx.input(0)?, ctx.input(1)?);
    let allow_zero = ctx.flag("allowzero", false)?;
    let from = ctx.shape(x);
    let Some(wanted) = ctx.symbolic(shape) else {
        let Some(stated) = ctx.whole_stated(0) else {
            let to = found_in_run(ctx, x, shape, allow_zero)?;
            return Ok(vec![ctx.reshape(x, &to)?]);
        };
        let y = ctx.reshape(x, &stated)?;
        let found = ctx.bound_elements(shape, -1)?;
        if found.len() != stated.len() {
            return Err(invalid(format!("the shape has {} elements, the stated one {}", found.len(), stated.len())));
        }
        for (i, (found, stated)) in found.into_iter().zip(stated).enumerate() {
            // The number of elements is right, so -1 stands for the size stated.
            let mut size = found.eq01(&Dim::from(-1)).select(&stated, &found);
            if let (false, Some(kept)) = (allow_zero, from.get(i)) {
                size = found.eq01(&Dim::ZERO).select(kept, &size);
            }
            ctx.require(size, Relation::Equal, stated, format!("element {i} of the shape"))?;
        }
        return Ok(vec![y]);
    };
    let mut to = vec![];
    let mut open = None;
    for (i, size) in wanted.into_iter().enumerate() {
        match size.as_const() {
            Some(0) if !allow_zero => match from.get(i) {
                Some(kept) => to.push(kept.clone()),
                None => return Err(invalid(format!("the shape keeps axis {i}, which {} does not have", ctx.show(x)))),
            },
            Some(-1) if open.is_some() => return Err(invalid("the shape has more than one -1")),
            Some(-1) => {
                open = Some(i);
                to.push(Dim::ONE);
            }
            Some(n) if n < 0 => return Err(invalid(format!("the shape has the size {n}"))),
            _ => to.push(size),
        }
    }
    if let Some(open) = open {
        to[open] = rest(ctx, x, &from, &to)?;
    }
    Ok(vec![ctx.reshape(x, &to)?])
}

/// The size that makes `to` (1 in its place) hold the elements of `from`.
///
/// Where products of dimensions do not tell, the run must find that it divides: the shape given then has as many elements.
fn rest(ctx: &Context, x: ValueId, from: &[Dim], to: &[Dim]) -> Result<Dim> {
    // Sizes on both sides cancel first: with a size that may be 0 the quotient of products would not be exact.
    let mut over = to.to_vec();
    let mut left = vec![];
    for dim in from {
        match over.iter().position(|o| o == dim) {
            Some(i) => {
                over.swap_remove(i);
            }
            None => left.push(dim.clone()),
        }
    }
    let (left, over) = (count(&left), count(&over));
    if over.is_const(0) {
        return if left.is_const(0) { Ok(Dim::ZERO) } else { Err(invalid("the size for -1 is undefined beside a 0")) };
    }
    if let Some(quotient) = left.div_exact(&over) {
        return Ok(quotient);
    }
    if left.as_const().is_some() && over.as_const().is_some() {
        let shape = ctx.show_shape(to);
        let text = format!("the elements of {} do not divide into {shape} times the size for -1", ctx.show(x));
        return Err(invalid(text));
    }
    Ok(left.floor_div(&over.max(&Dim::ONE)).simplify(ctx.dims()))
}

/// The sizes that a shape which only the run knows stands for.
fn found_in_run(ctx: &mut Context, x: ValueId, shape: ValueId, allow_zero: bool) -> Result<Vec<Dim>> {
    let count = ctx.dim(shape, 0).as_const().and_then(|n| usize::try_from(n).ok());
    let help = || unsupported("the number of axes must be known at compile time; make it a constant");
    let count = count.filter(|n| *n <= MOST_AXES).ok_or_else(help)?;
    let mut sizes = ctx.convert(shape, DType::I64)?;
    if !allow_zero {
        let mut own = ctx.shape(x);
        own.resize(count, Dim::ZERO);
        let own = ctx.dims_vector(own)?;
        let kept = ctx.binary_scalar(BinaryOp::Eq, sizes, 0.0)?;
        sizes = ctx.select(kept, own, sizes)?;
    }
    let open = ctx.binary_scalar(BinaryOp::Eq, sizes, -1.0)?;
    let one = ctx.int_scalar(1);
    let others = ctx.select(open, one, sizes)?;
    let others = ctx.reduce(ReduceOp::Prod, others, &[0], false)?;
    let others = ctx.binary_scalar(BinaryOp::Max, others, 1.0)?;
    let all = ctx.dim_scalar(ctx.ty(x).count())?;
    let rest = ctx.div(all, others)?;
    let sizes = ctx.select(open, rest, sizes)?;
    ctx.bound_elements(sizes, 0)
}

/// A matrix: the axes before `axis` together, and the others.
pub fn flatten(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let x = ctx.input(0)?;
    let shape = ctx.shape(x);
    let axis = ctx.int("axis", 1)?;
    // One past the last axis is allowed.
    let axis = if axis == shape.len() as i64 { shape.len() } else { ctx.axis(axis, shape.len())? };
    let to = [count(&shape[..axis]), count(&shape[axis..])];
    Ok(vec![ctx.reshape(x, &to)?])
}

/// Without the axes named, or all of size 1.
pub fn squeeze(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let x = ctx.input(0)?;
    let shape = ctx.shape(x);
    let axes = match ctx.axes_operand(13)? {
        Axes::Known(axes) => ctx.axes(&axes, shape.len())?,
        Axes::Absent => {
            if let Some(open) = shape.iter().find(|d| d.as_const().is_none()) {
                let name = ctx.dims().display(open).to_string();
                return Err(unsupported(format!(
                    "without axes, whether `{name}` is removed depends on its size; name the axes, or fix it with --dim"
                )));
            }
            (0..shape.len()).filter(|&a| shape[a].is_const(1)).collect()
        }
        Axes::RunTime => {
            let stated = ctx.stated_shape(0, "the axes")?;
            let y = ctx.reshape(x, &stated)?;
            ctx.claim_unit_axes(&shape, &stated)?;
            return Ok(vec![y]);
        }
    };
    if let Some(&axis) = axes.iter().find(|&&a| shape[a].as_const().is_some_and(|size| size != 1)) {
        return Err(invalid(format!("axis {axis} of {} is removed, but its size is not 1", ctx.show(x))));
    }
    let mut x = x;
    for &axis in &axes {
        x = ctx.with_size(x, axis, &Dim::ONE, || format!("the size of axis {axis}, which is removed,"))?;
    }
    Ok(vec![ctx.squeeze(x, &axes)?])
}

/// With axes of size 1 at the places named.
pub fn unsqueeze(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let x = ctx.input(0)?;
    let axes = match ctx.axes_operand(13)? {
        Axes::Known(axes) => axes,
        Axes::Absent => return Err(invalid("axes are missing")),
        Axes::RunTime => {
            let stated = ctx.stated_shape(0, "the axes")?;
            let (shape, y) = (ctx.shape(x), ctx.reshape(x, &stated)?);
            ctx.claim_unit_axes(&stated, &shape)?;
            return Ok(vec![y]);
        }
    };
    let axes = ctx.axes(&axes, ctx.rank(x) + axes.len())?;
    Ok(vec![ctx.unsqueeze(x, &axes)?])
}

/// ONNX Runtime's Unsqueeze of one axis, which is an input.
pub fn expand_dims(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let (x, axis) = (ctx.input(0)?, ctx.input(1)?);
    let axis = ctx.require_scalar(axis, "the axis")?;
    let axis = ctx.axis(axis as i64, ctx.rank(x) + 1)?;
    Ok(vec![ctx.unsqueeze(x, &[axis])?])
}

/// Axes that are an attribute in old opsets and an input in new ones.
#[derive(Clone, Debug)]
pub(crate) enum Axes {
    /// Not given.
    Absent,
    /// As given, negative ones not resolved.
    Known(Vec<i64>),
    /// Only the run knows them (input 1).
    RunTime,
}

impl Context<'_, '_> {
    /// Requires the axes in input 1 to be such that `long` without them is `short`.
    fn claim_unit_axes(&mut self, long: &[Dim], short: &[Dim]) -> Result<()> {
        const MOST_RANK: usize = 8;
        if long.len() > MOST_RANK {
            return Err(unsupported("the axes must be known at compile time; make them a constant"));
        }
        let fits = |chosen: &u32| {
            let named = |a: usize| chosen >> a & 1 == 1;
            (0..long.len()).all(|a| !named(a) || long[a].is_const(1))
                && (0..long.len()).filter(|&a| !named(a)).map(|a| &long[a]).eq(short)
        };
        let choices: Vec<u32> = (0..1 << long.len()).filter(fits).collect();
        let axes = self.input(1)?;
        self.claim_axes(axes, long.len(), &choices)
    }

    /// Requires a vector of axes that only the run knows to be one of some sets of axes, given as bits.
    pub(crate) fn claim_axes(&mut self, axes: ValueId, rank: usize, choices: &[u32]) -> Result<()> {
        let index = self.normalize_index(axes, &Dim::from(rank))?;
        let one = self.int_scalar(1);
        let bits = self.binary(BinaryOp::Shl, one, index)?;
        let all: Vec<usize> = (0..self.rank(bits)).collect();
        let set = self.reduce(ReduceOp::Sum, bits, &all, false)?;
        let mut fits = self.scalar(DType::Bool, 0.0);
        for &choice in choices {
            let equal = self.binary_scalar(BinaryOp::Eq, set, f64::from(choice))?;
            fits = self.binary(BinaryOp::Or, fits, equal)?;
        }
        let fits = self.convert(fits, DType::I64)?;
        let found = self.bound_elements(fits, 0)?;
        let what = "whether the axes give the stated shape";
        found.into_iter().try_for_each(|f| self.require(f, Relation::Equal, Dim::ONE, what.to_owned()))
    }

    /// The axes: attribute `axes` before opset `since`, input 1 from there on.
    pub(crate) fn axes_operand(&mut self, since: i64) -> Result<Axes> {
        if self.opset() < since {
            return Ok(self.ints("axes")?.map_or(Axes::Absent, |a| Axes::Known(a.to_vec())));
        }
        let Some(axes) = self.optional_input(1)? else { return Ok(Axes::Absent) };
        // A vector without elements says nothing, whatever its elements are.
        if self.ty(axes).count().is_const(0) {
            return Ok(Axes::Known(vec![]));
        }
        Ok(self.constant_ints(axes).map_or(Axes::RunTime, Axes::Known))
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::sketch;
    use nnc_onnx::ElemType::Float;

    #[test]
    fn reshape() {
        for (x, shape, result) in [
            ("2 3 4", &[-1, 4][..], "f32[6, 4]"),
            ("2 3 4", &[0, -1], "f32[2, 12]"),
            ("batch 3 4", &[-1, 12], "f32[batch, 12]"),
            ("batch seq 768", &[0, 0, 12, 64], "f32[batch, seq, 12, 64]"),
            ("batch seq 768", &[0, 0, 12, -1], "f32[batch, seq, 12, 64]"),
            ("batch seq 768", &[-1, 768], "f32[batch*seq, 768]"),
            ("n 3", &[-1, 4], "f32[floor((3*n)/4), 4]"),
            ("2 3", &[4, -1], "do not divide into [4, 1]"),
            ("2 3", &[-1, -1], "more than one -1"),
        ] {
            let sketch = sketch().input("x", Float, x).ints("s", &[shape.len()], shape);
            let found = sketch.node("Reshape", "x s -> y").output("y").result_type();
            assert!(found.contains(result), "{x} {shape:?}: {found}");
        }
    }

    #[test]
    fn axes() {
        for (op, x, axes, result) in [
            ("Squeeze", "1 3 1", &[0, -1][..], "f32[3]"),
            ("Squeeze", "1 3 1", &[1], "its size is not 1"),
            ("Squeeze", "n 3 1", &[0], "f32[3, 1]"),
            ("Unsqueeze", "3", &[0, -1], "f32[1, 3, 1]"),
            ("Unsqueeze", "3", &[0, 0], "named twice"),
            ("Unsqueeze", "n", &[5], "axis 5 is out of range for a tensor of rank 2"),
        ] {
            let sketch = sketch().input("x", Float, x).ints("a", &[axes.len()], axes);
            let found = sketch.node(op, "x a -> y").output("y").result_type();
            assert!(found.contains(result), "{op} {x} {axes:?}: {found}");
        }
    }
}

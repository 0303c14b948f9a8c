//! `reduce`, `arg_reduce`, `cumulative`.
//!
//! Rules: floats accumulate in `f64`, in row-major order of the operand, and are rounded once. NaN is the largest and
//! the smallest element alike, so `arg_reduce` finds the first (or last) NaN, as numpy does.

use crate::elementwise::{int_accepts, int_binary, order_key};
use crate::error::{Eval, unfit};
use crate::movement::{axes_around, transpose};
use crate::values::{Values, allocatable, count, load, store, typed};
use nnc_ir::op::{BinaryOp, ReduceOp};
use nnc_ir::{DType, Tensor};

/// The operation on two elements.
pub(super) fn combiner(op: ReduceOp) -> BinaryOp {
    match op {
        ReduceOp::Sum => BinaryOp::Add,
        ReduceOp::Prod => BinaryOp::Mul,
        ReduceOp::Max => BinaryOp::Max,
        ReduceOp::Min => BinaryOp::Min,
    }
}

/// What the empty set of floats gives.
pub(super) fn float_identity(op: ReduceOp) -> f64 {
    match op {
        ReduceOp::Sum => 0.0,
        ReduceOp::Prod => 1.0,
        ReduceOp::Max => f64::NEG_INFINITY,
        ReduceOp::Min => f64::INFINITY,
    }
}

/// What the empty set of integers or bools gives.
pub(super) fn int_identity(op: ReduceOp, dtype: DType) -> i64 {
    let bits = 8 * dtype.size() as u32;
    let (lowest, highest) = match dtype {
        DType::Bool => (0, 1),
        DType::U64 => (0, -1),
        _ if dtype.is_signed() => (i64::MIN >> (64 - bits), i64::MAX >> (64 - bits)),
        _ => (0, (1 << bits) - 1),
    };
    match op {
        ReduceOp::Sum => 0,
        ReduceOp::Prod => 1,
        ReduceOp::Max => lowest,
        ReduceOp::Min => highest,
    }
}

/// The functions that fold floats and integers of a type.
pub(super) struct Fold {
    pub float: fn(f64, f64) -> f64,
    op: BinaryOp,
    dtype: DType,
}

impl Fold {
    pub fn new(op: ReduceOp, dtype: DType) -> Eval<Fold> {
        let op = combiner(op);
        match op.on_floats() {
            Some(float) if dtype.is_float() || int_accepts(op, dtype) => Ok(Fold { float, op, dtype }),
            _ => Err(unfit(format!("{op:?} of {dtype}"))),
        }
    }

    pub fn int(&self, a: i64, b: i64) -> i64 {
        int_binary(self.op, self.dtype, a, b)
    }
}

pub(super) fn reduce(x: &Tensor, op: ReduceOp, axes: &[usize]) -> Eval<Tensor> {
    let rank = x.shape.len();
    if !axes.is_sorted_by(|a, b| a < b) || axes.iter().any(|&a| a >= rank) {
        return Err(unfit(format!("axes {axes:?} of {:?}", x.shape)));
    }
    let fold = Fold::new(op, x.dtype)?;
    let shape: Vec<usize> = (0..rank).filter(|a| !axes.contains(a)).map(|a| x.shape[a]).collect();
    let kept = allocatable(x.dtype, &shape)?;
    let size: usize = axes.iter().map(|&a| x.shape[a]).product();
    // Each result's elements become one row.
    let rows = load(&transpose(x, &axes_around(rank, &[], axes))?);
    let row = |i: usize| i * size..(i + 1) * size;
    let values = match rows {
        Values::Float(v) => {
            let sum = |i| v[row(i)].iter().fold(0.0, |a, b| a + b);
            let any = |i| v[row(i)].iter().fold(float_identity(op), |a, &b| (fold.float)(a, b));
            Values::Float(if op == ReduceOp::Sum { (0..kept).map(sum).collect() } else { (0..kept).map(any).collect() })
        }
        Values::Int(v) => {
            let first = int_identity(op, x.dtype);
            Values::Int((0..kept).map(|i| v[row(i)].iter().fold(first, |a, &b| fold.int(a, b))).collect())
        }
    };
    Ok(store(x.dtype, shape, values))
}

/// A tensor seen as `[outer, size, inner]` around one axis.
pub(super) struct Lanes {
    pub outer: usize,
    pub size: usize,
    pub inner: usize,
}

impl Lanes {
    pub fn new(shape: &[usize], axis: usize) -> Eval<Lanes> {
        let Some(&size) = shape.get(axis) else { return Err(unfit(format!("axis {axis} of {shape:?}"))) };
        let (outer, inner) = (count(&shape[..axis])?, count(&shape[axis + 1..])?);
        Ok(Lanes { outer, size, inner })
    }

    /// Row-major index of an element.
    pub fn at(&self, outer: usize, i: usize, inner: usize) -> usize {
        (outer * self.size + i) * self.inner + inner
    }

    /// The (outer, inner) pairs in row-major order.
    pub fn each(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let (outer, inner) = (self.outer, self.inner);
        (0..outer).flat_map(move |o| (0..inner).map(move |i| (o, i)))
    }
}

pub(super) fn arg_reduce(x: &Tensor, axis: usize, max: bool, last: bool) -> Eval<Tensor> {
    let lanes = Lanes::new(&x.shape, axis)?;
    let mut shape = x.shape.clone();
    shape.remove(axis);
    let total = allocatable(DType::I64, &shape)?;
    if lanes.size == 0 && total != 0 {
        return Err(unfit(format!("axis {axis} of {:?} has no element", x.shape)));
    }
    let values = load(x);
    // Whether element `new` takes the place of the earlier element `best`.
    let better = |new: usize, best: usize| match &values {
        Values::Float(v) if v[best].is_nan() => last && v[new].is_nan(),
        Values::Float(v) if v[new].is_nan() => true,
        Values::Float(v) => (last && v[new] == v[best]) || if max { v[new] > v[best] } else { v[new] < v[best] },
        Values::Int(v) => {
            let (new, best) = (order_key(x.dtype, v[new]), order_key(x.dtype, v[best]));
            (last && new == best) || if max { new > best } else { new < best }
        }
    };
    let found = lanes.each().map(|(outer, inner)| {
        let mut best = 0;
        for i in 1..lanes.size {
            if better(lanes.at(outer, i, inner), lanes.at(outer, best, inner)) {
                best = i;
            }
        }
        best as i64
    });
    Ok(typed(DType::I64, shape, found.collect::<Vec<i64>>()))
}

pub(super) fn cumulative(x: &Tensor, op: ReduceOp, axis: usize, exclusive: bool, reverse: bool) -> Eval<Tensor> {
    let lanes = Lanes::new(&x.shape, axis)?;
    let fold = Fold::new(op, x.dtype)?;
    if x.data.bytes().is_empty() {
        return Ok(x.clone());
    }
    let mut values = load(x);
    for (outer, inner) in lanes.each() {
        let (mut float, mut int) = (float_identity(op), int_identity(op, x.dtype));
        for step in 0..lanes.size {
            let i = if reverse { lanes.size - 1 - step } else { step };
            let at = lanes.at(outer, i, inner);
            match &mut values {
                Values::Float(v) => {
                    let next = (fold.float)(float, v[at]);
                    v[at] = if exclusive { float } else { next };
                    float = next;
                }
                Values::Int(v) => {
                    let next = fold.int(int, v[at]);
                    v[at] = if exclusive { int } else { next };
                    int = next;
                }
            }
        }
    }
    Ok(store(x.dtype, x.shape.clone(), values))
}

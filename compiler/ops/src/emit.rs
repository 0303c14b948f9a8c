//! Helpers that emit core ops for the node being translated.
//!
//! Each is the op with ONNX's conveniences around it: operands are broadcast, an op that would change nothing is left
//! out, results known at compile time become constants.

use crate::context::Context;
use crate::error::{Result, invalid};
use nnc_ir::op::{BinaryOp, PadMode, ReduceOp, UnaryOp};
use nnc_ir::{DType, Dim, Op, Tensor, ValueId};

impl Context<'_, '_> {
    /// Appends a core op; yields its results. What it relies on of sizes is proven or required first.
    pub fn push(&mut self, op: Op, inputs: &[ValueId]) -> Result<Vec<ValueId>> {
        let (mut op, inputs) = self.agree(op, inputs)?;
        self.demand_for(&op, &inputs)?;
        // What it relies on may leave a dimension one possible size.
        for dim in op.dims_mut() {
            *dim = self.settled(dim);
        }
        let origin = self.origin.clone();
        self.frame_mut().push(op, &inputs, &origin)
    }

    /// Appends a core op with one result.
    pub fn one(&mut self, op: Op, inputs: &[ValueId]) -> Result<ValueId> {
        let results = self.push(op, inputs)?;
        results.first().copied().ok_or_else(|| invalid("the operation has no result"))
    }

    /// A constant.
    pub fn constant(&mut self, tensor: Tensor) -> ValueId {
        let origin = self.origin.clone();
        self.frame_mut().push_const(tensor, &origin)
    }

    /// A constant of rank 0.
    pub fn scalar(&mut self, dtype: DType, value: f64) -> ValueId {
        self.constant(Tensor::scalar_of(dtype, value))
    }

    /// An `i64` constant of rank 0.
    pub fn int_scalar(&mut self, value: i64) -> ValueId {
        self.constant(Tensor::scalar(value))
    }

    /// A constant `i64` vector.
    pub fn ints_constant(&mut self, values: &[i64]) -> ValueId {
        self.constant(Tensor::from_slice(&[values.len()], values))
    }

    /// A tensor of one repeated value.
    pub fn full(&mut self, dtype: DType, value: f64, shape: &[Dim]) -> Result<ValueId> {
        let scalar = self.scalar(dtype, value);
        self.broadcast_to(scalar, shape)
    }

    /// Dimension values as an `i64` vector.
    pub fn dims_vector(&mut self, dims: Vec<Dim>) -> Result<ValueId> {
        self.one(Op::Dims { dims, scalar: false }, &[])
    }

    /// A dimension value as an `i64` scalar.
    pub fn dim_scalar(&mut self, dim: Dim) -> Result<ValueId> {
        self.one(Op::Dims { dims: vec![dim], scalar: true }, &[])
    }

    /// The index along `axis` of each element of a tensor of that shape.
    pub fn iota(&mut self, dtype: DType, shape: &[Dim], axis: usize) -> Result<ValueId> {
        self.one(Op::Iota { dtype, shape: shape.to_vec(), axis }, &[])
    }

    /// `f(x)`.
    pub fn unary(&mut self, op: UnaryOp, x: ValueId) -> Result<ValueId> {
        self.one(Op::Unary(op), &[x])
    }

    /// `f(x, y)` with multidirectional broadcasting. Types must be equal.
    pub fn binary(&mut self, op: BinaryOp, x: ValueId, y: ValueId) -> Result<ValueId> {
        let (x, y) = self.broadcast2(x, y)?;
        self.one(Op::Binary(op), &[x, y])
    }

    /// `f(x, c)` for a constant of x's type.
    pub fn binary_scalar(&mut self, op: BinaryOp, x: ValueId, c: f64) -> Result<ValueId> {
        let c = self.scalar(self.dtype(x), c);
        self.binary(op, x, c)
    }

    /// `x + y`.
    pub fn add(&mut self, x: ValueId, y: ValueId) -> Result<ValueId> {
        self.binary(BinaryOp::Add, x, y)
    }

    /// `x - y`.
    pub fn sub(&mut self, x: ValueId, y: ValueId) -> Result<ValueId> {
        self.binary(BinaryOp::Sub, x, y)
    }

    /// `x * y`.
    pub fn mul(&mut self, x: ValueId, y: ValueId) -> Result<ValueId> {
        self.binary(BinaryOp::Mul, x, y)
    }

    /// `x / y`.
    pub fn div(&mut self, x: ValueId, y: ValueId) -> Result<ValueId> {
        self.binary(BinaryOp::Div, x, y)
    }

    /// `condition ? x : y` with multidirectional broadcasting.
    pub fn select(&mut self, condition: ValueId, x: ValueId, y: ValueId) -> Result<ValueId> {
        let shape = self.broadcast_shape(&[condition, x, y])?;
        let condition = self.broadcast_to(condition, &shape)?;
        let x = self.broadcast_to(x, &shape)?;
        let y = self.broadcast_to(y, &shape)?;
        self.one(Op::Select, &[condition, x, y])
    }

    /// `x` in another type.
    pub fn convert(&mut self, x: ValueId, dtype: DType) -> Result<ValueId> {
        if self.dtype(x) == dtype { Ok(x) } else { self.one(Op::Convert(dtype), &[x]) }
    }

    /// `x` with the same elements in another shape.
    pub fn reshape(&mut self, x: ValueId, shape: &[Dim]) -> Result<ValueId> {
        if self.ty(x).shape == shape { Ok(x) } else { self.one(Op::Reshape { shape: shape.to_vec() }, &[x]) }
    }

    /// `x` with its axes reordered.
    pub fn transpose(&mut self, x: ValueId, perm: &[usize]) -> Result<ValueId> {
        if perm.iter().enumerate().all(|(i, &p)| i == p) {
            return Ok(x);
        }
        self.one(Op::Transpose { perm: perm.to_vec() }, &[x])
    }

    /// `x` with one axis moved to another place, the others in order.
    pub fn move_axis(&mut self, x: ValueId, from: usize, to: usize) -> Result<ValueId> {
        let mut perm: Vec<usize> = (0..self.rank(x)).filter(|&a| a != from).collect();
        perm.insert(to.min(perm.len()), from);
        self.transpose(x, &perm)
    }

    /// `x` with axes of size 1 inserted, at these places of the result (sorted).
    pub fn unsqueeze(&mut self, x: ValueId, axes: &[usize]) -> Result<ValueId> {
        let mut shape = self.shape(x);
        for &axis in axes {
            shape.insert(axis.min(shape.len()), Dim::ONE);
        }
        self.reshape(x, &shape)
    }

    /// `x` without these axes, each of size 1 (sorted).
    pub fn squeeze(&mut self, x: ValueId, axes: &[usize]) -> Result<ValueId> {
        let kept = self.shape(x).into_iter().enumerate().filter(|(i, _)| !axes.contains(i));
        let shape: Vec<Dim> = kept.map(|(_, d)| d).collect();
        self.reshape(x, &shape)
    }

    /// `size` elements along `axis` from `start` on.
    pub fn slice_axis(&mut self, x: ValueId, axis: usize, start: Dim, size: Dim) -> Result<ValueId> {
        let mut sizes = self.shape(x);
        if start.is_const(0) && sizes.get(axis) == Some(&size) {
            return Ok(x);
        }
        let rank = sizes.len();
        let mut starts = vec![Dim::ZERO; rank];
        if let (Some(s), Some(z)) = (starts.get_mut(axis), sizes.get_mut(axis)) {
            (*s, *z) = (start, size);
        }
        self.one(Op::Slice { starts, sizes, steps: vec![1; rank] }, &[x])
    }

    /// `x` with a border; amounts are not negative.
    pub fn pad(&mut self, x: ValueId, low: Vec<Dim>, high: Vec<Dim>, mode: PadMode, value: f64) -> Result<ValueId> {
        if low.iter().chain(&high).all(|d| d.is_const(0)) {
            return Ok(x);
        }
        let value = self.scalar(self.dtype(x), value);
        self.one(Op::Pad { low, high, mode }, &[x, value])
    }

    /// The slices of `x` along its first axis at indices, which are not negative.
    pub fn gather(&mut self, x: ValueId, index: ValueId) -> Result<ValueId> {
        self.one(Op::Gather { axis: 0, batch: 0 }, &[x, index])
    }

    /// The operands one after the other along `axis`.
    pub fn concat(&mut self, operands: &[ValueId], axis: usize) -> Result<ValueId> {
        match operands {
            [only] => Ok(*only),
            _ => self.one(Op::Concat { axis }, operands),
        }
    }

    /// Reduction over `axes` (sorted), which stay with size 1 when `keep`.
    pub fn reduce(&mut self, op: ReduceOp, x: ValueId, axes: &[usize], keep: bool) -> Result<ValueId> {
        if axes.is_empty() {
            return Ok(x);
        }
        let mut shape = self.shape(x);
        let reduced = self.one(Op::Reduce { op, axes: axes.to_vec() }, &[x])?;
        if !keep {
            return Ok(reduced);
        }
        for &axis in axes {
            if let Some(d) = shape.get_mut(axis) {
                *d = Dim::ONE;
            }
        }
        self.reshape(reduced, &shape)
    }

    /// Mean over `axes` (sorted); integers truncate.
    pub fn mean(&mut self, x: ValueId, axes: &[usize], keep: bool) -> Result<ValueId> {
        let count = axes.iter().fold(Dim::ONE, |n, &a| n * self.dim(x, a));
        let sum = self.reduce(ReduceOp::Sum, x, axes, keep)?;
        let dtype = self.dtype(x);
        let count = match count.as_const() {
            Some(n) => self.scalar(dtype, n as f64),
            None => {
                let count = self.dim_scalar(count)?;
                self.convert(count, dtype)?
            }
        };
        self.div(sum, count)
    }

    /// An index tensor as `i64`, negative entries counted from the end of an axis of size `size`.
    pub fn normalize_index(&mut self, index: ValueId, size: &Dim) -> Result<ValueId> {
        let index = self.convert(index, DType::I64)?;
        if self.frame().not_negative(index) {
            return Ok(index);
        }
        let size = self.dim_scalar(size.clone())?;
        let wrapped = self.add(index, size)?;
        let negative = self.binary_scalar(BinaryOp::Lt, index, 0.0)?;
        self.select(negative, wrapped, index)
    }
}

/// The input in a type with room for squares and sums: f32 for 16-bit floats.
pub(crate) fn roomy(ctx: &mut Context, x: ValueId) -> Result<ValueId> {
    match ctx.dtype(x) {
        DType::F16 | DType::BF16 => ctx.convert(x, DType::F32),
        _ => Ok(x),
    }
}

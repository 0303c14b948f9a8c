//! Steps that move elements, and that make them of their places.

use nnc_ir::op::{PadMode, ScatterOp};
use nnc_ir::{DType, Dim, Op, Tensor, ValueId};

use super::builder::Builder;
use crate::fuzz::onnx::range::Range;

pub(super) fn transpose(b: &mut Builder) -> Option<ValueId> {
    let x = b.any(2, 5);
    let perm = b.random.permutation(b.dims(x).len());
    let range = b.range_of(x);
    b.push(Op::Transpose { perm }, &[x], range)
}

pub(super) fn reshape(b: &mut Builder) -> Option<ValueId> {
    let x = b.any(0, 5);
    let mut shape = b.dims(x);
    for _ in 0..1 + b.random.below(2) {
        let at = b.random.below(shape.len().max(1));
        match b.random.below(4) {
            0 if at + 1 < shape.len() => {
                let merged = &shape[at] * &shape[at + 1];
                shape.splice(at..at + 2, [merged]);
            }
            1 if at < shape.len() => {
                let n = shape[at].as_const()?;
                let factor = (2..n).find(|f| n % f == 0)?;
                shape.splice(at..=at, [Dim::from(factor), Dim::from(n / factor)]);
            }
            2 if shape.len() < 5 => shape.insert(at, Dim::ONE),
            _ => {
                let one = shape.iter().position(|d| d.is_const(1))?;
                shape.remove(one);
            }
        }
    }
    let range = b.range_of(x);
    b.push(Op::Reshape { shape }, &[x], range)
}

pub(super) fn broadcast(b: &mut Builder) -> Option<ValueId> {
    let x = b.any(0, 4);
    let dims = b.dims(x);
    let (mut shape, mut axes) = (vec![], vec![]);
    for dim in &dims {
        if b.random.percent(20) {
            shape.push(b.any_dim());
        }
        axes.push(shape.len());
        shape.push(if dim.is_const(1) && b.random.percent(60) { b.any_dim() } else { dim.clone() });
    }
    if b.random.percent(20) {
        shape.push(b.any_dim());
    }
    let range = b.range_of(x);
    b.push(Op::Broadcast { shape, axes }, &[x], range)
}

pub(super) fn slice(b: &mut Builder) -> Option<ValueId> {
    let x = b.any(1, 5);
    let dims = b.dims(x);
    let (mut starts, mut sizes, mut steps) = (vec![Dim::ZERO; dims.len()], dims.clone(), vec![1; dims.len()]);
    for _ in 0..1 + b.random.below(2) {
        let axis = b.random.below(dims.len());
        let n = dims[axis].clone();
        (starts[axis], sizes[axis], steps[axis]) = match b.random.below(4) {
            0 => {
                b.at_least(&n, 1)?;
                (&n - 1, n, -1)
            }
            1 => {
                let n = n.as_const().filter(|&n| n > 0)?;
                let (start, step) = (b.random.within(0, n - 1), b.random.within(1, 3));
                (Dim::from(start), Dim::from((n - start + step - 1) / step), step)
            }
            2 => {
                b.at_least(&n, 2)?;
                (Dim::ZERO, n - 2, 1)
            }
            _ => {
                b.at_least(&n, 1)?;
                (Dim::ONE, n - 1, 1)
            }
        };
    }
    let range = b.range_of(x);
    b.push(Op::Slice { starts, sizes, steps }, &[x], range)
}

pub(super) fn pad(b: &mut Builder) -> Option<ValueId> {
    let x = b.get(&[DType::F32, DType::F32, DType::I64], (1, 5));
    let dims = b.dims(x);
    let mode = *b.random.of(&[PadMode::Constant, PadMode::Constant, PadMode::Edge, PadMode::Reflect, PadMode::Wrap]);
    let (mut low, mut high) = (vec![Dim::ZERO; dims.len()], vec![Dim::ZERO; dims.len()]);
    for axis in 0..dims.len() {
        if b.random.percent(50) {
            let (l, h) = (b.random.within(0, 2), b.random.within(0, 2));
            let least = if mode == PadMode::Reflect { l.max(h) + 1 } else { l.max(h) };
            if mode != PadMode::Constant {
                b.at_least(&dims[axis], least)?;
            }
            (low[axis], high[axis]) = (Dim::from(l), Dim::from(h));
        }
    }
    let dtype = b.dtype(x);
    let value = *b.random.of(&[0.0, 0.0, 1.0, -3.0]);
    let fill = b.constant(Tensor::scalar_of(dtype, value));
    let range = b.range_of(x).or_number(value);
    b.push(Op::Pad { low, high, mode }, &[x, fill], range)
}

pub(super) fn concat(b: &mut Builder) -> Option<ValueId> {
    let x = b.any(1, 5);
    let (dtype, dims) = (b.dtype(x), b.dims(x));
    let axis = b.random.below(dims.len());
    let mut parts = vec![x];
    for _ in 0..1 + b.random.below(3) {
        let dims = dims.clone();
        let fits = move |b: &Builder, v: ValueId| {
            let other = b.graph.shape(v);
            b.dtype(v) == dtype
                && other.len() == dims.len()
                && (0..dims.len()).all(|i| i == axis || other[i] == dims[i])
        };
        parts.push(b.pick(fits)?);
    }
    let range = parts.iter().map(|&p| b.range_of(p)).reduce(Range::or)?;
    b.push(Op::Concat { axis }, &parts, range)
}

/// A constant of indices below `n`.
fn indices(b: &mut Builder, shape: &[usize], n: i64) -> ValueId {
    let values: Vec<i64> = (0..shape.iter().product()).map(|_| b.random.within(0, n - 1)).collect();
    b.constant(Tensor::from_slice(shape, &values))
}

pub(super) fn gather(b: &mut Builder) -> Option<ValueId> {
    let x = b.any(1, 4);
    let dims = b.dims(x);
    let axis = b.random.below(dims.len());
    let n = dims[axis].as_const().filter(|&n| n > 0)?;
    let shapes: [&[usize]; 5] = [&[], &[3], &[2, 2], &[1], &[0]];
    let shape = *b.random.of(&shapes);
    let index = indices(b, shape, n);
    let range = b.range_of(x);
    b.push(Op::Gather { axis, batch: 0 }, &[x, index], range)
}

pub(super) fn gather_elements(b: &mut Builder) -> Option<ValueId> {
    let x = b.any(1, 3);
    let shape: Vec<usize> = b.graph.ty(x).static_shape()?;
    let axis = b.random.below(shape.len());
    if shape.contains(&0) || shape.iter().product::<usize>() > 16 {
        return None;
    }
    let index = indices(b, &shape, shape[axis] as i64);
    let range = b.range_of(x);
    b.push(Op::GatherElements { axis }, &[x, index], range)
}

pub(super) fn scatter_elements(b: &mut Builder) -> Option<ValueId> {
    let x = b.float(1, 2);
    let shape: Vec<usize> = b.graph.ty(x).static_shape()?;
    let dtype = b.dtype(x);
    let axis = b.random.below(shape.len());
    if shape.contains(&0) {
        return None;
    }
    let small: Vec<usize> = shape.iter().map(|&d| d.min(4)).collect();
    let index = indices(b, &small, shape[axis] as i64);
    let dims: Vec<Dim> = small.iter().map(|&d| Dim::from(d)).collect();
    let range = b.range(dtype);
    let updates = b.input(dtype, dims, range);
    let op = *b.random.of(&[ScatterOp::Add, ScatterOp::Max, ScatterOp::Min]);
    let range = b.range_of(x).or(range).sum(8.0);
    b.push(Op::ScatterElements { axis, op }, &[x, index, updates], range)
}

pub(super) fn iota(b: &mut Builder) -> Option<ValueId> {
    let shape: Vec<Dim> = (0..1 + b.random.below(3)).map(|_| b.any_dim()).collect();
    let dtype = *b.random.of(&[DType::F32, DType::I64, DType::I32]);
    let axis = b.random.below(shape.len());
    b.push(Op::Iota { dtype, shape, axis }, &[], Range::exact(0.0, 5000.0, 0))
}

pub(super) fn dims(b: &mut Builder) -> Option<ValueId> {
    let dims = (0..1 + b.random.below(3)).map(|_| b.any_dim()).collect();
    b.push(Op::Dims { dims, scalar: false }, &[], Range::exact(0.0, 5000.0, 0))
}

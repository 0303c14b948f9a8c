//! Steps that combine elements along axes: sums, products, windows, scans and sorts.

use nnc_ir::op::{BinaryOp, ReduceOp, UnaryOp, Window};
use nnc_ir::{DType, Dim, Op, Tensor, ValueId};

use super::builder::Builder;
use crate::fuzz::onnx::range::Range;

pub(super) fn reduce(b: &mut Builder) -> Option<ValueId> {
    let x = b.get(&[DType::F32, DType::F32, DType::F32, DType::I64, DType::F64], (1, 5));
    let dims = b.dims(x);
    let mut axes = b.random.permutation(dims.len());
    axes.truncate(1 + b.random.below(dims.len()));
    axes.sort_unstable();
    let op = *b.random.of(&[ReduceOp::Sum, ReduceOp::Sum, ReduceOp::Max, ReduceOp::Min]);
    if op != ReduceOp::Sum {
        // The value of an empty set is infinite, and spoils what follows.
        for &axis in &axes {
            b.at_least(&dims[axis], 1)?;
        }
    }
    let n: f64 = axes.iter().map(|&a| b.size(&dims[a]).max(1) as f64 * 4.0).product();
    let r = b.range_of(x);
    b.push(Op::Reduce { op, axes }, &[x], if op == ReduceOp::Sum { r.sum(n) } else { r })
}

/// A softmax written out: the same operand in several places.
pub(super) fn softmax(b: &mut Builder) -> Option<ValueId> {
    let x = b.float(1, 4);
    let shape = b.dims(x);
    let axis = b.random.below(shape.len());
    b.at_least(&shape[axis], 1)?;
    let axes: Vec<usize> = (0..shape.len()).filter(|&a| a != axis).collect();
    let r = b.range_of(x);
    let max = b.push(Op::Reduce { op: ReduceOp::Max, axes: vec![axis] }, &[x], r)?;
    let max = b.push(Op::Broadcast { shape: shape.clone(), axes: axes.clone() }, &[max], r)?;
    let shifted = b.push(Op::Binary(BinaryOp::Sub), &[x, max], Range { low: r.low - r.high, high: 0.0, ..r })?;
    let exp = b.push(Op::Unary(UnaryOp::Exp), &[shifted], Range::rounded(0.0, 1.0))?;
    let sum = b.push(Op::Reduce { op: ReduceOp::Sum, axes: vec![axis] }, &[exp], Range::rounded(1.0, 1e3))?;
    let sum = b.push(Op::Broadcast { shape, axes }, &[sum], Range::rounded(1.0, 1e3))?;
    b.push(Op::Binary(BinaryOp::Div), &[exp, sum], Range::rounded(0.0, 1.0))
}

pub(super) fn contract(b: &mut Builder) -> Option<ValueId> {
    let x = b.get(&[DType::F32, DType::F32, DType::F32, DType::F64, DType::I32], (1, 4));
    let (dtype, left) = (b.dtype(x), b.dims(x));
    let known = left.clone();
    let y = match b.pick(|b, v| {
        b.dtype(v) == dtype && b.graph.shape(v).iter().any(|d| known.contains(d)) && b.graph.shape(v).len() < 5
    }) {
        Some(y) if b.random.percent(60) => y,
        _ => {
            let axis = b.random.below(left.len());
            if !b.nameable(&left[axis..=axis]) {
                return None;
            }
            let rank = b.random.below(2);
            let mut shape = b.shape(rank + 1);
            let at = b.random.below(shape.len());
            shape[at] = left[axis].clone();
            let range = b.range(dtype);
            b.input(dtype, shape, range)
        }
    };
    let right = b.dims(y);
    let mut pairs = vec![];
    for l in b.random.permutation(left.len()) {
        let free: Vec<usize> = (0..right.len())
            .filter(|r| right[*r] == left[l] && !pairs.iter().any(|p: &(usize, usize)| p.1 == *r))
            .collect();
        if !free.is_empty() && b.random.percent(80) {
            pairs.push((l, *b.random.of(&free)));
        }
    }
    if pairs.is_empty() {
        return None;
    }
    let kept = b.random.below(pairs.len());
    let contract = pairs.split_off(kept);
    let n: f64 = contract.iter().map(|p| b.size(&left[p.0]).max(1) as f64 * 4.0).product();
    let range = b.range_of(x).times(b.range_of(y)).sum(n);
    b.push(Op::Contract { batch: pairs, contract, out: dtype }, &[x, y], range)
}

fn window(b: &mut Builder, dims: &[Dim], pads: bool) -> Option<Window> {
    let rank = dims.len();
    let list = |b: &mut Builder, of: &[usize]| (0..rank).map(|_| *b.random.of(of)).collect::<Vec<usize>>();
    let size = list(b, &[1, 2, 3, 3]);
    let strides = list(b, &[1, 1, 2, 3]);
    let dilations = list(b, &[1, 1, 1, 2]);
    let pad =
        |b: &mut Builder| (0..rank).map(|i| if pads { b.random.below(size[i]) } else { 0 }).collect::<Vec<usize>>();
    let (pad_low, pad_high) = (pad(b), pad(b));
    for i in 0..rank {
        let span = (size[i] - 1) * dilations[i] + 1;
        b.at_least(&dims[i], (span as i64 - (pad_low[i] + pad_high[i]) as i64).max(1))?;
    }
    Some(Window { size, strides, dilations, pad_low, pad_high })
}

pub(super) fn conv(b: &mut Builder) -> Option<ValueId> {
    let x = b.float(3, 5);
    let (dtype, dims) = (b.dtype(x), b.dims(x));
    let channels = dims[dims.len() - 1].as_const().filter(|&c| c > 0)?;
    let window = window(b, &dims[1..dims.len() - 1], true)?;
    let divisors: Vec<i64> = (1..=channels).filter(|d| channels % d == 0).collect();
    let groups = *b.random.of(&divisors);
    let out = groups * b.random.within(1, 4);
    let mut shape: Vec<usize> = window.size.clone();
    shape.extend([(channels / groups) as usize, out as usize]);
    let count: usize = shape.iter().product();
    let w = if count <= 16 {
        let values: Vec<f64> = (0..count).map(|_| b.random.within(-4, 4) as f64 / 2.0).collect();
        b.constant(Tensor::from_f64s(dtype, &shape, &values))
    } else {
        // Larger constants are text only if they are one value.
        b.constant(Tensor::from_f64s(dtype, &shape, &vec![0.5; count]))
    };
    let range = b.range_of(x).times(b.range_of(w)).or_number(0.0).sum(count as f64);
    b.push(Op::Conv { window, groups: groups as usize, out: dtype }, &[x, w], range)
}

pub(super) fn pool(b: &mut Builder) -> Option<ValueId> {
    let x = b.float(3, 5);
    let dims = b.dims(x);
    let op = *b.random.of(&[ReduceOp::Max, ReduceOp::Sum, ReduceOp::Min]);
    let window = window(b, &dims[1..dims.len() - 1], true)?;
    let taps: usize = window.size.iter().product();
    let r = b.range_of(x);
    b.push(Op::Pool { op, window }, &[x], if op == ReduceOp::Sum { r.or_number(0.0).sum(taps as f64) } else { r })
}

pub(super) fn pool_index(b: &mut Builder) -> Option<ValueId> {
    let x = b.float(3, 4);
    b.range_of(x).bits?;
    let dims = b.dims(x);
    let window = window(b, &dims[1..dims.len() - 1], true)?;
    b.push(Op::PoolIndex { window }, &[x], Range::exact(0.0, 5000.0, 0))
}

pub(super) fn cumulative(b: &mut Builder) -> Option<ValueId> {
    let x = b.get(&[DType::F32, DType::I64], (1, 4));
    let dims = b.dims(x);
    let axis = b.random.below(dims.len());
    let n = b.size(&dims[axis]).max(1) as f64 * 4.0;
    let op = Op::Cumulative { op: ReduceOp::Sum, axis, exclusive: b.random.percent(50), reverse: b.random.percent(50) };
    let range = b.range_of(x).sum(n);
    b.push(op, &[x], range)
}

pub(super) fn top_k(b: &mut Builder) -> Option<ValueId> {
    let x = b.get(&[DType::F32, DType::F32, DType::I64], (1, 4));
    b.range_of(x).bits?;
    let dims = b.dims(x);
    let axis = b.random.below(dims.len());
    let k = if b.random.percent(30) { dims[axis].clone() } else { Dim::from(b.random.within(1, 3)) };
    if !dims[axis].provably_ge(&k, &b.graph.dims) {
        return None;
    }
    let range = b.range_of(x).or_number(0.0).or_number(5000.0);
    let largest = b.random.percent(50);
    b.push(Op::TopK { axis, k, largest }, &[x], range)
}

pub(super) fn arg_reduce(b: &mut Builder) -> Option<ValueId> {
    let x = b.get(&[DType::F32, DType::I64], (1, 4));
    b.range_of(x).bits?;
    let dims = b.dims(x);
    let axis = b.random.below(dims.len());
    b.at_least(&dims[axis], 1)?;
    let op = Op::ArgReduce { axis, max: b.random.percent(50), last: b.random.percent(50) };
    b.push(op, &[x], Range::exact(0.0, 5000.0, 0))
}

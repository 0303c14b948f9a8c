//! The operations that graphs grow by. A step answers `None` when what it drew does not fit.

use nnc_ir::op::{BinaryOp, PadMode, ReduceOp, ScatterOp, UnaryOp, Window};
use nnc_ir::{DType, Dim, Op, Tensor, ValueId};

use super::builder::Builder;
use super::{cells, nested, sizes};
use crate::fuzz::onnx::range::Range;

/// Appends an operation.
pub(super) type Step = fn(&mut Builder) -> Option<ValueId>;

/// What rewrite rules match.
pub(super) const RULES: &[Step] = &[
    unary,
    exact_unary,
    binary,
    binary,
    binary,
    with_scalar,
    with_scalar,
    with_scalar,
    transpose,
    transpose,
    reshape,
    reshape,
    broadcast,
    slice,
    slice,
    pad,
    concat,
    concat,
    reduce,
    reduce,
    contract,
    contract,
    select,
    convert,
    shared,
    sizes::compress,
    nested::branches,
    nested::repeated,
];

/// Every core operation that a graph without symbols of its own may have.
pub(super) const LOWER: &[Step] = &[
    unary,
    exact_unary,
    binary,
    with_scalar,
    transpose,
    reshape,
    broadcast,
    slice,
    pad,
    concat,
    reduce,
    contract,
    contract,
    select,
    convert,
    conv,
    conv,
    pool,
    pool_index,
    gather,
    gather_elements,
    scatter_elements,
    cumulative,
    top_k,
    arg_reduce,
    iota,
    dims,
    compare,
    bits,
    sizes::non_zero,
    sizes::compress,
    sizes::unique,
    sizes::non_max_suppression,
    sizes::bind,
    sizes::scatter_found,
    cells::recurrent,
    nested::branches,
    nested::repeated,
];

/// What bodies of branches and loops are made of.
pub(super) const BODY: &[Step] = &[
    unary,
    exact_unary,
    binary,
    binary,
    with_scalar,
    transpose,
    reshape,
    slice,
    concat,
    reduce,
    contract,
    select,
    convert,
    gather,
    scatter_elements,
    cumulative,
    sizes::non_zero,
    sizes::compress,
    sizes::bind,
    nested::branches,
    nested::repeated,
];

/// Many values alive, views of one another.
pub(super) const MEMORY: &[Step] = &[
    unary,
    exact_unary,
    binary,
    binary,
    shared,
    shared,
    with_scalar,
    transpose,
    reshape,
    slice,
    concat,
    concat,
    reduce,
    contract,
    pad,
    select,
    scatter_elements,
    cumulative,
    top_k,
    softmax,
    sizes::compress,
    sizes::unique,
    cells::recurrent,
    nested::branches,
    nested::repeated,
];

fn unary(b: &mut Builder) -> Option<ValueId> {
    use UnaryOp::*;
    let x = b.float(0, 5);
    let r = b.range_of(x);
    let (op, range) = *b.random.of(&[
        (Tanh, Range::rounded(-1.0, 1.0)),
        (Sigmoid, Range::rounded(0.0, 1.0)),
        (Erf, Range::rounded(-1.0, 1.0)),
        (Sin, Range::rounded(-1.0, 1.0)),
        (Exp, Range::rounded(0.0, 60.0)),
        (Atan, Range::rounded(-1.6, 1.6)),
    ]);
    if matches!(op, Exp) && !r.within(-10.0, 4.0) {
        return None;
    }
    b.push(Op::Unary(op), &[x], range)
}

fn exact_unary(b: &mut Builder) -> Option<ValueId> {
    use UnaryOp::*;
    let x = b.get(&[DType::F32, DType::F32, DType::I64, DType::I32, DType::F64], (0, 5));
    let r = b.range_of(x);
    let (op, range) = match b.random.below(6) {
        0 | 1 => (Neg, r.negative()),
        2 | 3 => (Abs, Range { low: 0.0, high: r.magnitude(), ..r }),
        _ if r.bits.is_none() || !b.dtype(x).is_float() => return None,
        4 => (Floor, Range::exact(r.low.floor(), r.high.ceil(), 0)),
        _ => (Round, Range::exact(r.low.floor(), r.high.ceil(), 0)),
    };
    b.push(Op::Unary(op), &[x], range)
}

fn result(op: BinaryOp, a: Range, c: Range) -> Range {
    match op {
        BinaryOp::Add => a.plus(c),
        BinaryOp::Sub => a.plus(c.negative()),
        BinaryOp::Mul => a.times(c),
        _ => a.or(c),
    }
}

const ARITHMETIC: &[BinaryOp] = &[BinaryOp::Add, BinaryOp::Sub, BinaryOp::Mul, BinaryOp::Max, BinaryOp::Min];

fn binary(b: &mut Builder) -> Option<ValueId> {
    let x = b.get(&[DType::F32, DType::F32, DType::F32, DType::I64, DType::I32, DType::F64], (0, 5));
    let (dtype, dims) = (b.dtype(x), b.dims(x));
    let y = match b.pick(|b, v| b.dtype(v) == dtype && b.graph.shape(v) == dims) {
        Some(y) if b.random.percent(85) => y,
        _ => {
            let range = b.range(dtype);
            if !b.nameable(&dims) {
                return None;
            }
            b.input(dtype, dims, range)
        }
    };
    let op = *b.random.of(ARITHMETIC);
    let (x, y) = if b.random.percent(50) { (y, x) } else { (x, y) };
    let range = result(op, b.range_of(x), b.range_of(y));
    b.push(Op::Binary(op), &[x, y], range)
}

/// The same value twice, or a value beside one it was made of.
fn shared(b: &mut Builder) -> Option<ValueId> {
    let x = b.float(0, 5);
    let op = *b.random.of(ARITHMETIC);
    let range = result(op, b.range_of(x), b.range_of(x));
    if b.random.percent(30) {
        return b.push(Op::Binary(op), &[x, x], range);
    }
    let y = b.push(Op::Unary(UnaryOp::Tanh), &[x], Range::rounded(-1.0, 1.0))?;
    let range = result(op, b.range_of(x), b.range_of(y));
    b.push(Op::Binary(op), &[y, x], range)
}

fn with_scalar(b: &mut Builder) -> Option<ValueId> {
    let x = b.get(&[DType::F32, DType::F32, DType::I64, DType::I32], (0, 5));
    let (dtype, shape) = (b.dtype(x), b.dims(x));
    let value = *b.random.of(&[0.0, 1.0, -1.0, 2.0, 0.5, 3.0, 0.0, 1.0]);
    let value = if dtype.is_float() { value } else { f64::trunc(value) };
    let scalar = b.constant(Tensor::scalar_of(dtype, value));
    let full = b.push(Op::Broadcast { shape, axes: vec![] }, &[scalar], Range::exact(value, value, 1))?;
    let op = match b.random.below(8) {
        0 if value != 0.0 && dtype.is_float() => BinaryOp::Div,
        1 if value > 0.0 && dtype.is_float() && b.range_of(x).low >= 0.0 => BinaryOp::Pow,
        _ => *b.random.of(ARITHMETIC),
    };
    let range = match op {
        BinaryOp::Div => b.range_of(x).times(Range::exact(-2.0, 2.0, 0)).approximate(),
        BinaryOp::Pow => b.range_of(x).times(b.range_of(x)).times(b.range_of(x)).or_number(2.0).approximate(),
        _ => result(op, b.range_of(x), b.range_of(full)),
    };
    let args = if b.random.percent(70) || matches!(op, BinaryOp::Div | BinaryOp::Pow) { [x, full] } else { [full, x] };
    let range = if op == BinaryOp::Sub && args[0] == full { range.negative() } else { range };
    b.push(Op::Binary(op), &args, range)
}

fn transpose(b: &mut Builder) -> Option<ValueId> {
    let x = b.any(2, 5);
    let perm = b.random.permutation(b.dims(x).len());
    let range = b.range_of(x);
    b.push(Op::Transpose { perm }, &[x], range)
}

fn reshape(b: &mut Builder) -> Option<ValueId> {
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

fn broadcast(b: &mut Builder) -> Option<ValueId> {
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

fn slice(b: &mut Builder) -> Option<ValueId> {
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

fn pad(b: &mut Builder) -> Option<ValueId> {
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

fn concat(b: &mut Builder) -> Option<ValueId> {
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

fn reduce(b: &mut Builder) -> Option<ValueId> {
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
fn softmax(b: &mut Builder) -> Option<ValueId> {
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

fn contract(b: &mut Builder) -> Option<ValueId> {
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

pub(super) fn condition(b: &mut Builder, dims: &[Dim]) -> Option<ValueId> {
    let wanted = dims.to_vec();
    if let Some(found) = b.pick(|b, v| b.dtype(v) == DType::Bool && b.graph.shape(v) == wanted) {
        return Some(found);
    }
    if !b.nameable(dims) {
        return None;
    }
    Some(b.input(DType::Bool, dims.to_vec(), Range::exact(0.0, 1.0, 0)))
}

fn select(b: &mut Builder) -> Option<ValueId> {
    let x = b.any(0, 4);
    let (dtype, dims) = (b.dtype(x), b.dims(x));
    let same = dims.clone();
    let y = b.pick(|b, v| b.dtype(v) == dtype && b.graph.shape(v) == same)?;
    let c = condition(b, &dims)?;
    let range = b.range_of(x).or(b.range_of(y));
    b.push(Op::Select, &[c, x, y], range)
}

fn compare(b: &mut Builder) -> Option<ValueId> {
    let x = b.any(0, 4);
    let (dtype, dims) = (b.dtype(x), b.dims(x));
    let y = b.pick(|b, v| b.dtype(v) == dtype && b.graph.shape(v) == dims)?;
    b.range_of(x).bits.and(b.range_of(y).bits)?;
    let op = *b.random.of(&[BinaryOp::Eq, BinaryOp::Ne, BinaryOp::Lt, BinaryOp::Le, BinaryOp::Gt, BinaryOp::Ge]);
    b.push(Op::Binary(op), &[x, y], Range::exact(0.0, 1.0, 0))
}

fn bits(b: &mut Builder) -> Option<ValueId> {
    let x = b.get(&[DType::I64, DType::I32, DType::U8, DType::Bool], (0, 4));
    let (dtype, dims) = (b.dtype(x), b.dims(x));
    let y = b.pick(|b, v| b.dtype(v) == dtype && b.graph.shape(v) == dims)?;
    let op = *b.random.of(&[BinaryOp::And, BinaryOp::Or, BinaryOp::Xor]);
    b.push(Op::Binary(op), &[x, y], Range::all(dtype))
}

fn convert(b: &mut Builder) -> Option<ValueId> {
    let x = b.any(0, 5);
    let to =
        *b.random.of(&[DType::F32, DType::F32, DType::F64, DType::I64, DType::I32, DType::U8, DType::F16, DType::Bool]);
    let r = b.range_of(x);
    let range = if to == DType::Bool { Range::exact(0.0, 1.0, 0) } else { r };
    if !to.is_float()
        && (r.bits.is_none() || (b.dtype(x).is_float() && !range.within(Range::all(to).low, Range::all(to).high)))
    {
        return None;
    }
    b.push(
        Op::Convert(to),
        &[x],
        if to.is_float() { range } else { Range { low: range.low.trunc(), high: range.high.trunc(), bits: Some(0) } },
    )
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

fn conv(b: &mut Builder) -> Option<ValueId> {
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

fn pool(b: &mut Builder) -> Option<ValueId> {
    let x = b.float(3, 5);
    let dims = b.dims(x);
    let op = *b.random.of(&[ReduceOp::Max, ReduceOp::Sum, ReduceOp::Min]);
    let window = window(b, &dims[1..dims.len() - 1], true)?;
    let taps: usize = window.size.iter().product();
    let r = b.range_of(x);
    b.push(Op::Pool { op, window }, &[x], if op == ReduceOp::Sum { r.or_number(0.0).sum(taps as f64) } else { r })
}

fn pool_index(b: &mut Builder) -> Option<ValueId> {
    let x = b.float(3, 4);
    b.range_of(x).bits?;
    let dims = b.dims(x);
    let window = window(b, &dims[1..dims.len() - 1], true)?;
    b.push(Op::PoolIndex { window }, &[x], Range::exact(0.0, 5000.0, 0))
}

/// A constant of indices below `n`.
fn indices(b: &mut Builder, shape: &[usize], n: i64) -> ValueId {
    let values: Vec<i64> = (0..shape.iter().product()).map(|_| b.random.within(0, n - 1)).collect();
    b.constant(Tensor::from_slice(shape, &values))
}

fn gather(b: &mut Builder) -> Option<ValueId> {
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

fn gather_elements(b: &mut Builder) -> Option<ValueId> {
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

fn scatter_elements(b: &mut Builder) -> Option<ValueId> {
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

fn cumulative(b: &mut Builder) -> Option<ValueId> {
    let x = b.get(&[DType::F32, DType::I64], (1, 4));
    let dims = b.dims(x);
    let axis = b.random.below(dims.len());
    let n = b.size(&dims[axis]).max(1) as f64 * 4.0;
    let op = Op::Cumulative { op: ReduceOp::Sum, axis, exclusive: b.random.percent(50), reverse: b.random.percent(50) };
    let range = b.range_of(x).sum(n);
    b.push(op, &[x], range)
}

fn top_k(b: &mut Builder) -> Option<ValueId> {
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

fn arg_reduce(b: &mut Builder) -> Option<ValueId> {
    let x = b.get(&[DType::F32, DType::I64], (1, 4));
    b.range_of(x).bits?;
    let dims = b.dims(x);
    let axis = b.random.below(dims.len());
    b.at_least(&dims[axis], 1)?;
    let op = Op::ArgReduce { axis, max: b.random.percent(50), last: b.random.percent(50) };
    b.push(op, &[x], Range::exact(0.0, 5000.0, 0))
}

fn iota(b: &mut Builder) -> Option<ValueId> {
    let shape: Vec<Dim> = (0..1 + b.random.below(3)).map(|_| b.any_dim()).collect();
    let dtype = *b.random.of(&[DType::F32, DType::I64, DType::I32]);
    let axis = b.random.below(shape.len());
    b.push(Op::Iota { dtype, shape, axis }, &[], Range::exact(0.0, 5000.0, 0))
}

fn dims(b: &mut Builder) -> Option<ValueId> {
    let dims = (0..1 + b.random.below(3)).map(|_| b.any_dim()).collect();
    b.push(Op::Dims { dims, scalar: false }, &[], Range::exact(0.0, 5000.0, 0))
}

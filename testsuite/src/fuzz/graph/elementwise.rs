//! Steps that compute elements of elements at the same place.

use nnc_ir::op::{BinaryOp, UnaryOp};
use nnc_ir::{DType, Dim, Op, Tensor, ValueId};

use super::builder::Builder;
use crate::fuzz::onnx::range::Range;

pub(super) fn unary(b: &mut Builder) -> Option<ValueId> {
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

pub(super) fn exact_unary(b: &mut Builder) -> Option<ValueId> {
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

pub(super) fn binary(b: &mut Builder) -> Option<ValueId> {
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
pub(super) fn shared(b: &mut Builder) -> Option<ValueId> {
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

pub(super) fn with_scalar(b: &mut Builder) -> Option<ValueId> {
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

pub(super) fn select(b: &mut Builder) -> Option<ValueId> {
    let x = b.any(0, 4);
    let (dtype, dims) = (b.dtype(x), b.dims(x));
    let same = dims.clone();
    let y = b.pick(|b, v| b.dtype(v) == dtype && b.graph.shape(v) == same)?;
    let c = condition(b, &dims)?;
    let range = b.range_of(x).or(b.range_of(y));
    b.push(Op::Select, &[c, x, y], range)
}

pub(super) fn compare(b: &mut Builder) -> Option<ValueId> {
    let x = b.any(0, 4);
    let (dtype, dims) = (b.dtype(x), b.dims(x));
    let y = b.pick(|b, v| b.dtype(v) == dtype && b.graph.shape(v) == dims)?;
    b.range_of(x).bits.and(b.range_of(y).bits)?;
    let op = *b.random.of(&[BinaryOp::Eq, BinaryOp::Ne, BinaryOp::Lt, BinaryOp::Le, BinaryOp::Gt, BinaryOp::Ge]);
    b.push(Op::Binary(op), &[x, y], Range::exact(0.0, 1.0, 0))
}

pub(super) fn bits(b: &mut Builder) -> Option<ValueId> {
    let x = b.get(&[DType::I64, DType::I32, DType::U8, DType::Bool], (0, 4));
    let (dtype, dims) = (b.dtype(x), b.dims(x));
    let y = b.pick(|b, v| b.dtype(v) == dtype && b.graph.shape(v) == dims)?;
    let op = *b.random.of(&[BinaryOp::And, BinaryOp::Or, BinaryOp::Xor]);
    b.push(Op::Binary(op), &[x, y], Range::all(dtype))
}

pub(super) fn convert(b: &mut Builder) -> Option<ValueId> {
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

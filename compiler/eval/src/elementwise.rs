//! `unary`, `binary` and `select`.
//!
//! Rules: floats are computed in `f64` ([`UnaryOp::on_floats`], [`BinaryOp::on_floats`]) and rounded once. Choices that
//! `nnc_ir::op` leaves open: the remainder of an integer division by
//! zero is 0; an integer power with a negative exponent truncates toward zero (0 to a negative power is 0); a shift
//! by the type's width or more shifts everything out.

use crate::error::{Eval, unfit};
use crate::values::{allocatable, elements, floats, from_bools, from_floats, from_ints, ints, typed};
use nnc_ir::op::{BinaryOp, UnaryOp};
use nnc_ir::{DType, Data, Tensor};

pub(super) fn unary(op: UnaryOp, x: &Tensor) -> Eval<Tensor> {
    let shape = x.shape.clone();
    let refuse = || unfit(format!("{op:?} of {}", x.dtype));
    match op {
        UnaryOp::Not if x.dtype == DType::Bool => {
            return Ok(from_bools(shape, x.data.bytes().iter().map(|&b| b == 0)));
        }
        UnaryOp::IsNan if x.dtype.is_float() => {
            return Ok(from_bools(shape, floats(x).into_iter().map(f64::is_nan)));
        }
        UnaryOp::IsInf if x.dtype.is_float() => {
            return Ok(from_bools(shape, floats(x).into_iter().map(f64::is_infinite)));
        }
        _ => {}
    }
    if x.dtype.is_float() {
        let f = op.on_floats().ok_or_else(refuse)?;
        return Ok(match x.dtype {
            DType::F32 => {
                typed(DType::F32, shape, elements::<f32>(x).iter().map(|&v| f(f64::from(v)) as f32).collect())
            }
            dtype => from_floats(dtype, shape, floats(x).into_iter().map(f).collect()),
        });
    }
    if !x.dtype.is_int() {
        return Err(refuse());
    }
    let signed = x.dtype.is_signed();
    let f: fn(i64) -> i64 = match op {
        UnaryOp::Neg => i64::wrapping_neg,
        UnaryOp::Abs if signed => i64::wrapping_abs,
        UnaryOp::Sign if signed => i64::signum,
        UnaryOp::Sign => |v| i64::from(v != 0),
        UnaryOp::BitNot => |v| !v,
        UnaryOp::Abs | UnaryOp::Floor | UnaryOp::Ceil | UnaryOp::Round | UnaryOp::Trunc => |v| v,
        _ => return Err(refuse()),
    };
    Ok(from_ints(x.dtype, shape, ints(x).into_iter().map(f).collect()))
}

pub(super) fn binary(op: BinaryOp, x: &Tensor, y: &Tensor) -> Eval<Tensor> {
    if x.dtype != y.dtype || x.shape != y.shape {
        return Err(unfit(format!("{op:?} of {} {:?} and {} {:?}", x.dtype, x.shape, y.dtype, y.shape)));
    }
    let (dtype, shape) = (x.dtype, x.shape.clone());
    let refuse = || unfit(format!("{op:?} of {dtype}"));
    if !dtype.is_float() {
        let (a, b) = (ints(x), ints(y));
        let pairs = a.into_iter().zip(b);
        if op.is_comparison() {
            return Ok(from_bools(shape, pairs.map(|(a, b)| int_compare(op, dtype, a, b))));
        }
        if !int_accepts(op, dtype) {
            return Err(refuse());
        }
        return Ok(from_ints(dtype, shape, pairs.map(|(a, b)| int_binary(op, dtype, a, b)).collect()));
    }
    if dtype == DType::F32 {
        let (a, b) = (elements::<f32>(x), elements::<f32>(y));
        // One rounding either way: a double has more than twice the bits, so going through it changes nothing.
        let direct: Option<Vec<f32>> = match op {
            BinaryOp::Add => Some(a.iter().zip(&*b).map(|(a, b)| a + b).collect()),
            BinaryOp::Sub => Some(a.iter().zip(&*b).map(|(a, b)| a - b).collect()),
            BinaryOp::Mul => Some(a.iter().zip(&*b).map(|(a, b)| a * b).collect()),
            BinaryOp::Div => Some(a.iter().zip(&*b).map(|(a, b)| a / b).collect()),
            _ => None,
        };
        if let Some(direct) = direct {
            return Ok(typed(dtype, shape, direct));
        }
    }
    let pairs = floats(x).into_iter().zip(floats(y));
    if op.is_comparison() {
        return Ok(from_bools(shape, pairs.map(|(a, b)| float_compare(op, a, b))));
    }
    let f = op.on_floats().ok_or_else(refuse)?;
    Ok(from_floats(dtype, shape, pairs.map(|(a, b)| f(a, b)).collect()))
}

fn float_compare(op: BinaryOp, a: f64, b: f64) -> bool {
    match op {
        BinaryOp::Eq => a == b,
        BinaryOp::Ne => a != b,
        BinaryOp::Lt => a < b,
        BinaryOp::Le => a <= b,
        BinaryOp::Gt => a > b,
        BinaryOp::Ge => a >= b,
        _ => false,
    }
}

/// Maps integers so that `i64`'s order is the type's order.
pub(super) fn order_key(dtype: DType, v: i64) -> i64 {
    if dtype == DType::U64 { v ^ i64::MIN } else { v }
}

fn int_compare(op: BinaryOp, dtype: DType, a: i64, b: i64) -> bool {
    let order = order_key(dtype, a).cmp(&order_key(dtype, b));
    match op {
        BinaryOp::Eq => order.is_eq(),
        BinaryOp::Ne => order.is_ne(),
        BinaryOp::Lt => order.is_lt(),
        BinaryOp::Le => order.is_le(),
        BinaryOp::Gt => order.is_gt(),
        BinaryOp::Ge => order.is_ge(),
        _ => false,
    }
}

/// Whether [`int_binary`] defines the operation on the (integer or bool) type.
pub(super) fn int_accepts(op: BinaryOp, dtype: DType) -> bool {
    use BinaryOp::*;
    match op {
        And | Or | Xor | Max | Min => true,
        Add | Sub | Mul | Div | Mod | Rem | Pow | Shl | Shr => dtype.is_int(),
        Atan2 | Eq | Ne | Lt | Le | Gt | Ge => false,
    }
}

/// The function on integers, before wrapping to the type; 0 for operations that are not [`int_accepts`].
pub(super) fn int_binary(op: BinaryOp, dtype: DType, a: i64, b: i64) -> i64 {
    let unsigned = dtype == DType::U64;
    match op {
        BinaryOp::Add => a.wrapping_add(b),
        BinaryOp::Sub => a.wrapping_sub(b),
        BinaryOp::Mul => a.wrapping_mul(b),
        BinaryOp::Div | BinaryOp::Mod | BinaryOp::Rem if b == 0 => 0,
        BinaryOp::Div if unsigned => (a as u64 / b as u64) as i64,
        BinaryOp::Div => a.wrapping_div(b),
        BinaryOp::Mod | BinaryOp::Rem if unsigned => (a as u64 % b as u64) as i64,
        BinaryOp::Rem => a.wrapping_rem(b),
        BinaryOp::Mod => {
            let r = a.wrapping_rem(b);
            if r != 0 && (r < 0) != (b < 0) { r + b } else { r }
        }
        BinaryOp::Pow if b < 0 && !unsigned => match a {
            1 => 1,
            -1 if b % 2 == 0 => 1,
            -1 => -1,
            _ => 0,
        },
        BinaryOp::Pow => wrapping_pow(a, b as u64),
        BinaryOp::Max => std::cmp::max_by_key(a, b, |&v| order_key(dtype, v)),
        BinaryOp::Min => std::cmp::min_by_key(a, b, |&v| order_key(dtype, v)),
        BinaryOp::And => a & b,
        BinaryOp::Or => a | b,
        BinaryOp::Xor => a ^ b,
        BinaryOp::Shl | BinaryOp::Shr => {
            let bits = 8 * dtype.size() as u64;
            // A negative amount is a large unsigned one.
            match (op, b as u64 >= bits) {
                (BinaryOp::Shl, true) => 0,
                (BinaryOp::Shl, false) => a << b,
                (_, true) if dtype.is_signed() => a >> 63,
                (_, true) => 0,
                (_, false) if unsigned => (a as u64 >> b) as i64,
                (_, false) => a >> b,
            }
        }
        _ => 0,
    }
}

fn wrapping_pow(mut base: i64, mut exponent: u64) -> i64 {
    let mut result = 1i64;
    while exponent != 0 {
        if exponent & 1 == 1 {
            result = result.wrapping_mul(base);
        }
        base = base.wrapping_mul(base);
        exponent >>= 1;
    }
    result
}

pub(super) fn select(condition: &Tensor, x: &Tensor, y: &Tensor) -> Eval<Tensor> {
    if condition.dtype != DType::Bool || x.dtype != y.dtype || condition.shape != x.shape || x.shape != y.shape {
        return Err(unfit(format!(
            "select by {} {:?} of {} {:?} and {} {:?}",
            condition.dtype, condition.shape, x.dtype, x.shape, y.dtype, y.shape
        )));
    }
    allocatable(x.dtype, &x.shape)?;
    let size = x.dtype.size();
    let chunks = x.data.bytes().chunks_exact(size).zip(y.data.bytes().chunks_exact(size));
    let mut bytes = Vec::with_capacity(x.data.bytes().len());
    for (&c, (x, y)) in condition.data.bytes().iter().zip(chunks) {
        bytes.extend_from_slice(if c != 0 { x } else { y });
    }
    Ok(Tensor { dtype: x.dtype, shape: x.shape.clone(), data: Data::new(bytes) })
}

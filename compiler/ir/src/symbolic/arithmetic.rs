//! Operations that compute: elementwise functions, conversions, selections and reductions.

use super::{Element, Operand};
use crate::op::{BinaryOp, Op, ReduceOp, UnaryOp};
use crate::{DType, Dim, DimTable};
use Element::{Float, Int, Ratio, Unknown};

pub(super) fn evaluate(op: &Op, operands: &[Operand], out: &Operand, table: &DimTable) -> Option<Vec<Element>> {
    let finish = |element: Option<Element>| fit(element.unwrap_or(Unknown), out.dtype, table);
    match (op, operands) {
        (Op::Unary(f), [x]) => Some(x.elements.iter().map(|e| finish(unary(*f, e, x.dtype, table))).collect()),
        (Op::Convert(to), [x]) => Some(x.elements.iter().map(|e| finish(convert(e, *to, table))).collect()),
        (Op::Binary(f), [x, y]) => {
            let pairs = x.elements.iter().zip(y.elements.iter());
            Some(pairs.map(|(a, b)| finish(binary(*f, a, b, x.dtype, table))).collect())
        }
        (Op::Select, [condition, x, y]) => {
            let pairs = x.elements.iter().zip(y.elements.iter());
            let select = |(c, (a, b)): (&Element, (&Element, &Element))| finish(select(c, a, b, table));
            Some(condition.elements.iter().zip(pairs).map(select).collect())
        }
        (Op::Reduce { op, axes }, [x]) => reduce(*op, axes, x, out, table),
        _ => None,
    }
}

/// What of an element survives in a type: constants wrap or round, expressions must fit or (in 32 and 64 bits, see the
/// module's assumption) be sizes.
fn fit(element: Element, dtype: DType, table: &DimTable) -> Element {
    match element {
        Float(value) => Float(match dtype {
            DType::F32 => f64::from(value as f32),
            DType::F16 => half::f16::from_f64(value).to_f64(),
            DType::BF16 => half::bf16::from_f64(value).to_f64(),
            _ => value,
        }),
        Int(dim) => match (dim.as_const(), dtype) {
            (_, DType::Bool | DType::I64) => Int(dim),
            (Some(v), DType::U64) if v < 0 => Unknown,
            (Some(v), DType::U8) => Int(Dim::from(i64::from(v as u8))),
            (Some(v), DType::I8) => Int(Dim::from(i64::from(v as i8))),
            (Some(v), DType::U16) => Int(Dim::from(i64::from(v as u16))),
            (Some(v), DType::I16) => Int(Dim::from(i64::from(v as i16))),
            (Some(v), DType::U32) => Int(Dim::from(i64::from(v as u32))),
            (Some(v), DType::I32) => Int(Dim::from(i64::from(v as i32))),
            (Some(_), _) | (None, DType::I32) => Int(dim),
            (None, dtype) => {
                let (low, high) = dim.bounds(table);
                let (least, greatest) = match dtype {
                    DType::U8 => (0, i64::from(u8::MAX)),
                    DType::I8 => (i64::from(i8::MIN), i64::from(i8::MAX)),
                    DType::U16 => (0, i64::from(u16::MAX)),
                    DType::I16 => (i64::from(i16::MIN), i64::from(i16::MAX)),
                    _ => (0, i64::MAX),
                };
                if low >= least && high <= greatest { Int(dim) } else { Unknown }
            }
        },
        // Half precision rounds sizes above 2048 and is not used for shapes.
        Ratio(..) if matches!(dtype, DType::F16 | DType::BF16) => Unknown,
        other => other,
    }
}

/// An expression as an element; an overflow is not a value.
fn int(dim: Dim, table: &DimTable) -> Option<Element> {
    if dim.as_const().is_some() {
        return Some(Int(dim));
    }
    let dim = dim.simplify(table);
    (dim != Dim::OVERFLOW).then_some(Int(dim))
}

fn symbolic(dim: Dim, table: &DimTable) -> Option<Element> {
    if dim == Dim::OVERFLOW { None } else { int(dim, table) }
}

fn is_nonnegative(dim: &Dim, table: &DimTable) -> bool {
    dim.provably_ge(&Dim::ZERO, table)
}

fn unary(f: UnaryOp, x: &Element, dtype: DType, table: &DimTable) -> Option<Element> {
    match x {
        Unknown => None,
        Float(v) => Some(Float(match f {
            UnaryOp::Neg => -v,
            UnaryOp::Abs => v.abs(),
            UnaryOp::Floor => v.floor(),
            UnaryOp::Ceil => v.ceil(),
            UnaryOp::Round => v.round_ties_even(),
            UnaryOp::Trunc => v.trunc(),
            UnaryOp::Sqrt => v.sqrt(),
            UnaryOp::Recip => v.recip(),
            _ => return None,
        })),
        Ratio(n, d) => match f {
            UnaryOp::Neg => ratio(-n, *d),
            UnaryOp::Floor => ratio(n.floor_div(&Dim::from(*d)), 1),
            UnaryOp::Ceil => ratio(n.ceil_div(&Dim::from(*d)), 1),
            UnaryOp::Trunc if is_nonnegative(n, table) => ratio(n.floor_div(&Dim::from(*d)), 1),
            UnaryOp::Round if *d == 1 => Some(x.clone()),
            UnaryOp::Abs if is_nonnegative(n, table) => Some(x.clone()),
            _ => None,
        },
        Int(dim) => match (f, dim.as_const()) {
            (UnaryOp::Not, _) => int(Dim::ONE - dim, table),
            (UnaryOp::Neg, Some(v)) => Some(Int(Dim::from(v.wrapping_neg()))),
            (UnaryOp::Neg, None) => symbolic(-dim, table),
            (UnaryOp::Abs, Some(v)) => Some(Int(Dim::from(v.wrapping_abs()))),
            (UnaryOp::Abs, None) => symbolic(dim.max(&-dim), table),
            (UnaryOp::Sign, Some(v)) => Some(Int(Dim::from(v.signum()))),
            (UnaryOp::Sign, None) if dim.provably_gt(&Dim::ZERO, table) => Some(Int(Dim::ONE)),
            (UnaryOp::BitNot, Some(v)) if dtype.is_signed() => Some(Int(Dim::from(!v))),
            _ => None,
        },
    }
}

fn convert(x: &Element, to: DType, table: &DimTable) -> Option<Element> {
    match x {
        Unknown => None,
        Int(dim) if to == DType::Bool => int(Dim::ONE - dim.eq01(&Dim::ZERO), table),
        Int(dim) if to.is_float() => match dim.as_const() {
            Some(v) => Some(Float(v as f64)),
            None => Some(Ratio(dim.clone(), 1)),
        },
        Int(_) => Some(x.clone()),
        Float(v) if to == DType::Bool => Some(Int(Dim::from(i64::from(*v != 0.0)))),
        Float(_) if to.is_float() => Some(x.clone()),
        Float(v) => Some(Int(Dim::from(saturate(*v, to)?))),
        Ratio(..) if to.is_float() => Some(x.clone()),
        Ratio(n, _) if to == DType::Bool => int(Dim::ONE - n.eq01(&Dim::ZERO), table),
        // Truncation and rounding down agree from 0 on.
        Ratio(n, d) if *d == 1 || is_nonnegative(n, table) => symbolic(n.floor_div(&Dim::from(*d)), table),
        Ratio(..) => None,
    }
}

/// A float as an integer type, the way `Convert` does it.
fn saturate(value: f64, to: DType) -> Option<i64> {
    Some(match to {
        DType::U8 => i64::from(value as u8),
        DType::I8 => i64::from(value as i8),
        DType::U16 => i64::from(value as u16),
        DType::I16 => i64::from(value as i16),
        DType::U32 => i64::from(value as u32),
        DType::I32 => i64::from(value as i32),
        DType::I64 => value as i64,
        DType::U64 => i64::try_from(value as u64).ok()?,
        _ => return None,
    })
}

fn binary(f: BinaryOp, x: &Element, y: &Element, dtype: DType, table: &DimTable) -> Option<Element> {
    match (x, y) {
        (Unknown, other) | (other, Unknown) => absorbing(f, other, dtype),
        (Int(a), Int(b)) => match (a.as_const(), b.as_const()) {
            (Some(a), Some(b)) => binary_constant(f, a, b, dtype).map(|v| Int(Dim::from(v))),
            _ => binary_int(f, a, b, dtype, table),
        },
        (Float(a), Float(b)) => binary_float(f, *a, *b),
        (Ratio(..) | Float(_), Ratio(..) | Float(_)) => binary_ratio(f, x, y, table),
        _ => None,
    }
}

/// Results that one operand alone decides.
fn absorbing(f: BinaryOp, known: &Element, dtype: DType) -> Option<Element> {
    let Int(value) = known else { return None };
    match f {
        BinaryOp::Mul | BinaryOp::And if value.is_const(0) => Some(Int(Dim::ZERO)),
        BinaryOp::Or if value.is_const(1) && dtype == DType::Bool => Some(Int(Dim::ONE)),
        _ => None,
    }
}

fn binary_constant(f: BinaryOp, a: i64, b: i64, dtype: DType) -> Option<i64> {
    let bits = dtype.size() as i64 * 8;
    Some(match f {
        BinaryOp::Add => a.wrapping_add(b),
        BinaryOp::Sub => a.wrapping_sub(b),
        BinaryOp::Mul => a.wrapping_mul(b),
        BinaryOp::Div if b == 0 => 0,
        BinaryOp::Div => a.wrapping_div(b),
        BinaryOp::Mod => Dim::from(a).rem(&Dim::from(b)).as_const()?,
        BinaryOp::Rem if b != 0 => a.wrapping_rem(b),
        BinaryOp::Pow => a.checked_pow(u32::try_from(b).ok()?)?,
        BinaryOp::Max => a.max(b),
        BinaryOp::Min => a.min(b),
        BinaryOp::And => a & b,
        BinaryOp::Or => a | b,
        BinaryOp::Xor => a ^ b,
        BinaryOp::Shl if (0..bits).contains(&b) => a.wrapping_shl(b as u32),
        BinaryOp::Shr if (0..bits).contains(&b) => a >> b,
        BinaryOp::Eq => i64::from(a == b),
        BinaryOp::Ne => i64::from(a != b),
        BinaryOp::Lt => i64::from(a < b),
        BinaryOp::Le => i64::from(a <= b),
        BinaryOp::Gt => i64::from(a > b),
        BinaryOp::Ge => i64::from(a >= b),
        BinaryOp::Rem | BinaryOp::Shl | BinaryOp::Shr | BinaryOp::Atan2 => return None,
    })
}

fn binary_int(f: BinaryOp, a: &Dim, b: &Dim, dtype: DType, table: &DimTable) -> Option<Element> {
    let not = |d: Dim| Dim::ONE - d;
    let positive = |d: &Dim| d.provably_gt(&Dim::ZERO, table);
    let result = match f {
        BinaryOp::Add => a + b,
        BinaryOp::Sub => a - b,
        BinaryOp::Mul => a * b,
        BinaryOp::Div if positive(b) && is_nonnegative(a, table) => a.floor_div(b),
        BinaryOp::Div if positive(b) && is_nonnegative(&-a, table) => -(-a).floor_div(b),
        BinaryOp::Mod if positive(b) || positive(&-b) => a.rem(b),
        BinaryOp::Rem if positive(b) && is_nonnegative(a, table) => a.rem(b),
        BinaryOp::Pow => match b.as_const()? {
            exponent @ 0..=8 => (0..exponent).fold(Dim::ONE, |product, _| product * a),
            _ => return None,
        },
        BinaryOp::Max => a.max(b),
        BinaryOp::Min => a.min(b),
        BinaryOp::And if dtype == DType::Bool => a * b,
        BinaryOp::Or if dtype == DType::Bool => a + b - a * b,
        BinaryOp::Xor if dtype == DType::Bool => not(a.eq01(b)),
        BinaryOp::Eq => a.eq01(b),
        BinaryOp::Ne => not(a.eq01(b)),
        BinaryOp::Lt => a.lt01(b),
        BinaryOp::Le => not(b.lt01(a)),
        BinaryOp::Gt => b.lt01(a),
        BinaryOp::Ge => not(a.lt01(b)),
        _ => return None,
    };
    match result.as_const() {
        // max(n, "to the end") is that constant and no overflow.
        Some(_) if matches!(f, BinaryOp::Max | BinaryOp::Min) => Some(Int(result)),
        _ => symbolic(result, table),
    }
}

fn binary_float(f: BinaryOp, a: f64, b: f64) -> Option<Element> {
    let truth = |v: bool| Some(Int(Dim::from(i64::from(v))));
    Some(Float(match f {
        BinaryOp::Add => a + b,
        BinaryOp::Sub => a - b,
        BinaryOp::Mul => a * b,
        BinaryOp::Div => a / b,
        BinaryOp::Max if !a.is_nan() && !b.is_nan() => a.max(b),
        BinaryOp::Min if !a.is_nan() && !b.is_nan() => a.min(b),
        BinaryOp::Eq => return truth(a == b),
        BinaryOp::Ne => return truth(a != b),
        BinaryOp::Lt => return truth(a < b),
        BinaryOp::Le => return truth(a <= b),
        BinaryOp::Gt => return truth(a > b),
        BinaryOp::Ge => return truth(a >= b),
        _ => return None,
    }))
}

fn ratio(numerator: Dim, denominator: i64) -> Option<Element> {
    (numerator != Dim::OVERFLOW && denominator > 0).then_some(Ratio(numerator, denominator))
}

/// A float as a fraction with a small power of two below, if it is one; factors of resizing are.
fn as_fraction(element: &Element) -> Option<(Dim, i64)> {
    match element {
        Ratio(n, d) => Some((n.clone(), *d)),
        Float(v) => {
            let scaled = v * f64::from(1u32 << 20);
            let exact = scaled.fract() == 0.0 && scaled.abs() < 2f64.powi(52);
            let (mut n, mut d) = (exact.then_some(scaled as i64)?, 1i64 << 20);
            while d > 1 && n % 2 == 0 {
                (n, d) = (n / 2, d / 2);
            }
            Some((Dim::from(n), d))
        }
        _ => None,
    }
}

fn binary_ratio(f: BinaryOp, x: &Element, y: &Element, table: &DimTable) -> Option<Element> {
    let ((a, p), (b, q)) = (as_fraction(x)?, as_fraction(y)?);
    let product = p.checked_mul(q).filter(|d| *d <= 1 << 40)?;
    let (left, right) = (&a * q, &b * p);
    match f {
        BinaryOp::Add => ratio(left + right, product),
        BinaryOp::Sub => ratio(left - right, product),
        BinaryOp::Mul => ratio(a * b, product),
        // a/p / (b/q) = a*q / (p*b) for a constant b > 0
        BinaryOp::Div => ratio(left, p.checked_mul(b.as_const().filter(|b| *b > 0)?)?),
        BinaryOp::Max => ratio(left.max(&right), product),
        BinaryOp::Min => ratio(left.min(&right), product),
        BinaryOp::Lt => int(left.lt01(&right), table),
        BinaryOp::Gt => int(right.lt01(&left), table),
        BinaryOp::Eq => int(left.eq01(&right), table),
        _ => None,
    }
}

fn select(condition: &Element, x: &Element, y: &Element, table: &DimTable) -> Option<Element> {
    if x == y {
        return Some(x.clone());
    }
    let Int(condition) = condition else { return None };
    match (condition.as_const(), x, y) {
        (Some(0), _, _) => Some(y.clone()),
        (Some(_), _, _) => Some(x.clone()),
        (None, Int(a), Int(b)) => int(condition.select(a, b), table),
        _ => None,
    }
}

fn reduce(op: ReduceOp, axes: &[usize], x: &Operand, out: &Operand, table: &DimTable) -> Option<Vec<Element>> {
    let f = match op {
        ReduceOp::Sum => BinaryOp::Add,
        ReduceOp::Prod => BinaryOp::Mul,
        ReduceOp::Max => BinaryOp::Max,
        ReduceOp::Min => BinaryOp::Min,
    };
    // Sums of floats depend on their order; integers do not.
    if x.dtype.is_float() {
        return None;
    }
    let mut results: Vec<Option<Element>> = vec![None; out.count()];
    for (flat, element) in x.elements.iter().enumerate() {
        let (mut rest, mut target, mut stride) = (flat, 0, 1);
        for (axis, &size) in x.shape.iter().enumerate().rev() {
            let i = rest % size.max(1);
            rest /= size.max(1);
            if !axes.contains(&axis) {
                target += i * stride;
                stride *= size;
            }
        }
        let slot = results.get_mut(target)?;
        *slot = Some(match slot.take() {
            None => element.clone(),
            Some(before) => {
                let joined = binary(f, &before, element, x.dtype, table).unwrap_or(Unknown);
                fit(joined, x.dtype, table)
            }
        });
    }
    let empty = match op {
        ReduceOp::Sum => Int(Dim::ZERO),
        ReduceOp::Prod => Int(Dim::ONE),
        ReduceOp::Max | ReduceOp::Min => Unknown,
    };
    Some(results.into_iter().map(|r| r.unwrap_or_else(|| empty.clone())).collect())
}

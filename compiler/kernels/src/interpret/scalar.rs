//! The meaning of every scalar function, as functions of bits.
//!
//! A value of any type travels as its little-endian bits, zero-extended to 64: `i8` -1 is `0xff`. Floating-point
//! addition, multiplication and division round in their own type; transcendental functions of `f32` are computed in
//! `f64` by `libm` (the same on every host) and rounded once, so that a backend's error is measured against nearly exact
//! values.
//!
//! Where `nnc_ir::op` is silent: integer `mod` and `rem` by zero are 0; a shift by the width or more yields 0 (-1 for an
//! arithmetic right shift of a negative number); an integer power with a negative exponent is the exact value truncated.

use nnc_ir::DType;
use nnc_ir::op::{BinaryOp, UnaryOp};

/// A function of one operand's bits.
pub(super) type Fn1 = fn(u64) -> u64;
/// A function of two operands' bits.
pub(super) type Fn2 = fn(u64, u64) -> u64;

/// A type that values are computed in.
trait Bits: Copy {
    fn of(bits: u64) -> Self;
    fn bits(self) -> u64;
}

macro_rules! int_bits {
    ($($ty:ident / $unsigned:ident),*) => { $(
        impl Bits for $ty {
            fn of(bits: u64) -> $ty { bits as $ty }
            fn bits(self) -> u64 { u64::from(self as $unsigned) }
        }
    )* };
}
int_bits!(u8 / u8, i8 / u8, u16 / u16, i16 / u16, u32 / u32, i32 / u32, u64 / u64, i64 / u64);

impl Bits for f32 {
    fn of(bits: u64) -> f32 {
        f32::from_bits(bits as u32)
    }
    fn bits(self) -> u64 {
        u64::from(self.to_bits())
    }
}

impl Bits for f64 {
    fn of(bits: u64) -> f64 {
        f64::from_bits(bits)
    }
    fn bits(self) -> u64 {
        self.to_bits()
    }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + libm::exp(-x))
}

macro_rules! float_unary {
    ($ty:ident, $op:expr) => {{
        // Computed in double precision, rounded to the type.
        macro_rules! wide {
            ($f:expr) => {
                |x| {
                    let f: fn(f64) -> f64 = $f;
                    (f(f64::from($ty::of(x))) as $ty).bits()
                }
            };
        }
        let f: Fn1 = match $op {
            UnaryOp::Neg => |x| (-$ty::of(x)).bits(),
            UnaryOp::Abs => |x| $ty::of(x).abs().bits(),
            UnaryOp::Sign => |x| {
                let x = $ty::of(x);
                (if x == 0.0 || x.is_nan() { x } else { x.signum() }).bits()
            },
            UnaryOp::Floor => |x| $ty::of(x).floor().bits(),
            UnaryOp::Ceil => |x| $ty::of(x).ceil().bits(),
            UnaryOp::Round => |x| $ty::of(x).round_ties_even().bits(),
            UnaryOp::Trunc => |x| $ty::of(x).trunc().bits(),
            UnaryOp::Sqrt => |x| $ty::of(x).sqrt().bits(),
            UnaryOp::Recip => |x| (1.0 / $ty::of(x)).bits(),
            UnaryOp::Rsqrt => wide!(|x| 1.0 / x.sqrt()),
            UnaryOp::Exp => wide!(libm::exp),
            UnaryOp::Expm1 => wide!(libm::expm1),
            UnaryOp::Log => wide!(libm::log),
            UnaryOp::Log1p => wide!(libm::log1p),
            UnaryOp::Sin => wide!(libm::sin),
            UnaryOp::Cos => wide!(libm::cos),
            UnaryOp::Tan => wide!(libm::tan),
            UnaryOp::Asin => wide!(libm::asin),
            UnaryOp::Acos => wide!(libm::acos),
            UnaryOp::Atan => wide!(libm::atan),
            UnaryOp::Sinh => wide!(libm::sinh),
            UnaryOp::Cosh => wide!(libm::cosh),
            UnaryOp::Tanh => wide!(libm::tanh),
            UnaryOp::Asinh => wide!(libm::asinh),
            UnaryOp::Acosh => wide!(libm::acosh),
            UnaryOp::Atanh => wide!(libm::atanh),
            UnaryOp::Erf => wide!(libm::erf),
            UnaryOp::Sigmoid => wide!(sigmoid),
            UnaryOp::IsNan => |x| u64::from($ty::of(x).is_nan()),
            UnaryOp::IsInf => |x| u64::from($ty::of(x).is_infinite()),
            UnaryOp::Not | UnaryOp::BitNot => return None,
        };
        f
    }};
}

macro_rules! int_unary {
    ($ty:ident, $op:expr, $abs:expr, $sign:expr) => {{
        let f: Fn1 = match $op {
            UnaryOp::Neg => |x| $ty::of(x).wrapping_neg().bits(),
            UnaryOp::Abs => |x| {
                let f: fn($ty) -> $ty = $abs;
                f($ty::of(x)).bits()
            },
            UnaryOp::Sign => |x| {
                let f: fn($ty) -> $ty = $sign;
                f($ty::of(x)).bits()
            },
            UnaryOp::BitNot => |x| (!$ty::of(x)).bits(),
            _ => return None,
        };
        f
    }};
}

/// A function of one operand of this type; `None` when [`crate::ops::unary_accepts`] refuses it.
pub(super) fn unary(op: UnaryOp, dtype: DType) -> Option<Fn1> {
    macro_rules! signed {
        ($ty:ident) => {
            int_unary!($ty, op, $ty::wrapping_abs, $ty::signum)
        };
    }
    macro_rules! unsigned {
        ($ty:ident) => {
            int_unary!($ty, op, |x| x, |x| x.min(1))
        };
    }
    Some(match dtype {
        DType::Bool if op == UnaryOp::Not => |x| u64::from(x == 0),
        DType::Bool | DType::F16 | DType::BF16 => return None,
        DType::U8 => unsigned!(u8),
        DType::U16 => unsigned!(u16),
        DType::U32 => unsigned!(u32),
        DType::U64 => unsigned!(u64),
        DType::I8 => signed!(i8),
        DType::I16 => signed!(i16),
        DType::I32 => signed!(i32),
        DType::I64 => signed!(i64),
        DType::F32 => float_unary!(f32, op),
        DType::F64 => float_unary!(f64, op),
    })
}

macro_rules! comparisons {
    ($ty:ident, $op:expr, $otherwise:expr) => {{
        let f: Fn2 = match $op {
            BinaryOp::Eq => |x, y| u64::from($ty::of(x) == $ty::of(y)),
            BinaryOp::Ne => |x, y| u64::from($ty::of(x) != $ty::of(y)),
            BinaryOp::Lt => |x, y| u64::from($ty::of(x) < $ty::of(y)),
            BinaryOp::Le => |x, y| u64::from($ty::of(x) <= $ty::of(y)),
            BinaryOp::Gt => |x, y| u64::from($ty::of(x) > $ty::of(y)),
            BinaryOp::Ge => |x, y| u64::from($ty::of(x) >= $ty::of(y)),
            _ => $otherwise,
        };
        f
    }};
}

macro_rules! float_binary {
    ($ty:ident, $op:expr) => {
        comparisons!($ty, $op, {
            let f: Fn2 = match $op {
                BinaryOp::Add => |x, y| ($ty::of(x) + $ty::of(y)).bits(),
                BinaryOp::Sub => |x, y| ($ty::of(x) - $ty::of(y)).bits(),
                BinaryOp::Mul => |x, y| ($ty::of(x) * $ty::of(y)).bits(),
                BinaryOp::Div => |x, y| ($ty::of(x) / $ty::of(y)).bits(),
                BinaryOp::Mod => |x, y| {
                    let (x, y) = ($ty::of(x), $ty::of(y));
                    let rem = x % y;
                    (if rem != 0.0 && (rem < 0.0) != (y < 0.0) { rem + y } else { rem }).bits()
                },
                BinaryOp::Rem => |x, y| ($ty::of(x) % $ty::of(y)).bits(),
                BinaryOp::Pow => |x, y| (libm::pow(f64::from($ty::of(x)), f64::from($ty::of(y))) as $ty).bits(),
                BinaryOp::Atan2 => |x, y| (libm::atan2(f64::from($ty::of(x)), f64::from($ty::of(y))) as $ty).bits(),
                BinaryOp::Max => |x, y| {
                    let (x, y) = ($ty::of(x), $ty::of(y));
                    (if x.is_nan() || x > y { x } else { y }).bits()
                },
                BinaryOp::Min => |x, y| {
                    let (x, y) = ($ty::of(x), $ty::of(y));
                    (if x.is_nan() || x < y { x } else { y }).bits()
                },
                _ => return None,
            };
            f
        })
    };
}

/// Shift amount, or `None` when every bit leaves the value.
fn amount(bits: u64, width: u32) -> Option<u32> {
    u32::try_from(bits).ok().filter(|&n| n < width)
}

macro_rules! int_binary {
    ($ty:ident, $op:expr) => {
        comparisons!($ty, $op, {
            let f: Fn2 = match $op {
                BinaryOp::Add => |x, y| $ty::of(x).wrapping_add($ty::of(y)).bits(),
                BinaryOp::Sub => |x, y| $ty::of(x).wrapping_sub($ty::of(y)).bits(),
                BinaryOp::Mul => |x, y| $ty::of(x).wrapping_mul($ty::of(y)).bits(),
                BinaryOp::Div => |x, y| match $ty::of(y) {
                    0 => 0,
                    y => $ty::of(x).wrapping_div(y).bits(),
                },
                BinaryOp::Rem => |x, y| match $ty::of(y) {
                    0 => 0,
                    y => $ty::of(x).wrapping_rem(y).bits(),
                },
                BinaryOp::Mod => |x, y| match $ty::of(y) {
                    0 => 0,
                    y => {
                        let rem = $ty::of(x).wrapping_rem(y);
                        #[allow(unused_comparisons, reason = "never true for unsigned types")]
                        let adjust = rem != 0 && (rem < 0) != (y < 0);
                        (if adjust { rem.wrapping_add(y) } else { rem }).bits()
                    }
                },
                BinaryOp::Pow => |x, y| {
                    let (mut base, mut exponent) = ($ty::of(x), $ty::of(y));
                    #[allow(unused_comparisons, reason = "never true for unsigned types")]
                    if exponent < 0 {
                        let minus_one = (0 as $ty).wrapping_sub(1);
                        return if base == 1 || (base == minus_one && exponent % 2 == 0) {
                            1
                        } else if base == minus_one {
                            base.bits()
                        } else {
                            0
                        };
                    }
                    let mut power: $ty = 1;
                    while exponent != 0 {
                        if exponent % 2 == 1 {
                            power = power.wrapping_mul(base);
                        }
                        base = base.wrapping_mul(base);
                        exponent /= 2;
                    }
                    power.bits()
                },
                BinaryOp::Max => |x, y| $ty::of(x).max($ty::of(y)).bits(),
                BinaryOp::Min => |x, y| $ty::of(x).min($ty::of(y)).bits(),
                BinaryOp::And => |x, y| x & y,
                BinaryOp::Or => |x, y| x | y,
                BinaryOp::Xor => |x, y| x ^ y,
                BinaryOp::Shl => |x, y| amount(y, $ty::BITS).map_or(0, |n| ($ty::of(x) << n).bits()),
                BinaryOp::Shr => |x, y| {
                    #[allow(unused_comparisons, reason = "never true for unsigned types")]
                    let gone = if $ty::of(x) < 0 { (0 as $ty).wrapping_sub(1) } else { 0 };
                    amount(y, $ty::BITS).map_or(gone.bits(), |n| ($ty::of(x) >> n).bits())
                },
                _ => return None,
            };
            f
        })
    };
}

/// A function of two operands of this type; `None` when [`crate::ops::binary_accepts`] refuses it.
pub(super) fn binary(op: BinaryOp, dtype: DType) -> Option<Fn2> {
    if !crate::ops::binary_accepts(op, dtype) {
        return None;
    }
    Some(match dtype {
        DType::Bool | DType::U8 => int_binary!(u8, op),
        DType::U16 => int_binary!(u16, op),
        DType::U32 => int_binary!(u32, op),
        DType::U64 => int_binary!(u64, op),
        DType::I8 => int_binary!(i8, op),
        DType::I16 => int_binary!(i16, op),
        DType::I32 => int_binary!(i32, op),
        DType::I64 => int_binary!(i64, op),
        DType::F32 => float_binary!(f32, op),
        DType::F64 => float_binary!(f64, op),
        DType::F16 | DType::BF16 => return None,
    })
}

/// `a * b + c` rounded once.
pub(super) fn mul_add(dtype: DType) -> Option<fn(u64, u64, u64) -> u64> {
    match dtype {
        DType::F32 => Some(|a, b, c| f32::of(a).mul_add(f32::of(b), f32::of(c)).bits()),
        DType::F64 => Some(|a, b, c| f64::of(a).mul_add(f64::of(b), f64::of(c)).bits()),
        _ => None,
    }
}

/// A value of any type, exactly.
#[derive(Clone, Copy)]
pub(super) enum Wide {
    Int(i128),
    Float(f64),
}

/// Reads a value of the type.
pub(super) fn widen(dtype: DType) -> fn(u64) -> Wide {
    match dtype {
        DType::Bool => |x| Wide::Int(i128::from(x != 0)),
        DType::U8 | DType::U16 | DType::U32 | DType::U64 => |x| Wide::Int(i128::from(x)),
        DType::I8 => |x| Wide::Int(i128::from(i8::of(x))),
        DType::I16 => |x| Wide::Int(i128::from(i16::of(x))),
        DType::I32 => |x| Wide::Int(i128::from(i32::of(x))),
        DType::I64 => |x| Wide::Int(i128::from(i64::of(x))),
        DType::F16 => |x| Wide::Float(half::f16::from_bits(x as u16).to_f64()),
        DType::BF16 => |x| Wide::Float(half::bf16::from_bits(x as u16).to_f64()),
        DType::F32 => |x| Wide::Float(f64::from(f32::of(x))),
        DType::F64 => |x| Wide::Float(f64::of(x)),
    }
}

/// Converts to the type: integers wrap, floats round once, and saturate when the type is an integer's.
pub(super) fn narrow(dtype: DType) -> fn(Wide) -> u64 {
    macro_rules! to {
        ($ty:ident) => {
            |x| match x {
                Wide::Int(i) => (i as $ty).bits(),
                Wide::Float(f) => (f as $ty).bits(),
            }
        };
    }
    fn double(x: Wide) -> f64 {
        match x {
            Wide::Int(i) => i as f64,
            Wide::Float(f) => f,
        }
    }
    match dtype {
        DType::Bool => |x| match x {
            Wide::Int(i) => u64::from(i != 0),
            Wide::Float(f) => u64::from(f != 0.0),
        },
        DType::U8 => to!(u8),
        DType::U16 => to!(u16),
        DType::U32 => to!(u32),
        DType::U64 => to!(u64),
        DType::I8 => to!(i8),
        DType::I16 => to!(i16),
        DType::I32 => to!(i32),
        DType::I64 => to!(i64),
        DType::F16 => |x| u64::from(half::f16::from_f64(double(x)).to_bits()),
        DType::BF16 => |x| u64::from(half::bf16::from_f64(double(x)).to_bits()),
        DType::F32 => to!(f32),
        DType::F64 => to!(f64),
    }
}

//! Building elementary expressions with operators, sharing values through `Let`s.
//!
//! Invariant: an [`X`] that is used twice was made by [`Lets::share`], so that trees stay linear in size.

use crate::{Expr, Kernel, Scalar, Stmt};
use nnc_ir::DType;
use nnc_ir::op::{BinaryOp, UnaryOp};
use std::ops::{Add, Div, Mul, Neg, Sub};

/// An expression with its type.
#[derive(Clone)]
pub(super) struct X {
    pub(super) expr: Expr,
    pub(super) dtype: DType,
}

/// Where shared values go: the kernel that gets the variables, and the statements before the one being expanded.
pub(super) struct Lets<'a> {
    pub(super) kernel: &'a mut Kernel,
    pub(super) stmts: &'a mut Vec<Stmt>,
}

impl Lets<'_> {
    /// Gives a value a name, so that it is computed once.
    pub(super) fn share(&mut self, x: X) -> X {
        if matches!(x.expr, Expr::Const(_) | Expr::Var(_)) {
            return x;
        }
        let var = self.kernel.add_var("m", x.dtype, i64::MIN, i64::MAX);
        self.stmts.push(Stmt::Let(var, x.expr));
        X { expr: Expr::Var(var), dtype: x.dtype }
    }
}

impl X {
    pub(super) fn new(expr: Expr, dtype: DType) -> X {
        X { expr, dtype }
    }

    /// A constant of the same type.
    pub(super) fn like(&self, value: f64) -> X {
        X::constant(self.dtype, value)
    }

    pub(super) fn constant(dtype: DType, value: f64) -> X {
        X::new(Expr::constant(dtype, value), dtype)
    }

    /// An integer constant, not squeezed through a double.
    pub(super) fn int(dtype: DType, value: i64) -> X {
        let mask = if dtype.size() == 8 { u64::MAX } else { (1 << (8 * dtype.size())) - 1 };
        X::new(Expr::Const(Scalar { dtype, bits: value as u64 & mask }), dtype)
    }

    pub(super) fn unary(self, op: UnaryOp) -> X {
        X::new(Expr::unary(op, self.expr), self.dtype)
    }

    pub(super) fn binary(self, op: BinaryOp, other: X) -> X {
        let dtype = if op.is_comparison() { DType::Bool } else { self.dtype };
        X::new(Expr::binary(op, self.expr, other.expr), dtype)
    }

    pub(super) fn abs(self) -> X {
        self.unary(UnaryOp::Abs)
    }

    pub(super) fn lt(self, other: X) -> X {
        self.binary(BinaryOp::Lt, other)
    }

    pub(super) fn eq(self, other: X) -> X {
        self.binary(BinaryOp::Eq, other)
    }

    pub(super) fn and(self, other: X) -> X {
        self.binary(BinaryOp::And, other)
    }

    pub(super) fn or(self, other: X) -> X {
        self.binary(BinaryOp::Or, other)
    }

    pub(super) fn shl(self, bits: i64) -> X {
        let by = X::int(self.dtype, bits);
        self.binary(BinaryOp::Shl, by)
    }

    pub(super) fn shr(self, bits: i64) -> X {
        let by = X::int(self.dtype, bits);
        self.binary(BinaryOp::Shr, by)
    }

    /// `self ? a : b`.
    pub(super) fn select(self, a: X, b: X) -> X {
        let dtype = a.dtype;
        X::new(Expr::select(self.expr, a.expr, b.expr), dtype)
    }

    /// `self * y + z`.
    pub(super) fn mul_add(self, y: X, z: X) -> X {
        X::new(Expr::MulAdd(Box::new(self.expr), Box::new(y.expr), Box::new(z.expr)), self.dtype)
    }

    pub(super) fn bitcast(self, to: DType) -> X {
        X::new(Expr::Bitcast(to, Box::new(self.expr)), to)
    }

    pub(super) fn convert(self, to: DType) -> X {
        X::new(Expr::convert(to, self.dtype, self.expr), to)
    }

    /// The signed integer type of the same size.
    pub(super) fn bits_dtype(&self) -> DType {
        if self.dtype == DType::F64 { DType::I64 } else { DType::I32 }
    }

    /// The bits as a signed integer.
    pub(super) fn bits(self) -> X {
        let to = self.bits_dtype();
        self.bitcast(to)
    }

    /// No more than `high`; NaN stays. (The order of operands is that of x86's `min`.)
    pub(super) fn at_most(self, high: f64) -> X {
        let high = self.like(high);
        high.clone().lt(self.clone()).select(high, self)
    }

    /// No less than `low`; NaN stays.
    pub(super) fn at_least(self, low: f64) -> X {
        let low = self.like(low);
        self.clone().lt(low.clone()).select(low, self)
    }

    /// This magnitude (not negative) with the sign of `sign`.
    pub(super) fn with_sign_of(self, sign: X) -> X {
        let dtype = self.dtype;
        let lowest = if dtype == DType::F64 { i64::MIN } else { i64::from(i32::MIN) };
        let mask = X::int(self.bits_dtype(), lowest);
        self.bits().or(sign.bits().and(mask)).bitcast(dtype)
    }

    /// Whether the sign bit is set.
    pub(super) fn sign_bit(self) -> X {
        let bits = self.bits();
        let zero = X::int(bits.dtype, 0);
        bits.lt(zero)
    }
}

/// The polynomial with these coefficients, the highest power first, in Horner's scheme; `x` is used often.
pub(super) fn horner(x: &X, coefficients: &[f64]) -> X {
    let mut coefficients = coefficients.iter().map(|&c| x.like(c));
    let first = coefficients.next().unwrap_or_else(|| x.like(0.0));
    coefficients.fold(first, |sum, c| sum.mul_add(x.clone(), c))
}

macro_rules! operators {
    ($($trait:ident::$method:ident),*) => { $(
        impl $trait<X> for X {
            type Output = X;
            fn $method(self, other: X) -> X { self.binary(BinaryOp::$trait, other) }
        }
        impl $trait<&X> for X {
            type Output = X;
            fn $method(self, other: &X) -> X { self.binary(BinaryOp::$trait, other.clone()) }
        }
        impl $trait<X> for &X {
            type Output = X;
            fn $method(self, other: X) -> X { self.clone().binary(BinaryOp::$trait, other) }
        }
        impl $trait<&X> for &X {
            type Output = X;
            fn $method(self, other: &X) -> X { self.clone().binary(BinaryOp::$trait, other.clone()) }
        }
        impl $trait<f64> for X {
            type Output = X;
            fn $method(self, other: f64) -> X { let c = self.like(other); self.binary(BinaryOp::$trait, c) }
        }
        impl $trait<f64> for &X {
            type Output = X;
            fn $method(self, other: f64) -> X { self.clone().binary(BinaryOp::$trait, self.like(other)) }
        }
    )* };
}
operators!(Add::add, Sub::sub, Mul::mul, Div::div);

impl Neg for X {
    type Output = X;
    fn neg(self) -> X {
        self.unary(UnaryOp::Neg)
    }
}

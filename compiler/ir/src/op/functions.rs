//! The scalar functions, a row each: its name, whether its result jumps, the types it is defined on, its values on floats.
//!
//! Floats are computed in `f64` with the functions of the `libm` crate, so that results do not depend on the host's C
//! library; who evaluates rounds once. What a function is to integers and bools is said by those who compute with them:
//! the interpreters, symbolic evaluation and the targets.

use super::named::named;
use crate::DType;

/// The types that a function is defined on.
#[derive(Clone, Copy)]
enum On {
    All,
    Numbers,
    Floats,
    Integers,
    Bools,
    /// Integers and bools.
    Bits,
}

impl On {
    const fn holds(self, dtype: DType) -> bool {
        match self {
            On::All => true,
            On::Numbers => !matches!(dtype, DType::Bool),
            On::Floats => dtype.is_float(),
            On::Integers => dtype.is_int(),
            On::Bools => matches!(dtype, DType::Bool),
            On::Bits => !dtype.is_float(),
        }
    }
}

macro_rules! jumps {
    (jumps) => {
        true
    };
    (smooth) => {
        false
    };
}

macro_rules! result {
    ($operand:ident) => {
        $operand
    };
    ($operand:ident $result:ident) => {
        DType::$result
    };
}

macro_rules! on_floats {
    ($function:ty) => {
        None
    };
    ($function:ty, $f:expr) => {{
        let f: $function = $f;
        Some(f)
    }};
}

/// Declares an enum of functions: `Variant = "name" (jumps or smooth) on Types (to Result) (by function of floats);`.
macro_rules! functions {
    ($(#[$doc:meta])* $ty:ident: $function:ty {
        $($(#[$row_doc:meta])* $variant:ident = $name:literal $jumps:ident on $on:ident
            $(to $result:ident)? $(by $f:expr)?;)*
    }) => {
        named! {
            $(#[$doc])*
            #[allow(missing_docs, reason = "the variants are named after the functions they are")]
            $ty { $($(#[$row_doc])* $variant = $name),* }
        }

        impl $ty {
            /// Whether it is defined on operands of this type.
            pub const fn accepts(self, dtype: DType) -> bool {
                let on = match self { $($ty::$variant => On::$on,)* };
                on.holds(dtype)
            }

            /// The type of the result for operands of this type.
            pub const fn result(self, operand: DType) -> DType {
                match self { $($ty::$variant => result!(operand $($result)?),)* }
            }

            /// Whether a small difference of an operand makes a large one of the result: where it rounds or compares.
            pub const fn jumps(self) -> bool {
                match self { $($ty::$variant => jumps!($jumps),)* }
            }

            /// The function on floats; `None` when it is not defined on them or yields no float.
            pub fn on_floats(self) -> Option<$function> {
                match self { $($ty::$variant => on_floats!($function $(, $f)?),)* }
            }
        }
    };
}

functions! {
    /// Scalar function of one operand. Result type is the operand's, except where said.
    UnaryOp: fn(f64) -> f64 {
        Neg = "neg" smooth on Numbers by |x| -x;
        Abs = "abs" smooth on Numbers by f64::abs;
        /// -1, 0 or 1; NaN stays NaN.
        Sign = "sign" jumps on Numbers by |x| if x == 0.0 || x.is_nan() { x } else { x.signum() };
        Floor = "floor" jumps on Floats by f64::floor;
        Ceil = "ceil" jumps on Floats by f64::ceil;
        /// Half to even.
        Round = "round" jumps on Floats by f64::round_ties_even;
        Trunc = "trunc" jumps on Floats by f64::trunc;
        Sqrt = "sqrt" smooth on Floats by f64::sqrt;
        Rsqrt = "rsqrt" smooth on Floats by |x| 1.0 / x.sqrt();
        Recip = "recip" smooth on Floats by |x| 1.0 / x;
        Exp = "exp" smooth on Floats by libm::exp;
        /// exp(x) - 1, accurate near 0.
        Expm1 = "expm1" smooth on Floats by libm::expm1;
        Log = "log" smooth on Floats by libm::log;
        /// log(1 + x), accurate near 0.
        Log1p = "log1p" smooth on Floats by libm::log1p;
        Sin = "sin" smooth on Floats by libm::sin;
        Cos = "cos" smooth on Floats by libm::cos;
        Tan = "tan" smooth on Floats by libm::tan;
        Asin = "asin" smooth on Floats by libm::asin;
        Acos = "acos" smooth on Floats by libm::acos;
        Atan = "atan" smooth on Floats by libm::atan;
        Sinh = "sinh" smooth on Floats by libm::sinh;
        Cosh = "cosh" smooth on Floats by libm::cosh;
        Tanh = "tanh" smooth on Floats by libm::tanh;
        Asinh = "asinh" smooth on Floats by libm::asinh;
        Acosh = "acosh" smooth on Floats by libm::acosh;
        Atanh = "atanh" smooth on Floats by libm::atanh;
        Erf = "erf" smooth on Floats by libm::erf;
        /// 1 / (1 + exp(-x)).
        Sigmoid = "sigmoid" smooth on Floats by |x| 1.0 / (1.0 + libm::exp(-x));
        /// Logical not of a bool.
        Not = "not" smooth on Bools;
        /// Bitwise complement of an integer.
        BitNot = "bit_not" smooth on Integers;
        /// Result is bool.
        IsNan = "is_nan" jumps on Floats to Bool;
        /// Either infinity; result is bool.
        IsInf = "is_inf" jumps on Floats to Bool;
    }
}

functions! {
    /// Scalar function of two operands of one type. Comparisons yield bool, everything else the operands' type.
    BinaryOp: fn(f64, f64) -> f64 {
        Add = "add" smooth on Numbers by |a, b| a + b;
        Sub = "sub" smooth on Numbers by |a, b| a - b;
        Mul = "mul" smooth on Numbers by |a, b| a * b;
        /// Integers truncate toward zero; division of an integer by zero yields 0 (and never traps).
        Div = "div" smooth on Numbers by |a, b| a / b;
        /// Sign of the divisor (Python's `%`).
        Mod = "mod" jumps on Numbers by |a, b| {
            let r = a % b;
            if r != 0.0 && (r < 0.0) != (b < 0.0) { r + b } else { r }
        };
        /// Sign of the dividend (C's `fmod` and `%`).
        Rem = "rem" jumps on Numbers by |a, b| a % b;
        Pow = "pow" smooth on Numbers by libm::pow;
        /// NaN if either operand is NaN.
        Max = "max" smooth on Numbers by |a, b| if a.is_nan() || a > b { a } else { b };
        /// NaN if either operand is NaN.
        Min = "min" smooth on Numbers by |a, b| if a.is_nan() || a < b { a } else { b };
        Atan2 = "atan2" smooth on Floats by libm::atan2;
        And = "and" smooth on Bits;
        Or = "or" smooth on Bits;
        Xor = "xor" smooth on Bits;
        Shl = "shl" smooth on Integers;
        /// Logical for unsigned, arithmetic for signed types.
        Shr = "shr" smooth on Integers;
        Eq = "eq" jumps on All to Bool;
        Ne = "ne" jumps on All to Bool;
        Lt = "lt" jumps on Numbers to Bool;
        Le = "le" jumps on Numbers to Bool;
        Gt = "gt" jumps on Numbers to Bool;
        Ge = "ge" jumps on Numbers to Bool;
    }
}

impl BinaryOp {
    /// Whether the result is bool whatever the operands are.
    pub const fn is_comparison(self) -> bool {
        matches!(self.result(DType::I64), DType::Bool)
    }
}

named! {
    /// How a set of elements becomes one.
    ReduceOp {
        /// Empty set: 0. `f16` and `bf16` accumulate in `f32`.
        Sum = "sum",
        /// Empty set: 1.
        Prod = "prod",
        /// Empty set: the type's lowest value (-inf for floats). NaN wins.
        Max = "max",
        /// Empty set: the type's highest value (inf for floats). NaN wins.
        Min = "min",
    }
}

//! The names of operations and of their attributes in the text form and in messages.
//!
//! Invariant: within one enum names are distinct, and no elementwise function is called like a core operation, for the
//! text form spells both in the same place.

use crate::op::{BinaryOp, Op, PadMode, ReduceOp, Relation, ScatterOp, UnaryOp};

macro_rules! names {
    ($ty:ident { $($variant:ident = $name:literal),* $(,)? }) => {
        impl $ty {
            /// Every variant.
            pub const ALL: &[$ty] = &[$($ty::$variant),*];

            /// The name in text forms.
            pub const fn name(self) -> &'static str {
                match self { $($ty::$variant => $name),* }
            }

            /// The variant called `name`.
            pub fn from_name(name: &str) -> Option<$ty> {
                match name { $($name => Some($ty::$variant),)* _ => None }
            }
        }
    };
}

names!(UnaryOp {
    Neg = "neg",
    Abs = "abs",
    Sign = "sign",
    Floor = "floor",
    Ceil = "ceil",
    Round = "round",
    Trunc = "trunc",
    Sqrt = "sqrt",
    Rsqrt = "rsqrt",
    Recip = "recip",
    Exp = "exp",
    Expm1 = "expm1",
    Log = "log",
    Log1p = "log1p",
    Sin = "sin",
    Cos = "cos",
    Tan = "tan",
    Asin = "asin",
    Acos = "acos",
    Atan = "atan",
    Sinh = "sinh",
    Cosh = "cosh",
    Tanh = "tanh",
    Asinh = "asinh",
    Acosh = "acosh",
    Atanh = "atanh",
    Erf = "erf",
    Sigmoid = "sigmoid",
    Not = "not",
    BitNot = "bit_not",
    IsNan = "is_nan",
    IsInf = "is_inf",
});

names!(BinaryOp {
    Add = "add",
    Sub = "sub",
    Mul = "mul",
    Div = "div",
    Mod = "mod",
    Rem = "rem",
    Pow = "pow",
    Max = "max",
    Min = "min",
    Atan2 = "atan2",
    And = "and",
    Or = "or",
    Xor = "xor",
    Shl = "shl",
    Shr = "shr",
    Eq = "eq",
    Ne = "ne",
    Lt = "lt",
    Le = "le",
    Gt = "gt",
    Ge = "ge",
});

names!(ReduceOp { Sum = "sum", Prod = "prod", Max = "max", Min = "min" });
names!(PadMode { Constant = "constant", Edge = "edge", Reflect = "reflect", Wrap = "wrap" });
names!(Relation { Equal = "equal", AtMost = "at_most" });
names!(ScatterOp { Replace = "replace", Add = "add", Mul = "mul", Max = "max", Min = "min" });

impl Op {
    /// The name in text forms; elementwise operations go by their function.
    pub fn name(&self) -> &'static str {
        match self {
            Op::Constant(_) => "constant",
            Op::Dims { .. } => "dims",
            Op::Iota { .. } => "iota",
            Op::Unary(f) => f.name(),
            Op::Binary(f) => f.name(),
            Op::Select => "select",
            Op::Convert(_) => "convert",
            Op::Bitcast(_) => "bitcast",
            Op::Broadcast { .. } => "broadcast",
            Op::Reshape { .. } => "reshape",
            Op::Transpose { .. } => "transpose",
            Op::Slice { .. } => "slice",
            Op::Pad { .. } => "pad",
            Op::Concat { .. } => "concat",
            Op::Reduce { .. } => "reduce",
            Op::ArgReduce { .. } => "arg_reduce",
            Op::Contract { .. } => "contract",
            Op::Conv { .. } => "conv",
            Op::Pool { .. } => "pool",
            Op::PoolIndex { .. } => "pool_index",
            Op::Gather { .. } => "gather",
            Op::GatherElements { .. } => "gather_elements",
            Op::GatherNd { .. } => "gather_nd",
            Op::ScatterNd(_) => "scatter_nd",
            Op::ScatterElements { .. } => "scatter_elements",
            Op::Cumulative { .. } => "cumulative",
            Op::TopK { .. } => "top_k",
            Op::NonZero { .. } => "non_zero",
            Op::Unique { .. } => "unique",
            Op::NonMaxSuppression { .. } => "non_max_suppression",
            Op::BindDims { .. } => "bind_dims",
            Op::Require { .. } => "require",
            Op::Recurrent(_) => "recurrent",
            Op::Random { .. } => "random",
            Op::If { .. } => "if",
            Op::Loop { .. } => "loop",
        }
    }
}

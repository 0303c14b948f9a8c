//! Operand types of the scalar functions, shared by the verifier, the interpreter and the backends.
//!
//! Invariant: a function that [`unary_accepts`], [`binary_accepts`] or [`reduce_accepts`] allows has a meaning in the
//! interpreter, and every backend implements it.

use nnc_ir::DType;
use nnc_ir::op::{BinaryOp, ReduceOp, UnaryOp};

/// Whether arithmetic is done in this type at all: every type but `f16` and `bf16`.
const fn computes(dtype: DType) -> bool {
    !matches!(dtype, DType::F16 | DType::BF16)
}

/// Whether the function takes an operand of this type.
pub fn unary_accepts(op: UnaryOp, dtype: DType) -> bool {
    computes(dtype) && op.accepts(dtype)
}

/// Whether the function takes operands of this type; bools are ordered here.
pub fn binary_accepts(op: BinaryOp, dtype: DType) -> bool {
    use BinaryOp::{Ge, Gt, Le, Lt, Max, Min};
    let ordered = dtype == DType::Bool && matches!(op, Max | Min | Lt | Le | Gt | Ge);
    computes(dtype) && (ordered || op.accepts(dtype))
}

/// Whether elements of this type are combined so.
pub fn reduce_accepts(op: ReduceOp, dtype: DType) -> bool {
    computes(dtype) && (dtype != DType::Bool || matches!(op, ReduceOp::Max | ReduceOp::Min))
}

/// The combination as a function of two operands.
pub const fn reduce_function(op: ReduceOp) -> BinaryOp {
    match op {
        ReduceOp::Sum => BinaryOp::Add,
        ReduceOp::Prod => BinaryOp::Mul,
        ReduceOp::Max => BinaryOp::Max,
        ReduceOp::Min => BinaryOp::Min,
    }
}

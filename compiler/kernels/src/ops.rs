//! Operand and result types of the scalar functions, shared by the verifier, the interpreter and the backends.
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
    computes(dtype)
        && match op {
            UnaryOp::Neg | UnaryOp::Abs | UnaryOp::Sign => dtype != DType::Bool,
            UnaryOp::Not => dtype == DType::Bool,
            UnaryOp::BitNot => dtype.is_int(),
            _ => dtype.is_float(),
        }
}

/// Whether the function takes operands of this type.
pub fn binary_accepts(op: BinaryOp, dtype: DType) -> bool {
    use BinaryOp::*;
    computes(dtype)
        && match op {
            Add | Sub | Mul | Div | Mod | Rem | Pow => dtype != DType::Bool,
            Max | Min | Eq | Ne | Lt | Le | Gt | Ge => true,
            Atan2 => dtype.is_float(),
            And | Or | Xor => !dtype.is_float(),
            Shl | Shr => dtype.is_int(),
        }
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

/// Result type of a function of one operand.
pub const fn unary_result(op: UnaryOp, operand: DType) -> DType {
    match op {
        UnaryOp::IsNan | UnaryOp::IsInf => DType::Bool,
        _ => operand,
    }
}

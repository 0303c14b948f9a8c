//! Elementwise operations: operands of one shape, types by function.

use super::{Types, check_dtype, check_numeric, one, operands};
use crate::DType;
use crate::graph::TensorType;
use crate::op::{BinaryOp, UnaryOp};

pub(super) fn unary(f: UnaryOp, inputs: &[&TensorType]) -> Types {
    use UnaryOp::*;
    let [x] = operands(inputs)?;
    let fits = match f {
        Neg | Abs | Sign => x.dtype != DType::Bool,
        Not => x.dtype == DType::Bool,
        BitNot => x.dtype.is_int(),
        Floor | Ceil | Round | Trunc | Sqrt | Rsqrt | Recip | Exp | Expm1 | Log | Log1p | Sin | Cos | Tan | Asin
        | Acos | Atan | Sinh | Cosh | Tanh | Asinh | Acosh | Atanh | Erf | Sigmoid | IsNan | IsInf => {
            x.dtype.is_float()
        }
    };
    if !fits {
        return Err(format!("is not defined on {x}"));
    }
    let result = if matches!(f, IsNan | IsInf) { DType::Bool } else { x.dtype };
    one(result, x.shape.clone())
}

pub(super) fn binary(f: BinaryOp, inputs: &[&TensorType]) -> Types {
    use BinaryOp::*;
    let [x, y] = operands(inputs)?;
    same(x, y)?;
    let fits = match f {
        Add | Sub | Mul | Div | Mod | Rem | Pow | Max | Min | Lt | Le | Gt | Ge => x.dtype != DType::Bool,
        Atan2 => x.dtype.is_float(),
        And | Or | Xor => !x.dtype.is_float(),
        Shl | Shr => x.dtype.is_int(),
        Eq | Ne => true,
    };
    if !fits {
        return Err(format!("is not defined on {x}"));
    }
    one(if f.is_comparison() { DType::Bool } else { x.dtype }, x.shape.clone())
}

pub(super) fn select(inputs: &[&TensorType]) -> Types {
    let [condition, x, y] = operands(inputs)?;
    check_dtype("the condition", condition, DType::Bool)?;
    same(x, y)?;
    super::check_shape("the condition", condition, &x.shape)?;
    one(x.dtype, x.shape.clone())
}

pub(super) fn convert(to: DType, inputs: &[&TensorType]) -> Types {
    let [x] = operands(inputs)?;
    one(to, x.shape.clone())
}

pub(super) fn bitcast(to: DType, inputs: &[&TensorType]) -> Types {
    let [x] = operands(inputs)?;
    check_numeric(x)?;
    if to == DType::Bool || to.size() != x.dtype.size() {
        return Err(format!("cannot see {x} as {to}"));
    }
    one(to, x.shape.clone())
}

fn same(x: &TensorType, y: &TensorType) -> Result<(), String> {
    if x == y { Ok(()) } else { Err(format!("operands differ: {x} and {y}")) }
}

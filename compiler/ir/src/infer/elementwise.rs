//! Elementwise operations: operands of one shape, types by function.

use super::{Types, check_dtype, check_numeric, one, operands};
use crate::DType;
use crate::graph::TensorType;
use crate::op::{BinaryOp, UnaryOp};

pub(super) fn unary(f: UnaryOp, inputs: &[&TensorType]) -> Types {
    let [x] = operands(inputs)?;
    if !f.accepts(x.dtype) {
        return Err(format!("is not defined on {x}"));
    }
    one(f.result(x.dtype), x.shape.clone())
}

pub(super) fn binary(f: BinaryOp, inputs: &[&TensorType]) -> Types {
    let [x, y] = operands(inputs)?;
    same(x, y)?;
    if !f.accepts(x.dtype) {
        return Err(format!("is not defined on {x}"));
    }
    one(f.result(x.dtype), x.shape.clone())
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

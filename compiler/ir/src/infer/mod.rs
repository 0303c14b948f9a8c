//! Result types of every operation, from its operands.

use crate::graph::{ConstPool, TensorType};
use crate::op::Op;

/// Operands that do not fit an operation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{op}: {message}")]
pub struct TypeError {
    /// The operation, as its text form spells it.
    pub op: &'static str,
    /// What is wrong.
    pub message: String,
}

/// The types of the results.
///
/// # Errors
/// When the operands do not fit the operation.
pub fn infer(_op: &Op, _inputs: &[&TensorType], _consts: &ConstPool) -> Result<Vec<TensorType>, TypeError> {
    Err(TypeError { op: "op", message: "not inferred yet".into() })
}

//! The core operations: a closed set that passes and targets match exhaustively.
//!
//! Each variant of [`Op`] documents its operands and results. Shapes are exact: elementwise operands have the result's
//! shape (use [`Op::Broadcast`] first), integer attributes never count from the end. Index tensors are `i64` and already
//! non-negative (import normalises ONNX's negative indices).
//!
//! `table.rs` has a row for each operation, `functions.rs` one for each scalar function, `kinds.rs` the types of
//! attributes.

mod derive;
mod functions;
mod kinds;
pub(crate) mod named;
mod parts;
mod table;

pub use functions::{BinaryOp, ReduceOp, UnaryOp};
pub use kinds::{Activation, CellKind, Distribution, PadMode, Recurrent, Relation, ScatterOp, Window};
#[cfg(test)]
pub(crate) use table::NAMES;
pub use table::Op;

//! ONNX files to plain Rust structs, with limits on untrusted input.
//!
//! A model file is untrusted. [`Model::load`] maps it, walks its wire format under limits
//! (`strip`), hands the structure without the weights to `onnx-protobuf`, converts the result
//! (`convert`), expands model-local functions ([`inline_functions`]) and checks the graph
//! ([`check`]). Weights are never copied: a [`Tensor`] points into the mapped file.
//!
//! Invariants: nothing here knows an operator; no input makes this crate panic; every size is
//! checked before memory is asked for; every [`ImportError`] names the file and, where there is
//! one, the node or tensor.
//!
//! Source: the ONNX intermediate representation specification,
//! <https://github.com/onnx/onnx/blob/main/docs/IR.md>, and `onnx.proto` next to it.

mod attribute;
mod bytes;
mod check;
mod constant;
mod convert;
mod elem;
mod error;
mod external;
mod inline;
mod limits;
mod load;
mod model;
mod payload;
mod rename;
mod schema;
mod sparse;
mod strip;
mod tensor;
mod value;
mod wire;

#[cfg(test)]
mod tests;

pub use attribute::Attribute;
pub use bytes::Bytes;
pub use check::check;
pub use elem::ElemType;
pub use error::{ErrorKind, ImportError};
pub use inline::inline_functions;
pub use model::{DimInfo, Function, Graph, Model, Node, TypeInfo, ValueInfo};
pub use tensor::{NamedTensor, Tensor, TensorData};
pub use value::{Value, ValueKind, load_tensor, load_value};

//! The graph IR: SSA over tensors with a closed set of core operations and symbolic dimensions.
//!
//! Everything between import and scheduling is expressed here. An ONNX operator never appears: the crate
//! `nnc-ops` translates operators into [`Op`]s, the crate `nnc-passes` rewrites them.
//!
//! Invariants (enforced by [`verify`]):
//! - a [`Graph`] is in SSA form and its nodes are stored in topological order;
//! - shapes are lists of [`Dim`], exact everywhere: there is no unknown dimension and no implicit broadcast;
//! - constants live once in the graph's [`ConstPool`], found by content hash;
//! - a [`Symbol`] is defined by the signature or by exactly one node.
//!
//! Source: the op set follows StableHLO (openxla.org/stablehlo/spec) with channels-last convolution and
//! ONNX-like gathers; the text form follows Cranelift's conventions.

mod attributes;
pub mod demands;
pub mod dim;
pub mod dtype;
pub mod encoding;
pub mod graph;
pub mod infer;
pub mod op;
pub mod parse;
pub mod print;
pub mod symbolic;
pub mod tensor;
pub mod tree_tables;
pub mod verify;
pub mod widened;

pub use dim::{Dim, DimTable, Symbol, SymbolInfo, SymbolOrigin};
pub use dtype::DType;
pub use encoding::{Encoded, Encoding, Encodings};
pub use graph::{ConstId, ConstPool, Graph, Node, NodeId, TensorType, ValueId};
pub use op::Op;
pub use tensor::{Data, Tensor};
pub use widened::{Spread, Widened};

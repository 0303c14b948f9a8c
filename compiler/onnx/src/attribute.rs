//! The value of a node's attribute.
//!
//! Invariant: `Reference` stands only in a function body; inlining replaces it, and the check of
//! a graph refuses one that is left.

use crate::{Graph, Tensor, TypeInfo};

/// The value of an attribute; strings are bytes, as ONNX does not promise UTF-8.
#[derive(Clone, Debug)]
pub enum Attribute {
    /// One number.
    Float(f32),
    /// One integer.
    Int(i64),
    /// One string.
    String(Vec<u8>),
    /// One tensor.
    Tensor(Tensor),
    /// A subgraph, which sees the names of the graphs around it.
    Graph(Box<Graph>),
    /// A list of numbers.
    Floats(Vec<f32>),
    /// A list of integers.
    Ints(Vec<i64>),
    /// A list of strings.
    Strings(Vec<Vec<u8>>),
    /// A list of tensors.
    Tensors(Vec<Tensor>),
    /// A list of subgraphs.
    Graphs(Vec<Graph>),
    /// A sparse tensor, already made dense.
    SparseTensor(Tensor),
    /// A list of sparse tensors, already made dense.
    SparseTensors(Vec<Tensor>),
    /// A type.
    Type(TypeInfo),
    /// A list of types.
    Types(Vec<TypeInfo>),
    /// In a function body: the value of the calling node's attribute of this name.
    Reference(String),
}

impl Attribute {
    /// What the attribute holds, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Attribute::Float(_) => "float",
            Attribute::Int(_) => "int",
            Attribute::String(_) => "string",
            Attribute::Tensor(_) => "tensor",
            Attribute::Graph(_) => "graph",
            Attribute::Floats(_) => "floats",
            Attribute::Ints(_) => "ints",
            Attribute::Strings(_) => "strings",
            Attribute::Tensors(_) => "tensors",
            Attribute::Graphs(_) => "graphs",
            Attribute::SparseTensor(_) => "sparse tensor",
            Attribute::SparseTensors(_) => "sparse tensors",
            Attribute::Type(_) => "type",
            Attribute::Types(_) => "types",
            Attribute::Reference(_) => "reference",
        }
    }

    /// The subgraphs it holds.
    pub fn graphs(&self) -> &[Graph] {
        match self {
            Attribute::Graph(graph) => std::slice::from_ref(graph),
            Attribute::Graphs(graphs) => graphs,
            _ => &[],
        }
    }

    /// The subgraphs it holds, to change.
    pub fn graphs_mut(&mut self) -> &mut [Graph] {
        match self {
            Attribute::Graph(graph) => std::slice::from_mut(graph),
            Attribute::Graphs(graphs) => graphs,
            _ => &mut [],
        }
    }
}

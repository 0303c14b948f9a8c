//! Which fields of which message the import reads, and what becomes of them.
//!
//! A field without a row is dropped, whatever it holds: documentation, metadata, training
//! graphs, fields of newer versions. So the decoder behind sees no unknown field.
//!
//! Source: `onnx.proto`; the numbers are the field numbers there.

/// The kinds of message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Model,
    Graph,
    Node,
    Attribute,
    Tensor,
    Sparse,
    ValueInfo,
    Type,
    TensorType,
    NestedType,
    MapType,
    Shape,
    Dim,
    Function,
    Opset,
    Entry,
}

/// What becomes of a field.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fate {
    /// It is copied as it stands.
    Copy,
    /// It is a message, stripped in turn.
    Enter(Kind),
    /// It is left out.
    Drop,
}

impl Kind {
    /// What becomes of the field `number` of this message.
    pub(crate) fn fate(self, number: u32) -> Fate {
        use Fate::{Copy, Drop, Enter};
        match (self, number) {
            // ir_version, producer_name, producer_version
            (Kind::Model, 1..=3) => Copy,
            (Kind::Model, 7) => Enter(Kind::Graph),
            (Kind::Model, 8) => Enter(Kind::Opset),
            (Kind::Model, 25) => Enter(Kind::Function),

            (Kind::Graph, 1) => Enter(Kind::Node),
            (Kind::Graph, 2) => Copy,
            (Kind::Graph, 5) => Enter(Kind::Tensor),
            (Kind::Graph, 11..=13) => Enter(Kind::ValueInfo),
            (Kind::Graph, 15) => Enter(Kind::Sparse),

            // input, output, name, op_type, domain, overload
            (Kind::Node, 1..=4 | 7 | 8) => Copy,
            (Kind::Node, 5) => Enter(Kind::Attribute),

            // name, f, i, s, floats, ints, strings, type, ref_attr_name
            (Kind::Attribute, 1..=4 | 7..=9 | 20 | 21) => Copy,
            (Kind::Attribute, 5 | 10) => Enter(Kind::Tensor),
            (Kind::Attribute, 6 | 11) => Enter(Kind::Graph),
            (Kind::Attribute, 14 | 15) => Enter(Kind::Type),
            (Kind::Attribute, 22 | 23) => Enter(Kind::Sparse),

            // dims, data_type, name, data_location; the elements stay in the file
            (Kind::Tensor, 1 | 2 | 8 | 14) => Copy,
            (Kind::Tensor, 13) => Enter(Kind::Entry),

            (Kind::Sparse, 1 | 2) => Enter(Kind::Tensor),
            (Kind::Sparse, 3) => Copy,

            (Kind::ValueInfo, 1) => Copy,
            (Kind::ValueInfo, 2) => Enter(Kind::Type),

            (Kind::Type, 1 | 8) => Enter(Kind::TensorType),
            (Kind::Type, 4 | 9) => Enter(Kind::NestedType),
            (Kind::Type, 5) => Enter(Kind::MapType),
            (Kind::TensorType, 1) => Copy,
            (Kind::TensorType, 2) => Enter(Kind::Shape),
            (Kind::NestedType, 1) => Enter(Kind::Type),
            (Kind::MapType, 1) => Copy,
            (Kind::MapType, 2) => Enter(Kind::Type),
            (Kind::Shape, 1) => Enter(Kind::Dim),
            (Kind::Dim, 1 | 2) => Copy,

            // name, input, output, attribute, domain, overload
            (Kind::Function, 1 | 4..=6 | 10 | 13) => Copy,
            (Kind::Function, 7) => Enter(Kind::Node),
            (Kind::Function, 9) => Enter(Kind::Opset),
            (Kind::Function, 11) => Enter(Kind::Attribute),

            (Kind::Opset | Kind::Entry, 1 | 2) => Copy,
            _ => Drop,
        }
    }
}

//! Tensors of types that only callers know, and what of them a graph has.
//!
//! A parameter or result of a graph may stand for a tensor of another type: the graph has what encodes it, and callers see
//! the type and shape that are kept here. So core operations, passes and kernels know numbers alone.
//!
//! Invariant: an encoded tensor has the shape that [`Encoding::stored`] makes of the caller's; a verified graph holds to it.

use crate::op::named::named;
use crate::{DType, Dim, TensorType};
use std::collections::BTreeMap;

named! {
    /// How a tensor of numbers encodes a tensor of another type.
    Encoding {
        /// Strings: where each begins in the bytes that the next parameter or result is, and where the last one ends.
        Strings = "string",
    }
}

impl Encoding {
    /// The type of what encodes a tensor of this shape.
    pub fn stored(self, shape: &[Dim]) -> TensorType {
        match self {
            Encoding::Strings => {
                let count = shape.iter().fold(Dim::ONE, |n, d| &n * d);
                TensorType::new(DType::I64, vec![count + 1])
            }
        }
    }
}

/// The tensor that a parameter or result stands for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Encoded {
    /// How it is encoded.
    pub encoding: Encoding,
    /// Its shape.
    pub shape: Vec<Dim>,
}

/// The parameters and results that encode another tensor, by position.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Encodings {
    /// Of parameters.
    pub inputs: BTreeMap<usize, Encoded>,
    /// Of results.
    pub outputs: BTreeMap<usize, Encoded>,
}

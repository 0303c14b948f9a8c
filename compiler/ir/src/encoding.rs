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
        /// Floats of 8 bits, 4 of them exponent, without infinity: their codes, as of all floats below.
        F8E4M3FN = "f8e4m3fn",
        /// The same without negative zero.
        F8E4M3FNUZ = "f8e4m3fnuz",
        /// Floats of 8 bits, 5 of them exponent.
        F8E5M2 = "f8e5m2",
        /// The same without infinity and negative zero.
        F8E5M2FNUZ = "f8e5m2fnuz",
        /// Powers of two by their exponents.
        F8E8M0 = "f8e8m0",
        /// Floats of 4 bits, 2 of them exponent: packed into bytes, the first in the low bits, as all types below.
        F4E2M1 = "f4e2m1",
        /// Unsigned integers of 4 bits.
        U4 = "u4",
        /// Signed integers of 4 bits.
        I4 = "i4",
        /// Unsigned integers of 2 bits.
        U2 = "u2",
        /// Signed integers of 2 bits.
        I2 = "i2",
    }
}

impl Encoding {
    /// The type of what encodes a tensor of this shape.
    pub fn stored(self, shape: &[Dim]) -> TensorType {
        match self {
            Encoding::Strings => TensorType::new(DType::I64, vec![count(shape) + 1]),
            _ if self.bits() == 8 => TensorType::new(DType::U8, shape.to_vec()),
            _ => {
                let bytes = (count(shape) * Dim::from(self.bits())).ceil_div(&Dim::from(8));
                TensorType::new(DType::U8, vec![bytes])
            }
        }
    }

    /// Bits of one element; 0 for strings, which have no fixed size.
    pub const fn bits(self) -> usize {
        match self {
            Encoding::Strings => 0,
            Encoding::F8E4M3FN | Encoding::F8E4M3FNUZ | Encoding::F8E5M2 | Encoding::F8E5M2FNUZ | Encoding::F8E8M0 => 8,
            Encoding::F4E2M1 | Encoding::U4 | Encoding::I4 => 4,
            Encoding::U2 | Encoding::I2 => 2,
        }
    }
}

fn count(shape: &[Dim]) -> Dim {
    shape.iter().fold(Dim::ONE, |n, d| &n * d)
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

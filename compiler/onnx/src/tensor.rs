//! Tensors: element type, shape and little-endian bytes.
//!
//! Invariant: a tensor's data has exactly the size its shape and type ask for, so readers may
//! index it without looking again. The bytes usually lie in the mapped file, at any alignment.

use std::sync::Arc;

use crate::{Bytes, ElemType, ErrorKind, ImportError, error::Result};

/// The elements of a tensor.
#[derive(Clone, Debug)]
pub enum TensorData {
    /// Little-endian elements in row-major order; types under 8 bits are packed from the low bits.
    Bytes(Bytes),
    /// The elements of a string tensor in row-major order.
    Strings(Arc<Vec<Vec<u8>>>),
}

impl TensorData {
    /// The elements as bytes; empty for strings.
    pub fn bytes(&self) -> &[u8] {
        match self {
            TensorData::Bytes(bytes) => bytes,
            TensorData::Strings(_) => &[],
        }
    }

    /// The strings; empty for other types.
    pub fn strings(&self) -> &[Vec<u8>] {
        match self {
            TensorData::Bytes(_) => &[],
            TensorData::Strings(strings) => strings,
        }
    }
}

/// A constant: element type, shape and data.
#[derive(Clone, Debug)]
pub struct Tensor {
    /// The type of the elements.
    pub elem_type: ElemType,
    /// The dimensions; their product fits `usize` even where one of them is 0.
    pub dims: Vec<usize>,
    /// The elements.
    pub data: TensorData,
}

impl Tensor {
    /// The elements as little-endian bytes; empty for strings.
    pub fn bytes(&self) -> &[u8] {
        self.data.bytes()
    }

    /// How many elements the shape has.
    pub fn element_count(&self) -> usize {
        self.dims.iter().product()
    }
}

/// A tensor and its name: an initialiser, or the content of a `.pb` file.
#[derive(Clone, Debug)]
pub struct NamedTensor {
    /// The name; may be empty outside a graph.
    pub name: String,
    /// The tensor.
    pub tensor: Tensor,
}

/// The highest rank accepted.
const MOST_DIMS: usize = 64;

/// The dimensions as sizes, and how many elements they make.
///
/// A shape whose nonzero dimensions overflow is refused even if another one is 0, so that strides
/// can be computed without looking again.
pub(crate) fn checked_count(dims: &[i64]) -> Result<(Vec<usize>, usize)> {
    if dims.len() > MOST_DIMS {
        return Err(ImportError::new(
            ErrorKind::Limit,
            format!("it has {} dimensions", dims.len()),
            "at most 64 are accepted",
        ));
    }
    let mut sizes = Vec::with_capacity(dims.len());
    let mut bound = 1usize;
    for &dim in dims {
        let Ok(size) = usize::try_from(dim) else {
            return Err(ImportError::malformed(format!("its dimension {dim} is negative")));
        };
        bound = bound
            .checked_mul(size.max(1))
            .filter(|bound| *bound <= isize::MAX as usize)
            .ok_or_else(|| ImportError::malformed(format!("its shape {dims:?} overflows")))?;
        sizes.push(size);
    }
    let count = sizes.iter().product();
    Ok((sizes, count))
}

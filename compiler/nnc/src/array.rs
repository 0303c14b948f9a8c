//! Tensors in the memory of the command: what is read from files, made up for a benchmark, and compared.

use std::io::{self, Read};

use bytemuck::{Pod, Zeroable};
use nnc_runtime::{DType, TensorRef};

use crate::errors::{Failure, Result};

/// How much of an array is read before more memory is asked for than it has so far; a whole number of cache lines.
const FIRST_READ: usize = 1 << 20;

/// A cache line, the unit in which the memory of arrays is asked for.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// A dense row-major tensor whose elements are aligned to 64 bytes, as models like their inputs.
#[derive(Clone)]
pub struct Array {
    dtype: DType,
    dims: Vec<i64>,
    lines: Vec<Line>,
    len: usize,
}

impl Array {
    /// An array of zeros.
    ///
    /// # Errors
    /// When a dimension is negative, or the memory cannot be had.
    pub fn zeros(dtype: DType, dims: Vec<i64>) -> Result<Array> {
        let len = size(dtype, &dims)?;
        let mut lines = Vec::new();
        lines.try_reserve_exact(len.div_ceil(64)).map_err(|_| too_large(dtype, &dims))?;
        lines.resize(len.div_ceil(64), Line([0; 64]));
        Ok(Array { dtype, dims, lines, len })
    }

    /// An array whose bytes come from `source`. Memory is asked for as they arrive, so that a header cannot make a short
    /// file take more than twice what it holds.
    ///
    /// # Errors
    /// When the dimensions cannot be, the source ends early, or the memory cannot be had.
    pub fn read(dtype: DType, dims: Vec<i64>, source: &mut impl Read) -> io::Result<Array> {
        let mut array = Array::zeros(dtype, vec![0]).map_err(io::Error::other)?;
        let len = size(dtype, &dims).map_err(io::Error::other)?;
        (array.dims, array.len) = (dims, 0);
        while array.len < len {
            let step = (len - array.len).min(array.len.max(FIRST_READ));
            let lines = (array.len + step).div_ceil(64);
            let more = lines - array.lines.len();
            array.lines.try_reserve_exact(more).map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
            array.lines.resize(lines, Line([0; 64]));
            let from = array.len;
            array.len += step;
            source.read_exact(&mut array.bytes_mut()[from..])?;
        }
        Ok(array)
    }

    /// An array with these bytes.
    ///
    /// # Errors
    /// When their number does not fit the dimensions.
    pub fn from_bytes(dtype: DType, dims: Vec<i64>, bytes: &[u8]) -> Result<Array> {
        let mut array = Array::zeros(dtype, dims)?;
        if array.len != bytes.len() {
            let message = format!("{} has {} bytes", array.describe(), bytes.len());
            return Err(Failure::user(message));
        }
        array.bytes_mut().copy_from_slice(bytes);
        Ok(array)
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The dimensions, outermost first.
    pub fn dims(&self) -> &[i64] {
        &self.dims
    }

    /// The elements as little-endian bytes.
    pub fn bytes(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.lines)[..self.len]
    }

    /// The elements, to be written.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut bytemuck::cast_slice_mut(&mut self.lines)[..self.len]
    }

    /// The array as a model takes it.
    pub fn view(&self) -> TensorRef<'_> {
        TensorRef::from_bytes(self.dtype, &self.dims, self.bytes())
    }

    /// `f32 [1, 3]`
    pub fn describe(&self) -> String {
        format!("{} {:?}", self.dtype, self.dims)
    }
}

/// Bytes of an array.
fn size(dtype: DType, dims: &[i64]) -> Result<usize> {
    let count = dims.iter().try_fold(1u64, |n, &d| n.checked_mul(u64::try_from(d).ok()?));
    let bytes = count.and_then(|n| dtype.bytes_for(n)).and_then(|bytes| usize::try_from(bytes).ok());
    bytes.ok_or_else(|| too_large(dtype, dims))
}

fn too_large(dtype: DType, dims: &[i64]) -> Failure {
    Failure::user(format!("{dtype} {dims:?} is too large"))
}

impl std::fmt::Debug for Array {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.describe())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aligned_and_sized() {
        let array = Array::from_bytes(DType::F32, vec![3], &[7; 12]).unwrap();
        assert_eq!(array.bytes(), [7; 12]);
        assert_eq!(array.bytes().as_ptr() as usize % 64, 0);
        assert_eq!(Array::zeros(DType::I64, vec![]).unwrap().bytes().len(), 8);
    }

    #[test]
    fn memory_comes_with_the_bytes() {
        for count in [0, 1, 16, 300_000, 1_000_003] {
            let bytes: Vec<u8> = (0..4 * count).map(|i| i as u8).collect();
            let array = Array::read(DType::F32, vec![count as i64], &mut &bytes[..]).unwrap();
            assert_eq!((array.bytes(), array.dims()), (&bytes[..], &[count as i64][..]));
        }
        // Of 4 TB it is known after a megabyte that they are not there.
        let error = Array::read(DType::F32, vec![1 << 40], &mut &[0; 100][..]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        assert!(Array::read(DType::F32, vec![-1], &mut &[][..]).is_err());
    }

    #[test]
    fn impossible_sizes_are_errors() {
        for dims in [vec![-1], vec![i64::MAX, i64::MAX], vec![i64::MAX / 8]] {
            assert!(Array::zeros(DType::F32, dims).is_err());
        }
        assert!(Array::from_bytes(DType::F32, vec![3], &[7; 11]).is_err());
    }
}

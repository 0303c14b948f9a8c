//! Sequences of tensors: their elements end to end and, as the tensor that follows, the shape of each.

use nnc_abi::DType;

use crate::TensorRef;

/// A sequence of tensors of one type and number of axes, as models take and yield it: two tensors, one after the other. A
/// sequence of strings has their bytes between the two and is no such sequence, nor is one of elements smaller than a byte.
///
/// ```
/// use nnc_runtime::{Sequence, TensorRef};
/// let words = Sequence::new(&[TensorRef::new(&[2], &[1.0f32, 2.0]), TensorRef::new(&[1], &[3.0f32])]).unwrap();
/// let [elements, dims] = words.inputs();
/// assert_eq!((elements.dims, dims.dims), (&[3][..], &[2, 1][..]));
/// assert_eq!(words.get(1).unwrap().data, 3.0f32.to_le_bytes());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sequence {
    dtype: DType,
    elements: Vec<u8>,
    /// The only dimension of the elements.
    total: [i64; 1],
    dims: Vec<i64>,
    /// Length, and number of axes of each tensor.
    shape: [i64; 2],
}

impl Sequence {
    /// A sequence of no tensors.
    pub fn empty(dtype: DType, rank: usize) -> Sequence {
        let shape = [0, i64::try_from(rank).unwrap_or(i64::MAX)];
        Sequence { dtype, elements: vec![], total: [0], dims: vec![], shape }
    }

    /// A sequence of these; `None` when there is none, they differ in type or number of axes, or their elements do not
    /// fill bytes.
    pub fn new(tensors: &[TensorRef<'_>]) -> Option<Sequence> {
        let first = tensors.first()?;
        let mut all = Sequence::empty(first.dtype, first.dims.len());
        element_size(first.dtype)?;
        for tensor in tensors {
            if tensor.dtype != first.dtype || tensor.dims.len() != first.dims.len() {
                return None;
            }
            all.total[0] = all.total[0].checked_add(count(tensor.dims)?)?;
            all.elements.extend_from_slice(tensor.data);
            all.dims.extend_from_slice(tensor.dims);
            all.shape[0] += 1;
        }
        Some(all)
    }

    /// The sequence that two outputs are; `None` when they are none.
    pub fn of(elements: TensorRef<'_>, dims: TensorRef<'_>) -> Option<Sequence> {
        let size = element_size(elements.dtype)?;
        let (&[total], &[length, rank], DType::I64) = (elements.dims, dims.dims, dims.dtype) else { return None };
        let sizes = dims.data.chunks_exact(8).map(|size| size.try_into().map(i64::from_le_bytes));
        let sizes: Vec<i64> = sizes.collect::<Result<_, _>>().ok()?;
        let sequence = Sequence {
            dtype: elements.dtype,
            elements: elements.data.to_vec(),
            total: [total],
            dims: sizes,
            shape: [length, rank],
        };
        let all = (0..sequence.len()).try_fold(0i64, |all, i| all.checked_add(count(sequence.dims_of(i)?)?))?;
        let bytes = usize::try_from(total).ok()?.checked_mul(size)?;
        (all == total && sequence.elements.len() == bytes).then_some(sequence)
    }

    /// The two inputs that stand for it.
    pub fn inputs(&self) -> [TensorRef<'_>; 2] {
        [
            TensorRef { dtype: self.dtype, dims: &self.total, data: &self.elements },
            TensorRef::new(&self.shape, &self.dims),
        ]
    }

    /// How many tensors it has.
    pub fn len(&self) -> usize {
        usize::try_from(self.shape[0]).unwrap_or(0)
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One of its tensors.
    pub fn get(&self, index: usize) -> Option<TensorRef<'_>> {
        let size = element_size(self.dtype)?;
        let numbers = |dims: &[i64]| usize::try_from(count(dims)?).ok()?.checked_mul(size);
        let mut begin = 0usize;
        for before in 0..index.min(self.len()) {
            begin = begin.checked_add(numbers(self.dims_of(before)?)?)?;
        }
        let dims = self.dims_of(index)?;
        let data = self.elements.get(begin..begin.checked_add(numbers(dims)?)?)?;
        Some(TensorRef { dtype: self.dtype, dims, data })
    }

    fn dims_of(&self, index: usize) -> Option<&[i64]> {
        let rank = usize::try_from(self.shape[1]).ok()?;
        let begin = index.checked_mul(rank)?;
        if index >= self.len() { None } else { self.dims.get(begin..begin.checked_add(rank)?) }
    }
}

/// Bytes of an element, of types whose elements fill bytes.
fn element_size(dtype: DType) -> Option<usize> {
    let bits = dtype.bits() as usize;
    (dtype != DType::String && bits >= 8).then_some(bits / 8)
}

/// The number of elements; `None` when a size is negative or there are too many.
fn count(dims: &[i64]) -> Option<i64> {
    dims.iter().try_fold(1i64, |n, &d| if d < 0 { None } else { n.checked_mul(d) })
}

#[cfg(test)]
mod tests;

//! Tensors of strings: offsets and, as the tensor that follows, the bytes that they divide.

use nnc_abi::DType;

use crate::{Tensor, TensorRef};

/// Strings as models take them: two inputs, one after the other.
///
/// ```
/// let cities = nnc_runtime::Strings::new(["Paris", "Lyon"]);
/// let [offsets, bytes] = cities.inputs(&[2, 1]);
/// assert_eq!((offsets.dims, bytes.data), (&[2, 1][..], &b"ParisLyon"[..]));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Strings {
    offsets: Vec<i64>,
    bytes: Vec<u8>,
    /// The only dimension of the bytes.
    len: [i64; 1],
}

impl Strings {
    /// The strings in row-major order.
    pub fn new<S: AsRef<[u8]>>(strings: impl IntoIterator<Item = S>) -> Strings {
        let (mut offsets, mut bytes) = (vec![0], vec![]);
        for string in strings {
            bytes.extend_from_slice(string.as_ref());
            offsets.push(bytes.len() as i64);
        }
        let len = [bytes.len() as i64];
        Strings { offsets, bytes, len }
    }

    /// The two inputs that stand for a tensor of these dimensions, which have as many elements as there are strings.
    pub fn inputs<'a>(&'a self, dims: &'a [i64]) -> [TensorRef<'a>; 2] {
        let offsets = TensorRef::new(&self.len, &self.offsets);
        [TensorRef { dtype: DType::String, dims, data: offsets.data }, TensorRef::new(&self.len, &self.bytes)]
    }
}

/// The strings of two outputs; `None` when they are no tensor of strings and its bytes.
pub fn strings<'a>(offsets: &'a Tensor, bytes: &'a Tensor) -> Option<Vec<&'a [u8]>> {
    string_refs(offsets.view(), bytes.view())
}

/// As [`strings`], of tensors that are borrowed.
pub fn string_refs<'a>(offsets: TensorRef<'a>, bytes: TensorRef<'a>) -> Option<Vec<&'a [u8]>> {
    if offsets.dtype != DType::String || bytes.dtype != DType::U8 {
        return None;
    }
    let marks: Vec<usize> = offsets
        .data
        .chunks_exact(8)
        .map(|mark| mark.try_into().ok().and_then(|mark| usize::try_from(i64::from_le_bytes(mark)).ok()))
        .collect::<Option<_>>()?;
    marks.windows(2).map(|pair| bytes.data.get(pair[0]..pair[1])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let table = Strings::new(["a", "", "bcd"]);
        let [offsets, bytes] = table.inputs(&[3, 1]);
        assert_eq!((offsets.dtype, offsets.data.len(), bytes.dims), (DType::String, 32, &[4][..]));
        assert_eq!(string_refs(offsets, bytes), Some(vec![&b"a"[..], b"", b"bcd"]));
        assert_eq!(string_refs(bytes, bytes), None);
        let short = TensorRef::new(&[3], &[1u8, 2, 3]);
        assert_eq!(string_refs(offsets, short), None);
    }
}

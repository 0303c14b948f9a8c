//! Sparse tensors, made dense.
//!
//! Invariant: the positions are in range and strictly ascending, as ONNX demands, so no element
//! is written twice; the total of dense bytes of one file is bounded, as a few bytes of file can
//! claim any shape.
//!
//! Source: `SparseTensorProto` in `onnx.proto`.

use crate::{Bytes, ElemType, ErrorKind, ImportError, Tensor, TensorData, error::Result, tensor::checked_count};

/// The most bytes that the sparse tensors of one file may take once dense.
pub(crate) const MOST_DENSE_BYTES: usize = 1 << 32;

/// The dense tensor of shape `dims` with `values` at `indices`. `left` is what remains of
/// [`MOST_DENSE_BYTES`].
pub(crate) fn densify(values: &Tensor, indices: &Tensor, dims: &[i64], left: &mut usize) -> Result<Tensor> {
    let (dims, count) = checked_count(dims)?;
    let elem = values.elem_type;
    if elem.bits() < 8 {
        return Err(ImportError::new(
            ErrorKind::Unsupported,
            format!("a sparse tensor of type {elem} is not read"),
            "store it dense",
        ));
    }
    if values.dims.len() != 1 {
        return Err(ImportError::malformed("the values of a sparse tensor are not a vector"));
    }
    if indices.elem_type != ElemType::Int64 {
        return Err(ImportError::malformed("the indices of a sparse tensor are not int64"));
    }
    let found = values.dims[0];
    let linear = match indices.dims.as_slice() {
        [n] if *n == found => true,
        [n, rank] if *n == found && *rank == dims.len() => false,
        _ => {
            return Err(ImportError::malformed(format!(
                "a sparse tensor of rank {} with {found} values has indices of shape {:?}",
                dims.len(),
                indices.dims
            )));
        }
    };
    let bytes = elem.byte_len(count).filter(|bytes| bytes <= left).ok_or_else(|| {
        ImportError::new(
            ErrorKind::Limit,
            format!("the sparse tensors take more than {MOST_DENSE_BYTES} bytes as dense ones"),
            "it is no model this compiler accepts",
        )
    })?;
    *left -= bytes;
    let size = elem.bits() / 8;
    let mut dense = vec![0u8; bytes];
    let mut numbers =
        indices.bytes().chunks_exact(8).map(|chunk| i64::from_le_bytes(chunk.try_into().unwrap_or_default()));
    let mut last = None;
    for value in values.bytes().chunks_exact(size) {
        let place = if linear {
            numbers.next().and_then(|index| in_range(index, count))
        } else {
            dims.iter().try_fold(0, |place, &dim| {
                let index = in_range(numbers.next()?, dim)?;
                Some(place * dim + index)
            })
        };
        let Some(place) = place.filter(|place| *place < count) else {
            return Err(ImportError::malformed("an index of a sparse tensor is out of range"));
        };
        if last.is_some_and(|last| last >= place) {
            return Err(ImportError::malformed("the indices of a sparse tensor do not ascend"));
        }
        last = Some(place);
        dense[place * size..][..size].copy_from_slice(value);
    }
    Ok(Tensor { elem_type: elem, dims, data: TensorData::Bytes(Bytes::new(dense)) })
}

fn in_range(index: i64, end: usize) -> Option<usize> {
    usize::try_from(index).ok().filter(|index| *index < end)
}

//! Tests of sequences as lists and as tensors.

use super::*;

#[test]
fn there_and_back() {
    let parts =
        [TensorRef::new(&[2, 1], &[1i32, 2]), TensorRef::new::<i32>(&[0, 3], &[]), TensorRef::new(&[1, 1], &[3i32])];
    let sequence = Sequence::new(&parts).unwrap();
    let [elements, dims] = sequence.inputs();
    assert_eq!((elements.dims, dims.dims, sequence.len()), (&[3][..], &[3, 2][..], 3));
    let back = Sequence::of(elements, dims).unwrap();
    assert_eq!(back, sequence);
    for (i, part) in parts.iter().enumerate() {
        let found = back.get(i).unwrap();
        assert_eq!((found.dims, found.data), (part.dims, part.data));
    }
    assert!(back.get(3).is_none());
    assert!(Sequence::empty(DType::F32, 2).is_empty());
}

#[test]
fn what_is_no_sequence() {
    let (three, row) = (TensorRef::new(&[3], &[1.0f32, 2.0, 3.0]), TensorRef::new(&[1, 3], &[1.0f32, 2.0, 3.0]));
    assert!(Sequence::new(&[]).is_none());
    assert!(Sequence::new(&[three, row]).is_none());
    assert!(Sequence::new(&[three, TensorRef::new(&[1], &[1i32])]).is_none());
    for sizes in [[1i64, 1], [4, -1], [i64::MAX, 2]] {
        assert!(Sequence::of(three, TensorRef::new(&[2, 1], &sizes)).is_none(), "{sizes:?}");
    }
    assert!(Sequence::of(three, TensorRef::new(&[2, 1], &[1i64, 2])).is_some());
    assert!(Sequence::of(three, three).is_none());
}

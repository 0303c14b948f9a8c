//! Types of what is found by comparing: numbers among numbers, strings among strings.

use super::{Types, check_dtype, check_rank, check_shape, one, operands};
use crate::{DType, Dim, Symbol, TensorType};

pub(super) fn lower_bound(inputs: &[&TensorType]) -> Types {
    let [x, keys] = operands(inputs)?;
    check_dtype("the keys", keys, x.dtype)?;
    check_rank("the keys", keys, 1)?;
    one(DType::I64, x.shape.clone())
}

/// How many strings there are by what marks them in their bytes.
fn count(offsets: &TensorType, bytes: &TensorType) -> Result<Dim, String> {
    check_dtype("the offsets", offsets, DType::I64)?;
    check_rank("the offsets", offsets, 1)?;
    check_dtype("the bytes", bytes, DType::U8)?;
    check_rank("the bytes", bytes, 1)?;
    match &offsets.shape[0] {
        none if none.is_const(0) => Err("there is no offset where the last string ends".to_owned()),
        offsets => Ok(offsets - 1),
    }
}

pub(super) fn find_string(inputs: &[&TensorType]) -> Types {
    let [offsets, bytes, key_offsets, key_bytes] = operands(inputs)?;
    count(key_offsets, key_bytes)?;
    one(DType::I64, vec![count(offsets, bytes)?])
}

pub(super) fn run_automaton(inputs: &[&TensorType]) -> Types {
    let [offsets, bytes, classes, next] = operands(inputs)?;
    check_dtype("the classes", classes, DType::U8)?;
    check_shape("the classes", classes, &[Dim::from(256)])?;
    check_dtype("the states", next, DType::I64)?;
    check_rank("the states", next, 2)?;
    one(DType::I64, vec![count(offsets, bytes)?])
}

pub(super) fn compare_strings(inputs: &[&TensorType]) -> Types {
    let [offsets, bytes, left, right] = operands(inputs)?;
    count(offsets, bytes)?;
    check_dtype("the left numbers", left, DType::I64)?;
    check_dtype("the right numbers", right, DType::I64)?;
    check_shape("the right numbers", right, &left.shape)?;
    one(DType::I64, left.shape.clone())
}

pub(super) fn split_strings(inputs: &[&TensorType], pieces: Symbol) -> Types {
    let [offsets, bytes] = operands(inputs)?;
    count(offsets, bytes)?;
    let spans = TensorType::new(DType::I64, vec![Dim::sym(pieces), Dim::from(2)]);
    Ok(vec![spans, TensorType::new(DType::I64, offsets.shape.clone())])
}

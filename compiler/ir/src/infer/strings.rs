//! Types of what is found by comparing: numbers among numbers, strings among strings.

use super::{Types, check_dtype, check_rank, check_shape, one, operands};
use crate::{DType, Dim, TensorType};

pub(super) fn lower_bound(inputs: &[&TensorType]) -> Types {
    let [x, keys] = operands(inputs)?;
    check_dtype("the keys", keys, x.dtype)?;
    check_rank("the keys", keys, 1)?;
    one(DType::I64, x.shape.clone())
}

/// Where strings lie in their bytes.
fn check_spans(begins: &TensorType, ends: &TensorType, bytes: &TensorType) -> Result<(), String> {
    check_dtype("the begins", begins, DType::I64)?;
    check_dtype("the ends", ends, DType::I64)?;
    check_shape("the ends", ends, &begins.shape)?;
    check_dtype("the bytes", bytes, DType::U8)?;
    check_rank("the bytes", bytes, 1)
}

pub(super) fn find_string(inputs: &[&TensorType]) -> Types {
    let [begins, ends, bytes, key_offsets, key_bytes] = operands(inputs)?;
    check_spans(begins, ends, bytes)?;
    check_dtype("the offsets of the keys", key_offsets, DType::I64)?;
    check_rank("the offsets of the keys", key_offsets, 1)?;
    check_dtype("the bytes of the keys", key_bytes, DType::U8)?;
    check_rank("the bytes of the keys", key_bytes, 1)?;
    one(DType::I64, begins.shape.clone())
}

pub(super) fn run_automaton(inputs: &[&TensorType]) -> Types {
    let [begins, ends, bytes, classes, next] = operands(inputs)?;
    check_spans(begins, ends, bytes)?;
    check_dtype("the classes", classes, DType::U8)?;
    check_shape("the classes", classes, &[Dim::from(256)])?;
    check_dtype("the states", next, DType::I64)?;
    check_rank("the states", next, 2)?;
    one(DType::I64, begins.shape.clone())
}

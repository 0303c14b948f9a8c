//! Operations whose indices or sizes come from data.

use super::{Types, check_axis, check_dtype, check_equal, check_numeric, check_rank, check_scalar, check_shape};
use super::{one, operands};
use crate::graph::TensorType;
use crate::op::ScatterOp;
use crate::{DType, Dim, Symbol};

pub(super) fn gather(inputs: &[&TensorType], axis: usize, batch: usize) -> Types {
    let [x, index] = operands(inputs)?;
    check_dtype("the index", index, DType::I64)?;
    check_axis(axis, x)?;
    if batch > axis || batch > index.rank() {
        return Err(format!("{batch} batch axes do not fit axis {axis} and the index {index}"));
    }
    check_batch(x, index, batch)?;
    let mut shape = x.shape[..axis].to_vec();
    shape.extend_from_slice(&index.shape[batch..]);
    shape.extend_from_slice(&x.shape[axis + 1..]);
    one(x.dtype, shape)
}

fn check_batch(x: &TensorType, index: &TensorType, batch: usize) -> Result<(), String> {
    for (i, (a, b)) in x.shape.iter().zip(&index.shape).take(batch).enumerate() {
        check_equal(&format!("size of batch axis {i}"), a, b)?;
    }
    Ok(())
}

/// The rules GatherElements and ScatterElements share: the index lies within x on every other axis.
fn check_elements(x: &TensorType, index: &TensorType, axis: usize) -> Result<(), String> {
    check_dtype("the index", index, DType::I64)?;
    check_axis(axis, x)?;
    check_rank("the index", index, x.rank())?;
    for (i, (size, reach)) in x.shape.iter().zip(&index.shape).enumerate() {
        if let (Some(size), Some(reach)) = (size.as_const(), reach.as_const())
            && i != axis
            && reach > size
        {
            return Err(format!("the index {index} exceeds axis {i} of {x}"));
        }
    }
    Ok(())
}

pub(super) fn gather_elements(inputs: &[&TensorType], axis: usize) -> Types {
    let [x, index] = operands(inputs)?;
    check_elements(x, index, axis)?;
    one(x.dtype, index.shape.clone())
}

/// Number of coordinates in the last axis of an index tensor, at most `limit`.
fn coordinates(index: &TensorType, limit: usize) -> Result<usize, String> {
    check_dtype("the index", index, DType::I64)?;
    let last = index.shape.last().ok_or("the index must have an axis of coordinates")?;
    let count = last.as_const().and_then(|n| usize::try_from(n).ok());
    let count = count.ok_or_else(|| format!("the last axis of the index {index} must have a constant size"))?;
    if count > limit {
        return Err(format!("{count} coordinates exceed {limit} axes"));
    }
    Ok(count)
}

pub(super) fn gather_nd(inputs: &[&TensorType], batch: usize) -> Types {
    let [x, index] = operands(inputs)?;
    if batch >= index.rank() || batch > x.rank() {
        return Err(format!("{batch} batch axes do not fit {x} and the index {index}"));
    }
    let count = coordinates(index, x.rank() - batch)?;
    check_batch(x, index, batch)?;
    let mut shape = index.shape[..index.rank() - 1].to_vec();
    shape.extend_from_slice(&x.shape[batch + count..]);
    one(x.dtype, shape)
}

fn check_updates(x: &TensorType, updates: &TensorType, f: ScatterOp) -> Result<(), String> {
    check_dtype("the updates", updates, x.dtype)?;
    if f == ScatterOp::Replace { Ok(()) } else { check_numeric(x) }
}

pub(super) fn scatter_nd(inputs: &[&TensorType], f: ScatterOp) -> Types {
    let [x, index, updates] = operands(inputs)?;
    check_updates(x, updates, f)?;
    let count = coordinates(index, x.rank())?;
    let mut shape = index.shape[..index.rank() - 1].to_vec();
    shape.extend_from_slice(&x.shape[count..]);
    check_shape("the updates", updates, &shape)?;
    one(x.dtype, x.shape.clone())
}

pub(super) fn scatter_elements(inputs: &[&TensorType], axis: usize, f: ScatterOp) -> Types {
    let [x, index, updates] = operands(inputs)?;
    check_elements(x, index, axis)?;
    check_updates(x, updates, f)?;
    check_shape("the updates", updates, &index.shape)?;
    one(x.dtype, x.shape.clone())
}

pub(super) fn top_k(inputs: &[&TensorType], axis: usize, k: &Dim) -> Types {
    let [x] = operands(inputs)?;
    check_numeric(x)?;
    check_axis(axis, x)?;
    if let (Some(k), Some(size)) = (k.as_const(), x.shape[axis].as_const())
        && k > size
    {
        return Err(format!("k = {k} exceeds axis {axis} of {x}"));
    }
    let mut shape = x.shape.clone();
    shape[axis] = k.clone();
    Ok(vec![TensorType::new(x.dtype, shape.clone()), TensorType::new(DType::I64, shape)])
}

pub(super) fn non_zero(inputs: &[&TensorType], count: Symbol) -> Types {
    let [x] = operands(inputs)?;
    one(DType::I64, vec![Dim::sym(count), Dim::from(x.rank())])
}

pub(super) fn unique(inputs: &[&TensorType], count: Symbol) -> Types {
    let [x] = operands(inputs)?;
    check_rank("the operand", x, 1)?;
    let found = |dtype| TensorType::new(dtype, vec![Dim::sym(count)]);
    let inverse = TensorType::new(DType::I64, x.shape.clone());
    Ok(vec![found(x.dtype), found(DType::I64), inverse, found(DType::I64)])
}

pub(super) fn non_max_suppression(inputs: &[&TensorType], count: Symbol) -> Types {
    let [boxes, scores, max_per_class, iou, score] = operands(inputs)?;
    check_dtype("the boxes", boxes, DType::F32)?;
    check_rank("the boxes", boxes, 3)?;
    check_dtype("the scores", scores, DType::F32)?;
    check_rank("the scores", scores, 3)?;
    check_equal("the batch of boxes and scores", &boxes.shape[0], &scores.shape[0])?;
    check_equal("the number of boxes and scores", &boxes.shape[1], &scores.shape[2])?;
    check_equal("the coordinates of a box", &boxes.shape[2], &Dim::from(4))?;
    check_scalar("the limit per class", max_per_class, DType::I64)?;
    check_scalar("the overlap threshold", iou, DType::F32)?;
    check_scalar("the score threshold", score, DType::F32)?;
    one(DType::I64, vec![Dim::sym(count), Dim::from(3)])
}

pub(super) fn tree_leaf(inputs: &[&TensorType]) -> Types {
    let [x, thresholds, nodes, roots] = operands(inputs)?;
    if !matches!(x.dtype, DType::F32 | DType::F64) {
        return Err(format!("features are f32 or f64, not {}", x.dtype));
    }
    check_rank("the features", x, 2)?;
    check_dtype("the thresholds", thresholds, x.dtype)?;
    check_rank("the thresholds", thresholds, 1)?;
    check_dtype("the nodes", nodes, DType::I32)?;
    check_shape("the nodes", nodes, &[thresholds.shape[0].clone(), Dim::from(4)])?;
    check_dtype("the roots", roots, DType::I32)?;
    check_rank("the roots", roots, 1)?;
    one(DType::I64, vec![x.shape[0].clone(), roots.shape[0].clone()])
}

pub(super) fn bind_dims(inputs: &[&TensorType], symbols: &[Symbol]) -> Types {
    let [sizes] = operands(inputs)?;
    check_dtype("the sizes", sizes, DType::I64)?;
    if !(sizes.rank() == 0 && symbols.len() == 1) {
        check_shape("the sizes", sizes, &[Dim::from(symbols.len())])?;
    }
    Ok(vec![])
}

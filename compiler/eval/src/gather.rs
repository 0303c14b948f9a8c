//! `gather`, `gather_elements`, `gather_nd`.
//!
//! Rules: indices count from 0; one out of range (a negative one too) is an error.

use crate::error::{Cause, Eval, unfit};
use crate::values::{advance, allocatable, count, ints, strides};
use nnc_ir::{Data, Tensor};

/// An index tensor's elements.
pub(super) fn indices(index: &Tensor) -> Eval<Vec<i64>> {
    if !index.dtype.is_int() {
        return Err(unfit(format!("indices of type {}", index.dtype)));
    }
    Ok(ints(index))
}

/// An index that must lie within an axis.
pub(super) fn in_range(index: i64, axis: usize, size: usize) -> Eval<usize> {
    match usize::try_from(index) {
        Ok(i) if i < size => Ok(i),
        _ => Err(Cause::IndexOutOfRange { index, axis, size }),
    }
}

pub(super) fn gather(x: &Tensor, index: &Tensor, axis: usize, batch: usize) -> Eval<Tensor> {
    let fits = batch <= axis && axis < x.shape.len() && batch <= index.shape.len();
    if !fits || x.shape[..batch] != index.shape[..batch] {
        return Err(unfit(format!("axis {axis} of {:?} by {:?} with {batch} batch axes", x.shape, index.shape)));
    }
    let shape = [&x.shape[..axis], &index.shape[batch..], &x.shape[axis + 1..]].concat();
    let total = allocatable(x.dtype, &shape)?;
    let at = indices(index)?;
    if total == 0 {
        // Nothing is read, but an index that could not be is an error all the same.
        at.iter().try_for_each(|&i| in_range(i, axis, x.shape[axis]).map(|_| ()))?;
        return Ok(Tensor { dtype: x.dtype, shape, data: Data::new(vec![]) });
    }
    let batches: usize = x.shape[..batch].iter().product();
    let before: usize = x.shape[batch..axis].iter().product();
    let rest: usize = index.shape[batch..].iter().product();
    let run = x.shape[axis + 1..].iter().product::<usize>() * x.dtype.size();
    let bytes = x.data.bytes();
    let mut out = Vec::with_capacity(total * x.dtype.size());
    for b in 0..batches {
        for o in 0..before {
            for &i in &at[b * rest..(b + 1) * rest] {
                let i = in_range(i, axis, x.shape[axis])?;
                let from = ((b * before + o) * x.shape[axis] + i) * run;
                out.extend_from_slice(&bytes[from..from + run]);
            }
        }
    }
    Ok(Tensor { dtype: x.dtype, shape, data: Data::new(out) })
}

/// For each element of `index` the element of a tensor of `shape` that it names: its own coordinates with the one
/// along `axis` replaced.
pub(super) fn element_targets(shape: &[usize], index: &Tensor, axis: usize) -> Eval<Vec<usize>> {
    let fits = index.shape.len() == shape.len()
        && axis < shape.len()
        && (0..shape.len()).all(|a| a == axis || index.shape[a] <= shape[a]);
    if !fits {
        return Err(unfit(format!("axis {axis} of {shape:?} by {:?}", index.shape)));
    }
    let strides = strides(shape);
    let mut at = vec![0; shape.len()];
    let mut targets = vec![];
    for i in indices(index)? {
        let i = in_range(i, axis, shape[axis])?;
        targets.push((0..at.len()).map(|a| strides[a] * if a == axis { i } else { at[a] }).sum());
        advance(&mut at, &index.shape);
    }
    Ok(targets)
}

pub(super) fn gather_elements(x: &Tensor, index: &Tensor, axis: usize) -> Eval<Tensor> {
    allocatable(x.dtype, &index.shape)?;
    let size = x.dtype.size();
    let mut out = vec![];
    for at in element_targets(&x.shape, index, axis)? {
        out.extend_from_slice(&x.data.bytes()[at * size..(at + 1) * size]);
    }
    Ok(Tensor { dtype: x.dtype, shape: index.shape.clone(), data: Data::new(out) })
}

/// The slices of a tensor that coordinates name.
pub(super) struct Slices {
    /// Row-major index of each slice's first element.
    pub starts: Vec<usize>,
    /// Shape of a slice.
    pub shape: Vec<usize>,
}

/// Slices of a tensor of `shape` named by `index: [batch.., n.., depth]`, the first `batch` axes paired.
pub(super) fn slices(shape: &[usize], index: &Tensor, batch: usize) -> Eval<Slices> {
    let misfit = || unfit(format!("{shape:?} by coordinates {:?} with {batch} batch axes", index.shape));
    let Some((&depth, leading)) = index.shape.split_last() else { return Err(misfit()) };
    if batch > leading.len() || batch > shape.len() || depth > shape.len() - batch || leading[..batch] != shape[..batch]
    {
        return Err(misfit());
    }
    let strides = strides(shape);
    let coordinates = indices(index)?;
    let total = allocatable(nnc_ir::DType::I64, leading)?;
    let per_batch = count(&leading[batch..])?.max(1);
    let block = count(&shape[batch..])?;
    let mut starts = Vec::with_capacity(total);
    for i in 0..total {
        let mut start = i / per_batch * block;
        for (d, &c) in coordinates[i * depth..(i + 1) * depth].iter().enumerate() {
            let axis = batch + d;
            start += in_range(c, axis, shape[axis])? * strides[axis];
        }
        starts.push(start);
    }
    Ok(Slices { starts, shape: shape[batch + depth..].to_vec() })
}

pub(super) fn gather_nd(x: &Tensor, index: &Tensor, batch: usize) -> Eval<Tensor> {
    let slices = slices(&x.shape, index, batch)?;
    let leading = &index.shape[..index.shape.len() - 1];
    let shape = [leading, &slices.shape].concat();
    let total = allocatable(x.dtype, &shape)?;
    let size = x.dtype.size();
    let run = count(&slices.shape)? * size;
    let mut out = Vec::with_capacity(total * size);
    // The start of an empty slice may lie past the end.
    for start in slices.starts.into_iter().filter(|_| run != 0) {
        out.extend_from_slice(&x.data.bytes()[start * size..start * size + run]);
    }
    Ok(Tensor { dtype: x.dtype, shape, data: Data::new(out) })
}

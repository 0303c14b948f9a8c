//! Operations that make or rearrange elements by position alone.

use super::{Types, check_axis, check_dtype, check_equal, check_rank, one, operands};
use crate::graph::TensorType;
use crate::op::PadMode;
use crate::{DType, Dim};

pub(super) fn dims(inputs: &[&TensorType], dims: &[Dim], scalar: bool) -> Types {
    let [] = operands(inputs)?;
    match (scalar, dims.len()) {
        (true, 1) => one(DType::I64, vec![]),
        (true, n) => Err(format!("a scalar needs one dimension, got {n}")),
        (false, n) => one(DType::I64, vec![Dim::from(n)]),
    }
}

pub(super) fn iota(inputs: &[&TensorType], dtype: DType, shape: &[Dim], axis: usize) -> Types {
    let [] = operands(inputs)?;
    let result = TensorType::new(dtype, shape.to_vec());
    super::check_numeric(&result)?;
    check_axis(axis, &result)?;
    Ok(vec![result])
}

pub(super) fn broadcast(inputs: &[&TensorType], shape: &[Dim], axes: &[usize]) -> Types {
    let [x] = operands(inputs)?;
    if axes.len() != x.rank() {
        return Err(format!("{} axes for {x}", axes.len()));
    }
    if !axes.is_sorted_by(|a, b| a < b) {
        return Err(format!("axes {axes:?} must increase"));
    }
    for (size, &axis) in x.shape.iter().zip(axes) {
        let target =
            shape.get(axis).ok_or_else(|| format!("axis {axis} is beyond the result's rank {}", shape.len()))?;
        if !size.is_const(1) {
            check_equal(&format!("size of result axis {axis}"), size, target)?;
        }
    }
    one(x.dtype, shape.to_vec())
}

pub(super) fn reshape(inputs: &[&TensorType], shape: &[Dim]) -> Types {
    let [x] = operands(inputs)?;
    let result = TensorType::new(x.dtype, shape.to_vec());
    // Two products that both overflow say nothing of each other, so that is no equality.
    if x.count() == Dim::OVERFLOW || x.count() != result.count() {
        let (from, to) = (x.count(), result.count());
        return Err(format!("{x} has {from} elements, {result} would have {to}"));
    }
    Ok(vec![result])
}

pub(super) fn transpose(inputs: &[&TensorType], perm: &[usize]) -> Types {
    let [x] = operands(inputs)?;
    let mut seen = vec![false; x.rank()];
    for &axis in perm {
        match seen.get_mut(axis) {
            Some(slot) if !*slot => *slot = true,
            _ => return Err(format!("{perm:?} is not a permutation of the axes of {x}")),
        }
    }
    if perm.len() != x.rank() {
        return Err(format!("{perm:?} is not a permutation of the axes of {x}"));
    }
    one(x.dtype, perm.iter().map(|&axis| x.shape[axis].clone()).collect())
}

pub(super) fn slice(inputs: &[&TensorType], starts: &[Dim], sizes: &[Dim], steps: &[i64]) -> Types {
    let [x] = operands(inputs)?;
    if [starts.len(), sizes.len(), steps.len()] != [x.rank(); 3] {
        return Err(format!("{} starts, {} sizes, {} steps for {x}", starts.len(), sizes.len(), steps.len()));
    }
    if steps.contains(&0) {
        return Err("a step is 0".into());
    }
    // Symbolic ranges are the importer's to clamp; constant ones are checked here.
    for axis in 0..x.rank() {
        let (Some(start), Some(size)) = (starts[axis].as_const(), sizes[axis].as_const()) else { continue };
        let last = i128::from(start) + (i128::from(size) - 1) * i128::from(steps[axis]);
        let beyond = x.shape[axis].as_const().is_some_and(|n| i128::from(start).max(last) >= i128::from(n));
        if size > 0 && (beyond || start < 0 || last < 0) {
            let step = steps[axis];
            return Err(format!("axis {axis} of {x}: start {start}, size {size}, step {step} leave the range"));
        }
    }
    one(x.dtype, sizes.to_vec())
}

pub(super) fn pad(inputs: &[&TensorType], low: &[Dim], high: &[Dim], mode: PadMode) -> Types {
    let [x, value] = operands(inputs)?;
    check_dtype("the padding value", value, x.dtype)?;
    check_rank("the padding value", value, 0)?;
    if [low.len(), high.len()] != [x.rank(); 2] {
        return Err(format!("{} low and {} high borders for {x}", low.len(), high.len()));
    }
    for (axis, border) in low.iter().chain(high).enumerate() {
        let Some(border) = border.as_const() else { continue };
        let axis = axis % x.rank().max(1);
        if border < 0 {
            return Err(format!("a border of axis {axis} is {border}"));
        }
        // An empty axis has nothing to repeat; a mirrored border needs as many elements beside the edge.
        if let Some(size) = x.shape[axis].as_const() {
            let possible = match mode {
                PadMode::Constant => true,
                PadMode::Edge | PadMode::Wrap => border == 0 || size > 0,
                PadMode::Reflect => border == 0 || border < size,
            };
            if !possible {
                return Err(format!(
                    "axis {axis} of {x} is too short for a border of {border} in mode {}",
                    mode.name()
                ));
            }
        }
    }
    let sizes = x.shape.iter().zip(low.iter().zip(high)).map(|(size, (l, h))| size + l + h).collect();
    one(x.dtype, sizes)
}

pub(super) fn concat(inputs: &[&TensorType], axis: usize) -> Types {
    let Some((first, rest)) = inputs.split_first() else { return Err("needs an operand".into()) };
    check_axis(axis, first)?;
    let mut shape = first.shape.clone();
    for other in rest {
        if other.dtype != first.dtype || other.rank() != first.rank() {
            return Err(format!("operands differ: {first} and {other}"));
        }
        for (i, (a, b)) in first.shape.iter().zip(&other.shape).enumerate() {
            if i != axis {
                check_equal(&format!("size of axis {i}"), a, b)?;
            }
        }
        shape[axis] = &shape[axis] + &other.shape[axis];
    }
    one(first.dtype, shape)
}

//! Reductions, contractions, convolution and pooling.

use super::{Types, check_axis, check_equal, check_numeric, one, operands};
use crate::graph::TensorType;
use crate::op::{ReduceOp, Window};
use crate::{DType, Dim};

pub(super) fn reduce(inputs: &[&TensorType], axes: &[usize]) -> Types {
    let [x] = operands(inputs)?;
    check_numeric(x)?;
    if axes.is_empty() || !axes.is_sorted_by(|a, b| a < b) {
        return Err(format!("axes {axes:?} must be sorted and not empty"));
    }
    axes.iter().try_for_each(|&axis| check_axis(axis, x))?;
    let kept = x.shape.iter().enumerate().filter(|(i, _)| !axes.contains(i)).map(|(_, d)| d.clone()).collect();
    one(x.dtype, kept)
}

pub(super) fn arg_reduce(inputs: &[&TensorType], axis: usize) -> Types {
    let [x] = operands(inputs)?;
    check_numeric(x)?;
    check_axis(axis, x)?;
    if x.shape[axis].is_const(0) {
        return Err(format!("axis {axis} of {x} is empty"));
    }
    let mut shape = x.shape.clone();
    shape.remove(axis);
    one(DType::I64, shape)
}

pub(super) fn cumulative(inputs: &[&TensorType], axis: usize) -> Types {
    let [x] = operands(inputs)?;
    check_numeric(x)?;
    check_axis(axis, x)?;
    one(x.dtype, x.shape.clone())
}

/// Operand types of a product and the type of its sum.
fn check_product(lhs: &TensorType, rhs: &TensorType, out: DType) -> Result<(), String> {
    let narrow = |t: &TensorType| matches!(t.dtype, DType::U8 | DType::I8);
    let expected = match narrow(lhs) && narrow(rhs) {
        true => DType::I32,
        false if lhs.dtype == rhs.dtype && lhs.dtype != DType::Bool => lhs.dtype,
        false => return Err(format!("cannot multiply {lhs} and {rhs}")),
    };
    if out == expected { Ok(()) } else { Err(format!("{lhs} times {rhs} accumulates in {expected}, not {out}")) }
}

pub(super) fn contract(
    inputs: &[&TensorType],
    batch: &[(usize, usize)],
    contract: &[(usize, usize)],
    out: DType,
) -> Types {
    let [lhs, rhs] = operands(inputs)?;
    check_product(lhs, rhs, out)?;
    let (mut left_used, mut right_used) = (vec![false; lhs.rank()], vec![false; rhs.rank()]);
    for &(l, r) in batch.iter().chain(contract) {
        check_axis(l, lhs)?;
        check_axis(r, rhs)?;
        if left_used[l] || right_used[r] {
            return Err(format!("axes ({l}, {r}) are paired twice"));
        }
        (left_used[l], right_used[r]) = (true, true);
        check_equal(&format!("sizes of axes ({l}, {r})"), &lhs.shape[l], &rhs.shape[r])?;
    }
    let free = |ty: &TensorType, used: Vec<bool>| -> Vec<Dim> {
        ty.shape.iter().zip(used).filter(|(_, used)| !used).map(|(d, _)| d.clone()).collect()
    };
    let mut shape: Vec<Dim> = batch.iter().map(|&(l, _)| lhs.shape[l].clone()).collect();
    shape.extend(free(lhs, left_used));
    shape.extend(free(rhs, right_used));
    one(out, shape)
}

/// Sizes of the spatial axes of the result.
fn windows(x: &TensorType, window: &Window) -> Result<Vec<Dim>, String> {
    let rank = window.size.len();
    let lengths = [&window.strides, &window.dilations, &window.pad_low, &window.pad_high].map(Vec::len);
    if rank == 0 || lengths != [rank; 4] {
        return Err("the window needs one size, stride, dilation and two borders per spatial axis".into());
    }
    if x.rank() != rank + 2 {
        return Err(format!("a window of {rank} axes needs an operand of rank {}, got {x}", rank + 2));
    }
    if [&window.size, &window.strides, &window.dilations].iter().any(|v| v.contains(&0)) {
        return Err("sizes, strides and dilations of the window must be at least 1".into());
    }
    (0..rank).map(|i| window_count(&x.shape[i + 1], window, i)).collect()
}

fn window_count(size: &Dim, window: &Window, i: usize) -> Result<Dim, String> {
    let reach = (Dim::from(window.size[i]) - 1) * Dim::from(window.dilations[i]) + 1;
    let room = size + Dim::from(window.pad_low[i]) + Dim::from(window.pad_high[i]) - reach;
    if room.as_const().is_some_and(|n| n < 0) {
        return Err(format!("the window does not fit spatial axis {i} of size {size}"));
    }
    Ok(room.floor_div(&Dim::from(window.strides[i])) + 1)
}

pub(super) fn conv(inputs: &[&TensorType], window: &Window, groups: usize, out: DType) -> Types {
    let [x, w] = operands(inputs)?;
    check_product(x, w, out)?;
    let spatial = windows(x, window)?;
    if w.rank() != x.rank() {
        return Err(format!("weights must have rank {}, got {w}", x.rank()));
    }
    for (axis, (&size, actual)) in window.size.iter().zip(&w.shape).enumerate() {
        check_equal(&format!("kernel axis {axis}"), &Dim::from(size), actual)?;
    }
    let (channels, per_group, filters) = (&x.shape[x.rank() - 1], &w.shape[spatial.len()], &w.shape[spatial.len() + 1]);
    if groups == 0 {
        return Err("groups must be at least 1".into());
    }
    check_equal("input channels", channels, &(per_group * Dim::from(groups)))?;
    if filters.div_exact(&Dim::from(groups)).is_none() {
        return Err(format!("{filters} output channels do not split into {groups} groups"));
    }
    let mut shape = vec![x.shape[0].clone()];
    shape.extend(spatial);
    shape.push(filters.clone());
    one(out, shape)
}

pub(super) fn pool(inputs: &[&TensorType], op: ReduceOp, window: &Window) -> Types {
    if op == ReduceOp::Prod {
        return Err("pools by sum, max or min".into());
    }
    let [x] = operands(inputs)?;
    pooled(x, window, x.dtype)
}

pub(super) fn pool_index(inputs: &[&TensorType], window: &Window) -> Types {
    let [x] = operands(inputs)?;
    pooled(x, window, DType::I64)
}

fn pooled(x: &TensorType, window: &Window, dtype: DType) -> Types {
    check_numeric(x)?;
    let spatial = windows(x, window)?;
    let mut shape = x.shape.clone();
    shape.splice(1..=spatial.len(), spatial);
    one(dtype, shape)
}

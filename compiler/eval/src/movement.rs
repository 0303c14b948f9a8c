//! `broadcast`, `reshape`, `transpose`, `slice`, `pad`, `concat`: operations that move elements and compute nothing.
//!
//! Rules: bytes are copied in units of one element whatever its type; a result with the operand's elements in the
//! operand's order shares its bytes.

use crate::env::Env;
use crate::error::{Cause, Eval, unfit};
use crate::values::{MAX_COUNT, advance, allocatable, count, strides};
use nnc_ir::op::PadMode;
use nnc_ir::{Data, Dim, Tensor};

/// Signed element strides of a dense row-major tensor.
fn dense(shape: &[usize]) -> Vec<isize> {
    strides(shape).into_iter().map(|s| s as isize).collect()
}

/// The tensor whose element at `index` is `x`'s element `offset + sum(index * strides)`.
///
/// Every element so named must lie in `x`.
fn view(x: &Tensor, shape: Vec<usize>, offset: isize, strides: &[isize]) -> Eval<Tensor> {
    let total = count(&shape)?;
    // Axes that step like one are one.
    let mut axes: Vec<(usize, isize)> = vec![];
    for (&n, &s) in shape.iter().zip(strides) {
        match axes.last_mut() {
            _ if n == 1 => {}
            Some(last) if last.1 == s * n as isize => *last = (last.0 * n, s),
            _ => axes.push((n, s)),
        }
    }
    let whole = axes.is_empty() || axes == [(total, 1)];
    if whole && offset == 0 && total * x.dtype.size() == x.data.bytes().len() {
        return Ok(Tensor { dtype: x.dtype, shape, data: x.data.clone() });
    }
    allocatable(x.dtype, &shape)?;
    let bytes = match (total, x.dtype.size()) {
        (0, _) => vec![],
        (_, 1) => copy_strided::<1>(x.data.bytes(), total, offset, &axes),
        (_, 2) => copy_strided::<2>(x.data.bytes(), total, offset, &axes),
        (_, 4) => copy_strided::<4>(x.data.bytes(), total, offset, &axes),
        (_, _) => copy_strided::<8>(x.data.bytes(), total, offset, &axes),
    };
    Ok(Tensor { dtype: x.dtype, shape, data: Data::new(bytes) })
}

fn copy_strided<const N: usize>(source: &[u8], total: usize, offset: isize, axes: &[(usize, isize)]) -> Vec<u8> {
    let source = source.as_chunks::<N>().0;
    let mut out: Vec<[u8; N]> = Vec::with_capacity(total);
    let (&(inner, step), outer) = axes.split_last().unwrap_or((&(1, 1), &[]));
    let sizes: Vec<usize> = outer.iter().map(|a| a.0).collect();
    let mut index = vec![0; outer.len()];
    loop {
        let base = index.iter().zip(outer).fold(offset, |at, (&i, &(_, s))| at + i as isize * s);
        if step == 1 {
            out.extend_from_slice(&source[base as usize..base as usize + inner]);
        } else {
            out.extend((0..inner as isize).map(|i| source[(base + i * step) as usize]));
        }
        if !advance(&mut index, &sizes) {
            return out.into_flattened();
        }
    }
}

pub(super) fn broadcast(x: &Tensor, shape: &[Dim], axes: &[usize], env: &Env) -> Eval<Tensor> {
    let shape = env.shape(shape)?;
    let misfit = || unfit(format!("{:?} at axes {axes:?} does not broadcast to {shape:?}", x.shape));
    if axes.len() != x.shape.len() || !axes.is_sorted_by(|a, b| a < b) {
        return Err(misfit());
    }
    let mut steps = vec![0isize; shape.len()];
    for ((&axis, &size), stride) in axes.iter().zip(&x.shape).zip(dense(&x.shape)) {
        match shape.get(axis) {
            Some(&n) if n == size => steps[axis] = stride,
            Some(_) if size == 1 => {}
            _ => return Err(misfit()),
        }
    }
    view(x, shape.clone(), 0, &steps)
}

pub(super) fn reshape(x: &Tensor, shape: &[Dim], env: &Env) -> Eval<Tensor> {
    with_shape(x, env.shape(shape)?)
}

/// The same elements in another shape.
pub(super) fn with_shape(x: &Tensor, shape: Vec<usize>) -> Eval<Tensor> {
    if count(&shape)? != count(&x.shape)? {
        return Err(unfit(format!("{:?} and {shape:?} differ in their number of elements", x.shape)));
    }
    Ok(Tensor { dtype: x.dtype, shape, data: x.data.clone() })
}

pub(super) fn transpose(x: &Tensor, perm: &[usize]) -> Eval<Tensor> {
    let mut sorted = perm.to_vec();
    sorted.sort_unstable();
    if !sorted.into_iter().eq(0..x.shape.len()) {
        return Err(unfit(format!("{perm:?} is no permutation of the axes of {:?}", x.shape)));
    }
    let strides = dense(&x.shape);
    let steps: Vec<isize> = perm.iter().map(|&p| strides[p]).collect();
    view(x, perm.iter().map(|&p| x.shape[p]).collect(), 0, &steps)
}

/// The permutation of `rank` axes that puts the axes `first`, then all others, then the axes `last`.
pub(super) fn axes_around(rank: usize, first: &[usize], last: &[usize]) -> Vec<usize> {
    let middle = (0..rank).filter(|a| !first.contains(a) && !last.contains(a));
    first.iter().copied().chain(middle).chain(last.iter().copied()).collect()
}

pub(super) fn slice(x: &Tensor, starts: &[Dim], sizes: &[Dim], steps: &[i64], env: &Env) -> Eval<Tensor> {
    let rank = x.shape.len();
    if starts.len() != rank || sizes.len() != rank || steps.len() != rank || steps.contains(&0) {
        return Err(unfit(format!("slice of {:?} with {} starts and steps {steps:?}", x.shape, starts.len())));
    }
    let shape = env.shape(sizes)?;
    let mut offset = 0isize;
    let mut strides = dense(&x.shape);
    for axis in 0..rank {
        let start = env.dim(&starts[axis])?;
        let (n, size) = (x.shape[axis], shape[axis]);
        if size == 0 {
            continue;
        }
        let last = i128::from(start) + (size as i128 - 1) * i128::from(steps[axis]);
        for index in [i128::from(start), last] {
            if index < 0 || index >= n as i128 {
                let index = index.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64;
                return Err(Cause::IndexOutOfRange { index, axis, size: n });
            }
        }
        offset += start as isize * strides[axis];
        // An axis with one element never steps, and its step may be too large to multiply.
        strides[axis] = if size == 1 { 0 } else { strides[axis] * steps[axis] as isize };
    }
    if shape.contains(&0) {
        (offset, strides) = (0, vec![0; rank]);
    }
    view(x, shape, offset, &strides)
}

pub(super) fn pad(inputs: &[&Tensor], low: &[Dim], high: &[Dim], mode: PadMode, env: &Env) -> Eval<Tensor> {
    let (x, value) = match (inputs, mode) {
        ([x], PadMode::Edge | PadMode::Reflect | PadMode::Wrap) => (*x, vec![0; x.dtype.size()]),
        ([x, v], _) if v.dtype == x.dtype && count(&v.shape)? == 1 => (*x, v.data.bytes().to_vec()),
        _ => return Err(unfit("pad takes a tensor and a scalar of its type")),
    };
    if low.len() != x.shape.len() || high.len() != x.shape.len() {
        return Err(unfit(format!("{} and {} borders for rank {}", low.len(), high.len(), x.shape.len())));
    }
    let (low, high) = (env.shape(low)?, env.shape(high)?);
    let shape: Vec<usize> = (0..low.len()).map(|a| low[a] + x.shape[a] + high[a]).collect();
    let total = allocatable(x.dtype, &shape)?;
    if mode != PadMode::Constant && total != 0 && x.shape.contains(&0) {
        return Err(unfit(format!("{:?} has no element to repeat", x.shape)));
    }
    // An axis may be long where another is empty.
    if total == 0 {
        return Ok(Tensor { dtype: x.dtype, shape, data: Data::new(vec![]) });
    }
    // For each axis and index the index read, if any.
    let sources: Vec<Vec<Option<usize>>> = (0..shape.len())
        .map(|a| (0..shape[a]).map(|i| pad_source(i as i64 - low[a] as i64, x.shape[a], mode)).collect())
        .collect();
    let strides = strides(&x.shape);
    let size = x.dtype.size();
    let bytes = x.data.bytes();
    let mut out = Vec::with_capacity(total * size);
    let mut index = vec![0; shape.len()];
    loop {
        let from = (0..shape.len()).try_fold(0, |at, a| Some(at + sources[a][index[a]]? * strides[a]));
        out.extend_from_slice(from.map_or(&value[..], |at| &bytes[at * size..(at + 1) * size]));
        if !advance(&mut index, &shape) {
            return Ok(Tensor { dtype: x.dtype, shape, data: Data::new(out) });
        }
    }
}

/// The index within `0..n` that index `i` of a padded axis reads; only constant borders have none.
fn pad_source(i: i64, n: usize, mode: PadMode) -> Option<usize> {
    debug_assert!(n <= MAX_COUNT);
    let n = n as i64;
    let at = match mode {
        _ if (0..n).contains(&i) => i,
        PadMode::Constant => return None,
        PadMode::Edge => i.clamp(0, n - 1),
        PadMode::Wrap => i.rem_euclid(n),
        PadMode::Reflect if n == 1 => 0,
        PadMode::Reflect => {
            let phase = i.rem_euclid(2 * (n - 1));
            phase.min(2 * (n - 1) - phase)
        }
    };
    Some(at as usize)
}

pub(super) fn concat(inputs: &[&Tensor], axis: usize) -> Eval<Tensor> {
    let Some((first, rest)) = inputs.split_first() else { return Err(unfit("concat takes at least one operand")) };
    if axis >= first.shape.len() {
        return Err(unfit(format!("axis {axis} of {:?}", first.shape)));
    }
    let mut shape = first.shape.clone();
    for x in rest {
        let fits = x.dtype == first.dtype
            && x.shape.len() == shape.len()
            && (0..shape.len()).all(|a| a == axis || x.shape[a] == shape[a]);
        if !fits {
            let (a, b) = (&first.shape, &x.shape);
            return Err(unfit(format!("{} {a:?} and {} {b:?} along axis {axis}", first.dtype, x.dtype)));
        }
        shape[axis] = shape[axis].saturating_add(x.shape[axis]);
    }
    let total = allocatable(first.dtype, &shape)?;
    let mut out = Vec::with_capacity(total * first.dtype.size());
    if total != 0 {
        let outer: usize = shape[..axis].iter().product();
        for o in 0..outer {
            for x in inputs {
                let run = x.data.bytes().len() / outer;
                out.extend_from_slice(&x.data.bytes()[o * run..(o + 1) * run]);
            }
        }
    }
    Ok(Tensor { dtype: first.dtype, shape, data: Data::new(out) })
}

//! `conv`, and the window geometry it shares with pooling.
//!
//! Rules: direct convolution, summed in `f64` (integers wrap) over kernel positions in row-major order and then
//! channels; positions in the border read as 0, which a weight that is infinite or NaN makes NaN.

use crate::contract::{Number, add_scaled, multiplies};
use crate::error::{Cause, Eval, unfit};
use crate::values::{Values, advance, allocatable, count, floats, ints, store, strides};
use nnc_ir::op::Window;
use nnc_ir::{DType, Tensor};
use std::ops::Range;

/// A window over the spatial axes of a channels-last tensor.
pub(super) struct Geometry<'a> {
    window: &'a Window,
    input: &'a [usize],
    /// Spatial sizes of the result.
    pub output: Vec<usize>,
}

impl<'a> Geometry<'a> {
    /// Of a tensor `[N, spatial.., C]`.
    pub fn new(x: &'a Tensor, window: &'a Window) -> Eval<Geometry<'a>> {
        let rank = window.size.len();
        let Window { size, strides, dilations, pad_low, pad_high } = window;
        let vectors = [strides, dilations, pad_low, pad_high];
        if x.shape.len() != rank + 2 || vectors.iter().any(|v| v.len() != rank) {
            return Err(unfit(format!("a window of rank {rank} over {:?}", x.shape)));
        }
        if size.iter().chain(strides).chain(dilations).any(|&v| v == 0) {
            return Err(unfit("a window's sizes, strides and dilations may not be 0"));
        }
        let input = &x.shape[1..=rank];
        let output = (0..rank).map(|a| {
            let padded = input[a].checked_add(pad_low[a])?.checked_add(pad_high[a])?;
            let extent = (size[a] - 1).checked_mul(dilations[a])?.checked_add(1)?;
            // Where the window does not fit even once there is no result.
            Some(if padded < extent { 0 } else { (padded - extent) / strides[a] + 1 })
        });
        let output = output.collect::<Option<Vec<usize>>>().ok_or_else(|| Cause::TooLarge { shape: input.to_vec() })?;
        count(&output)?;
        Ok(Geometry { window, input, output })
    }

    /// Kernel indices of the window at result index `o` of an axis that lie within the operand.
    fn inside(&self, axis: usize, o: usize) -> Range<usize> {
        let w = self.window;
        // The last index a window reaches was computed without overflow in `new`.
        let start = o * w.strides[axis];
        let (low, dilation) = (w.pad_low[axis], w.dilations[axis]);
        let first = low.saturating_sub(start).div_ceil(dilation);
        let end = (self.input[axis] + low).saturating_sub(start).div_ceil(dilation);
        first..end.min(w.size[axis]).max(first)
    }

    /// For the window at a result position, the pairs (position in the kernel, position in the operand) that lie
    /// within the operand, both as row-major spatial indices, in the kernel's order.
    pub fn taps(&self, at: &[usize]) -> Vec<(usize, usize)> {
        let ranges: Vec<Range<usize>> = at.iter().enumerate().map(|(a, &o)| self.inside(a, o)).collect();
        if ranges.iter().any(|r| r.is_empty()) {
            return vec![];
        }
        let w = self.window;
        let lengths: Vec<usize> = ranges.iter().map(|r| r.len()).collect();
        let mut offset = vec![0; at.len()];
        let mut taps = vec![];
        loop {
            let (mut kernel, mut input) = (0usize, 0usize);
            for a in 0..at.len() {
                let j = ranges[a].start + offset[a];
                // A kernel position is used by `conv` alone, whose kernel tensor exists.
                kernel = kernel.wrapping_mul(w.size[a]).wrapping_add(j);
                input = input * self.input[a] + (at[a] * w.strides[a] + j * w.dilations[a] - w.pad_low[a]);
            }
            taps.push((kernel, input));
            if !advance(&mut offset, &lengths) {
                return taps;
            }
        }
    }

    /// Calls `f(position index, taps)` for every result position in row-major order.
    pub fn each(&self, mut f: impl FnMut(usize, &[(usize, usize)])) {
        if self.output.contains(&0) {
            return;
        }
        let mut at = vec![0; self.output.len()];
        let mut position = 0;
        loop {
            f(position, &self.taps(&at));
            position += 1;
            if !advance(&mut at, &self.output) {
                return;
            }
        }
    }

    /// Number of spatial positions of the operand.
    pub fn input_positions(&self) -> usize {
        self.input.iter().product()
    }

    /// Number of spatial positions of the result.
    pub fn output_positions(&self) -> usize {
        self.output.iter().product()
    }
}

pub(super) fn conv(x: &Tensor, w: &Tensor, window: &Window, groups: usize, out: DType) -> Eval<Tensor> {
    multiplies(x.dtype, w.dtype, out)?;
    let geometry = Geometry::new(x, window)?;
    let rank = window.size.len();
    let misfit = || unfit(format!("kernel {:?} over {:?} in {groups} groups", w.shape, x.shape));
    if w.shape.len() != rank + 2 || w.shape[..rank] != window.size[..] || groups == 0 {
        return Err(misfit());
    }
    let (channels, filters) = (x.shape[rank + 1], w.shape[rank + 1]);
    if channels % groups != 0 || filters % groups != 0 || w.shape[rank] != channels / groups {
        return Err(misfit());
    }
    let mut shape = vec![x.shape[0]];
    shape.extend_from_slice(&geometry.output);
    shape.push(filters);
    let total = allocatable(out, &shape)?;
    let values = if out.is_float() {
        Values::Float(convolve(&geometry, &x.shape, &floats(x), &w.shape, &floats(w), total))
    } else {
        Values::Int(convolve(&geometry, &x.shape, &ints(x), &w.shape, &ints(w), total))
    };
    Ok(store(out, shape, values))
}

fn convolve<T: Number>(
    geometry: &Geometry<'_>,
    x_shape: &[usize],
    x: &[T],
    w_shape: &[usize],
    w: &[T],
    total: usize,
) -> Vec<T> {
    let mut out = vec![T::ZERO; total];
    let (&[.., per_group, filters], &[.., channels]) = (w_shape, x_shape) else { return out };
    if total == 0 || per_group == 0 {
        return out;
    }
    let groups = channels / per_group;
    let group_filters = filters / groups;
    let (inputs, outputs) = (strides(x_shape)[0], geometry.output_positions() * filters);
    let row = |kernel: usize, c: usize| &w[(kernel * per_group + c) * filters..][..filters];
    // Of what is left out, only these count.
    let is_no_number = |weight: &T| T::ZERO.add_product(T::ZERO, *weight) != T::ZERO;
    let kernels = w.len() / (per_group * filters).max(1);
    let rows = (0..kernels).flat_map(|kernel| (0..per_group).map(move |c| (kernel, c)));
    let not_numbers: Vec<(usize, usize)> =
        rows.filter(|&(kernel, c)| row(kernel, c).iter().any(is_no_number)).collect();
    geometry.each(|position, taps| {
        for &(kernel, c) in not_numbers.iter().filter(|(kernel, _)| taps.iter().all(|tap| tap.0 != *kernel)) {
            for n in 0..x_shape[0] {
                add_scaled(&mut out[n * outputs + position * filters..][..filters], T::ZERO, row(kernel, c));
            }
        }
        for n in 0..x_shape[0] {
            let sums = &mut out[n * outputs + position * filters..][..filters];
            for &(kernel, input) in taps {
                let pixel = &x[n * inputs + input * channels..][..channels];
                for (g, part) in pixel.chunks_exact(per_group).enumerate() {
                    let sums = &mut sums[g * group_filters..][..group_filters];
                    for (c, &value) in part.iter().enumerate() {
                        add_scaled(sums, value, &row(kernel, c)[g * group_filters..][..group_filters]);
                    }
                }
            }
        }
    });
    out
}

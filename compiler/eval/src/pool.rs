//! `pool` and `pool_index`.
//!
//! Rules: positions in the border are left out, which is what the operation's empty value means. A window that lies
//! wholly in the border gives the empty value, and index 0.

use crate::conv::Geometry;
use crate::elementwise::order_key;
use crate::error::Eval;
use crate::reduce::{Fold, float_identity, int_identity};
use crate::values::{Values, allocatable, load, store, typed};
use nnc_ir::op::{ReduceOp, Window};
use nnc_ir::{DType, Tensor};

fn result_shape(x: &Tensor, geometry: &Geometry<'_>) -> Vec<usize> {
    let mut shape = x.shape.clone();
    let spatial = geometry.output.len();
    shape.splice(1..=spatial, geometry.output.iter().copied());
    shape
}

pub(super) fn pool(x: &Tensor, op: ReduceOp, window: &Window) -> Eval<Tensor> {
    let geometry = Geometry::new(x, window)?;
    let fold = Fold::new(op, x.dtype)?;
    let shape = result_shape(x, &geometry);
    let total = allocatable(x.dtype, &shape)?;
    let values = match load(x) {
        Values::Float(v) => Values::Float(windows(&geometry, x, &v, float_identity(op), total, fold.float)),
        Values::Int(v) => {
            Values::Int(windows(&geometry, x, &v, int_identity(op, x.dtype), total, |a, b| fold.int(a, b)))
        }
    };
    Ok(store(x.dtype, shape, values))
}

fn windows<T: Copy>(
    geometry: &Geometry<'_>,
    x: &Tensor,
    values: &[T],
    empty: T,
    total: usize,
    combine: impl Fn(T, T) -> T,
) -> Vec<T> {
    let mut out = vec![empty; total];
    let (batch, channels) = (x.shape[0], x.shape[x.shape.len() - 1]);
    let (inputs, outputs) = (geometry.input_positions() * channels, geometry.output_positions() * channels);
    if total == 0 {
        return out;
    }
    geometry.each(|position, taps| {
        for n in 0..batch {
            let results = &mut out[n * outputs + position * channels..][..channels];
            for &(_, input) in taps {
                let pixel = &values[n * inputs + input * channels..][..channels];
                for (result, &value) in results.iter_mut().zip(pixel) {
                    *result = combine(*result, value);
                }
            }
        }
    });
    out
}

pub(super) fn pool_index(x: &Tensor, window: &Window) -> Eval<Tensor> {
    let geometry = Geometry::new(x, window)?;
    let shape = result_shape(x, &geometry);
    let total = allocatable(DType::I64, &shape)?;
    let mut out = vec![0i64; total];
    let (batch, channels) = (x.shape[0], x.shape[x.shape.len() - 1]);
    let (inputs, outputs) = (geometry.input_positions() * channels, geometry.output_positions() * channels);
    let values = load(x);
    let larger = |new: usize, best: usize| match &values {
        // NaN wins over numbers, the first NaN over later ones.
        Values::Float(v) => v[new] > v[best] || (v[new].is_nan() && !v[best].is_nan()),
        Values::Int(v) => order_key(x.dtype, v[new]) > order_key(x.dtype, v[best]),
    };
    if total != 0 {
        geometry.each(|position, taps| {
            let Some((&(_, first), rest)) = taps.split_first() else { return };
            for (n, c) in (0..batch).flat_map(|n| (0..channels).map(move |c| (n, c))) {
                let at = |input: usize| n * inputs + input * channels + c;
                let best = rest.iter().fold(first, |best, &(_, i)| if larger(at(i), at(best)) { i } else { best });
                out[n * outputs + position * channels + c] = best as i64;
            }
        });
    }
    Ok(typed(DType::I64, shape, out))
}

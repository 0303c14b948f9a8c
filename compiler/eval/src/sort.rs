//! `topk` and `unique`.
//!
//! Rules: one total order, in which NaNs are equal and above everything, and -0 equals 0; equal elements keep their
//! order.

use crate::elementwise::order_key;
use crate::env::Env;
use crate::error::{Eval, unfit};
use crate::reduce::Lanes;
use crate::values::{Values, allocatable, load, typed};
use nnc_ir::{DType, Data, Dim, Symbol, Tensor};
use std::cmp::Ordering;

/// The elements of a tensor, to be compared by index.
struct Keys(Values);

impl Keys {
    fn new(x: &Tensor) -> Keys {
        Keys(match load(x) {
            Values::Int(v) => Values::Int(v.into_iter().map(|v| order_key(x.dtype, v)).collect()),
            floats => floats,
        })
    }

    fn compare(&self, a: usize, b: usize) -> Ordering {
        match &self.0 {
            Values::Int(v) => v[a].cmp(&v[b]),
            Values::Float(v) => v[a].partial_cmp(&v[b]).unwrap_or_else(|| v[a].is_nan().cmp(&v[b].is_nan())),
        }
    }
}

/// The elements at `picked`, in that order.
fn pick(x: &Tensor, picked: &[usize], shape: Vec<usize>) -> Tensor {
    let size = x.dtype.size();
    let bytes = x.data.bytes();
    let data: Vec<u8> = picked.iter().flat_map(|&i| &bytes[i * size..(i + 1) * size]).copied().collect();
    Tensor { dtype: x.dtype, shape, data: Data::new(data) }
}

pub(super) fn topk(x: &Tensor, axis: usize, k: &Dim, largest: bool, env: &Env) -> Eval<Vec<Tensor>> {
    let lanes = Lanes::new(&x.shape, axis)?;
    let k = env.size(k)?;
    if k > lanes.size {
        return Err(unfit(format!("{k} elements of axis {axis} of {:?}", x.shape)));
    }
    let mut shape = x.shape.clone();
    shape[axis] = k;
    let total = allocatable(DType::I64, &shape)?;
    let mut picked = vec![0usize; total];
    let mut indices = vec![0i64; total];
    let keys = Keys::new(x);
    let results = Lanes::new(&shape, axis)?;
    if total != 0 {
        for (outer, inner) in lanes.each() {
            let mut order: Vec<usize> = (0..lanes.size).collect();
            // Stable, so that ties stay in order of index, whichever end comes first.
            order.sort_by(|&a, &b| {
                let order = keys.compare(lanes.at(outer, a, inner), lanes.at(outer, b, inner));
                if largest { order.reverse() } else { order }
            });
            for (i, &from) in order[..k].iter().enumerate() {
                let to = results.at(outer, i, inner);
                picked[to] = lanes.at(outer, from, inner);
                indices[to] = from as i64;
            }
        }
    }
    Ok(vec![pick(x, &picked, shape.clone()), typed(DType::I64, shape, indices)])
}

pub(super) fn unique(x: &Tensor, sorted: bool, symbol: Symbol, env: &mut Env) -> Eval<Vec<Tensor>> {
    let &[n] = x.shape.as_slice() else { return Err(unfit(format!("unique takes one axis, not {:?}", x.shape))) };
    allocatable(DType::I64, &x.shape)?;
    let keys = Keys::new(x);
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&a, &b| keys.compare(a, b));
    // Equal elements are neighbours, the first occurrence in front.
    let mut groups: Vec<&[usize]> = order.chunk_by(|&a, &b| keys.compare(a, b).is_eq()).collect();
    if !sorted {
        groups.sort_by_key(|g| g[0]);
    }
    let mut inverse = vec![0i64; n];
    for (i, group) in groups.iter().enumerate() {
        group.iter().for_each(|&at| inverse[at] = i as i64);
    }
    let first: Vec<usize> = groups.iter().map(|g| g[0]).collect();
    let count = groups.len();
    env.define(symbol, count as i64)?;
    Ok(vec![
        pick(x, &first, vec![count]),
        typed(DType::I64, vec![count], first.iter().map(|&i| i as i64).collect()),
        typed(DType::I64, vec![n], inverse),
        typed(DType::I64, vec![count], groups.iter().map(|g| g.len() as i64).collect()),
    ])
}

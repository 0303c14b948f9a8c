//! `scatter_nd` and `scatter_elements`.
//!
//! Rules: updates apply in row-major order, so of two replacements of one element the later stays; floats combine in
//! `f64` and are rounded once, after the last update.

use crate::elementwise::{int_accepts, int_binary};
use crate::error::{Eval, unfit};
use crate::gather::{element_targets, slices};
use crate::values::{Values, count, load, store};
use nnc_ir::op::{BinaryOp, ScatterOp};
use nnc_ir::{Data, Tensor};

pub(super) fn scatter_elements(
    x: &Tensor,
    index: &Tensor,
    updates: &Tensor,
    axis: usize,
    op: ScatterOp,
) -> Eval<Tensor> {
    if updates.shape != index.shape {
        return Err(unfit(format!("updates {:?} at indices {:?}", updates.shape, index.shape)));
    }
    apply(x, updates, &element_targets(&x.shape, index, axis)?, 1, op)
}

pub(super) fn scatter_nd(x: &Tensor, index: &Tensor, updates: &Tensor, op: ScatterOp) -> Eval<Tensor> {
    let slices = slices(&x.shape, index, 0)?;
    let leading = &index.shape[..index.shape.len() - 1];
    if [leading, &slices.shape].concat() != updates.shape {
        return Err(unfit(format!("updates {:?} of {:?} at coordinates {:?}", updates.shape, x.shape, index.shape)));
    }
    apply(x, updates, &slices.starts, count(&slices.shape)?, op)
}

/// Combines each run of `run` updates with the run of `x` that starts at its target.
fn apply(x: &Tensor, updates: &Tensor, targets: &[usize], run: usize, op: ScatterOp) -> Eval<Tensor> {
    // The start of an empty run may lie past the end.
    let targets = if run == 0 { &[] } else { targets };
    if x.dtype != updates.dtype {
        return Err(unfit(format!("updates of type {} to {}", updates.dtype, x.dtype)));
    }
    let op = match op {
        ScatterOp::Replace => {
            let length = run * x.dtype.size();
            let mut bytes = x.data.bytes().to_vec();
            for (i, &target) in targets.iter().enumerate() {
                let start = target * x.dtype.size();
                bytes[start..start + length].copy_from_slice(&updates.data.bytes()[i * length..(i + 1) * length]);
            }
            return Ok(Tensor { dtype: x.dtype, shape: x.shape.clone(), data: Data::new(bytes) });
        }
        ScatterOp::Add => BinaryOp::Add,
        ScatterOp::Mul => BinaryOp::Mul,
        ScatterOp::Max => BinaryOp::Max,
        ScatterOp::Min => BinaryOp::Min,
    };
    let refuse = || unfit(format!("{op:?} of {}", x.dtype));
    let pairs = targets.iter().enumerate().flat_map(|(i, &t)| (0..run).map(move |j| (t + j, i * run + j)));
    let values = match (load(x), load(updates)) {
        (Values::Float(mut out), Values::Float(new)) => {
            let f = op.on_floats().ok_or_else(refuse)?;
            pairs.for_each(|(to, from)| out[to] = f(out[to], new[from]));
            Values::Float(out)
        }
        (Values::Int(mut out), Values::Int(new)) if int_accepts(op, x.dtype) => {
            pairs.for_each(|(to, from)| out[to] = int_binary(op, x.dtype, out[to], new[from]));
            Values::Int(out)
        }
        _ => return Err(refuse()),
    };
    Ok(store(x.dtype, x.shape.clone(), values))
}

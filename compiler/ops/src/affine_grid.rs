//! AffineGrid (<https://onnx.ai/onnx/operators/onnx__AffineGrid.html>), opsets 20 on.

use crate::context::Context;
use crate::error::{Result, unfit};
use crate::sampling::float_dim;
use nnc_ir::op::BinaryOp;
use nnc_ir::{Dim, Op, ValueId};

/// The places that a transformation takes the elements of an image from.
pub fn affine_grid(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let (theta, size) = (ctx.input(0)?, ctx.input(1)?);
    ctx.require_rank(theta, 3, "theta")?;
    let align = ctx.flag("align_corners", false)?;
    // [N, spatial..] come first in the input (after which are the channels) and in the output alike.
    let sizes: Vec<Dim> = match ctx.symbolic(size) {
        Some(dims) => dims.into_iter().skip(2).collect(),
        None => {
            let given = ctx.bound_elements(size, 0)?;
            let stated = ctx.whole_stated(0).and_then(|s| Some(s.get(1..s.len().checked_sub(1)?)?.to_vec()));
            let sizes = stated.unwrap_or_else(|| given.iter().skip(2).cloned().collect());
            for (i, (given, stated)) in given.into_iter().skip(2).zip(&sizes).enumerate() {
                let what = format!("element {} of the size", i + 2);
                ctx.require(given, nnc_ir::op::Relation::Equal, stated.clone(), what)?;
            }
            sizes
        }
    };
    let spatial = sizes.len();
    let (rows, columns) = (ctx.dim(theta, 1), ctx.dim(theta, 2));
    if !matches!(spatial, 2 | 3) || !rows.is_const(spatial as i64) || !columns.is_const(spatial as i64 + 1) {
        let message = format!("theta is {}, which does not fit {spatial} spatial axes", ctx.show(theta));
        return Err(unfit([&rows, &columns], message));
    }
    let dtype = ctx.dtype(theta);
    let mut whole = sizes.clone();
    whole.push(Dim::ONE);
    let mut parts = vec![];
    // The last axis is named first.
    for axis in (0..spatial).rev() {
        let mut along = vec![Dim::ONE; spatial + 1];
        along[axis] = sizes[axis].clone();
        let index = ctx.iota(dtype, &along, axis)?;
        let twice = ctx.binary_scalar(BinaryOp::Mul, index, 2.0)?;
        let at = if align {
            let last = float_dim(ctx, &(&sizes[axis] - 1), dtype)?;
            let at = ctx.div(twice, last)?;
            let at = ctx.binary_scalar(BinaryOp::Sub, at, 1.0)?;
            // One element alone lies in the middle.
            let single = ctx.binary_scalar(BinaryOp::Le, last, 0.0)?;
            let zero = ctx.scalar(dtype, 0.0);
            ctx.select(single, zero, at)?
        } else {
            let odd = ctx.binary_scalar(BinaryOp::Add, twice, 1.0)?;
            let length = float_dim(ctx, &sizes[axis], dtype)?;
            let at = ctx.div(odd, length)?;
            ctx.binary_scalar(BinaryOp::Sub, at, 1.0)?
        };
        parts.push(ctx.broadcast_to(at, &whole)?);
    }
    parts.push(ctx.full(dtype, 1.0, &whole)?);
    let places = ctx.concat(&parts, spatial)?;
    let count: Dim = sizes.iter().fold(Dim::ONE, |n, d| n * d);
    let places = ctx.reshape(places, &[count, columns])?;
    let op = Op::Contract { batch: vec![], contract: vec![(2, 1)], out: dtype };
    let grid = ctx.one(op, &[theta, places])?;
    let grid = ctx.transpose(grid, &[0, 2, 1])?;
    let mut shape = vec![ctx.dim(theta, 0)];
    shape.extend(sizes);
    shape.push(rows);
    Ok(vec![ctx.reshape(grid, &shape)?])
}

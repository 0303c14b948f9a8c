//! DeformConv (<https://onnx.ai/onnx/operators/onnx__DeformConv.html>), opsets 19 on.
//!
//! Every kernel element of every output reads the input at a place of its own, by linear interpolation with zeros
//! outside; the values so gathered are contracted with the weights.

use crate::context::Context;
use crate::conv::{add_bias, attributes};
use crate::error::{Result, unfit, unsupported};
use crate::sampling::{interpolate, linear_taps, zero_outside};
use nnc_ir::op::BinaryOp;
use nnc_ir::{DType, Dim, Op, ValueId};

fn product(dims: &[Dim]) -> Dim {
    dims.iter().fold(Dim::ONE, |n, d| n * d)
}

/// The convolution with displaced kernel elements.
pub fn deform_conv(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let (x, w, offset) = (ctx.input(0)?, ctx.input(1)?, ctx.input(2)?);
    let (bias, mask) = (ctx.optional_input(3)?, ctx.optional_input(4)?);
    let (attributes, groups) = attributes(ctx, x, w)?;
    let dtype = ctx.dtype(x);
    let work = if dtype == DType::F64 { DType::F64 } else { DType::F32 };
    let parts = ctx.int("offset_group", 1)?;
    let shape = ctx.shape(x);
    let spatial = shape.len() - 2;
    ctx.require_rank(offset, spatial + 2, "the offsets")?;
    let (sizes, results) = (shape[2..].to_vec(), ctx.shape(offset)[2..].to_vec());
    let (batch, channels) = (shape[0].clone(), shape[1].clone());
    let (part, group) = (Dim::from(parts), Dim::from(groups));
    let (Some(per_part), Some(per_group)) =
        (channels.div_exact(&part).filter(|_| parts > 0), channels.div_exact(&group))
    else {
        return Err(unfit([&channels], "the channels do not split into the groups"));
    };
    let kernel: Vec<Dim> = attributes.size.iter().map(|&n| Dim::from(n)).collect();
    let (taps_per_kernel, places) = (product(&kernel), product(&results));

    // [N, parts, kernel.., spatial, o..]
    let offset = ctx.convert(offset, work)?;
    let mut split = vec![batch.clone(), part.clone()];
    split.extend(kernel.iter().cloned());
    split.push(Dim::from(spatial));
    split.extend(results.iter().cloned());
    let offset = ctx.reshape(offset, &split)?;
    let flat = [batch.clone(), part.clone(), &taps_per_kernel * &places];
    let mut taps = vec![];
    for axis in 0..spatial {
        let along = ctx.slice_axis(offset, spatial + 2, Dim::from(axis), Dim::ONE)?;
        let along = ctx.squeeze(along, &[spatial + 2])?;
        // First place of the window, plus that of the element in it, plus its displacement.
        let low = attributes.borders(ctx, &sizes)[axis].low.clone();
        let low =
            low.as_const().ok_or_else(|| unsupported("the border must be known; fix the dimensions with --dim"))?;
        let rank = 2 + 2 * spatial;
        let axis_of = |ctx: &mut Context, size: &Dim, at: usize, step: usize| -> Result<ValueId> {
            let mut shape = vec![Dim::ONE; rank];
            shape[at] = size.clone();
            let index = ctx.iota(work, &shape, at)?;
            ctx.binary_scalar(BinaryOp::Mul, index, step as f64)
        };
        let inner = axis_of(ctx, &kernel[axis], 2 + axis, attributes.dilations[axis])?;
        let outer = axis_of(ctx, &results[axis], 2 + spatial + axis, attributes.strides[axis])?;
        let fixed = ctx.add(inner, outer)?;
        let fixed = ctx.binary_scalar(BinaryOp::Sub, fixed, low as f64)?;
        let place = ctx.add(along, fixed)?;
        let place = ctx.reshape(place, &flat)?;
        let mut found = vec![];
        for tap in linear_taps(ctx, place)? {
            found.push(zero_outside(ctx, tap, &sizes[axis])?);
        }
        taps.push(found);
    }
    // [N, parts, spatial flattened, C / parts]
    let x = ctx.convert(x, work)?;
    let x = ctx.reshape(x, &[batch.clone(), part.clone(), per_part.clone(), product(&sizes)])?;
    let x = ctx.transpose(x, &[0, 1, 3, 2])?;
    let mut columns = interpolate(ctx, x, 2, &sizes, &taps)?;
    if let Some(mask) = mask {
        let mask = ctx.convert(mask, work)?;
        let mask = ctx.reshape(mask, &flat)?;
        let mask = ctx.unsqueeze(mask, &[3])?;
        columns = ctx.mul(columns, mask)?;
    }
    // [N, places, kernel, groups, C / groups]
    let columns = ctx.reshape(columns, &[batch.clone(), part, taps_per_kernel.clone(), places.clone(), per_part])?;
    let columns = ctx.transpose(columns, &[0, 3, 2, 1, 4])?;
    let columns =
        ctx.reshape(columns, &[batch.clone(), places, taps_per_kernel.clone(), group.clone(), per_group.clone()])?;
    let filters = ctx.dim(w, 0);
    let per_filter =
        filters.div_exact(&group).ok_or_else(|| unfit([&filters], "the filters do not split into the groups"))?;
    let w = ctx.convert(w, work)?;
    let w = ctx.reshape(w, &[group, per_filter, per_group, taps_per_kernel])?;
    let op = Op::Contract { batch: vec![(3, 0)], contract: vec![(2, 3), (4, 2)], out: work };
    let y = ctx.one(op, &[columns, w])?;
    let y = ctx.transpose(y, &[1, 2, 0, 3])?;
    let mut result = vec![batch];
    result.extend(results);
    result.push(filters);
    let mut y = ctx.reshape(y, &result)?;
    if let Some(bias) = bias {
        let bias = ctx.convert(bias, work)?;
        y = add_bias(ctx, y, bias)?;
    }
    let y = ctx.channels_first(y)?;
    Ok(vec![ctx.convert(y, dtype)?])
}

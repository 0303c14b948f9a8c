//! RoiAlign (<https://onnx.ai/onnx/operators/onnx__RoiAlign.html>), opsets 10 on.
//!
//! With a fixed number of samples per bin, the samples are gathered. With an adaptive one (`sampling_ratio` 0) a bin has
//! as many samples as it has elements, at distances between 1/2 and 1; so at most [`MOST_NEAR`] of them are near any one
//! element, and the mean over a bin is a product of two matrices of weights, one per axis.

use crate::context::Context;
use crate::error::{Result, invalid, unsupported};
use crate::sampling::float_dim;
use nnc_ir::op::{BinaryOp, ReduceOp, UnaryOp};
use nnc_ir::{DType, Dim, Op, ValueId};

/// Samples within a distance of 1 of an element: the interval has length 2 and samples are more than 1/2 apart, and one
/// more for rounding.
const MOST_NEAR: usize = 5;

/// One axis of all regions; the tensors are `[regions]`.
struct Side {
    start: ValueId,
    /// Size of a bin.
    bin: ValueId,
    /// Number of bins.
    bins: Dim,
    /// Elements of the input.
    size: Dim,
}

/// Regions of the input resampled to one size.
pub fn roi_align(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let (x, rois, images) = (ctx.input(0)?, ctx.input(1)?, ctx.input(2)?);
    ctx.require_rank(x, 4, "the input")?;
    ctx.require_rank(rois, 2, "the regions")?;
    let default = if ctx.opset() < 16 { "output_half_pixel" } else { "half_pixel" };
    let half_pixel = match ctx.string("coordinate_transformation_mode", default)?.as_str() {
        "half_pixel" => true,
        "output_half_pixel" => false,
        other => return Err(invalid(format!("coordinate_transformation_mode `{other}` is not known"))),
    };
    let largest = match ctx.string("mode", "avg")?.to_ascii_lowercase().as_str() {
        "avg" => false,
        "max" => true,
        other => return Err(invalid(format!("mode `{other}` is not one of avg, max"))),
    };
    let (height, width) = (ctx.int("output_height", 1)?, ctx.int("output_width", 1)?);
    let samples = ctx.int("sampling_ratio", 0)?;
    if height < 1 || width < 1 || !(0..=1024).contains(&samples) {
        return Err(invalid("output sizes and sampling_ratio must be positive"));
    }
    let scale = f64::from(ctx.float("spatial_scale", 1.0)?);
    let dtype = ctx.dtype(x);
    let work = if dtype == DType::F64 { DType::F64 } else { DType::F32 };
    let x = ctx.convert(x, work)?;
    let rois = ctx.convert(rois, work)?;
    let images = ctx.normalize_index(images, &ctx.dim(x, 0))?;
    let mut sides = vec![];
    for (first, bins, axis) in [(1, height, 2), (0, width, 3)] {
        let mut ends = vec![];
        for column in [first, first + 2] {
            let end = ctx.slice_axis(rois, 1, Dim::from(column), Dim::ONE)?;
            let end = ctx.squeeze(end, &[1])?;
            let end = ctx.binary_scalar(BinaryOp::Mul, end, scale)?;
            ends.push(if half_pixel { ctx.binary_scalar(BinaryOp::Sub, end, 0.5)? } else { end });
        }
        let mut length = ctx.sub(ends[1], ends[0])?;
        if !half_pixel {
            length = ctx.binary_scalar(BinaryOp::Max, length, 1.0)?;
        }
        let bin = ctx.binary_scalar(BinaryOp::Div, length, bins as f64)?;
        sides.push(Side { start: ends[0], bin, bins: Dim::from(bins), size: ctx.dim(x, axis) });
    }
    let y = if samples > 0 {
        gathered(ctx, x, images, &sides, samples, largest)?
    } else if largest {
        return Err(unsupported("mode max with sampling_ratio 0; state a sampling_ratio"));
    } else {
        by_matrices(ctx, x, images, &sides)?
    };
    Ok(vec![ctx.convert(y, dtype)?])
}

/// Low and high index and their weights for each sample `[regions, bins * samples]`; weights are 0 outside the input.
fn sample_taps(ctx: &mut Context, side: &Side, samples: i64) -> Result<Vec<(ValueId, ValueId)>> {
    let work = ctx.dtype(side.start);
    let count = &side.bins * Dim::from(samples);
    let step = ctx.iota(work, &[Dim::ONE, count], 1)?;
    let step = ctx.binary_scalar(BinaryOp::Add, step, 0.5)?;
    let step = ctx.binary_scalar(BinaryOp::Div, step, samples as f64)?;
    let bin = ctx.unsqueeze(side.bin, &[1])?;
    let start = ctx.unsqueeze(side.start, &[1])?;
    let place = ctx.mul(step, bin)?;
    let place = ctx.add(place, start)?;
    let (inside, place) = within(ctx, place, &side.size)?;
    let last = float_dim(ctx, &(&side.size - 1), work)?;
    let low = ctx.unary(UnaryOp::Floor, place)?;
    let high = ctx.binary_scalar(BinaryOp::Add, low, 1.0)?;
    let high = ctx.binary(BinaryOp::Min, high, last)?;
    let far = ctx.sub(place, low)?;
    let one = ctx.scalar(work, 1.0);
    let near = ctx.sub(one, far)?;
    let zero = ctx.scalar(work, 0.0);
    let mut taps = vec![];
    for (index, weight) in [(low, near), (high, far)] {
        let index = ctx.convert(index, DType::I64)?;
        taps.push((index, ctx.select(inside, weight, zero)?));
    }
    Ok(taps)
}

/// Whether a sample counts, and its place within the elements.
fn within(ctx: &mut Context, place: ValueId, size: &Dim) -> Result<(ValueId, ValueId)> {
    let work = ctx.dtype(place);
    let end = float_dim(ctx, size, work)?;
    let last = float_dim(ctx, &(size - 1), work)?;
    let above = ctx.binary_scalar(BinaryOp::Ge, place, -1.0)?;
    let below = ctx.binary(BinaryOp::Le, place, end)?;
    let inside = ctx.binary(BinaryOp::And, above, below)?;
    let place = ctx.binary_scalar(BinaryOp::Max, place, 0.0)?;
    Ok((inside, ctx.binary(BinaryOp::Min, place, last)?))
}

fn gathered(
    ctx: &mut Context,
    x: ValueId,
    images: ValueId,
    sides: &[Side],
    samples: i64,
    largest: bool,
) -> Result<ValueId> {
    let [rows, columns] = sides else { return Err(invalid("a region has two sides")) };
    let shape = ctx.shape(x);
    let regions = ctx.dim(images, 0);
    let plane = &rows.size * &columns.size;
    let pixels = ctx.channels_last(x)?;
    let pixels = ctx.reshape(pixels, &[&shape[0] * &plane, shape[1].clone()])?;
    let plane = ctx.dim_scalar(plane)?;
    let base = ctx.mul(images, plane)?;
    let base = ctx.unsqueeze(base, &[1, 2])?;
    let width = ctx.dim_scalar(columns.size.clone())?;
    let (row_taps, column_taps) = (sample_taps(ctx, rows, samples)?, sample_taps(ctx, columns, samples)?);
    let mut total: Option<ValueId> = None;
    for &(row, row_weight) in &row_taps {
        let row = ctx.mul(row, width)?;
        let row = ctx.unsqueeze(row, &[2])?;
        let row = ctx.add(row, base)?;
        let row_weight = ctx.unsqueeze(row_weight, &[2])?;
        for &(column, column_weight) in &column_taps {
            let column = ctx.unsqueeze(column, &[1])?;
            let column_weight = ctx.unsqueeze(column_weight, &[1])?;
            let index = ctx.add(row, column)?;
            let weight = ctx.mul(row_weight, column_weight)?;
            let weight = ctx.unsqueeze(weight, &[3])?;
            let part = ctx.gather(pixels, index)?;
            let part = ctx.mul(part, weight)?;
            total = Some(match total {
                None => part,
                // The maximum is over the weighted corners, as ONNX has it.
                Some(before) if largest => ctx.binary(BinaryOp::Max, before, part)?,
                Some(before) => ctx.add(before, part)?,
            });
        }
    }
    let total = total.ok_or_else(|| invalid("there are no samples"))?;
    let count = Dim::from(samples);
    let split = [regions, rows.bins.clone(), count.clone(), columns.bins.clone(), count, shape[1].clone()];
    let total = ctx.reshape(total, &split)?;
    let y = if largest { ctx.reduce(ReduceOp::Max, total, &[2, 4], false)? } else { ctx.mean(total, &[2, 4], false)? };
    ctx.channels_first(y)
}

/// For each region and bin the weights of the elements, `[regions, bins, size]`.
fn weights(ctx: &mut Context, side: &Side) -> Result<ValueId> {
    let work = ctx.dtype(side.start);
    let count = ctx.unary(UnaryOp::Ceil, side.bin)?;
    let count = ctx.binary_scalar(BinaryOp::Max, count, 0.0)?;
    let divisor = ctx.binary_scalar(BinaryOp::Max, count, 1.0)?;
    let between = ctx.div(side.bin, divisor)?;
    let half = ctx.binary_scalar(BinaryOp::Mul, between, 0.5)?;
    // A single sample may stand for a bin of any size below 1, which must not count as a distance.
    let single = ctx.binary_scalar(BinaryOp::Le, count, 1.0)?;
    let one = ctx.scalar(work, 1.0);
    let step = ctx.select(single, one, between)?;
    let mut spread = vec![];
    for value in [side.start, side.bin, count, divisor, step, half] {
        spread.push(ctx.unsqueeze(value, &[1, 2])?);
    }
    let [start, bin, count, divisor, step, half] = spread[..] else { return Err(invalid("a region has two sides")) };
    let index = ctx.iota(work, &[Dim::ONE, side.bins.clone(), Dim::ONE], 1)?;
    let offset = ctx.mul(index, bin)?;
    let start = ctx.add(start, offset)?;
    let first = ctx.add(start, half)?;
    let element = ctx.iota(work, &[Dim::ONE, Dim::ONE, side.size.clone()], 2)?;
    // Number of the first sample not more than 1 before the element.
    let before = ctx.binary_scalar(BinaryOp::Sub, element, 1.0)?;
    let before = ctx.sub(before, first)?;
    let zero = ctx.scalar(work, 0.0);
    let number = ctx.div(before, step)?;
    let number = ctx.unary(UnaryOp::Ceil, number)?;
    let mut total: Option<ValueId> = None;
    for near in 0..MOST_NEAR {
        let number = ctx.binary_scalar(BinaryOp::Add, number, near as f64)?;
        let place = ctx.mul(number, step)?;
        let place = ctx.add(place, first)?;
        let (inside, place) = within(ctx, place, &side.size)?;
        let some = ctx.binary_scalar(BinaryOp::Ge, number, 0.0)?;
        let few = ctx.binary(BinaryOp::Lt, number, count)?;
        let exists = ctx.binary(BinaryOp::And, some, few)?;
        let exists = ctx.binary(BinaryOp::And, exists, inside)?;
        let distance = ctx.sub(place, element)?;
        let distance = ctx.unary(UnaryOp::Abs, distance)?;
        let weight = ctx.sub(one, distance)?;
        let weight = ctx.binary(BinaryOp::Max, weight, zero)?;
        let weight = ctx.select(exists, weight, zero)?;
        total = Some(match total {
            None => weight,
            Some(before) => ctx.add(before, weight)?,
        });
    }
    let total = total.ok_or_else(|| invalid("there are no samples"))?;
    ctx.div(total, divisor)
}

fn by_matrices(ctx: &mut Context, x: ValueId, images: ValueId, sides: &[Side]) -> Result<ValueId> {
    let [rows, columns] = sides else { return Err(invalid("a region has two sides")) };
    let work = ctx.dtype(x);
    let (rows, columns) = (weights(ctx, rows)?, weights(ctx, columns)?);
    let image = ctx.channels_last(x)?;
    let by_rows = if ctx.dim(x, 0).is_const(1) {
        let image = ctx.squeeze(image, &[0])?;
        ctx.one(Op::Contract { batch: vec![], contract: vec![(2, 0)], out: work }, &[rows, image])?
    } else {
        let own = ctx.gather(image, images)?;
        ctx.one(Op::Contract { batch: vec![(0, 0)], contract: vec![(2, 1)], out: work }, &[rows, own])?
    };
    // [regions, bins, W, C] with [regions, bins, W] gives [regions, rows, C, columns].
    let op = Op::Contract { batch: vec![(0, 0)], contract: vec![(2, 2)], out: work };
    let y = ctx.one(op, &[by_rows, columns])?;
    ctx.transpose(y, &[0, 2, 1, 3])
}

#[cfg(test)]
mod tests {
    use crate::testing::sketch;

    /// The definition, for one channel: samples of bilinear interpolation averaged over each bin.
    fn sampled(x: &[f32], [height, width]: [usize; 2], roi: [f32; 4], bins: usize, samples: usize) -> Vec<f32> {
        let value = |y: f32, x_at: f32| -> f32 {
            if y < -1.0 || y > height as f32 || x_at < -1.0 || x_at > width as f32 {
                return 0.0;
            }
            let (y, x_at) = (y.clamp(0.0, height as f32 - 1.0), x_at.clamp(0.0, width as f32 - 1.0));
            let (row, column) = (y as usize, x_at as usize);
            let (below, right) = ((row + 1).min(height - 1), (column + 1).min(width - 1));
            let (fy, fx) = (y - row as f32, x_at - column as f32);
            let at = |r: usize, c: usize| x[r * width + c];
            (at(row, column) * (1.0 - fx) + at(row, right) * fx) * (1.0 - fy)
                + (at(below, column) * (1.0 - fx) + at(below, right) * fx) * fy
        };
        let [x0, y0, x1, y1] = roi.map(|v| v - 0.5);
        let (bin_y, bin_x) = ((y1 - y0) / bins as f32, (x1 - x0) / bins as f32);
        let count = |bin: f32| if samples > 0 { samples } else { bin.ceil().max(0.0) as usize };
        let (rows, columns) = (count(bin_y), count(bin_x));
        let mut result = vec![];
        for (by, bx) in (0..bins).flat_map(|y| (0..bins).map(move |x| (y, x))) {
            let mut sum = 0.0;
            for (sy, sx) in (0..rows).flat_map(|y| (0..columns).map(move |x| (y, x))) {
                let y = y0 + bin_y * (by as f32 + (sy as f32 + 0.5) / rows as f32);
                sum += value(y, x0 + bin_x * (bx as f32 + (sx as f32 + 0.5) / columns as f32));
            }
            result.push(sum / (rows * columns).max(1) as f32);
        }
        result
    }

    #[test]
    fn values() {
        let size = [6, 5];
        let x: Vec<f32> = (0..30).map(|i| (i * 11 % 17) as f32).collect();
        for roi in [[0.0, 0.0, 4.0, 5.0], [1.3, 0.2, 3.9, 5.7], [-3.0, -2.0, 9.0, 14.0], [2.0, 2.0, 2.5, 2.25]] {
            for (bins, samples) in [(1, 0), (2, 0), (3, 2), (3, 0)] {
                let expected = sampled(&x, size, roi, bins, samples);
                let sketch = sketch().given("x", &[1, 1, size[0], size[1]], &x).given("r", &[1, 4], &roi);
                let sketch = sketch.given("i", &[1], &[0i64]).node("RoiAlign", "x r i -> y");
                let sketch = sketch.int("output_height", bins as i64).int("output_width", bins as i64);
                let found = sketch.int("sampling_ratio", samples as i64).output("y").run();
                let numbers: Vec<f32> = found.split(' ').skip(4).map(|v| v.parse().unwrap()).collect();
                let near = expected.iter().zip(&numbers).all(|(e, f)| (e - f).abs() < 1e-3);
                assert!(near && expected.len() == numbers.len(), "{roi:?} {bins} {samples}: {found}, not {expected:?}");
            }
        }
    }
}

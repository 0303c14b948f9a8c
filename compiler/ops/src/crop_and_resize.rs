//! CropAndResize (<https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md>): boxes of images resized to one
//! size, corners on corners.

use crate::context::Context;
use crate::error::{Result, invalid};
use crate::sampling::{Tap, float_dim, interpolate, linear_taps};
use nnc_ir::op::{BinaryOp, UnaryOp};
use nnc_ir::{DType, Dim, ValueId};

/// For each box its part of the image named.
pub fn crop_and_resize(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let (x, boxes, images, size) = (ctx.input(0)?, ctx.input(1)?, ctx.input(2)?, ctx.input(3)?);
    ctx.require_rank(x, 4, "the input")?;
    ctx.require_rank(boxes, 2, "the boxes")?;
    ctx.require_rank(images, 1, "the indices of images")?;
    let outside = ctx.float("extrapolation_value", 0.0)?;
    let nearest = match ctx.string("mode", "bilinear")?.as_str() {
        "bilinear" => false,
        "nearest" => true,
        other => return Err(invalid(format!("mode `{other}` is not one of bilinear, nearest"))),
    };
    let size = ctx.require_ints(size, "the size of crops")?;
    let &[height, width] = &size[..] else { return Err(invalid("the size of crops must have two elements")) };
    if height < 1 || width < 1 {
        return Err(invalid("the size of crops must be positive"));
    }
    let dtype = ctx.dtype(x);
    let work = if dtype == DType::F64 { DType::F64 } else { DType::F32 };
    let x = ctx.convert(x, work)?;
    let boxes = ctx.convert(boxes, work)?;
    let x = ctx.channels_last(x)?;
    let shape = ctx.shape(x);
    let places = [ctx.dim(boxes, 0), Dim::from(height), Dim::from(width)];
    let count: Dim = places.iter().fold(Dim::ONE, |n, d| n * d);
    // Images are an axis like the others, read at one place each.
    let images = ctx.normalize_index(images, &shape[0])?;
    let images = ctx.convert(images, work)?;
    let images = ctx.unsqueeze(images, &[1, 2])?;
    let images = ctx.broadcast_to(images, &places)?;
    let images = ctx.reshape(images, std::slice::from_ref(&count))?;
    let mut taps = vec![vec![Tap { index: images, weight: None }]];
    let mut inside: Option<ValueId> = None;
    for (axis, length) in [(0, height), (1, width)] {
        let place = along(ctx, boxes, axis, length, &shape[axis + 1])?;
        let place = ctx.unsqueeze(place, &[2 - axis])?;
        let place = ctx.broadcast_to(place, &places)?;
        let place = ctx.reshape(place, std::slice::from_ref(&count))?;
        let last = float_dim(ctx, &(&shape[axis + 1] - 1), work)?;
        let above = ctx.binary_scalar(BinaryOp::Ge, place, 0.0)?;
        let below = ctx.binary(BinaryOp::Le, place, last)?;
        for holds in [above, below] {
            inside = Some(match inside {
                None => holds,
                Some(before) => ctx.binary(BinaryOp::And, before, holds)?,
            });
        }
        taps.push(if nearest {
            // Halves go up.
            let place = ctx.binary_scalar(BinaryOp::Add, place, 0.5)?;
            vec![Tap { index: ctx.unary(UnaryOp::Floor, place)?, weight: None }]
        } else {
            linear_taps(ctx, place)?
        });
    }
    let channels = shape[3].clone();
    let flat: Dim = shape[..3].iter().fold(Dim::ONE, |n, d| n * d);
    let x = ctx.reshape(x, &[flat, channels.clone()])?;
    let mut y = interpolate(ctx, x, 0, &shape[..3], &taps)?;
    if let Some(inside) = inside {
        let inside = ctx.unsqueeze(inside, &[1])?;
        let outside = ctx.scalar(work, outside.into());
        y = ctx.select(inside, y, outside)?;
    }
    let [count, height, width] = places;
    let y = ctx.reshape(y, &[count, height, width, channels])?;
    let y = ctx.channels_first(y)?;
    Ok(vec![ctx.convert(y, dtype)?])
}

/// The places of `length` elements along one axis of all boxes, `[boxes, length]`: from the box's start to its end, or at its
/// middle.
fn along(ctx: &mut Context, boxes: ValueId, axis: usize, length: i64, size: &Dim) -> Result<ValueId> {
    let work = ctx.dtype(boxes);
    let last = float_dim(ctx, &(size - 1), work)?;
    let start = ctx.slice_axis(boxes, 1, Dim::from(axis), Dim::ONE)?;
    let end = ctx.slice_axis(boxes, 1, Dim::from(axis + 2), Dim::ONE)?;
    if length == 1 {
        let sum = ctx.add(start, end)?;
        let middle = ctx.binary_scalar(BinaryOp::Mul, sum, 0.5)?;
        return ctx.mul(middle, last);
    }
    let (start, end) = (ctx.mul(start, last)?, ctx.mul(end, last)?);
    let step = ctx.iota(work, &[Dim::ONE, Dim::from(length)], 1)?;
    let span = ctx.sub(end, start)?;
    let step_size = ctx.binary_scalar(BinaryOp::Div, span, (length - 1) as f64)?;
    let offset = ctx.mul(step, step_size)?;
    let place = ctx.add(start, offset)?;
    // The end is met exactly.
    let is_last = ctx.binary_scalar(BinaryOp::Eq, step, (length - 1) as f64)?;
    ctx.select(is_last, end, place)
}

#[cfg(test)]
mod tests {
    use crate::testing::sketch;

    #[test]
    fn corners_and_outside() {
        let x: Vec<f32> = (0..6u8).map(f32::from).collect();
        let x = sketch().given("x", &[1, 1, 2, 3], &x).given("b", &[1, 4], &[0.0f32, 0.0, 1.0, 2.0]);
        let x =
            x.given("i", &[1], &[0i32]).initializer("s", nnc_onnx::ElemType::Int32, &[2], vec![2, 0, 0, 0, 3, 0, 0, 0]);
        let node = x.node("CropAndResize", "x b i s -> y").domain("com.microsoft").float("extrapolation_value", 9.0);
        assert_eq!(node.output("y").run(), "f32[1, 1, 2, 3] 0 2 9 3 5 9");
    }
}

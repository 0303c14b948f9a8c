//! CenterCropPad (<https://onnx.ai/onnx/operators/onnx__CenterCropPad.html>, opset 18 on).

use crate::context::Context;
use crate::error::{Result, invalid};
use nnc_ir::op::PadMode;
use nnc_ir::{Dim, ValueId};

/// The middle of the input, or the input in the middle of zeros, per axis.
pub fn center_crop_pad(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let (mut x, shape) = (ctx.input(0)?, ctx.input(1)?);
    let rank = ctx.rank(x);
    let axes: Vec<usize> = match ctx.ints("axes")? {
        Some(axes) => axes.iter().map(|&a| ctx.axis(a, rank)).collect::<Result<_>>()?,
        None => (0..rank).collect(),
    };
    let stated = axes.iter().map(|&axis| ctx.stated_dim(0, axis)).collect();
    let wanted = ctx.sizes_operand(shape, stated, "the shape")?;
    if wanted.len() != axes.len() {
        return Err(invalid(format!("{} sizes for {} axes", wanted.len(), axes.len())));
    }
    let (mut low, mut high) = (vec![Dim::ZERO; rank], vec![Dim::ZERO; rank]);
    let two = Dim::from(2);
    for (&axis, wanted) in axes.iter().zip(&wanted) {
        let size = ctx.dim(x, axis);
        let surplus = Dim::max(&(&size - wanted), &Dim::ZERO).simplify(ctx.dims());
        let kept = Dim::min(&size, wanted).simplify(ctx.dims());
        // Written so that what is kept and what is missing are seen to be what is wanted, whatever the size.
        let missing = wanted - &kept;
        x = ctx.slice_axis(x, axis, surplus.floor_div(&two), kept)?;
        low[axis] = missing.floor_div(&two);
        high[axis] = &missing - &low[axis];
    }
    Ok(vec![ctx.pad(x, low, high, PadMode::Constant, 0.0)?])
}

#[cfg(test)]
mod tests {
    use crate::testing::sketch;

    #[test]
    fn values() {
        for (x, size, expected) in
            [(vec![1.0f32, 2.0, 3.0, 4.0, 5.0], 2, "f32[2] 2 3"), (vec![1.0, 2.0], 5, "f32[5] 0 1 2 0 0")]
        {
            let sketch = sketch().given("x", &[x.len()], &x).ints("s", &[1], &[size]);
            assert_eq!(sketch.node("CenterCropPad", "x s -> y").output("y").run(), expected);
        }
    }
}

//! Conv (<https://onnx.ai/onnx/operators/onnx__Conv.html>), all opsets, and ONNX Runtime's NhwcConv
//! (<https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md>).

use crate::context::Context;
use crate::error::{Result, invalid, unsupported};
use crate::window::{Border, Channels, WindowAttributes};
use nnc_ir::{Dim, Op, ValueId};

/// Convolution with bias.
pub fn conv(ctx: &mut Context) -> Result<Vec<ValueId>> {
    Ok(vec![convolved(ctx, Channels::First)?])
}

/// The same with the channels of input and result last.
pub fn nhwc_conv(ctx: &mut Context) -> Result<Vec<ValueId>> {
    Ok(vec![convolved(ctx, Channels::Last)?])
}

/// Convolution with bias; weights are `[O, C / groups, kernel..]` in either case.
pub(crate) fn convolved(ctx: &mut Context, channels: Channels) -> Result<ValueId> {
    let (x, w) = (ctx.input(0)?, ctx.input(1)?);
    let bias = ctx.optional_input(2)?;
    let (attributes, groups) = attributes(ctx, x, w)?;
    let out = ctx.dtype(x);
    let x = channels.to_last(ctx, x)?;
    let borders = borders(ctx, x, &attributes);
    let mut window = attributes.window();
    let x = ctx.with_borders(x, &borders, &mut window, true, 0.0)?;
    let w = filters_last(ctx, w)?;
    let mut y = ctx.one(Op::Conv { window, groups, out }, &[x, w])?;
    if let Some(bias) = bias {
        y = add_bias(ctx, y, bias)?;
    }
    channels.restored(ctx, y)
}

/// The attributes of a convolution with weights `w: [O, C / groups, kernel..]`.
pub(crate) fn attributes(ctx: &mut Context, x: ValueId, w: ValueId) -> Result<(WindowAttributes, usize)> {
    let rank = ctx.rank(x);
    ctx.require_rank(w, rank, "the weights")?;
    let kernel = ctx.shape(w).get(2..).map(<[Dim]>::to_vec).unwrap_or_default();
    let size: Option<Vec<usize>> = kernel.iter().map(|d| d.as_const().and_then(|n| usize::try_from(n).ok())).collect();
    let size = size.ok_or_else(|| unsupported("the kernel's size must be fixed; fix its dimensions with --dim"))?;
    let attributes = WindowAttributes::read(ctx, rank, Some(size))?;
    let groups = usize::try_from(ctx.int("group", 1)?).ok().filter(|&g| g > 0);
    Ok((attributes, groups.ok_or_else(|| invalid("attribute `group` must be positive"))?))
}

/// The borders for a channels-last input.
pub(crate) fn borders(ctx: &Context, x: ValueId, attributes: &WindowAttributes) -> Vec<Border> {
    let shape = ctx.shape(x);
    attributes.borders(ctx, shape.get(1..shape.len() - 1).unwrap_or_default())
}

/// `[O, C, kernel..]` as `[kernel.., C, O]`.
pub(crate) fn filters_last(ctx: &mut Context, w: ValueId) -> Result<ValueId> {
    let rank = ctx.rank(w);
    let perm: Vec<usize> = (2..rank).chain([1, 0]).collect();
    ctx.transpose(w, &perm)
}

/// A bias of the last axis added.
pub(crate) fn add_bias(ctx: &mut Context, y: ValueId, bias: ValueId) -> Result<ValueId> {
    ctx.require_rank(bias, 1, "the bias")?;
    let shape = ctx.shape(y);
    let bias = ctx.broadcast_axis(bias, &shape, shape.len() - 1)?;
    ctx.add(y, bias)
}

#[cfg(test)]
mod tests {
    use crate::testing::sketch;
    use nnc_onnx::ElemType::Float;

    #[test]
    fn sizes() {
        for (x, w, pad, stride, result) in [
            ("1 3 8 8", "4 3 3 3", "NOTSET", 1, "f32[1, 4, 6, 6]"),
            ("1 3 8 8", "4 3 3 3", "SAME_UPPER", 2, "f32[1, 4, 4, 4]"),
            ("1 3 8 8", "4 3 3 3", "VALID", 2, "f32[1, 4, 3, 3]"),
            ("n 3 h 8", "4 3 3 3", "SAME_LOWER", 1, "f32[n, 4, h, 8]"),
            ("n 3 h 8", "4 3 3 3", "NOTSET", 1, "f32[n, 4, h - 2, 6]"),
            ("1 3 l", "4 3 1", "SAME_UPPER", 2, "f32[1, 4, floor((l + 1)/2)]"),
            ("1 3 l", "4 3 3", "SAME_UPPER", 2, "f32[1, 4, floor((l + 1)/2)]"),
            ("1 3 8 8", "4 2 3 3", "NOTSET", 1, "input channels"),
            ("1 3 8", "4 3 3 3", "NOTSET", 1, "the weights has rank 4, it must have 3"),
            ("1 3 2 2", "4 3 3 3", "NOTSET", 1, "does not fit"),
        ] {
            let sketch = sketch().input("x", Float, x).input("w", Float, w).node("Conv", "x w -> y");
            let strides = vec![stride; x.split(' ').count() - 2];
            let found = sketch.string("auto_pad", pad).int_list("strides", &strides).output("y").result_type();
            assert!(found.contains(result), "{x} by {w}: {found}");
        }
    }

    #[test]
    fn values() {
        let x: Vec<f32> = (1..=8).map(|v| v as f32).collect();
        // Two groups, a border before alone, a dilation, a bias.
        let sketch = sketch().given("x", &[1, 2, 4], &x).floats("w", &[2, 1, 2], &[1.0, 10.0, 2.0, 20.0]);
        let sketch = sketch.floats("b", &[2], &[0.5, -0.5]).node("Conv", "x w b -> y").int("group", 2);
        let sketch = sketch.int_list("pads", &[2, 0]).int_list("dilations", &[2]).output("y");
        assert_eq!(sketch.run(), "f32[1, 2, 4] 10.5 20.5 31.5 42.5 99.5 119.5 149.5 171.5");
    }

    /// The odd element of a border.
    #[test]
    fn same_borders() {
        for (auto_pad, expected) in [("SAME_UPPER", "21 32 43 4"), ("SAME_LOWER", "10 21 32 43")] {
            let sketch =
                sketch().given("x", &[1, 1, 4], &[1.0f32, 2.0, 3.0, 4.0]).floats("w", &[1, 1, 2], &[1.0, 10.0]);
            let sketch = sketch.node("Conv", "x w -> y").string("auto_pad", auto_pad).output("y");
            assert_eq!(sketch.run(), format!("f32[1, 1, 4] {expected}"));
        }
    }

    #[test]
    fn negative_border_cuts() {
        let sketch = sketch().given("x", &[1, 1, 4], &[1.0f32, 2.0, 3.0, 4.0]).floats("w", &[1, 1, 1], &[1.0]);
        let sketch = sketch.node("Conv", "x w -> y").int_list("pads", &[-1, 1]).output("y");
        assert_eq!(sketch.run(), "f32[1, 1, 4] 2 3 4 0");
    }

    #[test]
    fn channels_last() {
        let sketch = sketch().given("x", &[1, 3, 2], &[1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let sketch = sketch.floats("w", &[1, 2, 2], &[1.0, 10.0, 100.0, 1000.0]).node("NhwcConv", "x w -> y");
        assert_eq!(sketch.domain("com.microsoft").output("y").run(), "f32[1, 2, 1] 4231 6453");
    }
}

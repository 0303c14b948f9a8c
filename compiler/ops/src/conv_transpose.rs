//! ConvTranspose (<https://onnx.ai/onnx/operators/onnx__ConvTranspose.html>), all opsets.
//!
//! Output element `q * stride + p` of an axis depends on the inputs `q - j` through the kernel elements
//! `j * stride + p` alone. So each phase `p` is a convolution of stride 1 with a kernel `stride` times shorter; the
//! phases lie beside each other in the output channels of one convolution, and a transpose interleaves them.

use crate::context::Context;
use crate::conv::add_bias;
use crate::error::{Result, invalid, unfit, unsupported};
use crate::window::{AutoPad, Border, WindowAttributes, pairs};
use nnc_ir::op::{PadMode, Window};
use nnc_ir::{Dim, Op, ValueId};

/// The transposed convolution with bias.
pub fn conv_transpose(ctx: &mut Context) -> Result<Vec<ValueId>> {
    convolved(ctx, 2, None)
}

/// ONNX Runtime's, whose borders are an input.
pub fn conv_transpose_with_dynamic_pads(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let pads = match ctx.optional_input(2)? {
        Some(pads) => Some(ctx.require_ints(pads, "the borders")?),
        None => None,
    };
    convolved(ctx, 3, pads.as_deref())
}

/// The bias is input `bias`; `pads` are borders that stand for those of the attribute.
fn convolved(ctx: &mut Context, bias: usize, pads: Option<&[i64]>) -> Result<Vec<ValueId>> {
    let (x, w) = (ctx.input(0)?, ctx.input(1)?);
    let bias = ctx.optional_input(bias)?;
    let (mut attributes, groups) = crate::conv::attributes(ctx, x, w)?;
    if let Some(pads) = pads {
        attributes.pads = pairs(pads, attributes.size.len())?;
    }
    let out = ctx.dtype(x);
    let x = ctx.channels_last(x)?;
    let sizes: Vec<Dim> = ctx.shape(x)[1..ctx.rank(x) - 1].to_vec();
    let plan = plan(ctx, &attributes, &sizes)?;
    let strides: Vec<Dim> = attributes.strides.iter().map(|&s| Dim::from(s)).collect();

    // Inputs q - j for q from low / stride on: (taps - 1) before the first output's own input.
    let mut borders = vec![];
    let mut taps = vec![];
    for (axis, size) in sizes.iter().enumerate() {
        let count = extent(&attributes, axis)?.div_ceil(attributes.strides[axis]);
        let (low, length) = &plan[axis];
        let first = low.floor_div(&strides[axis]);
        let end = (low + length).ceil_div(&strides[axis]);
        borders.push(Border::new(Dim::from(count) - 1 - first, end - size));
        taps.push(count);
    }
    let ones = vec![1; taps.len()];
    let none = vec![0; taps.len()];
    let mut window =
        Window { size: taps.clone(), strides: ones.clone(), dilations: ones, pad_low: none.clone(), pad_high: none };
    let x = ctx.with_borders(x, &borders, &mut window, true, 0.0)?;
    let w = phase_weights(ctx, w, &attributes, &taps, groups)?;
    let y = ctx.one(Op::Conv { window, groups, out }, &[x, w])?;

    let mut y = interleave(ctx, y, &strides, groups)?;
    for (axis, (low, length)) in plan.into_iter().enumerate() {
        y = ctx.slice_axis(y, axis + 1, low.rem(&strides[axis]), length)?;
    }
    if let Some(bias) = bias {
        y = add_bias(ctx, y, bias)?;
    }
    Ok(vec![ctx.channels_first(y)?])
}

/// Length of the kernel with its dilation.
fn extent(attributes: &WindowAttributes, axis: usize) -> Result<usize> {
    let extent = (attributes.size[axis] - 1).checked_mul(attributes.dilations[axis]);
    extent.map(|n| n + 1).filter(|&n| n <= 1 << 24).ok_or_else(|| unsupported("the dilated kernel is too large"))
}

/// For each spatial axis the first element kept of the full result, and the size of the output.
fn plan(ctx: &mut Context, attributes: &WindowAttributes, sizes: &[Dim]) -> Result<Vec<(Dim, Dim)>> {
    let list = |values: Option<&[i64]>, name: &str| match values {
        None | Some([]) => Ok(None),
        Some(values) if values.len() == sizes.len() && values.iter().all(|&v| v >= 0) => Ok(Some(values.to_vec())),
        // Some exporters state batch and channels as well.
        Some([_, _, rest @ ..]) if rest.len() == sizes.len() && name == "output_shape" => Ok(Some(rest.to_vec())),
        Some(values) => Err(invalid(format!("`{name}` is {values:?}, it must be {} numbers from 0 on", sizes.len()))),
    };
    let extra = list(ctx.ints("output_padding")?, "output_padding")?.unwrap_or_else(|| vec![0; sizes.len()]);
    let stated = list(ctx.ints("output_shape")?, "output_shape")?;
    let mut plan = vec![];
    for (axis, size) in sizes.iter().enumerate() {
        let stride = Dim::from(attributes.strides[axis]);
        let full = (size - 1) * &stride + extent(attributes, axis)? as i64 + extra[axis];
        let same = matches!(attributes.auto_pad, AutoPad::SameUpper | AutoPad::SameLower);
        let length = match &stated {
            Some(stated) => Some(Dim::from(stated[axis])),
            None => same.then(|| size * &stride),
        };
        plan.push(match length {
            Some(length) => {
                let total = Dim::max(&(full - &length), &Dim::ZERO).simplify(ctx.dims());
                let half = total.floor_div(&Dim::from(2));
                let low = if attributes.auto_pad == AutoPad::SameUpper { half } else { total - half };
                (low, length)
            }
            None if attributes.auto_pad == AutoPad::Valid => (Dim::ZERO, full),
            None => {
                let (low, high) = attributes.pads[axis];
                (Dim::from(low), full - low - high)
            }
        });
    }
    Ok(plan)
}

/// `[C, O / groups, kernel..]` as `[taps.., C / groups, (groups, strides.., O / groups)]`, taps last to first.
fn phase_weights(
    ctx: &mut Context,
    w: ValueId,
    attributes: &WindowAttributes,
    taps: &[usize],
    groups: usize,
) -> Result<ValueId> {
    let spatial = taps.len();
    let (channels, filters) = (ctx.dim(w, 0), ctx.dim(w, 1));
    let group = Dim::from(groups);
    let inner = channels
        .div_exact(&group)
        .ok_or_else(|| unfit([&channels], "the input channels do not split into the groups"))?;
    let mut w = w;
    for (axis, &count) in taps.iter().enumerate() {
        let at = axis + 2;
        let dilation = attributes.dilations[axis];
        if dilation > 1 {
            // Zeros between the elements: a new axis, one element of which is the kernel's.
            w = ctx.unsqueeze(w, &[at + 1])?;
            w = pad_axis(ctx, w, at + 1, dilation - 1)?;
            let mut merged = ctx.shape(w);
            merged.remove(at + 1);
            merged[at] = &merged[at] * Dim::from(dilation);
            w = ctx.reshape(w, &merged)?;
            w = ctx.slice_axis(w, at, Dim::ZERO, Dim::from(extent(attributes, axis)?))?;
        }
        w = pad_axis(ctx, w, at, count * attributes.strides[axis] - extent(attributes, axis)?)?;
    }
    // [g, C / g, O / g, (taps, stride)..]
    let mut split = vec![group.clone(), inner.clone(), filters.clone()];
    for (&count, &stride) in taps.iter().zip(&attributes.strides) {
        split.extend([Dim::from(count), Dim::from(stride)]);
    }
    w = ctx.reshape(w, &split)?;
    w = reverse_taps(ctx, w, taps)?;
    let tap_axes = (0..spatial).map(|axis| 3 + 2 * axis);
    let phase_axes = (0..spatial).map(|axis| 4 + 2 * axis);
    let perm: Vec<usize> = tap_axes.chain([1, 0]).chain(phase_axes).chain([2]).collect();
    w = ctx.transpose(w, &perm)?;
    let phases = attributes.strides.iter().fold(Dim::ONE, |n, &s| n * Dim::from(s));
    let mut shape: Vec<Dim> = taps.iter().map(|&t| Dim::from(t)).collect();
    shape.extend([inner, group * phases * filters]);
    ctx.reshape(w, &shape)
}

fn pad_axis(ctx: &mut Context, x: ValueId, axis: usize, count: usize) -> Result<ValueId> {
    let rank = ctx.rank(x);
    let mut high = vec![Dim::ZERO; rank];
    high[axis] = Dim::from(count);
    ctx.pad(x, vec![Dim::ZERO; rank], high, PadMode::Constant, 0.0)
}

/// The tap axes (3, 5, ..) backwards.
fn reverse_taps(ctx: &mut Context, w: ValueId, taps: &[usize]) -> Result<ValueId> {
    if taps.iter().all(|&t| t == 1) {
        return Ok(w);
    }
    let sizes = ctx.shape(w);
    let (mut starts, mut steps) = (vec![Dim::ZERO; sizes.len()], vec![1; sizes.len()]);
    for (axis, &count) in taps.iter().enumerate() {
        (starts[3 + 2 * axis], steps[3 + 2 * axis]) = (Dim::from(count) - 1, -1);
    }
    ctx.one(Op::Slice { starts, sizes, steps }, &[w])
}

/// `[N, q.., (groups, strides.., O / groups)]` as `[N, (q, stride).., (groups, O / groups)]`.
fn interleave(ctx: &mut Context, y: ValueId, strides: &[Dim], groups: usize) -> Result<ValueId> {
    let spatial = strides.len();
    let phases = strides.iter().fold(Dim::ONE, |n, s| n * s);
    if phases.is_const(1) {
        return Ok(y);
    }
    let shape = ctx.shape(y);
    let group = Dim::from(groups);
    let channels = shape[spatial + 1]
        .div_exact(&phases)
        .ok_or_else(|| unfit([&shape[spatial + 1]], "the channels do not fit the phases"))?;
    let filters =
        channels.div_exact(&group).ok_or_else(|| unfit([&channels], "the channels do not split into the groups"))?;
    let mut split = shape[..=spatial].to_vec();
    split.push(group);
    split.extend_from_slice(strides);
    split.push(filters);
    let y = ctx.reshape(y, &split)?;
    let mut perm = vec![0];
    let mut merged = vec![shape[0].clone()];
    for (axis, stride) in strides.iter().enumerate() {
        perm.extend([axis + 1, spatial + 2 + axis]);
        merged.push(&shape[axis + 1] * stride);
    }
    perm.extend([spatial + 1, 2 * spatial + 2]);
    merged.push(channels);
    let y = ctx.transpose(y, &perm)?;
    ctx.reshape(y, &merged)
}

#[cfg(test)]
mod tests {
    use crate::testing::sketch;

    /// The definition, for one spatial axis and `channels` channels in and out per group.
    fn scattered(x: &[f32], w: &[f32], length: usize, size: usize, case: &Case) -> Vec<f32> {
        let channels = x.len() / length;
        let per_group = channels / case.groups;
        let low = case.pads[0];
        let full = (length - 1) * case.stride + (size - 1) * case.dilation + 1 + case.extra;
        let kept = full - low - case.pads[1];
        let mut y = vec![0.0; channels * kept];
        for (c, i, o, k) in (0..channels)
            .flat_map(|c| (0..length).map(move |i| (c, i)))
            .flat_map(|(c, i)| (0..per_group).map(move |o| (c, i, o)))
            .flat_map(|(c, i, o)| (0..size).map(move |k| (c, i, o, k)))
        {
            let at = i * case.stride + k * case.dilation;
            if at >= low && at - low < kept {
                let out = c / per_group * per_group + o;
                y[out * kept + at - low] += x[c * length + i] * w[(c * per_group + o) * size + k];
            }
        }
        y
    }

    struct Case {
        stride: usize,
        dilation: usize,
        groups: usize,
        pads: [usize; 2],
        extra: usize,
    }

    #[test]
    fn values() {
        let (length, channels) = (4, 4);
        for stride in 1..=4 {
            for (size, dilation, groups) in [(1, 1, 1), (2, 1, 2), (3, 1, 1), (5, 1, 4), (2, 3, 1), (3, 2, 2)] {
                for (pads, extra) in [([0, 0], 0), ([1, 0], 0), ([0, 2], 0), ([2, 1], stride - 1)] {
                    let case = Case { stride, dilation, groups, pads, extra };
                    let full = (length - 1) * stride + (size - 1) * dilation + 1 + extra;
                    if full <= pads[0] + pads[1] {
                        continue;
                    }
                    let x: Vec<f32> = (0..channels * length).map(|i| (i * 7 % 5) as f32 - 2.0).collect();
                    let w: Vec<f32> =
                        (0..channels * channels / groups * size).map(|i| (i * 5 % 7) as f32 - 3.0).collect();
                    let expected = scattered(&x, &w, length, size, &case);
                    let numbers: Vec<String> = expected.iter().map(|v| format!("{}", v + 0.0)).collect();
                    let sketch = sketch().given("x", &[1, channels, length], &x);
                    let sketch = sketch.floats("w", &[channels, channels / groups, size], &w);
                    let sketch = sketch.node("ConvTranspose", "x w -> y").int("group", groups as i64);
                    let sketch = sketch.int_list("strides", &[stride as i64]).int_list("dilations", &[dilation as i64]);
                    let sketch = sketch.int_list("pads", &[pads[0] as i64, pads[1] as i64]);
                    let found = sketch.int_list("output_padding", &[extra as i64]).output("y").run();
                    let shape = [1, channels, full - pads[0] - pads[1]];
                    assert_eq!(
                        found,
                        format!("f32{shape:?} {}", numbers.join(" ")),
                        "{stride} {size} {dilation} {pads:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn sizes() {
        use nnc_onnx::ElemType::Float;
        let base =
            |x: &str| sketch().input("x", Float, x).input("w", Float, "3 6 3 3").node("ConvTranspose", "x w -> y");
        let strided = |x: &str| base(x).int_list("strides", &[2, 2]);
        assert_eq!(strided("1 3 4 4").string("auto_pad", "SAME_UPPER").output("y").result_type(), "f32[1, 6, 8, 8]");
        assert_eq!(strided("1 3 4 4").int_list("output_shape", &[10, 8]).output("y").result_type(), "f32[1, 6, 10, 8]");
        assert_eq!(strided("1 3 n 4").output("y").result_type(), "f32[1, 6, 2*n + 1, 9]");
    }
}

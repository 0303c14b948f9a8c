//! Pools over windows.
//!
//! MaxPool (<https://onnx.ai/onnx/operators/onnx__MaxPool.html>), AveragePool
//! (<https://onnx.ai/onnx/operators/onnx__AveragePool.html>), LpPool (<https://onnx.ai/onnx/operators/onnx__LpPool.html>)
//! and the three GlobalPools; all opsets. NhwcMaxPool is ONNX Runtime's, with channels last.

use crate::context::Context;
use crate::emit::roomy;
use crate::error::{Result, invalid, unsupported};
use crate::window::{Border, Channels, Sign, WindowAttributes};
use nnc_ir::op::{BinaryOp, ReduceOp, UnaryOp, Window};
use nnc_ir::{DType, Dim, Op, Tensor, ValueId};

/// The channels-last input, its attributes and borders.
struct Pooled {
    x: ValueId,
    sizes: Vec<Dim>,
    attributes: WindowAttributes,
    borders: Vec<Border>,
}

fn read(ctx: &mut Context, x: ValueId, channels: Channels) -> Result<Pooled> {
    let attributes = WindowAttributes::read(ctx, ctx.rank(x), None)?;
    let x = channels.to_last(ctx, x)?;
    let shape = ctx.shape(x);
    let sizes = shape.get(1..shape.len() - 1).unwrap_or_default().to_vec();
    let borders = if ctx.flag("ceil_mode", false)? {
        attributes.borders_rounding_up(ctx, &sizes)
    } else {
        attributes.borders(ctx, &sizes)
    };
    Ok(Pooled { x, sizes, attributes, borders })
}

/// What the border of a maximum is made of where it cannot be implicit.
fn lowest(dtype: DType) -> f64 {
    if dtype.is_float() { f64::NEG_INFINITY } else { i64::MIN as f64 }
}

/// Largest elements, and where they are.
pub fn max_pool(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let columns_first = ctx.flag("storage_order", false)?;
    let input = ctx.input(0)?;
    let pooled = read(ctx, input, Channels::First)?;
    let (padded, window, y) = largest(ctx, &pooled)?;
    let Pooled { x, sizes, attributes, borders } = pooled;
    let mut results = vec![ctx.channels_first(y)?];
    if ctx.wants_output(1) {
        let mut place = ctx.one(Op::PoolIndex { window }, &[padded])?;
        if ctx.shape(padded) != ctx.shape(x) {
            let fixed = |border: &Border| border.low.as_const().is_some() && border.high.as_const().is_some();
            if !borders.iter().all(fixed) {
                return Err(unsupported("indices beside this border need fixed sizes; fix the dimensions with --dim"));
            }
            // The border cuts elements off: where those that are left lay.
            let plane: Dim = sizes.iter().fold(Dim::ONE, |n, d| n * d);
            let all = ctx.iota(DType::I64, &[plane], 0)?;
            let channels_last: Vec<Dim> =
                [Dim::ONE].into_iter().chain(sizes.iter().cloned()).chain([Dim::ONE]).collect();
            let all = ctx.reshape(all, &channels_last)?;
            let left = ctx.with_borders(all, &borders, &mut attributes.window(), true, 0.0)?;
            let count = ctx.shape(left).iter().fold(Dim::ONE, |n, d| n * d);
            let left = ctx.reshape(left, &[count])?;
            place = ctx.gather(left, place)?;
        }
        results.push(onnx_index(ctx, place, x, &sizes, columns_first)?);
    }
    Ok(results)
}

/// Largest elements of windows, channels last.
pub fn nhwc_max_pool(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let x = ctx.input(0)?;
    let pooled = read(ctx, x, Channels::Last)?;
    Ok(vec![largest(ctx, &pooled)?.2])
}

/// The input with its border, the window, and the largest elements.
fn largest(ctx: &mut Context, pooled: &Pooled) -> Result<(ValueId, Window, ValueId)> {
    let mut window = pooled.attributes.window();
    let low = lowest(ctx.dtype(pooled.x));
    let padded = ctx.with_borders(pooled.x, &pooled.borders, &mut window, true, low)?;
    let y = ctx.one(Op::Pool { op: ReduceOp::Max, window: window.clone() }, &[padded])?;
    Ok((padded, window, y))
}

/// Row-major spatial places (channels last) as ONNX's numbers: indices into the whole `[N, C, spatial..]`.
fn onnx_index(ctx: &mut Context, place: ValueId, x: ValueId, sizes: &[Dim], columns_first: bool) -> Result<ValueId> {
    let mut place = ctx.channels_first(place)?;
    if columns_first {
        let (mut rest, mut turned) = (place, None);
        let mut weight: Dim = sizes.iter().fold(Dim::ONE, |n, d| n * d);
        for size in sizes.iter().rev() {
            // From the last axis, whose coordinate now counts most, to the first.
            weight = weight.div_exact(size).ok_or_else(|| unsupported("an axis of size 0 has no places"))?;
            let (extent, weight) = (ctx.dim_scalar(size.clone())?, ctx.dim_scalar(weight.clone())?);
            let coordinate = ctx.binary(BinaryOp::Mod, rest, extent)?;
            rest = ctx.div(rest, extent)?;
            let term = ctx.mul(coordinate, weight)?;
            turned = Some(match turned {
                None => term,
                Some(sum) => ctx.add(sum, term)?,
            });
        }
        place = turned.unwrap_or(place);
    }
    let plane: Dim = sizes.iter().fold(Dim::ONE, |n, d| n * d);
    let (batch, channels) = (ctx.dim(x, 0), ctx.dim(x, ctx.rank(x) - 1));
    if (&batch * &channels).is_const(1) {
        return Ok(place);
    }
    let planes = ctx.iota(DType::I64, &[&batch * &channels], 0)?;
    let plane = ctx.dim_scalar(plane)?;
    let base = ctx.mul(planes, plane)?;
    let mut shape = vec![Dim::ONE; ctx.rank(place)];
    (shape[0], shape[1]) = (batch, channels);
    let base = ctx.reshape(base, &shape)?;
    ctx.add(place, base)
}

/// Means.
pub fn average_pool(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let x = ctx.input(0)?;
    Ok(vec![averaged(ctx, x, Channels::First)?])
}

/// Means of windows of `x`.
pub(crate) fn averaged(ctx: &mut Context, x: ValueId, channels: Channels) -> Result<ValueId> {
    let include = ctx.flag("count_include_pad", false)?;
    let pooled = read(ctx, x, channels)?;
    let dtype = ctx.dtype(pooled.x);
    let x = roomy(ctx, pooled.x)?;
    let mut window = pooled.attributes.window();
    let padded = ctx.with_borders(x, &pooled.borders, &mut window, true, 0.0)?;
    let sum = ctx.one(Op::Pool { op: ReduceOp::Sum, window }, &[padded])?;
    let y = match static_counts(ctx, &pooled, sum, include) {
        Some(counts) => {
            let counts = ctx.constant(counts);
            ctx.div(sum, counts)?
        }
        None => {
            let counts = run_time_counts(ctx, &pooled, include)?;
            ctx.div(sum, counts)?
        }
    };
    let y = ctx.convert(y, dtype)?;
    channels.restored(ctx, y)
}

/// The border that counts as part of a window.
fn counted(ctx: &Context, pooled: &Pooled, axis: usize, include: bool) -> (Dim, Dim) {
    match include {
        false => (Dim::ZERO, Dim::ZERO),
        // What rounding up adds behind the border stated does not count.
        true => {
            let border = &pooled.borders[axis];
            let stated = match pooled.attributes.auto_pad {
                crate::window::AutoPad::Explicit => Dim::from(pooled.attributes.pads[axis].1),
                _ => border.high.clone(),
            };
            (border.low.clone(), Dim::min(&stated, &border.high).simplify(ctx.dims()))
        }
    }
}

/// The number of elements each window averages, `[spatial.., 1]` or a scalar; `None` when a size is not known.
fn static_counts(ctx: &Context, pooled: &Pooled, sum: ValueId, include: bool) -> Option<Tensor> {
    let attributes = &pooled.attributes;
    let dtype = ctx.dtype(sum);
    let none = |axis: usize| {
        let (low, high) = counted(ctx, pooled, axis, include);
        low == pooled.borders[axis].low && high == pooled.borders[axis].high
    };
    if (0..pooled.sizes.len()).all(none) {
        let total: f64 = attributes.size.iter().map(|&n| n as f64).product();
        return Some(Tensor::scalar_of(dtype, total));
    }
    let mut counts = vec![1.0];
    let mut shape = vec![];
    for (axis, size) in pooled.sizes.iter().enumerate() {
        let size = size.as_const()?;
        let windows = usize::try_from(ctx.dim(sum, axis + 1).as_const()?).ok()?;
        let (low, high) = counted(ctx, pooled, axis, include);
        let (first, end) = (-low.as_const()?, size + high.as_const()?);
        let start = -pooled.borders[axis].low.as_const()?;
        let (stride, dilation) = (attributes.strides[axis] as i64, attributes.dilations[axis] as i64);
        if windows.checked_mul(counts.len())? > 1 << 24 {
            return None;
        }
        let of = |window: usize| {
            let at = start + window as i64 * stride;
            let inside = |&tap: &usize| (first..end).contains(&(at + tap as i64 * dilation));
            (0..attributes.size[axis]).filter(inside).count() as f64
        };
        let along: Vec<f64> = (0..windows).map(of).collect();
        counts = counts.iter().flat_map(|c| along.iter().map(move |a| c * a)).collect();
        shape.push(windows);
    }
    shape.push(1);
    let tensor = Tensor::from_f64s(dtype, &shape, &counts);
    Some(tensor.splat().map_or(tensor, |count| Tensor::scalar_of(dtype, count)))
}

/// The same as the sum of a pool over ones.
fn run_time_counts(ctx: &mut Context, pooled: &Pooled, include: bool) -> Result<ValueId> {
    let mut shape = vec![Dim::ONE];
    let mut rest = vec![];
    for (axis, (size, border)) in pooled.sizes.iter().zip(&pooled.borders).enumerate() {
        let (low, high) = counted(ctx, pooled, axis, include);
        // What is counted is not more than the border.
        let sign = if include { Sign::NotNegative } else { border.sign };
        rest.push(Border { low: &border.low - &low, high: &border.high - &high, sign });
        shape.push(size + low + high);
    }
    shape.push(Dim::ONE);
    let dtype = match ctx.dtype(pooled.x) {
        DType::F64 => DType::F64,
        _ => DType::F32,
    };
    let ones = ctx.full(dtype, 1.0, &shape)?;
    let mut window = pooled.attributes.window();
    let ones = ctx.with_borders(ones, &rest, &mut window, true, 0.0)?;
    ctx.one(Op::Pool { op: ReduceOp::Sum, window }, &[ones])
}

/// `(sum |x|^p)^(1/p)` around any sum.
fn lp(
    ctx: &mut Context,
    x: ValueId,
    p: f64,
    sum: impl FnOnce(&mut Context, ValueId) -> Result<ValueId>,
) -> Result<ValueId> {
    if p <= 0.0 {
        return Err(invalid("attribute `p` must be positive"));
    }
    let dtype = ctx.dtype(x);
    let x = roomy(ctx, x)?;
    let powers = if p == 2.0 {
        ctx.mul(x, x)?
    } else {
        let magnitude = ctx.unary(UnaryOp::Abs, x)?;
        if p == 1.0 { magnitude } else { ctx.binary_scalar(BinaryOp::Pow, magnitude, p)? }
    };
    let total = sum(ctx, powers)?;
    let y = match p {
        1.0 => total,
        2.0 => ctx.unary(UnaryOp::Sqrt, total)?,
        _ => ctx.binary_scalar(BinaryOp::Pow, total, 1.0 / p)?,
    };
    ctx.convert(y, dtype)
}

/// p-norms; `p` was a float in the first opset.
fn exponent(ctx: &mut Context) -> Result<f64> {
    if ctx.opset() < 2 { Ok(ctx.float("p", 2.0)?.into()) } else { Ok(ctx.int("p", 2)? as f64) }
}

/// p-norms of windows.
pub fn lp_pool(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let p = exponent(ctx)?;
    let x = ctx.input(0)?;
    let pooled = read(ctx, x, Channels::First)?;
    let mut window: Window = pooled.attributes.window();
    let y = lp(ctx, pooled.x, p, |ctx, powers| {
        let padded = ctx.with_borders(powers, &pooled.borders, &mut window, true, 0.0)?;
        ctx.one(Op::Pool { op: ReduceOp::Sum, window }, &[padded])
    })?;
    Ok(vec![ctx.channels_first(y)?])
}

/// The input and its spatial axes.
fn global(ctx: &mut Context) -> Result<(ValueId, Vec<usize>)> {
    let x = ctx.input(0)?;
    let rank = ctx.rank(x);
    if rank < 3 {
        return Err(invalid(format!("the input has rank {rank}, it must have a batch, channels and spatial axes")));
    }
    Ok((x, (2..rank).collect()))
}

/// Mean over the spatial axes.
pub fn global_average_pool(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let (x, axes) = global(ctx)?;
    let dtype = ctx.dtype(x);
    let x = roomy(ctx, x)?;
    let y = ctx.mean(x, &axes, true)?;
    Ok(vec![ctx.convert(y, dtype)?])
}

/// Largest element over the spatial axes.
pub fn global_max_pool(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let (x, axes) = global(ctx)?;
    Ok(vec![ctx.reduce(ReduceOp::Max, x, &axes, true)?])
}

/// p-norm over the spatial axes.
pub fn global_lp_pool(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let p = exponent(ctx)?;
    let (x, axes) = global(ctx)?;
    Ok(vec![lp(ctx, x, p, |ctx, powers| ctx.reduce(ReduceOp::Sum, powers, &axes, true))?])
}

#[cfg(test)]
mod tests {
    use crate::testing::{Sketch, sketch};
    use nnc_ir::Tensor;
    use nnc_onnx::ElemType::Float;

    fn pool(operator: &str, length: usize, attributes: &[(&str, &[i64])]) -> Sketch {
        let x: Vec<f32> = (1..=length).map(|v| v as f32).collect();
        let mut sketch = sketch().given("x", &[1, 1, length], &x).node(operator, "x -> y");
        for &(name, values) in attributes {
            let flag = matches!(name, "ceil_mode" | "count_include_pad" | "p");
            sketch = if flag { sketch.int(name, values[0]) } else { sketch.int_list(name, values) };
        }
        sketch.output("y")
    }

    #[test]
    fn values() {
        let (k2, k3, s2): (&[i64], &[i64], &[i64]) = (&[2], &[3], &[2]);
        for (operator, attributes, expected) in [
            ("MaxPool", &[("kernel_shape", k2), ("strides", s2)][..], "f32[1, 1, 2] 2 4"),
            ("MaxPool", &[("kernel_shape", k2), ("strides", s2), ("ceil_mode", &[1])], "f32[1, 1, 3] 2 4 5"),
            ("MaxPool", &[("kernel_shape", k2), ("dilations", k3)], "f32[1, 1, 2] 4 5"),
            // The last window would start in the border, so it is left out.
            (
                "AveragePool",
                &[("kernel_shape", k2), ("strides", k3), ("pads", &[1, 1]), ("ceil_mode", &[1])],
                "f32[1, 1, 2] 1 3.5",
            ),
            ("AveragePool", &[("kernel_shape", k3), ("pads", &[1, 1])], "f32[1, 1, 5] 1.5 2 3 4 4.5"),
            (
                "AveragePool",
                &[("kernel_shape", k3), ("pads", &[1, 1]), ("count_include_pad", &[1])],
                "f32[1, 1, 5] 1 2 3 4 3",
            ),
            // What rounding up adds does not count.
            (
                "AveragePool",
                &[("kernel_shape", k3), ("strides", k3), ("ceil_mode", &[1]), ("count_include_pad", &[1])],
                "f32[1, 1, 2] 2 4.5",
            ),
            ("LpPool", &[("kernel_shape", k2), ("strides", s2), ("p", &[1])], "f32[1, 1, 2] 3 7"),
            ("LpPool", &[("kernel_shape", k2), ("strides", s2), ("p", &[2])], "f32[1, 1, 2] 2.2361 5"),
            ("GlobalAveragePool", &[], "f32[1, 1, 1] 3"),
            ("GlobalLpPool", &[("p", &[1])], "f32[1, 1, 1] 15"),
        ] {
            assert_eq!(pool(operator, 5, attributes).run(), expected, "{operator} {attributes:?}");
        }
    }

    #[test]
    fn counts_known_to_the_run() {
        for length in 1..9usize {
            let attributes = |sketch: Sketch| {
                let sketch = sketch.int_list("kernel_shape", &[3]).int_list("strides", &[2]).int_list("pads", &[1, 1]);
                sketch.int("ceil_mode", 1).int("count_include_pad", 1).output("y")
            };
            let open = attributes(sketch().input("x", Float, "1 1 n").node("AveragePool", "x -> y"));
            let x: Vec<f32> = (1..=length).map(|v| v as f32).collect();
            let fixed = attributes(sketch().given("x", &[1, 1, length], &x).node("AveragePool", "x -> y"));
            let x = Tensor::from_slice(&[1, 1, length], &x);
            let run = |sketch: &Sketch| {
                let results = nnc_eval::run(&sketch.translate().unwrap(), std::slice::from_ref(&x)).unwrap();
                (results[0].shape.clone(), results[0].to_f64s())
            };
            assert_eq!(run(&open), run(&fixed), "length {length}");
        }
    }

    #[test]
    fn indices() {
        let x = [1.0f32, 5.0, 2.0, 3.0, 4.0, 6.0, 9.0, 8.0, 7.0, 0.0, 0.0, 1.0];
        for (columns_first, expected) in [(0, "i64[1, 2, 1, 1] 1 6"), (1, "i64[1, 2, 1, 1] 2 6")] {
            let sketch = sketch().given("x", &[1, 2, 2, 3], &x).node("MaxPool", "x -> _ i");
            let sketch = sketch.int_list("kernel_shape", &[2, 2]).int_list("strides", &[2, 2]);
            assert_eq!(sketch.int("storage_order", columns_first).output("i").run(), expected);
        }
        // A border that cuts off the last column, and one that cuts off the first row and column.
        let same = sketch().given("x", &[1, 1, 2, 4], &x[..8]).node("MaxPool", "x -> _ i").int_list("strides", &[1, 2]);
        let same = same.int_list("kernel_shape", &[1, 1]).string("auto_pad", "SAME_UPPER").output("i");
        assert_eq!(same.run(), "i64[1, 1, 2, 2] 0 2 4 6");
        let cut = sketch().given("x", &[1, 1, 3, 4], &x).node("MaxPool", "x -> _ i").int_list("kernel_shape", &[2, 2]);
        let cut = cut.int_list("pads", &[-1, -1, 0, 0]).output("i");
        assert_eq!(cut.run(), "i64[1, 1, 1, 2] 6 6");
    }
}

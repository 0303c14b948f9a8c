//! Resize (<https://onnx.ai/onnx/operators/onnx__Resize.html>, opsets 10 on) and Upsample
//! (<https://onnx.ai/onnx/operators/onnx__Upsample.html>, opsets 7 to 9).
//!
//! Interpolation is separable, so axes are resized one after the other: each is a sum of gathers with weights, or a
//! product with a matrix of weights when a result depends on many elements.

use crate::context::Context;
use crate::error::{Result, invalid, unsupported};
use crate::resize_size::scaled;
use crate::resize_taps::{Axis, Kernel, Taps};
use nnc_ir::op::{BinaryOp, UnaryOp};
use nnc_ir::{DType, Dim, Op, ValueId};

/// More elements than this are summed by a product with a matrix.
const MOST_GATHERS: usize = 4;

/// A result of an antialiased scale below this would depend on too many elements.
const LEAST_ANTIALIASED: f64 = 1.0 / 512.0;

/// What the attributes say.
struct Method {
    mode: String,
    places: String,
    nearest: String,
    cubic: f64,
    antialias: bool,
    exclude_outside: bool,
    extrapolation: f64,
}

/// Where the sizes of the result come from.
enum Sizes {
    Scales(ValueId),
    Sizes(ValueId),
}

/// Resize of opset 10 on.
pub fn resize(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let old = ctx.opset() < 11;
    let method = Method {
        mode: ctx.string("mode", "nearest")?,
        places: ctx.string("coordinate_transformation_mode", if old { "asymmetric" } else { "half_pixel" })?,
        nearest: ctx.string("nearest_mode", if old { "floor" } else { "round_prefer_floor" })?,
        cubic: ctx.float("cubic_coeff_a", -0.75)?.into(),
        antialias: ctx.flag("antialias", false)?,
        exclude_outside: ctx.flag("exclude_outside", false)?,
        extrapolation: ctx.float("extrapolation_value", 0.0)?.into(),
    };
    let given = |ctx: &mut Context, index: usize| -> Result<Option<ValueId>> {
        // An empty tensor stands for an input left out.
        Ok(ctx.optional_input(index)?.filter(|&v| !ctx.ty(v).count().is_const(0)))
    };
    let (scales, sizes) = if old { (given(ctx, 1)?, None) } else { (given(ctx, 2)?, given(ctx, 3)?) };
    let roi = if old { None } else { given(ctx, 1)? };
    let sizes = match (scales, sizes) {
        (Some(scales), None) => Sizes::Scales(scales),
        (None, Some(sizes)) => Sizes::Sizes(sizes),
        _ => return Err(invalid("exactly one of scales and sizes must be given")),
    };
    let x = ctx.input(0)?;
    let rank = ctx.rank(x);
    let axes: Vec<usize> = match ctx.ints("axes")? {
        None | Some([]) => (0..rank).collect(),
        Some(axes) => axes.iter().map(|&a| ctx.axis(a, rank)).collect::<Result<_>>()?,
    };
    let policy = ctx.string("keep_aspect_ratio_policy", "stretch")?;
    let axes = plan(ctx, x, &axes, &sizes, &policy, roi.filter(|_| method.places == "tf_crop_and_resize"))?;
    Ok(vec![along_axes(ctx, x, &axes, &method)?])
}

/// Upsample: scales as an attribute until opset 8.
pub fn upsample(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let x = ctx.input(0)?;
    let scales = if ctx.opset() < 9 {
        let scales = ctx.floats("scales")?.ok_or_else(|| invalid("attribute `scales` is missing"))?;
        ctx.constant(nnc_ir::Tensor::from_slice(&[scales.len()], scales))
    } else {
        ctx.input(1)?
    };
    let method = Method {
        mode: ctx.string("mode", "nearest")?,
        places: "asymmetric".into(),
        nearest: "floor".into(),
        cubic: -0.75,
        antialias: false,
        exclude_outside: false,
        extrapolation: 0.0,
    };
    let axes: Vec<usize> = (0..ctx.rank(x)).collect();
    let axes = plan(ctx, x, &axes, &Sizes::Scales(scales), "stretch", None)?;
    Ok(vec![along_axes(ctx, x, &axes, &method)?])
}

/// The axes that change.
fn plan(
    ctx: &mut Context,
    x: ValueId,
    axes: &[usize],
    sizes: &Sizes,
    policy: &str,
    roi: Option<ValueId>,
) -> Result<Vec<Axis>> {
    let (Sizes::Scales(numbers) | Sizes::Sizes(numbers)) = *sizes;
    if !ctx.ty(numbers).count().is_const(axes.len() as i64) {
        return Err(invalid(format!("scales or sizes are {} for {} axes", ctx.show(numbers), axes.len())));
    }
    let mut planned = vec![];
    match *sizes {
        Sizes::Scales(scales) => {
            let known = ctx.constant_value(scales).map(|t| t.to_f64s());
            for (i, &axis) in axes.iter().enumerate() {
                let input = ctx.dim(x, axis);
                let scale = element(ctx, scales, i)?;
                let output = match known.as_ref().map(|k| k[i]) {
                    Some(scale) => scaled(ctx, &input, scale)?,
                    None => {
                        let size = scaled_in_run(ctx, &input, scale)?;
                        let stated = ctx.stated_dim(0, axis);
                        ctx.bind_dim(size, stated, None)?
                    }
                };
                planned.push(Axis { axis, input, output, scale, region: None });
            }
        }
        Sizes::Sizes(sizes) => planned = plan_sizes(ctx, x, axes, sizes, policy)?,
    }
    if let Some(roi) = roi {
        if !ctx.ty(roi).count().is_const(2 * axes.len() as i64) {
            return Err(invalid(format!("roi is {} for {} axes", ctx.show(roi), axes.len())));
        }
        for (i, axis) in planned.iter_mut().enumerate() {
            axis.region = Some((element(ctx, roi, i)?, element(ctx, roi, axes.len() + i)?));
        }
    }
    // Without a scale and a region, nothing moves.
    planned.retain(|a| a.region.is_some() || a.input != a.output || ctx.constant_scalar(a.scale) != Some(1.0));
    Ok(planned)
}

fn plan_sizes(ctx: &mut Context, x: ValueId, axes: &[usize], sizes: ValueId, policy: &str) -> Result<Vec<Axis>> {
    let stretch = match policy {
        "stretch" => true,
        "not_larger" | "not_smaller" => false,
        other => return Err(invalid(format!("keep_aspect_ratio_policy `{other}` is not known"))),
    };
    let wanted = ctx.symbolic(sizes);
    let mut planned = vec![];
    let mut common: Option<ValueId> = None;
    for (i, &axis) in axes.iter().enumerate() {
        let input = ctx.dim(x, axis);
        let output = match (&wanted, stretch) {
            (Some(wanted), true) => wanted[i].clone(),
            (None, true) => {
                let size = ctx.slice_axis(sizes, 0, Dim::from(i), Dim::ONE)?;
                let size = ctx.convert(size, DType::I64)?;
                let stated = ctx.stated_dim(0, axis);
                ctx.bind_dim(size, stated, None)?
            }
            // Found below.
            (_, false) => Dim::ZERO,
        };
        let exact = if wanted.is_some() && stretch && input == output { Some(1.0) } else { None };
        let scale = match exact {
            Some(one) => ctx.scalar(DType::F64, one),
            None => {
                let size = element(ctx, sizes, i)?;
                let input = ctx.dim_scalar(input.clone())?;
                let input = ctx.convert(input, DType::F64)?;
                ctx.div(size, input)?
            }
        };
        common = Some(match common {
            None => scale,
            Some(other) => {
                let op = if policy == "not_larger" { BinaryOp::Min } else { BinaryOp::Max };
                ctx.binary(op, other, scale)?
            }
        });
        planned.push(Axis { axis, input, output, scale, region: None });
    }
    if stretch {
        return Ok(planned);
    }
    let Some(common) = common else { return Ok(planned) };
    let known = ctx.constant_scalar(common);
    for axis in &mut planned {
        axis.scale = common;
        axis.output = match (known, axis.input.as_const()) {
            (Some(scale), Some(input)) => Dim::from((scale * input as f64 + 0.5) as i64),
            _ => {
                let size = ctx.dim_scalar(axis.input.clone())?;
                let size = ctx.convert(size, DType::F64)?;
                let size = ctx.mul(size, common)?;
                let size = ctx.binary_scalar(BinaryOp::Add, size, 0.5)?;
                let size = ctx.convert(size, DType::I64)?;
                let stated = ctx.stated_dim(0, axis.axis);
                ctx.bind_dim(size, stated, None)?
            }
        };
    }
    Ok(planned)
}

/// The size of an axis times a scale that only the run knows, as [`scaled`] rounds it.
fn scaled_in_run(ctx: &mut Context, input: &Dim, scale: ValueId) -> Result<ValueId> {
    let size = ctx.dim_scalar(input.clone())?;
    let (size, scale) = (ctx.convert(size, DType::F32)?, ctx.convert(scale, DType::F32)?);
    let size = ctx.mul(size, scale)?;
    let size = ctx.unary(UnaryOp::Floor, size)?;
    ctx.convert(size, DType::I64)
}

/// Element `index` of a vector as an `f64` scalar.
fn element(ctx: &mut Context, vector: ValueId, index: usize) -> Result<ValueId> {
    let one = ctx.slice_axis(vector, 0, Dim::from(index), Dim::ONE)?;
    let one = ctx.reshape(one, &[])?;
    ctx.convert(one, DType::F64)
}

fn along_axes(ctx: &mut Context, x: ValueId, axes: &[Axis], method: &Method) -> Result<ValueId> {
    let dtype = ctx.dtype(x);
    let kernel = match method.mode.as_str() {
        "nearest" => None,
        "linear" | "bilinear" => Some(Kernel::Linear),
        "cubic" => Some(Kernel::Cubic(method.cubic)),
        other => return Err(invalid(format!("mode `{other}` is not one of nearest, linear, cubic"))),
    };
    let work = match dtype {
        _ if kernel.is_none() => dtype,
        DType::F64 => DType::F64,
        _ => DType::F32,
    };
    let mut y = ctx.convert(x, work)?;
    for axis in axes {
        // Which element is nearest is decided in `f32`, as elsewhere: there 0.1 times 10 is 1.
        let precision = if kernel.is_none() { DType::F32 } else { DType::F64 };
        let place = axis.places(ctx, &method.places, precision)?;
        let before = y;
        y = match kernel {
            None => {
                let index = axis.nearest(ctx, place, &method.nearest)?;
                ctx.one(Op::Gather { axis: axis.axis, batch: 0 }, &[before, index])?
            }
            Some(kernel) => {
                let widening = if method.antialias { Some(widening(ctx, axis)?) } else { None };
                let exclude = method.exclude_outside;
                let taps = axis.taps(ctx, place, kernel, widening, exclude)?;
                weighted_sum(ctx, before, axis, taps)?
            }
        };
        if axis.region.is_some() {
            let outside = axis.outside(ctx, place)?;
            let outside = along(ctx, outside, axis.axis, ctx.rank(y))?;
            let value = ctx.scalar(work, method.extrapolation);
            y = ctx.select(outside, value, y)?;
        }
    }
    ctx.convert(y, dtype)
}

/// How much wider than its own reach an antialiasing kernel can get.
fn widening(ctx: &mut Context, axis: &Axis) -> Result<f64> {
    let scale = match (ctx.constant_scalar(axis.scale), axis.input.as_const(), axis.output.as_const()) {
        (Some(scale), _, _) => scale,
        // The size is the scaled size rounded down, so the scale is not less.
        (None, Some(input), Some(output)) if input > 0 && output > 0 => output as f64 / input as f64,
        _ => return Err(unsupported("antialias needs fixed sizes; fix the dimensions with --dim")),
    };
    if scale < LEAST_ANTIALIASED {
        return Err(unsupported(format!("antialias for the scale {scale}; the least is {LEAST_ANTIALIASED}")));
    }
    Ok(1.0 / scale.min(1.0))
}

/// A vector so that it broadcasts along one axis.
fn along(ctx: &mut Context, vector: ValueId, axis: usize, rank: usize) -> Result<ValueId> {
    let mut shape = vec![Dim::ONE; rank];
    shape[axis] = ctx.dim(vector, 0);
    ctx.reshape(vector, &shape)
}

fn weighted_sum(ctx: &mut Context, x: ValueId, axis: &Axis, taps: Taps) -> Result<ValueId> {
    let (work, rank) = (ctx.dtype(x), ctx.rank(x));
    if taps.len() <= MOST_GATHERS {
        let mut sum: Option<ValueId> = None;
        for (index, weight) in taps {
            let part = ctx.one(Op::Gather { axis: axis.axis, batch: 0 }, &[x, index])?;
            let weight = ctx.convert(weight, work)?;
            let weight = along(ctx, weight, axis.axis, rank)?;
            let part = ctx.mul(part, weight)?;
            sum = Some(match sum {
                None => part,
                Some(sum) => ctx.add(sum, part)?,
            });
        }
        return sum.ok_or_else(|| invalid("nothing to add"));
    }
    // [output, input]: the weights of each result, at the elements they are for.
    let column = ctx.iota(DType::I64, &[Dim::ONE, axis.input.clone()], 1)?;
    let mut matrix: Option<ValueId> = None;
    for (index, weight) in taps {
        let index = ctx.unsqueeze(index, &[1])?;
        let weight = ctx.unsqueeze(weight, &[1])?;
        let here = ctx.binary(BinaryOp::Eq, index, column)?;
        let zero = ctx.scalar(DType::F64, 0.0);
        let part = ctx.select(here, weight, zero)?;
        matrix = Some(match matrix {
            None => part,
            Some(sum) => ctx.add(sum, part)?,
        });
    }
    let matrix = matrix.ok_or_else(|| invalid("nothing to add"))?;
    let matrix = ctx.convert(matrix, work)?;
    let op = Op::Contract { batch: vec![], contract: vec![(axis.axis, 1)], out: work };
    let y = ctx.one(op, &[x, matrix])?;
    ctx.move_axis(y, rank - 1, axis.axis)
}

#[cfg(test)]
mod tests {
    use crate::testing::sketch;
    use nnc_ir::Tensor;
    use nnc_onnx::ElemType::Float;

    #[test]
    fn sizes() {
        for (x, scale, result) in [
            ("1 3 4", 2.0, "f32[1, 3, 8]"),
            ("1 3 5", 0.5, "f32[1, 3, 2]"),
            ("1 3 n", 2.0, "f32[1, 3, 2*n]"),
            ("1 3 n", 0.5, "f32[1, 3, floor(n/2)]"),
            ("1 3 10", 0.7, "f32[1, 3, 7]"),
            ("1 3 n", 0.7, "f32[1, 3, floor((7*n)/10)]"),
            // 90 become 116, not 117.
            ("1 3 n", 1.3, "select(lt(n, "),
            ("1 3 n", 0.123_456, "floor("),
            ("1 3 n", 1e30, "is not a fixed size"),
            ("1 3 4", -1.0, "is not positive"),
            ("1 3 4", 1e30, "too large"),
        ] {
            let sketch = sketch().input("x", Float, x).floats("s", &[3], &[1.0, 1.0, scale]);
            let found = sketch.node("Resize", "x _ s -> y").output("y").result_type();
            assert!(found.contains(result), "{x} by {scale}: {found}");
        }
    }

    /// What a size known at compile time gives, the same model gives for a size known to the run alone.
    #[test]
    fn run_time_sizes_agree() {
        let x: Vec<f32> = (0..7).map(|v| (v * v) as f32).collect();
        for (mode, places) in
            [("nearest", "asymmetric"), ("linear", "half_pixel"), ("linear", "align_corners"), ("cubic", "half_pixel")]
        {
            for scale in [0.5, 1.5, 2.0, 0.7, 0.3] {
                let run = |shape: &str| {
                    let sketch = sketch().input("x", Float, shape).floats("s", &[2], &[1.0, scale]);
                    let sketch = sketch.node("Resize", "x _ s -> y").string("mode", mode);
                    let sketch = sketch.string("coordinate_transformation_mode", places).output("y");
                    let x = Tensor::from_slice(&[1, 7], &x);
                    nnc_eval::run(&sketch.translate().unwrap(), &[x]).unwrap().remove(0).to_f64s()
                };
                assert_eq!(run("1 n"), run("1 7"), "{mode} {places} {scale}");
            }
        }
    }

    /// The middle between two elements is found where rounding differs with the order of operations.
    #[test]
    fn ties() {
        let x: Vec<f32> = (0..11).map(|v| v as f32).collect();
        let sketch = sketch().given("x", &[11], &x).floats("s", &[1], &[0.5]).node("Resize", "x _ s -> y");
        let sketch = sketch.string("mode", "nearest").string("nearest_mode", "ceil");
        let sketch = sketch.string("coordinate_transformation_mode", "half_pixel_symmetric").output("y");
        assert_eq!(sketch.run(), "f32[5] 1 3 5 7 9");
    }

    /// The middle is the middle though `f32` places it 2e-7 before (3.5) or 1e-6 behind (11.5).
    #[test]
    fn rounded_ties() {
        for (elements, size, nearest, at, element) in
            [(7, 2, "round_prefer_ceil", 1, 4.0), (23, 14, "round_prefer_floor", 7, 11.0)]
        {
            let x: Vec<f32> = (0..elements).map(|v| v as f32).collect();
            let sketch = sketch().given("x", &[elements], &x).ints("s", &[1], &[size]);
            let sketch = sketch.node("Resize", "x _ _ s -> y").string("nearest_mode", nearest);
            let sketch = sketch.string("coordinate_transformation_mode", "asymmetric").output("y");
            let y = nnc_eval::run(&sketch.translate().unwrap(), &[Tensor::from_slice(&[elements], &x)]);
            assert_eq!(y.unwrap()[0].to_f64s()[at], element, "{elements} to {size}");
        }
    }

    #[test]
    fn antialias_by_matrix_sums_to_one() {
        let sketch = sketch().given("x", &[64], &[3.0f32; 64]).ints("s", &[1], &[4]).node("Resize", "x _ _ s -> y");
        assert_eq!(sketch.string("mode", "linear").int("antialias", 1).output("y").run(), "f32[4] 3 3 3 3");
    }

    #[test]
    fn upsample_by_opset() {
        let new = sketch().opset(9).given("x", &[2], &[1.0f32, 2.0]).floats("s", &[1], &[2.0]);
        assert_eq!(new.node("Upsample", "x s -> y").output("y").run(), "f32[4] 1 1 2 2");
        let old = sketch().opset(7).given("x", &[2], &[1.0f32, 2.0]).node("Upsample", "x -> y");
        let old = old.attribute("scales", nnc_onnx::Attribute::Floats(vec![2.0])).string("mode", "linear");
        assert_eq!(old.output("y").run(), "f32[4] 1 1.5 2 2");
    }
}

//! Interpolation at computed places: what GridSample and DeformConv share, and GridSample itself
//! (<https://onnx.ai/onnx/operators/onnx__GridSample.html>), opsets 16 on.

use crate::context::Context;
use crate::error::{Result, invalid, unsupported};
use nnc_ir::op::{BinaryOp, UnaryOp};
use nnc_ir::{DType, Dim, Op, ValueId};

/// An element that a result takes along one axis.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tap {
    /// Its index as a float; anything outside the axis reads the nearest element.
    pub index: ValueId,
    /// Absent where it is 1.
    pub weight: Option<ValueId>,
}

/// The most elements one result is made of.
const MOST_CORNERS: usize = 256;

/// A size as a float scalar.
pub(crate) fn float_dim(ctx: &mut Context, dim: &Dim, dtype: DType) -> Result<ValueId> {
    let value = ctx.dim_scalar(dim.clone())?;
    ctx.convert(value, dtype)
}

/// `x[batch.., places, C]` for `x: [batch.., spatial flattened, C]`: sums over every combination of the axes' taps, each
/// tap's tensors being `[batch.., places]`. `batch` counts the batch axes.
pub(crate) fn interpolate(
    ctx: &mut Context,
    x: ValueId,
    batch: usize,
    sizes: &[Dim],
    taps: &[Vec<Tap>],
) -> Result<ValueId> {
    let corners: usize = taps.iter().map(Vec::len).product();
    if corners > MOST_CORNERS {
        return Err(unsupported(format!("interpolation over {corners} elements; use a mode with fewer")));
    }
    let work = ctx.dtype(x);
    // Indices are clamped once per axis.
    let mut clamped: Vec<Vec<(ValueId, Option<ValueId>)>> = vec![];
    let mut stride = Dim::ONE;
    for (size, taps) in sizes.iter().zip(taps).rev() {
        let last = float_dim(ctx, &(size - 1), work)?;
        let weight = ctx.dim_scalar(stride.clone())?;
        let mut along = vec![];
        for tap in taps {
            let index = ctx.binary(BinaryOp::Min, tap.index, last)?;
            let index = ctx.binary_scalar(BinaryOp::Max, index, 0.0)?;
            let index = ctx.convert(index, DType::I64)?;
            along.push((ctx.mul(index, weight)?, tap.weight));
        }
        clamped.insert(0, along);
        stride = &stride * size;
    }
    let mut sum: Option<ValueId> = None;
    for corner in 0..corners {
        let (mut rest, mut index, mut weight) = (corner, None, None);
        for along in &clamped {
            let (at, factor) = along[rest % along.len()];
            rest /= along.len();
            index = Some(match index {
                None => at,
                Some(before) => ctx.add(before, at)?,
            });
            weight = match (weight, factor) {
                (None, factor) => factor,
                (before, None) => before,
                (Some(before), Some(factor)) => Some(ctx.mul(before, factor)?),
            };
        }
        let Some(index) = index else { return Err(invalid("there are no spatial axes")) };
        let mut part = ctx.one(Op::Gather { axis: batch, batch }, &[x, index])?;
        if let Some(weight) = weight {
            let weight = ctx.unsqueeze(weight, &[ctx.rank(weight)])?;
            part = ctx.mul(part, weight)?;
        }
        sum = Some(match sum {
            None => part,
            Some(sum) => ctx.add(sum, part)?,
        });
    }
    sum.ok_or_else(|| invalid("there is nothing to interpolate"))
}

/// A weight that is 0 for an index outside the axis.
pub(crate) fn zero_outside(ctx: &mut Context, tap: Tap, size: &Dim) -> Result<Tap> {
    let dtype = ctx.dtype(tap.index);
    let last = float_dim(ctx, &(size - 1), dtype)?;
    let above = ctx.binary_scalar(BinaryOp::Ge, tap.index, 0.0)?;
    let below = ctx.binary(BinaryOp::Le, tap.index, last)?;
    let inside = ctx.binary(BinaryOp::And, above, below)?;
    let zero = ctx.scalar(dtype, 0.0);
    let weight = match tap.weight {
        Some(weight) => weight,
        None => ctx.scalar(dtype, 1.0),
    };
    Ok(Tap { index: tap.index, weight: Some(ctx.select(inside, weight, zero)?) })
}

/// The two elements around a place.
pub(crate) fn linear_taps(ctx: &mut Context, place: ValueId) -> Result<Vec<Tap>> {
    let low = ctx.unary(UnaryOp::Floor, place)?;
    let high = ctx.binary_scalar(BinaryOp::Add, low, 1.0)?;
    let far = ctx.sub(place, low)?;
    let one = ctx.scalar(ctx.dtype(place), 1.0);
    let near = ctx.sub(one, far)?;
    Ok(vec![Tap { index: low, weight: Some(near) }, Tap { index: high, weight: Some(far) }])
}

/// The four elements around a place, by cubic convolution with coefficient -0.75.
fn cubic_taps(ctx: &mut Context, place: ValueId) -> Result<Vec<Tap>> {
    const A: f64 = -0.75;
    let floor = ctx.unary(UnaryOp::Floor, place)?;
    let far = ctx.sub(place, floor)?;
    let mut taps = vec![];
    for offset in [-1.0, 0.0, 1.0, 2.0] {
        let index = ctx.binary_scalar(BinaryOp::Add, floor, offset)?;
        let distance = ctx.binary_scalar(BinaryOp::Sub, far, offset)?;
        let distance = ctx.unary(UnaryOp::Abs, distance)?;
        let near = offset == 0.0 || offset == 1.0;
        let coefficients = if near { [A + 2.0, -(A + 3.0), 0.0, 1.0] } else { [A, -5.0 * A, 8.0 * A, -4.0 * A] };
        let mut weight = ctx.binary_scalar(BinaryOp::Mul, distance, coefficients[0])?;
        for (i, &c) in coefficients.iter().enumerate().skip(1) {
            weight = ctx.binary_scalar(BinaryOp::Add, weight, c)?;
            if i < 3 {
                weight = ctx.mul(weight, distance)?;
            }
        }
        taps.push(Tap { index, weight: Some(weight) });
    }
    Ok(taps)
}

/// A place reflected at both ends until it lies between them.
fn reflected(ctx: &mut Context, place: ValueId, size: &Dim, align: bool) -> Result<ValueId> {
    let dtype = ctx.dtype(place);
    let low = if align { 0.0 } else { -0.5 };
    let span = float_dim(ctx, &if align { size - 1 } else { size.clone() }, dtype)?;
    let twice = ctx.binary_scalar(BinaryOp::Mul, span, 2.0)?;
    // One element alone has no span to reflect in.
    let tiny = ctx.binary_scalar(BinaryOp::Eq, twice, 0.0)?;
    let one = ctx.scalar(dtype, 1.0);
    let twice = ctx.select(tiny, one, twice)?;
    let from_low = ctx.binary_scalar(BinaryOp::Sub, place, low)?;
    let there = ctx.binary(BinaryOp::Mod, from_low, twice)?;
    let back = ctx.sub(twice, there)?;
    let inside = ctx.binary(BinaryOp::Min, there, back)?;
    ctx.binary_scalar(BinaryOp::Add, inside, low)
}

/// Elements at the places of a grid.
pub fn grid_sample(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let (x, grid) = (ctx.input(0)?, ctx.input(1)?);
    let align = ctx.flag("align_corners", false)?;
    let mode = ctx.string("mode", "linear")?;
    let padding = ctx.string("padding_mode", "zeros")?;
    if !matches!(padding.as_str(), "zeros" | "border" | "reflection") {
        return Err(invalid(format!("padding_mode `{padding}` is not one of zeros, border, reflection")));
    }
    let spatial = ctx.rank(x).saturating_sub(2);
    let places = ctx.shape(grid);
    if spatial == 0 || places.len() != spatial + 2 || !places[spatial + 1].is_const(spatial as i64) {
        return Err(invalid(format!("the grid {} does not fit the input {}", ctx.show(grid), ctx.show(x))));
    }
    let dtype = ctx.dtype(x);
    let work = if dtype == DType::F64 { DType::F64 } else { DType::F32 };
    let x = ctx.convert(x, work)?;
    let grid = ctx.convert(grid, work)?;
    let x = ctx.channels_last(x)?;
    let shape = ctx.shape(x);
    let sizes = shape[1..=spatial].to_vec();
    let all: Dim = sizes.iter().fold(Dim::ONE, |n, d| n * d);
    let x = ctx.reshape(x, &[shape[0].clone(), all, shape[spatial + 1].clone()])?;
    let count: Dim = places[1..=spatial].iter().fold(Dim::ONE, |n, d| n * d);
    let grid = ctx.reshape(grid, &[places[0].clone(), count.clone(), Dim::from(spatial)])?;

    let mut taps = vec![];
    for (axis, size) in sizes.iter().enumerate() {
        // The grid names the last axis first.
        let at = ctx.slice_axis(grid, 2, Dim::from(spatial - 1 - axis), Dim::ONE)?;
        let at = ctx.squeeze(at, &[2])?;
        let at = ctx.binary_scalar(BinaryOp::Add, at, 1.0)?;
        let mut place = if align {
            let half = ctx.binary_scalar(BinaryOp::Mul, at, 0.5)?;
            let last = float_dim(ctx, &(size - 1), work)?;
            ctx.mul(half, last)?
        } else {
            let length = float_dim(ctx, size, work)?;
            let scaled = ctx.mul(at, length)?;
            let scaled = ctx.binary_scalar(BinaryOp::Sub, scaled, 1.0)?;
            ctx.binary_scalar(BinaryOp::Mul, scaled, 0.5)?
        };
        if mode == "nearest" {
            place = ctx.unary(UnaryOp::Round, place)?;
        }
        if padding == "reflection" {
            place = reflected(ctx, place, size, align)?;
        }
        let found = match mode.as_str() {
            "nearest" => vec![Tap { index: place, weight: None }],
            "linear" | "bilinear" => linear_taps(ctx, place)?,
            "cubic" | "bicubic" => cubic_taps(ctx, place)?,
            other => return Err(invalid(format!("mode `{other}` is not one of nearest, linear, cubic"))),
        };
        let mut along = vec![];
        for tap in found {
            along.push(match padding.as_str() {
                "zeros" => zero_outside(ctx, tap, size)?,
                "reflection" => Tap { index: reflected(ctx, tap.index, size, align)?, ..tap },
                _ => tap,
            });
        }
        taps.push(along);
    }
    let y = interpolate(ctx, x, 1, &sizes, &taps)?;
    let mut result = places[..=spatial].to_vec();
    result.push(shape[spatial + 1].clone());
    let y = ctx.reshape(y, &result)?;
    let y = ctx.channels_first(y)?;
    Ok(vec![ctx.convert(y, dtype)?])
}

//! The elements and weights that Resize takes along one axis.
//!
//! Everything is computed by core ops in `f64` from the sizes and the scale of the axis, but for the places of nearest
//! elements, which are computed in `f32` in the order that ONNX Runtime has. Where sizes and scale are known, as they
//! nearly always are, the ops fold to constants; where they are not, the same ops run with the model.

use crate::context::Context;
use crate::error::{Result, invalid};
use nnc_ir::op::{BinaryOp, UnaryOp};
use nnc_ir::{DType, Dim, ValueId};

/// One axis to be resized.
#[derive(Clone, Debug)]
pub(crate) struct Axis {
    pub axis: usize,
    pub input: Dim,
    pub output: Dim,
    /// `f64` scalar.
    pub scale: ValueId,
    /// First and last place of the cropped region, as parts of the axis; `f64` scalars.
    pub region: Option<(ValueId, ValueId)>,
}

/// A place this close to the middle between two elements is the middle, as in ONNX Runtime: from 7 elements to 2 the
/// second lies at 3.5, in `f32` a little before.
const TIE: f64 = 1e-6;

/// How places between elements are computed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kernel {
    Linear,
    /// With its coefficient.
    Cubic(f64),
}

/// Elements that add up to the result: index `i64[output]` and weight `f64[output]` of each.
pub(crate) type Taps = Vec<(ValueId, ValueId)>;

impl Axis {
    fn count(&self, ctx: &mut Context, dim: &Dim, dtype: DType) -> Result<ValueId> {
        let value = ctx.dim_scalar(dim.clone())?;
        ctx.convert(value, dtype)
    }

    /// For each output element its place on the input axis, `f64[output]`, computed in `dtype`.
    pub fn places(&self, ctx: &mut Context, mode: &str, dtype: DType) -> Result<ValueId> {
        let place = self.places_in(ctx, mode, dtype)?;
        ctx.convert(place, DType::F64)
    }

    fn places_in(&self, ctx: &mut Context, mode: &str, dtype: DType) -> Result<ValueId> {
        let y = ctx.iota(dtype, std::slice::from_ref(&self.output), 0)?;
        let input = self.count(ctx, &self.input, dtype)?;
        let scale = ctx.convert(self.scale, dtype)?;
        // The exact length, which the output's rounds down.
        let length = ctx.mul(input, scale)?;
        let one = ctx.binary_scalar(BinaryOp::Eq, length, 1.0)?;
        let last_in = ctx.binary_scalar(BinaryOp::Sub, input, 1.0)?;
        let last_out = ctx.binary_scalar(BinaryOp::Sub, length, 1.0)?;
        let zero = ctx.scalar(dtype, 0.0);
        let centred = |ctx: &mut Context| -> Result<ValueId> {
            let y = ctx.binary_scalar(BinaryOp::Add, y, 0.5)?;
            ctx.div(y, scale)
        };
        let half_pixel = |ctx: &mut Context| -> Result<ValueId> {
            let x = centred(ctx)?;
            ctx.binary_scalar(BinaryOp::Sub, x, 0.5)
        };
        match mode {
            "asymmetric" => ctx.div(y, scale),
            "half_pixel" => half_pixel(ctx),
            "tf_half_pixel_for_nn" => centred(ctx),
            "pytorch_half_pixel" => {
                let x = half_pixel(ctx)?;
                ctx.select(one, zero, x)
            }
            "half_pixel_symmetric" => {
                let output = self.count(ctx, &self.output, dtype)?;
                let adjustment = ctx.div(output, length)?;
                let ones = ctx.scalar(dtype, 1.0);
                let less = ctx.sub(ones, adjustment)?;
                let centre = ctx.binary_scalar(BinaryOp::Mul, input, 0.5)?;
                let offset = ctx.mul(centre, less)?;
                let x = centred(ctx)?;
                let x = ctx.add(offset, x)?;
                ctx.binary_scalar(BinaryOp::Sub, x, 0.5)
            }
            "align_corners" => {
                let x = ctx.mul(y, last_in)?;
                let x = ctx.div(x, last_out)?;
                ctx.select(one, zero, x)
            }
            "tf_crop_and_resize" => {
                let (start, end) = self.region.ok_or_else(|| invalid("tf_crop_and_resize needs roi"))?;
                let (start, end) = (ctx.convert(start, dtype)?, ctx.convert(end, dtype)?);
                let width = ctx.sub(end, start)?;
                let width = ctx.mul(width, last_in)?;
                let x = ctx.mul(y, width)?;
                let x = ctx.div(x, last_out)?;
                let middle = ctx.binary_scalar(BinaryOp::Mul, width, 0.5)?;
                let x = ctx.select(one, middle, x)?;
                let first = ctx.mul(start, last_in)?;
                ctx.add(x, first)
            }
            other => Err(invalid(format!("coordinate_transformation_mode `{other}` is not known"))),
        }
    }

    /// Places as indices, those outside at the nearest end.
    pub fn clamped(&self, ctx: &mut Context, place: ValueId) -> Result<ValueId> {
        let last = self.count(ctx, &(&self.input - 1), DType::F64)?;
        let place = ctx.binary(BinaryOp::Min, place, last)?;
        let place = ctx.binary_scalar(BinaryOp::Max, place, 0.0)?;
        ctx.convert(place, DType::I64)
    }

    /// Whether a place lies outside the input.
    pub fn outside(&self, ctx: &mut Context, place: ValueId) -> Result<ValueId> {
        let last = self.count(ctx, &(&self.input - 1), DType::F64)?;
        let below = ctx.binary_scalar(BinaryOp::Lt, place, 0.0)?;
        let above = ctx.binary(BinaryOp::Gt, place, last)?;
        ctx.binary(BinaryOp::Or, below, above)
    }

    /// The index nearest to each place.
    pub fn nearest(&self, ctx: &mut Context, place: ValueId, mode: &str) -> Result<ValueId> {
        let rounded = match mode {
            "round_prefer_floor" => {
                let x = ctx.binary_scalar(BinaryOp::Sub, place, 0.5 + TIE)?;
                ctx.unary(UnaryOp::Ceil, x)?
            }
            "round_prefer_ceil" => {
                let x = ctx.binary_scalar(BinaryOp::Add, place, 0.5 + TIE)?;
                ctx.unary(UnaryOp::Floor, x)?
            }
            "floor" | "simple" => ctx.unary(UnaryOp::Floor, place)?,
            "ceil" => ctx.unary(UnaryOp::Ceil, place)?,
            other => return Err(invalid(format!("nearest_mode `{other}` is not known"))),
        };
        self.clamped(ctx, rounded)
    }

    /// The elements around each place. `widening` is by how much the kernel is stretched at most, 1 when it is not
    /// (for `antialias` it is, by the scale, when that is below 1).
    pub fn taps(
        &self,
        ctx: &mut Context,
        place: ValueId,
        kernel: Kernel,
        widening: Option<f64>,
        exclude_outside: bool,
    ) -> Result<Taps> {
        let radius = if kernel == Kernel::Linear { 1.0 } else { 2.0 };
        let reach = (radius * widening.unwrap_or(1.0)).ceil().clamp(1.0, 1e6) as i64;
        let squeeze = match widening {
            Some(_) => Some(ctx.binary_scalar(BinaryOp::Min, self.scale, 1.0)?),
            None => None,
        };
        let floor = ctx.unary(UnaryOp::Floor, place)?;
        let mut taps = vec![];
        let mut total: Option<ValueId> = None;
        for offset in 1 - reach..=reach {
            let at = ctx.binary_scalar(BinaryOp::Add, floor, offset as f64)?;
            let mut distance = ctx.sub(at, place)?;
            if let Some(squeeze) = squeeze {
                distance = ctx.mul(distance, squeeze)?;
            }
            let mut weight = weight(ctx, distance, kernel)?;
            if exclude_outside {
                let outside = self.outside(ctx, at)?;
                let zero = ctx.scalar(DType::F64, 0.0);
                weight = ctx.select(outside, zero, weight)?;
            }
            total = Some(match total {
                None => weight,
                Some(sum) => ctx.add(sum, weight)?,
            });
            let index = self.clamped(ctx, at)?;
            taps.push((index, weight));
        }
        if (exclude_outside || widening.is_some())
            && let Some(total) = total
        {
            let none = ctx.binary_scalar(BinaryOp::Eq, total, 0.0)?;
            let one = ctx.scalar(DType::F64, 1.0);
            let total = ctx.select(none, one, total)?;
            for tap in &mut taps {
                tap.1 = ctx.div(tap.1, total)?;
            }
        }
        Ok(taps)
    }
}

/// The kernel at a distance.
fn weight(ctx: &mut Context, distance: ValueId, kernel: Kernel) -> Result<ValueId> {
    let d = ctx.unary(UnaryOp::Abs, distance)?;
    let polynomial = |ctx: &mut Context, coefficients: [f64; 4]| -> Result<ValueId> {
        let mut y = ctx.scalar(DType::F64, coefficients[0]);
        for &c in &coefficients[1..] {
            y = ctx.mul(y, d)?;
            y = ctx.binary_scalar(BinaryOp::Add, y, c)?;
        }
        Ok(y)
    };
    let zero = ctx.scalar(DType::F64, 0.0);
    match kernel {
        Kernel::Linear => {
            let one = ctx.scalar(DType::F64, 1.0);
            let y = ctx.sub(one, d)?;
            ctx.binary(BinaryOp::Max, y, zero)
        }
        Kernel::Cubic(a) => {
            let near = polynomial(ctx, [a + 2.0, -(a + 3.0), 0.0, 1.0])?;
            let far = polynomial(ctx, [a, -5.0 * a, 8.0 * a, -4.0 * a])?;
            let is_near = ctx.binary_scalar(BinaryOp::Le, d, 1.0)?;
            let is_far = ctx.binary_scalar(BinaryOp::Lt, d, 2.0)?;
            let far = ctx.select(is_far, far, zero)?;
            ctx.select(is_near, near, far)
        }
    }
}

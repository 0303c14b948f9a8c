//! Fourier transforms as products with constant matrices: DFT (<https://onnx.ai/onnx/operators/onnx__DFT.html>) and STFT
//! (<https://onnx.ai/onnx/operators/onnx__STFT.html>), opsets 17 on; ONNX Runtime's Rfft and Irfft.

use crate::context::Context;
use crate::error::{Result, invalid, unfit, unsupported};
use nnc_ir::op::BinaryOp;
use nnc_ir::{DType, Dim, Op, Tensor, ValueId};

/// The most elements of a transform's matrix.
const MOST_ELEMENTS: usize = 1 << 26;

/// A transform of length `length`.
#[derive(Clone, Copy, Debug)]
struct Transform {
    length: usize,
    onesided: bool,
    inverse: bool,
}

impl Transform {
    fn new(length: i64, onesided: bool, inverse: bool) -> Result<Transform> {
        match usize::try_from(length).ok().filter(|&n| n > 0) {
            Some(length) => Ok(Transform { length, onesided, inverse }),
            None => Err(invalid(format!("the length {length} of the transform is not positive"))),
        }
    }

    /// How many elements the result has along the axis, and how many parts (real, imaginary) each.
    fn result(self) -> (usize, usize) {
        match (self.onesided, self.inverse) {
            (true, false) => (self.length / 2 + 1, 2),
            (true, true) => (self.length, 1),
            (false, _) => (self.length, 2),
        }
    }

    /// How many input elements count.
    fn input(self) -> usize {
        if self.onesided && self.inverse { self.length / 2 + 1 } else { self.length }
    }

    /// `[inputs, input parts, results, result parts]`.
    fn matrix(self, dtype: DType, inputs: usize, parts: usize) -> Result<Tensor> {
        let (results, result_parts) = self.result();
        let total = inputs.checked_mul(results).and_then(|n| n.checked_mul(parts * result_parts));
        if total.is_none_or(|n| n > MOST_ELEMENTS) {
            return Err(unsupported(format!("a transform of length {} is too long", self.length)));
        }
        let n = self.length;
        let mut values = vec![];
        for input in 0..inputs {
            // Real signals have each frequency twice, but for the first and the middle one.
            let mut factor = if self.inverse { 1.0 / n as f64 } else { 1.0 };
            if self.onesided && self.inverse && input != 0 && 2 * input != n {
                factor *= 2.0;
            }
            for part in 0..parts {
                for result in 0..results {
                    let (sin, cos) = sin_cos((input * result) % n, n);
                    let sin = if self.inverse { sin } else { -sin };
                    // (a + ib) (cos + i sin)
                    let pair = if part == 0 { [cos, sin] } else { [-sin, cos] };
                    values.extend(pair[..result_parts].iter().map(|v| v * factor));
                }
            }
        }
        Ok(Tensor::from_f64s(dtype, &[inputs, parts, results, result_parts], &values))
    }

    /// The transform of `x` along `axis`; its last axis holds the parts. `window` scales the inputs.
    fn apply(self, ctx: &mut Context, x: ValueId, axis: usize, window: Option<ValueId>) -> Result<ValueId> {
        let rank = ctx.rank(x);
        let dtype = ctx.dtype(x);
        let work = if dtype == DType::F64 { DType::F64 } else { DType::F32 };
        let parts = match ctx.dim(x, rank - 1).as_const() {
            Some(parts @ (1 | 2)) => parts as usize,
            _ => {
                let message = format!("the last axis of {} must have size 1 or 2", ctx.show(x));
                return Err(unfit([&ctx.dim(x, rank - 1)], message));
            }
        };
        let Some(size) = ctx.dim(x, axis).as_const().and_then(|n| usize::try_from(n).ok()) else {
            return Err(unsupported("the transformed axis must have a fixed size; fix it with --dim"));
        };
        let inputs = size.min(self.input());
        let x = ctx.convert(x, work)?;
        let x = ctx.slice_axis(x, axis, Dim::ZERO, Dim::from(inputs))?;
        let matrix = self.matrix(work, inputs, parts)?;
        let mut matrix = ctx.constant(matrix);
        if let Some(window) = window {
            let window = ctx.convert(window, work)?;
            let window = ctx.slice_axis(window, 0, Dim::ZERO, Dim::from(inputs))?;
            let window = ctx.unsqueeze(window, &[1, 2, 3])?;
            matrix = ctx.mul(matrix, window)?;
        }
        let op = Op::Contract { batch: vec![], contract: vec![(axis, 0), (rank - 1, 1)], out: work };
        let y = ctx.one(op, &[x, matrix])?;
        let y = ctx.move_axis(y, rank - 2, axis)?;
        ctx.convert(y, dtype)
    }
}

/// Sine and cosine of `step / steps` of a turn, exact at quarter turns.
fn sin_cos(step: usize, steps: usize) -> (f64, f64) {
    match (4 * step % steps, 4 * step / steps) {
        (0, 0) => (0.0, 1.0),
        (0, 1) => (1.0, 0.0),
        (0, 2) => (0.0, -1.0),
        (0, _) => (-1.0, 0.0),
        _ => (std::f64::consts::TAU * step as f64 / steps as f64).sin_cos(),
    }
}

/// The discrete Fourier transform along one axis.
pub fn dft(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let x = ctx.input(0)?;
    let rank = ctx.rank(x);
    if rank < 2 {
        return Err(invalid("the input must have an axis to transform and one of parts"));
    }
    let inverse = ctx.flag("inverse", false)?;
    let onesided = ctx.flag("onesided", false)?;
    let length = match ctx.optional_input(1)? {
        Some(length) => Some(ctx.require_scalar(length, "dft_length")? as i64),
        None => None,
    };
    let axis_input = if ctx.opset() < 20 { None } else { ctx.optional_input(2)? };
    let axis = match axis_input {
        Some(axis) => ctx.constant_scalar(axis).map(|a| a as i64),
        None if ctx.opset() < 20 => Some(ctx.int("axis", 1)?),
        None => Some(-2),
    };
    let along = |ctx: &mut Context, axis: usize| -> Result<Transform> {
        let size = ctx.dim(x, axis).as_const();
        let natural = if onesided && inverse { size.map(|n| 2 * (n - 1)) } else { size };
        let length = length.or(natural);
        let length =
            length.ok_or_else(|| unsupported("the transformed axis must have a fixed size; fix it with --dim"))?;
        Transform::new(length, onesided, inverse)
    };
    if let Some(axis) = axis {
        let axis = ctx.axis(axis, rank)?;
        if axis == rank - 1 {
            return Err(invalid("the last axis holds the parts, it cannot be transformed"));
        }
        let transform = along(ctx, axis)?;
        return Ok(vec![transform.apply(ctx, x, axis, None)?]);
    }
    // An axis that only the run knows: the run picks among those that give the stated shape.
    let Some(axis) = axis_input else { return Err(invalid("the axis is missing")) };
    let given = axis;
    let axis = ctx.reshape(axis, &[])?;
    let axis = ctx.normalize_index(axis, &Dim::from(rank))?;
    let stated = ctx.stated_shape(0, "the axis")?;
    let mut result: Option<ValueId> = None;
    let mut choices = vec![];
    for candidate in 0..(rank - 1).min(31) {
        let Ok(transform) = along(ctx, candidate) else { continue };
        let mut shape = ctx.shape(x);
        let (size, parts) = transform.result();
        (shape[candidate], shape[rank - 1]) = (Dim::from(size), Dim::from(parts));
        if shape != stated {
            continue;
        }
        choices.push(1 << candidate);
        let y = transform.apply(ctx, x, candidate, None)?;
        result = Some(match result {
            None => y,
            Some(other) => {
                let chosen = ctx.binary_scalar(BinaryOp::Eq, axis, candidate as f64)?;
                ctx.select(chosen, y, other)?
            }
        });
    }
    let help = || unsupported("the stated shape of the output is that of no axis; correct it");
    let result = result.ok_or_else(help)?;
    ctx.claim_axes(given, rank, &choices)?;
    Ok(vec![result])
}

/// ONNX Runtime's transform of real signals along the last axis, onesided.
pub fn rfft(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let x = ctx.input(0)?;
    along_last(ctx)?;
    let rank = ctx.rank(x);
    let parts = ctx.unsqueeze(x, &[rank])?;
    let axis = rank.checked_sub(1).ok_or_else(|| invalid("the input has no axis to transform"))?;
    let transform = Transform::new(fixed(ctx, x, axis)?, true, false)?;
    Ok(vec![transform.apply(ctx, parts, axis, None)?])
}

/// ONNX Runtime's inverse of that.
pub fn irfft(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let x = ctx.input(0)?;
    along_last(ctx)?;
    let axis = ctx.rank(x).checked_sub(2).ok_or_else(|| invalid("the input must have an axis and one of parts"))?;
    let length = fixed(ctx, x, axis)?.saturating_sub(1).saturating_mul(2);
    let y = Transform::new(length, true, true)?.apply(ctx, x, axis, None)?;
    Ok(vec![ctx.squeeze(y, &[axis + 1])?])
}

/// The size of an axis that is transformed.
fn fixed(ctx: &Context, x: ValueId, axis: usize) -> Result<i64> {
    let size = ctx.dim(x, axis).as_const();
    size.ok_or_else(|| unsupported("the transformed axis must have a fixed size; fix it with --dim"))
}

/// An error unless the attributes ask for one-dimensional onesided transforms.
fn along_last(ctx: &mut Context) -> Result<()> {
    let (axes, onesided) = (ctx.int("signal_ndim", 1)?, ctx.flag("onesided", true)?);
    if axes != 1 || !onesided || ctx.flag("normalized", false)? {
        return Err(unsupported("only onesided transforms of one axis, not normalized, are supported; use DFT"));
    }
    Ok(())
}

/// Fourier transforms of overlapping pieces of a signal.
pub fn stft(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let (mut signal, step) = (ctx.input(0)?, ctx.input(1)?);
    if ctx.rank(signal) == 2 {
        signal = ctx.unsqueeze(signal, &[2])?;
    }
    ctx.require_rank(signal, 3, "the signal")?;
    let onesided = ctx.flag("onesided", true)?;
    let window = ctx.optional_input(2)?;
    let length = match (ctx.optional_input(3)?, window) {
        (Some(length), _) if ctx.constant_scalar(length).is_some() => {
            Dim::from(ctx.require_scalar(length, "frame_length")? as i64)
        }
        (_, Some(window)) => ctx.dim(window, 0),
        (Some(length), None) => {
            // The file's shape tells a length; a run with another one stops.
            let stated = ctx.stated_dim(0, 2).map(|n| if onesided { (n - 1) * 2 } else { n });
            let stated = stated
                .filter(|n| n.as_const().is_some())
                .ok_or_else(|| unsupported("frame_length must be known at compile time; make it a constant"))?;
            let length = ctx.convert(length, DType::I64)?;
            ctx.bind_dim(length, Some(stated), None)?
        }
        (None, None) => ctx.dim(signal, 1),
    };
    let fixed =
        length.as_const().ok_or_else(|| unsupported("the frames must have a fixed length; fix it with --dim"))?;
    let transform = Transform::new(fixed, onesided, false)?;
    let frames = match ctx.constant_scalar(step) {
        Some(step) if step >= 1.0 => (ctx.dim(signal, 1) - &length).floor_div(&Dim::from(step as i64)) + 1,
        Some(step) => return Err(invalid(format!("frame_step is {step}, it must be positive"))),
        None => {
            let help = || unsupported("frame_step must be known at compile time; make it a constant");
            let stated = ctx.stated_dim(0, 1).ok_or_else(help)?;
            // Claimed by the file: the run computes it too.
            let room = ctx.dim_scalar(ctx.dim(signal, 1) - &length)?;
            let by = ctx.reshape(step, &[])?;
            let by = ctx.convert(by, DType::I64)?;
            let more = ctx.div(room, by)?;
            let frames = ctx.binary_scalar(BinaryOp::Add, more, 1.0)?;
            ctx.bind_dim(frames, Some(stated), None)?
        }
    };
    let step = ctx.reshape(step, &[])?;
    let step = ctx.convert(step, DType::I64)?;
    let first = ctx.iota(DType::I64, &[frames, Dim::ONE], 0)?;
    let first = ctx.mul(first, step)?;
    let inner = ctx.iota(DType::I64, &[Dim::ONE, length], 1)?;
    let index = ctx.add(first, inner)?;
    let pieces = ctx.one(Op::Gather { axis: 1, batch: 0 }, &[signal, index])?;
    Ok(vec![transform.apply(ctx, pieces, 2, window)?])
}

#[cfg(test)]
mod tests {
    use crate::testing::sketch;

    #[test]
    fn round_trips() {
        for (length, onesided) in [(4, 0), (5, 0), (4, 1), (5, 1), (1, 1)] {
            let x: Vec<f32> = (0..length).map(|v| (v * v % 7) as f32).collect();
            let sketch = sketch().given("x", &[length as usize, 1], &x).ints("n", &[], &[length]);
            let sketch = sketch.node("DFT", "x n -> f").int("onesided", onesided);
            let sketch = sketch.node("DFT", "f n -> b").int("inverse", 1).int("onesided", onesided);
            let found = sketch.ints("s", &[1], &[0]).ints("e", &[1], &[1]).ints("a", &[1], &[-1]);
            let found = found.node("Slice", "b s e a -> y").output("y").run();
            let numbers: Vec<f32> = found.split(' ').skip(2).map(|v| v.parse().unwrap()).collect();
            assert!(x.iter().zip(&numbers).all(|(a, b)| (a - b).abs() < 1e-3), "{length}: {found}");
        }
    }

    #[test]
    fn lengths() {
        let dft =
            |n: i64| sketch().given("x", &[3, 1], &[1.0f32, 2.0, 3.0]).ints("n", &[], &[n]).node("DFT", "x n -> y");
        // Longer: zeros are added. Shorter: the rest is left out.
        assert_eq!(dft(4).output("y").run(), "f32[4, 2] 6 0 -2 -2 2 0 -2 2");
        assert_eq!(dft(2).output("y").run(), "f32[2, 2] 3 0 -1 0");
        assert!(dft(0).output("y").run().contains("not positive"));
        assert!(dft(1 << 40).output("y").run().contains("too long"));
    }

    /// There and back.
    #[test]
    fn real_signals() {
        let x = sketch().given("x", &[1, 4], &[1.0f32, 2.0, 0.0, -1.0]);
        let there = x.node("Rfft", "x -> y").domain("com.microsoft").int("signal_ndim", 1);
        assert_eq!(there.clone().output("y").run(), "f32[1, 3, 2] 2 0 1 -3 0 0");
        let back = there.node("Irfft", "y -> z").domain("com.microsoft").int("signal_ndim", 1).output("z");
        assert_eq!(back.run(), "f32[1, 4] 1 2 0 -1");
    }
}

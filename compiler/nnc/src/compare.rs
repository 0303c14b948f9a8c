//! Whether an output is the expected one.
//!
//! [`compare()`] judges test cases, which bring their tolerances: `numpy.testing.assert_allclose` for floats, equality for
//! all else. A float passes when `|got - want| <= atol + rtol * |want|`; NaN equals NaN, an infinity only itself. Of 16-bit
//! types `rtol` is two roundings at least, as the onnx package's own runner has it for bfloat16: what is expected was often
//! rounded after every operation.
//! [`deviation()`] judges whole models by the scale of each output, for rounding in the middle of a model leaves errors of
//! the size of its greatest values in all.

use half::{bf16, f16};
use nnc_ir::Tensor;
use nnc_runtime::{DType, TensorRef};

use crate::packed;

/// How far a float may be off.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    /// Relative to the expected value.
    pub rtol: f64,
    /// Absolute.
    pub atol: f64,
}

impl Default for Tolerance {
    fn default() -> Tolerance {
        Tolerance { rtol: 1e-3, atol: 1e-7 }
    }
}

impl Tolerance {
    /// Reads `rtol atol`.
    pub fn parse(text: &str) -> Option<Tolerance> {
        let mut numbers = text.split_whitespace().map(|word| word.parse::<f64>().ok());
        let tolerance = Tolerance { rtol: numbers.next()??, atol: numbers.next()?? };
        let valid = |x: f64| x >= 0.0 && x.is_finite();
        (numbers.next().is_none() && valid(tolerance.rtol) && valid(tolerance.atol)).then_some(tolerance)
    }

    fn accepts(self, got: f64, want: f64) -> bool {
        if got.is_nan() || want.is_nan() {
            return got.is_nan() && want.is_nan();
        }
        let finite = got.is_finite() && want.is_finite();
        got == want || (finite && (got - want).abs() <= self.atol + self.rtol * want.abs())
    }
}

/// Compares an output with the expected one; says in a few words how they differ.
///
/// # Errors
/// When type, shape or an element differs.
pub fn compare(got: TensorRef<'_>, want: TensorRef<'_>, tolerance: Tolerance) -> Result<(), String> {
    if got.dtype != want.dtype {
        return Err(format!("type {}, expected {}", got.dtype, want.dtype));
    }
    if got.dims != want.dims {
        return Err(format!("shape {:?}, expected {:?}", got.dims, want.dims));
    }
    if got.data.len() != want.data.len() {
        return Err(format!("{} bytes, expected {}", got.data.len(), want.data.len()));
    }
    // Of strings, an offset.
    let size = if got.dtype == DType::String { 8 } else { (got.dtype.bits() as usize / 8).max(1) };
    let elements = got.dims.iter().product::<i64>().max(0) as usize;
    let [got_data, want_data] = [got.data, want.data].map(|data| packed::unpack(got.dtype, data, elements));
    let float = float_reader(got.dtype);
    let tolerance = Tolerance { rtol: tolerance.rtol.max(two_roundings(got.dtype)), ..tolerance };
    let (mut wrong, mut count, mut first) = (0usize, 0usize, None);
    for (i, (g, w)) in got_data.chunks_exact(size).zip(want_data.chunks_exact(size)).enumerate() {
        count += 1;
        if g == w || float.is_some_and(|read| tolerance.accepts(read(g), read(w))) {
            continue;
        }
        wrong += 1;
        first.get_or_insert_with(|| (i, element(got.dtype, g), element(want.dtype, w)));
    }
    match first {
        None => Ok(()),
        Some((i, g, w)) => Err(format!("{wrong} of {count} elements differ, the first at {i}: {g}, expected {w}")),
    }
}

/// Reads a tolerance that is a part of a scale.
///
/// # Errors
/// When it is none, in a few words.
pub fn part(text: &str) -> Result<f64, String> {
    let part = text.parse().ok().filter(|part: &f64| *part >= 0.0 && part.is_finite());
    part.ok_or_else(|| "not a number from 0 on".to_owned())
}

/// How far a tensor is from the expected one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Deviation {
    /// The largest difference, as a part of the greatest magnitude expected; infinite where there is none that compares.
    pub largest: f64,
    /// How many elements are further off than they may be.
    pub wrong: usize,
    /// The first of those: where, what it is, what it should be.
    pub first: Option<(usize, f64, f64)>,
}

/// Compares a tensor with the expected one by the scale of that: an element may be off by the part `tolerance` of the
/// greatest finite magnitude. NaN equals NaN, an infinity only itself.
///
/// # Errors
/// When type or shape differs, in a few words.
pub fn deviation(found: &Tensor, expected: &Tensor, tolerance: f64) -> Result<Deviation, String> {
    if found.dtype != expected.dtype || found.shape != expected.shape {
        let (dtype, shape) = (expected.dtype, &expected.shape);
        return Err(format!("{} {:?}, expected {dtype} {shape:?}", found.dtype, found.shape));
    }
    let (found, expected) = (found.to_f64s(), expected.to_f64s());
    let scale = expected.iter().filter(|x| x.is_finite()).fold(0.0, |most: f64, x| most.max(x.abs()));
    let mut deviation = Deviation { largest: 0.0, wrong: 0, first: None };
    for (i, (&is, &should)) in found.iter().zip(&expected).enumerate() {
        if is == should || (is.is_nan() && should.is_nan()) {
            continue;
        }
        // What does not compare is as far off as can be.
        let difference = if is.is_finite() && should.is_finite() { (is - should).abs() } else { f64::INFINITY };
        deviation.largest = deviation.largest.max(difference / scale);
        if difference > tolerance * scale {
            deviation.wrong += 1;
            deviation.first = deviation.first.or(Some((i, is, should)));
        }
    }
    Ok(deviation)
}

/// How far apart a number of a 16-bit type and the next but one are, at most, relative to it.
fn two_roundings(dtype: DType) -> f64 {
    match dtype {
        DType::F16 => 2f64.powi(-9),
        DType::BF16 => 2f64.powi(-6),
        _ => 0.0,
    }
}

fn float_reader(dtype: DType) -> Option<fn(&[u8]) -> f64> {
    Some(match dtype {
        DType::F16 => |b| f16::from_le_bytes(array(b)).to_f64(),
        DType::BF16 => |b| bf16::from_le_bytes(array(b)).to_f64(),
        DType::F32 => |b| f64::from(f32::from_le_bytes(array(b))),
        DType::F64 => |b| f64::from_le_bytes(array(b)),
        _ => return None,
    })
}

/// An element as text.
fn element(dtype: DType, bytes: &[u8]) -> String {
    if let Some(read) = float_reader(dtype) {
        // The debug form writes the very small and large with an exponent.
        return format!("{:?}", read(bytes));
    }
    match dtype {
        DType::I8 | DType::I4 | DType::I2 => i8::from_le_bytes(array(bytes)).to_string(),
        DType::I16 => i16::from_le_bytes(array(bytes)).to_string(),
        DType::I32 => i32::from_le_bytes(array(bytes)).to_string(),
        DType::F8E4M3FN | DType::F8E4M3FNUZ | DType::F8E5M2 | DType::F8E5M2FNUZ | DType::F8E8M0 | DType::F4E2M1 => {
            format!("code {:#04x}", u8::from_le_bytes(array(bytes)))
        }
        DType::I64 | DType::String => i64::from_le_bytes(array(bytes)).to_string(),
        _ => bytes.iter().rev().fold(0u128, |n, &b| n << 8 | u128::from(b)).to_string(),
    }
}

/// The bytes as an array; those beyond a shorter slice are 0, so that no size can be wrong.
fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    array.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    array
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floats(got: &[f32], want: &[f32]) -> Result<(), String> {
        let dims = [got.len() as i64];
        let want_dims = [want.len() as i64];
        compare(TensorRef::new(&dims, got), TensorRef::new(&want_dims, want), Tolerance::default())
    }

    #[test]
    fn floats_within_tolerance() {
        let (inf, nan) = (f32::INFINITY, f32::NAN);
        assert!(floats(&[1.0, inf, nan, 0.0], &[1.0009, inf, -nan, -0.0]).is_ok());
        for (got, want) in [(1.0, 1.002), (inf, -inf), (inf, 1.0), (1.0, inf), (nan, 1.0), (1.0, nan), (0.0, 1e-6)] {
            assert!(floats(&[got], &[want]).is_err(), "{got} {want}");
        }
        let text = floats(&[1.0, 2.0, 3.0], &[1.0, 2.5, 4.0]).unwrap_err();
        assert_eq!(text, "2 of 3 elements differ, the first at 1: 2.0, expected 2.5");
    }

    #[test]
    fn sixteen_bits_are_within_two_roundings() {
        let compare_bits = |dtype, got: u16, want: u16| {
            let (got, want) = (got.to_le_bytes(), want.to_le_bytes());
            let view = |bytes| TensorRef::from_bytes(dtype, &[1], bytes);
            compare(view(&got), view(&want), Tolerance { rtol: 0.0, atol: 0.0 }).is_ok()
        };
        for (dtype, one, ulps) in [(DType::F16, 0x3c00, 0x400), (DType::BF16, 0x3f80, 0x80)] {
            // Anywhere between two powers of two.
            for bits in [one, one + ulps / 4, one + ulps - 2] {
                assert!(compare_bits(dtype, bits + 2, bits), "{dtype} {bits:#x}");
            }
            assert!(!compare_bits(dtype, one + 3, one), "{dtype}");
        }
    }

    #[test]
    fn all_else_is_exact() {
        let (one, two) = (TensorRef::new(&[1], &[-1i8]), TensorRef::new(&[1], &[2i8]));
        let text = compare(one, two, Tolerance { rtol: 9.0, atol: 9.0 }).unwrap_err();
        assert_eq!(text, "1 of 1 elements differ, the first at 0: -1, expected 2");
        let narrow = |byte: &'static [u8]| TensorRef::from_bytes(DType::I4, &[2], byte);
        let text = compare(narrow(&[0x17]), narrow(&[0xf7]), Tolerance::default()).unwrap_err();
        assert_eq!(text, "1 of 2 elements differ, the first at 1: 1, expected -1");
        assert!(compare(two, two, Tolerance::default()).is_ok());
        assert!(compare(two, TensorRef::new(&[], &[2i8]), Tolerance::default()).is_err());
        assert!(compare(two, TensorRef::new(&[1], &[2u8]), Tolerance::default()).is_err());
    }

    #[test]
    fn deviations_are_parts_of_the_scale() {
        let of = |found: &[f32], expected: &[f32]| {
            let tensor = |values: &[f32]| Tensor::from_slice(&[values.len()], values);
            deviation(&tensor(found), &tensor(expected), 0.01)
        };
        let (inf, nan) = (f32::INFINITY, f32::NAN);
        let d = of(&[8.0, 1.0, inf, nan], &[8.0, 1.0625, inf, nan]).unwrap();
        assert_eq!((d.largest, d.wrong, d.first), (0.0625 / 8.0, 0, None));
        let d = of(&[8.0, 1.0, 0.0], &[8.0, 0.0, -1.0]).unwrap();
        assert_eq!((d.largest, d.wrong, d.first), (0.125, 2, Some((1, 1.0, 0.0))));
        for (found, expected) in [(nan, 1.0), (1.0, nan), (inf, 1.0), (inf, -inf), (1.0, 0.0)] {
            let d = of(&[found], &[expected]).unwrap();
            assert_eq!((d.largest, d.wrong), (f64::INFINITY, 1), "{found} {expected}");
        }
        assert!(of(&[1.0], &[1.0, 1.0]).is_err());
        assert!(of(&[0.0], &[0.0]).is_ok_and(|d| d.largest == 0.0 && d.wrong == 0));
    }

    #[test]
    fn reads_tolerances() {
        assert_eq!(Tolerance::parse("1e-3 1e-07\n"), Some(Tolerance { rtol: 1e-3, atol: 1e-7 }));
        for text in ["", "1", "1 2 3", "x 1", "-1 1", "nan 1"] {
            assert_eq!(Tolerance::parse(text), None, "{text}");
        }
    }
}

//! Rounding to narrow floats, against every value of the type; sizes that must be refused.

use super::*;
use crate::values::{allocatable, count, from_floats};
use half::{bf16, f16};

/// For each pair of neighbours: a value below the middle, the middle, and one above it.
fn around_middle(low: f64, high: f64) -> [f64; 3] {
    let middle = (low + high) / 2.0;
    let nudge = (high - low) * 1e-6;
    [middle - nudge, middle, middle + nudge]
}

#[test]
fn floats_round_to_nearest_even() {
    for bits in 0..0x7bffu16 {
        let (low, high) = (f16::from_bits(bits), f16::from_bits(bits + 1));
        let even = if bits & 1 == 0 { low } else { high };
        let rounded = from_floats(DType::F16, vec![3], around_middle(low.to_f64(), high.to_f64()).to_vec());
        check(&rounded, &[3], &[low, even, high]);
    }
    for bits in 0..0x7f7fu16 {
        let (low, high) = (bf16::from_bits(bits), bf16::from_bits(bits + 1));
        let even = if bits & 1 == 0 { low } else { high };
        let values = around_middle(low.to_f64(), high.to_f64()).map(|v| -v);
        check(&from_floats(DType::BF16, vec![3], values.to_vec()), &[3], &[-low, -even, -high]);
    }
    let edges = vec![1e300, -1e-300, f64::NAN, f64::NEG_INFINITY];
    let rounded = from_floats(DType::F16, vec![4], edges).to_f64s();
    assert!(rounded[0] == f64::INFINITY && rounded[1] == 0.0 && rounded[2].is_nan() && rounded[3] == -f64::INFINITY);
}

#[test]
fn sizes_are_limited() {
    assert_eq!(count(&[]), Ok(1));
    assert_eq!(count(&[3, 0]), Ok(0));
    assert!(count(&[0, usize::MAX, usize::MAX]).is_err());
    assert!(allocatable(DType::F32, &[1 << 29]).is_ok());
    assert!(allocatable(DType::F32, &[(1 << 29) + 1]).is_err());
    let huge = Op::Iota { dtype: DType::I8, shape: dims(&[1 << 32]), axis: 0 };
    assert_eq!(error(&huge, &[]), "iota: a tensor of shape [4294967296] is too large");
    let broken = Tensor { shape: vec![3], ..row(&[1.0f32]) };
    assert_eq!(error(&Op::Convert(DType::I8), &[&broken]), "convert: broken operand");
}

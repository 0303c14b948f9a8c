//! `random` and `iota`: tensors made from nothing.
//!
//! Random numbers come from Philox 4x32-10. For the element with row-major index `i` the key is the seed (low word,
//! high word) and the counter block is (low word of `i / 4`, high word of `i / 4`, low word of the counter operand,
//! high word of the counter operand); of the four words that come out, word `i % 4` belongs to the element.
//!
//! - uniform: `u = (word >> 8) * 2^-24`, the result is `low + (high - low) * u`;
//! - normal: the words of a pair (0 and 1, or 2 and 3) give `radius = sqrt(-2 ln(((first >> 8) + 1) * 2^-24))` and
//!   `angle = 2 pi * (second >> 8) * 2^-24`; the element of the first word is `mean + std * radius * cos(angle)`,
//!   that of the second `mean + std * radius * sin(angle)`.
//!
//! Results are computed in `f64` and rounded once to the type, which may round up to `high`.
//!
//! Source: J. Salmon, M. Moraes, R. Dror and D. Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011,
//! <https://doi.org/10.1145/2063384.2063405>; G. Box and M. Muller, "A note on the generation of random normal
//! deviates", 1958.

use crate::env::Env;
use crate::error::{Eval, unfit};
use crate::reduce::Lanes;
use crate::values::{allocatable, from_floats, from_ints, scalar_int};
use nnc_ir::op::Distribution;
use nnc_ir::{DType, Dim, Tensor};

/// Ten rounds over one counter block.
pub(super) fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    let multiply = |a: u32, b: u32| {
        let product = u64::from(a) * u64::from(b);
        ((product >> 32) as u32, product as u32)
    };
    for _ in 0..10 {
        let (high0, low0) = multiply(0xD251_1F53, counter[0]);
        let (high1, low1) = multiply(0xCD9E_8D57, counter[2]);
        counter = [high1 ^ counter[1] ^ key[0], low1, high0 ^ counter[3] ^ key[1], low0];
        key = [key[0].wrapping_add(0x9E37_79B9), key[1].wrapping_add(0xBB67_AE85)];
    }
    counter
}

pub(super) fn random(
    counter: &Tensor,
    distribution: Distribution,
    dtype: DType,
    shape: &[Dim],
    seed: u64,
    env: &Env,
) -> Eval<Tensor> {
    if !dtype.is_float() {
        return Err(unfit(format!("random numbers of type {dtype}")));
    }
    let shape = env.shape(shape)?;
    let total = allocatable(dtype, &shape)?;
    let counter = scalar_int(counter)? as u64;
    let unit = |word: u32| f64::from(word >> 8) / f64::from(1 << 24);
    let mut values = Vec::with_capacity(total);
    for block in 0..total.div_ceil(4) as u64 {
        let words = [block as u32, (block >> 32) as u32, counter as u32, (counter >> 32) as u32];
        let words = philox(words, [seed as u32, (seed >> 32) as u32]);
        match distribution {
            Distribution::Uniform { low, high } => values.extend(words.map(|w| low + (high - low) * unit(w))),
            Distribution::Normal { mean, std } => {
                for pair in [[words[0], words[1]], [words[2], words[3]]] {
                    let radius = (-2.0 * libm::log(unit(pair[0]) + 1.0 / f64::from(1 << 24))).sqrt();
                    let (sin, cos) = libm::sincos(std::f64::consts::TAU * unit(pair[1]));
                    values.extend([mean + std * radius * cos, mean + std * radius * sin]);
                }
            }
        }
    }
    values.truncate(total);
    Ok(from_floats(dtype, shape, values))
}

pub(super) fn iota(dtype: DType, shape: &[Dim], axis: usize, env: &Env) -> Eval<Tensor> {
    let shape = env.shape(shape)?;
    let total = allocatable(dtype, &shape)?;
    let lanes = Lanes::new(&shape, axis)?;
    if dtype == DType::Bool {
        return Err(unfit("iota of bool"));
    }
    Ok(from_ints(dtype, shape, (0..total).map(|i| (i / lanes.inner % lanes.size) as i64).collect()))
}

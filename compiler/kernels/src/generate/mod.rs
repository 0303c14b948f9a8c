//! Random valid kernels with buffers that fit them, for differential tests of backends against [`crate::interpret`].
//!
//! Invariants:
//! - the same seed gives the same case; every kernel passes [`crate::verify`] and runs without fault;
//! - results are well-conditioned: where a backend may round differently (sums, transcendental functions), nothing
//!   discontinuous follows and values stay small, so that [`compare`] can tell mistakes from rounding;
//! - the sign of a zero never decides a result, nor does the payload of a NaN.

mod contraction;
mod expr;
mod map;
mod reduce;

use crate::kernel::{Access, BufferRef, Kernel};
use nnc_ir::{DType, Tensor};

/// A kernel and what to run it on.
#[derive(Clone, Debug)]
pub struct Case {
    /// The kernel.
    pub kernel: Kernel,
    /// Bytes of each parameter buffer; those written to hold a pattern first.
    pub buffers: Vec<Vec<u8>>,
    /// Integer parameters.
    pub params: Vec<i64>,
    /// Extent of the parallel loop.
    pub extent: i64,
}

/// The case of this seed.
pub fn kernel(seed: u64) -> Case {
    let mut builder = Builder::new(seed);
    match builder.rng.below(8) {
        0..=3 => map::map(&mut builder),
        4 | 5 => reduce::rows(&mut builder),
        6 => reduce::pool(&mut builder),
        _ => contraction::contraction(&mut builder),
    }
    builder.finish(seed)
}

/// Whether a backend's buffers agree with the interpreter's.
///
/// # Errors
/// The first element that differs by more than rounding explains.
pub fn compare(kernel: &Kernel, expected: &[Vec<u8>], actual: &[Vec<u8>]) -> Result<(), String> {
    for ((decl, expected), actual) in kernel.buffers.iter().zip(expected).zip(actual) {
        if expected.len() != actual.len() {
            return Err(format!("`{}` has {} bytes instead of {}", decl.name, actual.len(), expected.len()));
        }
        let size = decl.dtype.size();
        let tolerance = match decl.dtype {
            DType::F16 => 4e-3,
            DType::BF16 => 2e-2,
            _ => 1e-3,
        };
        for (i, (x, y)) in expected.chunks_exact(size).zip(actual.chunks_exact(size)).enumerate() {
            if x == y {
                continue;
            }
            let (a, b) = (value(decl.dtype, x), value(decl.dtype, y));
            let close = match (a, b) {
                (Some(a), Some(b)) => {
                    (a.is_nan() && b.is_nan()) || a == b || (a - b).abs() <= tolerance * a.abs().max(1.0)
                }
                _ => false,
            };
            if !close {
                return Err(format!("`{}` element {i}: {b:?} ({y:x?}) instead of {a:?} ({x:x?})", decl.name));
            }
        }
    }
    Ok(())
}

/// A floating-point element.
fn value(dtype: DType, bytes: &[u8]) -> Option<f64> {
    let tensor = Tensor::new(dtype, vec![], nnc_ir::Data::new(bytes.to_vec()))?;
    dtype.is_float().then(|| tensor.get_f64(0))
}

/// SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014).
pub(crate) struct Rng(u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }

    pub fn between(&mut self, low: i64, high: i64) -> i64 {
        low + self.below((high - low + 1) as u64) as i64
    }

    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len() as u64) as usize]
    }
}

/// What a buffer is filled with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fill {
    /// Floats: multiples of 1/8 within 2; integers: any bits.
    Tame,
    /// Floats: also infinities, NaN, huge and tiny numbers.
    Wild,
    /// Integers below this number, for gathers.
    Below(i64),
    /// A pattern that outputs overwrite.
    Output,
}

/// A case being built.
pub(crate) struct Builder {
    pub rng: Rng,
    pub kernel: Kernel,
    pub buffers: Vec<Vec<u8>>,
    /// What each buffer was filled with.
    pub fills: Vec<Fill>,
    pub params: Vec<i64>,
    pub extent: i64,
}

impl Builder {
    fn new(seed: u64) -> Builder {
        let mut rng = Rng(seed.wrapping_mul(0x2545_f491_4f6c_dd1d));
        rng.next();
        let kernel = Kernel::new("generated");
        Builder { rng, kernel, buffers: vec![], fills: vec![], params: vec![], extent: 1 }
    }

    /// Declares a parameter buffer and fills it.
    pub fn buffer(&mut self, dtype: DType, elements: i64, fill: Fill) -> BufferRef {
        let access = if fill == Fill::Output { Access::Write } else { Access::Read };
        let prefix = if fill == Fill::Output { "y" } else { "x" };
        let buffer = self.kernel.add_buffer(prefix, dtype, access);
        let mut bytes = vec![];
        for _ in 0..elements {
            let bits = self.element(dtype, fill);
            bytes.extend_from_slice(&bits.to_le_bytes()[..dtype.size()]);
        }
        self.buffers.push(bytes);
        self.fills.push(fill);
        buffer
    }

    fn element(&mut self, dtype: DType, fill: Fill) -> u64 {
        let scalar = |value: f64| crate::Scalar::new(dtype, value).bits;
        match fill {
            Fill::Output => 0xa5a5_a5a5_a5a5_a5a5 & if dtype == DType::Bool { 1 } else { u64::MAX },
            Fill::Below(n) => self.rng.below(n as u64),
            _ if dtype == DType::Bool => self.rng.below(2),
            Fill::Wild if dtype.is_float() && self.rng.chance(25) => {
                let special = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e20, -1e20, 3e9, -0.5, 2.5, 1e-30, 65504.0];
                scalar(self.rng.pick(&special))
            }
            // Never zero: the sign of a zero must not matter.
            _ if dtype.is_float() => {
                let eighths = self.rng.between(1, 16) as f64;
                scalar(if self.rng.chance(50) { eighths / 8.0 } else { -eighths / 8.0 })
            }
            _ if self.rng.chance(60) => scalar(self.rng.between(-20, 20) as f64),
            _ => self.rng.next(),
        }
    }

    fn finish(self, seed: u64) -> Case {
        let mut kernel = self.kernel;
        kernel.name = format!("generated_{seed}");
        Case { kernel, buffers: self.buffers, params: self.params, extent: self.extent }
    }
}

#[cfg(test)]
mod tests {
    use crate::{interpret, parse, print, verify};

    #[test]
    fn cases_are_valid_and_run() {
        let mut idle = 0;
        for seed in 0..600 {
            let case = super::kernel(seed);
            let text = print::kernel(&case.kernel);
            if let Err(e) = verify::kernel(&case.kernel) {
                panic!("seed {seed}: {e}\n{text}");
            }
            let again = parse::kernel(&text).unwrap_or_else(|e| panic!("seed {seed}: {e}\n{text}"));
            let run = |kernel| {
                let mut buffers = case.buffers.clone();
                let status = interpret::run_kernel(kernel, &mut buffers, &case.params, 0, case.extent);
                assert_eq!(status, Ok(0), "seed {seed}\n{text}");
                buffers
            };
            let again_text = print::kernel(&again);
            assert_eq!(again_text, text);
            let (first, second) = (run(&case.kernel), run(&again));
            assert!(first == second, "seed {seed}\n{text}");
            super::compare(&case.kernel, &first, &second).unwrap();
            idle += u32::from(first == case.buffers);
        }
        assert!(idle < 30, "{idle} kernels change nothing");
    }

    #[test]
    fn ranges_of_a_parallel_loop_are_independent() {
        for seed in 0..200 {
            let case = super::kernel(seed);
            let (mut whole, mut parts) = (case.buffers.clone(), case.buffers.clone());
            interpret::run_kernel(&case.kernel, &mut whole, &case.params, 0, case.extent).unwrap();
            for p in (0..case.extent).rev() {
                interpret::run_kernel(&case.kernel, &mut parts, &case.params, p, p + 1).unwrap();
            }
            assert!(whole == parts, "seed {seed}");
        }
    }
}

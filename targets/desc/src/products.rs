//! The product table: every multiply-accumulate instruction family that code generators use, one row each.
//!
//! A row says which elements it multiplies, in which type it sums, how many of them an instruction takes, what a
//! processor needs for it, how quickly it goes, and which register tiles fit. Whoever lowers a contraction takes the
//! widest row that the target has; a new instruction is a row here and its mnemonic in a code generator.
//!
//! Invariants: rows of one accumulator and one architecture stand from wide to narrow, and the last of them needs no
//! feature beyond the architecture's own, so that every product has a row on every target.
//!
//! Source: instructions per cycle from the measurements of uops.info (Zen 4, Ice Lake, Golden Cove) and, for
//! Neoverse N1, from Arm's software optimisation guide.

use crate::features::{Arch, Feature};
use crate::table::Target;
use nnc_ir::DType;

/// A row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Product {
    /// Type of the sums, what is done, and in how many bits.
    pub name: &'static str,
    /// Types of the operands, left and right; narrower ones are converted as they are loaded.
    pub operands: &'static [(DType, DType)],
    /// Type of the sums.
    pub accumulator: DType,
    /// Architecture.
    pub arch: Arch,
    /// What a processor must have besides.
    pub features: &'static [Feature],
    /// Bytes of a vector.
    pub vector_bytes: usize,
    /// Multiply-accumulates of whole vectors begun in ten cycles.
    pub per_ten_cycles: u32,
    /// Register tiles as rows and vectors a row: what fits the register file, the best reuse first.
    pub tiles: &'static [(usize, usize)],
}

/// Weights may be narrower than what they are multiplied by.
const F32: &[(DType, DType)] = &[
    (DType::F32, DType::F32),
    (DType::F16, DType::F16),
    (DType::BF16, DType::BF16),
    (DType::F32, DType::F16),
    (DType::F32, DType::BF16),
    (DType::F32, DType::I8),
    (DType::F32, DType::U8),
];
const F64: &[(DType, DType)] = &[(DType::F64, DType::F64)];
/// Two's complement sums wrap alike whether operands of their own size are signed or not.
const I32: &[(DType, DType)] = &[
    (DType::U8, DType::U8),
    (DType::U8, DType::I8),
    (DType::I8, DType::U8),
    (DType::I8, DType::I8),
    (DType::I32, DType::I32),
    (DType::U32, DType::U32),
];
const I64: &[(DType, DType)] = &[(DType::I64, DType::I64), (DType::U64, DType::U64)];

const AVX512: &[Feature] = &[Feature::Avx512f, Feature::Avx512bw, Feature::Avx512dq, Feature::Avx512vl];
const AVX2: &[Feature] = &[Feature::Avx2, Feature::Fma];

/// With 32, 16 and 16 registers of which one row of the right operand and a broadcast take some.
const TILES_512: &[(usize, usize)] = &[(14, 2), (9, 3), (7, 4), (28, 1)];
const TILES_256: &[(usize, usize)] = &[(6, 2), (4, 3), (12, 1)];
const TILES_128: &[(usize, usize)] = &[(4, 2), (8, 1)];

/// One row, in the order of the columns below.
macro_rules! products {
    ($($name:literal $operands:ident $accumulator:ident $arch:ident $features:expr, $bytes:literal $rate:literal $tiles:ident;)*) => {
        /// The table.
        pub const PRODUCTS: &[Product] = &[$(Product {
            name: $name,
            operands: $operands,
            accumulator: DType::$accumulator,
            arch: Arch::$arch,
            features: $features,
            vector_bytes: $bytes,
            per_ten_cycles: $rate,
            tiles: $tiles,
        },)*];
    };
}

products! {
    // name          operands sums arch    needs   bytes per ten cycles, tiles
    "f32_fma_512"     F32     F32  X86_64  AVX512, 64  20 TILES_512;
    "f32_fma_256"     F32     F32  X86_64  AVX2,   32  20 TILES_256;
    // A multiplication and an addition share two ports.
    "f32_mul_add_128" F32     F32  X86_64  &[],    16  10 TILES_128;
    "f64_mul_add_128" F64     F64  X86_64  &[],    16  10 TILES_128;
    // Without SSE4.1 four products take two multiplications and shuffles.
    "i32_mul_add_128" I32     I32  X86_64  &[],    16   5 TILES_128;
    // Element by element.
    "i64_mul_add_128" I64     I64  X86_64  &[],    16   5 TILES_128;
    "f32_fmla_128"    F32     F32  Aarch64 &[],    16  20 TILES_128;
    "f64_fmla_128"    F64     F64  Aarch64 &[],    16  20 TILES_128;
    "i32_mla_128"     I32     I32  Aarch64 &[],    16  10 TILES_128;
    "i64_madd_128"    I64     I64  Aarch64 &[],    16   5 TILES_128;
}

impl Product {
    /// Elements of the accumulator in a vector.
    pub fn lanes(&self) -> usize {
        self.vector_bytes / self.accumulator.size()
    }

    /// Whether kernels of it fetch into cache ahead: the generator of wide vectors can, Cranelift has no instruction for it.
    pub fn fetches(&self) -> bool {
        self.vector_bytes > 16
    }

    /// Whether it multiplies elements of these types.
    pub fn takes(&self, left: DType, right: DType) -> bool {
        self.operands.contains(&(left, right))
    }
}

/// Whether products of these element types may be summed in this type at all.
pub fn sums(left: DType, right: DType, accumulator: DType) -> bool {
    PRODUCTS.iter().any(|p| p.accumulator == accumulator && p.takes(left, right))
}

impl Target {
    /// The widest row for these types; `None` when nothing sums such products.
    pub fn product(&self, left: DType, right: DType, accumulator: DType) -> Option<&'static Product> {
        PRODUCTS.iter().find(|p| {
            p.arch == self.arch
                && p.accumulator == accumulator
                && p.takes(left, right)
                && p.features.iter().all(|&f| self.features.has(f))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_product_has_a_row_on_every_target() {
        for name in ["x86_64", "x86_64-avx2", "x86_64-avx512", "x86_64-avx2,-fma", "aarch64"] {
            let target = Target::parse(name).unwrap();
            for row in PRODUCTS {
                for &(left, right) in row.operands {
                    let found = target.product(left, right, row.accumulator).unwrap();
                    assert!(found.vector_bytes <= target.vector_bytes().max(16), "{name}: {}", found.name);
                }
            }
        }
    }

    #[test]
    fn the_widest_comes_first() {
        let name =
            |target: &str| Target::parse(target).unwrap().product(DType::F32, DType::F32, DType::F32).unwrap().name;
        assert_eq!(name("x86_64-avx512"), "f32_fma_512");
        assert_eq!(name("x86_64-avx512,-avx512dq"), "f32_fma_256");
        assert_eq!(name("x86_64-avx2,-fma"), "f32_mul_add_128");
        assert_eq!(name("aarch64"), "f32_fmla_128");
    }

    #[test]
    fn names_are_unique_and_tell_the_row() {
        for (at, row) in PRODUCTS.iter().enumerate() {
            assert!(PRODUCTS[..at].iter().all(|other| other.name != row.name), "{}", row.name);
            let bits = (8 * row.vector_bytes).to_string();
            assert!(row.name.starts_with(row.accumulator.name()) && row.name.ends_with(&bits), "{}", row.name);
        }
    }

    /// Accumulators and a row of the right operand fit the registers; the left operand is broadcast from memory.
    #[test]
    fn tiles_fit() {
        for row in PRODUCTS {
            let registers = if row.vector_bytes == 64 || row.arch == Arch::Aarch64 { 32 } else { 16 };
            for (rows, vectors) in row.tiles {
                assert!(rows * vectors + vectors <= registers, "{}", row.name);
            }
        }
    }
}

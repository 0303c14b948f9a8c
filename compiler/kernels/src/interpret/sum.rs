//! Accumulator types of the micro-kernel and how operands are read into them.

use super::machine::read;
use nnc_ir::DType;

/// A type that products are summed in.
pub(super) trait Sum: Copy + Default {
    fn plus_product(self, x: Self, y: Self) -> Self;
    fn from_byte(byte: u8) -> Self;
    fn less(self, x: Self) -> Self;
    fn times(self, x: Self) -> Self;
    /// Of a byte its lower or upper half.
    fn nibble(self, upper: bool) -> Self;
    /// Bits, zero-extended.
    fn to_bits64(self) -> u64;
    /// Appends elements of `dtype` (one that `nnc_desc::products::sums` pairs with this accumulator), converted.
    fn read(dtype: DType, bytes: &[u8], out: &mut Vec<Self>);
}

impl Sum for f32 {
    fn plus_product(self, x: f32, y: f32) -> f32 {
        self + x * y
    }
    fn from_byte(byte: u8) -> f32 {
        f32::from(byte)
    }
    fn less(self, x: f32) -> f32 {
        self - x
    }
    fn times(self, x: f32) -> f32 {
        self * x
    }
    fn nibble(self, upper: bool) -> f32 {
        f32::from((self as u8 >> if upper { 4 } else { 0 }) & 15)
    }
    fn to_bits64(self) -> u64 {
        u64::from(self.to_bits())
    }
    fn read(dtype: DType, bytes: &[u8], out: &mut Vec<f32>) {
        let elements = bytes.chunks_exact(dtype.size()).map(read);
        match dtype {
            DType::F16 => out.extend(elements.map(|b| half::f16::from_bits(b as u16).to_f32())),
            DType::BF16 => out.extend(elements.map(|b| half::bf16::from_bits(b as u16).to_f32())),
            DType::I8 => out.extend(bytes.iter().map(|&b| f32::from(b as i8))),
            DType::U8 => out.extend(bytes.iter().map(|&b| f32::from(b))),
            _ => out.extend(bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b))),
        }
    }
}

impl Sum for f64 {
    fn plus_product(self, x: f64, y: f64) -> f64 {
        self + x * y
    }
    fn from_byte(byte: u8) -> f64 {
        f64::from(byte)
    }
    fn less(self, x: f64) -> f64 {
        self - x
    }
    fn times(self, x: f64) -> f64 {
        self * x
    }
    fn nibble(self, upper: bool) -> f64 {
        f64::from((self as u8 >> if upper { 4 } else { 0 }) & 15)
    }
    fn to_bits64(self) -> u64 {
        self.to_bits()
    }
    fn read(_: DType, bytes: &[u8], out: &mut Vec<f64>) {
        out.extend(bytes.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b)));
    }
}

impl Sum for i32 {
    fn plus_product(self, x: i32, y: i32) -> i32 {
        self.wrapping_add(x.wrapping_mul(y))
    }
    fn from_byte(byte: u8) -> i32 {
        i32::from(byte)
    }
    fn less(self, x: i32) -> i32 {
        self.wrapping_sub(x)
    }
    fn times(self, x: i32) -> i32 {
        self.wrapping_mul(x)
    }
    fn nibble(self, upper: bool) -> i32 {
        (self >> if upper { 4 } else { 0 }) & 15
    }
    fn to_bits64(self) -> u64 {
        u64::from(self as u32)
    }
    fn read(dtype: DType, bytes: &[u8], out: &mut Vec<i32>) {
        match dtype {
            DType::U8 => out.extend(bytes.iter().map(|&b| i32::from(b))),
            DType::I8 => out.extend(bytes.iter().map(|&b| i32::from(b as i8))),
            _ => out.extend(bytes.as_chunks().0.iter().map(|b| i32::from_le_bytes(*b))),
        }
    }
}

impl Sum for i64 {
    fn plus_product(self, x: i64, y: i64) -> i64 {
        self.wrapping_add(x.wrapping_mul(y))
    }
    fn from_byte(byte: u8) -> i64 {
        i64::from(byte)
    }
    fn less(self, x: i64) -> i64 {
        self.wrapping_sub(x)
    }
    fn times(self, x: i64) -> i64 {
        self.wrapping_mul(x)
    }
    fn nibble(self, upper: bool) -> i64 {
        (self >> if upper { 4 } else { 0 }) & 15
    }
    fn to_bits64(self) -> u64 {
        self as u64
    }
    fn read(_: DType, bytes: &[u8], out: &mut Vec<i64>) {
        out.extend(bytes.as_chunks().0.iter().map(|b| i64::from_le_bytes(*b)));
    }
}

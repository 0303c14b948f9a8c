//! What the elements of a value may be, so that generated models stay clear of what implementations may differ in.
//!
//! A range is exact when every element is a multiple of a power of two that its type holds: then all implementations give
//! the same bits, in whatever order they sum, and results may decide things (floor, comparisons, sorting). Otherwise an
//! element is only known to lie between bounds, and nothing discrete is made of it.

use nnc_ir::DType;

/// What the elements of a value may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    /// The least.
    pub low: f64,
    /// The greatest.
    pub high: f64,
    /// Elements are multiples of 2 to the minus this; `None` when they are rounded.
    pub bits: Option<u32>,
}

impl Range {
    /// Multiples of `2^-bits`.
    pub const fn exact(low: f64, high: f64, bits: u32) -> Range {
        Range { low, high, bits: Some(bits) }
    }

    /// Rounded numbers.
    pub const fn rounded(low: f64, high: f64) -> Range {
        Range { low, high, bits: None }
    }

    /// Every value of a type that is not a float.
    pub fn all(dtype: DType) -> Range {
        let (low, high) = limits(dtype);
        Range::exact(low, high, 0)
    }

    /// The greatest magnitude.
    pub fn magnitude(self) -> f64 {
        self.low.abs().max(self.high.abs())
    }

    /// Whether it lies within these bounds.
    pub fn within(self, low: f64, high: f64) -> bool {
        self.low >= low && self.high <= high
    }

    /// The range that a result of this type has; `None` when floats could overflow.
    pub fn fit(self, dtype: DType) -> Option<Range> {
        if !dtype.is_float() {
            let (low, high) = limits(dtype);
            return Some(if self.within(low, high) { Range { bits: Some(0), ..self } } else { Range::all(dtype) });
        }
        let (most, mantissa) = match dtype {
            DType::F16 => (3e4, 11),
            DType::BF16 => (1e9, 8),
            DType::F64 => (1e30, 53),
            _ => (1e9, 24),
        };
        let exact = self.bits.filter(|&b| self.magnitude().max(1e-9).log2().ceil() as i32 + (b as i32) < mantissa);
        (self.magnitude() <= most).then_some(Range { bits: exact, ..self })
    }

    /// The sum of two.
    pub fn plus(self, other: Range) -> Range {
        Range { low: self.low + other.low, high: self.high + other.high, bits: self.finer(other) }
    }

    /// The negative.
    pub fn negative(self) -> Range {
        Range { low: -self.high, high: -self.low, ..self }
    }

    /// The product of two.
    pub fn times(self, other: Range) -> Range {
        let ends = [self.low * other.low, self.low * other.high, self.high * other.low, self.high * other.high];
        let bits = self.bits.zip(other.bits).map(|(a, b)| a + b);
        Range {
            low: ends.iter().copied().fold(f64::MAX, f64::min),
            high: ends.iter().copied().fold(f64::MIN, f64::max),
            bits,
        }
    }

    /// The sum of `n` elements.
    pub fn sum(self, n: f64) -> Range {
        Range { low: self.low.min(0.0) * n, high: self.high.max(0.0) * n, ..self }
    }

    /// What lies in either.
    pub fn or(self, other: Range) -> Range {
        Range { low: self.low.min(other.low), high: self.high.max(other.high), bits: self.finer(other) }
    }

    /// What lies in it or is a number.
    pub fn or_number(self, number: f64) -> Range {
        self.or(Range::exact(number, number, 0))
    }

    /// The same, rounded.
    pub fn approximate(self) -> Range {
        Range { bits: None, ..self }
    }

    fn finer(self, other: Range) -> Option<u32> {
        self.bits.zip(other.bits).map(|(a, b)| a.max(b))
    }
}

/// The least and the greatest value of a type that is not a float.
fn limits(dtype: DType) -> (f64, f64) {
    let bits = 8 * dtype.size() as i32;
    match dtype {
        DType::Bool => (0.0, 1.0),
        DType::U8 | DType::U16 | DType::U32 | DType::U64 => (0.0, 2f64.powi(bits) - 1.0),
        _ => (-2f64.powi(bits - 1), 2f64.powi(bits - 1) - 1.0),
    }
}

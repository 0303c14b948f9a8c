//! Floats of 8 and 4 bits as tables: the value of each code, and the greatest number that is rounded to each.
//!
//! A number becomes a code by bisection: codes of positive numbers ascend with them. So what becomes of ties, of what is
//! too large, and in each mode of rounding are other tables, and nothing is rounded twice. Sources: Micikevicius et al.,
//! *FP8 Formats for Deep Learning*, 2022, <https://arxiv.org/abs/2209.05433> (E4M3FN, E5M2); Noune et al., *8-bit Numerical
//! Formats for Deep Neural Networks*, 2022, <https://arxiv.org/abs/2206.02915> (FNUZ); *OCP Microscaling Formats (MX)
//! Specification*, 2023 (E8M0, E2M1).

use nnc_ir::{DType, Encoding, Tensor};

/// A type of floats.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Format {
    exponent_bits: u32,
    mantissa_bits: u32,
    bias: i32,
    /// The code of the greatest number.
    greatest: u8,
    /// Whether there is a code for what is too large: the one after the greatest number's.
    overflows: bool,
    /// The code of what is no number.
    pub nan: u8,
    /// The bit that negative numbers have; 0 where there are none.
    pub sign: u8,
    /// Whether the sign bit alone is a zero, not what is no number.
    pub negative_zero: bool,
}

/// How a number becomes a code.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Conversion {
    /// Whether what is too large becomes the greatest number.
    pub saturate: bool,
    /// What becomes of numbers between powers of two (E8M0). In all other types the nearest code is taken, of two that are
    /// as near the even one.
    pub powers: Rounding,
}

/// Which of two neighbours a number between them becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rounding {
    /// The nearest, the even code of two that are as near.
    Even,
    /// The nearest, the greater of two that are as near.
    Nearest,
    /// The greater.
    Up,
    /// The less.
    Down,
}

impl Conversion {
    /// What ONNX says where attributes say nothing.
    pub const DEFAULT: Conversion = Conversion { saturate: true, powers: Rounding::Up };
}

/// The format of an encoding, if it is one of floats.
pub(crate) fn format(encoding: Encoding) -> Option<Format> {
    let of = |exponent_bits, mantissa_bits, bias, greatest, nan| Format {
        exponent_bits,
        mantissa_bits,
        bias,
        greatest,
        overflows: true,
        nan,
        sign: 1 << (exponent_bits + mantissa_bits),
        negative_zero: true,
    };
    Some(match encoding {
        Encoding::F8E4M3FN => of(4, 3, 7, 0x7e, 0x7f),
        Encoding::F8E4M3FNUZ => Format { negative_zero: false, ..of(4, 3, 8, 0x7f, 0x80) },
        Encoding::F8E5M2 => of(5, 2, 15, 0x7b, 0x7e),
        Encoding::F8E5M2FNUZ => Format { negative_zero: false, ..of(5, 2, 16, 0x7f, 0x80) },
        // ONNX does not say what NaN becomes; its cases have -0.
        Encoding::F4E2M1 => Format { overflows: false, ..of(2, 1, 1, 0x7, 0x8) },
        Encoding::F8E8M0 => Format {
            exponent_bits: 8,
            mantissa_bits: 0,
            bias: 127,
            greatest: 0xfe,
            overflows: true,
            nan: 0xff,
            sign: 0,
            negative_zero: false,
        },
        Encoding::Strings | Encoding::U4 | Encoding::I4 | Encoding::U2 | Encoding::I2 => return None,
    })
}

impl Format {
    /// The value that exponent and mantissa say.
    fn magnitude(self, code: u32) -> f64 {
        let (exponent, mantissa) = ((code >> self.mantissa_bits) as i32, code & ((1 << self.mantissa_bits) - 1));
        let part = f64::from(mantissa) / f64::from(1u32 << self.mantissa_bits);
        // Powers of two have nothing below the least normal number.
        if exponent == 0 && self.sign != 0 {
            return part * 2f64.powi(1 - self.bias);
        }
        (1.0 + part) * 2f64.powi(exponent - self.bias)
    }

    fn value(self, code: u8) -> f64 {
        let below = code & self.sign.wrapping_sub(1);
        let magnitude = match below.checked_sub(self.greatest) {
            _ if code == self.sign && !self.negative_zero && self.sign != 0 => f64::NAN,
            None | Some(0) => self.magnitude(below.into()),
            Some(1) if below != self.nan => f64::INFINITY,
            Some(_) => f64::NAN,
        };
        if code & self.sign == 0 { magnitude } else { -magnitude }
    }

    /// The values of all codes, in `f32`.
    pub fn values(self) -> Tensor {
        let bits = self.exponent_bits + self.mantissa_bits + u32::from(self.sign != 0);
        let values: Vec<f32> = (0..=u8::MAX >> (8 - bits)).map(|code| self.value(code) as f32).collect();
        Tensor::from_slice(&[values.len()], &values)
    }

    /// The least number above 0, where 0 is none.
    pub fn least(self) -> Option<f64> {
        (self.sign == 0).then(|| self.magnitude(0))
    }

    /// The greatest number, `F32` or `F64`, that is rounded to each code but the last.
    pub fn bounds(self, dtype: DType, conversion: Conversion) -> Tensor {
        let rounding = if self.sign == 0 { conversion.powers } else { Rounding::Even };
        let last = u32::from(self.greatest) + u32::from(self.overflows && !conversion.saturate);
        let bound = |code: u32| {
            let (this, next) = (self.magnitude(code), self.magnitude(code + 1));
            let middle = (this + next) / 2.0;
            match rounding {
                Rounding::Even if code.is_multiple_of(2) => middle,
                Rounding::Even | Rounding::Nearest => before(middle, dtype),
                Rounding::Up => this,
                Rounding::Down => before(next, dtype),
            }
        };
        let bounds: Vec<f64> = (0..last).map(bound).collect();
        Tensor::from_f64s(dtype, &[bounds.len()], &bounds)
    }
}

/// The greatest number of the type below `x`.
fn before(x: f64, dtype: DType) -> f64 {
    if dtype == DType::F64 { x.next_down() } else { f64::from((x as f32).next_down()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extremes() {
        for (encoding, code, expected) in [
            (Encoding::F8E4M3FN, 0x01, 2f64.powi(-9)),
            (Encoding::F8E4M3FN, 0x7e, 448.0),
            (Encoding::F8E4M3FN, 0xfe, -448.0),
            (Encoding::F8E4M3FNUZ, 0x01, 2f64.powi(-10)),
            (Encoding::F8E4M3FNUZ, 0x7f, 240.0),
            (Encoding::F8E5M2, 0x01, 2f64.powi(-16)),
            (Encoding::F8E5M2, 0x7b, 57344.0),
            (Encoding::F8E5M2, 0xfc, f64::NEG_INFINITY),
            (Encoding::F8E5M2FNUZ, 0x7f, 57344.0),
            (Encoding::F4E2M1, 0x01, 0.5),
            (Encoding::F4E2M1, 0x0f, -6.0),
            (Encoding::F8E8M0, 0x00, 2f64.powi(-127)),
            (Encoding::F8E8M0, 0xfe, 2f64.powi(127)),
        ] {
            assert_eq!(format(encoding).unwrap().value(code), expected, "{encoding:?} {code:#x}");
        }
        let nans = |encoding| {
            let values = format(encoding).unwrap().values().to_f64s();
            (0..values.len()).filter(|&code| values[code].is_nan()).collect::<Vec<_>>()
        };
        assert_eq!(nans(Encoding::F8E4M3FN), [0x7f, 0xff]);
        assert_eq!(nans(Encoding::F8E4M3FNUZ), [0x80]);
        assert_eq!(nans(Encoding::F8E5M2), [0x7d, 0x7e, 0x7f, 0xfd, 0xfe, 0xff]);
        assert_eq!(nans(Encoding::F8E5M2FNUZ), [0x80]);
        assert_eq!(nans(Encoding::F4E2M1), []);
        assert_eq!(nans(Encoding::F8E8M0), [0xff]);
    }

    /// Every code but those of what is no number is what its own value is rounded to.
    #[test]
    fn values_keep_their_codes() {
        for &encoding in Encoding::ALL {
            let Some(format) = format(encoding) else { continue };
            for powers in [Rounding::Nearest, Rounding::Up, Rounding::Down] {
                let bounds = format.bounds(DType::F32, Conversion { saturate: false, powers }).to_f64s();
                assert!(bounds.windows(2).all(|w| w[0] < w[1]), "{encoding:?}");
                for code in 0..=format.greatest {
                    let found = bounds.iter().filter(|&&b| b < format.value(code)).count();
                    assert_eq!(found, usize::from(code), "{encoding:?} {powers:?}");
                }
            }
        }
    }
}

//! Numbers that rules and loops forget: NaN, infinities, the negative zero and subnormal numbers among the inputs.
//!
//! The core operations say what becomes of each of them, in every numerics but for the sign of a zero, so compiled code
//! is held to the interpreter. Other implementations disagree with one another about most of them and are not asked.

use nnc_ir::{DType, Tensor};

use super::random::Random;

/// A kind of number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Special {
    /// Not a number.
    Nan,
    /// An infinity of either sign.
    Infinite,
    /// The negative zero.
    NegativeZero,
    /// Less than the least normal number.
    Subnormal,
}

use Special::{Infinite, Nan, NegativeZero, Subnormal};

/// Chance in 100 that a case has any.
const CASES: usize = 12;
/// Chance in 100 that an element of such a case is one.
const ELEMENTS: usize = 8;

/// The kinds among the inputs of a case; most cases have none.
pub fn draw(random: &mut Random) -> &'static [Special] {
    match random.percent(CASES) {
        true => random.of::<&[Special]>(&[
            &[Nan],
            &[Infinite],
            &[NegativeZero],
            &[Subnormal, NegativeZero],
            &[Nan, Infinite],
            &[Nan, Infinite, NegativeZero, Subnormal],
        ]),
        false => &[],
    }
}

/// Fewer kinds, the fewest first.
pub fn fewer(kinds: &'static [Special]) -> Vec<&'static [Special]> {
    match kinds {
        [] => vec![],
        [_] => vec![&[]],
        _ => std::iter::once(&[][..]).chain(kinds.chunks(1)).collect(),
    }
}

/// Puts some of them into a tensor of floats.
pub fn sprinkle(tensor: Tensor, kinds: &[Special], random: &mut Random) -> Tensor {
    if kinds.is_empty() || !tensor.dtype.is_float() {
        return tensor;
    }
    let mut values = tensor.to_f64s();
    for value in &mut values {
        if random.percent(ELEMENTS) {
            *value = number(*random.of(kinds), tensor.dtype, random);
        }
    }
    Tensor::from_f64s(tensor.dtype, &tensor.shape, &values)
}

fn number(kind: Special, dtype: DType, random: &mut Random) -> f64 {
    let sign = *random.of(&[1.0, -1.0]);
    let least = match dtype {
        DType::F16 => 2f64.powi(-24),
        DType::BF16 => 2f64.powi(-133),
        DType::F64 => f64::from_bits(1),
        _ => 2f64.powi(-149),
    };
    match kind {
        Nan => f64::NAN,
        Infinite => sign * f64::INFINITY,
        NegativeZero => -0.0,
        Subnormal => sign * least * random.within(1, 100) as f64,
    }
}

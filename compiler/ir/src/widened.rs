//! Numbers that a file holds in fewer bits than they mean: constants of `f32` that stay in the file's type until they are read.
//!
//! Element i is `(number - zero) * scale`, in `f32`, each step rounded, as DequantizeLinear and MatMulNBits define it.
//!
//! Invariants: numbers are `f16`, `bf16`, `i8` or `u8`, which `f32` holds exactly; the factors of a [`Spread`] multiply to the number
//! of elements, and reach no value that is not there.

use crate::{DType, Tensor};
use std::sync::OnceLock;

/// See the module.
#[derive(Debug)]
pub struct Widened {
    /// As the file has them, in the order of the elements.
    pub numbers: Tensor,
    /// What is subtracted.
    pub zeros: Option<Spread>,
    /// What is multiplied.
    pub scales: Option<Spread>,
    /// Bytes of the elements, when somebody asked for them.
    wide: OnceLock<Vec<u8>>,
}

/// Few values that many elements share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spread {
    /// Of `f32`.
    pub values: Tensor,
    /// Factors of the elements' numbers, the outermost first: (size, values from one to the next).
    pub factors: Vec<(usize, usize)>,
}

impl Spread {
    /// Which value element `at` (row-major) has.
    pub fn index(&self, at: usize) -> usize {
        let mut rest = at;
        let mut index = 0;
        for &(size, step) in self.factors.iter().rev() {
            index += rest % size * step;
            rest /= size;
        }
        index
    }

    /// The value of element `at` (row-major).
    pub fn get(&self, at: usize) -> f32 {
        self.values.get_f64(self.index(at)) as f32
    }

    /// Whether it is for `count` elements.
    fn fits(&self, count: usize) -> bool {
        let size = self.factors.iter().try_fold(1usize, |n, f| n.checked_mul(f.0));
        let last = self.factors.iter().try_fold(0usize, |n, f| n.checked_add(f.0.checked_sub(1)?.checked_mul(f.1)?));
        self.values.dtype == DType::F32 && size == Some(count) && last.is_some_and(|last| last < self.values.len())
    }
}

impl Widened {
    /// `None` where an invariant is broken.
    pub fn new(numbers: Tensor, zeros: Option<Spread>, scales: Option<Spread>) -> Option<Widened> {
        let narrow = matches!(numbers.dtype, DType::F16 | DType::BF16 | DType::I8 | DType::U8);
        let fit = [&zeros, &scales].into_iter().flatten().all(|spread| spread.fits(numbers.len()));
        (narrow && fit).then(|| Widened { numbers, zeros, scales, wide: OnceLock::new() })
    }

    /// Element `at`.
    pub fn get(&self, at: usize) -> f32 {
        let mut value = self.numbers.get_f64(at) as f32;
        if let Some(zeros) = &self.zeros {
            value -= zeros.get(at);
        }
        if let Some(scales) = &self.scales {
            value *= scales.get(at);
        }
        value
    }

    /// Bytes of the elements, which are computed once.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.wide.get_or_init(|| (0..self.numbers.len()).flat_map(|at| self.get(at).to_le_bytes()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::{Spread, Widened};
    use crate::{DType, Data, Tensor};

    /// Two columns of four rows, of which two share a scale.
    #[test]
    fn blocks() {
        let numbers = Tensor::from_slice(&[4, 2], &[1i8, 2, 3, 4, 5, 6, 7, -8]);
        let scales = Spread {
            values: Tensor::from_slice(&[2, 2], &[1f32, 10.0, 100.0, 1000.0]),
            factors: vec![(2, 2), (2, 0), (2, 1)],
        };
        let zeros = Spread { values: Tensor::from_slice(&[2], &[1f32, 0.0]), factors: vec![(4, 0), (2, 1)] };
        let short = Spread { factors: vec![(4, 1), (2, 1)], ..scales.clone() };
        assert!(Widened::new(numbers.clone(), None, Some(short)).is_none());
        let widened = Widened::new(numbers, Some(zeros), Some(scales)).unwrap();
        let tensor = Tensor::new(DType::F32, vec![4, 2], Data::widened(widened)).unwrap();
        let expected = [0f32, 20.0, 2.0, 40.0, 400.0, 6000.0, 600.0, -8000.0];
        assert_eq!(tensor.to_vec::<f32>().unwrap(), expected);
        assert_eq!(tensor.data.len(), 32);
    }
}

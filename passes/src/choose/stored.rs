//! How the numbers of a constant right operand lie in panels: in the type that the file has, or in less where they fit, and with
//! which zero points and scales.
//!
//! Source of the 4-bit form: two successive summed elements in a byte, as llama.cpp's and MLAS's panels have them.

use super::problem::Constant;
use crate::keep_narrow::gcd;
use nnc_desc::products;
use nnc_ir::{DType, Spread, Tensor};

/// Fewest summed elements that share a zero point and scale; a shorter block costs more than it saves.
const LEAST_BLOCK: usize = 16;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    /// Type of the numbers in memory.
    pub dtype: DType,
    /// Whether they are 4 bits of a byte.
    pub halves: bool,
    /// What was added to them for that.
    pub added: u8,
    /// What is subtracted from all: that, and a zero point that all have.
    pub less: u8,
    /// Whether zero points of their own are subtracted.
    pub zeros: bool,
    /// Whether they are multiplied by scales.
    pub scales: bool,
    /// Summed elements that share a zero point and scale; `None` where all of a column do.
    pub block: Option<usize>,
}

impl Stored {
    /// As elements of a type.
    pub const fn plain(dtype: DType) -> Stored {
        Stored { dtype, halves: false, added: 0, less: 0, zeros: false, scales: false, block: None }
    }

    /// Whether numbers have zero points or scales.
    pub const fn has_grid(&self) -> bool {
        self.zeros || self.scales
    }

    /// Bits of a number.
    pub const fn bits(&self) -> u64 {
        if self.halves { 4 } else { 8 * self.dtype.size() as u64 }
    }

    /// Instructions for a vector of them that is loaded, beside the load.
    pub const fn conversions(&self) -> u64 {
        let of_type = match self.dtype {
            _ if self.halves => 3,
            DType::F16 | DType::BF16 => 2,
            DType::I8 | DType::U8 => 2 + (self.less > 0) as u64,
            _ => 0,
        };
        of_type + self.zeros as u64 + self.scales as u64
    }

    /// How a constant is stored whose innermost `k` summed elements are contiguous for the left operand.
    pub fn of(tensor: &Tensor, axes: &Constant, k: Option<usize>, accumulator: DType) -> Stored {
        let narrow = |dtype| accumulator == DType::F32 && products::sums(accumulator, dtype, accumulator);
        let Some(widened) = tensor.data.as_widened() else {
            let half = matches!(tensor.dtype, DType::F16 | DType::BF16);
            return Stored::plain(if half && !narrow(tensor.dtype) { accumulator } else { tensor.dtype });
        };
        let spreads = || [&widened.zeros, &widened.scales].into_iter().flatten();
        let block = k.and_then(|k| spreads().try_fold(k, |block, spread| run(spread, axes, block)));
        let Some(block) = block.filter(|_| narrow(widened.numbers.dtype)) else { return Stored::plain(tensor.dtype) };
        let summed: usize = axes.sum.iter().map(|s| s.0).product();
        let one = block == summed || spreads().all(|spread| run(spread, axes, summed) == Some(summed));
        if !one && block < LEAST_BLOCK {
            return Stored::plain(tensor.dtype);
        }
        let block = if one { None } else { Some(block) };
        let even = block.or(k).is_some_and(|k| k % 2 == 0);
        let added = if even { added(&widened.numbers) } else { None };
        let halves = added.is_some();
        let added = added.unwrap_or(0);
        let zero = widened.zeros.as_ref().map_or(Some(0), |zeros| common(&zeros.values));
        let less =
            zero.filter(|_| widened.numbers.dtype.is_int()).and_then(|zero| u8::try_from(zero + i64::from(added)).ok());
        let dtype = if halves { DType::U8 } else { widened.numbers.dtype };
        let zeros = widened.zeros.is_some() && less.is_none();
        Stored { dtype, halves, added, less: less.unwrap_or(added), zeros, scales: widened.scales.is_some(), block }
    }
}

/// The longest run, a divisor of `most`, of summed elements that share a value, whatever the column.
fn run(spread: &Spread, axes: &Constant, most: usize) -> Option<usize> {
    let Constant { batch, sum, columns: (columns, step), .. } = axes;
    let flat = |loops: &[(usize, usize)], at: usize| {
        let mut rest = at;
        loops.iter().rev().fold(0, |sum, &(count, step)| {
            let digit = rest % count.max(1);
            rest /= count.max(1);
            sum + digit * step
        })
    };
    let summed: usize = sum.iter().map(|s| s.0).product();
    let index = |base: usize, at: usize| spread.index(base + flat(sum, at));
    let changes = (1..summed).filter(|&at| index(0, at) != index(0, at - 1));
    let run = changes.fold(most, gcd);
    let batches: usize = batch.iter().map(|b| b.0).product();
    // Other columns have the same runs, or the value is another's.
    let holds = |base: usize| (0..summed).step_by(run.max(1)).all(|at| index(base, at) == index(base, at + run - 1));
    let all = (0..batches).all(|b| (0..*columns).all(|column| holds(flat(batch, b) + column * step)));
    (run > 0 && summed.is_multiple_of(run) && all).then_some(run)
}

/// The integer that all zero points are, if they are one that few bits hold.
fn common(zeros: &Tensor) -> Option<i64> {
    let zero = zeros.splat()?;
    (zero.fract() == 0.0 && zero.abs() < 1024.0).then_some(zero as i64)
}

/// What must be added to numbers for them to be 0 to 15; `None` where they need more bits.
fn added(numbers: &Tensor) -> Option<u8> {
    let bytes = numbers.data.bytes();
    match numbers.dtype {
        DType::U8 => bytes.iter().all(|&n| n < 16).then_some(0),
        DType::I8 => bytes.iter().all(|&n| (-8..8).contains(&(n as i8))).then_some(8),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::Stored;
    use crate::choose::problem::Constant;
    use nnc_ir::{ConstId, DType, Data, Spread, Tensor, Widened};

    /// 64 rows of two columns, the rows in blocks of 32.
    fn blocks(numbers: Tensor, zero: f32) -> Tensor {
        let zeros = Spread { values: Tensor::from_slice(&[1], &[zero]), factors: vec![(128, 0)] };
        let scales = Tensor::from_slice(&[2, 2], &[1f32, 2.0, 3.0, 4.0]);
        let scales = Spread { values: scales, factors: vec![(2, 2), (32, 0), (2, 1)] };
        let widened = Widened::new(numbers, Some(zeros), Some(scales)).unwrap();
        Tensor::new(DType::F32, vec![64, 2], Data::widened(widened)).unwrap()
    }

    #[test]
    fn bits_and_blocks() {
        let axes = Constant {
            constant: ConstId(0),
            batch: vec![],
            sum: vec![(64, 2)],
            columns: (2, 1),
            stored: Stored::plain(DType::F32),
        };
        let of = |tensor: &Tensor, k| {
            let stored = Stored::of(tensor, &axes, k, DType::F32);
            (stored.dtype, stored.halves, stored.less, stored.zeros, stored.block)
        };
        let signed = |most: i8, zero| blocks(Tensor::from_slice(&[64, 2], &[most; 128]), zero);
        let (u8, i8, f32) = (DType::U8, DType::I8, DType::F32);
        assert_eq!(of(&signed(7, 0.0), Some(64)), (u8, true, 8, false, Some(32)));
        assert_eq!(of(&signed(7, -3.0), Some(64)), (u8, true, 5, false, Some(32)));
        assert_eq!(of(&signed(7, -9.0), Some(64)), (u8, true, 8, true, Some(32)));
        assert_eq!(of(&signed(7, 0.5), Some(64)), (u8, true, 8, true, Some(32)));
        assert_eq!(of(&signed(8, 0.0), Some(64)), (i8, false, 0, false, Some(32)));
        assert_eq!(of(&signed(8, 3.0), Some(64)), (i8, false, 3, false, Some(32)));
        assert_eq!(of(&signed(8, 0.5), Some(64)), (i8, false, 0, true, Some(32)));
        assert_eq!(of(&signed(7, 0.0), Some(16)), (u8, true, 8, false, Some(16)));
        // Runs too short, or of a length that only a run knows.
        assert_eq!(of(&signed(7, 0.0), Some(8)), (f32, false, 0, false, None));
        assert_eq!(of(&signed(7, 0.0), None), (f32, false, 0, false, None));
        let half = Tensor::from_f64s(DType::F16, &[64, 2], &[1.0; 128]);
        assert_eq!(of(&half, Some(64)), (DType::F16, false, 0, false, None));
        assert_eq!(Stored::of(&half, &axes, Some(64), DType::F64).dtype, DType::F64);
    }
}

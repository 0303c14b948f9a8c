//! `contract`: matrix products of any rank.
//!
//! Rules: both operands are brought to `[batch, m, k]` and `[batch, k, n]`; products of floats are exact or rounded
//! to `f64` and summed in `f64` in order of `k`; integers wrap.

use crate::error::{Eval, unfit};
use crate::movement::{axes_around, transpose};
use crate::values::{Values, allocatable, floats, ints, store};
use nnc_ir::{DType, Tensor};

/// A computing type with multiplication and addition.
pub(super) trait Number: Copy + PartialEq {
    const ZERO: Self;
    fn add_product(self, a: Self, b: Self) -> Self;
}

impl Number for f64 {
    const ZERO: f64 = 0.0;
    fn add_product(self, a: f64, b: f64) -> f64 {
        self + a * b
    }
}

impl Number for i64 {
    const ZERO: i64 = 0;
    fn add_product(self, a: i64, b: i64) -> i64 {
        self.wrapping_add(a.wrapping_mul(b))
    }
}

/// `out += a * row`, elementwise.
pub(super) fn add_scaled<T: Number>(out: &mut [T], a: T, row: &[T]) {
    for (o, &b) in out.iter_mut().zip(row) {
        *o = o.add_product(a, b);
    }
}

/// Whether operands of these types may be multiplied and summed as `out`.
pub(super) fn multiplies(lhs: DType, rhs: DType, out: DType) -> Eval<()> {
    let narrow = |t| matches!(t, DType::U8 | DType::I8);
    let fits = match narrow(lhs) && narrow(rhs) {
        true => out == DType::I32,
        false => lhs == rhs && lhs == out && out != DType::Bool,
    };
    if fits { Ok(()) } else { Err(unfit(format!("products of {lhs} and {rhs} as {out}"))) }
}

pub(super) fn contract(
    lhs: &Tensor,
    rhs: &Tensor,
    batch: &[(usize, usize)],
    contract: &[(usize, usize)],
    out: DType,
) -> Eval<Tensor> {
    multiplies(lhs.dtype, rhs.dtype, out)?;
    for &(l, r) in batch.iter().chain(contract) {
        if lhs.shape.get(l).is_none() || lhs.shape.get(l) != rhs.shape.get(r) {
            return Err(unfit(format!("axis {l} of {:?} does not pair with axis {r} of {:?}", lhs.shape, rhs.shape)));
        }
    }
    let (lb, rb): (Vec<usize>, Vec<usize>) = batch.iter().copied().unzip();
    let (lk, rk): (Vec<usize>, Vec<usize>) = contract.iter().copied().unzip();
    // An axis paired twice makes these no permutations, which `transpose` refuses.
    let lhs = transpose(lhs, &axes_around(lhs.shape.len(), &lb, &lk))?;
    let middle = axes_around(rhs.shape.len(), &rb, &rk);
    let free = rb.len()..middle.len() - rk.len();
    let perm: Vec<usize> = rb.iter().chain(&rk).chain(&middle[free]).copied().collect();
    let rhs = transpose(rhs, &perm)?;

    let (batches, paired) = (lb.len(), lk.len());
    let lhs_free = &lhs.shape[batches..lhs.shape.len() - paired];
    let rhs_free = &rhs.shape[batches + paired..];
    let shape: Vec<usize> = lhs.shape[..batches].iter().chain(lhs_free).chain(rhs_free).copied().collect();
    let size = Size {
        batch: lhs.shape[..batches].iter().product(),
        m: lhs_free.iter().product(),
        k: rhs.shape[batches..batches + paired].iter().product(),
        n: rhs_free.iter().product(),
    };
    let total = allocatable(out, &shape)?;
    let values = if out.is_float() {
        Values::Float(multiply(&size, total, &floats(&lhs), &floats(&rhs)))
    } else {
        Values::Int(multiply(&size, total, &ints(&lhs), &ints(&rhs)))
    };
    Ok(store(out, shape, values))
}

struct Size {
    batch: usize,
    m: usize,
    k: usize,
    n: usize,
}

fn multiply<T: Number>(size: &Size, total: usize, lhs: &[T], rhs: &[T]) -> Vec<T> {
    let &Size { batch, m, k, n } = size;
    let mut out = vec![T::ZERO; total];
    if total == 0 {
        return out;
    }
    // As many rows of rhs at a time as stay in cache; the order of summation is that of k all the same.
    let block = (1 << 15) / n + 1;
    for b in 0..batch {
        for start in (0..k).step_by(block) {
            for i in 0..m {
                let row = &mut out[(b * m + i) * n..(b * m + i + 1) * n];
                for p in start..k.min(start + block) {
                    add_scaled(row, lhs[(b * m + i) * k + p], &rhs[(b * k + p) * n..(b * k + p + 1) * n]);
                }
            }
        }
    }
    out
}

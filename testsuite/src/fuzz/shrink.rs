//! Makes a failing case small: tries one reduction after another, and keeps those under which the fault stays.
//!
//! Deterministic: candidates come in a fixed order, the greatest reductions first, until none of them helps or the
//! budget is spent.

use nnc::errors::Result;

/// The most candidates that are tried.
const BUDGET: usize = 400;

/// Something with smaller versions.
pub trait Shrink: Sized {
    /// Smaller versions, the smallest first.
    fn smaller(&self) -> Vec<Self>;
}

/// The smallest version found that still `shows` the fault.
///
/// # Errors
/// What `shows` fails with.
pub fn shrink<T: Shrink>(start: T, mut shows: impl FnMut(&T) -> Result<bool>) -> Result<T> {
    let (mut best, mut tried) = (start, 0);
    'again: loop {
        for candidate in best.smaller() {
            if tried == BUDGET {
                return Ok(best);
            }
            tried += 1;
            if shows(&candidate)? {
                best = candidate;
                continue 'again;
            }
        }
        return Ok(best);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Shrink for Vec<u32> {
        fn smaller(&self) -> Vec<Vec<u32>> {
            let without = |i| self.iter().enumerate().filter(|(j, _)| *j != i).map(|(_, x)| *x).collect();
            (0..self.len()).map(without).collect()
        }
    }

    #[test]
    fn keeps_what_matters() {
        let small = shrink((0..20).collect(), |v: &Vec<u32>| Ok(v.contains(&3) && v.contains(&17))).unwrap();
        assert_eq!(small, [3, 17]);
    }
}

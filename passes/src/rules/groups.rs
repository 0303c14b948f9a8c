//! How a reshape maps axes: the finest groups of neighbouring axes with equal products.
//!
//! `[n, 12, 64] -> [n, 768]` has the groups `n : n` and `12, 64 : 768`; a unit axis is a group by itself.

use nnc_ir::Dim;
use std::ops::Range;

/// Axes of the operand and of the result with the same elements, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Axes of the operand.
    pub from: Range<usize>,
    /// Axes of the result.
    pub to: Range<usize>,
}

/// The groups of a reshape; `None` when the shapes do not split (they hold no element, or are beyond what is decidable).
pub fn groups(from: &[Dim], to: &[Dim]) -> Option<Vec<Group>> {
    let mut found = vec![];
    let (mut i, mut j) = (0, 0);
    while i < from.len() || j < to.len() {
        let (a, b) = next_group(&from[i..], &to[j..])?;
        found.push(Group { from: i..i + a, to: j..j + b });
        (i, j) = (i + a, j + b);
    }
    Some(found)
}

/// Lengths of the shortest prefixes with equal products, the shorter sum first.
fn next_group(from: &[Dim], to: &[Dim]) -> Option<(usize, usize)> {
    let products = |dims: &[Dim]| -> Vec<Dim> {
        let mut products = vec![Dim::ONE];
        for dim in dims {
            let last = &products[products.len() - 1];
            products.push(last * dim);
        }
        products
    };
    let (left, right) = (products(from), products(to));
    for total in 1..=from.len() + to.len() {
        let first = total.saturating_sub(to.len());
        for (a, product) in left.iter().enumerate().take(total.min(from.len()) + 1).skip(first) {
            if *product == right[total - a] && *product != Dim::OVERFLOW && !product.is_const(0) {
                return Some((a, total - a));
            }
        }
    }
    None
}

/// Whether the operand's axes other than unit axes are the result's, in order.
pub fn same_but_units(from: &[Dim], to: &[Dim]) -> bool {
    let solid = |dims: &[Dim]| -> Vec<Dim> { dims.iter().filter(|d| !d.is_const(1)).cloned().collect() };
    solid(from) == solid(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(from: &[i64], to: &[i64], expected: Option<&[(usize, usize)]>) {
        let dims = |sizes: &[i64]| -> Vec<Dim> { sizes.iter().map(|&n| Dim::from(n)).collect() };
        let lengths = groups(&dims(from), &dims(to))
            .map(|groups| groups.iter().map(|g| (g.from.len(), g.to.len())).collect::<Vec<_>>());
        assert_eq!(lengths.as_deref(), expected, "{from:?} {to:?}");
    }

    #[test]
    fn finest_groups() {
        check(&[2, 12, 64], &[2, 768], Some(&[(1, 1), (2, 1)]));
        check(&[2, 3, 1, 1], &[2, 3], Some(&[(1, 1), (1, 1), (1, 0), (1, 0)]));
        check(&[6, 4], &[3, 8], Some(&[(2, 2)]));
        check(&[], &[1, 1], Some(&[(0, 1), (0, 1)]));
        check(&[0, 3], &[3, 0], None);
    }
}

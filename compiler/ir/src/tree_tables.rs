//! What the tables of [`Op::TreeLeaf`](crate::Op::TreeLeaf) must be for a walk to stay within them and to end.

use crate::Tensor;

/// Checks the nodes `i32[nodes, 4]` and roots `i32[trees]` of trees over `features` features; yields the first leaf.
///
/// # Errors
/// Which node is wrong.
pub fn check(nodes: &Tensor, roots: &Tensor, features: usize) -> Result<usize, String> {
    let (Some(table), Some(roots)) = (nodes.to_vec::<i32>(), roots.to_vec::<i32>()) else {
        return Err("nodes and roots of trees must be i32".into());
    };
    let (rows, rest) = table.as_chunks::<4>();
    if !rest.is_empty() {
        return Err("nodes of trees have four entries each".into());
    }
    let at = |n: i32| usize::try_from(n).unwrap_or(usize::MAX);
    let is_leaf = |row: usize| rows[row][1..].iter().all(|&to| at(to) == row);
    let first = (0..rows.len()).rev().take_while(|&row| is_leaf(row)).last().unwrap_or(rows.len());
    for (row, &[feature, ..]) in rows.iter().enumerate() {
        let onward = rows[row][1..].iter().all(|&to| at(to) > row && at(to) < rows.len());
        if row < first && (at(feature) >= features || !onward) {
            return Err(format!("node {row} of the trees asks for feature {feature} of {features}, or leads back"));
        }
        if row >= first && at(feature) >= features.max(1) {
            return Err(format!("leaf {row} of the trees names feature {feature} of {features}"));
        }
    }
    match roots.iter().find(|&&root| at(root) >= rows.len()) {
        Some(root) => Err(format!("a tree begins at node {root} of {}", rows.len())),
        None => Ok(first),
    }
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::Tensor;

    #[test]
    fn walks_end_within_the_tables() {
        let of = |nodes: &[i32], roots: &[i32]| {
            check(&Tensor::from_slice(&[nodes.len() / 4, 4], nodes), &Tensor::from_slice(&[roots.len()], roots), 3)
        };
        let leaves = [0, 1, 1, 1, 0, 2, 2, 2];
        assert_eq!(of(&[&[2, 1, 2, 2], &leaves[..]].concat(), &[0, 1]), Ok(1));
        assert_eq!(of(&[0, 0, 0, 0], &[0]), Ok(0));
        assert!(of(&[&[3, 1, 2, 2], &leaves[..]].concat(), &[0]).unwrap_err().contains("feature 3 of 3"));
        assert!(of(&[&[0, 1, 3, 2], &leaves[..]].concat(), &[0]).is_err());
        assert!(of(&[&[0, 1, 0, 2], &leaves[..]].concat(), &[0]).is_err());
        assert!(of(&[&[0, 1, 2, -1], &leaves[..]].concat(), &[0]).is_err());
        assert!(of(&[&[0, 1, 2, 2], &leaves[..]].concat(), &[3]).unwrap_err().contains("begins at node 3"));
    }
}

//! `tree_leaf`: trees walked one by one.

use crate::error::{Eval, unfit};
use crate::values::allocatable;
use nnc_ir::{DType, Tensor, tree_tables};

pub(super) fn tree_leaf([x, thresholds, nodes, roots]: [&Tensor; 4]) -> Eval<Tensor> {
    let (&[rows, features], &[count], &[nodes_count, 4], &[trees]) =
        (&x.shape[..], &thresholds.shape[..], &nodes.shape[..], &roots.shape[..])
    else {
        return Err(unfit(format!("features {:?} by nodes {:?}", x.shape, nodes.shape)));
    };
    if count != nodes_count || thresholds.dtype != x.dtype || !matches!(x.dtype, DType::F32 | DType::F64) {
        return Err(unfit(format!("features {:?} by {count} thresholds and {nodes_count} nodes", x.shape)));
    }
    let first = tree_tables::check(nodes, roots, features).map_err(unfit)?;
    allocatable(DType::I64, &[rows, trees])?;
    let mut leaves: Vec<i64> = Vec::with_capacity(rows * trees);
    for row in 0..rows {
        for tree in 0..trees {
            let mut node = roots.get_i64(tree) as usize;
            while node < first {
                let value = x.get_f64(row * features + nodes.get_i64(node * 4) as usize);
                let branch = match value.partial_cmp(&thresholds.get_f64(node)) {
                    Some(std::cmp::Ordering::Greater) => 2,
                    Some(_) => 1,
                    None if value.is_nan() => 3,
                    None => 2,
                };
                node = nodes.get_i64(node * 4 + branch) as usize;
            }
            leaves.push((node - first) as i64);
        }
    }
    Ok(Tensor::from_slice(&[rows, trees], &leaves))
}

//! How long an evaluation takes, told from types alone, so that whoever folds constants can keep to a budget.

use nnc_ir::{Op, TensorType};

/// About how many elements (or products of elements) [`crate::eval_op`] touches. Symbolic sizes count as 1.
pub fn work(op: &Op, operands: &[&TensorType], results: &[TensorType]) -> u64 {
    let count = |ty: &TensorType| {
        let sizes = ty.shape.iter().map(|d| d.as_const().and_then(|n| u64::try_from(n).ok()).unwrap_or(1));
        sizes.fold(1u64, u64::saturating_mul)
    };
    let read = operands.iter().map(|ty| count(ty)).fold(0u64, u64::saturating_add);
    let written = results.iter().map(count).fold(0u64, u64::saturating_add);
    let operand = |i: usize| operands.get(i).map_or(1, |ty| count(ty));
    let each_result = match op {
        Op::Contract { contract, .. } => {
            let sizes = contract.iter().filter_map(|&(left, _)| operands.first()?.shape.get(left)?.as_const());
            sizes.fold(1u64, |n, size| n.saturating_mul(u64::try_from(size).unwrap_or(1)))
        }
        Op::Conv { .. } => {
            let channels = results.first().and_then(|ty| ty.shape.last()?.as_const()).unwrap_or(1);
            operand(1) / u64::try_from(channels).unwrap_or(1).max(1)
        }
        Op::Pool { window, .. } | Op::PoolIndex { window } => {
            window.size.iter().fold(1u64, |n, &size| n.saturating_mul(size as u64))
        }
        // Weights are read in every step.
        Op::Recurrent(_) => read,
        // Sorting.
        Op::TopK { .. } | Op::Unique { .. } => 32,
        _ => 1,
    };
    let pairs = match op {
        Op::NonMaxSuppression { .. } => operand(0).saturating_mul(operand(0)),
        _ => 0,
    };
    written.saturating_mul(each_result.max(1)).saturating_add(read).saturating_add(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nnc_ir::{DType, Dim};

    #[test]
    fn a_product_costs_its_depth() {
        let ty = |sizes: &[i64]| TensorType::new(DType::F32, sizes.iter().map(|&n| Dim::from(n)).collect());
        let op = Op::Contract { batch: vec![], contract: vec![(1, 0)], out: DType::F32 };
        let (x, w) = (ty(&[4, 100]), ty(&[100, 8]));
        assert_eq!(work(&op, &[&x, &w], &[ty(&[4, 8])]), 4 * 8 * 100 + 400 + 800);
        let huge = ty(&[i64::MAX, i64::MAX]);
        assert_eq!(work(&op, &[&huge, &huge], &[ty(&[i64::MAX, i64::MAX])]), u64::MAX);
    }
}

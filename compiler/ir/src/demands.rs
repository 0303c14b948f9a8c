//! What an operation relies on of the sizes it is given, where their expressions do not tell.
//!
//! [`infer`](crate::infer) refuses operands whose sizes are known to be wrong, and such as might be: sizes that must be
//! equal ([`same_sizes`]) are equal expressions. What is left are inequalities: no size is negative, a slice lies within
//! its operand, an index is no larger than what it indexes. Whoever makes a graph proves them by the bounds of symbols,
//! or states them as [`Op::Require`] before the node, so that a run never reads or writes outside a tensor.

use crate::op::{Op, PadMode};
use crate::{Dim, DimTable, TensorType};

/// `left <= right` must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Demand {
    /// The lesser; 0 when the demand is that a size is not negative.
    pub left: Dim,
    /// The greater.
    pub right: Dim,
    /// What is compared, for messages.
    pub what: String,
}

impl Demand {
    /// Whether the bounds of symbols show that it holds.
    pub fn is_proven(&self, table: &DimTable) -> bool {
        self.right.provably_ge(&self.left, table)
    }
}

/// Everything the operation relies on, given the types of its operands and results; constants that satisfy it aside.
pub fn demands(op: &Op, operands: &[&TensorType], results: &[TensorType]) -> Vec<Demand> {
    let mut list = List(vec![]);
    for result in results {
        for (axis, size) in result.shape.iter().enumerate() {
            list.not_negative(size, || format!("the size of axis {axis}"));
        }
    }
    match (op, operands) {
        (Op::Slice { starts, sizes, steps }, [x]) => {
            for axis in 0..x.rank().min(starts.len()).min(sizes.len()).min(steps.len()) {
                let (start, size, step) = (&starts[axis], &sizes[axis], steps[axis]);
                if size.is_const(0) {
                    continue;
                }
                let last = start + (size - 1) * step;
                let (low, high) = if step > 0 { (start, &last) } else { (&last, start) };
                list.not_negative(low, || format!("the start on axis {axis}"));
                list.at_most(high + 1, &x.shape[axis], || format!("the end on axis {axis}"));
            }
        }
        (Op::Pad { low, high, mode }, [x, _]) => {
            for (border, axis) in low.iter().zip(0..x.rank()).chain(high.iter().zip(0..x.rank())) {
                list.not_negative(border, || format!("the border of axis {axis}"));
                let size = &x.shape[axis];
                let least = match mode {
                    PadMode::Constant => Dim::ZERO,
                    PadMode::Edge | PadMode::Wrap => border.min(&Dim::ONE),
                    // A border of one needs two elements, and none needs none.
                    PadMode::Reflect => border + border.min(&Dim::ONE),
                };
                list.at_most(least, size, || format!("what the border of axis {axis} needs"));
            }
        }
        (Op::TopK { axis, k, .. }, [x]) => {
            if let Some(size) = x.shape.get(*axis) {
                list.at_most(k.clone(), size, || "k".to_owned());
            }
        }
        (Op::GatherElements { axis }, [x, index]) | (Op::ScatterElements { axis, .. }, [x, index, _]) => {
            for (i, (size, reach)) in x.shape.iter().zip(&index.shape).enumerate().filter(|(i, _)| i != axis) {
                list.at_most(reach.clone(), size, || format!("the size of the indices on axis {i}"));
            }
        }
        // Operands that are too few or too many, which `infer` refuses.
        (Op::Slice { .. } | Op::Pad { .. } | Op::TopK { .. }, _) => {}
        (Op::GatherElements { .. } | Op::ScatterElements { .. }, _) => {}
        // Their sizes are right if `infer` takes them; what their indices are is checked by the run.
        (Op::Constant(_) | Op::Dims { .. } | Op::Iota { .. } | Op::Unary(_) | Op::Binary(_) | Op::Select, _) => {}
        (Op::Convert(_) | Op::Bitcast(_) | Op::Broadcast { .. } | Op::Reshape { .. } | Op::Transpose { .. }, _) => {}
        (Op::Concat { .. } | Op::Reduce { .. } | Op::ArgReduce { .. } | Op::Contract { .. } | Op::Conv { .. }, _) => {}
        (Op::Pool { .. } | Op::PoolIndex { .. } | Op::Gather { .. } | Op::GatherNd { .. } | Op::ScatterNd(_), _) => {}
        (Op::Cumulative { .. } | Op::NonZero { .. } | Op::Unique { .. } | Op::NonMaxSuppression { .. }, _) => {}
        (Op::TreeLeaf { .. } | Op::BindDims { .. } | Op::Require { .. } | Op::Recurrent(_) | Op::Random { .. }, _) => {}
        (Op::LowerBound | Op::FindString | Op::RunAutomaton | Op::CompareStrings | Op::SplitStrings { .. }, _) => {}
        (Op::If { .. } | Op::Loop { .. }, _) => {}
    }
    list.0
}

/// Axes of operands whose sizes must be one and the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Same {
    /// Operand and axis, of operands that have it.
    pub places: Vec<(usize, usize)>,
    /// The size they must have, where that is none of theirs.
    pub size: Option<Dim>,
    /// What is compared, for messages.
    pub what: String,
}

/// The axes of operands that [`infer`](crate::infer) compares.
pub fn same_sizes(op: &Op, operands: &[&TensorType]) -> Vec<Same> {
    let mut list = vec![];
    let mut same = |places: Vec<(usize, usize)>, size: Option<Dim>, what: String| {
        let exist = places.iter().all(|&(operand, axis)| operands.get(operand).is_some_and(|ty| axis < ty.rank()));
        if exist {
            list.push(Same { places, size, what });
        }
    };
    let axis_of_all = |axis: usize| (0..operands.len()).map(|operand| (operand, axis)).collect();
    let rank = operands.first().map_or(0, |ty| ty.rank());
    match op {
        Op::Binary(_) | Op::Select => {
            (0..rank).for_each(|axis| same(axis_of_all(axis), None, format!("the size of axis {axis}")));
        }
        Op::Concat { axis: along } => (0..rank).filter(|axis| axis != along).for_each(|axis| {
            same(axis_of_all(axis), None, format!("the size of axis {axis}"));
        }),
        Op::Contract { batch, contract, .. } => batch.iter().chain(contract).for_each(|&(left, right)| {
            same(vec![(0, left), (1, right)], None, format!("the size of axes ({left}, {right})"));
        }),
        Op::Conv { groups, .. } => {
            let per_group = operands.get(1).and_then(|w| w.shape.get(rank.checked_sub(2)?));
            if let Some(per_group) = per_group {
                same(vec![(0, rank - 1)], Some(per_group * Dim::from(*groups)), "the number of channels".to_owned());
            }
        }
        Op::Gather { batch, .. } | Op::GatherNd { batch } => (0..*batch).for_each(|axis| {
            same(axis_of_all(axis), None, format!("the size of batch axis {axis}"));
        }),
        Op::ScatterElements { .. } => {
            (0..rank)
                .for_each(|axis| same(vec![(1, axis), (2, axis)], None, format!("the updates' size of axis {axis}")));
        }
        Op::ScatterNd(_) => {
            let Some(index) = operands.get(1) else { return list };
            let Some(outer) = index.rank().checked_sub(1) else { return list };
            let depth = index.shape[outer].as_const().and_then(|n| usize::try_from(n).ok());
            let from = |axis: usize| if axis < outer { Some((1, axis)) } else { Some((0, axis - outer + depth?)) };
            for axis in 0..operands.get(2).map_or(0, |ty| ty.rank()) {
                if let Some(place) = from(axis) {
                    same(vec![place, (2, axis)], None, format!("the updates' size of axis {axis}"));
                }
            }
        }
        Op::NonMaxSuppression { .. } => {
            same(vec![(0, 0), (1, 0)], None, "the batch of boxes and scores".to_owned());
            same(vec![(0, 1), (1, 2)], None, "the number of boxes and scores".to_owned());
        }
        _ => {}
    }
    list
}

struct List(Vec<Demand>);

impl List {
    fn at_most(&mut self, left: Dim, right: &Dim, what: impl FnOnce() -> String) {
        let known = matches!((left.as_const(), right.as_const()), (Some(left), Some(right)) if left <= right);
        if !known && left != *right {
            self.0.push(Demand { left, right: right.clone(), what: what() });
        }
    }

    fn not_negative(&mut self, size: &Dim, what: impl FnOnce() -> String) {
        self.at_most(Dim::ZERO, size, what);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::infer::infer;
    use crate::{ConstPool, DType, SymbolInfo};

    #[test]
    fn what_is_not_proven() {
        let mut table = DimTable::default();
        for name in ["n", "m"] {
            table.new_symbol(SymbolInfo::input(name));
        }
        let dims = |text: &[&str]| -> Vec<Dim> { text.iter().map(|t| table.parse(t).unwrap()).collect() };
        let slice = |start: &str, size: &str, step: i64| Op::Slice {
            starts: dims(&[start]),
            sizes: dims(&[size]),
            steps: vec![step],
        };
        let pad = |low: &str, mode| Op::Pad { low: dims(&[low]), high: dims(&["0"]), mode };
        let elements = Op::GatherElements { axis: 0 };
        for (op, shapes, expected) in [
            (slice("0", "m", 1), vec![vec!["n"]], vec!["the end on axis 0: m <= n"]),
            (slice("max(0, min(2, n))", "n - max(0, min(2, n))", 1), vec![vec!["n"]], vec![]),
            (slice("min(2, n)", "max(0, min(n, 5) - min(2, n))", 1), vec![vec!["n"]], vec![]),
            (slice("0", "floor((n + 2)/3)", 3), vec![vec!["n"]], vec![]),
            (slice("n - 1", "n", -1), vec![vec!["n"]], vec![]),
            (slice("2", "n - 2", 1), vec![vec!["n"]], vec!["the size of axis 0: 0 <= n - 2"]),
            (pad("1", PadMode::Edge), vec![vec!["n"], vec![]], vec!["what the border of axis 0 needs: 1 <= n"]),
            (pad("1", PadMode::Reflect), vec![vec!["n"], vec![]], vec!["what the border of axis 0 needs: 2 <= n"]),
            (pad("m", PadMode::Constant), vec![vec!["n"], vec![]], vec![]),
            (elements.clone(), vec![vec!["n", "4"], vec!["m", "2"]], vec![]),
            (elements, vec![vec!["4", "n"], vec!["2", "m"]], vec!["the size of the indices on axis 1: m <= n"]),
        ] {
            let dtypes = if matches!(op, Op::Pad { .. }) { [DType::F32; 2] } else { [DType::F32, DType::I64] };
            let types: Vec<TensorType> =
                shapes.iter().zip(dtypes).map(|(shape, dtype)| TensorType::new(dtype, dims(shape))).collect();
            let operands: Vec<&TensorType> = types.iter().collect();
            let results = infer(&op, &operands, &ConstPool::default()).unwrap();
            let open = demands(&op, &operands, &results).into_iter().filter(|d| !d.is_proven(&table));
            let open: Vec<String> = open
                .map(|d| format!("{}: {} <= {}", d.what, table.display(&d.left), table.display(&d.right)))
                .collect();
            assert_eq!(open, expected, "{op:?}");
        }
    }
}

//! Which integer values cannot be negative, so that indices made of them need no wrapping.

use crate::scope::Frame;
use nnc_ir::op::BinaryOp;
use nnc_ir::{DType, Dim, Op, ValueId};

/// Larger constants are not looked through.
const MOST_LOOKED_AT: usize = 1 << 16;

impl Frame<'_> {
    /// Whether no element of an integer value can be negative; `false` when not known.
    pub fn not_negative(&self, value: ValueId) -> bool {
        if matches!(self.graph.ty(value).dtype, DType::Bool | DType::U8 | DType::U16 | DType::U32) {
            return true;
        }
        if let Some(tensor) = self.constant(value) {
            return tensor.len() <= MOST_LOOKED_AT && tensor.to_i64s().is_some_and(|v| v.iter().all(|&v| v >= 0));
        }
        self.not_negative.contains(&value)
    }

    /// Notes what is known of the results of the last node.
    pub fn note_signs(&mut self) {
        let Some(node) = self.graph.nodes.last() else { return };
        let input = |i: usize| node.inputs.get(i).is_some_and(|&v| self.not_negative(v));
        let table = &self.graph.dims;
        // For each result; those beyond the list are not known.
        let results: &[bool] = match &node.op {
            Op::Iota { dtype, .. } => &[dtype.is_int()],
            Op::Dims { dims, .. } => &[dims.iter().all(|d| d.provably_ge(&Dim::ZERO, table))],
            Op::NonZero { .. } | Op::ArgReduce { .. } | Op::PoolIndex { .. } | Op::NonMaxSuppression { .. } => &[true],
            Op::TopK { .. } => &[input(0), true],
            Op::Unique { .. } => &[input(0), true, true, true],
            Op::Reshape { .. }
            | Op::Transpose { .. }
            | Op::Broadcast { .. }
            | Op::Slice { .. }
            | Op::Gather { .. }
            | Op::GatherElements { .. }
            | Op::GatherNd { .. } => &[input(0)],
            // A narrower type may wrap.
            Op::Convert(DType::I64) => &[input(0)],
            Op::Binary(BinaryOp::Add | BinaryOp::Mul | BinaryOp::Div | BinaryOp::Min) => &[input(0) && input(1)],
            Op::Binary(BinaryOp::Mod) => &[input(1)],
            Op::Binary(BinaryOp::Rem) => &[input(0)],
            Op::Binary(BinaryOp::Max) => &[input(0) || input(1)],
            Op::Select => &[input(1) && input(2)],
            Op::Pad { .. } => &[input(0) && input(1)],
            Op::Concat { .. } => &[(0..node.inputs.len()).all(input)],
            _ => &[],
        };
        let known = node.outputs.iter().zip(results).filter(|(_, known)| **known);
        let known: Vec<ValueId> = known.map(|(value, _)| *value).collect();
        self.not_negative.extend(known);
    }
}

//! What each operation is to fusion.

use nnc_ir::op::Op;

/// What a node is to fusion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Same index in, same index out.
    Elementwise,
    /// An index transformation or an expression of the index; never worth storing for itself.
    View,
    /// Elements computed from operands at computed indices; worth storing when used in two regions.
    Movement,
    /// Combines elements along axes.
    Reduction,
    /// A kernel of its own that may have an epilogue.
    Anchor,
    /// A kernel of its own.
    Opaque,
}

/// The role of an operation.
pub fn role(op: &Op) -> Role {
    match op {
        Op::Unary(_) | Op::Binary(_) | Op::Select | Op::Convert(_) | Op::Bitcast(_) => Role::Elementwise,
        Op::Constant(_) | Op::Dims { .. } | Op::Iota { .. } => Role::View,
        Op::Broadcast { .. } | Op::Reshape { .. } | Op::Transpose { .. } | Op::Slice { .. } => Role::View,
        Op::Pad { .. } | Op::Gather { .. } | Op::GatherElements { .. } | Op::GatherNd { .. } => Role::Movement,
        Op::Reduce { .. } | Op::ArgReduce { .. } => Role::Reduction,
        Op::Contract { .. } | Op::Conv { .. } | Op::Pool { .. } => Role::Anchor,
        Op::Concat { .. }
        | Op::PoolIndex { .. }
        | Op::ScatterNd(_)
        | Op::ScatterElements { .. }
        | Op::Cumulative { .. }
        | Op::TopK { .. }
        | Op::NonZero { .. }
        | Op::Unique { .. }
        | Op::NonMaxSuppression { .. }
        | Op::TreeLeaf { .. }
        | Op::LowerBound
        | Op::FindString
        | Op::RunAutomaton
        | Op::CompareStrings
        | Op::SplitStrings { .. }
        | Op::BindDims { .. }
        | Op::Require { .. }
        | Op::Recurrent(_)
        | Op::Random { .. }
        | Op::If { .. }
        | Op::Loop { .. } => Role::Opaque,
    }
}

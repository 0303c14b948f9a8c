//! What an operation mentions besides its operands: dimensions, symbols it defines, graphs it contains.

use crate::graph::Graph;
use crate::op::Op;
use crate::{Dim, Symbol};

impl Op {
    /// The symbols this operation defines from data.
    pub fn defined_symbols(&self) -> &[Symbol] {
        match self {
            Op::NonZero { count } | Op::Unique { count, .. } | Op::NonMaxSuppression { count, .. } => {
                std::slice::from_ref(count)
            }
            Op::Loop { trips, .. } => std::slice::from_ref(trips),
            Op::BindDims { symbols } => symbols,
            Op::If { sizes, .. } => sizes,
            _ => &[],
        }
    }

    /// The dimensions among its attributes; the symbols it defines are not among them.
    pub fn dims(&self) -> Vec<&Dim> {
        match self {
            Op::Dims { dims, .. } => dims.iter().collect(),
            Op::Iota { shape, .. } | Op::Broadcast { shape, .. } | Op::Reshape { shape } | Op::Random { shape, .. } => {
                shape.iter().collect()
            }
            Op::Slice { starts, sizes, .. } => starts.iter().chain(sizes).collect(),
            Op::Pad { low, high, .. } => low.iter().chain(high).collect(),
            Op::TopK { k, .. } => vec![k],
            Op::Require { left, right, .. } => vec![left, right],
            _ => vec![],
        }
    }

    /// [`Op::dims`] for rewriting.
    pub fn dims_mut(&mut self) -> Vec<&mut Dim> {
        match self {
            Op::Dims { dims, .. } => dims.iter_mut().collect(),
            Op::Iota { shape, .. } | Op::Broadcast { shape, .. } | Op::Reshape { shape } | Op::Random { shape, .. } => {
                shape.iter_mut().collect()
            }
            Op::Slice { starts, sizes, .. } => starts.iter_mut().chain(sizes).collect(),
            Op::Pad { low, high, .. } => low.iter_mut().chain(high).collect(),
            Op::TopK { k, .. } => vec![k],
            Op::Require { left, right, .. } => vec![left, right],
            _ => vec![],
        }
    }

    /// Whether it is there for what it does rather than for results: it defines symbols or states what must hold.
    pub fn has_effect(&self) -> bool {
        matches!(self, Op::BindDims { .. } | Op::Require { .. })
    }

    /// The graphs it contains.
    pub fn subgraphs(&self) -> Vec<&Graph> {
        match self {
            Op::If { then, otherwise, .. } => vec![then, otherwise],
            Op::Loop { body, .. } => vec![body],
            _ => vec![],
        }
    }
}

//! The language of the e-graph: core operations over e-classes.
//!
//! A [`Head`] is an operation with its attributes, interned so that a [`Term`] is a number and its operands. Values
//! that no rule looks into (inputs, results of operations with several results or with effects) are leaves.
//!
//! Invariants: every term has exactly one result; equal heads have equal numbers; no head holds a graph.

use egg::{Id, Language};
use nnc_ir::ValueId;
use nnc_ir::op::Op;
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// What a term is, apart from its operands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Head {
    /// An operation with one result.
    Op(Op),
    /// A value of the graph that is not looked into.
    Value(ValueId),
}

/// Whether an operation with one result may be a term: it does nothing besides, and the same operands give the same
/// result. Random tensors are left as they stand, since no rule looks into them.
pub fn is_term(op: &Op) -> bool {
    let pure = !op.has_effect() && op.defined_symbols().is_empty() && op.subgraphs().is_empty();
    pure && !matches!(op, Op::Random { .. })
}

/// The number of an interned [`Head`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HeadId(u32);

/// All heads of an e-graph, by number.
#[derive(Debug, Default)]
pub struct Heads {
    list: Vec<Arc<Head>>,
    by_head: FxHashMap<Arc<Head>, HeadId>,
}

impl Heads {
    /// The number of a head.
    pub fn intern(&mut self, head: Head) -> HeadId {
        if let Some(&id) = self.by_head.get(&head) {
            return id;
        }
        let (head, id) = (Arc::new(head), HeadId(self.list.len() as u32));
        self.list.push(head.clone());
        self.by_head.insert(head, id);
        id
    }

    /// The head of a number.
    pub fn get(&self, id: HeadId) -> &Arc<Head> {
        &self.list[id.0 as usize]
    }
}

/// An e-node.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Term {
    /// What it is.
    pub head: HeadId,
    /// Operands.
    pub args: Box<[Id]>,
}

impl Language for Term {
    type Discriminant = HeadId;

    fn discriminant(&self) -> HeadId {
        self.head
    }

    fn matches(&self, other: &Term) -> bool {
        self.head == other.head && self.args.len() == other.args.len()
    }

    fn children(&self) -> &[Id] {
        &self.args
    }

    fn children_mut(&mut self) -> &mut [Id] {
        &mut self.args
    }
}

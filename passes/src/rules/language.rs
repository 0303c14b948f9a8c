//! The language of the e-graph: core operations over e-classes.
//!
//! A [`Head`] is an operation with its attributes, interned so that a [`Term`] is a number and its operands. Values
//! that no rule looks into (inputs, results of operations with several results or with effects) are leaves.
//!
//! Invariants: every term has exactly one result; equal heads have equal numbers; no head holds a float or a graph.

use egg::{Id, Language};
use nnc_ir::ValueId;
use nnc_ir::op::Op;
use rustc_hash::FxHashMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// What a term is, apart from its operands.
#[derive(Clone, Debug)]
pub enum Head {
    /// An operation with one result.
    Op(Op),
    /// A value of the graph that is not looked into.
    Value(ValueId),
}

macro_rules! structural {
    ($($variant:ident $({ $($field:ident),* })? $(( $($position:ident),* ))?;)*) => {
        /// Whether an operation may be a term: one result, no effect, no symbol defined.
        pub fn is_term(op: &Op) -> bool {
            match op {
                $(Op::$variant { .. } => true,)*
                _ => false,
            }
        }

        fn same(a: &Op, b: &Op) -> bool {
            match (a, b) {
                // Two bindings of each field, told apart by the arrays they are collected in.
                $((Op::$variant $({ $($field),* })? $(( $($position),* ))?, other) => {
                    #[allow(unused_variables, reason = "an operation may have no attributes")]
                    let left = ($($($field,)*)? $($($position,)*)?);
                    match other {
                        Op::$variant $({ $($field),* })? $(( $($position),* ))? => {
                            left == ($($($field,)*)? $($($position,)*)?)
                        }
                        _ => false,
                    }
                })*
                _ => false,
            }
        }

        fn hash_fields<H: Hasher>(op: &Op, state: &mut H) {
            match op {
                $(Op::$variant $({ $($field),* })? $(( $($position),* ))? => {
                    $($($field.hash(state);)*)?
                    $($($position.hash(state);)*)?
                })*
                _ => {}
            }
        }
    };
}

structural! {
    Constant(id);
    Dims { dims, scalar };
    Iota { dtype, shape, axis };
    Unary(f);
    Binary(f);
    Select;
    Convert(to);
    Bitcast(to);
    Broadcast { shape, axes };
    Reshape { shape };
    Transpose { perm };
    Slice { starts, sizes, steps };
    Pad { low, high, mode };
    Concat { axis };
    Reduce { op, axes };
    ArgReduce { axis, max, last };
    Contract { batch, contract, out };
    Conv { window, groups, out };
    Pool { op, window };
    PoolIndex { window };
    Gather { axis, batch };
    GatherElements { axis };
    GatherNd { batch };
    ScatterNd(f);
    ScatterElements { axis, op };
    Cumulative { op, axis, exclusive, reverse };
}

impl PartialEq for Head {
    fn eq(&self, other: &Head) -> bool {
        match (self, other) {
            (Head::Op(a), Head::Op(b)) => same(a, b),
            (Head::Value(a), Head::Value(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for Head {}

impl Hash for Head {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Head::Op(op) => {
                std::mem::discriminant(op).hash(state);
                hash_fields(op, state);
            }
            Head::Value(value) => value.hash(state),
        }
    }
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

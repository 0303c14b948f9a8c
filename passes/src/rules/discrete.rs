//! Which values a discrete operation sees, so that rounding differently could change more than their last digits.
//!
//! `floor(41 / 41)` is 1, and 0 when the quotient comes out one unit lower. A value is *discrete* when it reaches, through
//! elementwise operations and moves of elements, an operation whose result jumps: rounding to integers, a cast to
//! integers or bool (as quantisation has), a comparison, a remainder, an arg-max, an order. A sum of several elements
//! ends the way: its terms may be added in any order, so nobody can count on the last digits of what comes after it.
//!
//! Invariant: the answer is yes where it is not known: inside an `if` or a loop, and for what a subgraph yields.
//!
//! Rules that round differently ask before they apply ([`super::saturate`]). Classes that rewriting makes are as
//! discrete as what they are made for. Should classes grow together later so that one which was rounded is discrete
//! after all, [`rounded_in_vain`] tells, and the whole rewriting is dropped.

use super::language::Head;
use super::net::Net;
use egg::Id;
use nnc_ir::op::{Op, ReduceOp};
use nnc_ir::{Dim, DimTable, Graph, TensorType};
use rustc_hash::FxHashSet;

/// What an operation does to small differences of its operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Makes large differences of them.
    Jumps,
    /// Hands them on.
    Passes,
    /// Adds several elements, in an order that nothing prescribes.
    Sums,
}

/// The role of an operation with operands of these types.
pub fn role(op: &Op, operands: &[&TensorType], dims: &DimTable) -> Role {
    match op {
        Op::Unary(f) if f.jumps() => Role::Jumps,
        Op::Binary(f) if f.jumps() => Role::Jumps,
        Op::Convert(to) if !to.is_float() => Role::Jumps,
        Op::Contract { .. } | Op::Conv { .. } | Op::Reduce { .. } | Op::Pool { .. } => {
            if sums(op, operands, dims) {
                Role::Sums
            } else {
                Role::Passes
            }
        }
        Op::Unary(_) | Op::Binary(_) | Op::Select | Op::Convert(_) | Op::Broadcast { .. } | Op::Reshape { .. } => {
            Role::Passes
        }
        Op::Transpose { .. } | Op::Slice { .. } | Op::Pad { .. } | Op::Concat { .. } => Role::Passes,
        Op::Gather { .. } | Op::GatherElements { .. } | Op::GatherNd { .. } => Role::Passes,
        Op::ScatterNd(_) | Op::ScatterElements { .. } => Role::Passes,
        // The first element of a running sum is no sum.
        Op::Cumulative { .. } | Op::Recurrent(_) => Role::Passes,
        Op::Constant(_) | Op::Dims { .. } | Op::Iota { .. } => Role::Passes,
        Op::Bitcast(_) | Op::ArgReduce { .. } | Op::PoolIndex { .. } | Op::TopK { .. } => Role::Jumps,
        Op::TreeLeaf { .. }
        | Op::NonZero { .. }
        | Op::Unique { .. }
        | Op::NonMaxSuppression { .. }
        | Op::LowerBound
        | Op::FindString
        | Op::RunAutomaton
        | Op::CompareStrings
        | Op::SplitStrings { .. }
        | Op::BindDims { .. } => Role::Jumps,
        Op::Random { .. } | Op::If { .. } | Op::Loop { .. } | Op::Require { .. } => Role::Jumps,
    }
}

/// Whether each result of a product, pool or reduction is a sum (or product) of two elements or more.
pub fn sums(op: &Op, operands: &[&TensorType], dims: &DimTable) -> bool {
    let several = |count: Dim| count.provably_ge(&Dim::from(2), dims);
    let size = |operand: usize, axis: usize| {
        operands.get(operand).and_then(|ty| ty.shape.get(axis)).cloned().unwrap_or(Dim::ONE)
    };
    match op {
        Op::Contract { contract, .. } => several(contract.iter().fold(Dim::ONE, |n, &(left, _)| n * size(0, left))),
        Op::Conv { .. } => {
            let rank = operands.get(1).map_or(0, |w| w.rank());
            several((0..rank.saturating_sub(1)).fold(Dim::ONE, |n, axis| n * size(1, axis)))
        }
        Op::Reduce { op: ReduceOp::Sum | ReduceOp::Prod, axes } => {
            several(axes.iter().fold(Dim::ONE, |n, &axis| n * size(0, axis)))
        }
        Op::Pool { op: ReduceOp::Sum | ReduceOp::Prod, window } => window.size.iter().any(|&n| n > 1),
        _ => false,
    }
}

/// For each value of a graph whether it is discrete. What a graph `inside` another yields is.
pub fn values(graph: &Graph, inside: bool) -> Vec<bool> {
    let mut discrete = vec![false; graph.values.len()];
    if inside {
        graph.outputs.iter().for_each(|(_, output)| discrete[output.index()] = true);
    }
    for node in graph.nodes.iter().rev() {
        let operands: Vec<&TensorType> = node.inputs.iter().map(|&v| graph.ty(v)).collect();
        let seen = match role(&node.op, &operands, &graph.dims) {
            Role::Jumps => true,
            Role::Passes => node.outputs.iter().any(|output| discrete[output.index()]),
            Role::Sums => false,
        };
        if seen {
            node.inputs.iter().for_each(|input| discrete[input.index()] = true);
        }
    }
    discrete
}

/// Whether a class that a rule rounded differently is discrete in the end.
pub fn rounded_in_vain(net: &Net) -> bool {
    let tables = &net.egraph.analysis;
    if tables.rounded.is_empty() {
        return false;
    }
    let term_role = |op: &Op, args: &[Id]| {
        let types: Vec<_> = args.iter().map(|&arg| net.ty(arg)).collect();
        role(op, &types.iter().map(|ty| &**ty).collect::<Vec<_>>(), &tables.dims)
    };
    let mut found: FxHashSet<Id> = FxHashSet::default();
    let mut pending: Vec<Id> = vec![];
    for class in net.egraph.classes() {
        if class.data.discrete {
            pending.push(class.id);
        }
        for term in class.iter() {
            if let Head::Op(op) = &**tables.heads.get(term.head)
                && term_role(op, &term.args) == Role::Jumps
            {
                pending.extend(term.args.iter().map(|&arg| net.egraph.find(arg)));
            }
        }
    }
    while let Some(id) = pending.pop() {
        if !found.insert(id) {
            continue;
        }
        for term in net.egraph[id].iter() {
            if let Head::Op(op) = &**tables.heads.get(term.head)
                && term_role(op, &term.args) == Role::Passes
            {
                pending.extend(term.args.iter().map(|&arg| net.egraph.find(arg)));
            }
        }
    }
    tables.rounded.iter().any(|&id| found.contains(&net.egraph.find(id)))
}

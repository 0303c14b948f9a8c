//! How often fusion would have a kernel compute a value, told before any kernel exists.
//!
//! A value inlined into a kernel is computed once for each index at which something reads it there (equal indices share
//! a variable). A *place* is such an index: for each axis the name of an index expression. Names are interned, so that
//! places reached on different ways are equal exactly when the kernel's indices would be; where that is not known they
//! differ, and the count is too large rather than too small.
//!
//! Without a bound on places a chain in which each value is read at two indices doubles the work with every link, and
//! reshapes of reshapes double the size of index expressions; this module counts, `fuse` stores what exceeds the limits.

use nnc_ir::op::Op;
use nnc_ir::{Graph, Node, NodeId, ValueId};
use rustc_hash::FxHashMap;

/// Most indices at which one kernel computes a value.
pub const MOST_PLACES: usize = 8;
/// Most operations that one kernel computes for each element, an operation counting once for each place.
pub const MOST_OPERATIONS: usize = 128;
/// Largest index expression, in terms.
pub const MOST_INDEX_TERMS: u32 = 64;

/// The name of an index expression along one axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Index(u32);

/// An index along every axis of a value.
pub type Place = Box<[Index]>;

/// Where an index expression comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Source {
    /// The only index of a unit axis.
    Zero,
    /// The loop over an axis of a region's root, or of a value that is to lie in memory.
    Root(ValueId, usize),
    /// What a node makes, along an axis of an operand, of its result's indices.
    Node(NodeId, usize, usize, Place),
}

/// The index expressions met so far.
#[derive(Debug, Default)]
pub struct Places {
    names: FxHashMap<Source, Index>,
    /// Size of each expression.
    terms: Vec<u32>,
}

impl Places {
    fn name(&mut self, source: Source, terms: u32) -> Index {
        let next = Index(self.terms.len() as u32);
        let index = *self.names.entry(source).or_insert(next);
        if index == next {
            self.terms.push(terms);
        }
        index
    }

    /// Where a stored value is computed: at the index of its own loops.
    pub fn root(&mut self, graph: &Graph, value: ValueId) -> Place {
        let axes = graph.shape(value).iter().enumerate();
        axes.map(|(axis, dim)| if dim.is_const(1) { self.zero() } else { self.name(Source::Root(value, axis), 1) })
            .collect()
    }

    fn zero(&mut self) -> Index {
        self.name(Source::Zero, 1)
    }

    /// Terms of the largest index expression of a place.
    pub fn size(&self, place: &[Index]) -> u32 {
        place.iter().map(|i| self.terms[i.0 as usize]).max().unwrap_or(0)
    }

    /// Where input number `operand` of a node is read to compute the node's result at `place`.
    pub fn of_operand(&mut self, graph: &Graph, id: NodeId, operand: usize, place: &Place) -> Place {
        let node = &graph.nodes[id.index()];
        let shape = graph.shape(node.inputs[operand]);
        // The same names as far as the result's axes are the operand's, and otherwise an index of the node's making.
        let kept = kept_axes(graph, node, operand);
        let total = place.iter().fold(1u32, |sum, i| sum.saturating_add(self.terms[i.0 as usize]));
        let mut made = Vec::with_capacity(shape.len());
        for (axis, dim) in shape.iter().enumerate() {
            let index = match kept.get(axis).copied().flatten().and_then(|from| place.get(from)) {
                _ if dim.is_const(1) => self.zero(),
                Some(&index) => index,
                None => {
                    let terms = match &node.op {
                        // A loop of its own, or a value in a variable.
                        Op::Reduce { .. } | Op::ArgReduce { .. } => 1,
                        Op::Gather { .. } | Op::GatherElements { .. } | Op::GatherNd { .. } => 1,
                        Op::Slice { .. } => place.get(axis).map_or(1, |i| self.terms[i.0 as usize]).saturating_add(1),
                        Op::Pad { .. } => place.get(axis).map_or(1, |i| self.terms[i.0 as usize]).saturating_add(4),
                        // A quotient and what it leaves both hold all of the axes that are joined and split.
                        _ => total.saturating_mul(2),
                    };
                    self.name(Source::Node(id, operand, axis, place.clone()), terms)
                }
            };
            made.push(index);
        }
        made.into()
    }
}

/// For each axis of an operand the axis of the result that has the same index.
fn kept_axes(graph: &Graph, node: &Node, operand: usize) -> Vec<Option<usize>> {
    let rank = graph.ty(node.inputs[operand]).rank();
    match (&node.op, operand) {
        (Op::Unary(_) | Op::Binary(_) | Op::Select | Op::Convert(_) | Op::Bitcast(_), _) => {
            (0..rank).map(Some).collect()
        }
        (Op::Broadcast { axes, .. }, _) => axes.iter().map(|&axis| Some(axis)).collect(),
        (Op::Transpose { perm }, _) => {
            let mut kept = vec![None; rank];
            perm.iter().enumerate().for_each(|(i, &axis)| kept[axis] = Some(i));
            kept
        }
        (Op::Slice { starts, steps, .. }, _) => {
            let whole = |axis: usize| starts[axis].is_const(0) && steps[axis] == 1;
            (0..rank).map(|axis| whole(axis).then_some(axis)).collect()
        }
        (Op::Pad { .. }, 0) => {
            let (from, to) = (graph.shape(node.inputs[0]), graph.shape(node.outputs[0]));
            (0..rank).map(|axis| (from[axis] == to[axis]).then_some(axis)).collect()
        }
        (Op::Reduce { axes, .. }, _) => without(rank, axes),
        (Op::ArgReduce { axis, .. }, _) => without(rank, &[*axis]),
        (Op::Reshape { shape }, _) => {
            let from = graph.shape(node.inputs[0]);
            let solid =
                |shape: &[nnc_ir::Dim]| (0..shape.len()).filter(|&a| !shape[a].is_const(1)).collect::<Vec<usize>>();
            let (old, new) = (solid(from), solid(shape));
            let mut kept = vec![None; rank];
            let pairs = old.iter().zip(&new).take_while(|(a, b)| from[**a] == shape[**b]);
            pairs.for_each(|(&a, &b)| kept[a] = Some(b));
            let pairs = old.iter().rev().zip(new.iter().rev()).take_while(|(a, b)| from[**a] == shape[**b]);
            pairs.for_each(|(&a, &b)| kept[a] = Some(b));
            kept
        }
        (Op::Gather { axis, batch }, 0) => {
            let picked = graph.ty(node.inputs[1]).rank() - batch;
            let place = |a: usize| if a < *axis { Some(a) } else { (a > *axis).then(|| a - 1 + picked) };
            (0..rank).map(place).collect()
        }
        (Op::Gather { axis, batch }, _) => {
            (0..rank).map(|a| Some(if a < *batch { a } else { a - batch + axis })).collect()
        }
        (Op::GatherElements { axis }, 0) => (0..rank).map(|a| (a != *axis).then_some(a)).collect(),
        (Op::GatherElements { .. }, _) => (0..rank).map(Some).collect(),
        _ => vec![None; rank],
    }
}

/// The axes that a reduction leaves, in order.
fn without(rank: usize, axes: &[usize]) -> Vec<Option<usize>> {
    let mut next = 0;
    let mut place = |axis: usize| {
        let kept = !axes.contains(&axis);
        next += usize::from(kept);
        kept.then(|| next - 1)
    };
    (0..rank).map(&mut place).collect()
}

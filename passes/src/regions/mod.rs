//! Regions: what is computed together, by one kernel or one group of kernels.
//!
//! A region ends in its *root*, which is stored. It has an *anchor*, which says what kind of loops it is built around; the
//! values *inlined* into it exist in registers only; what it *reads* lies in memory. Values outside of regions are the
//! graph's inputs and constants.
//!
//! Invariants (enforced by [`Regions::verify`]):
//! - every stored value that a node computes is the result of one region, and every result is stored;
//! - regions stand in the order of the nodes that end them, and read inputs, constants and results of earlier regions;
//! - inlined values are not stored.

mod apart;
mod fuse;
mod places;
pub(crate) mod pooled;
mod reason;
pub(crate) mod role;
mod text;
mod verify;

use fuse::Decisions;
use nnc_ir::op::Op;
use nnc_ir::{Graph, Node, NodeId, ValueId};
pub use places::{MOST_INDEX_TERMS, MOST_OPERATIONS, MOST_PLACES};
pub use reason::Reason;
pub use role::{Role, role};
use rustc_hash::{FxHashMap, FxHashSet};
pub use text::{TextError, parse, print};
pub use verify::RegionError;

/// What the loops of a region are built around.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Anchor {
    /// The elements of the root, row by row: maps, reductions, row pipelines, data movement.
    Rows,
    /// A sum of products: matrix products and convolutions.
    Contraction(NodeId),
    /// A reduction over windows.
    Window(NodeId),
    /// One operation in steps of its own: recurrence, control flow, what depends on data, concatenation.
    Sequential(NodeId),
}

impl Anchor {
    /// The name of the kind of [`Anchor::Sequential`].
    pub const SEQUENTIAL: &str = "sequential";

    /// The name of its kind.
    pub const fn name(self) -> &'static str {
        match self {
            Anchor::Rows => "rows",
            Anchor::Contraction(_) => "contraction",
            Anchor::Window(_) => "window",
            Anchor::Sequential(_) => Anchor::SEQUENTIAL,
        }
    }

    /// The node it is made of.
    pub const fn node(self) -> Option<NodeId> {
        match self {
            Anchor::Rows => None,
            Anchor::Contraction(node) | Anchor::Window(node) | Anchor::Sequential(node) => Some(node),
        }
    }
}

/// What is computed together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    /// What the loops are built around.
    pub anchor: Anchor,
    /// What it stores: one value, the root, but for sequential regions.
    pub results: Vec<ValueId>,
    /// Values in memory that it reads, ascending; constants included.
    pub reads: Vec<ValueId>,
    /// Values computed in it that are not stored, ascending.
    pub inlined: Vec<ValueId>,
    /// Of each subgraph of a sequential one's operation, the regions.
    pub inside: Vec<Vec<Region>>,
}

/// The regions of a graph, and of the subgraphs of its nodes.
#[derive(Clone, Debug)]
pub struct Regions {
    /// In the order in which they run.
    pub list: Vec<Region>,
    definitions: Vec<Option<NodeId>>,
    stored: Vec<bool>,
    use_counts: Vec<usize>,
    reasons: Vec<Option<Reason>>,
    /// Of the operations with subgraphs.
    inside: FxHashMap<NodeId, Vec<Regions>>,
}

impl Regions {
    /// The regions of the subgraphs of a region's operation.
    pub fn inside(&self, region: &Region) -> &[Regions] {
        region.anchor.node().and_then(|node| self.inside.get(&node)).map_or(&[], Vec::as_slice)
    }

    /// The node of `graph`, of which these are the regions, that computes a value.
    pub fn definition<'g>(&self, graph: &'g Graph, value: ValueId) -> Option<&'g Node> {
        self.definitions[value.index()].map(|id| &graph.nodes[id.index()])
    }

    /// Whether the value is a constant of `graph`, of which these are the regions.
    pub fn is_constant(&self, graph: &Graph, value: ValueId) -> bool {
        self.definition(graph, value).is_some_and(|node| matches!(node.op, Op::Constant(_)))
    }

    /// Whether the value has memory of its own.
    pub fn is_stored(&self, value: ValueId) -> bool {
        self.stored[value.index()]
    }

    /// Why the value is stored; `None` for values that are not, and those that no node computes.
    pub fn reason(&self, value: ValueId) -> Option<Reason> {
        self.reasons[value.index()]
    }

    /// Uses of the value by nodes and outputs.
    pub fn uses(&self, value: ValueId) -> usize {
        self.use_counts[value.index()]
    }
}

/// Divides a graph into regions, as large as serves speed.
pub fn fuse(graph: &Graph) -> Regions {
    divide(graph, &fuse::decide_all)
}

/// Divides a graph into regions of one operation each.
pub fn apart(graph: &Graph) -> Regions {
    divide(graph, &apart::decide_all)
}

fn divide(graph: &Graph, decide: &dyn Fn(&Graph) -> Decisions) -> Regions {
    let Decisions { stored, anchor, use_counts, reasons } = decide(graph);
    let definitions = graph.definitions();
    let mut list = vec![];
    let mut subgraphs = FxHashMap::default();
    for (position, node) in graph.nodes.iter().enumerate() {
        let id = NodeId(position as u32);
        let kind = match (role(&node.op), &node.outputs[..]) {
            (Role::Opaque, _) => Anchor::Sequential(id),
            (_, [root]) if stored[root.index()] && !matches!(node.op, Op::Constant(_)) => match anchor[root.index()] {
                None => Anchor::Rows,
                Some(id) if matches!(graph.nodes[id.index()].op, Op::Pool { .. }) => Anchor::Window(id),
                Some(id) => Anchor::Contraction(id),
            },
            _ => continue,
        };
        let (reads, inlined) = inside(graph, &definitions, &stored, id);
        let of_subgraphs: Vec<Regions> = node.op.subgraphs().into_iter().map(|graph| divide(graph, decide)).collect();
        let lists = of_subgraphs.iter().map(|regions| regions.list.clone()).collect();
        list.push(Region { anchor: kind, results: node.outputs.clone(), reads, inlined, inside: lists });
        if !of_subgraphs.is_empty() {
            subgraphs.insert(id, of_subgraphs);
        }
    }
    Regions { list, definitions, stored, use_counts, reasons, inside: subgraphs }
}

/// What the region that ends in a node reads, and what it computes on the way.
fn inside(
    graph: &Graph,
    definitions: &[Option<NodeId>],
    stored: &[bool],
    last: NodeId,
) -> (Vec<ValueId>, Vec<ValueId>) {
    let mut seen = FxHashSet::default();
    let (mut reads, mut inlined) = (vec![], vec![]);
    let mut pending = graph.nodes[last.index()].inputs.clone();
    while let Some(value) = pending.pop() {
        if !seen.insert(value) {
            continue;
        }
        match definitions[value.index()].map(|id| &graph.nodes[id.index()]) {
            Some(node) if !stored[value.index()] && !matches!(node.op, Op::Constant(_)) => {
                inlined.push(value);
                pending.extend(&node.inputs);
            }
            _ => reads.push(value),
        }
    }
    reads.sort_unstable();
    inlined.sort_unstable();
    (reads, inlined)
}

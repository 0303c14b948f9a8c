//! Fusion: which values exist in memory, and which are computed where they are used.
//!
//! One reverse walk over the graph decides, consumers first:
//! - a view (transpose, reshape, slice, ...) is never stored for its own sake: it is an index transformation;
//! - an elementwise value all of whose uses lie in one region joins it;
//! - a reduction joins a region whose leading axes are the reduction's result axes: the kernel computes it once per
//!   row. This makes row pipelines of softmax and the normalisations, however an exporter spelled them;
//! - a structured operation (contract, conv, pool) becomes the *anchor* of the region that its result flows into
//!   elementwise: the rest of the region is its epilogue. A border that only a pooling reads and that changes no
//!   result of it is not computed at all.
//!
//! Invariants: every value with more than one region, and every operand of an operation that needs memory, is stored;
//! a kernel computes no value at more than [`MOST_PLACES`] indices and does at most [`MOST_OPERATIONS`] operations for
//! an element, so that the work of lowering is linear in the graph. What exceeds a limit is stored.

use super::places::{MOST_INDEX_TERMS, MOST_OPERATIONS, MOST_PLACES, Place, Places};
use super::pooled::inside_of;
use super::reason::Reason;
use super::role::{Role, role};
use nnc_ir::op::Op;
use nnc_ir::{Graph, Node, NodeId, ValueId};

/// The decision for each value.
#[derive(Debug)]
pub(super) struct Decisions {
    /// Whether the value has memory of its own.
    pub stored: Vec<bool>,
    /// For a stored value the structured node whose epilogue ends in it.
    pub anchor: Vec<Option<NodeId>>,
    /// Uses of each value by nodes and outputs.
    pub use_counts: Vec<usize>,
    /// Why a value is stored.
    pub reasons: Vec<Option<Reason>>,
}

impl Decisions {
    /// Only what the graph itself says: inputs and outputs are stored.
    pub(super) fn new(graph: &Graph) -> Decisions {
        let count = graph.values.len();
        let mut decisions = Decisions {
            stored: vec![false; count],
            anchor: vec![None; count],
            use_counts: vec![0; count],
            reasons: vec![None; count],
        };
        for input in graph.nodes.iter().flat_map(|node| &node.inputs) {
            decisions.use_counts[input.index()] += 1;
        }
        for (_, output) in &graph.outputs {
            decisions.use_counts[output.index()] += 1;
            // A view that is an output is stored as it is, so that consumers may read it too.
            decisions.store(*output, Reason::Output);
        }
        graph.inputs.iter().for_each(|input| decisions.stored[input.index()] = true);
        decisions
    }

    /// Stores a value, for the first reason there is.
    pub(super) fn store(&mut self, value: ValueId, reason: Reason) {
        self.stored[value.index()] = true;
        self.reasons[value.index()].get_or_insert(reason);
    }
}

/// Where a value would be computed if it were inlined into all its uses.
#[derive(Clone, Debug, Default)]
struct Demand {
    /// Some use needs it (or a view of it) in memory.
    memory: bool,
    /// The regions, by root value.
    regions: Vec<ValueId>,
    /// How many of its leading axes are indexed just as the (single) root's leading axes are; a unit axis counts.
    aligned: usize,
}

impl Demand {
    fn join(&mut self, other: &Demand) {
        self.memory |= other.memory;
        self.aligned = if self.regions.is_empty() { other.aligned } else { self.aligned.min(other.aligned) };
        for region in &other.regions {
            // More than one is all that matters of more than one.
            if self.regions.len() < 2 && !self.regions.contains(region) {
                self.regions.push(*region);
            }
        }
    }
}

/// Decides for every value of the graph.
pub(super) fn decide_all(graph: &Graph) -> Decisions {
    let count = graph.values.len();
    let mut fusion = Decisions::new(graph);
    let mut demand: Vec<Demand> = vec![Demand::default(); count];
    graph.outputs.iter().for_each(|(_, output)| demand[output.index()].memory = true);
    let mut walk = Walk {
        has_reduction: vec![false; count],
        row_value: row_values(graph),
        reduced: vec![false; count],
        pooled_border: pooled_borders(graph, &fusion.use_counts),
        names: Places::default(),
        wanted: vec![Wanted::default(); count],
        operations: vec![0; count],
    };
    for (position, node) in graph.nodes.iter().enumerate().rev() {
        let (id, role) = (NodeId(position as u32), role(&node.op));
        for &output in &node.outputs {
            decide(graph, id, role, output, &demand[output.index()], &mut fusion, &mut walk);
        }
        // A broadcast's operand is stored in its stead: the broadcast would be far larger.
        let exceeds =
            matches!(node.op, Op::Broadcast { .. }) && walk.exceeds(node.outputs[0], &demand[node.outputs[0].index()]);
        for (operand, &input) in node.inputs.iter().enumerate() {
            let passed = match exceeds {
                true => Demand { memory: true, ..Demand::default() },
                false => pass_on(graph, node, role, input, &demand, (&fusion, &walk)),
            };
            let stored = node.outputs.first().is_none_or(|output| fusion.stored[output.index()]);
            walk.read(graph, id, operand, !passed.regions.is_empty(), stored);
            demand[input.index()].join(&passed);
            walk.reduced[input.index()] |= role == Role::Reduction;
        }
    }
    fusion
}

/// Where a value that is not stored would be computed.
#[derive(Clone, Debug, Default)]
struct Wanted {
    /// Distinct places, as far as [`MOST_PLACES`] has to be told from more.
    places: Vec<Place>,
    /// Terms of the largest index.
    terms: u32,
    /// Views between the value and what is stored.
    views: usize,
}

/// State of the reverse walk beside the decisions.
struct Walk {
    /// Regions, by root, that hold a reduction (an anchor and a reduction do not share a kernel).
    has_reduction: Vec<bool>,
    /// See [`row_values`].
    row_value: Vec<bool>,
    /// Values that a reduction uses.
    reduced: Vec<bool>,
    /// See [`pooled_borders`].
    pooled_border: Vec<bool>,
    /// Indices.
    names: Places,
    /// By value.
    wanted: Vec<Wanted>,
    /// Operations of each region, by root.
    operations: Vec<usize>,
}

impl Walk {
    /// Whether computing a value where it is used passes a limit.
    fn exceeds(&self, value: ValueId, wants: &Demand) -> bool {
        let wanted = &self.wanted[value.index()];
        let crowded = match wants.regions.as_slice() {
            [root] => {
                let places = wanted.places.len();
                places > MOST_PLACES || self.operations[root.index()] + places > MOST_OPERATIONS
            }
            _ => false,
        };
        crowded || wanted.terms > MOST_INDEX_TERMS || wanted.views > MOST_OPERATIONS
    }

    /// Charges the region that computes a value.
    fn inlined(&mut self, value: ValueId, wants: &Demand) {
        if let [root] = wants.regions.as_slice() {
            self.operations[root.index()] += self.wanted[value.index()].places.len();
        }
    }

    /// Notes where a node reads an operand: in memory, or, when it is `inside` a kernel, at places that follow from those
    /// of the node's result. A view that is not stored is looked through in either case.
    fn read(&mut self, graph: &Graph, id: NodeId, operand: usize, inside: bool, stored: bool) {
        let node = &graph.nodes[id.index()];
        let input = node.inputs[operand];
        // Nothing looks through an operation that only has an effect.
        let output = node.outputs.first().copied().unwrap_or(input);
        let through = !stored && role(&node.op) == Role::View;
        let (at, terms, views) = match (stored, through) {
            (false, true) => {
                let above = &self.wanted[output.index()];
                (above.places.clone(), above.terms, above.views + 1)
            }
            (false, false) if inside => (self.wanted[output.index()].places.clone(), 0, 0),
            (true, _) if inside => (vec![self.names.root(graph, output)], 0, 0),
            _ => (vec![], 0, 0),
        };
        let mut places: Vec<Place> = at.iter().map(|place| self.names.of_operand(graph, id, operand, place)).collect();
        if places.is_empty() {
            places.push(self.names.root(graph, input));
        }
        let wanted = &mut self.wanted[input.index()];
        wanted.views = wanted.views.max(views);
        wanted.terms = wanted.terms.max(terms);
        for place in places {
            wanted.terms = wanted.terms.max(self.names.size(&place));
            if wanted.places.len() <= MOST_PLACES && !wanted.places.contains(&place) {
                wanted.places.push(place);
            }
        }
    }
}

/// Values computed from a reduction's result without passing through memory, such as `x - max(x)`. Storing one would
/// split a row pipeline; any other value that a reduction and something else read is better stored once.
fn row_values(graph: &Graph) -> Vec<bool> {
    let mut in_memory = vec![false; graph.values.len()];
    for node in &graph.nodes {
        if matches!(role(&node.op), Role::Anchor | Role::Opaque) {
            node.inputs.iter().for_each(|v| in_memory[v.index()] = true);
        }
    }
    graph.outputs.iter().for_each(|(_, v)| in_memory[v.index()] = true);
    let mut row = vec![false; graph.values.len()];
    for node in &graph.nodes {
        let value = match role(&node.op) {
            Role::Reduction => true,
            Role::Elementwise | Role::View => node.inputs.iter().any(|v| row[v.index()] && !in_memory[v.index()]),
            Role::Movement | Role::Anchor | Role::Opaque => false,
        };
        node.outputs.iter().for_each(|v| row[v.index()] = value);
    }
    row
}

/// Values with a border that a pooling, which alone reads them, does without.
fn pooled_borders(graph: &Graph, use_counts: &[usize]) -> Vec<bool> {
    let mut pooled = vec![false; graph.values.len()];
    let definitions = graph.definitions();
    for node in graph.nodes.iter().filter(|node| matches!(node.op, Op::Pool { .. })) {
        let Some(&x) = node.inputs.first() else { continue };
        let definition = |value: ValueId| definitions[value.index()].map(|id| &graph.nodes[id.index()]);
        pooled[x.index()] = use_counts[x.index()] == 1 && inside_of(graph, node, definition).is_some();
    }
    pooled
}

fn decide(
    graph: &Graph,
    id: NodeId,
    role: Role,
    output: ValueId,
    wants: &Demand,
    fusion: &mut Decisions,
    walk: &mut Walk,
) {
    let single = match wants.regions.as_slice() {
        [root] if !wants.memory && !fusion.stored[output.index()] => Some(*root),
        _ => None,
    };
    let exceeds = walk.exceeds(output, wants);
    // Why it joins no region, unless the reason is its own.
    let apart = if wants.memory { Reason::NeededInMemory } else { Reason::SeveralKernels };
    match role {
        // A constant is a weight, and a broadcast's operand is stored in its stead.
        Role::View => {
            let node = &graph.nodes[id.index()];
            if exceeds && matches!(node.op, Op::Reshape { .. } | Op::Transpose { .. } | Op::Slice { .. }) {
                fusion.store(output, Reason::Limit);
            }
        }
        Role::Elementwise | Role::Movement => {
            let shared_row = walk.reduced[output.index()]
                && fusion.use_counts[output.index()] > 1
                && !walk.row_value[output.index()];
            if single.is_none() {
                fusion.store(output, apart);
            } else if shared_row {
                fusion.store(output, Reason::ReducedAndRead);
            } else if exceeds {
                fusion.store(output, Reason::Limit);
            }
        }
        Role::Reduction => {
            let joins = single.filter(|root| !exceeds && row_of(graph, output, *root, wants.aligned));
            match joins {
                Some(root) if fusion.anchor[root.index()].is_none() => walk.has_reduction[root.index()] = true,
                _ => {
                    let reason = match single {
                        None => apart,
                        Some(_) if exceeds => Reason::Limit,
                        Some(_) if joins.is_none() => Reason::OtherRows,
                        Some(_) => Reason::OtherLoops,
                    };
                    fusion.store(output, reason);
                    walk.has_reduction[output.index()] = true;
                }
            }
        }
        Role::Anchor => {
            let root = single.filter(|root| {
                wants.aligned == graph.ty(*root).rank()
                    && graph.shape(*root) == graph.shape(output)
                    && fusion.anchor[root.index()].is_none()
                    && !walk.has_reduction[root.index()]
            });
            if root.is_none() {
                fusion.store(output, if single.is_some() { Reason::OtherLoops } else { apart });
            }
            fusion.anchor[root.unwrap_or(output).index()] = Some(id);
        }
        Role::Opaque => fusion.store(output, Reason::Sequential),
    }
    if !fusion.stored[output.index()] && role != Role::Anchor {
        walk.inlined(output, wants);
    }
}

/// Whether a reduction's result is computed once per leading index of the root.
fn row_of(graph: &Graph, reduced: ValueId, root: ValueId, aligned: usize) -> bool {
    let (mut outer, full) = (graph.shape(reduced), graph.shape(root));
    // A last axis of one element is none.
    while let [rest @ .., last] = outer
        && last.is_const(1)
        && full.get(rest.len()) != Some(last)
    {
        outer = rest;
    }
    aligned >= outer.len() && full.len() >= outer.len() && full[..outer.len()] == *outer
}

/// What the use of `input` by `node` demands.
fn pass_on(
    graph: &Graph,
    node: &Node,
    role: Role,
    input: ValueId,
    demand: &[Demand],
    (fusion, walk): (&Decisions, &Walk),
) -> Demand {
    let memory = Demand { memory: true, ..Demand::default() };
    let in_border = node.outputs.iter().any(|output| walk.pooled_border[output.index()]);
    if in_border || matches!(role, Role::Opaque | Role::Anchor) && !walk.pooled_border[input.index()] {
        return memory;
    }
    let output = node.outputs[0];
    let mut passed = if fusion.stored[output.index()] {
        Demand { memory: false, regions: vec![output], aligned: graph.ty(output).rank() }
    } else {
        demand[output.index()].clone()
    };
    let shape = graph.shape(input);
    let same = |i: usize| i < shape.len();
    let known = match &node.op {
        Op::Unary(_) | Op::Binary(_) | Op::Select | Op::Convert(_) | Op::Bitcast(_) => passed.aligned,
        Op::Broadcast { axes, .. } => {
            axes.iter().enumerate().take_while(|(i, a)| *i == **a).count().min(passed.aligned)
        }
        // Axes before the first that is reduced keep their index.
        Op::Reduce { axes, .. } => axes.first().copied().unwrap_or(0).min(passed.aligned),
        Op::ArgReduce { axis, .. } => passed.aligned.min(*axis),
        Op::Reshape { .. } => {
            let to = graph.shape(output);
            shape.iter().zip(to).take_while(|(a, b)| a == b).count().min(passed.aligned)
        }
        _ => 0,
    };
    // A unit axis has but one index.
    passed.aligned = (known..).find(|&i| !same(i) || !shape[i].is_const(1)).unwrap_or(known);
    // Expanding along leading axes would compute the operand anew for every row: it is stored instead.
    if matches!(node.op, Op::Broadcast { .. }) && passed.aligned < shape.len() {
        return memory;
    }
    passed
}

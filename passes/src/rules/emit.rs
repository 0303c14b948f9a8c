//! From chosen terms back to a graph.
//!
//! Nodes that are no terms keep their order; each term is placed right before the first node that needs it, after
//! whatever defines the symbols it mentions.

use super::extract::Choice;
use super::language::Head;
use super::load::Loaded;
use egg::Id;
use nnc_ir::{Graph, Node, Op, Symbol, ValueId};
use rustc_hash::FxHashMap;

/// Something to place in the new graph.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Item {
    Class(Id),
    /// A node of the old graph that is no term.
    Node(usize),
}

struct Emitter<'a> {
    old: &'a Graph,
    loaded: &'a Loaded,
    choice: &'a Choice,
    new: Graph,
    values: FxHashMap<Id, ValueId>,
    /// The old nodes that define symbols.
    definers: FxHashMap<Symbol, usize>,
    /// The old node of each leaf.
    leaves: FxHashMap<ValueId, usize>,
    /// Values by leaf.
    placed_leaves: FxHashMap<ValueId, ValueId>,
    names: FxHashMap<Id, &'a str>,
    state: FxHashMap<Item, bool>,
}

/// Whether a node is kept as it is rather than chosen from the e-graph.
pub fn is_fixed(loaded: &Loaded, graph: &Graph, position: usize) -> bool {
    let node = &graph.nodes[position];
    node.outputs.is_empty()
        || node
            .outputs
            .iter()
            .any(|&output| loaded.classes[output.index()].is_some_and(|id| is_leaf_of(loaded, id, output)))
}

fn is_leaf_of(loaded: &Loaded, id: Id, value: ValueId) -> bool {
    let heads = &loaded.net.egraph.analysis.heads;
    loaded.net.egraph[id].iter().any(|term| matches!(&**heads.get(term.head), Head::Value(v) if *v == value))
}

/// Builds the graph; `None` when symbols and operands need each other.
pub fn emit(old: &Graph, loaded: &Loaded, choice: &Choice) -> Option<Graph> {
    let fixed: Vec<usize> = (0..old.nodes.len()).filter(|&i| is_fixed(loaded, old, i)).collect();
    let mut emitter = Emitter {
        old,
        loaded,
        choice,
        new: Graph {
            name: old.name.clone(),
            dims: old.dims.clone(),
            // Shared with the e-graph, unused ones included: hashing them anew would take longer than rewriting.
            consts: loaded.net.egraph.analysis.consts.clone(),
            encodings: old.encodings.clone(),
            ..Graph::default()
        },
        values: FxHashMap::default(),
        definers: fixed
            .iter()
            .flat_map(|&i| old.nodes[i].op.defined_symbols().into_iter().map(move |s| (s, i)))
            .collect(),
        leaves: fixed.iter().flat_map(|&i| old.nodes[i].outputs.iter().map(move |&v| (v, i))).collect(),
        placed_leaves: FxHashMap::default(),
        names: FxHashMap::default(),
        state: FxHashMap::default(),
    };
    for (index, value) in old.values.iter().enumerate() {
        if let (Some(id), false) = (loaded.classes[index], value.name.is_empty()) {
            emitter.names.entry(loaded.net.egraph.find(id)).or_insert(&value.name);
        }
    }
    for &input in &old.inputs {
        let value = &old.values[input.index()];
        let placed = emitter.new.add_input(value.ty.clone(), value.name.clone());
        emitter.placed_leaves.insert(input, placed);
    }
    for &position in &fixed {
        emitter.place(Item::Node(position))?;
    }
    for (name, output) in &old.outputs {
        let id = loaded.net.egraph.find(loaded.classes[output.index()]?);
        emitter.place(Item::Class(id))?;
        let value = *emitter.values.get(&id)?;
        emitter.new.outputs.push((name.clone(), value));
    }
    Some(emitter.new)
}

impl Emitter<'_> {
    /// Places an item after all it needs, without recursion: graphs may be deep.
    fn place(&mut self, item: Item) -> Option<()> {
        let mut stack = vec![(item, false)];
        while let Some((item, ready)) = stack.pop() {
            if self.state.get(&item) == Some(&true) {
                continue;
            }
            if ready {
                match item {
                    Item::Class(id) => self.place_class(id)?,
                    Item::Node(position) => self.place_node(position)?,
                }
                self.state.insert(item, true);
                continue;
            }
            if self.state.insert(item, false).is_some() {
                // Met again before it was placed: it needs itself.
                return None;
            }
            stack.push((item, true));
            for needed in self.needs(item)?.into_iter().rev() {
                match self.state.get(&needed) {
                    Some(true) => {}
                    // On the path to here: what waits unvisited has no state yet.
                    Some(false) => return None,
                    None => stack.push((needed, false)),
                }
            }
        }
        Some(())
    }

    fn needs(&self, item: Item) -> Option<Vec<Item>> {
        let mut needs = vec![];
        let symbols: Vec<Symbol> = match item {
            Item::Class(id) => {
                let (head, args) = self.choice.get(&id)?;
                let mut symbols: Vec<Symbol> =
                    self.loaded.net.facts(id).ty.shape.iter().flat_map(|d| d.symbols()).collect();
                match &**head {
                    Head::Op(op) => symbols.extend(op.dims().into_iter().flat_map(|d| d.symbols())),
                    Head::Value(value) => {
                        needs.extend(self.leaves.get(value).map(|&position| Item::Node(position)));
                        symbols.clear();
                    }
                }
                needs.extend(args.iter().map(|&a| Item::Class(self.loaded.net.egraph.find(a))));
                symbols
            }
            Item::Node(position) => {
                let node = &self.old.nodes[position];
                for input in &node.inputs {
                    let id = self.loaded.classes[input.index()]?;
                    needs.push(Item::Class(self.loaded.net.egraph.find(id)));
                }
                let own = node.op.defined_symbols();
                let shapes = node.outputs.iter().flat_map(|&v| self.old.shape(v));
                let mut symbols: Vec<Symbol> = shapes.flat_map(|d| d.symbols()).collect();
                symbols.extend(mentioned(&node.op));
                symbols.retain(|s| !own.contains(s));
                symbols
            }
        };
        needs.extend(symbols.iter().filter_map(|s| self.definers.get(s)).map(|&position| Item::Node(position)));
        // The same thing twice would look like a cycle.
        let mut unique: Vec<Item> = vec![];
        for need in needs {
            if !unique.contains(&need) {
                unique.push(need);
            }
        }
        Some(unique)
    }

    fn place_class(&mut self, id: Id) -> Option<()> {
        let (head, args) = self.choice.get(&id)?;
        let facts = self.loaded.net.facts(id);
        let value = match &**head {
            Head::Value(value) => *self.placed_leaves.get(value)?,
            Head::Op(op) => {
                let origin = facts.origin.and_then(|i| self.old.nodes.get(i as usize)).map(|n| n.origin.clone());
                let inputs: Option<Vec<ValueId>> =
                    args.iter().map(|&a| self.values.get(&self.loaded.net.egraph.find(a)).copied()).collect();
                let name = self.names.get(&id).copied().unwrap_or_default();
                let output = self.new.add_value((*facts.ty).clone(), name);
                let node =
                    Node { op: op.clone(), inputs: inputs?, outputs: vec![output], origin: origin.unwrap_or_default() };
                self.new.nodes.push(node);
                output
            }
        };
        self.values.insert(id, value);
        Some(())
    }

    fn place_node(&mut self, position: usize) -> Option<()> {
        let node = &self.old.nodes[position];
        let mut inputs = vec![];
        for input in &node.inputs {
            let id = self.loaded.net.egraph.find(self.loaded.classes[input.index()]?);
            inputs.push(*self.values.get(&id)?);
        }
        let mut outputs = vec![];
        for &output in &node.outputs {
            let value = &self.old.values[output.index()];
            let placed = self.new.add_value(value.ty.clone(), value.name.clone());
            self.placed_leaves.insert(output, placed);
            outputs.push(placed);
        }
        self.new.nodes.push(Node { op: node.op.clone(), inputs, outputs, origin: node.origin.clone() });
        Some(())
    }
}

/// The symbols that an operation mentions, subgraphs included.
pub fn mentioned(op: &Op) -> Vec<Symbol> {
    let mut found: Vec<Symbol> = op.dims().into_iter().flat_map(|d| d.symbols()).collect();
    let mut graphs = op.subgraphs();
    while let Some(graph) = graphs.pop() {
        found.extend(graph.values.iter().flat_map(|v| &v.ty.shape).flat_map(|d| d.symbols()));
        for node in &graph.nodes {
            found.extend(node.op.dims().into_iter().flat_map(|d| d.symbols()));
            graphs.extend(node.op.subgraphs());
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

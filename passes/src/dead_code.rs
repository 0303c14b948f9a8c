//! Removes nodes and values that nothing uses.
//!
//! A node stays when a result of it is used, when it has an effect, or when it defines a symbol that something that
//! stays mentions.

use crate::rules::emit::mentioned;
use nnc_ir::graph::Value;
use nnc_ir::{Graph, Op, Symbol, ValueId};
use rustc_hash::FxHashMap;

/// Removes unused nodes and the values left over. Symbols and constants keep their numbers.
pub fn remove_dead(graph: Graph) -> Graph {
    let live = live_nodes(&graph);
    let Graph { name, dims, consts, encodings, .. } = graph;
    let mut new = Graph { name, dims, consts, encodings, ..Graph::default() };
    let mut values: Vec<Option<ValueId>> = vec![None; graph.values.len()];
    let mut keep = |new: &mut Graph, old: ValueId| -> ValueId {
        *values[old.index()].get_or_insert_with(|| {
            let Value { ty, name } = &graph.values[old.index()];
            new.add_value(ty.clone(), name.clone())
        })
    };
    for input in graph.inputs {
        let value = keep(&mut new, input);
        new.inputs.push(value);
    }
    for (mut node, _) in graph.nodes.into_iter().zip(live).filter(|(_, live)| *live) {
        node.inputs.iter_mut().chain(&mut node.outputs).for_each(|v| *v = keep(&mut new, *v));
        new.nodes.push(node);
    }
    for (name, output) in graph.outputs {
        let value = keep(&mut new, output);
        new.outputs.push((name, value));
    }
    new
}

/// Removes unused nodes, and constants that no node holds. Adding a constant to a pool hashes its bytes, so this is
/// for the end.
pub fn sweep(graph: Graph) -> Graph {
    let mut graph = remove_dead(graph);
    let old = std::mem::take(&mut graph.consts);
    let mut consts = FxHashMap::default();
    for node in &graph.nodes {
        if let Op::Constant(id) = node.op {
            consts.entry(id).or_insert(id);
        }
    }
    if consts.len() == old.len() {
        graph.consts = old;
        return graph;
    }
    consts.clear();
    for node in &mut graph.nodes {
        if let Op::Constant(id) = &mut node.op {
            let pool = &mut graph.consts;
            *id = *consts.entry(*id).or_insert_with(|| pool.add(old.get(*id).clone()));
        }
    }
    graph
}

/// For each node whether it stays.
fn live_nodes(graph: &Graph) -> Vec<bool> {
    let definitions = graph.definitions();
    let mut definers: FxHashMap<Symbol, usize> = FxHashMap::default();
    for (position, node) in graph.nodes.iter().enumerate() {
        definers.extend(node.op.defined_symbols().into_iter().map(|symbol| (symbol, position)));
    }
    let mut live = vec![false; graph.nodes.len()];
    let mut work: Vec<usize> = vec![];
    let of_value = |value: ValueId, work: &mut Vec<usize>| {
        work.extend(definitions.get(value.index()).copied().flatten().map(|id| id.index()));
        // The type mentions symbols even where the definition is an input.
        let symbols = graph.shape(value).iter().flat_map(|d| d.symbols());
        work.extend(symbols.filter_map(|s| definers.get(&s).copied()));
    };
    for (_, output) in &graph.outputs {
        of_value(*output, &mut work);
    }
    let effects = graph.nodes.iter().enumerate().filter(|(_, node)| node.op.has_effect());
    work.extend(effects.map(|(position, _)| position));
    while let Some(position) = work.pop() {
        if std::mem::replace(&mut live[position], true) {
            continue;
        }
        let node = &graph.nodes[position];
        for &value in node.inputs.iter().chain(&node.outputs) {
            of_value(value, &mut work);
        }
        work.extend(mentioned(&node.op).into_iter().filter_map(|s| definers.get(&s).copied()));
    }
    live
}

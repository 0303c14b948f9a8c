//! From a graph to an e-graph.

use super::discrete;
use super::facts::Tables;
use super::language::{Head, Term, is_term};
use super::net::Net;
use egg::{EGraph, Id};
use nnc_ir::{Graph, ValueId};
use std::sync::Arc;

/// An e-graph that represents a graph.
pub struct Loaded {
    /// The e-graph.
    pub net: Net,
    /// The class of each value; `None` for values nothing defines.
    pub classes: Vec<Option<Id>>,
}

/// Loads every node of a graph, which may stand `inside` another. Operations that are no terms keep their place in the
/// graph; their results become leaves.
pub fn load(graph: &Graph, inside: bool) -> Loaded {
    let tables = Tables::new(graph.consts.clone(), graph.dims.clone());
    let mut net = Net { egraph: EGraph::new(tables) };
    let mut classes = vec![None; graph.values.len()];
    for &input in &graph.inputs {
        classes[input.index()] = Some(leaf(&mut net, graph, input));
    }
    for (position, node) in graph.nodes.iter().enumerate() {
        net.egraph.analysis.origin = Some(position as u32);
        let args: Option<Vec<Id>> = node.inputs.iter().map(|v| classes[v.index()]).collect();
        let term = args.filter(|_| node.outputs.len() == 1 && is_term(&node.op));
        if let Some(id) = term.and_then(|args| net.add(node.op.clone(), &args)) {
            classes[node.outputs[0].index()] = Some(id);
            continue;
        }
        for &output in &node.outputs {
            classes[output.index()] = Some(leaf(&mut net, graph, output));
        }
    }
    net.egraph.rebuild();
    for (class, discrete) in classes.iter().zip(discrete::values(graph, inside)) {
        if let Some(id) = class.filter(|_| discrete) {
            let id = net.egraph.find(id);
            net.egraph[id].data.discrete = true;
        }
    }
    Loaded { net, classes }
}

fn leaf(net: &mut Net, graph: &Graph, value: ValueId) -> Id {
    let head = net.egraph.analysis.heads.intern(Head::Value(value));
    net.egraph.analysis.leaves.insert(head, Arc::new(graph.ty(value).clone()));
    net.egraph.add(Term { head, args: [].into() })
}

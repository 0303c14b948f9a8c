//! The order of nodes and the definition of names.
//!
//! After [`check`], in every graph: no name is defined twice, except that an initialiser may give
//! an input its default value; every name used is defined in the graph or in one around it; nodes
//! stand after those they need, keeping the file's order where it allows that. A subgraph's use of
//! an outer name counts as a use by the node that holds the subgraph.
//!
//! Source: A. B. Kahn, "Topological sorting of large networks", 1962,
//! <https://doi.org/10.1145/368996.369025>; the ready nodes are kept in a heap by their place in
//! the file, which makes the order stable.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashMap, HashSet},
};

use petgraph::algo::toposort;
use petgraph::graph::{DiGraph, NodeIndex};

use crate::{
    Attribute, Graph, ImportError, Model,
    error::{Result, clip},
};

/// Names a graph uses but does not define, each with the user that needs it.
type Free = BTreeMap<String, User>;

#[derive(Clone)]
struct User {
    sort: &'static str,
    name: String,
}

/// Checks all graphs of the model and puts their nodes in order.
pub fn check(model: &mut Model) -> Result<()> {
    let found = sort(&mut model.graph).and_then(|free| match free.into_iter().next() {
        None => Ok(()),
        Some((name, user)) => {
            Err(ImportError::malformed(format!("missing tensor: `{}` is used but defined nowhere", clip(&name)))
                .at(user.sort, &user.name))
        }
    });
    found.map_err(|error| error.in_file(&model.file))
}

/// Sorts a graph and those below it; returns the names it takes from the graphs around it.
fn sort(graph: &mut Graph) -> Result<Free> {
    let mut captured = Vec::with_capacity(graph.nodes.len());
    for node in &mut graph.nodes {
        let mut free = Free::new();
        for (name, attribute) in &mut node.attributes {
            if let Attribute::Reference(to) = attribute {
                return Err(ImportError::malformed(format!(
                    "the attribute `{}` refers to `{}`, which only a function's body may do",
                    clip(name),
                    clip(to)
                ))
                .at("node", &node.name));
            }
            for graph in attribute.graphs_mut() {
                free.append(&mut sort(graph)?);
            }
        }
        captured.push(free);
    }
    let definitions = Definitions::of(graph)?;
    let mut free = Free::new();
    let mut needs = vec![Vec::new(); graph.nodes.len()];
    for ((node, captured), needs) in graph.nodes.iter().zip(&captured).zip(&mut needs) {
        let own = User { sort: "node", name: node.name.clone() };
        let inputs = node.inputs.iter().filter(|input| !input.is_empty());
        let used = inputs.map(|input| (input, &own)).chain(captured);
        for (name, user) in used {
            if let Some(maker) = definitions.nodes.get(name.as_str()) {
                needs.push(*maker);
            } else if !definitions.given.contains(name.as_str()) && !free.contains_key(name) {
                free.insert(name.clone(), user.clone());
            }
        }
    }
    for output in &graph.outputs {
        if output.name.is_empty() {
            return Err(ImportError::malformed("an output has no name").at("graph", &graph.name));
        }
        if !definitions.has(&output.name) && !free.contains_key(&output.name) {
            let user = User { sort: "graph output", name: output.name.clone() };
            free.insert(output.name.clone(), user);
        }
    }
    match order(&needs) {
        Ok(order) => reorder(graph, &order),
        Err(on_cycle) => {
            let name = graph.nodes.get(on_cycle).map_or("", |node| node.name.as_str());
            return Err(ImportError::malformed("the graph is cyclic: the node needs its own output").at("node", name));
        }
    }
    Ok(free)
}

/// What defines the names of one graph.
struct Definitions<'a> {
    given: HashSet<&'a str>,
    nodes: HashMap<&'a str, usize>,
}

impl<'a> Definitions<'a> {
    fn of(graph: &'a Graph) -> Result<Definitions<'a>> {
        let twice = |name: &str| ImportError::malformed(format!("the value `{}` is defined twice", clip(name)));
        let mut given = HashSet::new();
        for input in &graph.inputs {
            if input.name.is_empty() {
                return Err(ImportError::malformed("an input has no name").at("graph", &graph.name));
            }
            if !given.insert(input.name.as_str()) {
                return Err(twice(&input.name).at("graph input", &input.name));
            }
        }
        let mut constants = HashSet::new();
        for constant in &graph.initializers {
            if constant.name.is_empty() {
                return Err(ImportError::malformed("an initialiser has no name").at("graph", &graph.name));
            }
            if !constants.insert(constant.name.as_str()) {
                return Err(twice(&constant.name).at("initialiser", &constant.name));
            }
        }
        given.extend(constants);
        let mut nodes = HashMap::new();
        for (place, node) in graph.nodes.iter().enumerate() {
            for output in node.outputs.iter().filter(|output| !output.is_empty()) {
                let fresh = !given.contains(output.as_str());
                if !fresh || nodes.insert(output.as_str(), place).is_some() {
                    return Err(twice(output).at("node", &node.name));
                }
            }
        }
        Ok(Definitions { given, nodes })
    }

    fn has(&self, name: &str) -> bool {
        self.given.contains(name) || self.nodes.contains_key(name)
    }
}

/// An order in which each node stands after those it `needs`, or a node that lies on a cycle.
fn order(needs: &[Vec<usize>]) -> std::result::Result<Vec<usize>, usize> {
    let edges =
        needs.iter().enumerate().flat_map(|(node, needs)| needs.iter().map(move |&need| (need as u32, node as u32)));
    let mut uses: DiGraph<(), ()> = DiGraph::from_edges(edges);
    while uses.node_count() < needs.len() {
        uses.add_node(());
    }
    toposort(&uses, None).map_err(|cycle| cycle.node_id().index())?;
    // Of the nodes that are ready the first in the file goes first.
    let mut open: Vec<usize> = needs.iter().map(Vec::len).collect();
    let ready = open.iter().enumerate().filter(|(_, open)| **open == 0);
    let mut ready: BinaryHeap<_> = ready.map(|(node, _)| Reverse(node)).collect();
    let mut order = Vec::with_capacity(needs.len());
    while let Some(Reverse(node)) = ready.pop() {
        order.push(node);
        for user in uses.neighbors(NodeIndex::new(node)) {
            open[user.index()] -= 1;
            if open[user.index()] == 0 {
                ready.push(Reverse(user.index()));
            }
        }
    }
    Ok(order)
}

fn reorder(graph: &mut Graph, order: &[usize]) {
    if order.is_sorted() {
        return;
    }
    let mut nodes: Vec<_> = std::mem::take(&mut graph.nodes).into_iter().map(Some).collect();
    graph.nodes = order.iter().filter_map(|&place| nodes[place].take()).collect();
}

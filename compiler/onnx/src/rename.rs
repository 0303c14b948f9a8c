//! A copy of a function's body with the names and attributes of one call.
//!
//! Invariant: what is copied is paid for from a budget before it is copied.

use std::collections::{BTreeMap, HashMap};

use crate::{
    Attribute, Graph, NamedTensor, Node, ValueInfo,
    error::{Result, clip},
    inline::{Budget, FreshNames},
};

/// The new names of a function's body, innermost subgraph last.
pub(crate) struct Scopes(Vec<HashMap<String, String>>);

impl Scopes {
    /// The scope of a body whose inputs and outputs have these names.
    pub(crate) fn new(names: HashMap<String, String>) -> Scopes {
        Scopes(vec![names])
    }

    /// The new name of `name`. One that no scope knows yet is a value of the body itself, or
    /// undefined, which the check of the whole graph finds.
    pub(crate) fn lookup(&mut self, name: &str, names: &mut FreshNames) -> String {
        if name.is_empty() {
            return String::new();
        }
        if let Some(known) = self.0.iter().rev().find_map(|scope| scope.get(name)) {
            return known.clone();
        }
        let fresh = names.fresh(name);
        if let Some(body) = self.0.first_mut() {
            body.insert(name.to_owned(), fresh.clone());
        }
        fresh
    }
}

/// One call of a function.
pub(crate) struct Substitution<'a> {
    pub(crate) scopes: &'a mut Scopes,
    pub(crate) names: &'a mut FreshNames,
    pub(crate) budget: &'a mut Budget,
    pub(crate) call: &'a Node,
    pub(crate) defaults: &'a BTreeMap<String, Attribute>,
}

impl Substitution<'_> {
    /// The copy of a node of the body.
    pub(crate) fn node(&mut self, body: &Node) -> Result<Node> {
        self.budget.node(cost_of_node(body))?;
        let mut attributes = BTreeMap::new();
        for (name, attribute) in &body.attributes {
            if let Some(value) = self.attribute(attribute)? {
                attributes.insert(name.clone(), value);
            }
        }
        Ok(Node {
            name: format!("{}/{}", clip(&self.call.name), body.name),
            op_type: body.op_type.clone(),
            domain: body.domain.clone(),
            overload: body.overload.clone(),
            opset: body.opset,
            inputs: self.all(&body.inputs),
            outputs: self.all(&body.outputs),
            attributes,
        })
    }

    fn attribute(&mut self, attribute: &Attribute) -> Result<Option<Attribute>> {
        Ok(Some(match attribute {
            Attribute::Reference(name) => {
                let given = self.call.attributes.get(name).or_else(|| self.defaults.get(name));
                // An attribute that the call leaves out is left out in the body too. One that is
                // given stands in the caller's names and is copied as it is.
                let Some(given) = given else { return Ok(None) };
                self.budget.bytes(cost_of_attribute(given))?;
                given.clone()
            }
            Attribute::Graph(graph) => Attribute::Graph(Box::new(self.graph(graph)?)),
            Attribute::Graphs(graphs) => {
                let graphs = graphs.iter().map(|graph| self.graph(graph));
                Attribute::Graphs(graphs.collect::<Result<_>>()?)
            }
            plain => plain.clone(),
        }))
    }

    fn graph(&mut self, graph: &Graph) -> Result<Graph> {
        let mut own = HashMap::new();
        let inputs = graph.inputs.iter().map(|input| &input.name);
        let constants = graph.initializers.iter().map(|constant| &constant.name);
        let outputs = graph.nodes.iter().flat_map(|node| &node.outputs);
        for name in inputs.chain(constants).chain(outputs).filter(|name| !name.is_empty()) {
            if !own.contains_key(name) {
                own.insert(name.clone(), self.names.fresh(name));
            }
        }
        self.scopes.0.push(own);
        let nodes = graph.nodes.iter().map(|node| self.node(node)).collect::<Result<_>>()?;
        let initializers = graph.initializers.iter().map(|constant| NamedTensor {
            name: self.scopes.lookup(&constant.name, self.names),
            tensor: constant.tensor.clone(),
        });
        let renamed = Graph {
            name: graph.name.clone(),
            initializers: initializers.collect(),
            inputs: self.values(&graph.inputs),
            outputs: self.values(&graph.outputs),
            value_info: BTreeMap::new(),
            nodes,
        };
        self.scopes.0.pop();
        Ok(renamed)
    }

    fn values(&mut self, values: &[ValueInfo]) -> Vec<ValueInfo> {
        let renamed = values
            .iter()
            .map(|value| ValueInfo { name: self.scopes.lookup(&value.name, self.names), ty: value.ty.clone() });
        renamed.collect()
    }

    fn all(&mut self, names: &[String]) -> Vec<String> {
        names.iter().map(|name| self.scopes.lookup(name, self.names)).collect()
    }
}

/// About how many bytes a copy of the node takes; weights are shared and cost nothing.
pub(crate) fn cost_of_node(node: &Node) -> usize {
    let names = node.inputs.iter().chain(&node.outputs).map(|name| name.len() + 64);
    let attributes = node.attributes.iter();
    256 + node.name.len()
        + node.op_type.len()
        + node.domain.len()
        + names.sum::<usize>()
        + attributes.map(|(name, value)| name.len() + cost_of_attribute(value)).sum::<usize>()
}

fn cost_of_attribute(attribute: &Attribute) -> usize {
    let of_strings = |strings: &[Vec<u8>]| strings.iter().map(|string| string.len() + 32).sum();
    64 + match attribute {
        Attribute::String(string) => string.len(),
        Attribute::Floats(numbers) => numbers.len() * 4,
        Attribute::Ints(numbers) => numbers.len() * 8,
        Attribute::Strings(strings) => of_strings(strings),
        Attribute::Tensors(tensors) | Attribute::SparseTensors(tensors) => tensors.len() * 256,
        Attribute::Types(types) => types.len() * 256,
        Attribute::Reference(name) => name.len(),
        _ => attribute.graphs().iter().map(cost_of_graph).sum(),
    }
}

fn cost_of_graph(graph: &Graph) -> usize {
    let values = graph.inputs.iter().chain(&graph.outputs).map(|value| value.name.len() + 256);
    let constants = graph.initializers.iter().map(|constant| constant.name.len() + 256);
    let typed = graph.value_info.keys().map(|name| name.len() + 256);
    let nodes = graph.nodes.iter().map(cost_of_node);
    256 + values.chain(constants).chain(typed).chain(nodes).sum::<usize>()
}

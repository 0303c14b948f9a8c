//! Calls of model-local functions, replaced by their bodies.
//!
//! Every name a body defines, in its subgraphs too, is replaced by one that occurs nowhere else in
//! the model, so a body can neither hide nor capture a name of its caller. The names of the
//! caller's outputs stay. Invariants: recursion is refused; depth and total growth are bounded,
//! because a chain of functions that each call the next twice doubles with every link.
//!
//! Source: the section on model local functions of
//! <https://github.com/onnx/onnx/blob/main/docs/IR.md>.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::{
    Attribute, ErrorKind, Function, Graph, ImportError, Model, Node,
    error::{Result, clip},
    limits::{MOST_CALLS, MOST_EXPANDED_NODES, MOST_EXPANSION, MOST_GRAPH_LEVELS},
    rename::{Scopes, Substitution, cost_of_node},
};

/// Expands every call of a model-local function, in the graph and its subgraphs.
pub fn inline_functions(model: &mut Model) -> Result<()> {
    if model.functions.is_empty() {
        return Ok(());
    }
    let mut graph = std::mem::take(&mut model.graph);
    let done = Inliner::new(&model.functions, &graph).and_then(|mut inliner| inliner.graph(&mut graph, 0));
    model.graph = graph;
    done.map_err(|error| error.in_file(&model.file))
}

/// Domain, name and overload of a function.
type Key<'a> = (&'a str, &'a str, &'a str);

struct Inliner<'a> {
    functions: HashMap<Key<'a>, &'a Function>,
    names: FreshNames,
    /// The functions whose bodies are being expanded.
    stack: Vec<Key<'a>>,
    budget: Budget,
}

impl<'a> Inliner<'a> {
    fn new(functions: &'a [Function], graph: &Graph) -> Result<Inliner<'a>> {
        let mut by_key = HashMap::new();
        for function in functions {
            if by_key.insert(key_of(function), function).is_some() {
                return Err(ImportError::malformed("the function is defined twice").at("function", &function.name));
            }
        }
        let mut names = FreshNames { taken: HashSet::new(), next: 0 };
        names.take_all(graph);
        Ok(Inliner { functions: by_key, names, stack: Vec::new(), budget: Budget::default() })
    }

    fn graph(&mut self, graph: &mut Graph, level: usize) -> Result<()> {
        if level > MOST_GRAPH_LEVELS {
            return Err(too_large(format!("has subgraphs more than {MOST_GRAPH_LEVELS} deep")));
        }
        let mut out = Vec::with_capacity(graph.nodes.len());
        for node in std::mem::take(&mut graph.nodes) {
            let name = node.name.clone();
            self.node(node, level, &mut out).map_err(|error| error.at("node", &name))?;
        }
        graph.nodes = out;
        Ok(())
    }

    fn node(&mut self, mut node: Node, level: usize, out: &mut Vec<Node>) -> Result<()> {
        for attribute in node.attributes.values_mut() {
            for graph in attribute.graphs_mut() {
                self.graph(graph, level + 1)?;
            }
        }
        let key = (node.domain.as_str(), node.op_type.as_str(), node.overload.as_str());
        match self.functions.get(&key).copied() {
            Some(function) => self.expand(&node, function, level, out),
            None => {
                out.push(node);
                Ok(())
            }
        }
    }

    fn expand(&mut self, call: &Node, function: &'a Function, level: usize, out: &mut Vec<Node>) -> Result<()> {
        let key = key_of(function);
        if self.stack.contains(&key) {
            return Err(ImportError::malformed(format!("the function `{}` calls itself", clip(&function.name))));
        }
        if self.stack.len() >= MOST_CALLS {
            return Err(too_large(format!("functions call functions more than {MOST_CALLS} deep")));
        }
        check_call(call, function)?;
        let mut names = HashMap::new();
        for (place, formal) in function.inputs.iter().enumerate() {
            let actual = call.inputs.get(place).cloned().unwrap_or_default();
            names.insert(formal.clone(), actual);
        }
        // An output that is an input too, or is listed twice, has a name already: copy it.
        let mut copies = Vec::new();
        for (place, formal) in function.outputs.iter().enumerate() {
            let actual = call.outputs.get(place).filter(|actual| !actual.is_empty());
            match (names.contains_key(formal), actual) {
                (true, Some(actual)) => copies.push((formal, actual)),
                (true, None) => {}
                (false, Some(actual)) => {
                    names.insert(formal.clone(), actual.clone());
                }
                (false, None) => {
                    names.insert(formal.clone(), self.names.fresh(formal));
                }
            }
        }
        self.stack.push(key);
        let mut scopes = Scopes::new(names);
        for body in &function.nodes {
            let mut substitution = Substitution {
                scopes: &mut scopes,
                names: &mut self.names,
                budget: &mut self.budget,
                call,
                defaults: &function.defaults,
            };
            let node = substitution.node(body)?;
            self.node(node, level, out)?;
        }
        self.stack.pop();
        for (formal, actual) in copies {
            let input = scopes.lookup(formal, &mut self.names);
            let node = identity(call, function, input, actual);
            self.budget.node(cost_of_node(&node))?;
            out.push(node);
        }
        Ok(())
    }
}

/// What expansion may still add.
pub(crate) struct Budget {
    bytes: usize,
    nodes: usize,
}

impl Default for Budget {
    fn default() -> Budget {
        Budget { bytes: MOST_EXPANSION, nodes: MOST_EXPANDED_NODES }
    }
}

impl Budget {
    /// Pays for bytes.
    pub(crate) fn bytes(&mut self, cost: usize) -> Result<()> {
        self.bytes = self.bytes.checked_sub(cost).ok_or_else(|| {
            too_large(format!("grows by more than {MOST_EXPANSION} bytes when its functions are expanded"))
        })?;
        Ok(())
    }

    /// Pays for a node of so many bytes.
    pub(crate) fn node(&mut self, cost: usize) -> Result<()> {
        self.nodes = self.nodes.checked_sub(1).ok_or_else(|| {
            too_large(format!("grows by more than {MOST_EXPANDED_NODES} nodes when its functions are expanded"))
        })?;
        self.bytes(cost)
    }
}

fn key_of(function: &Function) -> Key<'_> {
    (&function.domain, &function.name, &function.overload)
}

fn check_call(call: &Node, function: &Function) -> Result<()> {
    let refuse = |what: String| {
        let name = clip(&function.name);
        Err(ImportError::malformed(format!("calls the function `{name}` with {what}")))
    };
    if call.inputs.len() > function.inputs.len() {
        return refuse(format!("{} inputs, it has {}", call.inputs.len(), function.inputs.len()));
    }
    if call.outputs.len() > function.outputs.len() {
        return refuse(format!("{} outputs, it has {}", call.outputs.len(), function.outputs.len()));
    }
    let known = |name: &String| function.attributes.contains(name) || function.defaults.contains_key(name);
    match call.attributes.keys().find(|name| !known(name)) {
        Some(name) => refuse(format!("the attribute `{}`, which it does not have", clip(name))),
        None => Ok(()),
    }
}

fn identity(call: &Node, function: &Function, input: String, output: &str) -> Node {
    Node {
        name: format!("{}/Identity", clip(&call.name)),
        op_type: "Identity".to_owned(),
        domain: String::new(),
        overload: String::new(),
        opset: function.opset_imports.get("").copied().unwrap_or(1),
        inputs: vec![input],
        outputs: vec![output.to_owned()],
        attributes: BTreeMap::new(),
    }
}

fn too_large(what: String) -> ImportError {
    ImportError::new(ErrorKind::Limit, what, "it is no model this compiler accepts")
}

/// Names that occur nowhere else in the model.
pub(crate) struct FreshNames {
    taken: HashSet<String>,
    next: usize,
}

impl FreshNames {
    /// A new name that shows which one it replaces.
    pub(crate) fn fresh(&mut self, name: &str) -> String {
        // `next` never goes back, so names that are taken cost one step in all.
        loop {
            let fresh = format!("{}.{}", clip(name), self.next);
            self.next += 1;
            if self.taken.insert(fresh.clone()) {
                return fresh;
            }
        }
    }

    fn take_all(&mut self, graph: &Graph) {
        let inputs = graph.inputs.iter().map(|input| &input.name);
        let constants = graph.initializers.iter().map(|constant| &constant.name);
        self.taken.extend(inputs.chain(constants).cloned());
        for node in &graph.nodes {
            self.taken.extend(node.inputs.iter().chain(&node.outputs).cloned());
            for graph in node.attributes.values().flat_map(Attribute::graphs) {
                self.take_all(graph);
            }
        }
    }
}

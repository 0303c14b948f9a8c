//! Smaller versions of a failing model.

use std::collections::BTreeSet;

use nnc_ir::{Dim, Symbol, Tensor};

use super::Specimen;
use super::net::{Attr, Body, Fill, Net, Node};
use crate::fuzz::shrink::Shrink;
use crate::fuzz::special;

impl Shrink for Specimen {
    fn smaller(&self) -> Vec<Specimen> {
        let mut all = vec![];
        let with_net = |net: Net| Specimen { net, ..self.clone() };
        // One run instead of several.
        if self.runs.len() > 1 {
            all.extend(self.runs.iter().map(|run| Specimen { runs: vec![run.clone()], ..self.clone() }));
        }
        all.extend(special::fewer(self.special).into_iter().map(|special| Specimen { special, ..self.clone() }));
        // One output instead of several.
        if self.net.outputs.len() > 1 {
            for i in 0..self.net.outputs.len() {
                let mut net = self.net.clone();
                net.outputs = vec![net.outputs[i].clone()];
                net.prune();
                all.push(with_net(net));
            }
            for i in 0..self.net.outputs.len() {
                let mut net = self.net.clone();
                net.outputs.remove(i);
                net.prune();
                all.push(with_net(net));
            }
        }
        all.extend(cut(&self.net).into_iter().map(with_net));
        all.extend(self.fixed());
        all.extend(self.fewer_elements());
        all.extend(simpler_constants(&self.net).into_iter().map(with_net));
        all.extend(simpler_nodes(&self.net.nodes).into_iter().map(|nodes| {
            let mut net = Net { nodes, ..self.net.clone() };
            net.prune();
            with_net(net)
        }));
        all
    }
}

/// Versions in which a node's results come from outside, and versions that end at an inner value.
fn cut(net: &Net) -> Vec<Net> {
    let mut all = vec![];
    let inputs: BTreeSet<&str> = net.outputs.iter().map(|o| o.name.as_str()).collect();
    for node in net.nodes.iter().rev() {
        // End here.
        for name in node.outputs.iter().filter(|n| !inputs.contains(n.as_str())) {
            if let Some(var) = net.values.get(name) {
                let mut smaller = net.clone();
                smaller.outputs = vec![var.clone()];
                smaller.prune();
                if smaller.nodes.len() < net.nodes.len() {
                    all.push(smaller);
                }
            }
        }
    }
    for (i, node) in net.nodes.iter().enumerate().rev() {
        if node.outputs.iter().any(|o| inputs.contains(o.as_str())) {
            continue;
        }
        // Begin here: only where the results' shapes are known without running.
        let vars: Option<Vec<_>> = node.outputs.iter().map(|o| net.values.get(o).cloned()).collect();
        let known = |d: &Dim| d.as_const().is_some() || d.as_symbol().is_some_and(|s| net.free_symbols().contains(&s));
        if let Some(vars) = vars.filter(|vars| vars.iter().all(|v| v.dims.iter().all(known))) {
            let mut smaller = net.clone();
            smaller.nodes.remove(i);
            smaller.inputs.extend(vars.into_iter().map(|v| (v, Fill::Range)));
            smaller.prune();
            all.push(smaller);
        }
    }
    all
}

impl Specimen {
    /// The same with a symbol replaced by its size.
    fn fixed(&self) -> Vec<Specimen> {
        let [run] = self.runs.as_slice() else { return vec![] };
        let fix = |symbol: &Symbol| {
            let size = run.get(symbol.0 as usize).copied()?;
            let mut smaller = self.clone();
            smaller.map_dims(&|d| d.substitute(&|s| (s == *symbol).then(|| Dim::from(size))));
            Some(smaller)
        };
        self.net.free_symbols().iter().filter_map(fix).collect()
    }

    /// The same with smaller sizes.
    fn fewer_elements(&self) -> Vec<Specimen> {
        let [run] = self.runs.as_slice() else { return vec![] };
        let mut all = vec![];
        for symbol in self.net.free_symbols() {
            let size = run[symbol.0 as usize];
            for smaller in [0, 1, 2, size / 2, size - 1].into_iter().filter(|s| *s >= 0 && *s < size) {
                let mut copy = self.clone();
                copy.runs[0][symbol.0 as usize] = smaller;
                all.push(copy);
            }
        }
        let sizes: BTreeSet<i64> = self
            .net
            .inputs
            .iter()
            .flat_map(|(v, _)| v.dims.iter().filter_map(Dim::as_const))
            .filter(|&s| s > 1)
            .collect();
        for &size in sizes.iter().rev() {
            for smaller in [1, 2, size / 2].into_iter().filter(|s| *s < size && *s > 0) {
                let mut copy = self.clone();
                copy.map_dims(&|d| if d.is_const(size) { Dim::from(smaller) } else { d.clone() });
                copy.net.constants.iter_mut().for_each(|(_, t)| *t = crop(t, size as usize, smaller as usize));
                all.push(copy);
            }
        }
        all
    }

    fn map_dims(&mut self, map: &dyn Fn(&Dim) -> Dim) {
        let net = &mut self.net;
        let vars = net.inputs.iter_mut().map(|(v, _)| v).chain(&mut net.outputs).chain(net.values.values_mut());
        vars.for_each(|v| v.dims.iter_mut().for_each(|d| *d = map(d)));
        for (_, fill) in &mut net.inputs {
            if let Fill::Indices(d, _) | Fill::Lengths(d) = fill {
                *d = map(d);
            }
        }
    }
}

/// A tensor with the axes of one size cut down to another.
fn crop(tensor: &Tensor, size: usize, smaller: usize) -> Tensor {
    let shape: Vec<usize> = tensor.shape.iter().map(|&d| if d == size { smaller } else { d }).collect();
    let count: usize = shape.iter().product();
    if tensor.shape.len() < 2 && !tensor.dtype.is_float() || count == 0 {
        // Vectors of integers are shapes and axes.
        return tensor.clone();
    }
    let values = tensor.to_f64s();
    Tensor::from_f64s(tensor.dtype, &shape, &values[..count])
}

/// Versions in which a constant of floats is 1 everywhere.
fn simpler_constants(net: &Net) -> Vec<Net> {
    let mut all = vec![];
    for (i, (_, tensor)) in net.constants.iter().enumerate() {
        let plain = tensor.to_f64s().iter().all(|&v| v == 1.0);
        if tensor.dtype.is_float() && !plain {
            let mut simpler = net.clone();
            simpler.constants[i].1 = Tensor::from_f64s(tensor.dtype, &tensor.shape, &vec![1.0; tensor.len()]);
            all.push(simpler);
        }
    }
    all
}

/// Versions of a list of nodes in which one of them says less: an attribute is left out, or a body is simpler. What is
/// then no valid model any more shows no fault.
fn simpler_nodes(nodes: &[Node]) -> Vec<Vec<Node>> {
    let mut all = vec![];
    for (i, node) in nodes.iter().enumerate() {
        let mut push = |change: &dyn Fn(&mut Node)| {
            let mut copy = nodes.to_vec();
            change(&mut copy[i]);
            all.push(copy);
        };
        for (j, (_, attribute)) in node.attributes.iter().enumerate() {
            match attribute {
                Attr::Graph(body) => {
                    for simpler in simpler_bodies(body) {
                        push(&|node| node.attributes[j].1 = Attr::Graph(Box::new(simpler.clone())));
                    }
                }
                _ => push(&|node| drop(node.attributes.remove(j))),
            }
        }
    }
    all
}

/// Versions of a body without one of its nodes, whose first operand stands for its result, and with simpler nodes.
fn simpler_bodies(body: &Body) -> Vec<Body> {
    let mut all = vec![];
    for (i, node) in body.nodes.iter().enumerate().rev() {
        let (Some(from), [to]) = (node.inputs.first(), node.outputs.as_slice()) else { continue };
        let mut copy = body.clone();
        copy.nodes.remove(i);
        let read = copy.nodes.iter_mut().flat_map(|n| &mut n.inputs);
        for name in read.chain(copy.outputs.iter_mut().map(|o| &mut o.name)).filter(|name| *name == to) {
            name.clone_from(from);
        }
        all.push(copy);
    }
    all.extend(simpler_nodes(&body.nodes).into_iter().map(|nodes| Body { nodes, ..body.clone() }));
    all
}

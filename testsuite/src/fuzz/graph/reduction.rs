//! Smaller versions of a failing graph.

use std::collections::BTreeSet;

use nnc_ir::{Dim, Graph, Op, Symbol, SymbolOrigin, ValueId};

use super::Specimen;
use crate::fuzz::onnx::range::Range;
use crate::fuzz::shrink::Shrink;
use crate::fuzz::special;

/// Removes what no output needs; symbols stay known through the inputs that mention them and the nodes that define them.
pub(super) fn prune(specimen: &mut Specimen) {
    let graph = &mut specimen.graph;
    let mut needed: BTreeSet<ValueId> = graph.outputs.iter().map(|o| o.1).collect();
    let mut mentioned = Mentioned::default();
    needed.iter().for_each(|&v| mentioned.all(graph, graph.shape(v)));
    let mut kept = vec![];
    for node in std::mem::take(&mut graph.nodes).into_iter().rev() {
        let defines = node.op.defined_symbols().iter().any(|s| mentioned.0.contains(s));
        if defines || node.outputs.iter().any(|o| needed.contains(o)) {
            needed.extend(&node.inputs);
            node.inputs.iter().chain(&node.outputs).for_each(|&v| mentioned.all(graph, graph.shape(v)));
            mentioned.operation(graph, &node.op);
            kept.push(node);
        }
    }
    kept.reverse();
    graph.nodes = kept;
    // An input that alone names a symbol stays.
    let mut named: BTreeSet<Symbol> = BTreeSet::new();
    let names = |graph: &Graph, v: ValueId| graph.shape(v).iter().filter_map(Dim::as_symbol).collect::<Vec<_>>();
    for &input in graph.inputs.iter().filter(|v| needed.contains(v)) {
        named.extend(names(graph, input));
    }
    let mut keep = vec![];
    for &input in &graph.inputs {
        let new = names(graph, input).iter().any(|s| mentioned.0.contains(s) && !named.contains(s));
        if new {
            named.extend(names(graph, input));
        }
        keep.push(new || needed.contains(&input));
    }
    let mut flags = keep.iter();
    graph.inputs.retain(|_| flags.next() == Some(&true));
    let mut flags = keep.iter();
    specimen.ranges.retain(|_| flags.next() == Some(&true));
}

/// The symbols that what is kept mentions.
#[derive(Default)]
struct Mentioned(BTreeSet<Symbol>);

impl Mentioned {
    fn all(&mut self, graph: &Graph, dims: &[Dim]) {
        for symbol in dims.iter().flat_map(Dim::symbols) {
            if self.0.insert(symbol)
                && let Some(upper) = graph.dims.lookup(symbol).and_then(|info| info.upper.as_ref())
            {
                self.all(graph, std::slice::from_ref(upper));
            }
        }
    }

    fn operation(&mut self, graph: &Graph, op: &Op) {
        op.dims().into_iter().for_each(|dim| self.all(graph, std::slice::from_ref(dim)));
        for inner in op.subgraphs() {
            inner.values.iter().for_each(|value| self.all(graph, &value.ty.shape));
            inner.nodes.iter().for_each(|node| self.operation(graph, &node.op));
        }
    }
}

impl Shrink for Specimen {
    fn smaller(&self) -> Vec<Specimen> {
        let mut all = vec![];
        if self.runs.len() > 1 {
            all.extend(self.runs.iter().map(|run| Specimen { runs: vec![run.clone()], ..self.clone() }));
        }
        all.extend(special::fewer(self.special).into_iter().map(|special| Specimen { special, ..self.clone() }));
        let ending = |outputs: Vec<(String, ValueId)>| {
            let mut copy = self.clone();
            copy.graph.outputs = outputs;
            prune(&mut copy);
            copy
        };
        let outputs = &self.graph.outputs;
        if outputs.len() > 1 {
            all.extend(outputs.iter().map(|o| ending(vec![o.clone()])));
            all.extend((0..outputs.len()).map(|i| ending([&outputs[..i], &outputs[i + 1..]].concat())));
        }
        for node in self.graph.nodes.iter().rev() {
            for &value in node.outputs.iter().filter(|v| !outputs.iter().any(|o| o.1 == **v)) {
                let copy = ending(vec![("y0".to_owned(), value)]);
                if copy.graph.nodes.len() < self.graph.nodes.len() {
                    all.push(copy);
                }
            }
        }
        all.extend((0..self.graph.nodes.len()).rev().filter_map(|i| self.begin_after(i)));
        all.extend(super::simplify::simpler(&self.graph).into_iter().map(|graph| {
            let mut copy = Specimen { graph, ..self.clone() };
            prune(&mut copy);
            copy
        }));
        if let [run] = self.runs.as_slice() {
            all.extend(
                self.graph
                    .dims
                    .iter()
                    .filter(|(_, i)| i.origin == SymbolOrigin::Input)
                    .filter_map(|(s, _)| self.fixed(s, run)),
            );
            for (symbol, info) in self.graph.dims.iter().filter(|(_, info)| info.origin == SymbolOrigin::Input) {
                let size = run[symbol.0 as usize];
                for smaller in [0, 1, 2, size / 2, size - 1].into_iter().filter(|s| *s >= info.min && *s < size) {
                    let mut copy = self.clone();
                    copy.runs[0][symbol.0 as usize] = smaller;
                    all.push(copy);
                }
            }
        }
        all
    }
}

impl Specimen {
    /// The same with a node's results as inputs.
    fn begin_after(&self, node: usize) -> Option<Specimen> {
        let results = self.graph.nodes[node].outputs.clone();
        let named = |s: Symbol| self.graph.dims.get(s).origin == SymbolOrigin::Input;
        let known = |d: &Dim| d.as_const().is_some() || d.as_symbol().is_some_and(named);
        let plain = results.iter().all(|&v| self.graph.shape(v).iter().all(known));
        let is_output = results.iter().any(|v| self.graph.outputs.iter().any(|o| o.1 == *v));
        if !plain || is_output || matches!(self.graph.nodes[node].op, Op::Constant(_) | Op::Broadcast { .. }) {
            return None;
        }
        let mut copy = self.clone();
        copy.graph.nodes.remove(node);
        for value in results {
            copy.graph.values[value.index()].name = format!("v{}", value.index());
            copy.graph.inputs.push(value);
            let dtype = copy.graph.ty(value).dtype;
            copy.ranges.push(if dtype == nnc_ir::DType::Bool {
                Range::exact(0.0, 1.0, 0)
            } else {
                Range::exact(0.0, 3.0, 0)
            });
        }
        prune(&mut copy);
        Some(copy)
    }

    /// The same with a symbol replaced by its size.
    fn fixed(&self, symbol: Symbol, run: &[i64]) -> Option<Specimen> {
        let used = self.graph.inputs.iter().any(|&v| self.graph.shape(v).iter().any(|d| d.symbols().contains(&symbol)));
        let size = run.get(symbol.0 as usize).copied().filter(|_| used)?;
        let mut copy = self.clone();
        let map = |d: &mut Dim| *d = d.substitute(&|s| (s == symbol).then(|| Dim::from(size)));
        each_dim(&mut copy.graph, &map);
        nnc_ir::verify::verify(&copy.graph).ok()?;
        Some(copy)
    }
}

/// Changes every dimension of a graph and of the graphs inside of it.
fn each_dim(graph: &mut Graph, map: &impl Fn(&mut Dim)) {
    graph.values.iter_mut().flat_map(|value| &mut value.ty.shape).for_each(map);
    for node in &mut graph.nodes {
        node.op.dims_mut().into_iter().for_each(map);
        match &mut node.op {
            Op::If { then, otherwise, .. } => [then, otherwise].into_iter().for_each(|inner| each_dim(inner, map)),
            Op::Loop { body, .. } => each_dim(body, map),
            _ => {}
        }
    }
}

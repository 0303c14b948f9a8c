//! Smaller versions of a failing graph.

use std::collections::BTreeSet;

use nnc_ir::{Dim, Op, Symbol, SymbolOrigin, ValueId};

use super::Specimen;
use crate::fuzz::onnx::range::Range;
use crate::fuzz::shrink::Shrink;

/// Removes what no output needs; symbols stay known through the inputs that mention them.
pub(super) fn prune(specimen: &mut Specimen) {
    let graph = &mut specimen.graph;
    let mut needed: BTreeSet<ValueId> = graph.outputs.iter().map(|o| o.1).collect();
    let mut kept = vec![];
    for node in std::mem::take(&mut graph.nodes).into_iter().rev() {
        if node.outputs.iter().any(|o| needed.contains(o)) {
            needed.extend(&node.inputs);
            kept.push(node);
        }
    }
    kept.reverse();
    graph.nodes = kept;
    // An input that alone names a symbol stays.
    let mut named: BTreeSet<Symbol> = BTreeSet::new();
    let shapes = graph.values.iter().flat_map(|v| &v.ty.shape);
    let listed = graph.nodes.iter().filter_map(|n| if let Op::Dims { dims, .. } = &n.op { Some(dims) } else { None });
    let mentioned: BTreeSet<Symbol> = shapes.chain(listed.flatten()).flat_map(Dim::symbols).collect();
    let names =
        |graph: &nnc_ir::Graph, v: ValueId| graph.shape(v).iter().filter_map(Dim::as_symbol).collect::<Vec<_>>();
    for &input in graph.inputs.iter().filter(|v| needed.contains(v)) {
        named.extend(names(graph, input));
    }
    let mut keep = vec![];
    for &input in &graph.inputs {
        let new = names(graph, input).iter().any(|s| mentioned.contains(s) && !named.contains(s));
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

impl Shrink for Specimen {
    fn smaller(&self) -> Vec<Specimen> {
        let mut all = vec![];
        if self.runs.len() > 1 {
            all.extend(self.runs.iter().map(|run| Specimen { runs: vec![run.clone()], ..self.clone() }));
        }
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
        if let [run] = self.runs.as_slice() {
            all.extend(
                self.graph
                    .dims
                    .iter()
                    .filter(|(_, i)| i.origin == SymbolOrigin::Input)
                    .filter_map(|(s, _)| self.fixed(s, run)),
            );
            for (symbol, info) in self.graph.dims.iter() {
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
        let known = |d: &Dim| d.as_const().is_some() || d.as_symbol().is_some();
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
        for value in &mut copy.graph.values {
            value.ty.shape.iter_mut().for_each(map);
        }
        for node in &mut copy.graph.nodes {
            match &mut node.op {
                Op::Dims { dims: list, .. }
                | Op::Iota { shape: list, .. }
                | Op::Broadcast { shape: list, .. }
                | Op::Reshape { shape: list } => list.iter_mut().for_each(map),
                Op::Slice { starts: a, sizes: b, .. } | Op::Pad { low: a, high: b, .. } => {
                    a.iter_mut().chain(b).for_each(map)
                }
                Op::TopK { k, .. } => map(k),
                _ => {}
            }
        }
        nnc_ir::verify::verify(&copy.graph).ok()?;
        Some(copy)
    }
}

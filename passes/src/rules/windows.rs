//! Large graphs are rewritten in windows: runs of nodes, one after the other.
//!
//! An e-graph grows by a factor over its graph, sets of classes are as long as it has classes, and rules look at all
//! terms of a class: time and memory rise faster than the graph. Windows make them rise with it. What one window
//! computes is a leaf to the next; constants are known to all.

use nnc_ir::{Graph, Node, Op, ValueId};
use rustc_hash::FxHashMap;

/// Most nodes that are rewritten at once.
pub const MOST_NODES: usize = 4096;

/// Rewrites runs of at most `most` nodes with `rewrite`, which keeps inputs, outputs, symbols and the constants' numbers.
pub fn in_windows(graph: Graph, most: usize, mut rewrite: impl FnMut(Graph) -> Graph) -> Graph {
    let definitions = graph.definitions();
    // The position of a value's last use.
    let mut last_use: Vec<usize> = vec![0; graph.values.len()];
    for (position, node) in graph.nodes.iter().enumerate() {
        for input in &node.inputs {
            last_use[input.index()] = position;
        }
    }
    for (_, output) in &graph.outputs {
        last_use[output.index()] = usize::MAX;
    }
    let Graph { name, dims, encodings, .. } = graph.clone();
    let mut new = Graph { name, dims, encodings, ..Graph::default() };
    let mut consts = graph.consts.clone();
    // Where the old graph's values are in the new one.
    let mut placed: Vec<Option<ValueId>> = vec![None; graph.values.len()];
    for &input in &graph.inputs {
        let value = &graph.values[input.index()];
        placed[input.index()] = Some(new.add_input(value.ty.clone(), value.name.clone()));
    }
    for (number, nodes) in graph.nodes.chunks(most).enumerate() {
        let end = number * most + nodes.len();
        let mut window = Window {
            old: &graph,
            definitions: &definitions,
            part: Graph { name: graph.name.clone(), dims: graph.dims.clone(), consts, ..Graph::default() },
            values: FxHashMap::default(),
            inputs: vec![],
        };
        nodes.iter().for_each(|node| window.add(node));
        let mut outputs = vec![];
        for &output in nodes.iter().flat_map(|node| &node.outputs) {
            if last_use[output.index()] >= end {
                let value = window.value(output);
                outputs.push(output);
                window.part.outputs.push((String::new(), value));
            }
        }
        let inputs = window.inputs;
        let part = rewrite(window.part);
        consts = splice(&mut new, part, &inputs, &outputs, &mut placed);
    }
    new.consts = consts;
    new.outputs =
        graph.outputs.iter().filter_map(|(name, output)| Some((name.clone(), placed[output.index()]?))).collect();
    new
}

/// A part of a graph that is being cut out.
struct Window<'a> {
    old: &'a Graph,
    definitions: &'a [Option<nnc_ir::NodeId>],
    part: Graph,
    /// Values of the part by those of the graph.
    values: FxHashMap<ValueId, ValueId>,
    /// The graph's values that are inputs of the part.
    inputs: Vec<ValueId>,
}

impl Window<'_> {
    fn value(&mut self, old: ValueId) -> ValueId {
        let value = &self.old.values[old.index()];
        let part = &mut self.part;
        *self.values.entry(old).or_insert_with(|| part.add_value(value.ty.clone(), value.name.clone()))
    }

    /// Appends a node; what it reads that is not here becomes an input, or is copied if it is a constant.
    fn add(&mut self, node: &Node) {
        let mut inputs = Vec::with_capacity(node.inputs.len());
        for &input in &node.inputs {
            if !self.values.contains_key(&input) {
                let definition = self.definitions[input.index()].map(|id| &self.old.nodes[id.index()]);
                match definition.filter(|node| matches!(node.op, Op::Constant(_))) {
                    Some(constant) => self.add(constant),
                    None => {
                        let value = self.value(input);
                        self.part.inputs.push(value);
                        self.inputs.push(input);
                    }
                }
            }
            inputs.push(self.value(input));
        }
        // A constant may be here already, copied for a reader that stands before it.
        if matches!(node.op, Op::Constant(_)) && node.outputs.iter().all(|v| self.values.contains_key(v)) {
            return;
        }
        let outputs = node.outputs.iter().map(|&output| self.value(output)).collect();
        self.part.nodes.push(Node { op: node.op.clone(), inputs, outputs, origin: node.origin.clone() });
    }
}

/// Appends a part to a graph; yields the part's constants.
fn splice(
    new: &mut Graph,
    part: Graph,
    inputs: &[ValueId],
    outputs: &[ValueId],
    placed: &mut [Option<ValueId>],
) -> nnc_ir::ConstPool {
    let mut values: Vec<Option<ValueId>> = vec![None; part.values.len()];
    for (&inner, outer) in part.inputs.iter().zip(inputs) {
        values[inner.index()] = placed[outer.index()];
    }
    let mut place = |new: &mut Graph, inner: ValueId| {
        *values[inner.index()].get_or_insert_with(|| {
            let value = &part.values[inner.index()];
            new.add_value(value.ty.clone(), value.name.clone())
        })
    };
    for mut node in part.nodes {
        node.inputs.iter_mut().chain(&mut node.outputs).for_each(|v| *v = place(new, *v));
        new.nodes.push(node);
    }
    for ((_, inner), outer) in part.outputs.iter().zip(outputs) {
        placed[outer.index()] = Some(place(new, *inner));
    }
    part.consts
}

#[cfg(test)]
mod tests {
    use super::*;
    use nnc_ir::Tensor;

    const TEXT: &str = "graph @g(%0 x: f32[2, 2]) -> (y: %7, z: %4) {
  %1 = constant f32[2, 2] [1, 2, 3, 4]
  %2 = neg %0 : f32[2, 2]
  %3 = add %2, %1 : f32[2, 2]
  %4 = mul %3, %2 : f32[2, 2]
  %5 = mul %4, %1 : f32[2, 2]
  %6 = sub %5, %0 : f32[2, 2]
  %7 = add %6, %3 : f32[2, 2]
}
";

    #[test]
    fn windows_compute_the_same() {
        let graph = nnc_ir::parse::graph(TEXT).unwrap();
        let x = [Tensor::from_slice(&[2, 2], &[1f32, -2.0, 3.0, 0.5])];
        let expected = nnc_eval::run(&graph, &x).unwrap();
        for most in 1..=7 {
            let mut parts = 0;
            let joined = in_windows(graph.clone(), most, |part| {
                nnc_ir::verify::verify(&part).unwrap();
                parts += 1;
                part
            });
            nnc_ir::verify::verify(&joined).unwrap();
            assert_eq!(parts, 7usize.div_ceil(most));
            let results = nnc_eval::run(&joined, &x).unwrap();
            assert!(results.iter().zip(&expected).all(|(a, b)| a.to_f64s() == b.to_f64s()));
        }
    }
}

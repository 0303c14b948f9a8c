//! Products of one operand with several constant matrices become one product with the matrices side by side.
//!
//! The query, key and value projections of attention read the same activations; joined, they read them once and make
//! one wide product, which slices take apart. It is a pass over the graph, not a rule: each product alone gains
//! nothing, so an extraction that looks at one class at a time would never choose it.
//!
//! A product is joined only when its one use adds a constant vector, or when its result is not used elementwise at all:
//! the vectors are joined as well, so the epilogue stays in the product's kernel. Slices are views. A gated
//! layer without vectors, `silu(x . v) * (x . w)`, keeps two products, one of which computes the gate in its kernel: behind
//! a joined product the gate is a step of its own, which makes as many steps and was no faster when measured.

use nnc_ir::op::BinaryOp;
use nnc_ir::{ConstId, DType, Dim, Graph, Node, Op, Tensor, ValueId};
use std::collections::BTreeMap;

/// A product that may be joined with others of the same key.
struct Candidate {
    /// Position of the product.
    product: usize,
    weights: ConstId,
    /// The addition of a vector, with the vector.
    bias: Option<(usize, ConstId)>,
}

/// What joined products have in common: operand, its summed axis, the weights' summed axis, type, presence of a bias.
type Key = (ValueId, usize, usize, DType, bool);

/// Joins the products that can be.
pub fn merge_contracts(mut graph: Graph) -> Graph {
    let mut groups: BTreeMap<Key, Vec<Candidate>> = BTreeMap::new();
    let finder = Finder::new(&graph);
    for position in 0..graph.nodes.len() {
        if let Some((key, candidate)) = finder.candidate(position) {
            groups.entry(key).or_default().push(candidate);
        }
    }
    // What was found names positions, so the list of nodes stays as it is until every group is joined.
    let mut added: BTreeMap<usize, Vec<Node>> = BTreeMap::new();
    for ((x, left, right, dtype, _), group) in groups {
        if group.len() > 1 {
            let nodes = join(&mut graph, x, (left, right), dtype, &group);
            added.insert(group[0].product, nodes);
        }
    }
    let old = std::mem::take(&mut graph.nodes);
    for (position, node) in old.into_iter().enumerate() {
        graph.nodes.extend(added.remove(&position).unwrap_or_default());
        graph.nodes.push(node);
    }
    graph
}

struct Finder<'a> {
    graph: &'a Graph,
    definitions: Vec<Option<nnc_ir::NodeId>>,
    uses: Vec<Vec<nnc_ir::NodeId>>,
}

impl<'a> Finder<'a> {
    fn new(graph: &'a Graph) -> Finder<'a> {
        Finder { graph, definitions: graph.definitions(), uses: graph.uses() }
    }

    fn definition(&self, value: ValueId) -> Option<&'a Node> {
        self.definitions[value.index()].map(|id| &self.graph.nodes[id.index()])
    }

    fn constant(&self, value: ValueId) -> Option<ConstId> {
        match self.definition(value)?.op {
            Op::Constant(id) => Some(id),
            _ => None,
        }
    }

    fn candidate(&self, position: usize) -> Option<(Key, Candidate)> {
        let node = &self.graph.nodes[position];
        let Op::Contract { batch, contract, out } = &node.op else { return None };
        let (&[(left, right)], true) = (contract.as_slice(), batch.is_empty()) else { return None };
        let &[x, w] = node.inputs.as_slice() else { return None };
        // Joined numbers would be widened.
        let weights = self.constant(w).filter(|&id| self.graph.consts.get(id).data.as_widened().is_none())?;
        if self.graph.ty(w).rank() != 2 || self.graph.ty(w).dtype != *out || self.is_output(node.outputs[0]) {
            return None;
        }
        let &[only] = self.uses[node.outputs[0].index()].as_slice() else { return None };
        let consumer = &self.graph.nodes[only.index()];
        let bias = match &consumer.op {
            Op::Binary(BinaryOp::Add) => {
                let vector = consumer.inputs.iter().find(|&&v| v != node.outputs[0])?;
                Some((only.index(), self.vector(*vector)?))
            }
            Op::Reshape { .. } | Op::Transpose { .. } | Op::Slice { .. } => None,
            Op::Contract { .. } | Op::Gather { .. } | Op::Concat { .. } => None,
            // Another operation would leave the product's kernel.
            _ => return None,
        };
        if bias.is_some_and(|(add, _)| self.is_output(self.graph.nodes[add].outputs[0])) {
            return None;
        }
        Some(((x, left, right, *out, bias.is_some()), Candidate { product: position, weights, bias }))
    }

    fn is_output(&self, value: ValueId) -> bool {
        self.graph.outputs.iter().any(|(_, output)| *output == value)
    }

    /// The constant vector that is repeated along all axes but the last.
    fn vector(&self, value: ValueId) -> Option<ConstId> {
        let node = self.definition(value)?;
        let Op::Broadcast { shape, axes } = &node.op else { return None };
        let along_last = axes.as_slice() == [shape.len().checked_sub(1)?];
        let id = self.constant(*node.inputs.first()?)?;
        let full = self.graph.ty(node.inputs[0]).shape.first() == shape.last();
        (along_last && full).then_some(id)
    }
}

/// The nodes to put before the group's first product: the joined product, and slices of it that define what the
/// products of the group did. None when the products cannot be joined: they stay as they are.
fn join(graph: &mut Graph, x: ValueId, pair: (usize, usize), dtype: DType, group: &[Candidate]) -> Vec<Node> {
    // Nodes are appended to the list to have their types inferred, then taken off it.
    let start = graph.nodes.len();
    let Some((joined, widths)) = product(graph, x, pair, dtype, group) else {
        graph.nodes.truncate(start);
        return vec![];
    };
    let mut nodes = graph.nodes.split_off(start);
    let mut offset = 0;
    for (candidate, width) in group.iter().zip(widths) {
        let mut sizes = graph.shape(joined).to_vec();
        let mut starts = vec![Dim::ZERO; sizes.len()];
        let last = sizes.len() - 1;
        (starts[last], sizes[last]) = (Dim::from(offset), Dim::from(width));
        offset += width;
        let replaced = candidate.bias.map_or(candidate.product, |(add, _)| add);
        let output = graph.nodes[replaced].outputs[0];
        let op = Op::Slice { starts, steps: vec![1; sizes.len()], sizes };
        let origin = graph.nodes[replaced].origin.clone();
        // What the slice replaces keeps its value; the old node gets a new one, which nothing uses.
        let unused = graph.add_value(graph.ty(output).clone(), "");
        graph.nodes[replaced].outputs = vec![unused];
        nodes.push(Node { op, inputs: vec![joined], outputs: vec![output], origin });
    }
    nodes
}

/// Appends the joined product with its vector; the result and the width of each part.
fn product(
    graph: &mut Graph,
    x: ValueId,
    pair: (usize, usize),
    dtype: DType,
    group: &[Candidate],
) -> Option<(ValueId, Vec<usize>)> {
    let free = 1 - pair.1;
    let parts: Vec<Tensor> = group.iter().map(|c| graph.consts.get(c.weights).clone()).collect();
    let widths: Vec<usize> = parts.iter().map(|t| t.shape[free]).collect();
    let weights = concatenate(&parts, free)?;
    let origin = graph.nodes[group[0].product].origin.clone();
    let w = graph.push_const(weights, &origin);
    let op = Op::Contract { batch: vec![], contract: vec![pair], out: dtype };
    let joined = graph.push(op, &[x, w], &origin).ok()?[0];
    if group[0].bias.is_none() {
        return Some((joined, widths));
    }
    let vectors: Option<Vec<Tensor>> = group.iter().map(|c| Some(graph.consts.get(c.bias?.1).clone())).collect();
    let vector = graph.push_const(concatenate(&vectors?, 0)?, &origin);
    let shape = graph.shape(joined).to_vec();
    let axes = vec![shape.len() - 1];
    let spread = graph.push(Op::Broadcast { shape, axes }, &[vector], &origin).ok()?[0];
    let sum = graph.push(Op::Binary(BinaryOp::Add), &[joined, spread], &origin).ok()?[0];
    Some((sum, widths))
}

/// Tensors of one type one after the other along an axis.
fn concatenate(parts: &[Tensor], axis: usize) -> Option<Tensor> {
    crate::fold_constants::evaluate_op(&Op::Concat { axis }, parts, &nnc_ir::ConstPool::default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Random;

    const TEXT: &str = "graph @qkv(%0 x: f32[2, 3]) -> (a: %8, b: %9) {
  %1 = constant f32[3, 2] random=1
  %2 = constant f32[3, 1] random=2
  %3 = constant f32[2] random=3
  %4 = constant f32[1] random=4
  %5 = contract %0, %1 batch=[] contract=[(1, 0)] out=f32 : f32[2, 2]
  %6 = broadcast %3 shape=[2, 2] axes=[1] : f32[2, 2]
  %7 = add %5, %6 : f32[2, 2]
  %8 = transpose %7 perm=[1, 0] : f32[2, 2]
  %10 = contract %0, %2 batch=[] contract=[(1, 0)] out=f32 : f32[2, 1]
  %11 = broadcast %4 shape=[2, 1] axes=[1] : f32[2, 1]
  %12 = add %11, %10 : f32[2, 1]
  %9 = transpose %12 perm=[1, 0] : f32[1, 2]
}
";

    #[test]
    fn joins_products_and_vectors() {
        let graph = nnc_ir::parse::graph(TEXT).unwrap();
        let merged = crate::dead_code::sweep(merge_contracts(graph.clone()));
        nnc_ir::verify::verify(&merged).unwrap();
        let x = [Tensor::from_slice(&[2, 3], &[1f32, 2.0, 3.0, 4.0, 5.0, 6.0])];
        let (before, after) = (nnc_eval::run(&graph, &x).unwrap(), nnc_eval::run(&merged, &x).unwrap());
        for (a, b) in before.iter().zip(&after) {
            assert_eq!(a.to_f64s(), b.to_f64s());
        }
        assert_eq!(merged.nodes.iter().filter(|n| matches!(n.op, Op::Contract { .. })).count(), 1);
    }

    /// The gated feed-forward layer of LLaMA keeps its gate in a product's kernel; products with vectors are joined.
    #[test]
    fn gates_stay_in_the_kernel() {
        let linear = |to: usize, weights: usize, bias: bool| {
            let product = if bias { to + 2 } else { to };
            let mut text = format!(
                "  %{} = constant f32[3, 4] random={weights}\n  %{product} = contract %0, %{} batch=[] contract=[(2, 0)] out=f32 : f32[1, 2, 4]\n",
                to + 1,
                to + 1
            );
            if bias {
                text += &format!(
                    "  %{} = constant f32[4] random={weights}\n  %{} = broadcast %{} shape=[1, 2, 4] axes=[2] : f32[1, 2, 4]\n  %{to} = add %{product}, %{} : f32[1, 2, 4]\n",
                    to + 3,
                    to + 4,
                    to + 3,
                    to + 4
                );
            }
            text
        };
        let products = |bias: bool| {
            let text = format!(
                "graph @mlp(%0 x: f32[1, 2, 3]) -> (y: %35) {{\n{}{}  %30 = sigmoid %10 : f32[1, 2, 4]\n  %31 = mul %10, %30 : f32[1, 2, 4]\n  %32 = mul %31, %20 : f32[1, 2, 4]\n  %33 = constant f32[4, 3] random=3\n  %34 = contract %32, %33 batch=[] contract=[(2, 0)] out=f32 : f32[1, 2, 3]\n  %35 = add %0, %34 : f32[1, 2, 3]\n}}\n",
                linear(10, 1, bias),
                linear(20, 2, bias)
            );
            let graph = nnc_ir::parse::graph(&text).unwrap();
            let merged = crate::dead_code::sweep(merge_contracts(graph));
            merged.nodes.iter().filter(|n| matches!(n.op, Op::Contract { .. })).count()
        };
        assert_eq!([false, true].map(products), [3, 2]);
    }

    /// A graph of linear layers, some with a bias, in an order that interleaves their operands.
    fn layers(random: &mut Random) -> Graph {
        let mut graph = Graph { name: "layers".into(), ..Graph::default() };
        let ty = nnc_ir::TensorType::new(DType::F32, vec![Dim::from(2), Dim::from(3)]);
        let mut operands: Vec<ValueId> =
            (0..1 + random.below(3)).map(|i| graph.add_input(ty.clone(), format!("x{i}"))).collect();
        for i in 0..5 + random.below(6) {
            let x = operands[random.below(operands.len())];
            let summed = graph.ty(x).static_shape().unwrap()[1];
            let width = 1 + random.below(4);
            let mut tensor = |shape: &[usize]| {
                let values: Vec<f32> = (0..shape.iter().product()).map(|_| random.below(17) as f32 - 8.0).collect();
                Tensor::from_slice(shape, &values)
            };
            let (weights, bias) = (tensor(&[summed, width]), tensor(&[width]));
            let w = graph.push_const(weights, "");
            let op = Op::Contract { batch: vec![], contract: vec![(1, 0)], out: DType::F32 };
            let mut y = graph.push(op, &[x, w], "").unwrap()[0];
            if random.below(2) == 0 {
                let bias = graph.push_const(bias, "");
                let shape = graph.shape(y).to_vec();
                let spread = graph.push(Op::Broadcast { shape, axes: vec![1] }, &[bias], "").unwrap()[0];
                y = graph.push(Op::Binary(BinaryOp::Add), &[y, spread], "").unwrap()[0];
            }
            let t = graph.push(Op::Transpose { perm: vec![1, 0] }, &[y], "").unwrap()[0];
            graph.outputs.push((format!("y{i}"), t));
            if random.below(3) == 0 {
                operands.push(graph.push(Op::Transpose { perm: vec![1, 0] }, &[t], "").unwrap()[0]);
            }
        }
        graph
    }

    #[test]
    fn groups_keep_to_themselves() {
        let mut joined = 0;
        for seed in 0..300 {
            let graph = layers(&mut Random(seed));
            let merged = crate::dead_code::sweep(merge_contracts(graph.clone()));
            nnc_ir::verify::verify(&merged).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            let inputs: Vec<Tensor> = (0..graph.inputs.len())
                .map(|i| Tensor::from_slice(&[2, 3], &[1f32, -2.0, 3.0, 4.0, 5.0, -6.0].map(|v| v + i as f32)))
                .collect();
            let (before, after) = (nnc_eval::run(&graph, &inputs).unwrap(), nnc_eval::run(&merged, &inputs).unwrap());
            // Small integers: sums are exact, so the order of summing does not matter.
            for (a, b) in before.iter().zip(&after) {
                assert_eq!(a.to_f64s(), b.to_f64s(), "seed {seed}\n{}", nnc_ir::print::graph(&graph));
            }
            let products = |graph: &Graph| graph.nodes.iter().filter(|n| matches!(n.op, Op::Contract { .. })).count();
            joined += products(&graph) - products(&merged);
        }
        assert!(joined > 300, "{joined}");
    }
}

//! Gives subgraphs the constants that they capture as their own.
//!
//! What is known inside of a branch or a loop is then known when its regions are found and its weights packed. The tensors are
//! shared, not copied.

use nnc_ir::op::Op;
use nnc_ir::{Graph, Node, Tensor};

/// Hands every captured constant in, through all levels.
pub fn hand_in_constants(mut graph: Graph) -> Graph {
    let definitions = graph.definitions();
    for position in 0..graph.nodes.len() {
        let node = &graph.nodes[position];
        // Inputs before the captures, of the node and of its subgraphs.
        let (outside, inside) = match &node.op {
            Op::If { .. } => (1, 0),
            Op::Loop { carried, .. } => (2 + carried, 2 + carried),
            _ => continue,
        };
        let known = |k: usize| match graph.nodes[definitions[node.inputs[outside + k].index()]?.index()].op {
            Op::Constant(id) => Some(graph.consts.get(id).clone()),
            _ => None,
        };
        let captures = node.inputs.len().saturating_sub(outside);
        let constants: Vec<(usize, Tensor)> = (0..captures).filter_map(|k| Some((k, known(k)?))).collect();
        let node = &mut graph.nodes[position];
        for inner in node.op.subgraphs_mut() {
            for (k, tensor) in constants.iter().rev() {
                own(inner, inside + k, tensor.clone());
            }
            *inner = hand_in_constants(std::mem::take(inner));
        }
        for (k, _) in constants.iter().rev() {
            node.inputs.remove(outside + k);
        }
    }
    graph
}

/// Makes an input of a subgraph a constant.
fn own(inner: &mut Graph, input: usize, tensor: Tensor) {
    let value = inner.inputs.remove(input);
    let op = Op::Constant(inner.consts.add(tensor));
    inner.nodes.insert(0, Node { op, inputs: vec![], outputs: vec![value], origin: String::new() });
}

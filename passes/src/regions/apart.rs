//! No fusion: every operation is a region of its own, and every value is stored, for compilations that are to be taken
//! apart. Constants stay what they are: memory of the artifact.

use super::fuse::Decisions;
use super::reason::Reason;
use super::role::{Role, role};
use nnc_ir::op::Op;
use nnc_ir::{Graph, NodeId};

/// Decides for every value of the graph.
pub(super) fn decide_all(graph: &Graph) -> Decisions {
    let mut decisions = Decisions::new(graph);
    for (position, node) in graph.nodes.iter().enumerate() {
        let role = role(&node.op);
        for &output in node.outputs.iter().filter(|_| !matches!(node.op, Op::Constant(_))) {
            decisions.store(output, if role == Role::Opaque { Reason::Sequential } else { Reason::Unfused });
            if role == Role::Anchor {
                decisions.anchor[output.index()] = Some(NodeId(position as u32));
            }
        }
    }
    decisions
}

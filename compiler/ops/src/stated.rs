//! The types a file states for values, and those that follow from them backwards.
//!
//! Where an operand that decides a shape is known to the run alone (axes, sizes), the stated shape of the result
//! stands in for it. Files often state only the graph's outputs; the shape of an output is that of the operand it was
//! computed from elementwise.

use nnc_onnx::{DimInfo, Graph, TypeInfo};
use rustc_hash::FxHashMap;

/// Operators whose first operand has the shape of their first result.
const KEEP_SHAPE: &[&str] = &[
    "Abs",
    "Cast",
    "CastLike",
    "Ceil",
    "Clip",
    "Exp",
    "Floor",
    "Identity",
    "Log",
    "Neg",
    "Not",
    "Reciprocal",
    "Relu",
    "Round",
    "Sigmoid",
    "Sign",
    "Softmax",
    "Sqrt",
    "Tanh",
];

/// Operators whose operands are broadcast together.
const BROADCAST: &[&str] = &["Add", "And", "Div", "Max", "Min", "Mul", "Or", "Pow", "Sub", "Where"];

/// The type of each value of a graph of which anything is known.
pub(crate) fn types(graph: &Graph) -> FxHashMap<&str, &TypeInfo> {
    let mut types: FxHashMap<&str, &TypeInfo> = graph.value_info.iter().map(|(name, ty)| (name.as_str(), ty)).collect();
    types.extend(graph.outputs.iter().filter_map(|o| Some((o.name.as_str(), o.ty.as_ref()?))));
    for node in graph.nodes.iter().rev() {
        let Some(&ty) = node.outputs.first().and_then(|name| types.get(name.as_str())) else { continue };
        let known = if KEEP_SHAPE.contains(&node.op_type.as_str()) {
            1
        } else if BROADCAST.contains(&node.op_type.as_str()) && all_ones(ty) {
            // What broadcasts to size 1 has size 1.
            node.inputs.len()
        } else {
            0
        };
        for input in node.inputs.iter().take(known).filter(|name| !name.is_empty()) {
            types.entry(input).or_insert(ty);
        }
    }
    types
}

fn all_ones(ty: &TypeInfo) -> bool {
    matches!(ty, TypeInfo::Tensor { shape: Some(shape), .. } if shape.iter().all(|d| *d == DimInfo::Size(1)))
}

//! After the last node: what the stated output shapes add, and removal of what nothing uses.

use crate::error::{Result, invalid};
use crate::translate::declared_shape;
use nnc_ir::{Dim, Graph, SymbolOrigin};
use nnc_onnx::TypeInfo;

/// Takes constants from the stated output shapes as bounds of dimensions that have no other: sizes that data defines.
///
/// What a file states of an output is a claim. Where data yields another size, that size is what the model computes,
/// and the caller's memory is planned by what the data can yield at most. Only where nothing bounds that is the stated
/// size all there is to plan by; a run that finds more stops with an error.
pub(crate) fn bound_outputs(graph: &mut Graph, onnx: &nnc_onnx::Graph) {
    for (output, info) in graph.outputs.clone().iter().zip(&onnx.outputs) {
        let Some(stated) = info.ty.as_ref().and_then(|ty| declared_shape(ty, &graph.dims)) else { continue };
        let shape = graph.shape(output.1).to_vec();
        if stated.len() != shape.len() {
            continue;
        }
        for (dim, stated) in shape.iter().zip(stated) {
            let (Some(symbol), Some(size)) = (dim.as_symbol(), stated.as_ref().and_then(Dim::as_const)) else {
                continue;
            };
            let Some(known) = graph.dims.lookup(symbol) else { continue };
            if known.origin == SymbolOrigin::Node && known.min <= size && dim.greatest(&graph.dims).is_none() {
                graph.dims.set_bounds(symbol, known.min, size);
            }
        }
    }
}

/// Refuses a model whose stated output types contradict what its nodes compute.
pub(crate) fn check_outputs(graph: &Graph, onnx: &nnc_onnx::Graph) -> Result<()> {
    for ((name, value), info) in graph.outputs.iter().zip(&onnx.outputs) {
        let Some(TypeInfo::Tensor { elem_type, .. }) = &info.ty else { continue };
        let computed = graph.ty(*value);
        let wrong = |stated: String| {
            let shape: Vec<String> = computed.shape.iter().map(|d| graph.dims.display(d).to_string()).collect();
            Err(invalid(format!(
                "output `{name}` is stated as {stated} but computed as {}[{}]; correct the stated type",
                computed.dtype,
                shape.join(", ")
            )))
        };
        if crate::tensors::dtype(*elem_type).is_some_and(|stated| stated != computed.dtype) {
            return wrong(elem_type.to_string());
        }
        let Some(stated) = info.ty.as_ref().and_then(|ty| declared_shape(ty, &graph.dims)) else { continue };
        let differs = |(stated, computed): (&Option<Dim>, &Dim)| {
            let (stated, computed) = (stated.as_ref().and_then(Dim::as_const), computed.as_const());
            matches!((stated, computed), (Some(a), Some(b)) if a != b)
        };
        if stated.len() != computed.rank() || stated.iter().zip(&computed.shape).any(differs) {
            let sizes: Vec<String> =
                stated.iter().map(|d| d.as_ref().map_or("?".into(), |d| graph.dims.display(d).to_string())).collect();
            return wrong(format!("{elem_type}[{}]", sizes.join(", ")));
        }
    }
    Ok(())
}

/// Removes nodes whose results nothing uses and gives the subgraphs the final table of dimensions.
pub(crate) fn finish(graph: &mut Graph) {
    prune(graph);
    // A size that turned out to be one number after what it bounds was made.
    graph.dims.settle_bounds();
    let dims = graph.dims.clone();
    share_dims(graph, &dims);
}

fn share_dims(graph: &mut Graph, dims: &nnc_ir::DimTable) {
    graph.dims = dims.clone();
    for node in &mut graph.nodes {
        node.op.subgraphs_mut().into_iter().for_each(|inner| share_dims(inner, dims));
    }
}

/// Removes nodes whose results nothing uses. A node that defines symbols or has an effect stays.
pub(crate) fn prune(graph: &mut Graph) {
    let mut live = vec![false; graph.values.len()];
    for (_, output) in &graph.outputs {
        live[output.index()] = true;
    }
    let mut keep = vec![false; graph.nodes.len()];
    for (node, keep) in graph.nodes.iter().zip(&mut keep).rev() {
        let defines = !node.op.defined_symbols().is_empty();
        *keep = defines || node.op.has_effect() || node.outputs.iter().any(|o| live[o.index()]);
        if *keep {
            node.inputs.iter().for_each(|i| live[i.index()] = true);
        }
    }
    let mut kept = keep.into_iter();
    graph.nodes.retain(|_| kept.next().unwrap_or(true));
}

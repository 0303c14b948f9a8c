//! After the last node: what the stated output shapes add, and removal of what nothing uses.

use crate::error::{Result, invalid};
use crate::translate::declared_shape;
use nnc_ir::{Dim, Encoded, Encoding, Graph, SymbolOrigin};
use nnc_onnx::{TypeInfo, ValueInfo};

/// Takes constants from the stated output shapes as bounds of dimensions that have no other: sizes that data defines.
///
/// What a file states of an output is a claim. Where data yields another size, that size is what the model computes,
/// and the caller's memory is planned by what the data can yield at most. Only where nothing bounds that is the stated
/// size all there is to plan by; a run that finds more stops with an error.
pub(crate) fn bound_outputs(graph: &mut Graph, stated: &[(usize, &ValueInfo)]) {
    for &(position, info) in stated {
        let Some(stated) = info.ty.as_ref().and_then(|ty| declared_shape(ty, &graph.dims)) else { continue };
        let shape = computed(graph, position).1.to_vec();
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

/// The type and shape that a caller knows a result by.
fn computed(graph: &Graph, position: usize) -> (&'static str, &[Dim]) {
    match graph.encodings.outputs.get(&position) {
        Some(Encoded { encoding, shape }) => (encoding.name(), shape),
        None => {
            let ty = graph.ty(graph.outputs[position].1);
            (ty.dtype.name(), &ty.shape)
        }
    }
}

/// Refuses a model whose stated output types contradict what its nodes compute.
pub(crate) fn check_outputs(graph: &Graph, stated: &[(usize, &ValueInfo)]) -> Result<()> {
    for &(position, info) in stated {
        let Some(TypeInfo::Tensor { elem_type, .. }) = &info.ty else { continue };
        let name = &info.name;
        let (type_name, computed) = computed(graph, position);
        let wrong = |stated: String| {
            let shape: Vec<String> = computed.iter().map(|d| graph.dims.display(d).to_string()).collect();
            Err(invalid(format!(
                "output `{name}` is stated as {stated} but computed as {type_name}[{}]; correct the stated type",
                shape.join(", ")
            )))
        };
        let stated_name = match crate::tensors::dtype(*elem_type) {
            Some(dtype) => Some(dtype.name()),
            None => crate::tensors::encoding(*elem_type).map(Encoding::name),
        };
        if stated_name.is_some_and(|stated| stated != type_name) {
            return wrong(elem_type.to_string());
        }
        let Some(stated) = info.ty.as_ref().and_then(|ty| declared_shape(ty, &graph.dims)) else { continue };
        let differs = |(stated, computed): (&Option<Dim>, &Dim)| {
            let (stated, computed) = (stated.as_ref().and_then(Dim::as_const), computed.as_const());
            matches!((stated, computed), (Some(a), Some(b)) if a != b)
        };
        if stated.len() != computed.len() || stated.iter().zip(computed).any(differs) {
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

//! Recurrent layers, random numbers, and the operations that contain graphs.

use super::{Types, check_dtype, check_equal, check_rank, check_scalar, check_shape, one, operands};
use crate::graph::{Graph, TensorType, ValueId};
use crate::op::{CellKind, Recurrent};
use crate::{DType, Dim, Symbol};

pub(super) fn recurrent(inputs: &[&TensorType], cell: &Recurrent) -> Types {
    let lstm = cell.kind == CellKind::Lstm;
    let (gate_count, activations) = match cell.kind {
        CellKind::Lstm => (4, 3),
        CellKind::Gru { .. } => (3, 2),
        CellKind::Rnn => (1, 1),
    };
    if cell.activations.len() != activations {
        return Err(format!("needs {activations} activations, got {}", cell.activations.len()));
    }
    if !lstm && (cell.peepholes || cell.input_forget) {
        return Err("peepholes and input_forget belong to LSTM".into());
    }
    let expected = 4 + usize::from(lstm) + usize::from(cell.peepholes) + usize::from(cell.sequence_lengths);
    let [gates, r, bias, h0, optional @ ..] = inputs else {
        return Err(format!("takes {expected} operands, got {}", inputs.len()));
    };
    if inputs.len() != expected {
        return Err(format!("takes {expected} operands, got {}", inputs.len()));
    }
    if !matches!(gates.dtype, DType::F32 | DType::F64) {
        return Err(format!("the gates must be f32 or f64, got {gates}"));
    }
    check_rank("the gates", gates, 3)?;
    check_rank("h0", h0, 2)?;
    let (time, batch, hidden) = (&gates.shape[0], &gates.shape[1], &h0.shape[1]);
    let wide = hidden * Dim::from(gate_count);
    check_equal("the last axis of the gates", &gates.shape[2], &wide)?;
    let state = [batch.clone(), hidden.clone()];
    let check = |what: &str, ty: &TensorType, shape: &[Dim]| {
        check_dtype(what, ty, gates.dtype)?;
        check_shape(what, ty, shape)
    };
    check("the recurrent matrix", r, &[hidden.clone(), wide.clone()])?;
    check("the recurrent bias", bias, &[wide])?;
    check("h0", h0, &state)?;
    let mut optional = optional.iter();
    if let (true, Some(c0)) = (lstm, optional.next()) {
        check("c0", c0, &state)?;
    }
    if cell.peepholes
        && let Some(peepholes) = optional.next()
    {
        check("the peepholes", peepholes, &[hidden * 3])?;
    }
    if let Some(lengths) = optional.next() {
        check_dtype("the sequence lengths", lengths, DType::I64)?;
        check_shape("the sequence lengths", lengths, std::slice::from_ref(batch))?;
    }
    let last = TensorType::new(gates.dtype, state.to_vec());
    let all = TensorType::new(gates.dtype, vec![time.clone(), batch.clone(), hidden.clone()]);
    Ok(if lstm { vec![all, last.clone(), last] } else { vec![all, last] })
}

pub(super) fn random(inputs: &[&TensorType], dtype: DType, shape: &[Dim]) -> Types {
    let [counter] = operands(inputs)?;
    check_scalar("the counter", counter, DType::I64)?;
    if !dtype.is_float() {
        return Err(format!("draws floats, not {dtype}"));
    }
    one(dtype, shape.to_vec())
}

/// The type of a subgraph's value, which may be out of range in a graph that is not verified.
fn subgraph_type(graph: &Graph, value: ValueId) -> Result<&TensorType, String> {
    let value = graph.values.get(value.index());
    value.map(|v| &v.ty).ok_or_else(|| "a subgraph's signature names a value that does not exist".into())
}

fn check_arguments(graph: &Graph, what: &str, arguments: &[&TensorType]) -> Result<(), String> {
    if graph.inputs.len() != arguments.len() {
        return Err(format!("{what} takes {} values, is given {}", graph.inputs.len(), arguments.len()));
    }
    for (i, (&input, &given)) in graph.inputs.iter().zip(arguments).enumerate() {
        let expected = subgraph_type(graph, input)?;
        if expected != given {
            return Err(format!("value {i} of {what} is {expected}, is given {given}"));
        }
    }
    Ok(())
}

fn result_types(graph: &Graph) -> Types {
    graph.outputs.iter().map(|(_, value)| subgraph_type(graph, *value).cloned()).collect()
}

pub(super) fn if_(
    inputs: &[&TensorType],
    then: &Graph,
    otherwise: &Graph,
    varying: &[(usize, usize)],
    sizes: &[Symbol],
) -> Types {
    let Some((condition, captures)) = inputs.split_first() else { return Err("needs a condition".into()) };
    check_scalar("the condition", condition, DType::Bool)?;
    check_arguments(then, "the branch `then`", captures)?;
    check_arguments(otherwise, "the branch `else`", captures)?;
    let (mut types, mut others) = (result_types(then)?, result_types(otherwise)?);
    replace_sizes(&mut types, varying, sizes)?;
    replace_sizes(&mut others, varying, sizes)?;
    if types.len() != others.len() {
        return Err(format!("the branches yield {} and {} results", types.len(), others.len()));
    }
    match types.iter().zip(&others).position(|(a, b)| a != b) {
        Some(i) => Err(format!("result {i} is {} in one branch and {} in the other", types[i], others[i])),
        None => Ok(types),
    }
}

/// Puts symbols in the place of sizes that vary.
fn replace_sizes(types: &mut [TensorType], varying: &[(usize, usize)], sizes: &[Symbol]) -> Result<(), String> {
    if varying.len() != sizes.len() {
        return Err(format!("{} sizes vary, {} symbols stand for them", varying.len(), sizes.len()));
    }
    for (&(value, axis), &symbol) in varying.iter().zip(sizes) {
        match types.get_mut(value).and_then(|ty| ty.shape.get_mut(axis)) {
            Some(size) => *size = Dim::sym(symbol),
            None => return Err(format!("axis {axis} of value {value} varies, there is no such axis")),
        }
    }
    Ok(())
}

pub(super) fn loop_(
    inputs: &[&TensorType],
    body: &Graph,
    carried: usize,
    (varying, sizes): (&[(usize, usize)], &[Symbol]),
    trips: Symbol,
) -> Types {
    let [trip, condition, rest @ ..] = inputs else { return Err("needs a trip count and a condition".into()) };
    check_scalar("the trip count", trip, DType::I64)?;
    check_scalar("the condition", condition, DType::Bool)?;
    if rest.len() < carried {
        return Err(format!("carries {carried} values, is given {}", rest.len()));
    }
    let mut entering: Vec<TensorType> = rest[..carried].iter().map(|&ty| ty.clone()).collect();
    replace_sizes(&mut entering, varying, sizes)?;
    // The iteration number and the condition have the types just checked.
    let arguments: Vec<&TensorType> =
        inputs[..2].iter().copied().chain(&entering).chain(rest[carried..].iter().copied()).collect();
    check_arguments(body, "the body", &arguments)?;
    let results = result_types(body)?;
    let [again, values @ ..] = results.as_slice() else { return Err("the body yields no condition".into()) };
    check_scalar("the condition the body yields", again, DType::Bool)?;
    if values.len() < carried {
        return Err(format!("carries {carried} values, the body yields {}", values.len()));
    }
    let (kept, scanned) = values.split_at(carried);
    let mut types = kept.to_vec();
    replace_sizes(&mut types, varying, sizes)?;
    for (i, (before, after)) in entering.iter().zip(&types).enumerate() {
        if before != after {
            return Err(format!("carried value {i} enters an iteration as {before} and leaves it as {after}"));
        }
    }
    for ty in scanned {
        let mut shape = vec![Dim::sym(trips)];
        shape.extend_from_slice(&ty.shape);
        types.push(TensorType::new(ty.dtype, shape));
    }
    Ok(types)
}

//! Graphs: running one, and the operations that run others, `if` and `loop`.
//!
//! Rules: values are freed after their last use; every value is checked against its declared type. A subgraph sees
//! the symbols of its surroundings; those it defines are forgotten when it ends, once per iteration of a loop. A
//! dimension that is one symbol without a value takes its value from the tensor where tensors enter or leave a
//! graph: at inputs, and at the results of `if` and `loop`.

use crate::env::Env;
use crate::error::{Cause, Eval, EvalError, unfit};
use crate::eval_op;
use crate::values::{allocatable, scalar_int};
use nnc_ir::graph::{TensorType, Value};
use nnc_ir::{ConstPool, DType, Data, Graph, Op, Symbol, Tensor, ValueId};
use std::sync::Arc;

/// Evaluates a graph in `env`. With `keep`, every value is left there, indexed like `graph.values`.
pub(super) fn run_graph(
    graph: &Graph,
    inputs: &[Tensor],
    env: &mut Env,
    keep: Option<&mut Vec<Option<Tensor>>>,
) -> Result<Vec<Tensor>, EvalError> {
    let outside = |cause| EvalError { op: "graph", origin: graph.name.clone(), cause };
    let freed = keep.is_none();
    let mut own = vec![];
    let values = keep.unwrap_or(&mut own);
    *values = vec![None; graph.values.len()];
    bind_inputs(graph, inputs, env, values).map_err(outside)?;

    let last = last_uses(graph);
    for (i, node) in graph.nodes.iter().enumerate() {
        let fail = |cause| EvalError { op: node.op.name(), origin: node.origin.clone(), cause };
        let operands = node.inputs.iter().map(|&v| value(values, v)).collect::<Eval<Vec<&Tensor>>>().map_err(fail)?;
        let results = eval_op(&node.op, &operands, &graph.consts, env)
            .map_err(|e| EvalError { origin: node.origin.clone(), ..e })?;
        if results.len() != node.outputs.len() {
            return Err(fail(Cause::Malformed("a node with the wrong number of results")));
        }
        for (&id, tensor) in node.outputs.iter().zip(results) {
            let declared = graph.values.get(id.index()).ok_or_else(|| fail(Cause::Malformed("an unknown value")))?;
            let binds = matches!(node.op, Op::If { .. } | Op::Loop { .. });
            check(id, declared, &tensor, binds, env).map_err(fail)?;
            if let (true, Some(inside)) = (freed, &env.inside) {
                inside.borrow_mut().push(tensor.clone());
            }
            values[id.index()] = Some(tensor);
        }
        if freed {
            let dead = |id: &&ValueId| last.get(id.index()) == Some(&i);
            for id in node.inputs.iter().chain(&node.outputs).filter(dead) {
                values[id.index()] = None;
            }
        }
    }
    graph.outputs.iter().map(|(_, id)| value(values, *id).cloned().map_err(outside)).collect()
}

fn value(values: &[Option<Tensor>], id: ValueId) -> Eval<&Tensor> {
    values.get(id.index()).and_then(Option::as_ref).ok_or(Cause::Malformed("a value used before it is defined"))
}

fn bind_inputs(graph: &Graph, inputs: &[Tensor], env: &mut Env, values: &mut [Option<Tensor>]) -> Eval<()> {
    if inputs.len() != graph.inputs.len() {
        return Err(unfit(format!("takes {} inputs, not {}", graph.inputs.len(), inputs.len())));
    }
    let declared = |id: ValueId| graph.values.get(id.index()).ok_or(Cause::Malformed("an unknown value"));
    // All lone symbols first: a compound dimension may mention the symbol of a later input.
    for (&id, tensor) in graph.inputs.iter().zip(inputs) {
        env.bind_symbols(&declared(id)?.ty.shape, &tensor.shape)?;
    }
    for (&id, tensor) in graph.inputs.iter().zip(inputs) {
        check(id, declared(id)?, tensor, false, env)?;
        values[id.index()] = Some(tensor.clone());
    }
    Ok(())
}

/// Refuses a tensor that has not the declared type; with `binds`, lone symbols take their values from it first.
fn check(id: ValueId, declared: &Value, tensor: &Tensor, binds: bool, env: &mut Env) -> Eval<()> {
    let TensorType { dtype, shape } = &declared.ty;
    if binds {
        env.bind_symbols(shape, &tensor.shape)?;
    }
    if *dtype == tensor.dtype && shape.len() == tensor.shape.len() && env.shape(shape)? == tensor.shape {
        return Ok(());
    }
    let name = if declared.name.is_empty() { format!("%{}", id.0) } else { declared.name.clone() };
    let sizes: Vec<String> = shape.iter().map(|d| env.display(d)).collect();
    Err(Cause::WrongType {
        value: name,
        declared: format!("{dtype}[{}]", sizes.join(", ")),
        found: format!("{}{:?}", tensor.dtype, tensor.shape),
    })
}

/// For each value the last node that defines or uses it; outputs are used by no node in particular.
fn last_uses(graph: &Graph) -> Vec<usize> {
    let mut last = vec![usize::MAX; graph.values.len()];
    for (i, node) in graph.nodes.iter().enumerate() {
        for id in node.inputs.iter().chain(&node.outputs) {
            if let Some(slot) = last.get_mut(id.index()) {
                *slot = i;
            }
        }
    }
    for (_, id) in &graph.outputs {
        if let Some(slot) = last.get_mut(id.index()) {
            *slot = usize::MAX;
        }
    }
    last
}

fn condition(tensor: &Tensor) -> Eval<bool> {
    if tensor.dtype != DType::Bool {
        return Err(unfit(format!("a condition of type {}", tensor.dtype)));
    }
    Ok(scalar_int(tensor)? != 0)
}

fn run_nested(graph: &Graph, inputs: &[Tensor], env: &mut Env) -> Eval<Vec<Tensor>> {
    run_graph(graph, inputs, env, None).map_err(|inner| Cause::Inner(Box::new(inner)))
}

fn owned(tensors: &[&Tensor]) -> Vec<Tensor> {
    tensors.iter().map(|&t| t.clone()).collect()
}

pub(super) fn branch(inputs: &[&Tensor], then: &Graph, otherwise: &Graph, env: &Env) -> Eval<Vec<Tensor>> {
    let Some((&test, captures)) = inputs.split_first() else { return Err(unfit("if takes a condition")) };
    let graph = if condition(test)? { then } else { otherwise };
    run_nested(graph, &owned(captures), &mut env.nested(&Arc::new(graph.dims.clone()))?)
}

pub(super) fn iterate(
    inputs: &[&Tensor],
    body: &Graph,
    carried: usize,
    symbol: Symbol,
    env: &mut Env,
) -> Eval<Vec<Tensor>> {
    let (&[trip, test, ref state @ ..], true) = (inputs, inputs.len() >= carried.saturating_add(2)) else {
        return Err(unfit(format!("{} operands for a loop with {carried} carried values", inputs.len())));
    };
    let (trip, mut go) = (scalar_int(trip)?, condition(test)?);
    let (state, captures) = state.split_at(carried);
    let (mut state, captures) = (owned(state), owned(captures));
    let Some(scan_count) = body.outputs.len().checked_sub(carried + 1) else {
        return Err(Cause::Malformed("a loop body with too few results"));
    };
    let table = Arc::new(body.dims.clone());
    let mut scans: Vec<Scan> = (0..scan_count).map(|_| Scan::default()).collect();
    let mut trips = 0i64;
    while go && trips < trip {
        let mut inputs = vec![Tensor::scalar(trips), Tensor { dtype: DType::Bool, ..Tensor::scalar(1u8) }];
        inputs.append(&mut state);
        inputs.extend_from_slice(&captures);
        let mut results = run_nested(body, &inputs, &mut env.nested(&table)?)?;
        let scanned = results.split_off(carried + 1);
        scans.iter_mut().zip(scanned).try_for_each(|(scan, element)| scan.push(element))?;
        state = results.split_off(1);
        go = condition(&results[0])?;
        trips += 1;
    }
    env.define(symbol, trips)?;
    for (scan, (_, id)) in scans.into_iter().zip(&body.outputs[carried + 1..]) {
        let declared = body.values.get(id.index()).ok_or(Cause::Malformed("an unknown value"))?;
        state.push(scan.stack(&declared.ty, env)?);
    }
    Ok(state)
}

/// What a loop's scanned result has collected so far.
#[derive(Default)]
struct Scan {
    count: usize,
    bytes: Vec<u8>,
    /// Type and shape of every element.
    element: Option<(DType, Vec<usize>)>,
}

impl Scan {
    fn push(&mut self, tensor: Tensor) -> Eval<()> {
        self.count += 1;
        let (dtype, shape) = self.element.get_or_insert_with(|| (tensor.dtype, tensor.shape.clone()));
        if *dtype != tensor.dtype || *shape != tensor.shape {
            return Err(unfit(format!("a scanned result changes from {shape:?} to {:?}", tensor.shape)));
        }
        allocatable(*dtype, &[&[self.count], &shape[..]].concat())?;
        self.bytes.extend_from_slice(tensor.data.bytes());
        Ok(())
    }

    /// The elements along a new leading axis. Without an element the shape is the declared one, as far as it has a
    /// value outside the loop.
    fn stack(self, declared: &TensorType, env: &Env) -> Eval<Tensor> {
        let (dtype, shape) = self
            .element
            .unwrap_or_else(|| (declared.dtype, declared.shape.iter().map(|d| env.size(d).unwrap_or(0)).collect()));
        let shape = [&[self.count], &shape[..]].concat();
        allocatable(dtype, &shape)?;
        Ok(Tensor { dtype, shape, data: Data::new(self.bytes) })
    }
}

/// The constant of a pool.
pub(super) fn constant(consts: &ConstPool, id: nnc_ir::ConstId) -> Eval<Tensor> {
    if id.index() >= consts.len() {
        return Err(Cause::Malformed("an unknown constant"));
    }
    Ok(consts.get(id).clone())
}

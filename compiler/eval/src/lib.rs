//! The reference interpreter of the core ops: what every other way of computing them is tested against.
//!
//! Rules: plain code over exactness. Floats of every type are computed and accumulated in `f64` and rounded to their
//! type once, at the end of each operation; integers wrap. Nothing panics, whatever the operands: sizes are checked
//! before anything is allocated, and what does not fit is an [`EvalError`]. Where `nnc_ir::op` leaves a case open, the
//! module that evaluates the operation says what happens.
//!
//! [`eval_op`] also folds constants, so operations that move elements copy bytes, and a reshape shares them.
//! A loop runs as many iterations as the model asks for: do not fold one.

mod contract;
mod control;
mod conv;
mod convert;
mod elementwise;
mod env;
mod error;
mod gather;
mod movement;
mod pool;
mod random;
mod recurrent;
mod reduce;
mod scatter;
mod select_indices;
mod sort;
mod strings;
#[cfg(test)]
mod tests;
mod trees;
mod values;
mod work;

pub use env::Env;
pub use error::{Cause, EvalError};
pub use work::work;

use error::{Eval, unfit};
use nnc_ir::{ConstPool, DType, Graph, Op, Tensor};
use std::cell::RefCell;
use std::rc::Rc;

/// Evaluates one operation.
///
/// `env` gives the symbols in the operation's dimensions their values; an operation that determines symbols from
/// data defines them there.
///
/// # Errors
/// When the operands do not fit the operation or their values make it fail.
pub fn eval_op(op: &Op, inputs: &[&Tensor], consts: &ConstPool, env: &mut Env) -> Result<Vec<Tensor>, EvalError> {
    let operands = inputs.iter().try_for_each(|x| {
        let count = values::count(&x.shape)?;
        // The fields are public, so the invariant may not hold.
        if Some(x.data.bytes().len()) == count.checked_mul(x.dtype.size()) {
            Ok(())
        } else {
            Err(unfit("broken operand"))
        }
    });
    operands.and_then(|()| dispatch(op, inputs, consts, env)).map_err(|cause| EvalError {
        op: op.name(),
        origin: String::new(),
        cause,
    })
}

/// Evaluates a graph: inputs and results in signature order.
///
/// Symbols of the signature take their values from the inputs' shapes, and are checked against their bounds.
///
/// # Errors
/// When the inputs do not fit the signature or a node fails; the error names the node.
pub fn run(graph: &Graph, inputs: &[Tensor]) -> Result<Vec<Tensor>, EvalError> {
    run_with_seed(graph, inputs, 0)
}

/// The same with a seed for random numbers, of which the lower 63 bits count.
///
/// # Errors
/// As [`run`].
pub fn run_with_seed(graph: &Graph, inputs: &[Tensor], seed: u64) -> Result<Vec<Tensor>, EvalError> {
    control::run_graph(graph, inputs, &mut env(graph, seed), None)
}

/// What is known before a graph runs.
fn env(graph: &Graph, seed: u64) -> Env {
    let mut env = Env::with_table(&graph.dims);
    env.seed(seed);
    env
}

/// Everything that one run computes.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// Every value, indexed like [`Graph::values`]; `None` where nothing defines it.
    pub values: Vec<Option<Tensor>>,
    /// What subgraphs computed, each time they ran.
    pub inside: Vec<Tensor>,
}

/// Evaluates a graph and returns everything it computes.
///
/// # Errors
/// As [`run`].
pub fn trace(graph: &Graph, inputs: &[Tensor]) -> Result<Trace, EvalError> {
    let mut trace = Trace::default();
    let inside = Rc::new(RefCell::new(vec![]));
    let mut env = env(graph, 0);
    env.inside = Some(Rc::clone(&inside));
    control::run_graph(graph, inputs, &mut env, Some(&mut trace.values))?;
    trace.inside = inside.take();
    Ok(trace)
}

fn dispatch(op: &Op, inputs: &[&Tensor], consts: &ConstPool, env: &mut Env) -> Eval<Vec<Tensor>> {
    let one = match op {
        Op::Constant(id) => {
            let [] = take(inputs)?;
            control::constant(consts, *id)?
        }
        Op::Dims { dims, scalar } => {
            let [] = take(inputs)?;
            let values = dims.iter().map(|d| env.dim(d)).collect::<Eval<Vec<i64>>>()?;
            if *scalar && values.len() != 1 {
                return Err(unfit(format!("a scalar of {} dimensions", values.len())));
            }
            values::typed(DType::I64, if *scalar { vec![] } else { vec![values.len()] }, values)
        }
        Op::Iota { dtype, shape, axis } => {
            let [] = take(inputs)?;
            random::iota(*dtype, shape, *axis, env)?
        }
        Op::Unary(f) => {
            let [x] = take(inputs)?;
            elementwise::unary(*f, x)?
        }
        Op::Binary(f) => {
            let [x, y] = take(inputs)?;
            elementwise::binary(*f, x, y)?
        }
        Op::Select => {
            let [condition, x, y] = take(inputs)?;
            elementwise::select(condition, x, y)?
        }
        Op::Convert(dtype) => {
            let [x] = take(inputs)?;
            convert::convert(*dtype, x)?
        }
        Op::Bitcast(dtype) => {
            let [x] = take(inputs)?;
            convert::bitcast(*dtype, x)?
        }
        Op::Broadcast { shape, axes } => {
            let [x] = take(inputs)?;
            movement::broadcast(x, shape, axes, env)?
        }
        Op::Reshape { shape } => {
            let [x] = take(inputs)?;
            movement::reshape(x, shape, env)?
        }
        Op::Transpose { perm } => {
            let [x] = take(inputs)?;
            movement::transpose(x, perm)?
        }
        Op::Slice { starts, sizes, steps } => {
            let [x] = take(inputs)?;
            movement::slice(x, starts, sizes, steps, env)?
        }
        Op::Pad { low, high, mode } => movement::pad(inputs, low, high, *mode, env)?,
        Op::Concat { axis } => movement::concat(inputs, *axis)?,
        Op::Reduce { op, axes } => {
            let [x] = take(inputs)?;
            reduce::reduce(x, *op, axes)?
        }
        Op::ArgReduce { axis, max, last } => {
            let [x] = take(inputs)?;
            reduce::arg_reduce(x, *axis, *max, *last)?
        }
        Op::Contract { batch, contract, out } => {
            let [lhs, rhs] = take(inputs)?;
            contract::contract(lhs, rhs, batch, contract, *out)?
        }
        Op::Conv { window, groups, out } => {
            let [x, w] = take(inputs)?;
            conv::conv(x, w, window, *groups, *out)?
        }
        Op::Pool { op, window } => {
            let [x] = take(inputs)?;
            pool::pool(x, *op, window)?
        }
        Op::PoolIndex { window } => {
            let [x] = take(inputs)?;
            pool::pool_index(x, window)?
        }
        Op::Gather { axis, batch } => {
            let [x, index] = take(inputs)?;
            gather::gather(x, index, *axis, *batch)?
        }
        Op::GatherElements { axis } => {
            let [x, index] = take(inputs)?;
            gather::gather_elements(x, index, *axis)?
        }
        Op::GatherNd { batch } => {
            let [x, index] = take(inputs)?;
            gather::gather_nd(x, index, *batch)?
        }
        Op::ScatterNd(how) => {
            let [x, index, updates] = take(inputs)?;
            scatter::scatter_nd(x, index, updates, *how)?
        }
        Op::ScatterElements { axis, op } => {
            let [x, index, updates] = take(inputs)?;
            scatter::scatter_elements(x, index, updates, *axis, *op)?
        }
        Op::Cumulative { op, axis, exclusive, reverse } => {
            let [x] = take(inputs)?;
            reduce::cumulative(x, *op, *axis, *exclusive, *reverse)?
        }
        Op::TopK { axis, k, largest } => {
            let [x] = take(inputs)?;
            return sort::topk(x, *axis, k, *largest, env);
        }
        Op::NonZero { count } => {
            let [x] = take(inputs)?;
            select_indices::nonzero(x, *count, env)?
        }
        Op::Unique { sorted, count } => {
            let [x] = take(inputs)?;
            return sort::unique(x, *sorted, *count, env);
        }
        Op::NonMaxSuppression { center, count } => {
            select_indices::non_max_suppression(take(inputs)?, *center, *count, env)?
        }
        Op::TreeLeaf { .. } => trees::tree_leaf(take(inputs)?)?,
        Op::LowerBound => strings::lower_bound(take(inputs)?)?,
        Op::FindString => strings::find_string(take(inputs)?)?,
        Op::RunAutomaton => strings::run_automaton(take(inputs)?)?,
        Op::CompareStrings => strings::compare_strings(take(inputs)?)?,
        Op::SplitStrings { delimiter, most, count } => {
            return strings::split_strings(take(inputs)?, delimiter.as_bytes(), *most, *count, env);
        }
        Op::BindDims { symbols } => {
            let [sizes] = take(inputs)?;
            select_indices::bind_dims(sizes, symbols, env)?;
            return Ok(vec![]);
        }
        Op::Require { left, relation, right, what } => {
            let [] = take(inputs)?;
            let (l, r) = (env.dim(left)?, env.dim(right)?);
            if relation.holds(l, r) {
                return Ok(vec![]);
            }
            return Err(Cause::Required { what: what.clone(), relation: *relation, left: l, right: r });
        }
        Op::Recurrent(layer) => return recurrent::recurrent(inputs, layer),
        Op::Random { distribution, dtype, shape, seed } => {
            let [counter] = take(inputs)?;
            random::random(counter, *distribution, *dtype, shape, *seed, env)?
        }
        Op::If { then, otherwise, .. } => return control::branch(inputs, then, otherwise, env),
        Op::Loop { body, carried, trips, .. } => return control::iterate(inputs, body, *carried, *trips, env),
    };
    Ok(vec![one])
}

fn take<'a, const N: usize>(inputs: &[&'a Tensor]) -> Eval<[&'a Tensor; N]> {
    inputs.try_into().map_err(|_| unfit(format!("takes {N} operands, not {}", inputs.len())))
}

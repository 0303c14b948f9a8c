//! Constant folding: evaluates with the reference interpreter what depends on constants alone.
//!
//! Time and memory stay in check: what one operation and one pass may compute is bounded by [`MOST_WORK_OF_ONE`] and
//! [`MOST_WORK`], and what is over stays for run time. A result may be no larger than twice the constants it is computed of (or 4 KiB). A broadcast
//! that repeats its operand stays a broadcast, but operations over it are folded when their own result is small enough,
//! e.g. weights times a broadcast scale.
//!
//! Invariant: results are those of [`nnc_eval`], so folding changes no value. What fails to evaluate stays
//! for run time, where it fails likewise if it is ever reached.

use nnc_eval::{Env, eval_op, work};
use nnc_ir::op::Op;
use nnc_ir::{ConstPool, Graph, Node, Tensor, TensorType};

/// Results up to this size are always worth a constant.
const SMALL_BYTES: u64 = 4096;
/// Larger broadcasts are not expanded even for a moment.
pub const MOST_VIRTUAL_BYTES: u64 = 1 << 26;
/// Broadcasts that are weights are expanded up to this many bytes in all; the rest is repeated at run time.
pub const MOST_SPREAD_BYTES: u64 = 1 << 28;
/// Most elements (or products of elements) that folding one operation may touch, beside 8 for each byte it reads.
pub const MOST_WORK_OF_ONE: u64 = 1 << 26;
/// The same for all operations that a pass folds, beside 16 for each byte of the graph's constants.
pub const MOST_WORK: u64 = 1 << 28;
/// Broadcasts of broadcasts that folding looks through.
const MAX_VIRTUAL_DEPTH: u32 = 8;
/// How often a result may be larger than the constants behind it.
const MAX_GROWTH: u64 = 2;

/// Whether a value depends on constants alone, and how many bytes of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Known {
    /// It does not, or is too large or too costly to compute.
    No,
    /// It does, but is an operation rather than data: a broadcast.
    Virtual(u64),
    /// It does, and shall be a constant.
    Folded(u64),
}

impl Known {
    /// Bytes of the constants behind it.
    fn bytes(self) -> Option<u64> {
        match self {
            Known::No => None,
            Known::Virtual(bytes) | Known::Folded(bytes) => Some(bytes),
        }
    }
}

/// Bytes of a tensor of fixed shape; `None` when it is not fixed or beyond `u64`.
fn bytes_of(ty: &TensorType) -> Option<u64> {
    let size = ty.dtype.size() as u64;
    ty.static_shape()?.iter().try_fold(size, |n, &d| n.checked_mul(d as u64))
}

/// What is known of an operation's single result, from what is known of its operands and their types.
pub fn known<'t>(
    op: &Op,
    args: impl Iterator<Item = (Known, &'t TensorType)>,
    result: &TensorType,
    consts: &ConstPool,
) -> Known {
    let (args, types): (Vec<Known>, Vec<&TensorType>) = args.unzip();
    let Some(bytes) = bytes_of(result) else {
        // A constant repeated over symbolic sizes: what it repeats is known.
        let base = args.first().copied().and_then(Known::bytes).filter(|_| matches!(op, Op::Broadcast { .. }));
        return base.map_or(Known::No, Known::Virtual);
    };
    match op {
        Op::Constant(id) => return Known::Folded(consts.get(*id).data.len() as u64),
        Op::Dims { dims, .. } => {
            return if dims.iter().all(|d| d.as_const().is_some()) { Known::Folded(bytes) } else { Known::No };
        }
        Op::Iota { .. } => return if bytes <= SMALL_BYTES { Known::Folded(bytes) } else { Known::No },
        // A product of constants costs time rather than memory; it is rare and left to run time when large.
        Op::Contract { .. } | Op::Conv { .. } if bytes > 1 << 20 => return Known::No,
        // Randomness, and what is rare and long.
        Op::Random { .. } | Op::Recurrent(_) => return Known::No,
        // What defines symbols stands there for them; graphs have loops without a bound on their work.
        op if op.has_effect() || !op.defined_symbols().is_empty() || !op.subgraphs().is_empty() => return Known::No,
        _ => {}
    }
    let base = args.iter().map(|a| a.bytes()).try_fold(0u64, |sum, b| Some(sum.saturating_add(b?)));
    let Some(base) = base else { return Known::No };
    // That a constant repeats another is worth knowing: rules combine the small ones, kernels read them in place.
    if matches!(op, Op::Broadcast { .. }) && bytes > base {
        return Known::Virtual(base);
    }
    // What is looked through is expanded for a moment.
    if types.iter().any(|ty| bytes_of(ty).is_none_or(|bytes| bytes > MOST_VIRTUAL_BYTES.max(base))) {
        return Known::No;
    }
    if work(op, &types, std::slice::from_ref(result)) > MOST_WORK_OF_ONE.saturating_add(base.saturating_mul(8)) {
        return Known::No;
    }
    if bytes <= SMALL_BYTES.max(base.saturating_mul(MAX_GROWTH)) { Known::Folded(bytes) } else { Known::No }
}

/// A constant expression: data, or the operation that yields it.
#[derive(Clone)]
enum Value {
    Unknown,
    Data(Tensor),
    /// Index of the node.
    Virtual(usize),
}

/// Folds what is small. Arithmetic on weights is left for [`fold_weights`]: rewriting may make it unnecessary, as when
/// a product reads a transposed matrix as it lies.
pub fn fold_constants(graph: Graph) -> Graph {
    fold_up_to(graph, 1 << 16)
}

/// Folds everything that depends on constants alone, and the broadcasts that are weights, for weights are packed when
/// the model is compiled.
pub fn fold_weights(graph: Graph) -> Graph {
    let mut graph = fold_up_to(graph, u64::MAX);
    let definitions = graph.definitions();
    let data = |definition: &Option<nnc_ir::NodeId>| match definition.map(|id| &graph.nodes[id.index()].op) {
        Some(Op::Constant(id)) => Value::Data(graph.consts.get(*id).clone()),
        _ => Value::Unknown,
    };
    let data: Vec<Value> = definitions.iter().map(data).collect();
    let weights =
        graph.nodes.iter().filter(|n| matches!(n.op, Op::Contract { .. } | Op::Conv { .. } | Op::Recurrent(_)));
    let operands = weights.flat_map(|node| &node.inputs).filter_map(|v| definitions[v.index()]);
    let mut spread: Vec<usize> = operands.map(|id| id.index()).collect();
    spread.sort_unstable();
    spread.dedup();
    let mut left = MOST_SPREAD_BYTES;
    for position in spread {
        let node = &graph.nodes[position];
        let bytes = node.outputs.first().and_then(|&v| bytes_of(graph.ty(v)));
        let fits = bytes.and_then(|bytes| left.checked_sub(bytes));
        let (Op::Broadcast { .. }, Some(rest)) = (&node.op, fits) else { continue };
        if let Some(tensor) = evaluate(&graph, node, &data, 0) {
            left = rest;
            graph.nodes[position].op = Op::Constant(graph.consts.add(tensor));
            graph.nodes[position].inputs.clear();
        }
    }
    graph
}

/// Folds nodes whose result is at most `most` bytes. A result that something unfolded reads becomes a constant in the
/// place of its node; one that only other results were made of is forgotten as soon as they are.
fn fold_up_to(mut graph: Graph, most: u64) -> Graph {
    let mut values = vec![Value::Unknown; graph.values.len()];
    let mut facts = vec![Known::No; graph.values.len()];
    // How many nodes are still to look at each value, and whether the result graph reads it.
    let mut readers = vec![0usize; graph.values.len()];
    let mut needed = vec![false; graph.values.len()];
    graph.nodes.iter().flat_map(|node| &node.inputs).for_each(|v| readers[v.index()] += 1);
    graph.outputs.iter().for_each(|(_, v)| needed[v.index()] = true);
    let constants = graph.nodes.iter().filter_map(|node| match node.op {
        Op::Constant(id) => Some(graph.consts.get(id).data.len() as u64),
        _ => None,
    });
    let mut left = constants.fold(MOST_WORK, |sum, bytes| sum.saturating_add(bytes.saturating_mul(16)));
    let mut folded = vec![];
    for (position, node) in graph.nodes.iter().enumerate() {
        let tensor = fold_node(&graph, position, most, &mut values, &mut facts, &mut left);
        for &input in &node.inputs {
            needed[input.index()] |= tensor.is_none();
            readers[input.index()] -= 1;
            if readers[input.index()] == 0 && !needed[input.index()] {
                values[input.index()] = Value::Unknown;
            }
        }
        if let Some(tensor) = tensor {
            folded.push(position);
            values[node.outputs[0].index()] = Value::Data(tensor);
        }
    }
    for position in folded {
        let output = graph.nodes[position].outputs[0].index();
        let Value::Data(tensor) = std::mem::replace(&mut values[output], Value::Unknown) else { continue };
        graph.nodes[position].op = Op::Constant(graph.consts.add(tensor));
        graph.nodes[position].inputs.clear();
    }
    graph
}

/// Notes what is known of a node's result; the result, if it is new and shall be a constant.
fn fold_node(
    graph: &Graph,
    position: usize,
    most: u64,
    values: &mut [Value],
    facts: &mut [Known],
    left: &mut u64,
) -> Option<Tensor> {
    let node = &graph.nodes[position];
    let &[output] = node.outputs.as_slice() else { return None };
    let args = node.inputs.iter().map(|v| (facts[v.index()], graph.ty(*v)));
    let known = known(&node.op, args, graph.ty(output), &graph.consts);
    let tensor = match (known, &node.op) {
        (Known::No, _) => return None,
        (Known::Folded(_), Op::Constant(id)) => {
            values[output.index()] = Value::Data(graph.consts.get(*id).clone());
            None
        }
        (Known::Virtual(_), _) => {
            values[output.index()] = Value::Virtual(position);
            None
        }
        (Known::Folded(bytes), _) if bytes > most => return None,
        // Weights stay in the type that the file has until it is known how they are read.
        (Known::Folded(bytes), Op::Convert(to)) if most < u64::MAX && bytes > SMALL_BYTES && to.is_float() => {
            return None;
        }
        (Known::Folded(_), _) => {
            let types: Vec<&TensorType> = node.inputs.iter().map(|&v| graph.ty(v)).collect();
            *left = left.checked_sub(work(&node.op, &types, std::slice::from_ref(graph.ty(output))))?;
            Some(evaluate(graph, node, values, MAX_VIRTUAL_DEPTH)?)
        }
    };
    facts[output.index()] = known;
    tensor
}

/// The single result of a node over constants.
fn evaluate(graph: &Graph, node: &Node, values: &[Value], depth: u32) -> Option<Tensor> {
    let operand = |value: &nnc_ir::ValueId| match &values[value.index()] {
        Value::Unknown => None,
        Value::Data(tensor) => Some(tensor.clone()),
        &Value::Virtual(position) if depth > 0 => evaluate(graph, &graph.nodes[position], values, depth - 1),
        Value::Virtual(_) => None,
    };
    let operands: Vec<Tensor> = node.inputs.iter().map(operand).collect::<Option<_>>()?;
    evaluate_op(&node.op, &operands, &graph.consts).filter(|t| fits(t, graph.ty(node.outputs[0])))
}

/// The single result of an operation over constants.
pub fn evaluate_op(op: &Op, operands: &[Tensor], consts: &ConstPool) -> Option<Tensor> {
    let operands: Vec<&Tensor> = operands.iter().collect();
    let mut results = eval_op(op, &operands, consts, &mut Env::new()).ok()?;
    if results.len() == 1 { results.pop() } else { None }
}

fn fits(tensor: &Tensor, ty: &TensorType) -> bool {
    tensor.dtype == ty.dtype && ty.static_shape().is_some_and(|shape| shape == tensor.shape)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str, fold: fn(Graph) -> Graph) -> Vec<&'static str> {
        let graph = fold(nnc_ir::parse::graph(text).unwrap());
        nnc_ir::verify::verify(&graph).unwrap();
        crate::dead_code::sweep(graph).nodes.iter().map(|node| node.op.name()).collect()
    }

    #[test]
    fn chains_and_dims() {
        let text = "graph @g(%0 x: i64[2]) -> (y: %4) {
  %1 = dims dims=[3, 4] scalar=false : i64[2]
  %2 = constant i64[2] [1, 2]
  %3 = add %1, %2 : i64[2]
  %4 = mul %0, %3 : i64[2]
}
";
        assert_eq!(names(text, fold_constants), ["constant", "mul"]);
    }

    #[test]
    fn broadcasts_stay_but_are_looked_through() {
        let text = "graph @g(%0 x: f32[64, 64]) -> (y: %5) {
  %1 = constant f32[64] random=1
  %2 = broadcast %1 shape=[64, 64] axes=[1] : f32[64, 64]
  %3 = constant f32[64, 64] random=2
  %4 = mul %2, %3 : f32[64, 64]
  %6 = add %0, %4 : f32[64, 64]
  %5 = add %6, %2 : f32[64, 64]
}
";
        assert_eq!(names(text, fold_constants), ["constant", "broadcast", "constant", "add", "add"]);
    }

    #[test]
    fn weights_are_data() {
        let text = "graph @g(%0 x: f32[2, 64]) -> (y: %3) {
  %1 = constant f32[64] random=1
  %2 = broadcast %1 shape=[64, 64] axes=[1] : f32[64, 64]
  %3 = contract %0, %2 batch=[] contract=[(1, 0)] out=f32 : f32[2, 64]
}
";
        assert_eq!(names(text, fold_constants), ["constant", "broadcast", "contract"]);
        assert_eq!(names(text, fold_weights), ["constant", "contract"]);
    }

    /// A result that would fill the memory is left alone.
    #[test]
    fn nothing_explodes() {
        let text = "graph @g() -> (y: %3) {
  %1 = constant f32[] [1]
  %2 = broadcast %1 shape=[1000000, 1000000] axes=[] : f32[1000000, 1000000]
  %3 = reduce %2 op=sum axes=[1] : f32[1000000]
}
";
        assert_eq!(names(text, fold_weights), ["constant", "broadcast", "reduce"]);
    }
}

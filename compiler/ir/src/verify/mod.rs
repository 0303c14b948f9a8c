//! Checks graphs. The rules, by number:
//!
//! 1. Every [`ValueId`] is an index of the graph's values.
//! 2. A value is defined once: by the signature, or as one result of one node.
//! 3. A node's operands are defined before it.
//! 4. A graph's outputs are defined.
//! 5. A node's results have the number and types that [`infer`] gives, which checks its operands
//!    and attributes; constants are in the pool.
//! 6. A constant has exactly as many bytes as its type needs.
//! 7. A symbol is defined before a shape or an attribute mentions it: an input symbol by occurring in the shape of an
//!    input of the outermost graph, another by a node. What a subgraph defines ends with it.
//! 8. A node symbol is defined by one node, subgraphs included, and no node defines an input symbol.
//! 9. The bounds of a symbol are in order, and its `upper` mentions only symbols before it.
//! 10. The symbols of a subgraph are the first of, or all, the symbols of the graph around it.
//! 11. What encodes another tensor has the type that the encoding says, and strings are followed by their bytes, of type
//!     `u8[n]`; nothing of a subgraph encodes another tensor.
//!
//! The verifier trusts nothing: a graph that breaks any of the rules is reported and never makes it panic.

#[cfg(test)]
mod tests;

use crate::graph::{Graph, Node, NodeId, ValueId};
use crate::infer::infer;
use crate::op::Op;
use crate::{DType, Dim, Encoded, Encoding, Encodings, Symbol, SymbolOrigin, TensorType};

/// Which rule a graph breaks, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {message} (rule {rule})")]
pub struct VerifyError {
    /// The rule's number in the module's documentation.
    pub rule: u8,
    /// The graph and node.
    pub place: String,
    /// What is wrong.
    pub message: String,
}

/// A broken rule, before it is known where.
type Broken = (u8, String);

/// Checks every rule.
///
/// # Errors
/// The first violation found.
pub fn verify(graph: &Graph) -> Result<(), VerifyError> {
    let mut symbols = Symbols { visible: vec![false; graph.dims.len()], claimed: vec![false; graph.dims.len()] };
    let at = |(rule, message): Broken| VerifyError { rule, place: format!("graph {}", graph.name), message };
    check_table(graph).map_err(at)?;
    for (symbol, _) in graph.dims.iter().filter(|(_, info)| info.origin == SymbolOrigin::Run) {
        symbols.visible[symbol.0 as usize] = true;
    }
    for &input in &graph.inputs {
        let ty = known(graph, input).map_err(at)?;
        for symbol in ty.shape.iter().flat_map(Dim::symbols) {
            if graph.dims.lookup(symbol).is_some_and(|info| info.origin == SymbolOrigin::Input) {
                symbols.visible[symbol.0 as usize] = true;
            }
        }
    }
    check_graph(graph, &mut symbols)?;
    check_encodings(graph, &symbols).map_err(at)
}

fn check_encodings(graph: &Graph, symbols: &Symbols) -> Result<(), Broken> {
    let results: Vec<ValueId> = graph.outputs.iter().map(|output| output.1).collect();
    for (encodings, values) in [(&graph.encodings.inputs, &graph.inputs), (&graph.encodings.outputs, &results)] {
        for (&position, Encoded { encoding, shape }) in encodings {
            symbols.check(graph, &shape.iter().collect::<Vec<_>>())?;
            let ty = |position: usize| values.get(position).map(|&value| graph.ty(value));
            let follows = match encoding {
                Encoding::Strings => ty(position + 1).is_some_and(|ty| ty.dtype == DType::U8 && ty.rank() == 1),
                _ => true,
            };
            if ty(position) != Some(&encoding.stored(shape)) || !follows {
                return Err((11, format!("parameter or result {position} does not encode a {}", encoding.name())));
            }
        }
    }
    Ok(())
}

/// State of each symbol of the outermost graph.
struct Symbols {
    /// Defined at this point of the graph at hand.
    visible: Vec<bool>,
    /// Defined by some node, visible here or not.
    claimed: Vec<bool>,
}

impl Symbols {
    fn check(&self, graph: &Graph, dims: &[&Dim]) -> Result<(), Broken> {
        for symbol in dims.iter().flat_map(|d| d.symbols()) {
            let Some(info) = graph.dims.lookup(symbol) else {
                return Err((7, format!("{symbol} is not a symbol of the graph")));
            };
            if self.visible.get(symbol.0 as usize) != Some(&true) {
                return Err((7, format!("the dimension `{}` is not defined here", info.name)));
            }
        }
        Ok(())
    }

    fn define(&mut self, graph: &Graph, symbol: Symbol) -> Result<(), Broken> {
        let index = symbol.0 as usize;
        let (Some(info), Some(claimed)) = (graph.dims.lookup(symbol), self.claimed.get_mut(index)) else {
            return Err((7, format!("{symbol} is not a symbol of the graph")));
        };
        if info.origin != SymbolOrigin::Node || *claimed {
            return Err((8, format!("the dimension `{}` is defined already", info.name)));
        }
        *claimed = true;
        self.visible[index] = true;
        Ok(())
    }
}

fn check_table(graph: &Graph) -> Result<(), Broken> {
    for (symbol, info) in graph.dims.iter() {
        if info.min > info.max {
            return Err((9, format!("the dimension `{}` is in {}..{}", info.name, info.min, info.max)));
        }
        if info.upper.iter().flat_map(Dim::symbols).any(|s| s >= symbol) {
            return Err((9, format!("the bound of the dimension `{}` mentions a later one", info.name)));
        }
    }
    Ok(())
}

fn known(graph: &Graph, value: ValueId) -> Result<&TensorType, Broken> {
    let value_of = graph.values.get(value.index());
    value_of.map(|v| &v.ty).ok_or_else(|| (1, format!("{value} is not a value of the graph")))
}

fn check_graph(graph: &Graph, symbols: &mut Symbols) -> Result<(), VerifyError> {
    let at = |(rule, message): Broken| VerifyError { rule, place: format!("graph {}", graph.name), message };
    let mut defined = vec![false; graph.values.len()];
    for &input in &graph.inputs {
        define(graph, symbols, &mut defined, input).map_err(at)?;
    }
    for (i, node) in graph.nodes.iter().enumerate() {
        check_node(graph, node, symbols, &mut defined).map_err(|problem| match problem {
            Problem::Here((rule, message)) => {
                let id = NodeId(i as u32);
                let place = format!("graph {}, {id} {} ({})", graph.name, node.op.name(), node.origin);
                VerifyError { rule, place, message }
            }
            Problem::Inside(error) => error,
        })?;
    }
    for (name, output) in &graph.outputs {
        known(graph, *output).map_err(at)?;
        if !defined[output.index()] {
            return Err(at((4, format!("the output `{name}` is {output}, which nothing defines"))));
        }
    }
    Ok(())
}

fn define(graph: &Graph, symbols: &Symbols, defined: &mut [bool], value: ValueId) -> Result<(), Broken> {
    let ty = known(graph, value)?;
    if std::mem::replace(&mut defined[value.index()], true) {
        return Err((2, format!("{value} is defined twice")));
    }
    symbols.check(graph, &ty.shape.iter().collect::<Vec<_>>())
}

/// A violation by the node at hand, or one within its subgraphs that has its place already.
enum Problem {
    Here(Broken),
    Inside(VerifyError),
}

impl From<Broken> for Problem {
    fn from(broken: Broken) -> Problem {
        Problem::Here(broken)
    }
}

fn check_node(graph: &Graph, node: &Node, symbols: &mut Symbols, defined: &mut [bool]) -> Result<(), Problem> {
    let mut operands = vec![];
    for &input in &node.inputs {
        operands.push(known(graph, input)?);
        if !defined[input.index()] {
            return Err((3, format!("{input} is used before it is defined")).into());
        }
    }
    symbols.check(graph, &node.op.dims())?;
    // The body of a loop knows the sizes that change with the iterations.
    let changing: &[Symbol] = if let Op::Loop { sizes, .. } = &node.op { sizes } else { &[] };
    for &symbol in changing {
        symbols.define(graph, symbol)?;
    }
    for subgraph in node.op.subgraphs() {
        check_nested(graph, subgraph, symbols)?;
    }
    let types = infer(&node.op, &operands, &graph.consts).map_err(|e| (5, e.message))?;
    if let Op::Constant(id) = node.op {
        let tensor = graph.consts.get(id);
        let count = tensor.shape.iter().try_fold(tensor.dtype.size(), |a, &b| a.checked_mul(b));
        if count != Some(tensor.data.len()) {
            return Err((6, format!("{id} has {} bytes", tensor.data.len())).into());
        }
    }
    if types.len() != node.outputs.len() {
        return Err((5, format!("yields {} results, the node has {}", types.len(), node.outputs.len())).into());
    }
    for symbol in node.op.defined_symbols().into_iter().filter(|symbol| !changing.contains(symbol)) {
        symbols.define(graph, symbol)?;
    }
    for (&output, ty) in node.outputs.iter().zip(&types) {
        define(graph, symbols, defined, output)?;
        if graph.ty(output) != ty {
            return Err((5, format!("{output} is {}, the operation yields {ty}", graph.ty(output))).into());
        }
    }
    Ok(())
}

fn check_nested(outer: &Graph, inner: &Graph, symbols: &mut Symbols) -> Result<(), Problem> {
    let shared = outer.dims.iter().zip(inner.dims.iter()).all(|(a, b)| a == b);
    if inner.dims.len() > outer.dims.len() || !shared {
        return Err((10, format!("the symbols of the subgraph {} are not those around it", inner.name)).into());
    }
    if inner.encodings != Encodings::default() {
        return Err((11, format!("the subgraph {} encodes tensors of other types", inner.name)).into());
    }
    let before = symbols.visible.clone();
    let result = check_graph(inner, symbols).map_err(Problem::Inside);
    symbols.visible = before;
    result
}

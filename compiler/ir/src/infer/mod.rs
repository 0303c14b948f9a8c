//! Result types of every operation, from its operands: arity, element types, ranks and sizes as [`crate::op`] documents.
//!
//! Sizes agree when they are equal as [`Dim`]s; sizes that might agree at run time are refused, for the importer has
//! to make them agree or the model's dimensions have to be named. Nothing panics whatever the operands are.

mod elementwise;
mod indexing;
mod nested;
mod shape;
mod strings;
mod structured;
#[cfg(test)]
mod tests;

use crate::graph::{ConstPool, TensorType};
use crate::op::Op;
use crate::{DType, Dim, DimTable, Symbol};

/// Operands that do not fit an operation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{op}: {message}")]
pub struct TypeError {
    /// The operation, as its text form spells it.
    pub op: &'static str,
    /// What is wrong.
    pub message: String,
}

impl TypeError {
    /// The message with the names of symbols, and the first of those: with a symbol in it, the sizes may agree at run time.
    pub fn named<'t>(&self, dims: &'t DimTable) -> (String, Option<&'t str>) {
        // Without a table a symbol prints as `s` and its number, and no other word of a message does.
        let (mut text, mut first) = (format!("{}: ", self.op), None);
        let in_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let mut rest = self.message.as_str();
        while let Some(start) = rest.find(in_word) {
            let (before, from) = rest.split_at(start);
            let (word, after) = from.split_at(from.find(|c| !in_word(c)).unwrap_or(from.len()));
            let symbol = word.strip_prefix('s').and_then(|n| n.parse().ok()).map(Symbol);
            let name = symbol.and_then(|s| dims.lookup(s)).map(|info| info.name.as_str());
            first = first.or(name);
            text.push_str(before);
            text.push_str(name.unwrap_or(word));
            rest = after;
        }
        text.push_str(rest);
        (text, first)
    }
}

/// What one operation's rule answers; the message lacks the operation's name.
type Types = Result<Vec<TensorType>, String>;

/// The types of the results.
///
/// # Errors
/// When the operands do not fit the operation.
pub fn infer(op: &Op, inputs: &[&TensorType], consts: &ConstPool) -> Result<Vec<TensorType>, TypeError> {
    dispatch(op, inputs, consts)
        .and_then(|types| types.iter().try_for_each(check_representable).map(|()| types))
        .map_err(|message| TypeError { op: op.name(), message })
}

fn dispatch(op: &Op, inputs: &[&TensorType], consts: &ConstPool) -> Types {
    match op {
        Op::Constant(id) => {
            let [] = operands(inputs)?;
            if id.index() >= consts.len() {
                return Err(format!("{id} is not in the pool"));
            }
            let tensor = consts.get(*id);
            one(tensor.dtype, tensor.shape.iter().map(|&d| Dim::from(d)).collect())
        }
        Op::Dims { dims, scalar } => shape::dims(inputs, dims, *scalar),
        Op::Iota { dtype, shape, axis } => shape::iota(inputs, *dtype, shape, *axis),
        Op::Unary(f) => elementwise::unary(*f, inputs),
        Op::Binary(f) => elementwise::binary(*f, inputs),
        Op::Select => elementwise::select(inputs),
        Op::Convert(to) => elementwise::convert(*to, inputs),
        Op::Bitcast(to) => elementwise::bitcast(*to, inputs),
        Op::Broadcast { shape, axes } => shape::broadcast(inputs, shape, axes),
        Op::Reshape { shape } => shape::reshape(inputs, shape),
        Op::Transpose { perm } => shape::transpose(inputs, perm),
        Op::Slice { starts, sizes, steps } => shape::slice(inputs, starts, sizes, steps),
        Op::Pad { low, high, mode } => shape::pad(inputs, low, high, *mode),
        Op::Concat { axis } => shape::concat(inputs, *axis),
        Op::Reduce { axes, .. } => structured::reduce(inputs, axes),
        Op::ArgReduce { axis, .. } => structured::arg_reduce(inputs, *axis),
        Op::Contract { batch, contract, out } => structured::contract(inputs, batch, contract, *out),
        Op::Conv { window, groups, out } => structured::conv(inputs, window, *groups, *out),
        Op::Pool { op, window } => structured::pool(inputs, *op, window),
        Op::PoolIndex { window } => structured::pool_index(inputs, window),
        Op::Gather { axis, batch } => indexing::gather(inputs, *axis, *batch),
        Op::GatherElements { axis } => indexing::gather_elements(inputs, *axis),
        Op::GatherNd { batch } => indexing::gather_nd(inputs, *batch),
        Op::ScatterNd(f) => indexing::scatter_nd(inputs, *f),
        Op::ScatterElements { axis, op } => indexing::scatter_elements(inputs, *axis, *op),
        Op::Cumulative { axis, .. } => structured::cumulative(inputs, *axis),
        Op::TopK { axis, k, .. } => indexing::top_k(inputs, *axis, k),
        Op::NonZero { count } => indexing::non_zero(inputs, *count),
        Op::Unique { count, .. } => indexing::unique(inputs, *count),
        Op::NonMaxSuppression { count, .. } => indexing::non_max_suppression(inputs, *count),
        Op::TreeLeaf { .. } => indexing::tree_leaf(inputs),
        Op::LowerBound => strings::lower_bound(inputs),
        Op::FindString => strings::find_string(inputs),
        Op::RunAutomaton => strings::run_automaton(inputs),
        Op::CompareStrings => strings::compare_strings(inputs),
        Op::SplitStrings { count, .. } => strings::split_strings(inputs, *count),
        Op::BindDims { symbols } => indexing::bind_dims(inputs, symbols),
        Op::Require { .. } => {
            let [] = operands(inputs)?;
            Ok(vec![])
        }
        Op::Recurrent(cell) => nested::recurrent(inputs, cell),
        Op::Random { dtype, shape, .. } => nested::random(inputs, *dtype, shape),
        Op::If { varying, sizes, then, otherwise } => nested::if_(inputs, then, otherwise, varying, sizes),
        Op::Loop { body, carried, varying, sizes, trips } => {
            nested::loop_(inputs, body, *carried, (varying, sizes), *trips)
        }
    }
}

/// A single result.
fn one(dtype: DType, shape: Vec<Dim>) -> Types {
    Ok(vec![TensorType::new(dtype, shape)])
}

/// The operands when they are as many as expected.
fn operands<'a, const N: usize>(inputs: &[&'a TensorType]) -> Result<[&'a TensorType; N], String> {
    <[&TensorType; N]>::try_from(inputs).map_err(|_| format!("takes {N} operands, got {}", inputs.len()))
}

fn check_representable(ty: &TensorType) -> Result<(), String> {
    for size in &ty.shape {
        if size.as_const().is_some_and(|n| n < 0) {
            return Err(format!("a size of the result {ty} is negative"));
        }
        if *size == Dim::OVERFLOW {
            return Err(format!("a size of the result {ty} is too large or too complex"));
        }
    }
    if ty.count() == Dim::OVERFLOW {
        return Err(format!("the result {ty} has too many elements"));
    }
    Ok(())
}

fn check_numeric(ty: &TensorType) -> Result<(), String> {
    if ty.dtype == DType::Bool { Err(format!("needs numbers, got {ty}")) } else { Ok(()) }
}

fn check_axis(axis: usize, ty: &TensorType) -> Result<(), String> {
    if axis < ty.rank() { Ok(()) } else { Err(format!("axis {axis} is not one of {ty}")) }
}

fn check_rank(what: &str, ty: &TensorType, rank: usize) -> Result<(), String> {
    if ty.rank() == rank { Ok(()) } else { Err(format!("{what} must have rank {rank}, got {ty}")) }
}

fn check_dtype(what: &str, ty: &TensorType, dtype: DType) -> Result<(), String> {
    if ty.dtype == dtype { Ok(()) } else { Err(format!("{what} must be {dtype}, got {ty}")) }
}

fn check_scalar(what: &str, ty: &TensorType, dtype: DType) -> Result<(), String> {
    check_dtype(what, ty, dtype)?;
    check_rank(what, ty, 0)
}

fn check_shape(what: &str, ty: &TensorType, shape: &[Dim]) -> Result<(), String> {
    if ty.shape == shape {
        return Ok(());
    }
    let expected = TensorType::new(ty.dtype, shape.to_vec());
    Err(format!("{what} must be {expected}, got {ty}"))
}

fn check_equal(what: &str, a: &Dim, b: &Dim) -> Result<(), String> {
    if a == b {
        return Ok(());
    }
    let doubt = if a.as_const().is_some() && b.as_const().is_some() { "" } else { ", not provably equal" };
    Err(format!("{what}: {a} against {b}{doubt}"))
}

//! `If` and `Loop`, with bodies that grow as graphs do, sizes found inside of them included.

use nnc_ir::op::{BinaryOp, UnaryOp};
use nnc_ir::{DType, Dim, Op, Symbol, Tensor, TensorType, ValueId};

use super::body::{Body, captures, most};
use super::builder::Builder;
use super::elementwise::condition;
use crate::fuzz::onnx::range::Range;

/// The deepest that bodies lie in bodies.
const DEPTH: usize = 2;
const FLAG: Range = Range::exact(0.0, 1.0, 0);
const INDEX: Range = Range::exact(0.0, 5000.0, 0);

pub(super) fn branches(b: &mut Builder) -> Option<ValueId> {
    if b.depth == DEPTH {
        return None;
    }
    let condition = condition(b, &[])?;
    let captured = captures(b);
    let before = b.graph.dims.len();
    let [mut then, mut otherwise] = [(); 2].map(|()| {
        let mut body = Body::new(b, vec![], &captured);
        body.grow();
        body.close(b);
        body
    });
    // Each takes what the other one takes.
    for &v in &otherwise.captures[captured.len()..] {
        then.inner.input(b.dtype(v), b.dims(v), b.range_of(v));
    }
    let shared = otherwise.captures.split_off(captured.len());
    for (i, &v) in then.captures[captured.len()..].iter().enumerate() {
        let input = otherwise.inner.input(b.dtype(v), b.dims(v), b.range_of(v));
        let inputs = &mut otherwise.inner.graph.inputs;
        inputs.pop();
        inputs.insert(captured.len() + i, input);
    }
    let mut args = vec![condition];
    args.extend(then.captures.iter().chain(&shared));
    let (mut results, mut ranges, mut varying, mut sizes) = ((vec![], vec![]), vec![], vec![], vec![]);
    for _ in 0..1 + b.random.below(3) {
        let left = then.inner.pick(|_, _| true)?;
        let Some(right) = twin(&then, left, &mut otherwise, before) else { continue };
        let shapes = [then.inner.dims(left), otherwise.inner.dims(right)];
        for (axis, (one, other)) in shapes[0].iter().zip(&shapes[1]).enumerate().filter(|(_, (a, b))| a != b) {
            varying.push((results.0.len(), axis));
            sizes.push(either(b, one, other, before));
        }
        results.0.push(left);
        results.1.push(right);
        ranges.push(then.inner.range_of(left).or(otherwise.inner.range_of(right)));
    }
    let (then, otherwise) = (then.finish(&results.0), otherwise.finish(&results.1));
    b.push_all(Op::If { varying, sizes, then, otherwise }, &args, &ranges)?.first().copied()
}

/// A value of the other branch that can be the same result: of one type and rank, and best of one shape.
fn twin(one: &Body, value: ValueId, other: &mut Body, before: usize) -> Option<ValueId> {
    let ty = one.inner.graph.ty(value).clone();
    let same = |b: &Builder, v: ValueId| b.graph.ty(v) == &ty;
    let alike = |b: &Builder, v: ValueId| b.dtype(v) == ty.dtype && b.graph.shape(v).len() == ty.rank();
    let first = if other.inner.random.percent(60) { other.inner.pick(same) } else { other.inner.pick(alike) };
    if first.is_some() {
        return first;
    }
    let visible = ty.shape.iter().flat_map(Dim::symbols).all(|s| (s.0 as usize) < before);
    let found = if visible { other.full(&ty, 1.0) } else { None };
    found.or_else(|| other.inner.pick(alike))
}

/// The symbol of a size that is one of two.
fn either(b: &mut Builder, one: &Dim, other: &Dim, before: usize) -> Symbol {
    let bounds = [one, other].map(|d| d.bounds(&b.graph.dims));
    let range = (bounds[0].0.min(bounds[1].0).max(0), bounds[0].1.max(bounds[1].1));
    let upper = most(b, one, before).zip(most(b, other, before)).map(|(one, other)| one.max(&other));
    let thought = b.size(one).max(b.size(other));
    b.unknown("size", range, upper, thought)
}

pub(super) fn repeated(b: &mut Builder) -> Option<ValueId> {
    if b.depth == DEPTH {
        return None;
    }
    let mut carried = vec![];
    for _ in 0..1 + b.random.below(2) {
        let fits = |b: &Builder, v: ValueId| b.dtype(v) != DType::F16 && b.range_of(v).magnitude() < 1e4;
        carried.extend(b.pick(fits));
    }
    let captured = captures(b);
    let sliced = captured.iter().position(|&v| !b.graph.shape(v).is_empty()).filter(|_| b.random.percent(40));
    let (trip, upper) = trip(b, sliced.map(|i| b.dims(captured[i])[0].clone()))?;
    let going = match b.random.percent(70) {
        true => b.constant(Tensor::scalar_of(DType::Bool, 1.0)),
        false => condition(b, &[])?,
    };
    let before = b.graph.dims.len();
    let scalar = |dtype| TensorType::new(dtype, vec![]);
    let mut parameters = vec![(scalar(DType::I64), INDEX), (scalar(DType::Bool), FLAG)];
    parameters.extend(carried.iter().map(|&v| (b.graph.ty(v).clone(), stays(b, v))));
    let mut body = Body::new(b, parameters.clone(), &captured);
    if let Some(i) = sliced {
        let (x, index) = (body.inside(i), ValueId(0));
        let range = body.inner.range_of(x);
        body.inner.push(Op::Gather { axis: 0, batch: 0 }, &[x, index], range)?;
    }
    body.grow();
    let mut results = vec![again(&mut body)?];
    let mut ranges = vec![];
    for (i, (ty, range)) in parameters.iter().enumerate().skip(2) {
        let parameter = ValueId(i as u32);
        let same = |b: &Builder, v: ValueId| v != parameter && b.graph.ty(v) == ty;
        let found = body.inner.pick(same).unwrap_or(parameter);
        results.push(kept(&mut body, found, *range)?);
        ranges.push(range.or(b.range_of(carried[i - 2])));
    }
    for _ in 0..body.inner.random.below(3) {
        let outside =
            |b: &Builder, v: ValueId| b.dims(v).iter().flat_map(Dim::symbols).all(|s| (s.0 as usize) < before);
        if let Some(v) = body.inner.pick(outside) {
            results.push(v);
            ranges.push(body.inner.range_of(v));
        }
    }
    body.close(b);
    // Outputs without a bound are refused.
    let bound = match &upper {
        Some(upper) => upper.bounds(&b.graph.dims).1,
        None if b.random.percent(85) => 5,
        None => i64::MAX,
    };
    let trips = b.unknown("trips", (0, bound), upper, 5);
    let args = [&[trip, going], &carried[..], &body.captures].concat();
    let (varying, sizes) = (vec![], vec![]);
    let op = Op::Loop { body: body.finish(&results), carried: carried.len(), varying, sizes, trips };
    b.push_all(op, &args, &ranges)?.first().copied()
}

/// A number of iterations, and what it is at most where that is known: the size of an axis, if one is given.
fn trip(b: &mut Builder, axis: Option<Dim>) -> Option<(ValueId, Option<Dim>)> {
    if let Some(axis) = axis {
        let op = Op::Dims { dims: vec![axis.clone()], scalar: true };
        return Some((b.push(op, &[], INDEX)?, Some(axis)));
    }
    if b.random.percent(50) {
        let count = b.random.within(0, 4);
        return Some((b.constant(Tensor::scalar_of(DType::I64, count as f64)), Some(Dim::from(count))));
    }
    Some((b.input(DType::I64, vec![], Range::exact(0.0, 5.0, 0)), None))
}

/// What a carried value may be in every iteration.
fn stays(b: &Builder, value: ValueId) -> Range {
    let most = b.range_of(value).magnitude().max(4.0);
    match b.dtype(value) {
        dtype if dtype.is_float() => Range::rounded(-most, most),
        dtype => Range::all(dtype),
    }
}

/// A float held within a range.
fn kept(body: &mut Body, value: ValueId, range: Range) -> Option<ValueId> {
    let ty = body.inner.graph.ty(value).clone();
    if !ty.dtype.is_float() || body.inner.range_of(value).within(range.low, range.high) {
        return Some(value);
    }
    if body.inner.random.percent(50) {
        return body.inner.push(Op::Unary(UnaryOp::Tanh), &[value], Range::rounded(-1.0, 1.0));
    }
    let (low, high) = (body.full(&ty, range.low)?, body.full(&ty, range.high)?);
    let value = body.inner.push(Op::Binary(BinaryOp::Max), &[value, low], range)?;
    body.inner.push(Op::Binary(BinaryOp::Min), &[value, high], range)
}

/// Whether there is another iteration: as before, up to a number of them, or as the body finds.
fn again(body: &mut Body) -> Option<ValueId> {
    let (index, going) = (ValueId(0), ValueId(1));
    match body.inner.random.below(10) {
        0 | 1 => {
            let last = body.inner.random.within(0, 3);
            let last = body.inner.constant(Tensor::scalar_of(DType::I64, last as f64));
            body.inner.push(Op::Binary(BinaryOp::Lt), &[index, last], FLAG)
        }
        2 | 3 => body.inner.pick(|b, v| b.dtype(v) == DType::Bool && b.graph.shape(v).is_empty()),
        _ => Some(going),
    }
}

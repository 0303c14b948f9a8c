//! Integers that count: tensors whose elements are `start + step * i` at index `i` of one axis.
//!
//! Exporters store or compute such tensors as positions, coordinates and the two sides of masks. What is known of one is
//! known of every element, for every size: rules compare counts, and read by them, without looking at elements.

use super::net::{Net, inverse};
use super::range::Interval;
use egg::Id;
use nnc_ir::op::{BinaryOp, Op};
use nnc_ir::{DType, Dim, Tensor};

/// Operations that [`Count::of`] looks through.
const DEPTH: usize = 3;
/// Constants with more elements are not looked at.
const MOST: usize = 1 << 16;

/// `start + step * i` at index `i` of the axis, whatever the other indices are. Without an axis all are `start`.
#[derive(Clone, Debug, PartialEq)]
pub struct Count {
    /// The axis that counts.
    pub axis: Option<usize>,
    /// The first of them.
    pub start: Dim,
    /// What each is more than the one before.
    pub step: i64,
}

impl Count {
    /// How a class of integers counts.
    pub fn of(net: &Net, id: Id) -> Option<Count> {
        count(net, id, DEPTH)
    }

    /// The least and the greatest at `size` indices of the axis.
    pub fn ends(&self, size: &Dim) -> (Dim, Dim) {
        let last = &self.start + &((size - &Dim::ONE) * self.step);
        if self.step >= 0 { (self.start.clone(), last) } else { (last, self.start.clone()) }
    }

    /// Whether the type of a class, over its shape, holds all of them; sizes stay far below what 64 bits hold.
    fn is_held_by(&self, net: &Net, id: Id) -> bool {
        const LARGE: i64 = 1 << 60;
        let (ty, dims) = (&net.facts(id).ty, &net.egraph.analysis.dims);
        let (low, high) = self.ends(&self.axis.map_or(Dim::ONE, |axis| ty.shape[axis].clone()));
        if ty.dtype.size() == 8 {
            return self.start.as_const().is_none_or(|start| start.abs() < LARGE);
        }
        let held = Interval::of_type(ty.dtype);
        low.bounds(dims).0 as f64 >= held.low && high.bounds(dims).1 as f64 <= held.high
    }

    /// What each is more than the same one of another count, and how far apart they are: the least and the greatest.
    pub fn less(&self, other: &Count, shape: &[Dim]) -> (Dim, Dim) {
        let size = |count: &Count| count.axis.map_or(Dim::ONE, |axis| shape[axis].clone());
        if self.axis == other.axis {
            let difference = Count {
                axis: self.axis,
                start: &self.start - &other.start,
                step: self.step.saturating_sub(other.step),
            };
            return difference.ends(&size(self));
        }
        let ((low, high), (other_low, other_high)) = (self.ends(&size(self)), other.ends(&size(other)));
        (&low - &other_high, &high - &other_low)
    }

    /// The class that counts so in a shape, in some type of integers.
    pub fn make(&self, net: &mut Net, dtype: DType, shape: &[Dim]) -> Option<Id> {
        let start = match self.start.as_const() {
            Some(start) => net.tensor(Tensor::scalar_of(dtype, start as f64)),
            None => {
                let number = net.add(Op::Dims { dims: vec![self.start.clone()], scalar: true }, &[])?;
                if net.dtype(number) == dtype { number } else { net.add(Op::Convert(dtype), &[number])? }
            }
        };
        let Some(axis) = self.axis else { return net.broadcast(start, shape.to_vec(), vec![]) };
        let iota = |net: &mut Net, shape: &[Dim], axis| net.add(Op::Iota { dtype, shape: shape.to_vec(), axis }, &[]);
        if self.start.is_const(0) && self.step == 1 {
            return iota(net, shape, axis);
        }
        let line = [shape[axis].clone()];
        let mut counted = iota(net, &line, 0)?;
        if self.step != 1 {
            let step = net.full(dtype, self.step as f64, line.to_vec())?;
            counted = net.binary(BinaryOp::Mul, counted, step)?;
        }
        if !self.start.is_const(0) {
            let start = net.broadcast(start, line.to_vec(), vec![])?;
            counted = net.binary(BinaryOp::Add, counted, start)?;
        }
        net.broadcast(counted, shape.to_vec(), vec![axis])
    }
}

/// How a class of integers counts.
fn count(net: &Net, id: Id, depth: usize) -> Option<Count> {
    if net.dtype(id).is_float() {
        return None;
    }
    if let Some(value) = net.splat(id) {
        return Some(Count { axis: None, start: Dim::from(whole(value)?), step: 0 });
    }
    if let Some(tensor) = net.constant(id) {
        return count_constant(&tensor.shape, &tensor.to_i64s().filter(|list| list.len() <= MOST)?);
    }
    let depth = depth.checked_sub(1)?;
    net.pick_one(id, |op, args| count_term(net, op, args, depth))
}

fn whole(value: f64) -> Option<i64> {
    (value.fract() == 0.0 && value.abs() < 9e15).then_some(value as i64)
}

fn count_term(net: &Net, op: &Op, args: &[Id], depth: usize) -> Option<Count> {
    match op {
        Op::Iota { axis, .. } => Some(Count { axis: Some(*axis), start: Dim::ZERO, step: 1 }),
        Op::Dims { dims, .. } if dims.len() == 1 => Some(Count { axis: None, start: dims[0].clone(), step: 0 }),
        Op::Slice { starts, steps, .. } => {
            let inner = count(net, args[0], depth)?;
            let Some(axis) = inner.axis else { return Some(inner) };
            let start = &inner.start + &(&starts[axis] * inner.step);
            Some(Count { axis: Some(axis), start, step: inner.step.checked_mul(steps[axis])? })
        }
        Op::Broadcast { axes, shape } => {
            let inner = count(net, args[0], depth)?;
            let from = &net.facts(args[0]).ty.shape;
            // An axis that is repeated does not count.
            let kept = inner.axis.is_none_or(|axis| from[axis] == shape[axes[axis]]);
            kept.then(|| Count { axis: inner.axis.map(|axis| axes[axis]), ..inner })
        }
        Op::Reshape { shape } => {
            let inner = count(net, args[0], depth)?;
            let Some(axis) = inner.axis else { return Some(inner) };
            let from = net.shape(args[0]);
            let groups = super::groups::groups(&from, shape)?;
            let group = groups.iter().find(|group| group.from.contains(&axis))?;
            let &[to] = group.to.clone().collect::<Vec<_>>().as_slice() else { return None };
            (group.from.len() == 1).then_some(Count { axis: Some(to), ..inner })
        }
        Op::Transpose { perm } => {
            let inner = count(net, args[0], depth)?;
            Some(Count { axis: inner.axis.map(|axis| inverse(perm)[axis]), ..inner })
        }
        Op::Binary(BinaryOp::Add) => {
            let (a, b) = (count(net, args[0], depth)?, count(net, args[1], depth)?);
            let (counted, other) = if a.axis.is_some() { (a, b) } else { (b, a) };
            let sum = Count { start: &counted.start + &other.start, ..counted };
            (other.axis.is_none() && sum.is_held_by(net, args[0])).then_some(sum)
        }
        _ => None,
    }
}

/// How the elements of a constant count.
fn count_constant(shape: &[usize], values: &[i64]) -> Option<Count> {
    let along = |axis: usize| {
        let inner: usize = shape[axis + 1..].iter().product();
        let start = *values.first()?;
        let step = values.get(inner)?.checked_sub(start).filter(|&step| step != 0)?;
        let counts = values.iter().enumerate().all(|(i, &value)| {
            let index = (i / inner % shape[axis]) as i64;
            index.checked_mul(step).and_then(|n| n.checked_add(start)) == Some(value)
        });
        counts.then(|| Count { axis: Some(axis), start: Dim::from(start), step })
    };
    (0..shape.len()).filter(|&axis| shape[axis] > 1).find_map(along)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::load::load;
    use crate::rules::tests::parse;

    fn counted(dtype: &str, offset: i64) -> Option<Count> {
        let text = format!(
            "graph @g() -> (y: %9) {{
  %1 = iota dtype={dtype} shape=[3, 2000] axis=1 : {dtype}[3, 2000]
  %2 = constant {dtype}[] [{offset}]
  %3 = broadcast %2 shape=[3, 2000] axes=[] : {dtype}[3, 2000]
  %9 = add %1, %3 : {dtype}[3, 2000]
}}
"
        );
        let graph = parse(&text);
        let loaded = load(&graph, false);
        Count::of(&loaded.net, loaded.classes[graph.outputs[0].1.index()].unwrap())
    }

    #[test]
    fn sums_beyond_the_type_do_not_count() {
        let count = |start: i64| Some(Count { axis: Some(1), start: Dim::from(start), step: 1 });
        assert_eq!(counted("i32", 100), count(100));
        assert_eq!(counted("i32", 2_147_483_647 - 1999), count(2_147_483_647 - 1999));
        assert_eq!(counted("i32", 2_147_483_647 - 1998), None);
        assert_eq!(counted("i64", 2_147_483_647), count(2_147_483_647));
        assert_eq!(counted("i64", i64::MAX - 5), None);
    }

    #[test]
    fn differences() {
        let shape = [Dim::from(10), Dim::from(20)];
        let count = |axis, start: i64, step| Count { axis, start: Dim::from(start), step };
        let less = |a: Count, b: Count| {
            let (low, high) = a.less(&b, &shape);
            (low.as_const().unwrap(), high.as_const().unwrap())
        };
        assert_eq!(less(count(Some(0), 0, 1), count(Some(1), 0, 1)), (-19, 9));
        assert_eq!(less(count(Some(1), 3, 1), count(Some(1), 0, 1)), (3, 3));
        assert_eq!(less(count(Some(1), 0, 1), count(Some(1), 0, 2)), (-19, 0));
        assert_eq!(less(count(Some(1), 0, -2), count(None, 5, 0)), (-43, -5));
    }
}

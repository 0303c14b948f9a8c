//! Borders that a pooling reads without their being in memory.
//!
//! A maximum or minimum over a window that reaches over the edge of its operand is that of the elements inside: where the
//! window holds at least one, reading the nearest element instead of the border changes nothing.

use nnc_ir::op::{Op, PadMode, ReduceOp, Window};
use nnc_ir::{Dim, Graph, Node, ValueId};

/// What a pooling reads in place of an operand with a border: the value inside, and the border's sizes before it.
pub(crate) struct Inside<'g> {
    pub value: ValueId,
    pub low: &'g [Dim],
}

/// The inside of a pooling's operand, if that is a value with a border which changes no result. `definition` yields the
/// node of a value.
pub(crate) fn inside_of<'g>(
    graph: &'g Graph,
    pool: &Node,
    definition: impl Fn(ValueId) -> Option<&'g Node>,
) -> Option<Inside<'g>> {
    let pad = definition(*pool.inputs.first()?)?;
    let (Op::Pool { op, window }, Op::Pad { low, high, mode: PadMode::Constant }) = (&pool.op, &pad.op) else {
        return None;
    };
    let &[value, fill] = &pad.inputs[..] else { return None };
    let Op::Constant(fill) = definition(fill)?.op else { return None };
    let spatial = 1..=window.size.len();
    let reaches = |axis: usize| spatial.contains(&axis) && overlaps(graph, window, axis - 1, &low[axis], &high[axis]);
    let fits = (0..low.len()).all(|axis| low[axis].is_const(0) && high[axis].is_const(0) || reaches(axis));
    let same = graph.ty(value).dtype.is_float() && graph.consts.get(fill).splat() == Some(neutral(*op)?);
    (fits && same).then_some(Inside { value, low })
}

/// Whether every window holds an element inside, along an axis.
fn overlaps(graph: &Graph, window: &Window, axis: usize, low: &Dim, high: &Dim) -> bool {
    let less_than_window = |border: &Dim, more: usize| {
        let most = window.size[axis] as i64 - 1 - more as i64;
        Dim::from(most).provably_ge(border, &graph.dims)
    };
    window.dilations[axis] == 1
        && less_than_window(low, window.pad_low[axis])
        && less_than_window(high, window.pad_high[axis])
}

/// What a maximum or minimum yields of nothing.
fn neutral(op: ReduceOp) -> Option<f64> {
    match op {
        ReduceOp::Max => Some(f64::NEG_INFINITY),
        ReduceOp::Min => Some(f64::INFINITY),
        ReduceOp::Sum | ReduceOp::Prod => None,
    }
}

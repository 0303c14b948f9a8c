//! Index transformations: where an element of a view lies in the value it is a view of.

use super::{Layout, Storage};
use crate::regions::Regions;
use nnc_ir::op::Op;
use nnc_ir::{Dim, Graph, Node, ValueId};
use nnc_kernels::index::Polynomial;

/// The operand's index for an element of a view, `None` when the node is no pure view of its operand.
///
/// The caller's indices may be those of a kernel, or dimensions over axes that stand beside the symbols of the graph.
/// `import` makes such of dimensions of the graph; `ranges` are those of the variables.
pub(crate) fn operand_index<P: Polynomial>(
    graph: &Graph,
    node: &Node,
    index: &[P],
    import: &mut dyn FnMut(&Dim) -> P,
    ranges: &dyn Fn() -> P::Ranges,
) -> Option<Vec<P>> {
    match &node.op {
        Op::Broadcast { axes, .. } => {
            let shape = graph.shape(node.inputs[0]);
            Some(
                axes.iter()
                    .zip(shape)
                    .map(|(&axis, dim)| if dim.is_const(1) { P::from(0) } else { index[axis].clone() })
                    .collect(),
            )
        }
        Op::Transpose { perm } => {
            let mut operand = vec![P::from(0); perm.len()];
            for (i, &axis) in perm.iter().enumerate() {
                operand[axis] = index[i].clone();
            }
            Some(operand)
        }
        Op::Slice { starts, steps, .. } => Some(
            starts
                .iter()
                .zip(steps)
                .zip(index)
                .map(|((start, &step), i)| import(start) + &(P::from(step) * i))
                .collect(),
        ),
        Op::Reshape { shape } => {
            let from: Vec<P> = graph.shape(node.inputs[0]).iter().map(&mut *import).collect();
            let to: Vec<P> = shape.iter().map(&mut *import).collect();
            Some(reshape_index(&from, &to, index, ranges))
        }
        _ => None,
    }
}

/// The index into shape `from` of the element that shape `to` has at `index`.
///
/// Axes are taken in groups of equal product, so that a reshape touching some axes leaves the others alone.
fn reshape_index<P: Polynomial>(from: &[P], to: &[P], index: &[P], ranges: &dyn Fn() -> P::Ranges) -> Vec<P> {
    let mut result = Vec::with_capacity(from.len());
    let (mut f, mut t) = (0, 0);
    let mut bounds: Option<P::Ranges> = None;
    while f < from.len() {
        // The smallest group: extend the side whose product is provably not complete.
        let (f0, t0) = (f, t);
        let (mut pf, mut pt) = (from[f].clone(), P::from(1));
        f += 1;
        loop {
            if pf == pt {
                break;
            }
            let grow_to = t < to.len() && smaller(&pt, &pf);
            if grow_to {
                pt = pt * &to[t];
                t += 1;
            } else if f < from.len() {
                pf = pf * &from[f];
                f += 1;
            } else if t < to.len() {
                pt = pt * &to[t];
                t += 1;
            } else {
                break;
            }
        }
        let mut linear = P::from(0);
        for k in t0..t {
            linear = linear * &to[k] + &index[k];
        }
        if f - f0 == 1 {
            result.push(if from[f0].is_const(1) { P::from(0) } else { linear });
            continue;
        }
        let bounds = bounds.get_or_insert_with(ranges);
        // Innermost axis last: peel quotients from the outside in.
        let mut stride = from[f0 + 1..f].iter().fold(P::from(1), |a, d| a * d);
        let mut rest = linear;
        for k in f0..f {
            if k + 1 == f {
                result.push(rest.clone());
                break;
            }
            let quotient = if from[k].is_const(1) { P::from(0) } else { rest.floor_div(&stride).simplify(bounds) };
            rest = rest - &(quotient.clone() * &stride);
            result.push(quotient);
            stride =
                stride.div_exact(&from[k + 1]).unwrap_or_else(|| from[k + 2..f].iter().fold(P::from(1), |a, d| a * d));
        }
    }
    result
}

/// Whether a product needs more factors to become another: it divides it properly, or is a smaller constant.
fn smaller<P: Polynomial>(a: &P, b: &P) -> bool {
    match (a.as_const(), b.as_const()) {
        (Some(x), Some(y)) => x < y,
        _ => b.div_exact(a).is_some(),
    }
}

/// A strided view of stored memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct View {
    /// The stored value.
    pub base: ValueId,
    /// Element of the base's buffer at index 0.
    pub offset: Dim,
    /// Elements between neighbours, per axis of the viewed value; 0 along unit and broadcast axes.
    pub strides: Vec<Dim>,
}

impl Layout {
    /// A value as a strided view of stored memory or of a constant, if it is one.
    pub(crate) fn view_of(&self, graph: &Graph, regions: &Regions, value: ValueId) -> Option<View> {
        let shape = graph.shape(value).to_vec();
        let mut table = graph.dims.clone();
        let axes: Vec<Dim> = shape
            .iter()
            .map(|dim| {
                if dim.is_const(1) {
                    return Dim::from(0);
                }
                let max = dim.bounds(&graph.dims).1;
                Dim::sym(table.fresh("axis", 0, max.saturating_sub(1), Some(dim - &Dim::from(1))))
            })
            .collect();
        let mut index = axes.clone();
        let mut base = value;
        while self.storage(base).is_none() && !regions.is_constant(graph, base) {
            let node = regions.definition(graph, base)?;
            index = operand_index(graph, node, &index, &mut |d| d.clone(), &|| table.clone())?;
            base = node.inputs[0];
        }
        let linear = self.memory_of(graph, base).at(&index);
        let mut strides = Vec::with_capacity(axes.len());
        let mut rest = linear;
        for axis in &axes {
            let Some(symbol) = axis.as_symbol() else {
                strides.push(Dim::from(0));
                continue;
            };
            let at = |n: i64, d: &Dim| d.substitute(&|s| (s == symbol).then(|| Dim::from(n)));
            let zero = at(0, &rest);
            let stride = at(1, &rest) - &zero;
            // Linear in this axis and its stride free of every other one.
            if &zero + &(&stride * axis) != rest {
                return None;
            }
            if stride.symbols().iter().any(|s| axes.iter().any(|a| a.as_symbol() == Some(*s))) {
                return None;
            }
            strides.push(stride);
            rest = zero;
        }
        Some(View { base, offset: rest, strides })
    }

    /// Where a value lies; a constant as if it lay densely in a buffer of its own, for its reader may want it packed.
    pub(crate) fn memory_of(&self, graph: &Graph, value: ValueId) -> Storage {
        let constant = || Storage::dense(nnc_kernels::BufferId(u32::MAX), graph.shape(value));
        self.storage(value).cloned().unwrap_or_else(constant)
    }
}

//! Matrix products of any rank as problems.
//!
//! The left operand is read through a strided view whose summed axis is contiguous; the right operand is packed into
//! column panels when the model is compiled (constants) or by a step before (run-time operands whose columns are
//! not contiguous). An operand that has no such view is copied into one first.

use super::axes::{Axis, AxisRoles, OperandAxes, count, merge};
use super::problem::{Constant, Copied, LeftForm, Problem, ResultIndex, RightForm};
use super::stored::Stored;
use super::{Site, accumulator_type};
use nnc_ir::op::Op;
use nnc_ir::{DType, Dim, Node, ValueId};

impl Site<'_> {
    /// The problem of a matrix product in the region that ends in `root`.
    pub(super) fn product_problem(&self, anchor: &Node, root: ValueId) -> Option<Problem> {
        let Op::Contract { batch, contract, out } = &anchor.op else { return None };
        let (lhs, rhs) = (anchor.inputs[0], anchor.inputs[1]);
        let roles = |side: fn(&(usize, usize)) -> usize, rank: usize| {
            AxisRoles::new(rank, batch.iter().map(side).collect(), contract.iter().map(side).collect())
        };
        let left_roles = roles(|p| p.0, self.graph.ty(lhs).rank());
        let right_roles = roles(|p| p.1, self.graph.ty(rhs).rank());
        let accumulator = accumulator_type(*out);

        let (mut left, mut axes) = self.left_form(lhs, &left_roles, accumulator);
        // With a symbolic number of columns the right operand is read as rows, which go with one summed axis.
        let column_dims: Vec<Dim> = right_roles.free.iter().map(|&a| self.graph.shape(rhs)[a].clone()).collect();
        let columns_are_constant = column_dims.iter().all(|size| size.as_const().is_some());
        if !columns_are_constant && merge(&axes.summed).len() > 1 {
            (left, axes) = self.copied(lhs, &left_roles, accumulator);
        }
        let mut summed = merge(&axes.summed);
        let contiguous =
            summed.last().map_or(Some(1), |axis| axis.size.as_const()).and_then(|k| usize::try_from(k).ok());
        let right = self.right_form(rhs, right_roles, (summed.len(), contiguous), accumulator);
        if let Some(empty) = summed.iter().position(|axis| axis.size.is_const(0)) {
            // A sum of nothing, whatever the other axes.
            summed = vec![summed.swap_remove(empty)];
        }
        let k = summed.pop().map_or(Dim::ONE, |last| last.size);
        let row_dims = axes.free.iter().map(|a| a.size.clone()).collect();
        // The rows walked by one stride are the problem's; further row axes are loops.
        let mut row_axes = merge(&axes.free);
        let rows = row_axes.pop().unwrap_or(Axis { size: Dim::ONE, stride: Dim::ZERO });
        Some(Problem {
            name: "contract",
            batch: axes.batch,
            outer: row_axes,
            rows,
            columns: column_dims.iter().fold(Dim::ONE, |n, size| &n * size),
            taps: summed,
            k,
            left,
            right,
            accumulator,
            anchor: anchor.outputs[0],
            root,
            index: ResultIndex::Product { rows: row_dims, columns: column_dims },
            depthwise: false,
        })
    }

    /// The left operand as a view whose last merged summed axis is contiguous.
    fn left_form(&self, value: ValueId, roles: &AxisRoles, acc: DType) -> (LeftForm, OperandAxes) {
        let dtype = self.graph.ty(value).dtype;
        if let Some(view) = self.view_of(value)
            && (dtype == acc || dtype.size() == 1)
        {
            let axes = roles.axes(self.graph.shape(value), &view.strides);
            let summed = merge(&axes.summed);
            let contiguous = summed.last().is_none_or(|a| a.stride.is_const(1));
            let constant_taps = summed.iter().rev().skip(1).all(|a| a.size.as_const().is_some());
            if contiguous && constant_taps {
                return (LeftForm::InPlace(view), axes);
            }
        }
        self.copied(value, roles, acc)
    }

    /// A copy of the left operand, dense in the order batch, free, summed.
    fn copied(&self, value: ValueId, roles: &AxisRoles, acc: DType) -> (LeftForm, OperandAxes) {
        let ty = self.graph.ty(value);
        let dtype = if ty.dtype.is_float() { acc } else { ty.dtype };
        let copied = Copied { value, order: roles.order(), border: None, dtype };
        let axes = roles.axes(&ty.shape, &copied.strides(&ty.shape));
        (LeftForm::Copied(copied), axes)
    }

    /// How the right operand is made ready, beside a left operand with so many summed axes, the last of some size.
    fn right_form(
        &self,
        value: ValueId,
        roles: AxisRoles,
        (summed_axes, k): (usize, Option<usize>),
        acc: DType,
    ) -> RightForm {
        if let Some(constant) = self.constant_axes(value, &roles, acc) {
            return RightForm::Constant(self.stored(constant, k, acc));
        }
        let (dtype, shape) = (self.graph.ty(value).dtype, self.graph.shape(value));
        if let Some(view) = self.view_of(value)
            && !self.regions.is_constant(self.graph, view.base)
            && dtype == acc
            && summed_axes <= 1
        {
            let OperandAxes { batch, free, summed } = roles.axes(shape, &view.strides);
            let (columns, summed) = (merge(&free), merge(&summed));
            let contiguous = columns.len() <= 1 && columns.first().is_none_or(|c| c.stride.is_const(1));
            if contiguous && summed.len() <= 1 {
                let row_stride = summed.first().map_or(Dim::ZERO, |s| s.stride.clone());
                return RightForm::Rows { base: view.base, offset: view.offset, batch, row_stride };
            }
        }
        if roles.free.iter().all(|&axis| shape[axis].as_const().is_some()) {
            RightForm::Packed { value, roles, groups: 1 }
        } else {
            RightForm::Copied(value, roles)
        }
    }

    /// The axes of a constant (or a view of one) that can be packed at compile time.
    fn constant_axes(&self, value: ValueId, roles: &AxisRoles, acc: DType) -> Option<Constant> {
        let view = self.view_of(value)?;
        if !view.offset.is_const(0) {
            return None;
        }
        let Op::Constant(constant) = self.regions.definition(self.graph, view.base)?.op else { return None };
        let shape = self.graph.ty(value).static_shape()?;
        let strides: Option<Vec<usize>> =
            view.strides.iter().map(|s| s.as_const().and_then(|n| usize::try_from(n).ok())).collect();
        let strides = strides?;
        let axes =
            |picked: &[usize]| -> Vec<(usize, usize)> { picked.iter().map(|&a| (shape[a], strides[a])).collect() };
        let free: Vec<Axis> = axes(&roles.free)
            .into_iter()
            .map(|(n, s)| Axis { size: Dim::from(n as i64), stride: Dim::from(s as i64) })
            .collect();
        let columns = match merge(&free).as_slice() {
            [] => (1, 1),
            [only] => (count(&free).as_const()? as usize, only.stride.as_const()? as usize),
            _ => return None,
        };
        let stored = Stored::plain(acc);
        Some(Constant { constant, batch: axes(&roles.batch), sum: axes(&roles.summed), columns, stored })
    }

    /// A constant, of which `k` summed elements are contiguous for the left operand, with the form of its numbers in panels.
    pub(super) fn stored(&self, constant: Constant, k: Option<usize>, acc: DType) -> Constant {
        let stored = Stored::of(self.graph.consts.get(constant.constant), &constant, k, acc);
        Constant { stored, ..constant }
    }
}

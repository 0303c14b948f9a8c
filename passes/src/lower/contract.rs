//! Contractions (matrix products of any rank) as batch-reduce GEMM kernels.
//!
//! The left operand is read through a strided view whose summed axis is contiguous; the right operand is packed into
//! column panels when the model is compiled (constants) or by a step before (run-time operands whose columns are
//! not contiguous). An operand that has no such view is copied into one first.

use super::builder::KernelBuilder;
use super::emit::compute_type;
use super::problem::{Problem, count};
use super::view::View;
use super::{LowerError, Lowering};
use crate::choose::Shape;
use nnc_desc::Product;
use nnc_ir::op::Op;
use nnc_ir::{DType, Dim, Node, ValueId};
use nnc_kernels::kernel::{Index, Stmt};
use nnc_kernels::plan::BufferId;

/// An axis of the product with the elements per step in an operand.
#[derive(Clone, Debug)]
pub(crate) struct Axis {
    /// Size.
    pub size: Dim,
    /// Elements of the operand per step.
    pub stride: Dim,
}

/// An operand in memory: buffer, first element, and axes by job.
#[derive(Clone, Debug)]
pub(crate) struct Operand {
    pub buffer: BufferId,
    pub offset: Dim,
    pub batch: Vec<Axis>,
    pub free: Vec<Axis>,
    pub summed: Vec<Axis>,
}

/// Roles of an operand's axes.
pub(crate) struct AxisRoles {
    pub batch: Vec<usize>,
    pub free: Vec<usize>,
    pub summed: Vec<usize>,
}

impl AxisRoles {
    fn new(rank: usize, batch: Vec<usize>, summed: Vec<usize>) -> AxisRoles {
        let free = (0..rank).filter(|a| !batch.contains(a) && !summed.contains(a)).collect();
        AxisRoles { batch, free, summed }
    }

    fn order(&self) -> Vec<usize> {
        [&self.batch[..], &self.free, &self.summed].concat()
    }
}

/// Merges neighbouring axes that one stride walks; unit axes vanish.
pub(crate) fn merge(axes: &[Axis]) -> Vec<Axis> {
    let mut merged: Vec<Axis> = vec![];
    for axis in axes {
        if axis.size.is_const(1) {
            continue;
        }
        match merged.last_mut() {
            Some(last) if last.stride == &axis.stride * &axis.size => {
                last.size = &last.size * &axis.size;
                last.stride = axis.stride.clone();
            }
            _ => merged.push(axis.clone()),
        }
    }
    merged
}

/// The accumulator type of a product.
pub(crate) fn accumulator_type(out: DType) -> DType {
    match compute_type(out) {
        DType::F64 => DType::F64,
        DType::F32 => DType::F32,
        DType::I64 | DType::U64 => DType::I64,
        _ => DType::I32,
    }
}

impl Lowering<'_> {
    pub(super) fn lower_contract(&mut self, anchor: &Node, root: ValueId) -> Result<(), LowerError> {
        let Op::Contract { batch, contract, out } = &anchor.op else {
            return Err(self.error("not a contraction"));
        };
        let (lhs, rhs) = (anchor.inputs[0], anchor.inputs[1]);
        let roles = |side: fn(&(usize, usize)) -> usize, rank: usize| {
            AxisRoles::new(rank, batch.iter().map(side).collect(), contract.iter().map(side).collect())
        };
        let left_roles = roles(|p| p.0, self.graph.ty(lhs).rank());
        let right_roles = roles(|p| p.1, self.graph.ty(rhs).rank());
        let acc = accumulator_type(*out);

        let mut left = self.left_operand(lhs, &left_roles, acc)?;
        // With a symbolic number of columns the right operand is read as rows, which go with one summed axis.
        let columns_are_constant = right_roles.free.iter().all(|&a| self.graph.shape(rhs)[a].as_const().is_some());
        if !columns_are_constant && merge(&left.summed).len() > 1 {
            left = self.copy_operand(lhs, &left_roles, acc)?;
        }
        let mut summed = merge(&left.summed);
        if let Some(empty) = summed.iter().position(|axis| axis.size.is_const(0)) {
            // A sum of nothing, whatever the other axes.
            summed = vec![summed.swap_remove(empty)];
        }
        let k = match summed.pop() {
            Some(last) => last.size,
            None => Dim::from(1),
        };
        let taps = summed;

        let row_dims: Vec<Dim> = left.free.iter().map(|a| a.size.clone()).collect();
        let column_dims: Vec<Dim> = right_roles.free.iter().map(|&a| self.graph.shape(rhs)[a].clone()).collect();
        let columns = column_dims.iter().fold(Dim::from(1), |a, d| &a * d);
        // The rows walked by one stride are the problem's; further row axes are loops.
        let mut row_axes = merge(&left.free);
        let rows = row_axes.pop().unwrap_or(Axis { size: Dim::ONE, stride: Dim::ZERO });
        let form = self.right_form(rhs, &right_roles, &left, acc);
        let shape = Shape {
            batch: count(&left.batch),
            outer: count(&row_axes),
            rows: rows.size.clone(),
            row_stride: rows.stride.clone(),
            columns: columns.clone(),
            depth: &count(&taps) * &k,
            runs: count(&taps),
            element_bytes: acc.size() as u64,
            packed: form.is_packed(),
            panels: true,
            depthwise: false,
        };
        let (panels, work) = self.choose_panels(&shape, self.product_row(acc)?)?;
        let right = self.right_operand(rhs, &right_roles, form, panels.tile.width, acc)?;

        let problem = Problem {
            name: "contract",
            batch: left.batch,
            outer: row_axes,
            rows,
            columns,
            taps,
            k,
            left: (left.buffer, left.offset),
            right,
            accumulator: acc,
            anchor: anchor.outputs[0],
            root,
        };
        // The epilogue sees the result's index: batch, rows, columns.
        self.emit_problem(&problem, (&panels, work), &mut |b, at| {
            let mut import = |dims: &[Dim]| dims.iter().map(|d| b.import(d)).collect::<Vec<Index>>();
            let (row_dims, column_dims) = (import(&row_dims), import(&column_dims));
            let rows = b.import(&problem.rows.size);
            let outer = b.flatten(at.outer, &problem.outer);
            let mut index = at.batch.to_vec();
            index.extend(b.unflatten(&(&outer * &rows + &at.row), &row_dims));
            index.extend(b.unflatten(&at.column, &column_dims));
            index
        })
    }

    /// The row of the product table for sums of this type. What is multiplied has that type or is widened to it.
    pub(super) fn product_row(&self, accumulator: DType) -> Result<&'static Product, LowerError> {
        let row = self.target.product(accumulator, accumulator, accumulator);
        row.ok_or_else(|| self.error(format!("no target sums products in {accumulator}")))
    }

    /// The left operand as a view whose last merged summed axis is contiguous.
    fn left_operand(&mut self, value: ValueId, roles: &AxisRoles, acc: DType) -> Result<Operand, LowerError> {
        let dtype = self.graph.ty(value).dtype;
        if let Some(view) = self.view_of(value)
            && (dtype == acc || dtype.size() == 1)
        {
            let operand = self.operand(value, &view, roles)?;
            let summed = merge(&operand.summed);
            let contiguous = summed.last().is_none_or(|a| a.stride.is_const(1));
            let constant_taps = summed.iter().rev().skip(1).all(|a| a.size.as_const().is_some());
            if contiguous && constant_taps {
                return Ok(operand);
            }
        }
        self.copy_operand(value, roles, acc)
    }

    /// A view's axes by role.
    pub(super) fn operand(&mut self, value: ValueId, view: &View, roles: &AxisRoles) -> Result<Operand, LowerError> {
        let Some(storage) = self.storage_to_read(view.base) else {
            return Err(self.error("an operand has no memory"));
        };
        let shape = self.graph.shape(value).to_vec();
        let pick = |axes: &[usize]| {
            axes.iter().map(|&a| Axis { size: shape[a].clone(), stride: view.strides[a].clone() }).collect()
        };
        Ok(Operand {
            buffer: storage.buffer,
            offset: view.offset.clone(),
            batch: pick(&roles.batch),
            free: pick(&roles.free),
            summed: pick(&roles.summed),
        })
    }

    /// Copies an operand into workspace memory, dense in the order batch, free, summed.
    pub(super) fn copy_operand(
        &mut self,
        value: ValueId,
        roles: &AxisRoles,
        acc: DType,
    ) -> Result<Operand, LowerError> {
        let ty = self.graph.ty(value).clone();
        let order = roles.order();
        let dtype = if ty.dtype.is_float() { acc } else { ty.dtype };
        let permuted: Vec<Dim> = order.iter().map(|&a| ty.shape[a].clone()).collect();
        let buffer = self.add_workspace(format!("{value}_copy"), dtype, &ty.count())?;
        let mut strides = vec![Dim::from(0); ty.rank()];
        for (axis, stride) in order.iter().zip(super::storage::dense_strides(&permuted)) {
            strides[*axis] = stride;
        }
        let storage = super::Storage { buffer, offset: Dim::from(0), strides: strides.clone() };
        self.copy_into(value, &order, dtype, &storage)?;
        let pick = |axes: &[usize]| {
            axes.iter().map(|&a| Axis { size: ty.shape[a].clone(), stride: strides[a].clone() }).collect()
        };
        Ok(Operand {
            buffer,
            offset: Dim::from(0),
            batch: pick(&roles.batch),
            free: pick(&roles.free),
            summed: pick(&roles.summed),
        })
    }
}

impl KernelBuilder<'_, '_> {
    /// Splits a flat index into one per dimension without naming the parts: where consumers are dense over the
    /// merged axes, the parts add up to the flat index again.
    pub fn unflatten(&mut self, flat: &Index, dims: &[Index]) -> Vec<Index> {
        let mut rest = flat.clone();
        let mut result = Vec::with_capacity(dims.len());
        for axis in 0..dims.len() {
            let stride = dims[axis + 1..].iter().fold(Index::ONE, |a, d| &a * d);
            if dims[axis].is_const(1) {
                result.push(Index::ZERO);
                continue;
            }
            // The outermost axis that is not 1 takes all the quotient; the last all the rest.
            let last = dims[axis + 1..].iter().all(|d| d.is_const(1));
            let quotient = if last { rest.clone() } else { rest.floor_div(&stride).simplify(&self.ranges) };
            rest = rest - &quotient * &stride;
            result.push(quotient);
        }
        result
    }

    /// The statements that finish one element of an anchor: the rest of the region, and the store. The scope that
    /// binds row, column and sum is open, and closed here.
    pub fn epilogue(
        &mut self,
        anchor: ValueId,
        root: ValueId,
        sum: nnc_kernels::Var,
        index: &[Index],
        ty: &nnc_ir::TensorType,
        storage: &super::Storage,
    ) -> Result<Vec<Stmt>, LowerError> {
        self.finish_anchor(anchor, root, sum, index, ty, storage)?;
        Ok(self.close_scope())
    }
}

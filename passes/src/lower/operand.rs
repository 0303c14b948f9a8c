//! Operands of sums of products made ready: read where they lie, copied, or packed into column panels, at compile time or by
//! a step of the plan.

use super::builder::KernelBuilder;
use super::emit::compute_type;
use super::{LowerError, Lowering};
use crate::choose::axes::{Axis, AxisRoles, merge};
use crate::choose::problem::{Constant, Copied, LeftForm, RightForm};
use crate::layout::{Storage, dense_strides};
use nnc_ir::op::BinaryOp;
use nnc_ir::{DType, Dim, Tensor, ValueId};
use nnc_kernels::kernel::{AxisKind, Expr, Index, Stmt};
use nnc_kernels::plan::BufferId;
use nnc_kernels::weights::Pack;

/// A right operand ready for a GEMM.
pub(crate) enum Right {
    /// Packed panels.
    Panels {
        buffer: BufferId,
        /// Batch axes, with elements of the packed form per step.
        batch: Vec<Axis>,
        /// Elements of one panel.
        panel_elements: Dim,
    },
    /// Rows read in place.
    Rows { buffer: BufferId, offset: Dim, batch: Vec<Axis>, row_stride: Dim },
}

impl Lowering<'_> {
    /// The memory of a left operand, along its own axes.
    pub(super) fn left_operand(&mut self, form: &LeftForm) -> Result<Storage, LowerError> {
        match form {
            LeftForm::InPlace(view) => {
                let buffer = self.storage(view.base)?.buffer;
                Ok(Storage { buffer, offset: view.offset.clone(), strides: view.strides.clone() })
            }
            LeftForm::Copied(copied) => self.copy_operand(copied),
        }
    }

    /// Copies an operand into workspace memory; what is read begins at its border, if it has one.
    pub(super) fn copy_operand(&mut self, copied: &Copied) -> Result<Storage, LowerError> {
        let Copied { value, order, border, dtype } = copied;
        let ty = self.graph.ty(*value);
        let elements = border.as_ref().map_or_else(|| ty.count(), |border| border.count());
        let buffer = self.add_workspace(format!("{value}_copy"), *dtype, &elements)?;
        let whole = Storage { buffer, offset: Dim::ZERO, strides: copied.strides(&ty.shape) };
        let inside = match border {
            Some(border) => {
                self.borders.insert(buffer, border.clone());
                border.inside_of(buffer)
            }
            None => whole.clone(),
        };
        self.copy_into(*value, order, *dtype, &inside)?;
        Ok(whole)
    }

    /// Makes a right operand ready for panels of `width` columns.
    pub(super) fn right_operand(&mut self, form: &RightForm, width: usize, acc: DType) -> Result<Right, LowerError> {
        match form {
            RightForm::Constant(constant) => self.pack_constant(constant, width, acc),
            RightForm::Rows { base, offset, batch, row_stride } => {
                let (offset, batch, row_stride) = (offset.clone(), batch.clone(), row_stride.clone());
                Ok(Right::Rows { buffer: self.storage(*base)?.buffer, offset, batch, row_stride })
            }
            RightForm::Packed { value, roles, groups } => self.pack_at_run_time(*value, (roles, *groups), width, acc),
            RightForm::Copied(value, roles) => self.copy_to_rows(*value, roles, acc),
            RightForm::Written => Err(self.error("panels of weights that are computed at run time")),
        }
    }

    /// Packs a constant at compile time.
    fn pack_constant(&mut self, constant: &Constant, width: usize, acc: DType) -> Result<Right, LowerError> {
        let Constant { constant, batch, sum, columns: (columns, column_stride) } = constant.clone();
        let source = widened(self.graph.consts.get(constant), acc);
        let panel = sum.iter().map(|s| s.0).product::<usize>() * width;
        let per_batch = panel * columns.div_ceil(width);
        let packed_batch: Vec<Dim> = batch.iter().map(|b| Dim::from(b.0 as i64)).collect();
        let batch_axes = dense_strides(&packed_batch)
            .into_iter()
            .zip(&packed_batch)
            .map(|(s, n)| Axis { size: n.clone(), stride: s * Dim::from(per_batch as i64) })
            .collect();
        let buffer = self.add_weight(&source, Pack::Panels { batch, sum, columns, column_stride, width })?;
        Ok(Right::Panels { buffer, batch: batch_axes, panel_elements: Dim::from(panel as i64) })
    }

    /// Packs an operand into workspace memory by a step of its own.
    fn pack_at_run_time(
        &mut self,
        value: ValueId,
        (roles, groups): (&AxisRoles, usize),
        width: usize,
        acc: DType,
    ) -> Result<Right, LowerError> {
        let ty = self.graph.ty(value).clone();
        let sizes = |axes: &[usize]| -> Vec<Dim> { axes.iter().map(|&a| ty.shape[a].clone()).collect() };
        let product = |dims: &[Dim]| dims.iter().fold(Dim::from(1), |a, d| &a * d);
        let (mut batch, summed, free) = (sizes(&roles.batch), sizes(&roles.summed), sizes(&roles.free));
        let all_columns = product(&free);
        let groups = Dim::from(groups);
        let columns = all_columns.div_exact(&groups).ok_or_else(|| self.error("columns do not divide into groups"))?;
        if !groups.is_const(1) {
            batch.push(groups);
        }
        let summed_count = product(&summed);
        let lanes = width as i64;
        let panels = columns.ceil_div(&Dim::from(lanes));
        let panel_elements = &summed_count * lanes;
        let per_batch = &panels * &panel_elements;
        let dtype = if ty.dtype.is_float() { acc } else { ty.dtype };
        let elements = &product(&batch) * &per_batch;
        let buffer = self.add_workspace(format!("{value}_panels"), dtype, &elements)?;
        let batch_axes: Vec<Axis> = dense_strides(&batch)
            .into_iter()
            .zip(&batch)
            .map(|(s, n)| Axis { size: n.clone(), stride: s * per_batch.clone() })
            .collect();

        let mut b = KernelBuilder::new(self, "pack");
        let mut extents = batch.clone();
        extents.extend([panels.clone(), summed_count.clone()]);
        let (index, opened) = b.open_loops(&extents, AxisKind::Free);
        let lane = b.open_loop("c", &Index::from(lanes), AxisKind::Vector);
        let (panel, row) = (&index[batch.len()], &index[batch.len() + 1]);
        let column = panel * lanes + &lane;
        let imported = b.import(&columns);
        let exact = columns.as_const().is_some_and(|n| n % lanes == 0);
        // Past the last column the nearest element is read and zero kept.
        let clamped = if exact { column.clone() } else { column.min(&(&imported - 1)) };
        let summed_dims: Vec<_> = summed.iter().map(|d| b.import(d)).collect();
        let free_dims: Vec<_> = free.iter().map(|d| b.import(d)).collect();
        let summed_index = b.unflatten(row, &summed_dims);
        // The columns of a group follow those of the one before.
        let group = index[roles.batch.len()..batch.len()].first().cloned().unwrap_or(Index::ZERO);
        let free_index = b.unflatten(&(group * &imported + clamped), &free_dims);
        let mut full = vec![Index::ZERO; ty.rank()];
        let places = roles.batch.iter().zip(&index);
        for (&axis, i) in places.chain(roles.summed.iter().zip(&summed_index)).chain(roles.free.iter().zip(&free_index))
        {
            full[axis] = i.clone();
        }
        let value_expr = b.emit(value, &full)?;
        let mut stored = Expr::convert(dtype, compute_type(ty.dtype), value_expr);
        if !exact {
            let inside = Expr::binary(BinaryOp::Lt, Expr::Index(column), Expr::Index(imported));
            stored = Expr::select(inside, stored, Expr::constant(dtype, 0.0));
        }
        let strides: Vec<Dim> = batch_axes.iter().map(|a| a.stride.clone()).collect();
        let mut element = b.element(&strides, &index[..batch.len()]);
        element = element + panel * &b.import(&panel_elements) + row * lanes + &lane;
        let target = b.buffer(buffer, &Dim::from(0), true);
        b.push(Stmt::Store(target, element, stored));
        for _ in 0..=opened {
            b.close_loop();
        }
        b.finish()?;
        Ok(Right::Panels { buffer, batch: batch_axes, panel_elements })
    }

    /// Copies an operand into dense rows.
    fn copy_to_rows(&mut self, value: ValueId, roles: &AxisRoles, acc: DType) -> Result<Right, LowerError> {
        let ty = self.graph.ty(value);
        // In row order the columns are what a left operand sums over.
        let order = [&roles.batch[..], &roles.summed, &roles.free].concat();
        let dtype = if ty.dtype.is_float() { acc } else { ty.dtype };
        let copied = Copied { value, order, border: None, dtype };
        let Storage { buffer, offset, strides } = self.copy_operand(&copied)?;
        let axes = roles.axes(&ty.shape, &strides);
        let row_stride = merge(&axes.summed).last().map_or(Dim::ZERO, |s| s.stride.clone());
        Ok(Right::Rows { buffer, offset, batch: axes.batch, row_stride })
    }
}

/// A constant in the type that products of it are accumulated in, where half precision has to be widened.
pub(crate) fn widened(tensor: &Tensor, acc: DType) -> Tensor {
    match tensor.dtype {
        DType::F16 | DType::BF16 => Tensor::from_f64s(acc, &tensor.shape, &tensor.to_f64s()),
        _ => tensor.clone(),
    }
}

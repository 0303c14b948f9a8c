//! The right operand of a GEMM: packed into column panels, at compile time or by a step of the plan.

use super::builder::KernelBuilder;
use super::contract::{Axis, AxisRoles, Operand, merge};
use super::emit::compute_type;
use super::storage::Storage;
use super::{LowerError, Lowering};
use nnc_ir::op::Op;
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

/// How a right operand is made ready.
pub(crate) enum RightForm {
    /// A constant, packed into panels when the model is compiled.
    Constant(Constant),
    /// Rows read where they lie.
    Rows(Right),
    /// Packed into panels by a step.
    Packed,
    /// Copied into rows by a step: with a symbolic number of columns the last panel has no constant width.
    Copied,
}

/// Axes of a constant by job, as (size, stride in elements).
pub(crate) struct Constant {
    tensor: Tensor,
    batch: Vec<(usize, usize)>,
    sum: Vec<(usize, usize)>,
    columns: (usize, usize),
}

impl RightForm {
    /// Whether it is read as panels.
    pub fn is_packed(&self) -> bool {
        matches!(self, RightForm::Constant(_) | RightForm::Packed)
    }
}

impl<'g> Lowering<'g> {
    /// How the right operand of a contraction is made ready, its summed axes in the order of the left operand's.
    pub(super) fn right_form(&mut self, value: ValueId, roles: &AxisRoles, left: &Operand, acc: DType) -> RightForm {
        if let Some(constant) = self.constant_axes(value, roles) {
            return RightForm::Constant(constant);
        }
        let dtype = self.graph.ty(value).dtype;
        if let Some(view) = self.view_of(value)
            && !self.is_constant(view.base)
            && dtype == acc
            && merge(&left.summed).len() <= 1
            && let Ok(operand) = self.operand(value, &view, roles)
        {
            let (columns, summed) = (merge(&operand.free), merge(&operand.summed));
            let contiguous = columns.len() <= 1 && columns.first().is_none_or(|c| c.stride.is_const(1));
            if contiguous && summed.len() <= 1 {
                let row_stride = summed.first().map_or(Dim::from(0), |s| s.stride.clone());
                let Operand { buffer, offset, batch, .. } = operand;
                return RightForm::Rows(Right::Rows { buffer, offset, batch, row_stride });
            }
        }
        let shape = self.graph.shape(value);
        if roles.free.iter().all(|&axis| shape[axis].as_const().is_some()) {
            RightForm::Packed
        } else {
            RightForm::Copied
        }
    }

    /// Makes a right operand ready for panels of `width` columns.
    pub(super) fn right_operand(
        &mut self,
        value: ValueId,
        roles: &AxisRoles,
        form: RightForm,
        width: usize,
        acc: DType,
    ) -> Result<Right, LowerError> {
        match form {
            RightForm::Constant(constant) => Ok(self.pack_constant(constant, width, acc)),
            RightForm::Rows(rows) => Ok(rows),
            RightForm::Packed => self.pack_at_run_time(value, roles, width, acc),
            RightForm::Copied => self.copy_to_rows(value, roles, acc),
        }
    }

    /// The axes of a constant (or a view of one) that can be packed at compile time.
    fn constant_axes(&mut self, value: ValueId, roles: &AxisRoles) -> Option<Constant> {
        let view = self.view_of(value)?;
        if !view.offset.is_const(0) {
            return None;
        }
        let Op::Constant(id) = self.definition(view.base)?.op else { return None };
        let shape = self.graph.ty(value).static_shape()?;
        let strides: Option<Vec<usize>> =
            view.strides.iter().map(|s| s.as_const().and_then(|n| usize::try_from(n).ok())).collect();
        let strides = strides?;
        let axes =
            |picked: &[usize]| -> Vec<(usize, usize)> { picked.iter().map(|&a| (shape[a], strides[a])).collect() };
        let as_axes = |loops: &[(usize, usize)]| -> Vec<Axis> {
            loops.iter().map(|&(n, s)| Axis { size: Dim::from(n as i64), stride: Dim::from(s as i64) }).collect()
        };
        let columns = match merge(&as_axes(&axes(&roles.free))).as_slice() {
            [] => (1, 1),
            [only] => (only.size.as_const()? as usize, only.stride.as_const()? as usize),
            _ => return None,
        };
        let tensor = self.graph.consts.get(id).clone();
        Some(Constant { tensor, batch: axes(&roles.batch), sum: axes(&roles.summed), columns })
    }

    /// Packs a constant at compile time.
    fn pack_constant(&mut self, constant: Constant, width: usize, acc: DType) -> Right {
        let Constant { tensor, batch, sum, columns: (columns, column_stride) } = constant;
        let source = widened(&tensor, acc);
        let panel = sum.iter().map(|s| s.0).product::<usize>() * width;
        let per_batch = panel * columns.div_ceil(width);
        let packed_batch: Vec<Dim> = batch.iter().map(|b| Dim::from(b.0 as i64)).collect();
        let batch_axes = super::storage::dense_strides(&packed_batch)
            .into_iter()
            .zip(&packed_batch)
            .map(|(s, n)| Axis { size: n.clone(), stride: s * Dim::from(per_batch as i64) })
            .collect();
        let buffer = self.add_weight(&source, Pack::Panels { batch, sum, columns, column_stride, width });
        Right::Panels { buffer, batch: batch_axes, panel_elements: Dim::from(panel as i64) }
    }

    /// Packs an operand into workspace memory by a step of its own.
    fn pack_at_run_time(
        &mut self,
        value: ValueId,
        roles: &AxisRoles,
        width: usize,
        acc: DType,
    ) -> Result<Right, LowerError> {
        let ty = self.graph.ty(value).clone();
        let sizes = |axes: &[usize]| -> Vec<Dim> { axes.iter().map(|&a| ty.shape[a].clone()).collect() };
        let product = |dims: &[Dim]| dims.iter().fold(Dim::from(1), |a, d| &a * d);
        let (batch, summed, free) = (sizes(&roles.batch), sizes(&roles.summed), sizes(&roles.free));
        let (summed_count, columns) = (product(&summed), product(&free));
        let lanes = width as i64;
        let panels = columns.ceil_div(&Dim::from(lanes));
        let panel_elements = &summed_count * lanes;
        let per_batch = &panels * &panel_elements;
        let dtype = if ty.dtype.is_float() { acc } else { ty.dtype };
        let elements = &product(&batch) * &per_batch;
        let buffer = self.add_workspace(format!("{value}_panels"), dtype, &elements)?;
        let batch_axes: Vec<Axis> = super::storage::dense_strides(&batch)
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
        let free_index = b.unflatten(&clamped, &free_dims);
        let mut full = vec![Index::ZERO; ty.rank()];
        let places = roles.batch.iter().zip(&index[..batch.len()]);
        for (&axis, i) in places.chain(roles.summed.iter().zip(&summed_index)).chain(roles.free.iter().zip(&free_index))
        {
            full[axis] = i.clone();
        }
        let value_expr = b.emit(value, &full)?;
        let mut stored = Expr::convert(dtype, compute_type(ty.dtype), value_expr);
        if !exact {
            let inside = Expr::binary(nnc_ir::op::BinaryOp::Lt, Expr::Index(column), Expr::Index(imported));
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
        // In row order the columns are what a left operand sums over.
        let by_rows = AxisRoles { batch: roles.batch.clone(), free: roles.summed.clone(), summed: roles.free.clone() };
        let operand = self.copy_operand(value, &by_rows, acc)?;
        let row_stride = merge(&operand.free).last().map_or(Dim::from(0), |s| s.stride.clone());
        Ok(Right::Rows { buffer: operand.buffer, offset: operand.offset, batch: operand.batch, row_stride })
    }

    /// Copies a value (computing it, if it is inlined) into storage, looping over its axes in `order`.
    pub(super) fn copy_into(
        &mut self,
        value: ValueId,
        order: &[usize],
        dtype: DType,
        storage: &Storage,
    ) -> Result<(), LowerError> {
        self.copying(value, order, dtype, storage)?.finish()
    }

    /// The kernel of [`Lowering::copy_into`].
    pub(super) fn copying<'a>(
        &'a mut self,
        value: ValueId,
        order: &[usize],
        dtype: DType,
        storage: &Storage,
    ) -> Result<KernelBuilder<'a, 'g>, LowerError> {
        let ty = self.graph.ty(value).clone();
        let mut b = KernelBuilder::new(self, "copy");
        let extents: Vec<Dim> = order.iter().map(|&a| ty.shape[a].clone()).collect();
        let (ordered, opened) = b.open_loops(&extents, AxisKind::Vector);
        let mut index = vec![Index::ZERO; ty.rank()];
        for (&axis, i) in order.iter().zip(&ordered) {
            index[axis] = i.clone();
        }
        let value_expr = b.emit(value, &index)?;
        let stored = Expr::convert(dtype, compute_type(ty.dtype), value_expr);
        let target = b.buffer(storage.buffer, &storage.offset, true);
        let element = b.element(&storage.strides, &index);
        b.push(Stmt::Store(target, element, stored));
        for _ in 0..opened {
            b.close_loop();
        }
        Ok(b)
    }
}

/// A constant in the type that products of it are accumulated in, where half precision has to be widened.
pub(crate) fn widened(tensor: &Tensor, acc: DType) -> Tensor {
    match tensor.dtype {
        DType::F16 | DType::BF16 => Tensor::from_f64s(acc, &tensor.shape, &tensor.to_f64s()),
        _ => tensor.clone(),
    }
}

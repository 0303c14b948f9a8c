//! Operands of sums of products made ready: read where they lie, copied, or packed into column panels, at compile time or by
//! a step of the plan.

use super::builder::KernelBuilder;
use super::emit::compute_type;
use super::{LowerError, Lowering};
use crate::choose::axes::{Axis, AxisRoles, merge};
use crate::choose::problem::{Constant, Copied, LeftForm, RightForm};
use crate::choose::stored::Stored;
use crate::layout::{Storage, dense_strides};
use nnc_ir::op::BinaryOp;
use nnc_ir::{DType, Data, Dim, Tensor, ValueId};
use nnc_kernels::kernel::{AxisKind, Expr, Index, Stmt};
use nnc_kernels::plan::BufferId;
use nnc_kernels::weights::{Pack, offsets};

/// A right operand ready for a GEMM.
pub(crate) enum Right {
    /// Packed panels.
    Panels {
        buffer: BufferId,
        /// Batch axes, with elements of the packed form per step.
        batch: Vec<Axis>,
        /// Elements of one panel.
        panel_elements: Dim,
        /// How they lie there.
        stored: Stored,
        /// Zero points and scales.
        grid: Option<PanelGrid>,
    },
    /// Rows read in place.
    Rows { buffer: BufferId, offset: Dim, batch: Vec<Axis>, row_stride: Dim },
}

/// Zero points and scales of panels: rows for each panel, for each block of its sum if there are blocks.
pub(crate) struct PanelGrid {
    pub buffer: BufferId,
    /// As of the panels.
    pub batch: Vec<Axis>,
    /// Elements for one panel.
    pub panel_elements: Dim,
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
            RightForm::Constant(constant) => self.pack_constant(constant, width),
            RightForm::Rows { base, offset, batch, row_stride } => {
                let (offset, batch, row_stride) = (offset.clone(), batch.clone(), row_stride.clone());
                Ok(Right::Rows { buffer: self.storage(*base)?.buffer, offset, batch, row_stride })
            }
            RightForm::Packed { value, roles, groups } => self.pack_at_run_time(*value, (roles, *groups), width, acc),
            RightForm::Copied(value, roles) => self.copy_to_rows(*value, roles, acc),
            RightForm::Written => Err(self.error("panels of weights that are computed at run time")),
        }
    }

    /// Packs a constant at compile time, as it is stored.
    fn pack_constant(&mut self, constant: &Constant, width: usize) -> Result<Right, LowerError> {
        let Constant { constant: id, batch, sum, columns: (columns, column_stride), stored } = constant.clone();
        let source = numbers(self.graph.consts.get(id), &stored);
        let halves = stored.halves;
        let panel = sum.iter().map(|s| s.0).product::<usize>() * width / if halves { 2 } else { 1 };
        let panels = columns.div_ceil(width);
        let grid = match stored.has_grid() {
            true => Some(self.pack_grid(constant, width)?),
            false => None,
        };
        let batch_axes = batch_axes(&batch, panel * panels);
        let buffer = self.add_weight(&source, Pack::Panels { batch, sum, columns, column_stride, width, halves })?;
        Ok(Right::Panels { buffer, batch: batch_axes, panel_elements: Dim::from(panel as i64), stored, grid })
    }

    /// Packs the zero points and scales of a constant.
    fn pack_grid(&mut self, constant: &Constant, width: usize) -> Result<PanelGrid, LowerError> {
        let Constant { batch, sum, columns: (columns, column_stride), stored, .. } = constant;
        let tensor = self.graph.consts.get(constant.constant);
        let widened = tensor.data.as_widened().ok_or_else(|| self.error("zero points of what has none"))?;
        let summed: usize = sum.iter().map(|s| s.0).product();
        let block = stored.block.unwrap_or(summed.max(1));
        let mut values: Vec<f32> = vec![];
        for base in offsets(batch) {
            for panel in 0..columns.div_ceil(width) {
                for first in offsets(sum).step_by(block) {
                    let row = |get: &dyn Fn(usize) -> f32| -> Vec<f32> {
                        let columns = (panel * width..(panel + 1) * width).map(|c| c.min(columns - 1));
                        columns.map(|column| get(base + first + column * column_stride)).collect()
                    };
                    for spread in widened.zeros.iter().filter(|_| stored.zeros).chain(&widened.scales) {
                        values.extend(row(&|at| spread.get(at)));
                    }
                }
            }
        }
        let rows = usize::from(stored.zeros) + usize::from(stored.scales);
        let panel = summed.div_ceil(block) * rows * width;
        let batch = batch_axes(batch, panel * columns.div_ceil(width));
        let buffer = self.add_weight(&Tensor::from_slice(&[values.len()], &values), Pack::Plain)?;
        Ok(PanelGrid { buffer, batch, panel_elements: Dim::from(panel as i64) })
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
        Ok(Right::Panels { buffer, batch: batch_axes, panel_elements, stored: Stored::plain(dtype), grid: None })
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

/// Axes of dense blocks of `elements` each.
fn batch_axes(batch: &[(usize, usize)], elements: usize) -> Vec<Axis> {
    let sizes: Vec<Dim> = batch.iter().map(|b| Dim::from(b.0 as i64)).collect();
    let strides = dense_strides(&sizes).into_iter().zip(&sizes);
    strides.map(|(s, n)| Axis { size: n.clone(), stride: s * Dim::from(elements as i64) }).collect()
}

/// The numbers of a constant as they are stored.
fn numbers(tensor: &Tensor, stored: &Stored) -> Tensor {
    match (tensor.data.as_widened(), stored.added) {
        (Some(widened), added) if added > 0 => {
            let bytes = widened.numbers.data.bytes().iter().map(|n| n.wrapping_add(added));
            Tensor { dtype: stored.dtype, data: Data::new(bytes.collect::<Vec<u8>>()), ..tensor.clone() }
        }
        (Some(widened), _) if widened.numbers.dtype == stored.dtype => {
            Tensor { shape: tensor.shape.clone(), ..widened.numbers.clone() }
        }
        _ if matches!(tensor.dtype, DType::F16 | DType::BF16) && tensor.dtype != stored.dtype => {
            Tensor::from_f64s(stored.dtype, &tensor.shape, &tensor.to_f64s())
        }
        _ => tensor.clone(),
    }
}

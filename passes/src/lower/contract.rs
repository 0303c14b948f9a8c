//! Contractions (matrix products of any rank) as batch-reduce GEMM kernels.
//!
//! The left operand is read through a strided view whose summed axis is contiguous; the right operand is packed into
//! column panels when the model is compiled (constants) or by a step before (run-time operands whose columns are
//! not contiguous). An operand that has no such view is copied into one first.

use super::builder::KernelBuilder;
use super::emit::compute_type;
use super::panels::Right;
use super::view::View;
use super::{LowerError, Lowering};
use nnc_desc::Product;
use nnc_ir::op::{BinaryOp, Op};
use nnc_ir::{DType, Dim, Node, ValueId};
use nnc_kernels::contraction::{Contraction, Epilogue, Extents, LeftOperand, RightLayout, RightOperand, Tap};
use nnc_kernels::kernel::{Expr, Index, Stmt, Var};
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

        let batch_dims: Vec<Dim> = left.batch.iter().map(|a| a.size.clone()).collect();
        let row_dims: Vec<Dim> = left.free.iter().map(|a| a.size.clone()).collect();
        let column_dims: Vec<Dim> = right_roles.free.iter().map(|&a| self.graph.shape(rhs)[a].clone()).collect();
        let rows = row_dims.iter().fold(Dim::from(1), |a, d| &a * d);
        let columns = column_dims.iter().fold(Dim::from(1), |a, d| &a * d);
        let tile = self
            .product_row(acc)?
            .tile(rows.as_const().map(|n| n as usize), columns.as_const().map_or(4096, |n| n as usize).max(1));
        let right = self.right_operand(rhs, &right_roles, &left, tile.width, acc)?;

        // The rows walked by one stride are the GEMM's; further row axes are loops.
        let mut row_axes = merge(&left.free);
        let inner_rows = row_axes.pop().unwrap_or(Axis { size: Dim::from(1), stride: Dim::from(0) });
        let outer_rows = row_axes;
        let panels = columns.ceil_div(&Dim::from(tile.width as i64));
        let storage = self.storage_to_write(root)?;
        let ty = self.graph.ty(root).clone();
        let work = (&(&rows * &columns) * &(&self.product(&left.summed) * &self.product(&left.batch)))
            .floor_div(&Dim::from(40))
            .max(&Dim::from(1));

        // Rows per block: the block of the left operand stays in the first-level cache while panels pass.
        let (block, blocks) = self.row_block(&inner_rows.size, tile.rows);
        let right_bytes = &(&panels * &Dim::from(tile.width as i64)) * &(&k * &Dim::from(acc.size() as i64));
        let right_fits = right_bytes.as_const().is_some_and(|b| b <= self.target.l2_bytes as i64 / 2);

        let mut b = KernelBuilder::new(self, "contract");
        b.root = Some(root);
        let outer_batch: Vec<Dim> = batch_dims.clone();
        let mut extents: Vec<Dim> = outer_batch;
        extents.extend(outer_rows.iter().map(|a| a.size.clone()));
        let fixed = extents.len();
        if right_fits {
            extents.extend([blocks.clone(), panels.clone()]);
        } else {
            extents.extend([panels.clone(), blocks.clone()]);
        }
        let total = extents.iter().fold(Dim::from(1), |a, d| &a * d);
        let flat = b.parallel(&total);
        let imported: Vec<Index> = extents.iter().map(|d| b.import(d)).collect();
        let position = b.split_index(&flat, &imported);
        let (block_index, panel_index) = if right_fits {
            (position[fixed].clone(), position[fixed + 1].clone())
        } else {
            (position[fixed + 1].clone(), position[fixed].clone())
        };
        let batch_index = &position[..batch_dims.len()];
        let outer_index = &position[batch_dims.len()..fixed];

        let walk = |b: &mut KernelBuilder<'_, '_>, axes: &[Axis], index: &[Index]| {
            axes.iter().zip(index).fold(Index::ZERO, |sum, (a, i)| sum + i * &b.import(&a.stride))
        };
        let row_start = &block_index * &b.import(&block);
        let row_stride = b.import(&inner_rows.stride);
        let a_offset =
            walk(&mut b, &left.batch, batch_index) + walk(&mut b, &outer_rows, outer_index) + &row_start * &row_stride;
        let a = b.buffer(left.buffer, &left.offset, false);
        let imported_columns = b.import(&columns);
        let column_start = &panel_index * &Index::from(tile.width as i64);
        let (b_buffer, b_offset, layout) = match &right {
            Right::Panels { buffer, batch, panel_elements } => {
                let start = walk(&mut b, batch, batch_index) + &panel_index * &b.import(panel_elements);
                (b.buffer(*buffer, &Dim::from(0), false), start, RightLayout::Panel)
            }
            Right::Rows { buffer, offset, batch, row_stride } => {
                let start = walk(&mut b, batch, batch_index) + &column_start;
                let row_stride = b.import(row_stride);
                (b.buffer(*buffer, offset, false), start, RightLayout::Rows { row_stride })
            }
        };
        let imported_rows = b.import(&inner_rows.size);
        let imported_block = b.import(&block);
        let cut = Cut {
            rows: (imported_rows.clone(), block_index.clone(), imported_block),
            columns: (imported_columns, panel_index.clone(), tile.width as i64),
        };
        let taps = taps
            .iter()
            .map(|t| t.size.as_const().map(|n| Tap { count: n as usize, stride: b.import(&t.stride) }))
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| b.cx.error("a contraction sums over a symbolic axis that is not contiguous"))?;
        let k = b.import(&k);

        // The epilogue sees the result's index: batch, rows, columns.
        let row_dims: Vec<Index> = row_dims.iter().map(|d| b.import(d)).collect();
        let column_dims: Vec<Index> = column_dims.iter().map(|d| b.import(d)).collect();
        let outer_sizes: Vec<Index> = outer_rows.iter().map(|a| b.import(&a.size)).collect();
        let mut outer_row = Index::ZERO;
        for (i, size) in outer_index.iter().zip(&outer_sizes) {
            outer_row = &outer_row * size + i;
        }
        let batch_index = batch_index.to_vec();
        b.gemm_blocks(&cut, &mut |b, m, n| {
            let cell = b.open_cell(&m, tile.width, acc);
            let flat_row = &outer_row * &imported_rows + &row_start + cell.row.index();
            let mut index = batch_index.clone();
            index.extend(b.unflatten(&flat_row, &row_dims));
            index.extend(b.unflatten(&(&column_start + &cell.col.index()), &column_dims));
            let body = b.epilogue(anchor.outputs[0], root, cell.acc, &index, &ty, &storage)?;
            Ok(Contraction {
                extents: Extents { m, n, k: k.clone() },
                left: LeftOperand { buffer: a, offset: a_offset.clone(), row_stride: row_stride.clone() },
                right: RightOperand { buffer: b_buffer, offset: b_offset.clone(), layout: layout.clone() },
                taps: taps.clone(),
                tile,
                accumulator: acc,
                epilogue: Epilogue { row: cell.row, column: cell.col, sum: cell.acc, body },
            })
        })?;
        b.finish(work)
    }

    /// The row of the product table for sums of this type. What is multiplied has that type or is widened to it.
    pub(super) fn product_row(&self, accumulator: DType) -> Result<&'static Product, LowerError> {
        let row = self.target.product(accumulator, accumulator, accumulator);
        row.ok_or_else(|| self.error(format!("no target sums products in {accumulator}")))
    }

    pub(super) fn product(&self, axes: &[Axis]) -> Dim {
        axes.iter().fold(Dim::from(1), |a, x| &a * &x.size)
    }

    /// Rows handled by one parallel iteration and how many such blocks there are. A block is a few register tiles;
    /// a constant number of rows is cut evenly where it can be.
    pub(super) fn row_block(&self, rows: &Dim, tile_rows: usize) -> (Dim, Dim) {
        let target = (tile_rows * 4) as i64;
        let block = match rows.as_const() {
            Some(n) if n <= target => n.max(1),
            Some(n) => {
                // The largest divisor near the target, else even parts.
                let divisor = (target / 2..=target * 3 / 2).rev().find(|d| n % d == 0 && d % tile_rows as i64 == 0);
                let divisor = divisor.or_else(|| (target / 2..=target * 3 / 2).rev().find(|d| n % d == 0));
                divisor.unwrap_or(target)
            }
            None => target,
        };
        let block = Dim::from(block);
        let blocks = rows.ceil_div(&block);
        (block, blocks)
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

/// How a product is cut into blocks: (total, index of the block, size of a block) of rows and of columns.
pub(crate) struct Cut {
    pub rows: (Index, Index, Index),
    pub columns: (Index, Index, i64),
}

/// The variables an epilogue binds.
pub(crate) struct Cell {
    pub row: Var,
    pub col: Var,
    pub acc: Var,
}

/// The highest row index.
pub(crate) fn high(m: &Index, b: &KernelBuilder<'_, '_>) -> i64 {
    m.bounds(&b.ranges).1.saturating_sub(1).max(0)
}

impl KernelBuilder<'_, '_> {
    /// Opens an epilogue's scope over `m` rows and `width` columns.
    pub fn open_cell(&mut self, m: &Index, width: usize, acc: DType) -> Cell {
        self.open_scope(true);
        let row = self.var("row", DType::I64, 0, high(m, self), Some(m - 1));
        let col = self.var("col", DType::I64, 0, width as i64 - 1, None);
        let acc = self.var("sum", acc, i64::MIN, i64::MAX, None);
        Cell { row, col, acc }
    }

    /// Adds the GEMM of the current block: sizes that differ in the last block of a constant total are cases of
    /// their own, so that code generators see constants.
    pub fn gemm_blocks(
        &mut self,
        cut: &Cut,
        make: &mut dyn FnMut(&mut Self, Index, Index) -> Result<Contraction, LowerError>,
    ) -> Result<(), LowerError> {
        let (rows, row_block, block) = &cut.rows;
        let cases = |total: &Index, at: &Index, size: &Index| match (total.as_const(), size.as_const()) {
            (Some(total), Some(size)) if total <= size => vec![(None, Index::from(total))],
            (Some(total), Some(size)) if total % size == 0 => vec![(None, Index::from(size))],
            (Some(total), Some(size)) => {
                let full = Expr::binary(BinaryOp::Lt, Expr::Index(at.clone()), Expr::Index(Index::from(total / size)));
                vec![(Some(full), Index::from(size)), (None, Index::from(total % size))]
            }
            _ => vec![(None, (total - &(at * size)).min(size))],
        };
        let (columns, panel, width) = &cut.columns;
        let row_cases = cases(rows, row_block, block);
        let column_cases = cases(columns, panel, &Index::from(*width));
        self.case_of(&row_cases, &mut |b, m| {
            b.case_of(&column_cases, &mut |b, n| {
                let gemm = make(b, m.clone(), n)?;
                b.push(Stmt::Contract(Box::new(gemm)));
                Ok(())
            })
        })
    }

    /// Adds one body per case, the first guarded by its condition.
    fn case_of(
        &mut self,
        cases: &[(Option<Expr>, Index)],
        body: &mut dyn FnMut(&mut Self, Index) -> Result<(), LowerError>,
    ) -> Result<(), LowerError> {
        match cases {
            [(Some(condition), first), (_, second)] => {
                self.open_scope(false);
                body(self, first.clone())?;
                let then = self.close_scope();
                self.open_scope(false);
                body(self, second.clone())?;
                let otherwise = self.close_scope();
                self.push(Stmt::If(condition.clone(), then, otherwise));
                Ok(())
            }
            [(_, only), ..] => body(self, only.clone()),
            [] => Ok(()),
        }
    }

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

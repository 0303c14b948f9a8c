//! The recurrent matrix, packed when compiling where it is a constant, and the product of the state with it.

use super::super::block::{Block, Cut};
use super::super::builder::KernelBuilder;
use super::super::{LowerError, Lowering};
use super::Layer;
use crate::choose::problem::Copied;
use crate::choose::{Algorithm, Choice, Panels};
use nnc_desc::tiles::Tile;
use nnc_ir::op::Op;
use nnc_ir::{Dim, Tensor, ValueId};
use nnc_kernels::contraction::{Fetch, LeftOperand, RightLayout, RightOperand};
use nnc_kernels::kernel::{AxisKind, BufferRef, Expr, Index, Stmt};
use nnc_kernels::plan::BufferId;
use nnc_kernels::weights::Pack;

/// Where the elements of a recurrent matrix come from.
pub(super) enum Source {
    /// A constant in the type of the layer.
    Constant(Tensor),
    /// Rows of memory, one after the other.
    Rows(BufferId),
}

/// Columns of a recurrent matrix: `[hidden, columns]`.
pub(super) struct Matrix {
    buffer: BufferId,
    /// They are packed into panels; else they lie in the rows of the whole matrix.
    packed: bool,
    hidden: i64,
    pub(super) columns: i64,
    /// The column of the products that its first goes to.
    start: i64,
    tile: Tile,
}

impl Lowering<'_> {
    /// The recurrent matrix of a layer: what is computed is copied into rows, once for all steps.
    pub(super) fn recurrent_source(&mut self, layer: &Layer<'_>, r: ValueId) -> Result<Source, LowerError> {
        if let Some(Op::Constant(id)) = self.definition(r).map(|n| &n.op) {
            return Ok(Source::Constant(self.graph.consts.get(*id).clone()));
        }
        let copied = Copied { value: r, order: vec![0, 1], border: None, dtype: layer.dtype };
        Ok(Source::Rows(self.copy_operand(&copied)?.buffer))
    }

    /// The columns of the recurrent matrix from `start` on that a choice is about, packed if they are constant.
    pub(super) fn recurrent_columns(
        &mut self,
        source: &Source,
        (start, hidden): (i64, i64),
        choice: &Choice,
    ) -> Result<Matrix, LowerError> {
        let count = choice.shape.columns.as_const();
        let (Some(count), Some(Algorithm::Panels(Panels { tile, .. }))) =
            (count, choice.candidates.first().map(|taken| &taken.algorithm))
        else {
            return Err(self.error("a recurrent matrix is multiplied in panels of a known number of columns"));
        };
        let matrix = |buffer, packed| Matrix { buffer, packed, hidden, columns: count, start, tile: *tile };
        let tensor = match source {
            Source::Constant(tensor) => tensor,
            Source::Rows(buffer) => return Ok(matrix(*buffer, false)),
        };
        let (start, count, columns) = (start as usize, count as usize, tensor.shape[1]);
        let hidden = tensor.shape[0];
        let source = if start == 0 && count == columns {
            tensor.clone()
        } else {
            let size = tensor.dtype.size();
            let bytes = tensor.data.bytes();
            let rows = (0..hidden).flat_map(|r| &bytes[(r * columns + start) * size..][..count * size]);
            let data = nnc_ir::Data::new(rows.copied().collect::<Vec<u8>>());
            Tensor::new(tensor.dtype, vec![hidden, count], data).ok_or_else(|| self.error("a recurrent matrix"))?
        };
        let pack = Pack::Panels {
            batch: vec![],
            sum: vec![(hidden, count)],
            columns: count,
            column_stride: 1,
            width: tile.width,
            halves: false,
        };
        let buffer = self.add_weight(&source, pack)?;
        Ok(matrix(buffer, true))
    }
}

impl KernelBuilder<'_, '_> {
    /// `products[row, start + column] = state[row, :] * matrix`, panel by panel; rows of the products have as many elements as
    /// the layer has columns.
    pub(super) fn multiply(
        &mut self,
        layer: &Layer<'_>,
        matrix: &Matrix,
        (state, state_stride): (BufferRef, &Index),
        products: BufferRef,
    ) -> Result<(), LowerError> {
        let width = matrix.tile.width as i64;
        let panels = (matrix.columns + width - 1) / width;
        let m = self.import(&layer.batch);
        let panel = self.open_loop("p", &Index::from(panels), AxisKind::Serial);
        let column_start = &panel * &Index::from(width) + Index::from(matrix.start);
        let b = self.buffer(matrix.buffer, &Dim::from(0), false);
        let cut =
            Cut { rows: (m.clone(), Index::ZERO, m), columns: (Index::from(matrix.columns), panel.clone(), width) };
        let (offset, layout) = if matrix.packed {
            (&panel * &Index::from(matrix.hidden * width), RightLayout::Panel)
        } else {
            (column_start.clone(), RightLayout::Rows { row_stride: Index::from(layer.columns) })
        };
        let block = Block {
            k: Index::from(matrix.hidden),
            left: LeftOperand { buffer: state, offset: Index::ZERO, row_stride: state_stride.clone() },
            right: RightOperand { buffer: b, offset, layout, fetch: Fetch::Nothing, less: 0, grid: None },
            taps: vec![],
            tile: matrix.tile,
            accumulator: layer.dtype,
        };
        self.contraction(&cut, &block, &mut |builder, cell| {
            let at = &cell.row.index() * &Index::from(layer.columns) + &column_start + cell.col.index();
            builder.push(Stmt::Store(products, at, Expr::Var(cell.acc)));
            Ok(builder.close_scope())
        })?;
        self.close_loop();
        Ok(())
    }
}

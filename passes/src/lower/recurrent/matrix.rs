//! The recurrent matrix, packed when compiling, and the product of the state with it.

use super::super::block::{Block, Cut};
use super::super::builder::KernelBuilder;
use super::super::{LowerError, Lowering};
use crate::choose::{Algorithm, Choice, Panels};
use nnc_desc::tiles::Tile;
use nnc_ir::{DType, Dim, Tensor};
use nnc_kernels::contraction::{Fetch, LeftOperand, RightLayout, RightOperand};
use nnc_kernels::kernel::{AxisKind, BufferRef, Expr, Index, Stmt};
use nnc_kernels::plan::BufferId;
use nnc_kernels::weights::Pack;

/// Columns of a recurrent matrix, packed: `[hidden, columns]`.
pub(super) struct Matrix {
    buffer: BufferId,
    hidden: i64,
    pub(super) columns: i64,
    /// The column of the products that its first goes to.
    start: i64,
    tile: Tile,
}

impl Lowering<'_> {
    /// Packs the columns of the recurrent matrix from `start` on that a choice is about.
    pub(super) fn pack_recurrent(
        &mut self,
        tensor: &Tensor,
        start: i64,
        choice: &Choice,
    ) -> Result<Matrix, LowerError> {
        let count = choice.shape.columns.as_const();
        let (Some(count), Some(Algorithm::Panels(Panels { tile, .. }))) =
            (count, choice.candidates.first().map(|taken| &taken.algorithm))
        else {
            return Err(self.error("a recurrent matrix is multiplied in panels of a known number of columns"));
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
        };
        let buffer = self.add_weight(&source, pack)?;
        Ok(Matrix { buffer, hidden: hidden as i64, columns: count as i64, start: start as i64, tile: *tile })
    }
}

impl KernelBuilder<'_, '_> {
    /// `products[row, start + column] = state[row, :] * matrix`, panel by panel; rows of the products have `stride` elements.
    pub(super) fn multiply(
        &mut self,
        matrix: &Matrix,
        (state, state_stride): (BufferRef, &Index),
        batch: &Dim,
        (products, stride): (BufferRef, i64),
    ) -> Result<(), LowerError> {
        let width = matrix.tile.width as i64;
        let panels = (matrix.columns + width - 1) / width;
        let m = self.import(batch);
        let panel = self.open_loop("p", &Index::from(panels), AxisKind::Serial);
        let column_start = &panel * &Index::from(width) + Index::from(matrix.start);
        let b = self.buffer(matrix.buffer, &Dim::from(0), false);
        let cut =
            Cut { rows: (m.clone(), Index::ZERO, m), columns: (Index::from(matrix.columns), panel.clone(), width) };
        let block = Block {
            k: Index::from(matrix.hidden),
            left: LeftOperand { buffer: state, offset: Index::ZERO, row_stride: state_stride.clone() },
            right: RightOperand {
                buffer: b,
                offset: &panel * &Index::from(matrix.hidden * width),
                layout: RightLayout::Panel,
                fetch: Fetch::Nothing,
            },
            taps: vec![],
            tile: matrix.tile,
            accumulator: DType::F32,
        };
        self.contraction(&cut, &block, &mut |builder, cell| {
            let at = &cell.row.index() * &Index::from(stride) + &column_start + cell.col.index();
            builder.push(Stmt::Store(products, at, Expr::Var(cell.acc)));
            Ok(builder.close_scope())
        })?;
        self.close_loop();
        Ok(())
    }
}

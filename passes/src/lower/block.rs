//! One block of rows and one panel of columns of a contraction, inside whatever loops a kernel has around them.

use super::LowerError;
use super::builder::KernelBuilder;
use nnc_desc::tiles::Tile;
use nnc_ir::DType;
use nnc_ir::op::BinaryOp;
use nnc_kernels::contraction::{Contraction, Epilogue, Extents, LeftOperand, RightOperand, Tap};
use nnc_kernels::kernel::{Expr, Index, Stmt, Var};

/// How a product is cut into blocks: (total, index of the block, size of a block) of rows and of columns.
pub(crate) struct Cut {
    pub rows: (Index, Index, Index),
    pub columns: (Index, Index, i64),
}

/// What is the same for all blocks of a contraction.
#[derive(Clone)]
pub(crate) struct Block {
    /// Contiguous summed elements.
    pub k: Index,
    /// Left operand of this block.
    pub left: LeftOperand,
    /// Right operand of this panel.
    pub right: RightOperand,
    /// Summed loops around `k`.
    pub taps: Vec<Tap>,
    /// Register tile.
    pub tile: Tile,
    /// Type of the sums.
    pub accumulator: DType,
}

/// The variables an epilogue binds.
pub(crate) struct Cell {
    pub row: Var,
    pub col: Var,
    pub acc: Var,
}

/// Makes the statements that finish an element; the scope that binds the cell is open, and closed by it.
pub(crate) type Finish<'a> = dyn FnMut(&mut KernelBuilder<'_, '_>, &Cell) -> Result<Vec<Stmt>, LowerError> + 'a;

/// The highest row index.
fn high(m: &Index, b: &KernelBuilder<'_, '_>) -> i64 {
    m.bounds(&b.ranges).1.saturating_sub(1).max(0)
}

impl KernelBuilder<'_, '_> {
    /// Opens an epilogue's scope over `m` rows and `width` columns.
    fn open_cell(&mut self, m: &Index, width: usize, acc: DType) -> Cell {
        self.open_scope(true);
        let row = self.var("row", DType::I64, 0, high(m, self), Some(m - 1));
        let col = self.var("col", DType::I64, 0, width as i64 - 1, None);
        let acc = self.var("sum", acc, i64::MIN, i64::MAX, None);
        Cell { row, col, acc }
    }

    /// Adds the contraction of the current block, `finish` making the statements of its epilogue: sizes that differ in the
    /// last block of a constant total are cases of their own, so that code generators see constants.
    pub fn contraction(&mut self, cut: &Cut, block: &Block, finish: &mut Finish<'_>) -> Result<(), LowerError> {
        let (rows, row_block, block_rows) = &cut.rows;
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
        let row_cases = cases(rows, row_block, block_rows);
        let column_cases = cases(columns, panel, &Index::from(*width));
        self.case_of(&row_cases, &mut |b, m| {
            b.case_of(&column_cases, &mut |b, n| {
                let cell = b.open_cell(&m, block.tile.width, block.accumulator);
                let body = finish(b, &cell)?;
                b.push(Stmt::Contract(Box::new(Contraction {
                    extents: Extents { m: m.clone(), n, k: block.k.clone() },
                    left: block.left.clone(),
                    right: block.right.clone(),
                    taps: block.taps.clone(),
                    tile: block.tile,
                    accumulator: block.accumulator,
                    epilogue: Epilogue { row: cell.row, column: cell.col, sum: cell.acc, body },
                })));
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
}

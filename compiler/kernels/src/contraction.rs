//! The contraction statement: products of a block of rows and one panel of columns, summed in registers.
//!
//! For r in `0..m`, c in `0..n`:
//! `sum[r, c]` is the sum over taps and k in `0..k` of `left[offset + r * row_stride + tap offset + k] * right[..]`,
//! where elements of the right operand are widened and scaled as it says, then the epilogue runs once per element, with `row`, `column` and `sum` bound and `column` in vector lanes.
//!
//! Source: the batch-reduce GEMM of Georganas et al., "High-Performance Deep Learning via a Single Building Block", 2019.

use crate::kernel::{BufferRef, Index, Stmt, Var};
use nnc_desc::tiles::Tile;
use nnc_ir::DType;

/// A contraction; see the module.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Contraction {
    /// How much of it.
    pub extents: Extents,
    /// Elements along rows.
    pub left: LeftOperand,
    /// Elements along columns.
    pub right: RightOperand,
    /// Further summed loops around k, outermost first. Empty for a plain matrix product.
    pub taps: Vec<Tap>,
    /// What is held in registers at once; its width is that of a panel.
    pub tile: Tile,
    /// Type of the sums: `F32`, `F64`, `I32` (for 8-bit operands) or `I64`.
    pub accumulator: DType,
    /// What becomes of each sum.
    pub epilogue: Epilogue,
}

/// Extents of a contraction.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Extents {
    /// Rows. A constant where shapes are static.
    pub m: Index,
    /// Columns, at most the tile's width. A constant, or symbolic for [`RightLayout::Rows`].
    pub n: Index,
    /// Contiguous elements summed per tap.
    pub k: Index,
}

/// Where the left operand lies.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LeftOperand {
    /// Memory.
    pub buffer: BufferRef,
    /// First element.
    pub offset: Index,
    /// Elements between rows.
    pub row_stride: Index,
}

/// Where the right operand lies.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RightOperand {
    /// Memory.
    pub buffer: BufferRef,
    /// First element.
    pub offset: Index,
    /// Order of the elements.
    pub layout: RightLayout,
    /// What is fetched meanwhile.
    pub fetch: Fetch,
    /// What is subtracted, exactly, from the integers of a panel that is summed in floats, before all else.
    pub less: u8,
    /// What becomes of a panel's numbers before they are multiplied; they are converted to the type of the sums anyway.
    pub grid: Option<Grid>,
}

/// Zero points and scales of a panel's numbers: a number becomes `(number - zero) * scale`, each rounded to `F32`, the type of
/// the sums. They lie in rows as wide as the tile, the zero points of some numbers before their scales.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Grid {
    /// Memory, of `F32`.
    pub buffer: BufferRef,
    /// First element.
    pub offset: Index,
    /// Whether there are zero points.
    pub zeros: bool,
    /// Whether there are scales.
    pub scales: bool,
    /// Whether every tap (row-major over the taps) has rows of its own, as blocks along the sum have; otherwise all numbers of a
    /// column have one.
    pub per_tap: bool,
}

impl Grid {
    /// Elements of a tap's rows, for a tile of some width.
    pub fn row_elements(&self, width: usize) -> usize {
        (usize::from(self.zeros) + usize::from(self.scales)) * width
    }
}

/// What is brought into cache while products are summed. A hint: it changes no result, and may name what is not there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Fetch {
    /// Nothing: the right operand is in cache, or the processor knows better.
    Nothing,
    /// The panel itself, a little ahead of its use: few rows pass it once.
    Ahead,
    /// Elements of the right operand's buffer from `offset` on, `per_row` of them with every row. Where many rows pass a
    /// panel, each brings in its part of the next one.
    Next {
        /// First element.
        offset: Index,
        /// Elements a row.
        per_row: Index,
    },
}

/// Order of the right operand's elements.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RightLayout {
    /// One panel: for each tap (row-major over the taps) and each k, as many consecutive elements as the tile is wide,
    /// those of the columns past `n` being zero.
    Panel,
    /// A panel of numbers of 4 bits, 0 to 15, in bytes: those of an even k in the lower half, of the next in the upper. The
    /// offset is in bytes, k a constant and even, and columns past `n` may be anything.
    Nibbles,
    /// Row k at `k * row_stride` elements, columns contiguous; only `n` columns may be read. Requires no taps.
    Rows {
        /// Elements between rows.
        row_stride: Index,
    },
}

/// One summed loop around k.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tap {
    /// Iterations.
    pub count: usize,
    /// Elements of the left operand per iteration.
    pub stride: Index,
}

/// What becomes of each sum.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Epilogue {
    /// Bound to the row, `I64`.
    pub row: Var,
    /// Bound to the column in the panel, `I64`; the vector axis.
    pub column: Var,
    /// Bound to the sum.
    pub sum: Var,
    /// `Let`s and `Store`s.
    pub body: Vec<Stmt>,
}

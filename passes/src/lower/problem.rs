//! Sums of products over strided memory, the one form of matrix products and convolutions, and their emission.
//!
//! What is computed is a [`Problem`]; how its loops run is a [`Choice`]. Emission only writes them down: a parallel loop
//! over everything that is independent, and in it the contraction of one block of rows and one panel of columns.

use super::block::{Block, Cut};
use super::builder::KernelBuilder;
use super::contract::Axis;
use super::panels::Right;
use super::{LowerError, Lowering};
use nnc_desc::tiles::Tile;
use nnc_ir::{DType, Dim, ValueId};
use nnc_kernels::contraction::{LeftOperand, RightLayout, RightOperand, Tap};
use nnc_kernels::kernel::Index;
use nnc_kernels::plan::BufferId;

/// What is summed. Strides are elements of the left operand.
pub(crate) struct Problem {
    /// What the kernel is called.
    pub name: &'static str,
    /// Axes of independent products.
    pub batch: Vec<Axis>,
    /// Row axes outside of `rows`.
    pub outer: Vec<Axis>,
    /// Rows that one stride walks.
    pub rows: Axis,
    /// Columns.
    pub columns: Dim,
    /// Summed axes around `k`, of constant size.
    pub taps: Vec<Axis>,
    /// Contiguous summed elements.
    pub k: Dim,
    /// Memory of the left operand and its first element.
    pub left: (BufferId, Dim),
    /// The right operand.
    pub right: Right,
    /// Type of the sums.
    pub accumulator: DType,
    /// The value that the sums are.
    pub anchor: ValueId,
    /// The value that is stored.
    pub root: ValueId,
}

/// How the loops of a problem run.
#[derive(Clone, Debug)]
pub(crate) struct Choice {
    /// The register tile.
    pub tile: Tile,
    /// Rows of one parallel iteration.
    pub block: Dim,
    /// How many blocks there are.
    pub blocks: Dim,
    /// Panels outside of rows: each stays in cache while the rows pass. Otherwise all panels pass over each block.
    pub panels_outside: bool,
}

/// Where in the result a sum stands.
pub(crate) struct Position<'a> {
    /// Along the batch axes.
    pub batch: &'a [Index],
    /// Along the outer axes.
    pub outer: &'a [Index],
    /// Among the rows.
    pub row: Index,
    /// Among the columns.
    pub column: Index,
}

/// The index into the anchor's value.
pub(crate) type ResultIndex<'a> = dyn FnMut(&mut KernelBuilder<'_, '_>, &Position<'_>) -> Vec<Index> + 'a;

fn count(axes: &[Axis]) -> Dim {
    axes.iter().fold(Dim::ONE, |n, axis| &n * &axis.size)
}

impl Problem {
    /// Products summed for one element.
    fn depth(&self) -> Dim {
        &count(&self.taps) * &self.k
    }

    /// An estimate of the whole, in nanoseconds on one core.
    fn work(&self) -> Dim {
        let elements = &(&count(&self.batch) * &count(&self.outer)) * &(&self.rows.size * &self.columns);
        (&elements * &self.depth()).floor_div(&Dim::from(40)).max(&Dim::ONE)
    }
}

impl Lowering<'_> {
    /// How the loops of a problem run on the target.
    pub(super) fn choose(&self, problem: &Problem, tile: Tile) -> Choice {
        let (block, blocks) = self.row_block(&problem.rows.size, tile.rows);
        // Whichever operand is small stays in cache while the other streams.
        let width = Dim::from(tile.width as i64);
        let padded = &problem.columns.ceil_div(&width) * &width;
        let bytes = &(&padded * &problem.depth()) * &Dim::from(problem.accumulator.size() as i64);
        let fits = bytes.as_const().is_some_and(|bytes| bytes <= self.target.l2_bytes as i64 / 2);
        Choice { tile, block, blocks, panels_outside: !fits }
    }

    /// Emits the kernel of a problem and its step.
    pub(super) fn emit_problem(
        &mut self,
        problem: &Problem,
        choice: &Choice,
        index: &mut ResultIndex<'_>,
    ) -> Result<(), LowerError> {
        let storage = self.storage_to_write(problem.root)?;
        let ty = self.graph.ty(problem.root).clone();
        let mut b = KernelBuilder::new(self, problem.name);
        b.root = Some(problem.root);
        let at = b.open_problem(problem, choice);
        let walk = |b: &mut KernelBuilder<'_, '_>, axes: &[Axis], index: &[Index]| {
            axes.iter().zip(index).fold(Index::ZERO, |sum, (a, i)| sum + i * &b.import(&a.stride))
        };
        let tile = choice.tile;
        let imported_block = b.import(&choice.block);
        let row_start = &at.block * &imported_block;
        let row_stride = b.import(&problem.rows.stride);
        let offset = walk(&mut b, &problem.batch, &at.batch)
            + walk(&mut b, &problem.outer, &at.outer)
            + &row_start * &row_stride;
        let left = LeftOperand { buffer: b.buffer(problem.left.0, &problem.left.1, false), offset, row_stride };
        let columns = b.import(&problem.columns);
        let column_start = &at.panel * &Index::from(tile.width as i64);
        let right = match &problem.right {
            Right::Panels { buffer, batch, panel_elements } => {
                let offset = walk(&mut b, batch, &at.batch) + &at.panel * &b.import(panel_elements);
                RightOperand { buffer: b.buffer(*buffer, &Dim::ZERO, false), offset, layout: RightLayout::Panel }
            }
            Right::Rows { buffer, offset, batch, row_stride } => {
                let start = walk(&mut b, batch, &at.batch) + &column_start;
                let layout = RightLayout::Rows { row_stride: b.import(row_stride) };
                RightOperand { buffer: b.buffer(*buffer, offset, false), offset: start, layout }
            }
        };
        let rows = b.import(&problem.rows.size);
        let cut =
            Cut { rows: (rows, at.block.clone(), imported_block), columns: (columns, at.panel, tile.width as i64) };
        let taps = problem
            .taps
            .iter()
            .map(|t| t.size.as_const().map(|n| Tap { count: n as usize, stride: b.import(&t.stride) }))
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| b.cx.error("a contraction sums over a symbolic axis that is not contiguous"))?;
        let k = b.import(&problem.k);
        let block = Block { k, left, right, taps, tile, accumulator: problem.accumulator };
        b.contraction(&cut, &block, &mut |b, cell| {
            let (row, column) = (&row_start + &cell.row.index(), &column_start + &cell.col.index());
            let index = index(b, &Position { batch: &at.batch, outer: &at.outer, row, column });
            b.epilogue(problem.anchor, problem.root, cell.acc, &index, &ty, &storage)
        })?;
        b.finish(problem.work())
    }
}

/// Where the parallel loop of a problem stands.
struct At {
    batch: Vec<Index>,
    outer: Vec<Index>,
    block: Index,
    panel: Index,
}

impl KernelBuilder<'_, '_> {
    /// Opens the parallel loop over batches, panels, outer rows and blocks, in the order chosen.
    fn open_problem(&mut self, problem: &Problem, choice: &Choice) -> At {
        let panels = problem.columns.ceil_div(&Dim::from(choice.tile.width as i64));
        let sizes = |axes: &[Axis]| axes.iter().map(|a| a.size.clone()).collect::<Vec<Dim>>();
        let mut extents = sizes(&problem.batch);
        if choice.panels_outside {
            extents.push(panels.clone());
        }
        extents.extend(sizes(&problem.outer));
        extents.push(choice.blocks.clone());
        if !choice.panels_outside {
            extents.push(panels);
        }
        let total = extents.iter().fold(Dim::ONE, |n, d| &n * d);
        let flat = self.parallel(&total);
        let imported: Vec<Index> = extents.iter().map(|d| self.import(d)).collect();
        let mut position = self.split_index(&flat, &imported).into_iter();
        let batch = position.by_ref().take(problem.batch.len()).collect();
        let first = choice.panels_outside.then(|| position.next().unwrap_or(Index::ZERO));
        let outer = position.by_ref().take(problem.outer.len()).collect();
        let block = position.next().unwrap_or(Index::ZERO);
        let panel = first.or_else(|| position.next()).unwrap_or(Index::ZERO);
        At { batch, outer, block, panel }
    }
}

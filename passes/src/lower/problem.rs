//! Sums of products over strided memory, the one form of matrix products and convolutions, and their emission.
//!
//! What is computed is a [`Problem`]; how its loops run was chosen before. Emission only writes them down: a parallel loop
//! over everything that is independent, and in it the contraction of one block of rows and one panel of columns.

use super::block::{Block, Cut};
use super::builder::KernelBuilder;
use super::contract::Axis;
use super::panels::Right;
use super::{LowerError, Lowering};
use crate::choose::{self, Algorithm, Candidate, Panels, Shape};
use nnc_desc::Product;
use nnc_ir::{DType, Dim, ValueId};
use nnc_kernels::contraction::{Fetch, LeftOperand, RightLayout, RightOperand, Tap};
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

/// How many there are of axes together.
pub(crate) fn count(axes: &[Axis]) -> Dim {
    axes.iter().fold(Dim::ONE, |n, axis| &n * &axis.size)
}

impl Lowering<'_> {
    /// The cheapest way to do a contraction, and its nanoseconds on one core.
    pub(super) fn choose(&mut self, shape: &Shape, product: &Product) -> Result<(Algorithm, Dim), LowerError> {
        let candidates = choose::candidates(shape, product, self.target);
        let Some(Candidate { algorithm, cost }) = candidates.first().cloned() else {
            return Err(self.error("no way to do a contraction"));
        };
        self.choices.push((shape.clone(), candidates));
        Ok((algorithm, shape.nanoseconds(cost)))
    }

    /// As [`Lowering::choose`], of what only panels do.
    pub(super) fn choose_panels(&mut self, shape: &Shape, product: &Product) -> Result<(Panels, Dim), LowerError> {
        match self.choose(shape, product)? {
            (Algorithm::Panels(panels), work) => Ok((panels, work)),
            (Algorithm::Depthwise, _) => Err(self.error("channels by themselves where there are none")),
        }
    }

    /// Emits the kernel of a problem and its step.
    pub(super) fn emit_problem(
        &mut self,
        problem: &Problem,
        (choice, work): (&Panels, Dim),
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
                let fetch = match choice.fetch {
                    choose::Fetch::Nothing => Fetch::Nothing,
                    choose::Fetch::Ahead => Fetch::Ahead,
                    choose::Fetch::Next => b.next_panel(problem, choice, &at, &offset, panel_elements),
                };
                let buffer = b.buffer(*buffer, &Dim::ZERO, false);
                RightOperand { buffer, offset, layout: RightLayout::Panel, fetch }
            }
            Right::Rows { buffer, offset, batch, row_stride } => {
                let start = walk(&mut b, batch, &at.batch) + &column_start;
                let layout = RightLayout::Rows { row_stride: b.import(row_stride) };
                let buffer = b.buffer(*buffer, offset, false);
                RightOperand { buffer, offset: start, layout, fetch: Fetch::Nothing }
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
        b.finish_in(work)
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
    /// One index for those along several axes, the last the innermost.
    pub fn flatten(&mut self, index: &[Index], axes: &[Axis]) -> Index {
        let mut flat = Index::ZERO;
        for (i, axis) in index.iter().zip(axes) {
            flat = &flat * &self.import(&axis.size) + i;
        }
        flat
    }

    /// The part of the panel after this one that this block's rows fetch: all rows that pass a panel share the next.
    fn next_panel(&mut self, problem: &Problem, choice: &Panels, at: &At, panel: &Index, elements: &Dim) -> Fetch {
        let block = self.import(&choice.block);
        let rows = self.import(&problem.rows.size);
        let (passing, position) = if choice.panels_outside {
            let outer = self.flatten(&at.outer, &problem.outer);
            (&count(&problem.outer) * &problem.rows.size, &outer * &rows + &at.block * &block)
        } else {
            (choice.block.clone(), Index::ZERO)
        };
        let per_row = self.import(&elements.ceil_div(&passing.max(&Dim::ONE)));
        Fetch::Next { offset: panel + &self.import(elements) + &position * &per_row, per_row }
    }

    /// Opens the parallel loop over batches, panels, outer rows and blocks, in the order chosen.
    fn open_problem(&mut self, problem: &Problem, choice: &Panels) -> At {
        let panels = problem.columns.ceil_div(&Dim::from(choice.tile.width as i64));
        let sizes = |axes: &[Axis]| axes.iter().map(|a| a.size.clone()).collect::<Vec<Dim>>();
        let mut extents = sizes(&problem.batch);
        if choice.panels_outside {
            extents.push(panels.clone());
        }
        extents.extend(sizes(&problem.outer));
        extents.push(problem.rows.size.ceil_div(&choice.block));
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

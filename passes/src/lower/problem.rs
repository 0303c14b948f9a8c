//! Emission of sums of products: writes down what was chosen, and decides nothing.
//!
//! A parallel loop goes over everything that is independent, and in it stands the contraction of one block of rows and one
//! panel of columns.

use super::block::{Block, Cut};
use super::builder::KernelBuilder;
use super::operand::Right;
use super::{LowerError, Lowering};
use crate::choose::axes::{Axis, count};
use crate::choose::problem::{Problem, ResultIndex, RightForm};
use crate::choose::{self, Panels};
use nnc_ir::Dim;
use nnc_kernels::contraction::{Fetch, Grid, LeftOperand, RightLayout, RightOperand, Tap};
use nnc_kernels::kernel::Index;

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

impl KernelBuilder<'_, '_> {
    /// Elements from the first to an index along some axes.
    fn walk(&mut self, axes: &[Axis], index: &[Index]) -> Index {
        axes.iter().zip(index).fold(Index::ZERO, |sum, (a, i)| sum + i * &self.import(&a.stride))
    }
}

impl Lowering<'_> {
    /// Emits the kernel of a problem and its step.
    pub(super) fn emit_problem(&mut self, problem: &Problem, (choice, work): (&Panels, Dim)) -> Result<(), LowerError> {
        let left_memory = self.left_operand(&problem.left)?;
        let right_memory = self.right_operand(&problem.right, choice.tile.width, problem.accumulator)?;
        let storage = self.storage(problem.root)?;
        let ty = self.graph.ty(problem.root).clone();
        let mut b = KernelBuilder::new(self, problem.name);
        b.root = Some(problem.root);
        let at = b.open_problem(problem, choice);
        let tile = choice.tile;
        let imported_block = b.import(&choice.block);
        let row_start = &at.block * &imported_block;
        let row_stride = b.import(&problem.rows.stride);
        let offset = b.walk(&problem.batch, &at.batch) + b.walk(&problem.outer, &at.outer) + &row_start * &row_stride;
        let left = LeftOperand { buffer: b.buffer(left_memory.buffer, &left_memory.offset, false), offset, row_stride };
        let columns = b.import(&problem.columns);
        let column_start = &at.panel * &Index::from(tile.width as i64);
        let right = match &right_memory {
            Right::Panels { buffer, batch, panel_elements, stored, grid } => {
                let offset = b.walk(batch, &at.batch) + &at.panel * &b.import(panel_elements);
                let fetch = match choice.fetch {
                    choose::Fetch::Nothing => Fetch::Nothing,
                    choose::Fetch::Ahead => Fetch::Ahead,
                    choose::Fetch::Next => b.next_panel(problem, choice, &at, &offset, panel_elements),
                };
                let buffer = b.buffer(*buffer, &Dim::ZERO, false);
                let layout = if stored.halves { RightLayout::Nibbles } else { RightLayout::Panel };
                let grid = grid.as_ref().map(|grid| Grid {
                    buffer: b.buffer(grid.buffer, &Dim::ZERO, false),
                    offset: b.walk(&grid.batch, &at.batch) + &at.panel * &b.import(&grid.panel_elements),
                    zeros: stored.zeros,
                    scales: stored.scales,
                    per_tap: stored.block.is_some(),
                });
                RightOperand { buffer, offset, layout, less: stored.less, grid, fetch }
            }
            Right::Rows { buffer, offset, batch, row_stride } => {
                let start = b.walk(batch, &at.batch) + &column_start;
                let layout = RightLayout::Rows { row_stride: b.import(row_stride) };
                let buffer = b.buffer(*buffer, offset, false);
                RightOperand { buffer, offset: start, layout, less: 0, grid: None, fetch: Fetch::Nothing }
            }
        };
        let rows = b.import(&problem.rows.size);
        let cut = Cut {
            rows: (rows, at.block.clone(), imported_block),
            columns: (columns, at.panel.clone(), tile.width as i64),
        };
        let mut taps = problem
            .taps
            .iter()
            .map(|t| t.size.as_const().map(|n| Tap { count: n as usize, stride: b.import(&t.stride) }))
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| b.cx.error("a contraction sums over a symbolic axis that is not contiguous"))?;
        let mut k = problem.k.clone();
        // Blocks of numbers that share a zero point and scale are taps.
        if let RightForm::Constant(constant) = &problem.right
            && let Some(block) = constant.stored.block.map(|block| block as i64)
        {
            let count = k.floor_div(&Dim::from(block)).as_const().unwrap_or(1);
            taps.push(Tap { count: count as usize, stride: Index::from(block) });
            k = Dim::from(block);
        }
        let k = b.import(&k);
        let block = Block { k, left, right, taps, tile, accumulator: problem.accumulator };
        let seen = b.seen(problem, &at, &cut.rows);
        b.near_taps(&seen, 0, block, &mut |b, block| {
            b.contraction(&cut, block, &mut |b, cell| {
                let (row, column) = (&row_start + &cell.row.index(), &column_start + &cell.col.index());
                let position = Position { batch: &at.batch, outer: &at.outer, row, column };
                let index = b.result_index(problem, &position);
                b.finish_anchor(problem.anchor, problem.root, cell.acc, &index, &ty, &storage)?;
                Ok(b.close_scope())
            })
        })?;
        b.finish_in(work)
    }
}

/// Where the parallel loop of a problem stands.
pub(super) struct At {
    batch: Vec<Index>,
    pub outer: Vec<Index>,
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

    /// The index into the anchor's value.
    fn result_index(&mut self, problem: &Problem, at: &Position<'_>) -> Vec<Index> {
        match &problem.index {
            ResultIndex::Product { rows, columns } => {
                let row_dims: Vec<Index> = rows.iter().map(|d| self.import(d)).collect();
                let column_dims: Vec<Index> = columns.iter().map(|d| self.import(d)).collect();
                let rows = self.import(&problem.rows.size);
                let outer = self.flatten(at.outer, &problem.outer);
                let mut index = at.batch.to_vec();
                index.extend(self.unflatten(&(&outer * &rows + &at.row), &row_dims));
                index.extend(self.unflatten(&at.column, &column_dims));
                index
            }
            ResultIndex::Window { rows, columns } => {
                let inner: Vec<Index> = rows.iter().map(|d| self.import(d)).collect();
                let columns = self.import(columns);
                let mut index = at.outer.to_vec();
                index.extend(self.unflatten(&at.row, &inner));
                index.push(&at.batch[0] * &columns + &at.column);
                index
            }
        }
    }

    /// The part of the panel after this one that this block's rows fetch: all rows that pass a panel share the next.
    fn next_panel(&mut self, problem: &Problem, choice: &Panels, at: &At, panel: &Index, elements: &Dim) -> Fetch {
        let block = self.import(&choice.block);
        let rows = self.import(&problem.rows.size);
        let start = &at.block * &block;
        let (passing, position) = if choice.panels_outside {
            let outer = self.flatten(&at.outer, &problem.outer);
            (&self.import(&count(&problem.outer)) * &rows, &outer * &rows + &start)
        } else if rows.as_const().is_some() {
            (block, Index::ZERO)
        } else {
            // The last block may have few rows.
            ((&rows - &start).min(&block), Index::ZERO)
        };
        let per_row = self.import(elements).ceil_div(&passing.max(&Index::ONE));
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

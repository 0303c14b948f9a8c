//! Contractions: rule 12.

use super::{Checker, Inner, MAX_TAPS, MAX_WIDTH, Problem, State, ensure, may_be};
use crate::affine::Varying;
use crate::contraction::{Contraction, Fetch, RightLayout, Tap};
use crate::kernel::Stmt;
use nnc_desc::products;
use nnc_ir::DType;

impl Checker<'_> {
    pub(super) fn contraction(&mut self, g: &Contraction) -> Result<(), Inner> {
        for index in [&g.extents.m, &g.extents.n, &g.extents.k, &g.left.offset, &g.left.row_stride, &g.right.offset] {
            self.index(index)?;
        }
        let (a, b) = (self.buffer(g.left.buffer)?.dtype, self.buffer(g.right.buffer)?.dtype);
        ensure(products::sums(a, b, g.accumulator), 12, || {
            format!("products of {a} and {b} are not summed in {}", g.accumulator)
        })?;
        let sizes = 1..=MAX_WIDTH;
        ensure(sizes.contains(&g.tile.width) && sizes.contains(&g.tile.rows), 12, || {
            format!("width {} and rows {} should be at most {MAX_WIDTH}", g.tile.width, g.tile.rows)
        })?;
        ensure(may_be(&g.extents.n, |n| n <= g.tile.width as i64), 12, || {
            format!("n is {} and width {}", g.extents.n, g.tile.width)
        })?;
        let mut taps = 1usize;
        for Tap { count, stride } in &g.taps {
            self.index(stride)?;
            taps = taps.saturating_mul(*count);
        }
        ensure((1..=MAX_TAPS).contains(&taps), 12, || format!("{taps} taps"))?;
        match &g.right.layout {
            RightLayout::Panel => {
                ensure(g.extents.n.as_const().is_some(), 12, || "the columns of a panel are a constant".to_owned())?;
            }
            RightLayout::Nibbles => {
                let even = g.extents.k.as_const().is_some_and(|k| k % 2 == 0);
                ensure(
                    b == DType::U8 && g.accumulator == DType::F32 && even && g.extents.n.as_const().is_some(),
                    12,
                    || "nibbles are bytes, summed in f32 over a constant, even k".to_owned(),
                )?;
            }
            RightLayout::Rows { row_stride } => {
                self.index(row_stride)?;
                ensure(g.taps.is_empty(), 12, || "a right operand of rows takes no taps".to_owned())?;
            }
        }
        if g.right.less > 0 {
            let panel = !matches!(g.right.layout, RightLayout::Rows { .. });
            ensure(b.is_int() && g.accumulator == DType::F32 && panel, 12, || {
                "what is subtracted is of integers in a panel that is summed in f32".to_owned()
            })?;
        }
        if let Some(grid) = &g.right.grid {
            self.index(&grid.offset)?;
            let dtype = self.buffer(grid.buffer)?.dtype;
            let panel = !matches!(g.right.layout, RightLayout::Rows { .. });
            ensure(
                dtype == DType::F32 && g.accumulator == DType::F32 && panel && (grid.zeros || grid.scales),
                12,
                || "a grid is f32, of zeros or scales, for a panel that is summed in f32".to_owned(),
            )?;
        }
        if let Fetch::Next { offset, per_row } = &g.right.fetch {
            self.index(offset)?;
            self.index(per_row)?;
        }
        if let Some(stmt) = g.epilogue.body.iter().find(|s| !matches!(s, Stmt::Let(..) | Stmt::Store(..))) {
            let text = crate::print::statement_head(self.kernel, stmt);
            return Err(Problem(12, format!("`{text}` in an epilogue")).into());
        }
        let mark = self.defined.len();
        self.define(g.epilogue.row, Some(DType::I64), State::Immutable, 12)?;
        self.define(g.epilogue.column, Some(DType::I64), State::Immutable, 12)?;
        self.define(g.epilogue.sum, Some(g.accumulator), State::Immutable, 12)?;
        self.lanes = Some((Varying::of_epilogue(g), may_be(&g.extents.n, |n| n > 1)));
        self.block(&g.epilogue.body)?;
        self.lanes = None;
        self.leave(mark);
        Ok(())
    }
}

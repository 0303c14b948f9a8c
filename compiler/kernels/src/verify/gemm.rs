//! The micro-kernel: rule 12.

use super::{Checker, Inner, MAX_TAPS, MAX_WIDTH, Problem, State, ensure, may_be};
use crate::affine::Varying;
use crate::kernel::{Gemm, RightOperand, Stmt};
use crate::ops;
use nnc_ir::DType;

impl Checker<'_> {
    pub(super) fn gemm(&mut self, g: &Gemm) -> Result<(), Inner> {
        for index in [&g.m, &g.n, &g.k, &g.a_offset, &g.a_row_stride, &g.b_offset] {
            self.index(index)?;
        }
        let (a, b) = (self.buffer(g.a)?.dtype, self.buffer(g.b)?.dtype);
        ensure(ops::gemm_accepts(a, b, g.acc_dtype), 12, || {
            format!("products of {a} and {b} are not summed in {}", g.acc_dtype)
        })?;
        let sizes = 1..=MAX_WIDTH;
        ensure(sizes.contains(&g.width) && sizes.contains(&g.rows), 12, || {
            format!("width {} and rows {} should be at most {MAX_WIDTH}", g.width, g.rows)
        })?;
        ensure(may_be(&g.n, |n| n <= g.width as i64), 12, || format!("n is {} and width {}", g.n, g.width))?;
        let mut taps = 1usize;
        for (count, step) in &g.taps {
            self.index(step)?;
            taps = taps.saturating_mul(*count);
        }
        ensure((1..=MAX_TAPS).contains(&taps), 12, || format!("{taps} taps"))?;
        match &g.b_layout {
            RightOperand::Panel => {
                ensure(g.n.as_const().is_some(), 12, || "the columns of a panel are a constant".to_owned())?;
            }
            RightOperand::Rows { row_stride } => {
                self.index(row_stride)?;
                ensure(g.taps.is_empty(), 12, || "a right operand of rows takes no taps".to_owned())?;
            }
        }
        if let Some(stmt) = g.epilogue.iter().find(|s| !matches!(s, Stmt::Let(..) | Stmt::Store(..))) {
            let text = crate::print::statement_head(self.kernel, stmt);
            return Err(Problem(12, format!("`{text}` in an epilogue")).into());
        }
        let mark = self.defined.len();
        self.define(g.row, Some(DType::I64), State::Immutable, 12)?;
        self.define(g.col, Some(DType::I64), State::Immutable, 12)?;
        self.define(g.acc, Some(g.acc_dtype), State::Immutable, 12)?;
        self.lanes = Some((Varying::of_epilogue(g), may_be(&g.n, |n| n > 1)));
        self.block(&g.epilogue)?;
        self.lanes = None;
        self.leave(mark);
        Ok(())
    }
}

//! Statements.

use super::{Parsed, Parser};
use crate::contraction::{Contraction, Epilogue, Extents, Fetch, Grid, LeftOperand, RightLayout, RightOperand, Tap};
use crate::kernel::{Accumulator, AxisKind, Loop, Stmt, Var};
use crate::print::{FULL_RANGE, RESERVED, loop_range};
use nnc_desc::tiles::Tile;
use nnc_ir::DType;
use nnc_ir::op::ReduceOp;

impl Parser<'_> {
    /// Statements up to and including the closing brace.
    pub(super) fn block(&mut self) -> Parsed<Vec<Stmt>> {
        let mut body = vec![];
        while !self.eat("}") {
            body.push(self.deeper(Self::statement)?);
        }
        Ok(body)
    }

    fn braces(&mut self) -> Parsed<Vec<Stmt>> {
        self.expect("{")?;
        self.block()
    }

    fn statement(&mut self) -> Parsed<Stmt> {
        let word = self.peek();
        if !RESERVED.contains(&word) {
            let name = self.name()?;
            let var = self.find(&name)?;
            self.expect("=")?;
            return Ok(Stmt::Assign(var, self.expr()?));
        }
        self.expect(word)?;
        match word {
            "let" | "mut" => {
                // The variable is not in scope in its own value, but declared first in the text.
                let var = self.definition()?;
                self.expect("=")?;
                let value = self.expr()?;
                Ok(if word == "let" { Stmt::Let(var, value) } else { Stmt::Mutable(var, value) })
            }
            "store" => {
                let (buffer, index) = self.element()?;
                self.expect("=")?;
                Ok(Stmt::Store(buffer, index, self.expr()?))
            }
            "for" => {
                let l = self.loop_head(&["{"])?;
                Ok(Stmt::For(l, self.braces()?))
            }
            "reduce" => self.reduce(),
            "if" => {
                let condition = self.expr()?;
                let then = self.braces()?;
                let otherwise = if self.eat("else") { self.braces()? } else { vec![] };
                Ok(Stmt::If(condition, then, otherwise))
            }
            "while" => {
                let condition = self.expr()?;
                Ok(Stmt::While(condition, self.braces()?))
            }
            "fail" => {
                let status = i32::try_from(self.integer()?);
                Ok(Stmt::Fail(status.map_err(|_| self.error("expected a status before"))?))
            }
            "contract" => self.contraction(),
            _ => Err(self.error(format!("`{word}` does not start a statement"))),
        }
    }

    fn loop_head(&mut self, stops: &[&str]) -> Parsed<Loop> {
        // A variable may be called like a mapping; then `in` or its range follows.
        let before = self.rest;
        let mut axis = match self.peek() {
            "free" => AxisKind::Free,
            "vector" => AxisKind::Vector,
            "unrolled" => AxisKind::Unrolled,
            _ => AxisKind::Serial,
        };
        if axis != AxisKind::Serial {
            let word = self.peek();
            self.expect(word)?;
            if self.peek() == "in" || self.rest.starts_with('[') {
                axis = AxisKind::Serial;
                self.rest = before;
            }
        }
        let (var, extent) = self.counted(stops)?;
        Ok(Loop { var, extent, axis })
    }

    fn reduce(&mut self) -> Parsed<Stmt> {
        let l = self.loop_head(&["->"])?;
        self.expect("->")?;
        self.expect("(")?;
        let mut heads = vec![];
        while !self.eat(")") {
            let var = self.definition()?;
            self.expect("=")?;
            let word = self.peek();
            let Some(op) = ReduceOp::from_name(word) else { return Err(self.error("expected a combination")) };
            self.expect(word)?;
            self.expect("from")?;
            heads.push((var, op, self.expr()?));
            if !self.eat(",") {
                self.expect(")")?;
                break;
            }
        }
        self.expect("{")?;
        let mut body = vec![];
        while !self.eat("yield") {
            body.push(self.deeper(Self::statement)?);
        }
        let mut accumulators = vec![];
        for (i, (var, op, init)) in heads.into_iter().enumerate() {
            if i > 0 {
                self.expect(",")?;
            }
            accumulators.push(Accumulator { var, op, init, value: self.expr()? });
        }
        self.expect("}")?;
        Ok(Stmt::Reduce(l, body, accumulators))
    }

    /// A variable that a micro-kernel binds.
    fn bound(&mut self, dtype: DType, expected: (i64, i64)) -> Parsed<Var> {
        let name = self.name()?;
        let range = self.range()?.unwrap_or(expected);
        self.declare(name, dtype, range)
    }

    fn contraction(&mut self) -> Parsed<Stmt> {
        let accumulator = self.dtype()?;
        self.expect("tile")?;
        let rows = self.size()?;
        self.expect("x")?;
        let width = self.size()?;
        self.expect("m")?;
        let m = self.bracketed()?;
        self.expect("n")?;
        let n = self.bracketed()?;
        self.expect("k")?;
        let k = self.bracketed()?;
        self.expect("a")?;
        let (buffer, offset) = self.element()?;
        self.expect("stride")?;
        let left = LeftOperand { buffer, offset, row_stride: self.bracketed()? };
        let mut taps = vec![];
        while self.eat("tap") {
            let count = self.size()?;
            self.expect("by")?;
            taps.push(Tap { count, stride: self.bracketed()? });
        }
        self.expect("b")?;
        let (right, offset) = self.element()?;
        let layout = if self.eat("panel") {
            RightLayout::Panel
        } else if self.eat("nibbles") {
            RightLayout::Nibbles
        } else {
            self.expect("rows")?;
            RightLayout::Rows { row_stride: self.bracketed()? }
        };
        let less = match self.eat("less") {
            true => u8::try_from(self.size()?).map_err(|_| self.error("expected at most 255 before"))?,
            false => 0,
        };
        let grid = if self.eat("grid") {
            let (buffer, offset) = self.element()?;
            let (zeros, scales) = (self.eat("zeros"), self.eat("scales"));
            Some(Grid { buffer, offset, zeros, scales, per_tap: self.eat("per_tap") })
        } else {
            None
        };
        let fetch = if !self.eat("fetch") {
            Fetch::Nothing
        } else if self.eat("ahead") {
            Fetch::Ahead
        } else {
            let offset = self.bracketed()?;
            self.expect("by")?;
            Fetch::Next { offset, per_row: self.bracketed()? }
        };
        self.expect("->")?;
        self.expect("(")?;
        let row = self.bound(DType::I64, loop_range(&m))?;
        self.expect(",")?;
        let column = self.bound(DType::I64, loop_range(&n))?;
        self.expect(",")?;
        let sum = self.bound(accumulator, FULL_RANGE)?;
        self.expect(")")?;
        let body = self.braces()?;
        Ok(Stmt::Contract(Box::new(Contraction {
            extents: Extents { m, n, k },
            left,
            right: RightOperand { buffer: right, offset, layout, less, grid, fetch },
            taps,
            tile: Tile { rows, width },
            accumulator,
            epilogue: Epilogue { row, column, sum, body },
        })))
    }
}

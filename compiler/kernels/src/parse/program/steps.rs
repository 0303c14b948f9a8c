//! The steps of a program.
//!
//! Invariant: steps nest no deeper than the verifier accepts.

use super::{Parsed, ProgramParser};
use crate::plan::Step;
use crate::verify::MAX_NESTING;

impl ProgramParser<'_> {
    /// `{`, steps within this many others, and `}`.
    pub(super) fn braces(&mut self, nesting: u32) -> Parsed<Vec<Step>> {
        self.text.expect("{")?;
        let mut steps = vec![];
        while !self.text.eat("}") {
            steps.push(self.step(nesting)?);
        }
        Ok(steps)
    }

    fn step(&mut self, nesting: u32) -> Parsed<Step> {
        if nesting == MAX_NESTING {
            return Err(self.text.error("steps are nested too deeply"));
        }
        if self.text.eat("run") {
            self.run()
        } else if self.text.eat("bind") {
            self.bind()
        } else if self.text.eat("check") {
            self.check().map(Step::Check)
        } else if self.text.eat("allocate") {
            let buffer = self.buffer_id()?;
            self.text.expect("bytes")?;
            Ok(Step::Allocate { buffer, bytes: self.dim()?, origin: self.origin()? })
        } else if self.text.eat("release") {
            Ok(Step::Release { buffer: self.buffer_id()? })
        } else if self.text.eat("if") {
            let condition = self.argument()?;
            let then = self.braces(nesting + 1)?;
            let otherwise = if self.text.eat("else") { self.braces(nesting + 1)? } else { vec![] };
            Ok(Step::If { condition, then, otherwise })
        } else if self.text.eat("while") {
            Ok(Step::While { condition: self.argument()?, body: self.braces(nesting + 1)? })
        } else {
            Err(self.text.error("expected `run`, `bind`, `check`, `allocate`, `release`, `if`, `while` or `}`"))
        }
    }

    fn run(&mut self) -> Parsed<Step> {
        self.text.expect("@")?;
        let name = self.text.name()?;
        let kernel = self.kernels.get(&name).copied();
        let kernel = kernel.ok_or_else(|| self.text.error(format!("unknown kernel `{name}` before")))?;
        self.text.expect("(")?;
        let (mut arguments, mut params) = (vec![], vec![]);
        while !self.text.eat(")") {
            if self.text.eat(";") {
                params = self.list(")", Self::dim)?;
                break;
            }
            if !arguments.is_empty() {
                self.text.expect(",")?;
            }
            arguments.push(self.argument()?);
        }
        self.text.expect("over")?;
        self.text.expect("0..")?;
        let extent = self.dim()?;
        self.text.expect("work")?;
        let work = self.dim()?;
        let apart = self.text.eat("apart");
        Ok(Step::Run { kernel, arguments, params, extent, work, apart, origin: self.origin()? })
    }

    /// What follows `bind`: `symbol = buffer in min ..= max from origin`.
    fn bind(&mut self) -> Parsed<Step> {
        let name = self.text.name()?;
        let symbol = self.program.dims.find(&name);
        let symbol = symbol.ok_or_else(|| self.text.error(format!("unknown dimension `{name}` before")))?;
        self.text.expect("=")?;
        let source = self.argument()?;
        self.text.expect("in")?;
        let min = self.dim()?;
        self.text.expect("..=")?;
        let max = self.dim()?;
        Ok(Step::Bind { symbol, source, min, max, origin: self.origin()? })
    }
}

//! The text form of kernels and programs, for dumps, golden files and tests.
//!
//! ```text
//! kernel @map_0(x0: read f32 align 4, y1: write f32 align 64; n: i64 [0..=128]) parallel p in 0..n {
//!   for vector j in 0..768 {
//!     let t: f32 = mul(load x0[768*p + j], 0.5f32)
//!     store y1[768*p + j] = max(t, 0.0f32)
//!   }
//! }
//! ```
//!
//! Invariants:
//! - [`crate::parse::kernel`] reads a valid kernel back, and printing that gives the same text. Variables are numbered
//!   in the order of their definitions there, so a kernel whose variables are in that order comes back equal (but for
//!   the range of variables that are not `i64`, which means nothing);
//! - [`crate::parse::program`] reads a valid program back, with kernels as above;
//! - a range `[min..=max]` is printed where it is not the one that follows from the definition;
//! - printing an invalid kernel does not panic.

pub(crate) mod expr;
mod program;

pub use program::program;

use crate::contraction::{Contraction, Fetch, RightLayout, Tap};
use crate::index::Names;
use crate::kernel::{Access, AxisKind, BufferRef, Index, Kernel, Loop, Stmt, Var};
use nnc_ir::DType;
use std::fmt::{self, Write};

/// The text of a kernel.
pub fn kernel(kernel: &Kernel) -> String {
    let mut printer = Printer::new(kernel);
    printer.kernel();
    printer.out
}

/// The first line of a statement, for messages.
pub fn statement_head(kernel: &Kernel, stmt: &Stmt) -> String {
    let mut printer = Printer::new(kernel);
    printer.statement(stmt, 0);
    let line = printer.out.lines().next().unwrap_or_default();
    line.trim_end_matches('{').trim_end().to_owned()
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&kernel(self))
    }
}

/// Names that mean something else where a variable or buffer may stand.
pub(crate) const RESERVED: &[&str] = &[
    "let", "mut", "store", "for", "reduce", "yield", "if", "else", "while", "fail", "contract", "scratch", "load",
    "true", "false", "inf", "nan", "bits", "in",
];

/// A name, in quotes when it could be mistaken.
pub(crate) fn name(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
    let first = text.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    let stem = text.split('.').next().unwrap_or_default();
    if first && text.chars().all(plain) && !RESERVED.contains(&stem) { text.to_owned() } else { format!("{text:?}") }
}

/// The range that a variable counting to `extent` has when nothing else is said.
pub(crate) fn loop_range(extent: &Index) -> (i64, i64) {
    (0, extent.as_const().map_or(i64::MAX - 1, |n| n.saturating_sub(1).max(0)))
}

/// The range of every other variable when nothing else is said.
pub(crate) const FULL_RANGE: (i64, i64) = (i64::MIN, i64::MAX);

struct Printer<'a> {
    kernel: &'a Kernel,
    /// Variables in the order of their definitions.
    names: Names,
    /// Position of each variable there.
    position: Vec<u32>,
    out: String,
}

impl<'a> Printer<'a> {
    fn new(kernel: &'a Kernel) -> Printer<'a> {
        let mut order = kernel.params.clone();
        order.push(kernel.parallel.0);
        definitions(&kernel.body, &mut order);
        // Variables without a definition come last.
        order.extend((0..kernel.vars.len() as u32).map(Var));
        let mut names = Names::default();
        let mut position = vec![u32::MAX; kernel.vars.len()];
        for var in order {
            let Some(slot) = position.get_mut(var.0 as usize) else { continue };
            if *slot == u32::MAX {
                *slot = names.add(&kernel.vars[var.0 as usize].name).0;
            }
        }
        Printer { kernel, names, position, out: String::new() }
    }

    fn push(&mut self, text: &str) {
        self.out.push_str(text);
    }

    fn var(&mut self, var: Var) {
        match self.kernel.vars.get(var.0 as usize) {
            Some(info) => self.out.push_str(&name(&info.name)),
            None => {
                let _ = write!(self.out, "?v{}", var.0);
            }
        }
    }

    fn buffer(&mut self, buffer: BufferRef) {
        match self.kernel.buffers.get(buffer.0 as usize) {
            Some(decl) => self.out.push_str(&name(&decl.name)),
            None => {
                let _ = write!(self.out, "?b{}", buffer.0);
            }
        }
    }

    fn index(&mut self, index: &Index) {
        let renumbered = index.substitute(&|v| Some(Var(*self.position.get(v.0 as usize)?).index()));
        let _ = write!(self.out, "{}", self.names.display(&renumbered));
    }

    fn element(&mut self, buffer: BufferRef, index: &Index) {
        self.buffer(buffer);
        self.push("[");
        self.index(index);
        self.push("]");
    }

    fn bracketed(&mut self, keyword: &str, index: &Index) {
        self.push(keyword);
        self.push(" [");
        self.index(index);
        self.push("]");
    }

    /// ` [min..=max]` unless it is the expected range.
    fn range(&mut self, var: Var, expected: (i64, i64)) {
        let Some(info) = self.kernel.vars.get(var.0 as usize) else { return };
        if info.dtype == DType::I64 && (info.min, info.max) != expected {
            let _ = write!(self.out, " [{}..={}]", info.min, info.max);
        }
    }

    /// `name: type [range]`.
    fn definition(&mut self, var: Var) {
        self.var(var);
        if let Some(info) = self.kernel.vars.get(var.0 as usize) {
            let _ = write!(self.out, ": {}", info.dtype);
        }
        self.range(var, FULL_RANGE);
    }

    fn kernel(&mut self) {
        let kernel = self.kernel;
        let _ = write!(self.out, "kernel @{}(", name(&kernel.name));
        let mut separator = "";
        for decl in &kernel.buffers {
            let access = match decl.access {
                Access::Read => "read",
                Access::Write => "write",
                Access::Scratch { .. } => continue,
            };
            let _ = write!(self.out, "{separator}{}: {access} {} align {}", name(&decl.name), decl.dtype, decl.align);
            separator = ", ";
        }
        for (i, &param) in kernel.params.iter().enumerate() {
            self.push(if i == 0 { "; " } else { ", " });
            self.definition(param);
        }
        self.push(") parallel ");
        self.var(kernel.parallel.0);
        // A parallel loop's variable may cover less than its extent only when the extent is constant.
        self.range(kernel.parallel.0, loop_range(&kernel.parallel.1));
        self.push(" in 0..");
        self.index(&kernel.parallel.1);
        self.push(" {\n");
        for decl in &kernel.buffers {
            if let Access::Scratch { elements } = decl.access {
                let (name, dtype, align) = (name(&decl.name), decl.dtype, decl.align);
                let _ = writeln!(self.out, "  scratch {name}: {dtype}[{elements}] align {align}");
            }
        }
        self.block(&kernel.body, 1);
        self.push("}\n");
    }

    fn block(&mut self, body: &[Stmt], level: usize) {
        for stmt in body {
            self.statement(stmt, level);
        }
    }

    fn indent(&mut self, level: usize) {
        for _ in 0..level {
            self.push("  ");
        }
    }

    /// `{`, the body and the closing brace, without a line end.
    fn braces(&mut self, body: &[Stmt], level: usize) {
        self.push(" {\n");
        self.block(body, level + 1);
        self.indent(level);
        self.push("}");
    }

    fn loop_head(&mut self, keyword: &str, l: &Loop) {
        self.push(keyword);
        self.push(match l.axis {
            AxisKind::Serial => " ",
            AxisKind::Free => " free ",
            AxisKind::Vector => " vector ",
            AxisKind::Unrolled => " unrolled ",
        });
        self.var(l.var);
        self.range(l.var, loop_range(&l.extent));
        self.push(" in 0..");
        self.index(&l.extent);
    }

    fn statement(&mut self, stmt: &Stmt, level: usize) {
        self.indent(level);
        match stmt {
            Stmt::Let(var, value) | Stmt::Mutable(var, value) => {
                self.push(if matches!(stmt, Stmt::Let(..)) { "let " } else { "mut " });
                self.definition(*var);
                self.push(" = ");
                self.expr(value);
            }
            Stmt::Assign(var, value) => {
                self.var(*var);
                self.push(" = ");
                self.expr(value);
            }
            Stmt::Store(buffer, index, value) => {
                self.push("store ");
                self.element(*buffer, index);
                self.push(" = ");
                self.expr(value);
            }
            Stmt::For(l, body) => {
                self.loop_head("for", l);
                self.braces(body, level);
            }
            Stmt::Reduce(l, body, accumulators) => {
                self.loop_head("reduce", l);
                self.push(" -> (");
                for (i, a) in accumulators.iter().enumerate() {
                    self.push(if i == 0 { "" } else { ", " });
                    self.definition(a.var);
                    let _ = write!(self.out, " = {} from ", a.op.name());
                    self.expr(&a.init);
                }
                self.push(") {\n");
                self.block(body, level + 1);
                self.indent(level + 1);
                self.push("yield");
                for (i, a) in accumulators.iter().enumerate() {
                    self.push(if i == 0 { " " } else { ", " });
                    self.expr(&a.value);
                }
                self.push("\n");
                self.indent(level);
                self.push("}");
            }
            Stmt::If(condition, then, otherwise) => {
                self.push("if ");
                self.expr(condition);
                self.braces(then, level);
                if !otherwise.is_empty() {
                    self.push(" else");
                    self.braces(otherwise, level);
                }
            }
            Stmt::While(condition, body) => {
                self.push("while ");
                self.expr(condition);
                self.braces(body, level);
            }
            Stmt::Fail(status) => {
                let _ = write!(self.out, "fail {status}");
            }
            Stmt::Contract(c) => self.contraction(c, level),
        }
        self.push("\n");
    }

    fn contraction(&mut self, c: &Contraction, level: usize) {
        let _ = write!(self.out, "contract {} tile {} x {} ", c.accumulator, c.tile.rows, c.tile.width);
        self.bracketed("m", &c.extents.m);
        self.bracketed(" n", &c.extents.n);
        self.bracketed(" k", &c.extents.k);
        self.push(" a ");
        self.element(c.left.buffer, &c.left.offset);
        self.bracketed(" stride", &c.left.row_stride);
        for Tap { count, stride } in &c.taps {
            let _ = write!(self.out, " tap {count}");
            self.bracketed(" by", stride);
        }
        self.push(" b ");
        self.element(c.right.buffer, &c.right.offset);
        match &c.right.layout {
            RightLayout::Panel => self.push(" panel"),
            RightLayout::Nibbles => self.push(" nibbles"),
            RightLayout::Rows { row_stride } => self.bracketed(" rows", row_stride),
        }
        if c.right.less > 0 {
            let _ = write!(self.out, " less {}", c.right.less);
        }
        if let Some(grid) = &c.right.grid {
            self.push(" grid ");
            self.element(grid.buffer, &grid.offset);
            self.push(if grid.zeros { " zeros" } else { "" });
            self.push(if grid.scales { " scales" } else { "" });
            self.push(if grid.per_tap { " per_tap" } else { "" });
        }
        match &c.right.fetch {
            Fetch::Nothing => {}
            Fetch::Ahead => self.push(" fetch ahead"),
            Fetch::Next { offset, per_row } => {
                self.bracketed(" fetch", offset);
                self.bracketed(" by", per_row);
            }
        }
        self.push(" -> (");
        self.var(c.epilogue.row);
        self.range(c.epilogue.row, loop_range(&c.extents.m));
        self.push(", ");
        self.var(c.epilogue.column);
        self.range(c.epilogue.column, loop_range(&c.extents.n));
        self.push(", ");
        self.var(c.epilogue.sum);
        self.range(c.epilogue.sum, FULL_RANGE);
        self.push(")");
        self.braces(&c.epilogue.body, level);
    }
}

/// Appends the variables that a block defines, in the order the text names them.
fn definitions(body: &[Stmt], order: &mut Vec<Var>) {
    for stmt in body {
        order.extend(stmt.definitions());
        stmt.blocks().for_each(|inner| definitions(inner, order));
    }
}

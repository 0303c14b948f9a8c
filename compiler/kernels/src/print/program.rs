//! The text form of programs, which [`crate::parse::program`] reads back.
//!
//! ```text
//! program dense {
//!   dim n: input 0..=64
//!   dim count: node 0.. below 4*n
//!   input x: f32[n, 4]
//!   output y: f32[count]
//!   state 0 input 1 output 1 axis 2 up to 1024
//!   weight 0: f32[4, 4] ab12cd34ab12cd34 plain
//!   buffer x: f32 bytes 16*n at input 0
//!   buffer y: f32 bytes 16*n at output 0
//!   buffer y#2: i64 bytes 8 at workspace 64
//!   check "the rows": n at_most 64 from "Gemm"
//!   workspace 128
//!   kernel @gemm(...) ...
//!   steps {
//!     run @gemm(x, y, y#2; n) over 0..n work 40*n apart from "Gemm"
//!     bind count = y#2 in 0 ..= 4*n from "NonZero"
//!   }
//! }
//! ```
//!
//! Weights appear as type, shape, content hash and layout. Names of buffers need not differ: behind one that an earlier
//! buffer has stands the number of the buffer. Invariant: nothing of a valid program but the elements of weights is left
//! out.

use super::name;
use crate::plan::{Argument, Buffer, BufferId, Parameter, Place, Program, SizeCheck, Step};
use crate::weights::{Pack, Weight};
use nnc_ir::print::short_hash;
use nnc_ir::{Encoding, SymbolOrigin};
use rustc_hash::FxHashMap;
use std::fmt::{self, Write};

/// The text of a program.
pub fn program(program: &Program) -> String {
    let mut first = FxHashMap::default();
    for (id, buffer) in (0..).map(BufferId).zip(&program.buffers) {
        first.entry(buffer.name.as_str()).or_insert(id);
    }
    let mut printer = Printer { program, first, out: String::new() };
    printer.program();
    printer.out
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&program(self))
    }
}

/// Joins what is written of each element.
fn list<T>(items: impl IntoIterator<Item = T>, text: impl Fn(T) -> String) -> String {
    items.into_iter().map(text).collect::<Vec<_>>().join(", ")
}

struct Printer<'a> {
    program: &'a Program,
    /// The first buffer of each name.
    first: FxHashMap<&'a str, BufferId>,
    out: String,
}

macro_rules! line {
    ($self:ident, $level:expr, $($arg:tt)*) => {{
        $self.out.extend(std::iter::repeat_n("  ", $level));
        let _ = writeln!($self.out, $($arg)*);
    }};
}

impl<'a> Printer<'a> {
    fn program(&mut self) {
        let program = self.program;
        line!(self, 0, "program {} {{", name(&program.name));
        for (symbol, info) in program.dims.iter() {
            let origin = match info.origin {
                SymbolOrigin::Input => "input",
                SymbolOrigin::Node => "node",
                SymbolOrigin::Run => "run",
            };
            let max = if info.max == i64::MAX { String::new() } else { format!("={}", info.max) };
            let upper = info.upper.as_ref().map(|d| format!(" below {}", program.dims.display(d)));
            let symbol = program.dims.display(&nnc_ir::Dim::sym(symbol)).to_string();
            line!(self, 1, "dim {symbol}: {origin} {}..{max}{}", info.min, upper.unwrap_or_default());
        }
        for parameter in &program.inputs {
            let text = self.parameter(parameter);
            line!(self, 1, "input {text}");
        }
        for parameter in &program.outputs {
            let text = self.parameter(parameter);
            line!(self, 1, "output {text}");
        }
        for (i, state) in program.states.iter().enumerate() {
            line!(self, 1, "state {i} {state}");
        }
        for (i, weight) in program.weights.iter().enumerate() {
            line!(self, 1, "weight {i}: {}", weight_text(weight));
        }
        for (id, buffer) in (0..).map(BufferId).zip(&program.buffers) {
            let place = match &buffer.place {
                Place::Input(i) => format!("input {i}"),
                Place::Output(i) => format!("output {i}"),
                Place::State(i) => format!("state {i}"),
                Place::Weight(id) => format!("weight {}", id.0),
                Place::Allocated(number) => format!("allocated {number}"),
                Place::Workspace { offset } => format!("workspace {}", program.dims.display(offset)),
            };
            let bytes = program.dims.display(&buffer.bytes);
            let text = self.buffer(id, buffer);
            line!(self, 1, "buffer {text}: {} bytes {bytes} at {place}", buffer.dtype);
        }
        program.checks.iter().for_each(|check| self.check(check, 1));
        line!(self, 1, "workspace {}", program.dims.display(&program.workspace_bytes));
        for kernel in &program.kernels {
            for text in super::kernel(kernel).lines() {
                line!(self, 1, "{text}");
            }
        }
        line!(self, 1, "steps {{");
        self.steps(&program.steps, 2);
        line!(self, 1, "}}");
        line!(self, 0, "}}");
    }

    fn dim(&self, dim: &nnc_ir::Dim) -> String {
        self.program.dims.display(dim).to_string()
    }

    fn parameter(&self, parameter: &Parameter) -> String {
        let shape = list(&parameter.shape, |d| self.dim(d));
        let ty = parameter.encoding.map_or(parameter.dtype.name(), Encoding::name);
        format!("{}: {ty}[{shape}]", name(&parameter.name))
    }

    /// A buffer's name, with its number behind it where an earlier one has the same.
    fn buffer(&self, id: BufferId, buffer: &Buffer) -> String {
        let own = self.first.get(buffer.name.as_str()) == Some(&id);
        if own { name(&buffer.name) } else { format!("{}#{}", name(&buffer.name), id.0) }
    }

    fn buffer_name(&self, id: BufferId) -> String {
        let buffer = self.program.buffers.get(id.0 as usize);
        buffer.map_or_else(|| format!("?b{}", id.0), |buffer| self.buffer(id, buffer))
    }

    fn argument(&self, argument: &Argument) -> String {
        let text = self.buffer_name(argument.buffer);
        if argument.offset.is_const(0) { text } else { format!("{text}[{}]", self.dim(&argument.offset)) }
    }

    fn check(&mut self, check: &SizeCheck, level: usize) {
        let SizeCheck { left, relation, right, what, origin } = check;
        let (left, right) = (self.dim(left), self.dim(right));
        line!(self, level, "check {what:?}: {left} {} {right} from {origin:?}", relation.name());
    }

    fn steps(&mut self, steps: &[Step], level: usize) {
        for step in steps {
            self.step(step, level);
        }
    }

    fn step(&mut self, step: &Step, level: usize) {
        match step {
            Step::Run { kernel, arguments, params, extent, work, apart, origin } => {
                let kernel = self.program.kernels.get(kernel.0 as usize);
                let kernel = kernel.map_or_else(|| "?".to_owned(), |k| name(&k.name));
                let mut all = list(arguments, |a| self.argument(a));
                if !params.is_empty() {
                    let _ = write!(all, "; {}", list(params, |d| self.dim(d)));
                }
                let (extent, work) = (self.dim(extent), self.dim(work));
                let apart = if *apart { " apart" } else { "" };
                line!(self, level, "run @{kernel}({all}) over 0..{extent} work {work}{apart} from {origin:?}");
            }
            Step::Bind { symbol, source, min, max, origin } => {
                let symbol = self.dim(&nnc_ir::Dim::sym(*symbol));
                let (source, min, max) = (self.argument(source), self.dim(min), self.dim(max));
                // The spaces keep the dots out of a symbol's name.
                line!(self, level, "bind {symbol} = {source} in {min} ..= {max} from {origin:?}");
            }
            Step::Check(check) => self.check(check, level),
            Step::Allocate { buffer, bytes, origin } => {
                let (buffer, bytes) = (self.buffer_name(*buffer), self.dim(bytes));
                line!(self, level, "allocate {buffer} bytes {bytes} from {origin:?}");
            }
            Step::Release { buffer } => line!(self, level, "release {}", self.buffer_name(*buffer)),
            Step::If { condition, then, otherwise } => {
                line!(self, level, "if {} {{", self.argument(condition));
                self.steps(then, level + 1);
                if !otherwise.is_empty() {
                    line!(self, level, "}} else {{");
                    self.steps(otherwise, level + 1);
                }
                line!(self, level, "}}");
            }
            Step::While { condition, body } => {
                line!(self, level, "while {} {{", self.argument(condition));
                self.steps(body, level + 1);
                line!(self, level, "}}");
            }
        }
    }
}

fn weight_text(weight: &Weight) -> String {
    let source = &weight.source;
    let hash = short_hash(source);
    let shape = list(&source.shape, |d| d.to_string());
    let mut text = format!("{}[{shape}] {hash}", source.dtype);
    match &weight.pack {
        Pack::Plain => text.push_str(" plain"),
        Pack::Panels { batch, sum, columns, column_stride, width, halves } => {
            let loops = |all: &[(usize, usize)]| list(all, |(count, step)| format!("{count} by {step}"));
            let (batch, sum) = (loops(batch), loops(sum));
            let _ = write!(text, " panels batch ({batch}) sum ({sum}) columns {columns} by {column_stride}");
            let _ = write!(text, " width {width}{}", if *halves { " halves" } else { "" });
        }
    }
    text
}

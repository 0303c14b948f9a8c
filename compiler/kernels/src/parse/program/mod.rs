//! Programs: what is declared before the steps, in the order in which it is printed.
//!
//! Invariant: numbers of weights and buffers are their positions, and kernels, symbols and buffers without a number have
//! names of their own; so each name means one thing.

mod steps;
#[cfg(test)]
mod tests;

use super::{ParseError, Parsed, Parser};
use crate::plan::{Argument, Buffer, BufferId, KernelId, Parameter, Place, Program, SizeCheck};
use crate::weights::{Pack, Weight, WeightId};
use nnc_ir::op::Relation;
use nnc_ir::parse::Constants;
use nnc_ir::{Dim, DimTable, Encoding, SymbolInfo, SymbolOrigin};
use rustc_hash::FxHashMap;

/// Reads a program. The text names weights by type, shape and hash alone; their elements are taken from `constants`, see
/// [`Program::constants`].
///
/// # Errors
/// The first place where the text is not that of a program, or names a weight that is not among the constants.
pub fn program(text: &str, constants: &Constants) -> Result<Program, ParseError> {
    let program = Program::new("", DimTable::default());
    let (kernels, buffers) = (FxHashMap::default(), FxHashMap::default());
    let mut parser = ProgramParser { text: Parser::new(text), constants, program, kernels, buffers };
    parser.program()?;
    if parser.text.at_end() { Ok(parser.program) } else { Err(parser.text.error("expected the end of the text")) }
}

struct ProgramParser<'a> {
    text: Parser<'a>,
    constants: &'a Constants,
    /// What has been read so far.
    program: Program,
    /// Kernels by name.
    kernels: FxHashMap<String, KernelId>,
    /// The first buffer of each name.
    buffers: FxHashMap<String, BufferId>,
}

impl ProgramParser<'_> {
    fn program(&mut self) -> Parsed<()> {
        self.text.expect("program")?;
        self.program.name = self.text.name()?;
        self.text.expect("{")?;
        while self.text.eat("dim") {
            self.symbol()?;
        }
        while self.text.eat("input") {
            let input = self.parameter()?;
            self.program.inputs.push(input);
        }
        while self.text.eat("output") {
            let output = self.parameter()?;
            self.program.outputs.push(output);
        }
        while self.text.eat("state") {
            self.state()?;
        }
        while self.text.eat("weight") {
            self.weight()?;
        }
        while self.text.eat("buffer") {
            self.buffer()?;
        }
        while self.text.eat("check") {
            let check = self.check()?;
            self.program.checks.push(check);
        }
        self.text.expect("workspace")?;
        self.program.workspace_bytes = self.dim()?;
        while self.text.peek() == "kernel" {
            self.kernel()?;
        }
        self.text.expect("steps")?;
        self.program.steps = self.braces(0)?;
        self.text.expect("}")
    }

    fn dim(&mut self) -> Parsed<Dim> {
        self.text.skip_space();
        let parsed = self.program.dims.parse_prefix(self.text.rest);
        let (dim, rest) = parsed.map_err(|error| self.text.error(error.to_string()))?;
        self.text.rest = rest;
        Ok(dim)
    }

    /// Items between commas, up to `close`.
    fn list<T>(&mut self, close: &str, mut item: impl FnMut(&mut Self) -> Parsed<T>) -> Parsed<Vec<T>> {
        let mut items = vec![];
        while !self.text.eat(close) {
            if !items.is_empty() {
                self.text.expect(",")?;
            }
            items.push(item(self)?);
        }
        Ok(items)
    }

    fn symbol(&mut self) -> Parsed<()> {
        let name = self.text.name()?;
        if name.is_empty() || self.program.dims.find(&name).is_some() {
            return Err(self.text.error(format!("dimension `{name}` is declared twice or has no name")));
        }
        self.text.expect(":")?;
        let origin = if self.text.eat("input") {
            SymbolOrigin::Input
        } else if self.text.eat("node") {
            SymbolOrigin::Node
        } else if self.text.eat("run") {
            SymbolOrigin::Run
        } else {
            return Err(self.text.error("expected `input`, `node` or `run`"));
        };
        let min = self.text.integer()?;
        self.text.expect("..")?;
        let max = if self.text.eat("=") { self.text.integer()? } else { i64::MAX };
        let upper = if self.text.eat("below") { Some(self.dim()?) } else { None };
        self.program.dims.new_symbol(SymbolInfo { name, min, max, upper, origin });
        Ok(())
    }

    fn parameter(&mut self) -> Parsed<Parameter> {
        let name = self.text.name()?;
        self.text.expect(":")?;
        let encoding = Encoding::ALL.iter().copied().find(|encoding| self.text.eat(encoding.name()));
        let dtype = match encoding {
            Some(encoding) => encoding.stored(&[]).dtype,
            None => self.text.dtype()?,
        };
        self.text.expect("[")?;
        Ok(Parameter { name, dtype, encoding, shape: self.list("]", Self::dim)? })
    }

    fn state(&mut self) -> Parsed<()> {
        self.text.expect(&self.program.states.len().to_string())?;
        self.text.skip_space();
        let (line, rest) = self.text.rest.split_at(self.text.rest.find('\n').unwrap_or(self.text.rest.len()));
        let state = line.parse().map_err(|problem: String| self.text.error(problem))?;
        self.text.rest = rest;
        self.program.states.push(state);
        Ok(())
    }

    fn weight(&mut self) -> Parsed<()> {
        let next = self.program.weights.len();
        self.text.expect(&next.to_string())?;
        self.text.expect(":")?;
        let dtype = self.text.dtype()?;
        self.text.expect("[")?;
        let shape = self.list("]", |p| p.text.size())?;
        let hash = self.text.peek();
        let Some(source) = self.constants.find(hash, dtype, &shape).cloned() else {
            let what = format!("weight {next}, {dtype}{shape:?} with hash `{hash}`");
            return Err(self.text.error(format!("no constant is given for {what}")));
        };
        self.text.expect(hash)?;
        let pack = self.pack()?;
        self.program.weights.push(Weight { source, pack });
        Ok(())
    }

    fn pack(&mut self) -> Parsed<Pack> {
        if self.text.eat("plain") {
            return Ok(Pack::Plain);
        }
        if !self.text.eat("panels") {
            return Err(self.text.error("expected `plain` or `panels`"));
        }
        self.text.expect("batch")?;
        let batch = self.loops()?;
        self.text.expect("sum")?;
        let sum = self.loops()?;
        self.text.expect("columns")?;
        let (columns, column_stride) = self.strided()?;
        self.text.expect("width")?;
        let width = self.text.size()?;
        Ok(Pack::Panels { batch, sum, columns, column_stride, width, halves: self.text.eat("halves") })
    }

    fn loops(&mut self) -> Parsed<Vec<(usize, usize)>> {
        self.text.expect("(")?;
        self.list(")", Self::strided)
    }

    /// `count by stride`.
    fn strided(&mut self) -> Parsed<(usize, usize)> {
        let count = self.text.size()?;
        self.text.expect("by")?;
        Ok((count, self.text.size()?))
    }

    /// A buffer's name and the number behind it, if there is one.
    fn buffer_name(&mut self) -> Parsed<(String, Option<usize>)> {
        let name = self.text.name()?;
        let number = if self.text.eat("#") { Some(self.text.size()?) } else { None };
        Ok((name, number))
    }

    fn buffer(&mut self) -> Parsed<()> {
        let (name, number) = self.buffer_name()?;
        let next = self.program.buffers.len();
        match number {
            Some(number) if number != next => return Err(self.text.error(format!("expected number {next} before"))),
            None if self.buffers.contains_key(&name) => {
                return Err(self.text.error(format!("expected `#{next}` behind the name of another buffer")));
            }
            _ => {}
        }
        self.buffers.entry(name.clone()).or_insert(BufferId(next as u32));
        self.text.expect(":")?;
        let dtype = self.text.dtype()?;
        self.text.expect("bytes")?;
        let bytes = self.dim()?;
        self.text.expect("at")?;
        let place = self.place()?;
        self.program.buffers.push(Buffer { name, dtype, bytes, place });
        Ok(())
    }

    fn place(&mut self) -> Parsed<Place> {
        let word = self.text.peek();
        if !["input", "output", "state", "weight", "workspace", "allocated"].contains(&word) {
            return Err(self.text.error("expected `input`, `output`, `state`, `weight`, `workspace` or `allocated`"));
        }
        self.text.expect(word)?;
        if word == "workspace" {
            return Ok(Place::Workspace { offset: self.dim()? });
        }
        let number = self.text.size()?;
        Ok(match word {
            "input" => Place::Input(number),
            "output" => Place::Output(number),
            "state" => Place::State(number),
            // Each has room of its own in a run.
            "allocated" if number <= self.program.buffers.len() => Place::Allocated(number),
            "allocated" => return Err(self.text.error(format!("allocation {number} is beyond the buffers before"))),
            _ if number < self.program.weights.len() => Place::Weight(WeightId(number as u32)),
            _ => return Err(self.text.error(format!("unknown weight {number} before"))),
        })
    }

    /// A buffer by its name.
    fn buffer_id(&mut self) -> Parsed<BufferId> {
        let (name, number) = self.buffer_name()?;
        let buffer = match number {
            None => self.buffers.get(&name).copied(),
            Some(number) => {
                let known = self.program.buffers.get(number).is_some_and(|b| b.name == name);
                known.then_some(BufferId(number as u32))
            }
        };
        buffer.ok_or_else(|| self.text.error(format!("unknown buffer `{name}` before")))
    }

    /// `buffer[offset]`; the offset is left out where it is 0.
    fn argument(&mut self) -> Parsed<Argument> {
        let buffer = self.buffer_id()?;
        let mut offset = Dim::ZERO;
        if self.text.eat("[") {
            offset = self.dim()?;
            self.text.expect("]")?;
        }
        Ok(Argument { buffer, offset })
    }

    fn check(&mut self) -> Parsed<SizeCheck> {
        let what = self.text.name()?;
        self.text.expect(":")?;
        let left = self.dim()?;
        let word = self.text.peek();
        let relation = Relation::from_name(word);
        let relation = relation.ok_or_else(|| self.text.error("expected `equal` or `at_most`"))?;
        self.text.expect(word)?;
        let right = self.dim()?;
        Ok(SizeCheck { left, relation, right, what, origin: self.origin()? })
    }

    /// The node that something came from.
    fn origin(&mut self) -> Parsed<String> {
        self.text.expect("from")?;
        self.text.name()
    }

    fn kernel(&mut self) -> Parsed<()> {
        let before = self.text.rest;
        let kernel = self.text.next_kernel()?;
        let id = KernelId(self.program.kernels.len() as u32);
        if self.kernels.insert(kernel.name.clone(), id).is_some() {
            self.text.rest = before;
            return Err(self.text.error(format!("kernel `{}` is declared twice", kernel.name)));
        }
        self.program.kernels.push(kernel);
        Ok(())
    }
}

//! Runs whole programs: binds symbols, lays out memory as planned, and walks the steps.

use super::code::Code;
use super::machine::{POISON, View, read};
use super::{MAX_BYTES, RunError, execute, prepare};
use crate::plan::{Argument, BufferId, Parameter, Place, Program, SizeCheck, State, Step};
use crate::verify;
use nnc_ir::{DType, Dim, Symbol, SymbolOrigin};
use std::ops::Range;

/// A tensor of the caller: its dimensions and its elements' bytes.
pub type Value = (Vec<i64>, Vec<u8>);

/// Runs a program on its inputs; returns its outputs at their actual dimensions.
///
/// # Errors
/// When the program breaks a rule, the inputs do not fit its signature, or the run fails.
pub fn run(program: &Program, inputs: &[Value]) -> Result<Vec<Value>, RunError> {
    run_with_seed(program, inputs, 0)
}

/// The same with a seed for random numbers, of which the lower 63 bits count.
///
/// # Errors
/// As [`run`].
pub fn run_with_seed(program: &Program, inputs: &[Value], seed: u64) -> Result<Vec<Value>, RunError> {
    verify::program(program)?;
    let codes = program.kernels.iter().map(prepare).collect::<Result<Vec<_>, _>>()?;
    let mut host = Host { program, codes, symbols: vec![None; program.dims.len()], regions: vec![], places: vec![] };
    host.bind_inputs(inputs)?;
    for (symbol, _) in program.dims.iter().filter(|(_, info)| info.origin == SymbolOrigin::Run) {
        host.symbols[symbol.0 as usize] = Some((seed & i64::MAX as u64) as i64);
    }
    host.allocate(inputs)?;
    host.steps(&program.steps)?;
    host.outputs()
}

/// Where a buffer lies: region, first byte, number of bytes it has there.
type Extent = (usize, usize, usize);

struct Host<'a> {
    program: &'a Program,
    codes: Vec<Code>,
    symbols: Vec<Option<i64>>,
    regions: Vec<Vec<u8>>,
    /// Region of each buffer.
    places: Vec<usize>,
}

impl Host<'_> {
    fn bind_inputs(&mut self, inputs: &[Value]) -> Result<(), RunError> {
        let program = self.program;
        if inputs.len() != program.inputs.len() {
            return Err(RunError::Plan(format!("{} inputs given, {} taken", inputs.len(), program.inputs.len())));
        }
        let error = |name: &str, problem: String| RunError::Input { name: name.to_owned(), problem };
        for (parameter, (dims, _)) in program.inputs.iter().zip(inputs) {
            if dims.len() != parameter.shape.len() {
                let problem = format!("has {} dimensions instead of {}", dims.len(), parameter.shape.len());
                return Err(error(&parameter.name, problem));
            }
            for (expected, &actual) in parameter.shape.iter().zip(dims) {
                let Some(symbol) = expected.as_symbol() else { continue };
                let Some(cell) = self.symbols.get_mut(symbol.0 as usize) else { continue };
                cell.get_or_insert(actual);
                if let Some(info) = program.dims.lookup(symbol)
                    && !(info.min..=info.max).contains(&actual)
                {
                    let problem = format!("`{}` is {actual}, outside {}..={}", info.name, info.min, info.max);
                    return Err(error(&parameter.name, problem));
                }
            }
        }
        for (parameter, (dims, bytes)) in program.inputs.iter().zip(inputs) {
            for (expected, &actual) in parameter.shape.iter().zip(dims) {
                let value = self.value(expected)?;
                if value != actual {
                    let text = program.dims.display(expected);
                    return Err(error(&parameter.name, format!("dimension {actual} should be {text} = {value}")));
                }
            }
            if byte_count(parameter, dims) != Some(bytes.len()) {
                return Err(error(&parameter.name, format!("{} bytes do not fit {dims:?}", bytes.len())));
            }
        }
        program.checks.iter().try_for_each(|check| self.check(check))
    }

    fn value(&self, dim: &Dim) -> Result<i64, RunError> {
        self.lookup(dim).ok_or_else(|| {
            RunError::Plan(format!("`{}` has no value (unbound, or overflows)", self.program.dims.display(dim)))
        })
    }

    fn lookup(&self, dim: &Dim) -> Option<i64> {
        dim.eval(&|s: Symbol| self.symbols.get(s.0 as usize).copied().flatten())
    }

    fn size(&self, dim: &Dim, what: &str) -> Result<usize, RunError> {
        let value = self.value(dim)?;
        usize::try_from(value)
            .ok()
            .filter(|&n| n <= MAX_BYTES)
            .ok_or_else(|| RunError::Plan(format!("{what} is {value} bytes")))
    }

    /// Regions: inputs, outputs, weights, blocks of states, the workspace, then what steps allocate.
    fn allocate(&mut self, inputs: &[Value]) -> Result<(), RunError> {
        let program = self.program;
        let (outputs, weights) = (inputs.len(), inputs.len() + program.outputs.len());
        let states = weights + program.weights.len();
        let workspace = states + program.states.len();
        self.regions = inputs.iter().map(|(_, bytes)| bytes.clone()).collect();
        self.regions.resize(weights, vec![]);
        for weight in &program.weights {
            let mut bytes = vec![];
            weight.write_to(&mut bytes).map_err(|e| RunError::Plan(format!("packing a weight: {e}")))?;
            self.regions.push(bytes);
        }
        for state in &program.states {
            let block = self.block(state)?;
            let mut bytes = vec![POISON; block.bytes()];
            let (dims, given) = &inputs[state.input];
            for (row, place) in block.rows(dims).enumerate() {
                bytes[place.clone()].copy_from_slice(&given[row * place.len()..][..place.len()]);
            }
            self.regions.push(bytes);
        }
        self.regions.push(vec![POISON; self.size(&program.workspace_bytes, "the workspace")?]);
        self.regions.resize(workspace + 1 + program.allocations(), vec![]);
        for buffer in &program.buffers {
            let region = match buffer.place {
                Place::Input(i) => i,
                Place::Output(i) => outputs + i,
                Place::State(i) => states + i,
                Place::Weight(id) => weights + id.0 as usize,
                Place::Workspace { .. } => workspace,
                Place::Allocated(number) => workspace + 1 + number,
            };
            if let Place::Output(output) = buffer.place
                && !program.is_allocated_output(output)
            {
                let bytes = self.size(&buffer.bytes, &buffer.name)?.max(self.regions[region].len());
                self.regions[region] = vec![POISON; bytes];
            }
            self.places.push(region);
        }
        Ok(())
    }

    /// The block of a state.
    fn block(&self, state: &State) -> Result<Block, RunError> {
        let output = &self.program.outputs[state.output];
        let shape = self.program.block_shape(state);
        let shape = shape.iter().map(|d| self.size(d, &output.name)).collect::<Result<Vec<usize>, _>>()?;
        let bytes = shape.iter().try_fold(output.dtype.size(), |n, &d| n.checked_mul(d)).filter(|&n| n <= MAX_BYTES);
        bytes.ok_or_else(|| RunError::Plan(format!("the state of `{}` is too large", output.name)))?;
        Ok(Block { shape, axis: state.growth.map_or(0, |growth| growth.0), element: output.dtype.size() })
    }

    fn extent_of(&self, id: BufferId) -> Result<Extent, RunError> {
        let buffer = &self.program.buffers[id.0 as usize];
        let region = self.places[id.0 as usize];
        let available = self.regions[region].len();
        if self.program.is_allocated(id) {
            return Ok((region, 0, available));
        }
        let bytes = self.size(&buffer.bytes, &buffer.name)?;
        let start = match &buffer.place {
            Place::Workspace { offset } => self.size(offset, &buffer.name)?,
            _ => 0,
        };
        if start.checked_add(bytes).is_none_or(|end| end > available) {
            let problem = format!("buffer `{}` of {bytes} bytes at {start} exceeds {available}", buffer.name);
            return Err(RunError::Plan(problem));
        }
        Ok((region, start, bytes))
    }

    fn view(&self, argument: &Argument, dtype: DType, writable: bool) -> Result<View, RunError> {
        let (region, start, bytes) = self.extent_of(argument.buffer)?;
        let element = self.value(&argument.offset)?;
        let skipped = usize::try_from(element).ok().and_then(|n| n.checked_mul(dtype.size()));
        match skipped.filter(|&n| n <= bytes) {
            Some(skipped) => Ok(View { region, start: start + skipped, len: bytes - skipped, dtype, writable }),
            None => {
                let name = &self.program.buffers[argument.buffer.0 as usize].name;
                Err(RunError::Plan(format!("element {element} handed to a kernel is outside buffer `{name}`")))
            }
        }
    }

    /// The first element of an argument.
    fn element(&self, argument: &Argument, dtype: DType) -> Result<u64, RunError> {
        let view = self.view(argument, dtype, false)?;
        if view.len < dtype.size() {
            return Err(RunError::Plan("an element read by the plan is outside its buffer".to_owned()));
        }
        Ok(read(&self.regions[view.region][view.start..view.start + dtype.size()]))
    }

    fn steps(&mut self, steps: &[Step]) -> Result<(), RunError> {
        steps.iter().try_for_each(|step| self.step(step))
    }

    fn step(&mut self, step: &Step) -> Result<(), RunError> {
        match step {
            Step::Run { kernel, arguments, params, extent, work: _, apart: _, origin } => {
                let index = kernel.0 as usize;
                let kernel = &self.program.kernels[index];
                let views = arguments.iter().zip(&self.codes[index].buffers);
                let views = views.map(|(a, &(dtype, writable))| self.view(a, dtype, writable));
                let views = views.collect::<Result<Vec<_>, _>>()?;
                let params = params.iter().map(|d| self.value(d)).collect::<Result<Vec<_>, _>>()?;
                let extent = self.value(extent)?;
                let code = &self.codes[index];
                let mut locals = vec![0; code.locals];
                for (local, &value) in code.params.iter().zip(&params) {
                    locals[local.slot as usize] = value as u64;
                }
                let own = code.extent.eval(&locals);
                if own.map(|e| e.max(0)) != Some(extent.max(0)) {
                    let problem = format!("{origin}: runs over {extent}, the kernel says {own:?}");
                    return Err(RunError::arguments(kernel, problem));
                }
                execute(kernel, code, &mut self.regions, views, &params, (0, extent), origin)
            }
            Step::Bind { symbol, source, min, max, origin: _ } => {
                let value = self.element(source, DType::I64)? as i64;
                let (min, max) = (self.value(min)?, self.value(max)?);
                if !(min..=max).contains(&value) {
                    let name = self.program.dims.lookup(*symbol).map_or_else(String::new, |i| i.name.clone());
                    return Err(RunError::Bound { symbol: name, value, min, max });
                }
                if let Some(cell) = self.symbols.get_mut(symbol.0 as usize) {
                    *cell = Some(value);
                }
                Ok(())
            }
            Step::Check(check) => self.check(check),
            Step::Allocate { buffer, bytes, origin } => {
                let bytes = self.size(bytes, origin)?;
                self.regions[self.places[buffer.0 as usize]] = vec![POISON; bytes];
                Ok(())
            }
            Step::Release { buffer } => {
                self.regions[self.places[buffer.0 as usize]] = vec![];
                Ok(())
            }
            Step::If { condition, then, otherwise } => {
                let taken = self.element(condition, DType::Bool)? != 0;
                self.steps(if taken { then } else { otherwise })
            }
            Step::While { condition, body } => {
                while self.element(condition, DType::Bool)? != 0 {
                    self.steps(body)?;
                }
                Ok(())
            }
        }
    }

    fn check(&self, check: &SizeCheck) -> Result<(), RunError> {
        let (left, right) = (self.value(&check.left)?, self.value(&check.right)?);
        if check.relation.holds(left, right) {
            return Ok(());
        }
        let (origin, what) = (check.origin.clone(), check.what.clone());
        Err(RunError::Check { origin, what, left, relation: check.relation.name(), right })
    }

    fn outputs(&mut self) -> Result<Vec<Value>, RunError> {
        let first = self.program.inputs.len();
        let mut results = vec![];
        for (i, parameter) in self.program.outputs.iter().enumerate() {
            let dims = parameter.shape.iter().map(|d| self.value(d)).collect::<Result<Vec<i64>, _>>()?;
            if let Some(state) = self.program.state_of_output(i) {
                let block = self.block(&self.program.states[state])?;
                let region = &self.regions[first + self.program.outputs.len() + self.program.weights.len() + state];
                let rows = block.rows(&dims).map(|place| region.get(place));
                let rows = rows.collect::<Option<Vec<&[u8]>>>();
                let rows = rows.ok_or_else(|| RunError::Plan(format!("`{}` outgrows its state", parameter.name)))?;
                results.push((dims, rows.concat()));
                continue;
            }
            let mut bytes = std::mem::take(&mut self.regions[first + i]);
            let wanted = byte_count(parameter, &dims).filter(|&n| n <= bytes.len());
            let Some(wanted) = wanted else {
                let problem = format!("output `{}` of {dims:?} exceeds its {} bytes", parameter.name, bytes.len());
                return Err(RunError::Plan(problem));
            };
            bytes.truncate(wanted);
            results.push((dims, bytes));
        }
        Ok(results)
    }
}

/// A state's block: its shape, the axis that grows, and the bytes of an element.
struct Block {
    shape: Vec<usize>,
    axis: usize,
    element: usize,
}

impl Block {
    fn bytes(&self) -> usize {
        self.shape.iter().product::<usize>() * self.element
    }

    /// Where the rows of a tensor of these dimensions lie, which is the first of the block along the axis that grows.
    fn rows(&self, dims: &[i64]) -> impl Iterator<Item = Range<usize>> + use<> {
        let (outer, inner) = self.shape.split_at(self.axis.min(self.shape.len()));
        let row = inner.iter().product::<usize>() * self.element;
        let used = dims.iter().skip(self.axis).fold(self.element, |n, &d| n * usize::try_from(d).unwrap_or(0));
        (0..outer.iter().product()).map(move |i| i * row..i * row + used)
    }
}

/// Bytes of what is stored of a tensor; `None` when a dimension is negative or the size overflows.
fn byte_count(parameter: &Parameter, dims: &[i64]) -> Option<usize> {
    let shape: Vec<Dim> = dims.iter().map(|&d| Dim::from(d)).collect();
    let stored = Parameter { shape, ..parameter.clone() }.stored_shape();
    let size = |d: &Dim| usize::try_from(d.as_const()?).ok();
    stored.iter().try_fold(parameter.dtype.size(), |n, d| n.checked_mul(size(d)?))
}

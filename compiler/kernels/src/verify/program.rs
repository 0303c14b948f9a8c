//! Programs: rules 20 to 28.

use super::{Check, Problem, VerifyError, ensure};
use crate::kernel::{Access, Kernel};
use crate::plan::{Argument, Buffer, BufferId, KernelId, Place, Program, SizeCheck, Step};
use crate::weights::Weight;
use nnc_ir::{DType, Dim, Symbol, SymbolOrigin};
use rustc_hash::FxHashSet;

/// Steps nest at most this deep.
pub(crate) const MAX_NESTING: u32 = 100;

/// Checks a program and all its kernels.
///
/// # Errors
/// The first rule broken.
pub fn program(program: &Program) -> Result<(), VerifyError> {
    let mut names = FxHashSet::default();
    for kernel in &program.kernels {
        super::kernel(kernel)?;
        let unique = ensure(names.insert(&kernel.name), 20, || "another kernel has this name".to_owned());
        unique.map_err(|p| error(format!("kernel `{}`", kernel.name), p))?;
    }
    for (i, weight) in program.weights.iter().enumerate() {
        check_weight(weight).map_err(|p| error(format!("weight {i}"), p))?;
    }
    let allocated = (0..program.buffers.len() as u32).map(BufferId).filter(|id| program.is_allocated(*id)).collect();
    let mut checker = Checker { program, allocated, bound: FxHashSet::default(), live: FxHashSet::default() };
    let mentioned = program.inputs.iter().flat_map(|p| &p.shape).flat_map(Dim::symbols);
    let of_inputs = |s: &Symbol| program.dims.lookup(*s).is_some_and(|info| info.origin == SymbolOrigin::Input);
    checker.bound.extend(mentioned.filter(of_inputs));
    program.checks.iter().try_for_each(|check| checker.check(check))?;
    let workspace = "the workspace size".to_owned();
    checker.dim(&program.workspace_bytes).map_err(|p| error(workspace, p))?;
    for buffer in &program.buffers {
        checker.buffer(buffer).map_err(|p| error(format!("buffer `{}`", buffer.name), p))?;
    }
    let places = program.buffers.iter().filter_map(|b| if let Place::Output(i) = b.place { Some(i) } else { None });
    let places: FxHashSet<usize> = places.collect();
    for (i, state) in program.states.iter().enumerate() {
        check_state(program, i).map_err(|p| error(format!("state {i}"), p))?;
        for dim in &program.block_shape(state) {
            checker.dim(dim).map_err(|p| error(format!("state {i}"), p))?;
        }
    }
    for (i, output) in program.outputs.iter().enumerate() {
        let check = ensure(places.contains(&i) || program.state_of_output(i).is_some(), 21, || {
            "no buffer lies there".to_owned()
        });
        check.map_err(|p| error(format!("output `{}`", output.name), p))?;
    }
    let of_run = program.dims.iter().filter(|(_, info)| info.origin == SymbolOrigin::Run);
    checker.bound.extend(of_run.map(|(symbol, _)| symbol));
    checker.steps(&program.steps, 0)?;
    for id in &checker.allocated {
        let buffer = &program.buffers[id.0 as usize];
        let there = !matches!(buffer.place, Place::Output(_)) || checker.live.contains(id);
        let check = ensure(there, 28, || "its memory is not asked for".to_owned());
        check.map_err(|p| error(format!("buffer `{}`", buffer.name), p))?;
    }
    checker.bound.retain(|s| program.dims.lookup(*s).is_none_or(|info| info.origin != SymbolOrigin::Run));
    for output in &program.outputs {
        for dim in &output.shape {
            checker.dim(dim).map_err(|p| error(format!("output `{}`", output.name), p))?;
        }
    }
    Ok(())
}

fn error(place: String, Problem(rule, problem): Problem) -> VerifyError {
    VerifyError { rule, place, statement: String::new(), problem }
}

/// Whether a state's input is the first part of its output, and neither is another state's.
fn check_state(program: &Program, number: usize) -> Check {
    let state = &program.states[number];
    let (Some(input), Some(output)) = (program.inputs.get(state.input), program.outputs.get(state.output)) else {
        return Err(Problem(27, "its input or output does not exist".to_owned()));
    };
    let alone =
        program.state_of_input(state.input) == Some(number) && program.state_of_output(state.output) == Some(number);
    ensure(alone, 27, || "another state has its input or output".to_owned())?;
    let grows = |axis: usize| state.growth.is_some_and(|(growing, _)| growing == axis);
    let sizes = input.shape.iter().zip(&output.shape).enumerate();
    let agree = input.shape.len() == output.shape.len() && sizes.into_iter().all(|(i, (x, y))| grows(i) || x == y);
    let room = state.growth.is_none_or(|(axis, capacity)| axis < output.shape.len() && capacity >= 0);
    ensure(agree && room && input.dtype == output.dtype, 27, || "its input is no part of its output".to_owned())
}

fn check_weight(weight: &Weight) -> Check {
    let reach = weight.source_reach();
    ensure(reach.is_some_and(|n| n <= weight.source.len()), 22, || {
        format!("its layout reads element {reach:?} of {}", weight.source.len())
    })?;
    ensure(isize::try_from(weight.packed_bytes()).is_ok(), 22, || "its layout is larger than memory".to_owned())
}

struct Checker<'a> {
    program: &'a Program,
    /// Buffers whose memory steps ask for.
    allocated: FxHashSet<BufferId>,
    /// Symbols that have a value.
    bound: FxHashSet<Symbol>,
    /// Allocated buffers that have memory.
    live: FxHashSet<BufferId>,
}

impl<'a> Checker<'a> {
    fn dim(&self, dim: &Dim) -> Check {
        match dim.symbols().into_iter().find(|s| !self.bound.contains(s)) {
            Some(symbol) => {
                let name = self.program.dims.lookup(symbol).map_or("?", |info| &info.name);
                Err(Problem(25, format!("symbol `{name}` is not bound")))
            }
            None => ensure(*dim != Dim::OVERFLOW, 25, || "a dimension overflowed".to_owned()),
        }
    }

    fn buffer(&self, buffer: &Buffer) -> Check {
        let program = self.program;
        let expected = match &buffer.place {
            Place::Input(i) => program.inputs.get(*i).map(|p| p.dtype),
            Place::Output(i) => {
                // The caller allocates outputs before the run, but for those without a bound.
                if !program.is_allocated_output(*i) {
                    self.dim(&buffer.bytes)?;
                }
                program.outputs.get(*i).map(|p| p.dtype)
            }
            Place::State(i) => {
                let output = program.states.get(*i).and_then(|state| program.outputs.get(state.output));
                output.map(|p| p.dtype)
            }
            Place::Weight(id) => program.weights.get(id.0 as usize).map(|w| w.source.dtype),
            Place::Workspace { offset } => {
                self.dim(offset)?;
                if let Some(at) = offset.as_const() {
                    let inside = match (buffer.bytes.as_const(), program.workspace_bytes.as_const()) {
                        (Some(bytes), Some(all)) => at.checked_add(bytes).is_some_and(|end| end <= all),
                        _ => true,
                    };
                    ensure(at >= 0 && at % 64 == 0 && inside, 21, || format!("lies at byte {at} of the workspace"))?;
                }
                Some(buffer.dtype)
            }
            Place::Allocated(number) => (*number <= program.buffers.len()).then_some(buffer.dtype),
        };
        match expected {
            None => Err(Problem(21, "its place does not exist".to_owned())),
            Some(dtype) => ensure(dtype == buffer.dtype, 21, || format!("is {} in place of {dtype}", buffer.dtype)),
        }
    }

    fn buffer_of(&self, id: BufferId) -> Check<&'a Buffer> {
        self.program.buffers.get(id.0 as usize).ok_or_else(|| Problem(23, format!("buffer {} does not exist", id.0)))
    }

    fn argument(&self, argument: &Argument, dtype: DType, rule: u8) -> Check<&'a Buffer> {
        let buffer = self.buffer_of(argument.buffer)?;
        ensure(buffer.dtype == dtype, rule, || format!("buffer `{}` is {} not {dtype}", buffer.name, buffer.dtype))?;
        if self.allocated.contains(&argument.buffer) {
            ensure(self.live.contains(&argument.buffer), 28, || format!("buffer `{}` has no memory", buffer.name))?;
        } else {
            self.dim(&buffer.bytes)?;
        }
        self.dim(&argument.offset)?;
        Ok(buffer)
    }

    /// A buffer whose memory steps ask for.
    fn allocated(&self, id: BufferId) -> Check<&'a Buffer> {
        let buffer = self.buffer_of(id)?;
        ensure(self.allocated.contains(&id), 28, || format!("buffer `{}` is not allocated by steps", buffer.name))?;
        Ok(buffer)
    }

    fn run(&self, id: KernelId, arguments: &[Argument], params: &[Dim], extent: &Dim) -> Check {
        let kernel: &Kernel = self
            .program
            .kernels
            .get(id.0 as usize)
            .ok_or_else(|| Problem(23, format!("kernel {} does not exist", id.0)))?;
        let decls: Vec<_> = kernel.buffers.iter().filter(|d| !matches!(d.access, Access::Scratch { .. })).collect();
        ensure(decls.len() == arguments.len() && params.len() == kernel.params.len(), 23, || {
            let (a, p) = (arguments.len(), params.len());
            let (takes, counts) = (decls.len(), kernel.params.len());
            format!("hands {a} buffers and {p} dimensions to `{}`, which takes {takes} and {counts}", kernel.name)
        })?;
        for (argument, decl) in arguments.iter().zip(decls) {
            let buffer = self.argument(argument, decl.dtype, 23)?;
            let constant = matches!(buffer.place, Place::Input(_) | Place::Weight(_));
            ensure(!constant || decl.access != Access::Write, 23, || format!("writes to `{}`", buffer.name))?;
        }
        for param in params {
            self.dim(param)?;
        }
        self.dim(extent)?;
        let own = kernel.parallel.1.export(&kernel.sizes(params));
        let agree = match (own.as_const(), extent.as_const()) {
            (Some(own), Some(extent)) => own.max(0) == extent.max(0),
            _ => true,
        };
        ensure(agree, 24, || format!("runs over {extent} instead of {own}"))
    }

    fn check(&self, check: &SizeCheck) -> Result<(), VerifyError> {
        let sides = self.dim(&check.left).and_then(|()| self.dim(&check.right));
        sides.map_err(|p| error(format!("check {}", check.origin), p))
    }

    fn steps(&mut self, steps: &[Step], nesting: u32) -> Result<(), VerifyError> {
        steps.iter().try_for_each(|step| self.step(step, nesting))
    }

    fn step(&mut self, step: &Step, nesting: u32) -> Result<(), VerifyError> {
        let place = match step {
            Step::Run { origin, .. } | Step::Check(SizeCheck { origin, .. }) => format!("step {origin}"),
            Step::Allocate { origin, .. } => format!("allocation {origin}"),
            Step::Release { .. } => "release".to_owned(),
            Step::Bind { .. } => "bind".to_owned(),
            Step::If { .. } => "if".to_owned(),
            Step::While { .. } => "while".to_owned(),
        };
        let at = |p| error(place.clone(), p);
        ensure(nesting < MAX_NESTING, 23, || "steps are nested too deeply".to_owned()).map_err(at)?;
        match step {
            Step::Run { kernel, arguments, params, extent, work, apart: _, origin: _ } => {
                self.run(*kernel, arguments, params, extent).and_then(|()| self.dim(work)).map_err(at)
            }
            Step::Bind { symbol, source, min, max, origin: _ } => {
                self.argument(source, DType::I64, 26).map_err(at)?;
                self.dim(min).and_then(|()| self.dim(max)).map_err(at)?;
                let known = self.program.dims.lookup(*symbol).is_some_and(|i| i.origin == SymbolOrigin::Node);
                ensure(known, 25, || "binds a symbol that no node defines".to_owned()).map_err(at)?;
                self.bound.insert(*symbol);
                Ok(())
            }
            Step::Check(check) => self.check(check),
            Step::Allocate { buffer, bytes, origin: _ } => {
                self.allocated(*buffer).and_then(|_| self.dim(bytes)).map_err(at)?;
                self.live.insert(*buffer);
                Ok(())
            }
            Step::Release { buffer } => {
                let place = &self.allocated(*buffer).map_err(at)?.place;
                let own = !matches!(place, Place::Output(_)) && self.live.remove(buffer);
                ensure(own, 28, || "releases what it does not have".to_owned()).map_err(at)
            }
            Step::If { condition, then, otherwise } => {
                self.argument(condition, DType::Bool, 26).map_err(at)?;
                let before = (self.bound.clone(), self.live.clone());
                self.steps(then, nesting + 1)?;
                let (bound, live) =
                    (std::mem::replace(&mut self.bound, before.0), std::mem::replace(&mut self.live, before.1));
                self.steps(otherwise, nesting + 1)?;
                self.bound.retain(|s| bound.contains(s));
                self.live.retain(|b| live.contains(b));
                Ok(())
            }
            Step::While { condition, body } => {
                self.argument(condition, DType::Bool, 26).map_err(at)?;
                let (bound, live) = (self.bound.clone(), self.live.clone());
                self.steps(body, nesting + 1)?;
                let kept = live.iter().all(|buffer| self.live.contains(buffer));
                ensure(kept, 28, || "releases what the next round needs".to_owned()).map_err(at)?;
                // The body may never run.
                (self.bound, self.live) = (bound, live);
                Ok(())
            }
        }
    }
}

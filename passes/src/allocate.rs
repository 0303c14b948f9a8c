//! Memory for what has no bound before the run: steps that ask for it when its size is known, and give it back.
//!
//! A buffer gets its memory right before the first step that uses it, in the outermost list of steps where its size is known
//! then, and loses it right behind the last; what is used by the rounds of a loop alone, and sized by them, is asked for in
//! each. A size that is found by the step that fills the buffer counts as its upper bound. Lowering asks by itself for what
//! has different sizes in the branches of an `If`, or from round to round; that is given back here too.
//!
//! Invariant, checked by the verifier: no step uses a buffer that has no memory then.

use crate::LowerError;
use crate::memory::visit;
use nnc_ir::{Dim, Symbol, SymbolOrigin};
use nnc_kernels::plan::{BufferId, Place, Program, SizeCheck, Step};
use rustc_hash::{FxHashMap, FxHashSet};

/// Adds the steps.
///
/// # Errors
/// When the size of a buffer is known only after a step that fills it, and has no bound then.
pub fn allocate(program: &mut Program) -> Result<(), LowerError> {
    if !program.allocates() {
        return Ok(());
    }
    let all: FxHashSet<BufferId> =
        (0..program.buffers.len() as u32).map(BufferId).filter(|id| program.is_allocated(*id)).collect();
    let steps = std::mem::take(&mut program.steps);
    let mut asked = FxHashSet::default();
    steps.iter().for_each(|step| asked_for(step, &mut asked));
    let of_inputs = program.dims.iter().filter(|(_, info)| info.origin == SymbolOrigin::Input);
    let mut known: FxHashSet<Symbol> = of_inputs.map(|(symbol, _)| symbol).collect();
    let mut pass = Allocate { program, asked, used: FxHashSet::default() };
    let mut steps = pass.list(steps, &all, &mut known)?;
    // An output that nothing is written to has no elements, or a place all the same.
    let mut rest: Vec<BufferId> = all.into_iter().filter(|buffer| !pass.used.contains(buffer)).collect();
    rest.sort_unstable();
    for buffer in rest.into_iter().filter(|buffer| pass.is_output(*buffer)) {
        let origin = format!("output {:?}", pass.program.buffers[buffer.0 as usize].name);
        let bytes = pass.bytes(buffer, &known).ok_or_else(|| pass.not_known(buffer, &origin))?;
        steps.push(Step::Allocate { buffer, bytes, origin });
    }
    program.steps = steps;
    Ok(())
}

/// Whether a step asks for the memory of a buffer.
pub(crate) fn asks_for(step: &Step, buffer: BufferId) -> bool {
    let mut found = FxHashSet::default();
    asked_for(step, &mut found);
    found.contains(&buffer)
}

/// Collects the buffers that steps ask for already.
fn asked_for(step: &Step, found: &mut FxHashSet<BufferId>) {
    match step {
        Step::Allocate { buffer, .. } => {
            found.insert(*buffer);
        }
        Step::If { then, otherwise, .. } => then.iter().chain(otherwise).for_each(|s| asked_for(s, found)),
        Step::While { body, .. } => body.iter().for_each(|s| asked_for(s, found)),
        Step::Run { .. } | Step::Bind { .. } | Step::Check(_) | Step::Release { .. } => {}
    }
}

struct Allocate<'p> {
    program: &'p Program,
    /// Buffers that lowering has steps ask for.
    asked: FxHashSet<BufferId>,
    /// Buffers that steps use.
    used: FxHashSet<BufferId>,
}

impl Allocate<'_> {
    /// Adds the steps for some buffers to a list, which begins with `known` symbols; those that it binds are added.
    fn list(
        &mut self,
        steps: Vec<Step>,
        wanted: &FxHashSet<BufferId>,
        known: &mut FxHashSet<Symbol>,
    ) -> Result<Vec<Step>, LowerError> {
        let mut uses: FxHashMap<BufferId, (usize, usize)> = FxHashMap::default();
        for (number, step) in steps.iter().enumerate() {
            uses_of(step, &mut |buffer| {
                if wanted.contains(&buffer) {
                    uses.entry(buffer).or_insert((number, number)).1 = number;
                }
            });
        }
        self.used.extend(uses.keys());
        let mut uses: Vec<(BufferId, (usize, usize))> = uses.into_iter().collect();
        uses.sort_unstable();
        let mut done = vec![];
        for (number, step) in steps.into_iter().enumerate() {
            let mut inside = FxHashSet::default();
            for &(buffer, (first, last)) in uses.iter().filter(|(_, (first, _))| *first == number) {
                if self.asked.contains(&buffer) {
                    if first == last && asks_in_part(&step, buffer) {
                        inside.insert(buffer);
                    }
                    continue;
                }
                match self.bytes(buffer, known) {
                    Some(bytes) => done.push(Step::Allocate { buffer, bytes, origin: origin(&step) }),
                    None if first == last && matches!(step, Step::If { .. } | Step::While { .. }) => {
                        inside.insert(buffer);
                    }
                    None => return Err(self.not_known(buffer, &origin(&step))),
                }
            }
            done.push(self.within(step, &inside, known)?);
            let dead = uses.iter().filter(|(buffer, (_, last))| *last == number && !inside.contains(buffer));
            let dead = dead.filter(|(buffer, _)| !self.is_output(*buffer));
            done.extend(dead.map(|&(buffer, _)| Step::Release { buffer }));
        }
        Ok(done)
    }

    /// Adds the steps for some buffers to the lists within a step.
    fn within(
        &mut self,
        step: Step,
        wanted: &FxHashSet<BufferId>,
        known: &mut FxHashSet<Symbol>,
    ) -> Result<Step, LowerError> {
        Ok(match step {
            Step::If { condition, then, otherwise } => {
                let then = self.list(then, wanted, &mut known.clone())?;
                Step::If { condition, then, otherwise: self.list(otherwise, wanted, &mut known.clone())? }
            }
            Step::While { condition, body } => {
                Step::While { condition, body: self.list(body, wanted, &mut known.clone())? }
            }
            Step::Bind { symbol, .. } => {
                known.insert(symbol);
                step
            }
            // What is written there may be what finds a size.
            Step::Allocate { buffer, bytes, origin } => {
                let most = bytes.greatest_given(&self.program.dims, &|symbol| known.contains(&symbol));
                let bytes = most.ok_or_else(|| self.not_known(buffer, &origin))?;
                Step::Allocate { buffer, bytes, origin }
            }
            Step::Run { .. } | Step::Check(_) | Step::Release { .. } => step,
        })
    }

    /// How much memory a buffer needs, as far as symbols are known.
    fn bytes(&self, buffer: BufferId, known: &FxHashSet<Symbol>) -> Option<Dim> {
        let bytes = &self.program.buffers[buffer.0 as usize].bytes;
        bytes.greatest_given(&self.program.dims, &|symbol| known.contains(&symbol))
    }

    fn is_output(&self, buffer: BufferId) -> bool {
        matches!(self.program.buffers[buffer.0 as usize].place, Place::Output(_))
    }

    fn not_known(&self, buffer: BufferId, origin: &str) -> LowerError {
        let (dims, bytes) = (&self.program.dims, &self.program.buffers[buffer.0 as usize].bytes);
        let open = |s: &Symbol| Dim::sym(*s).greatest(dims).is_none();
        let names = bytes.symbols().into_iter().filter(open).filter_map(|s| Some(dims.lookup(s)?.name.as_str()));
        let bounds: Vec<String> = names.map(|name| format!("--dim {name}=0..N")).collect();
        let (size, bounds) = (dims.display(bytes), bounds.join(" "));
        let problem =
            format!("its {size} bytes are known only after they are written, and have no bound: give {bounds}");
        LowerError { origin: origin.to_owned(), problem }
    }
}

/// Whether a buffer that a step uses has memory only in a part of it, which may not run.
fn asks_in_part(step: &Step, buffer: BufferId) -> bool {
    match step {
        Step::If { then, otherwise, .. } => {
            let asks = |steps: &[Step]| steps.iter().any(|step| asks_for(step, buffer));
            asks(then) != asks(otherwise)
        }
        Step::While { .. } => true,
        Step::Run { .. } | Step::Bind { .. } | Step::Check(_) | Step::Allocate { .. } | Step::Release { .. } => false,
    }
}

/// Calls `f` on every buffer that a step uses, asks for or gives back.
fn uses_of(step: &Step, f: &mut dyn FnMut(BufferId)) {
    visit(step, &mut |argument| f(argument.buffer));
    let mut asked = FxHashSet::default();
    asked_for(step, &mut asked);
    asked.into_iter().for_each(f);
}

/// The node that a step came from.
fn origin(step: &Step) -> String {
    match step {
        Step::Run { origin, .. }
        | Step::Bind { origin, .. }
        | Step::Check(SizeCheck { origin, .. })
        | Step::Allocate { origin, .. } => origin.clone(),
        Step::If { then, otherwise, .. } => then.iter().chain(otherwise).map(origin).next().unwrap_or_default(),
        Step::While { body, .. } => body.first().map(origin).unwrap_or_default(),
        Step::Release { .. } => String::new(),
    }
}

//! Checks kernels and programs. Runs after lowering and before every backend; the interpreter verifies what it runs.
//!
//! Rules of a kernel:
//!  1. Names of variables and of buffers are unique and not empty.
//!  2. Parameter buffers come before scratch; alignments are powers of two, the element size at least; scratch buffers
//!     take 64 KiB at most together.
//!  3. Parameters and the parallel variable are `i64`; the parallel extent mentions parameters alone.
//!  4. A variable is defined in one place and used where it is in scope; only a mutable one is assigned.
//!  5. An index mentions `i64` variables in scope and did not overflow; loop variables are `i64`.
//!  6. Operands have the types that `ops` lists for a function; nothing computes in `f16` or `bf16`, which convert from
//!     and to `f32` alone; constants fit their type; a bitcast keeps the size and does not make a `bool`.
//!  7. A store is to a buffer that is not only read, of the buffer's type; conditions are `bool`.
//!  8. A vector loop holds no vector loop, mutable variable, assignment, while, fail or contraction.
//!  9. Inside a vector loop, extents and the conditions of `if` are the same in all lanes, and a store touches a
//!     different element in each lane (unless there is one lane).
//! 10. The extent of an unrolled loop is a constant of at most 256.
//! 11. Accumulators combine, by a function of their type, a first operand and values of that type.
//! 12. A contraction's operand types suit its accumulator; a constant `n` is at most `width`; `Panel` needs constant `n`; rows
//!     take no taps; width and rows are 1..=4096; its epilogue holds `let` and `store` only.
//! 13. Statements and expressions nest at most 500 deep.
//!
//! Rules of a program:
//! 20. Names of kernels are unique.
//! 21. A buffer's place exists and has its type; constant offsets are multiples of 64 within a constant workspace;
//!     every output has a buffer, or is kept as a state.
//! 22. Packed weights read elements of their source alone, and fit into memory.
//! 23. A step refers to kernels and buffers that exist; it hands one argument of the declared type to each parameter
//!     buffer, and one dimension to each parameter; inputs and weights are not written.
//! 24. A step's extent is its kernel's, as far as both are constants.
//! 25. A symbol is bound by the shapes of inputs or by an earlier `Bind`; the workspace size needs inputs alone.
//! 26. `Bind` reads `i64`, conditions are `bool`.
//! 27. A state's input and output have the same type and the same shape, but for the axis that grows; neither is another
//!     state's.
//! 28. What is allocated is an allocated buffer or an output without a bound, and steps use it after it was allocated and
//!     before it is released, in every order in which they may run; outputs are not released.

mod contraction;
mod expr;
mod program;
#[cfg(test)]
mod tests;

pub(crate) use program::MAX_NESTING;
pub use program::program;

use crate::affine::Varying;
use crate::kernel::{Access, AxisKind, BufferDecl, BufferRef, Expr, Index, Kernel, Loop, Stmt, Var};
use crate::{ops, print};
use nnc_ir::DType;
use rustc_hash::FxHashSet;

/// Most bytes of scratch in one kernel.
pub const MAX_SCRATCH: usize = 64 << 10;
/// Largest extent of an unrolled loop.
pub const MAX_UNROLLED: i64 = 256;
/// Deepest nesting of statements and expressions.
pub const MAX_DEPTH: u32 = 500;
/// Largest width and number of rows of a micro-kernel.
pub const MAX_WIDTH: usize = 4096;
/// Most taps of a micro-kernel.
pub const MAX_TAPS: usize = 1 << 16;

/// A broken rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}{}: {problem} (rule {rule})", if .statement.is_empty() { String::new() } else { format!(", `{}`", .statement) })]
pub struct VerifyError {
    /// Number of the rule in this module's documentation.
    pub rule: u8,
    /// The kernel, or the part of the program.
    pub place: String,
    /// First line of the statement; empty where there is none.
    pub statement: String,
    /// What is wrong.
    pub problem: String,
}

/// A broken rule before its statement is known.
struct Problem(u8, String);

type Check<T = ()> = Result<T, Problem>;

fn ensure(holds: bool, rule: u8, problem: impl FnOnce() -> String) -> Check {
    if holds { Ok(()) } else { Err(Problem(rule, problem())) }
}

/// Checks rules 1 to 13.
///
/// # Errors
/// The first rule broken.
pub fn kernel(kernel: &Kernel) -> Result<(), VerifyError> {
    let mut checker =
        Checker { kernel, states: vec![State::Undefined; kernel.vars.len()], defined: vec![], lanes: None, depth: 0 };
    let at = |statement: String, Problem(rule, problem): Problem| VerifyError {
        rule,
        place: format!("kernel `{}`", kernel.name),
        statement,
        problem,
    };
    checker.declarations().map_err(|p| at(String::new(), p))?;
    checker.block(&kernel.body).map_err(|failure| at(failure.statement, failure.problem))
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Undefined,
    Immutable,
    Mutable,
    OutOfScope,
}

struct Checker<'a> {
    kernel: &'a Kernel,
    states: Vec<State>,
    /// Variables in scope, innermost last.
    defined: Vec<Var>,
    /// Inside a vector loop or epilogue: what differs between lanes, and whether there is more than one lane.
    lanes: Option<(Varying, bool)>,
    depth: u32,
}

/// A problem and the innermost statement it is in.
struct Failure {
    problem: Problem,
    statement: String,
}

impl<'a> Checker<'a> {
    fn declarations(&mut self) -> Check {
        let kernel = self.kernel;
        let mut names = FxHashSet::default();
        for info in &kernel.vars {
            ensure(!info.name.is_empty() && names.insert(&info.name), 1, || {
                format!("variable name `{}` is empty or not unique", info.name)
            })?;
        }
        names.clear();
        ensure(!kernel.name.is_empty(), 1, || "the kernel has no name".to_owned())?;
        let (mut scratch, mut bytes) = (false, 0usize);
        for decl in &kernel.buffers {
            let (name, dtype) = (&decl.name, decl.dtype);
            ensure(!name.is_empty() && names.insert(name), 1, || {
                format!("buffer name `{name}` is empty or not unique")
            })?;
            ensure(decl.align.is_power_of_two() && decl.align as usize >= dtype.size(), 2, || {
                format!("buffer `{name}` of {dtype} has alignment {}", decl.align)
            })?;
            if let Access::Scratch { elements } = decl.access {
                scratch = true;
                bytes = elements.saturating_mul(dtype.size()).saturating_add(bytes);
            } else {
                ensure(!scratch, 2, || format!("parameter buffer `{name}` follows scratch"))?;
            }
        }
        ensure(bytes <= MAX_SCRATCH, 2, || format!("{bytes} bytes of scratch"))?;
        for &param in &kernel.params {
            self.define(param, Some(DType::I64), State::Immutable, 3)?;
        }
        let (p, extent) = &kernel.parallel;
        self.index(extent).map_err(|Problem(_, text)| Problem(3, text))?;
        self.define(*p, Some(DType::I64), State::Immutable, 3)
    }

    /// Brings a variable into scope.
    fn define(&mut self, var: Var, dtype: Option<DType>, state: State, rule: u8) -> Check {
        let info = self.kernel.vars.get(var.0 as usize);
        let info = info.ok_or_else(|| Problem(4, format!("variable {} does not exist", var.0)))?;
        let name = &info.name;
        if let Some(dtype) = dtype {
            ensure(info.dtype == dtype, rule, || format!("variable `{name}` is {} instead of {dtype}", info.dtype))?;
        }
        let cell = &mut self.states[var.0 as usize];
        ensure(*cell == State::Undefined, 4, || format!("variable `{name}` is defined twice"))?;
        *cell = state;
        self.defined.push(var);
        Ok(())
    }

    /// Ends the scope of what was defined since.
    fn leave(&mut self, mark: usize) {
        for var in self.defined.drain(mark..) {
            self.states[var.0 as usize] = State::OutOfScope;
        }
    }

    fn buffer(&self, buffer: BufferRef) -> Check<&'a BufferDecl> {
        let decl = self.kernel.buffers.get(buffer.0 as usize);
        decl.ok_or_else(|| Problem(5, format!("buffer {} does not exist", buffer.0)))
    }

    fn index(&self, index: &Index) -> Check {
        ensure(*index != Index::OVERFLOW, 5, || "an index overflowed".to_owned())?;
        for var in index.vars() {
            let dtype = self.var(var).map_err(|Problem(_, text)| Problem(5, text))?;
            ensure(dtype == DType::I64, 5, || format!("index variable `{}` is {dtype}", self.name(var)))?;
        }
        Ok(())
    }

    fn name(&self, var: Var) -> &'a str {
        self.kernel.vars.get(var.0 as usize).map_or("?", |info| &info.name)
    }

    /// Type of a variable in scope.
    fn var(&self, var: Var) -> Check<DType> {
        match (self.kernel.vars.get(var.0 as usize), self.states.get(var.0 as usize)) {
            (Some(info), Some(State::Immutable | State::Mutable)) => Ok(info.dtype),
            (Some(info), _) => Err(Problem(4, format!("variable `{}` is not in scope", info.name))),
            _ => Err(Problem(4, format!("variable {} does not exist", var.0))),
        }
    }

    fn block(&mut self, body: &[Stmt]) -> Result<(), Failure> {
        let mark = self.defined.len();
        self.statements(body)?;
        self.leave(mark);
        Ok(())
    }

    /// Checks a block and leaves what it defines in scope.
    fn statements(&mut self, body: &[Stmt]) -> Result<(), Failure> {
        for stmt in body {
            self.depth += 1;
            let fail = |problem| Failure { problem, statement: print::statement_head(self.kernel, stmt) };
            if self.depth > MAX_DEPTH {
                // Not printed: that would recurse as deeply.
                let problem = Problem(13, "statements are nested too deeply".to_owned());
                return Err(Failure { problem, statement: String::new() });
            }
            match self.statement(stmt) {
                Ok(()) => {}
                Err(Inner::Here(problem @ Problem(13, _))) => {
                    return Err(Failure { problem, statement: String::new() });
                }
                Err(Inner::Here(problem)) => return Err(fail(problem)),
                Err(Inner::Deeper(failure)) => return Err(failure),
            }
            self.depth -= 1;
        }
        Ok(())
    }

    fn statement(&mut self, stmt: &Stmt) -> Result<(), Inner> {
        match stmt {
            Stmt::Let(var, value) => {
                let dtype = self.expr(value)?;
                self.define(*var, Some(dtype), State::Immutable, 6)?;
            }
            Stmt::Mutable(var, value) => {
                self.outside_vector("a mutable variable")?;
                let dtype = self.expr(value)?;
                self.define(*var, Some(dtype), State::Mutable, 6)?;
            }
            Stmt::Assign(var, value) => {
                self.outside_vector("an assignment")?;
                let dtype = self.expr(value)?;
                let expected = self.var(*var)?;
                let mutable = self.states.get(var.0 as usize) == Some(&State::Mutable);
                ensure(mutable, 4, || format!("`{}` is not mutable", self.name(*var)))?;
                ensure(dtype == expected, 6, || format!("{dtype} is assigned to a variable of {expected}"))?;
            }
            Stmt::Store(buffer, index, value) => {
                let decl = self.buffer(*buffer)?;
                ensure(decl.access != Access::Read, 7, || format!("`{}` is only read", decl.name))?;
                self.index(index)?;
                let dtype = self.expr(value)?;
                ensure(dtype == decl.dtype, 7, || format!("{dtype} is stored to a buffer of {}", decl.dtype))?;
                if let Some((varying, true)) = &self.lanes {
                    ensure(varying.index(index), 9, || "all lanes store to one element".to_owned())?;
                }
            }
            Stmt::For(l, body) => {
                let mark = self.defined.len();
                let outer = self.enter(l, body)?;
                self.block(body)?;
                self.exit(outer, mark);
            }
            Stmt::Reduce(l, body, accumulators) => {
                let mut dtypes = vec![];
                for a in accumulators {
                    let dtype = self.expr(&a.init)?;
                    ensure(ops::reduce_accepts(a.op, dtype), 11, || {
                        format!("{} does not combine {dtype}", a.op.name())
                    })?;
                    dtypes.push(dtype);
                }
                let mark = self.defined.len();
                let outer = self.enter(l, body)?;
                self.statements(body)?;
                for (a, &dtype) in accumulators.iter().zip(&dtypes) {
                    let value = self.expr(&a.value)?;
                    ensure(value == dtype, 11, || format!("{value} is combined with {dtype}"))?;
                }
                self.exit(outer, mark);
                for (a, &dtype) in accumulators.iter().zip(&dtypes) {
                    self.define(a.var, Some(dtype), State::Immutable, 11)?;
                }
            }
            Stmt::If(condition, then, otherwise) => {
                self.condition(condition)?;
                if let Some((varying, true)) = &self.lanes {
                    ensure(!varying.expr(condition), 9, || "the condition differs between lanes".to_owned())?;
                }
                self.block(then)?;
                self.block(otherwise)?;
            }
            Stmt::While(condition, body) => {
                self.outside_vector("a while")?;
                self.condition(condition)?;
                self.block(body)?;
            }
            Stmt::Fail(status) => {
                self.outside_vector("a fail")?;
                ensure(*status != 0, 7, || "status 0 is no failure".to_owned())?;
            }
            Stmt::Contract(contraction) => {
                self.outside_vector("a contraction")?;
                self.contraction(contraction)?;
            }
        }
        Ok(())
    }

    fn outside_vector(&self, what: &str) -> Check {
        ensure(self.lanes.is_none(), 8, || format!("{what} inside a vector loop"))
    }

    fn condition(&mut self, condition: &Expr) -> Check {
        let dtype = self.expr(condition)?;
        ensure(dtype == DType::Bool, 7, || format!("the condition is {dtype}"))
    }

    /// Enters a loop; returns the lanes outside.
    fn enter(&mut self, l: &Loop, body: &[Stmt]) -> Check<Option<(Varying, bool)>> {
        self.index(&l.extent)?;
        if let Some((varying, true)) = &self.lanes {
            ensure(!varying.index(&l.extent), 9, || "the extent differs between lanes".to_owned())?;
        }
        match l.axis {
            AxisKind::Serial | AxisKind::Free => {}
            AxisKind::Vector => self.outside_vector("a vector loop")?,
            AxisKind::Unrolled => ensure(l.extent.as_const().is_some_and(|n| n <= MAX_UNROLLED), 10, || {
                format!("an unrolled loop needs a constant extent of at most {MAX_UNROLLED}")
            })?,
        }
        self.define(l.var, Some(DType::I64), State::Immutable, 5)?;
        let outer = self.lanes.clone();
        if l.axis == AxisKind::Vector {
            let several = l.extent.as_const().is_none_or(|n| n > 1);
            self.lanes = Some((Varying::new(l.var, body), several));
        }
        Ok(outer)
    }

    fn exit(&mut self, outer: Option<(Varying, bool)>, mark: usize) {
        self.lanes = outer;
        self.leave(mark);
    }
}

/// Where a statement's problem lies.
enum Inner {
    Here(Problem),
    Deeper(Failure),
}

impl From<Problem> for Inner {
    fn from(problem: Problem) -> Inner {
        Inner::Here(problem)
    }
}

impl From<Failure> for Inner {
    fn from(failure: Failure) -> Inner {
        Inner::Deeper(failure)
    }
}

/// Whether the index is the constant, or not known.
fn may_be(index: &Index, holds: impl Fn(i64) -> bool) -> bool {
    index.as_const().is_none_or(holds)
}

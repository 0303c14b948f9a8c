//! A plain interpreter of kernels and programs: the meaning that backends and the lowering are tested against.
//!
//! Invariants:
//! - nothing here panics or is undefined: kernels are verified first, every access is checked against its buffer, and
//!   every `i64` variable against its declared range;
//! - memory that was never written holds NaN (`machine::POISON`), and the whole workspace is one array of bytes at the
//!   planned offsets, so that mistakes of lowering and of the memory planner change results;
//! - vector loops run lane after lane, in order.

mod code;
mod machine;
mod program;
mod scalar;
mod sum;
#[cfg(test)]
mod tests;

pub use program::{Value, run, run_with_seed};

use crate::kernel::Kernel;
use crate::verify::{self, VerifyError};
use code::Code;
use machine::{Fault, Machine, POISON, View};

/// Most bytes that the interpreter allocates for one buffer or workspace.
const MAX_BYTES: usize = 1 << 34;

/// Why a run gave no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// The program or kernel breaks a rule.
    #[error(transparent)]
    Invalid(#[from] VerifyError),
    /// The caller's inputs do not fit the signature.
    #[error("input `{name}`: {problem}")]
    Input {
        /// Name of the input.
        name: String,
        /// What is wrong.
        problem: String,
    },
    /// Buffers, parameters or a range handed to a kernel do not fit its declaration.
    #[error("kernel `{kernel}`: {problem}")]
    Arguments {
        /// Name of the kernel.
        kernel: String,
        /// What is wrong.
        problem: String,
    },
    /// An element outside its buffer.
    #[error("kernel `{kernel}`: element {index} is outside buffer `{buffer}` of {elements} elements")]
    OutOfBounds {
        /// Name of the kernel.
        kernel: String,
        /// Name of the buffer.
        buffer: String,
        /// The element.
        index: i64,
        /// Number of elements there are.
        elements: usize,
    },
    /// A variable left the range its kernel declares.
    #[error("kernel `{kernel}`: variable `{var}` is {value}, outside its declared range")]
    Range {
        /// Name of the kernel.
        kernel: String,
        /// Name of the variable.
        var: String,
        /// The value.
        value: i64,
    },
    /// `Stmt::Fail` was reached.
    #[error("{origin}: failed with status {status}")]
    Failed {
        /// The node, or the kernel when run alone.
        origin: String,
        /// A code of `nnc-abi`.
        status: i32,
    },
    /// A check of sizes does not hold.
    #[error("{origin}: {what}: {left} is to be {relation} {right}")]
    Check {
        /// The node.
        origin: String,
        /// What the left side is the size of.
        what: String,
        /// What it must be to the other.
        relation: &'static str,
        /// Value of one side.
        left: i64,
        /// Value of the other.
        right: i64,
    },
    /// A `Step::Bind` read a value outside its bounds.
    #[error("symbol `{symbol}` is {value}, outside {min}..={max}")]
    Bound {
        /// Name of the symbol.
        symbol: String,
        /// Value read.
        value: i64,
        /// Lowest value allowed.
        min: i64,
        /// Highest value allowed.
        max: i64,
    },
    /// The plan does not fit itself: a buffer beyond the workspace, an expression without value.
    #[error("plan: {0}")]
    Plan(String),
}

impl RunError {
    fn arguments(kernel: &Kernel, problem: impl Into<String>) -> RunError {
        RunError::Arguments { kernel: kernel.name.clone(), problem: problem.into() }
    }

    fn of_fault(fault: Fault, kernel: &Kernel, views: &[View], origin: &str) -> RunError {
        let name = kernel.name.clone();
        let buffer_name = |b: u32| kernel.buffers.get(b as usize).map_or_else(String::new, |d| d.name.clone());
        match fault {
            Fault::Status(status) => RunError::Failed { origin: origin.to_owned(), status },
            Fault::OutOfBounds { buffer, index } => RunError::OutOfBounds {
                kernel: name,
                buffer: buffer_name(buffer),
                index,
                elements: views.get(buffer as usize).map_or(0, |v| v.len / v.dtype.size()),
            },
            Fault::Index => RunError::arguments(kernel, "an index overflows or divides by zero"),
            Fault::Range { var, value } => RunError::Range {
                kernel: name,
                var: kernel.vars.get(var as usize).map_or_else(String::new, |v| v.name.clone()),
                value,
            },
            Fault::ReadOnly { buffer } => {
                RunError::arguments(kernel, format!("`{}` is stored to but only readable", buffer_name(buffer)))
            }
            Fault::Columns(n) => RunError::arguments(kernel, format!("{n} columns exceed the width of a panel")),
        }
    }
}

/// Verifies and resolves a kernel.
fn prepare(kernel: &Kernel) -> Result<Code, RunError> {
    verify::kernel(kernel)?;
    code::compile(kernel).ok_or_else(|| RunError::arguments(kernel, "a function is not defined on its operand type"))
}

/// Runs the parallel iterations `begin..end` of a kernel alone. `buffers` are the non-scratch ones, in order; each is
/// its kernel's whole view. Returns the status: 0, or that of the [`crate::Stmt::Fail`] reached.
///
/// # Errors
/// When the kernel breaks a rule, the arguments do not fit it, or it leaves a buffer or range.
pub fn run_kernel(
    kernel: &Kernel,
    buffers: &mut [Vec<u8>],
    params: &[i64],
    begin: i64,
    end: i64,
) -> Result<i32, RunError> {
    let code = prepare(kernel)?;
    if buffers.len() != code.buffers.len() || params.len() != code.params.len() {
        let problem = format!("takes {} buffers and {} parameters", code.buffers.len(), code.params.len());
        return Err(RunError::arguments(kernel, problem));
    }
    let views = buffers.iter().zip(&code.buffers).enumerate();
    let views =
        views.map(|(region, (bytes, &(dtype, writable)))| View { region, start: 0, len: bytes.len(), dtype, writable });
    let views = views.collect();
    let mut regions: Vec<Vec<u8>> = buffers.iter_mut().map(std::mem::take).collect();
    let result = execute(kernel, &code, &mut regions, views, params, (begin, end), &kernel.name);
    for (buffer, region) in buffers.iter_mut().zip(regions) {
        *buffer = region;
    }
    match result {
        Err(RunError::Failed { status, .. }) => Ok(status),
        other => other.map(|()| 0),
    }
}

/// Runs resolved code over memory regions; scratch buffers are added to them and taken off again.
fn execute(
    kernel: &Kernel,
    code: &Code,
    regions: &mut Vec<Vec<u8>>,
    mut views: Vec<View>,
    params: &[i64],
    (begin, end): (i64, i64),
    origin: &str,
) -> Result<(), RunError> {
    let outer = regions.len();
    for &(dtype, elements) in &code.scratch {
        let len = elements * dtype.size();
        views.push(View { region: regions.len(), start: 0, len, dtype, writable: true });
        regions.push(vec![POISON; len]);
    }
    let mut machine = Machine { regions, views, locals: vec![0; code.locals] };
    let result = machine.run(code, params, begin, end);
    let views = machine.views;
    regions.truncate(outer);
    result.map_err(|fault| RunError::of_fault(fault, kernel, &views, origin))
}

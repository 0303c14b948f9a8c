//! The host plan: buffers with places, and the steps that run kernels over them.
//!
//! Invariants (enforced by [`crate::verify`]):
//! - two workspace buffers whose live ranges meet share no byte (the planner's checker in `nnc-passes`);
//! - a step's argument types agree with its kernel's declarations;
//! - a symbol is bound by the signature or by a `Bind` before a later step needs it;
//! - memory that a step asks the caller for is there whenever a step uses it.

use crate::kernel::Kernel;
use crate::weights::{Weight, WeightId};
use nnc_ir::op::Relation;
use nnc_ir::parse::Constants;
use nnc_ir::{DType, Dim, DimTable, Encoding, Symbol};
use std::fmt;
use std::str::FromStr;

/// An index of [`Program::buffers`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BufferId(pub u32);

/// An index of [`Program::kernels`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KernelId(pub u32);

/// Where a buffer's bytes are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// The caller's input of this number.
    Input(usize),
    /// The caller's output of this number.
    Output(usize),
    /// The caller's block of this state.
    State(usize),
    /// A weight of the artifact, read-only.
    Weight(WeightId),
    /// In the workspace, at this many bytes from its start (a multiple of 64).
    Workspace {
        /// Offset in bytes.
        offset: Dim,
    },
    /// Memory of the caller's allocator, which a step asks for when the size is known: the allocation's number.
    Allocated(usize),
}

/// A buffer of the host plan.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Buffer {
    /// The value it holds, for dumps.
    pub name: String,
    /// Element type.
    pub dtype: DType,
    /// Bytes it may need: an upper bound where a dimension is data-dependent, but for what is allocated during the run.
    pub bytes: Dim,
    /// Place.
    pub place: Place,
}

/// A buffer argument of a kernel: a buffer from some element on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Argument {
    /// The buffer.
    pub buffer: BufferId,
    /// First element handed to the kernel.
    pub offset: Dim,
}

/// One step of the host plan.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Runs a kernel over its whole parallel loop.
    Run {
        /// The kernel.
        kernel: KernelId,
        /// One per non-scratch buffer declaration.
        arguments: Vec<Argument>,
        /// One per integer parameter.
        params: Vec<Dim>,
        /// Extent of the parallel loop.
        extent: Dim,
        /// Estimated work of the whole step, in nanoseconds on one core: too little is not spread over threads.
        work: Dim,
        /// Whether no other step writes an element that this one writes.
        apart: bool,
        /// The node it came from, for profiles and messages.
        origin: String,
    },
    /// Reads an `i64` element into a symbol; outside `min..=max` the run fails.
    Bind {
        /// Defined by this step.
        symbol: Symbol,
        /// Where it is read from.
        source: Argument,
        /// Lowest value allowed.
        min: Dim,
        /// Highest value allowed.
        max: Dim,
        /// The node it came from.
        origin: String,
    },
    /// Fails the run with a status of `nnc-abi` unless sizes are as they must be.
    Check(SizeCheck),
    /// Asks the caller's allocator for the memory of a buffer, in place of what the buffer has.
    Allocate {
        /// One that is allocated, or an output without a bound.
        buffer: BufferId,
        /// How much.
        bytes: Dim,
        /// The node it came from.
        origin: String,
    },
    /// Gives back what an allocated buffer has.
    Release {
        /// The buffer.
        buffer: BufferId,
    },
    /// Runs one of two lists of steps.
    If {
        /// A `bool` element.
        condition: Argument,
        /// Run when it is nonzero.
        then: Vec<Step>,
        /// Run otherwise.
        otherwise: Vec<Step>,
    },
    /// Runs the body while the `bool` element, read before each iteration, is nonzero.
    While {
        /// A `bool` element.
        condition: Argument,
        /// Repeated.
        body: Vec<Step>,
    },
}

/// What sizes must be for the steps after it to stay inside their buffers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SizeCheck {
    /// One side.
    pub left: Dim,
    /// What it must be to the other.
    pub relation: Relation,
    /// Other side.
    pub right: Dim,
    /// What the left side is the size of.
    pub what: String,
    /// The node it came from.
    pub origin: String,
}

/// A parameter or result of the program.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Parameter {
    /// Name in the model.
    pub name: String,
    /// Element type of its buffer.
    pub dtype: DType,
    /// How the buffer encodes a tensor of a type that kernels do not know, if it does.
    pub encoding: Option<Encoding>,
    /// The caller's shape; data-dependent symbols may occur in results.
    pub shape: Vec<Dim>,
}

impl Parameter {
    /// A tensor of numbers.
    pub fn plain(name: impl Into<String>, dtype: DType, shape: Vec<Dim>) -> Parameter {
        Parameter { name: name.into(), dtype, encoding: None, shape }
    }

    /// Whether its elements may be more than any number that the sizes of the inputs tell.
    pub fn has_no_bound(&self, dims: &DimTable) -> bool {
        self.stored_shape().iter().any(|size| size.greatest(dims).is_none())
    }

    /// The shape of what the buffer holds.
    pub fn stored_shape(&self) -> Vec<Dim> {
        self.encoding.map_or_else(|| self.shape.clone(), |encoding| encoding.stored(&self.shape).shape)
    }
}

/// An output that is kept as an input of the next run, in a block of the caller's: row-major, of the output's shape but with
/// `capacity` elements along the axis that grows, the first of which are the input.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// The input, by its position.
    pub input: usize,
    /// The output, by its position.
    pub output: usize,
    /// The axis that grows and how far; `None` where input and output have the same shape.
    pub growth: Option<(usize, i64)>,
}

impl fmt::Display for State {
    /// `input 1 output 1 axis 2 up to 1024`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "input {} output {}", self.input, self.output)?;
        self.growth.map_or(Ok(()), |(axis, capacity)| write!(f, " axis {axis} up to {capacity}"))
    }
}

impl FromStr for State {
    type Err = String;

    fn from_str(text: &str) -> Result<State, String> {
        let words: Vec<&str> = text.split(' ').collect();
        let read = || match words.as_slice() {
            ["input", input, "output", output, growth @ ..] => {
                let growth = match growth {
                    [] => None,
                    ["axis", axis, "up", "to", capacity] => Some((axis.parse().ok()?, capacity.parse().ok()?)),
                    _ => return None,
                };
                Some(State { input: input.parse().ok()?, output: output.parse().ok()?, growth })
            }
            _ => None,
        };
        read().ok_or_else(|| format!("{text:?} is no state"))
    }
}

/// A compiled model before code generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The model's name, a C identifier.
    pub name: String,
    /// Symbols of the dimensions below; those of origin `Input` are bound by the signature.
    pub dims: DimTable,
    /// Inputs.
    pub inputs: Vec<Parameter>,
    /// Outputs.
    pub outputs: Vec<Parameter>,
    /// Outputs that are kept as inputs of the next run.
    pub states: Vec<State>,
    /// Weights in the order they are laid out.
    pub weights: Vec<Weight>,
    /// Buffers.
    pub buffers: Vec<Buffer>,
    /// Kernels; equal ones appear once.
    pub kernels: Vec<Kernel>,
    /// What `plan` checks of the sizes of the inputs, so before any step.
    pub checks: Vec<SizeCheck>,
    /// The host plan.
    pub steps: Vec<Step>,
    /// Bytes of workspace needed, over symbols of origin `Input` alone.
    pub workspace_bytes: Dim,
}

impl Program {
    /// A program over some dimensions that does nothing.
    pub fn new(name: impl Into<String>, dims: DimTable) -> Program {
        Program {
            name: name.into(),
            dims,
            inputs: vec![],
            outputs: vec![],
            states: vec![],
            weights: vec![],
            buffers: vec![],
            kernels: vec![],
            checks: vec![],
            steps: vec![],
            workspace_bytes: Dim::ZERO,
        }
    }

    /// Whether an output has no bound over the sizes of the inputs, so that the run asks for its memory.
    pub fn is_allocated_output(&self, output: usize) -> bool {
        self.outputs.get(output).is_some_and(|output| output.has_no_bound(&self.dims))
    }

    /// Whether a buffer's memory is asked for by a step.
    pub fn is_allocated(&self, buffer: BufferId) -> bool {
        match self.buffers.get(buffer.0 as usize).map(|buffer| &buffer.place) {
            Some(Place::Allocated(_)) => true,
            Some(Place::Output(output)) => self.is_allocated_output(*output),
            _ => false,
        }
    }

    /// How many allocations there are besides outputs.
    pub fn allocations(&self) -> usize {
        let number = |buffer: &Buffer| if let Place::Allocated(number) = buffer.place { number + 1 } else { 0 };
        self.buffers.iter().map(number).max().unwrap_or(0)
    }

    /// Whether a run asks the caller's allocator for memory.
    pub fn allocates(&self) -> bool {
        self.allocations() > 0 || (0..self.outputs.len()).any(|output| self.is_allocated_output(output))
    }

    /// The state whose block holds an input, if one does.
    pub fn state_of_input(&self, input: usize) -> Option<usize> {
        self.states.iter().position(|state| state.input == input)
    }

    /// The state whose block holds an output, if one does.
    pub fn state_of_output(&self, output: usize) -> Option<usize> {
        self.states.iter().position(|state| state.output == output)
    }

    /// The shape of a state's block.
    pub fn block_shape(&self, state: &State) -> Vec<Dim> {
        let mut shape = self.outputs.get(state.output).map_or_else(Vec::new, |output| output.shape.clone());
        if let Some((axis, capacity)) = state.growth
            && let Some(size) = shape.get_mut(axis)
        {
            *size = Dim::from(capacity);
        }
        shape
    }

    /// What the weights stand for in the program's text, to read it back.
    pub fn constants(&self) -> Constants {
        let mut constants = Constants::default();
        self.weights.iter().for_each(|weight| constants.add(weight.source.clone()));
        constants
    }

    /// Kernel launches in one run: of a branch those of the longer side, of a loop those of one round.
    pub fn launches(&self) -> u64 {
        launches(&self.steps)
    }
}

fn launches(steps: &[Step]) -> u64 {
    let of = |step: &Step| match step {
        Step::Run { .. } => 1,
        Step::Bind { .. } | Step::Check(_) | Step::Allocate { .. } | Step::Release { .. } => 0,
        Step::If { then, otherwise, .. } => launches(then).max(launches(otherwise)),
        Step::While { body, .. } => launches(body),
    };
    steps.iter().map(of).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn launches_are_counted_by_the_longer_side() {
        let run = || Step::Run {
            kernel: KernelId(0),
            arguments: vec![],
            params: vec![],
            extent: Dim::ONE,
            work: Dim::ONE,
            apart: false,
            origin: String::new(),
        };
        let condition = || Argument { buffer: BufferId(0), offset: Dim::ZERO };
        let branch = |then, otherwise| Step::If { condition: condition(), then, otherwise };
        assert_eq!(launches(&[run(), branch(vec![run()], vec![run(), run()]), run()]), 4);
        assert_eq!(launches(&[branch(vec![run(), run(), run()], vec![])]), 3);
        assert_eq!(launches(&[Step::While { condition: condition(), body: vec![run(), branch(vec![], vec![])] }]), 1);
    }
}

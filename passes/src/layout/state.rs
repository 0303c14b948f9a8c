//! States: outputs of the model that are kept as inputs of its next run, in blocks of memory that the caller owns.
//!
//! A block holds the input at first and the output at last. Where the output is the input with more behind it, along one
//! axis, both lie in the block from its beginning, at strides that leave room for the most there may be: then what is new
//! is written where it belongs, and nothing is copied (`concat.rs`). Any other output is computed elsewhere and copied when
//! nothing reads the input any more (`lower/movement.rs`).

use super::{LayOut, Storage};
use crate::error::LowerError;
use nnc_ir::op::Op;
use nnc_ir::{Dim, Graph, ValueId};
use nnc_kernels::plan::{Place, State};

/// An output as the state that an input is of, both by position.
///
/// # Errors
/// When they cannot be, with what to do.
pub fn state_of(graph: &Graph, input: usize, output: usize) -> Result<State, String> {
    let (Some(&taken), Some((_, given))) = (graph.inputs.get(input), graph.outputs.get(output)) else {
        return Err("there is no such input or output".to_owned());
    };
    let (taken, given) = (graph.ty(taken), graph.ty(*given));
    if taken.dtype != given.dtype || taken.rank() != given.rank() {
        let (x, y) = (taken.rank(), given.rank());
        return Err(format!(
            "the input is {} of {x} axes, the output {} of {y}; they must agree",
            taken.dtype, given.dtype
        ));
    }
    let different: Vec<usize> = (0..taken.rank()).filter(|&axis| taken.shape[axis] != given.shape[axis]).collect();
    let growth = match different.as_slice() {
        [] => None,
        &[axis] => {
            let size = &given.shape[axis];
            let most = size.bounds(&graph.dims).1;
            if most == i64::MAX || most < 0 {
                let text = graph.dims.display(size);
                return Err(format!("the size {text} has no bound; bound what it is made of with --dim NAME=0..N"));
            }
            Some((axis, most))
        }
        _ => return Err("input and output differ in several sizes; fix those that do not grow with --dim".to_owned()),
    };
    Ok(State { input, output, growth })
}

impl LayOut<'_> {
    /// Gives the inputs of states their places, and those outputs that only add to them.
    pub(super) fn place_states(&mut self, ties: &[(usize, usize)]) -> Result<(), LowerError> {
        for (number, &(input, output)) in ties.iter().enumerate() {
            self.origin = format!("state {number}");
            let state = state_of(self.graph, input, output).map_err(|problem| self.error(problem))?;
            let (taken, given) = (self.graph.inputs[input], self.graph.outputs[output].1);
            let mut shape = self.graph.shape(given).to_vec();
            if let Some((axis, capacity)) = state.growth {
                shape[axis] = Dim::from(capacity);
            }
            let name = self.graph.values[taken.index()].name.clone();
            let count = shape.iter().fold(Dim::ONE, |n, size| &n * size);
            let buffer = self.add(name, taken, &count, Place::State(number))?;
            let storage = Storage::dense(buffer, &shape);
            if self.appends(&state, taken, given) && self.is_free(given) {
                self.place(given, storage.clone());
            }
            self.place(taken, storage);
            self.layout.states.push(state);
        }
        Ok(())
    }

    /// Whether a state's output is its input with more behind it.
    fn appends(&self, state: &State, input: ValueId, output: ValueId) -> bool {
        let node = self.definition(output).filter(|_| self.regions.is_stored(output));
        node.is_some_and(|node| match node.op {
            Op::Concat { axis } => {
                state.growth.is_some_and(|growth| growth.0 == axis) && node.inputs.first() == Some(&input)
            }
            _ => false,
        })
    }
}

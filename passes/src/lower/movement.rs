//! Concatenation and outputs that are other values: copies into place.

use super::{LowerError, Lowering};
use crate::layout::{Storage, concat_slice};
use nnc_ir::{Dim, Node};
use nnc_kernels::plan::Place;

impl Lowering<'_> {
    /// Copies every operand into its slice of the result. Operands that could be computed there were given that
    /// slice as their storage when they were lowered.
    pub(super) fn lower_concat(&mut self, node: &Node, axis: usize) -> Result<(), LowerError> {
        let output = node.outputs[0];
        let storage = self.storage(output)?;
        let dtype = self.graph.ty(output).dtype;
        let mut start = Dim::from(0);
        for (position, &input) in node.inputs.iter().enumerate() {
            let slice = concat_slice(&storage, axis, &start);
            start = start + &self.graph.shape(input)[axis];
            if self.plan.layout.is_placed(output, position) {
                continue;
            }
            let order: Vec<usize> = (0..self.graph.ty(input).rank()).collect();
            self.copying(input, &order, dtype, &slice)?.finish_apart()?;
        }
        Ok(())
    }

    /// Outputs that are an input, a constant, or another output's value are copied at the end.
    pub(super) fn finish_outputs(&mut self) -> Result<(), LowerError> {
        for (i, (name, value)) in self.graph.outputs.iter().enumerate() {
            let lies = self.plan.layout.storage(*value);
            let written = lies.is_some_and(|s| self.program.buffers[s.buffer.0 as usize].place == Place::Output(i));
            if written {
                continue;
            }
            self.origin = format!("output {name:?}");
            let ty = self.graph.ty(*value).clone();
            let elements = self.upper_bound(&ty.count())?;
            let buffer = self.add_buffer(name.clone(), ty.dtype, &elements, Place::Output(i))?;
            let order: Vec<usize> = (0..ty.rank()).collect();
            self.copy_into(*value, &order, ty.dtype, &Storage::dense(buffer, &ty.shape))?;
        }
        Ok(())
    }
}

//! Concatenation and outputs that are other values: copies into place.

use super::storage::Storage;
use super::{LowerError, Lowering};
use nnc_ir::op::Op;
use nnc_ir::{Dim, Node, SymbolOrigin, ValueId};

impl Lowering<'_> {
    /// Gives values that a concatenation joins their slice of its memory, so that their kernels write there and
    /// nothing is copied. Outer concatenations come first: an inner one may be a slice itself.
    pub(super) fn place_concatenated(&mut self) -> Result<(), LowerError> {
        for node in self.graph.nodes.iter().rev() {
            let Op::Concat { axis } = node.op else { continue };
            let output = node.outputs[0];
            self.origin.clone_from(&node.origin);
            let free = |cx: &Self, value: ValueId| {
                let produced = cx.definition(value).is_some_and(|n| !matches!(n.op, Op::Constant(_)));
                produced
                    && cx.regions.is_stored(value)
                    && cx.storage[value.index()].is_none()
                    && !cx.halo.contains_key(&value)
            };
            if !node.inputs.iter().any(|&v| free(self, v)) {
                continue;
            }
            let storage = self.storage_to_write(output)?;
            let mut start = Dim::from(0);
            for &input in &node.inputs {
                let slice = concat_slice(&storage, axis, &start);
                // A kernel may run before a size that only a later node knows.
                let known = slice.strides.iter().chain([&slice.offset]).all(|d| self.known_from_inputs(d));
                if free(self, input) && known {
                    self.storage[input.index()] = Some(slice);
                }
                start = start + &self.graph.shape(input)[axis];
            }
        }
        Ok(())
    }

    /// Whether a dimension mentions symbols of the model's inputs alone.
    fn known_from_inputs(&self, dim: &Dim) -> bool {
        dim.symbols().into_iter().all(|s| self.graph.dims.get(s).origin == SymbolOrigin::Input)
    }

    /// Copies every operand into its slice of the result. Operands that could be computed there were given that
    /// slice as their storage when they were lowered.
    pub(super) fn lower_concat(&mut self, node: &Node, axis: usize) -> Result<(), LowerError> {
        let output = node.outputs[0];
        let storage = self.storage_to_write(output)?;
        let dtype = self.graph.ty(output).dtype;
        let mut start = Dim::from(0);
        for &input in &node.inputs {
            let slice = concat_slice(&storage, axis, &start);
            start = start + &self.graph.shape(input)[axis];
            if self.storage[input.index()].as_ref() == Some(&slice) {
                continue;
            }
            let order: Vec<usize> = (0..self.graph.ty(input).rank()).collect();
            self.copying(input, &order, dtype, &slice)?.finish_apart()?;
        }
        Ok(())
    }

    /// Outputs that are an input, a constant, or another output's value are copied at the end.
    pub(super) fn finish_outputs(&mut self) -> Result<(), LowerError> {
        use nnc_kernels::plan::Place;
        for (i, (name, value)) in self.graph.outputs.iter().enumerate() {
            let written = self.storage[value.index()]
                .as_ref()
                .is_some_and(|s| self.program.buffers[s.buffer.0 as usize].place == Place::Output(i));
            if written {
                continue;
            }
            self.origin = format!("output {name:?}");
            let ty = self.graph.ty(*value).clone();
            let buffer = self.add_output(name, *value, i)?;
            let order: Vec<usize> = (0..ty.rank()).collect();
            self.copy_into(*value, &order, ty.dtype, &Storage::dense(buffer, &ty.shape))?;
        }
        Ok(())
    }
}

/// The part of a concatenation's memory that begins at `start` along `axis`.
pub(crate) fn concat_slice(storage: &Storage, axis: usize, start: &Dim) -> Storage {
    Storage {
        buffer: storage.buffer,
        offset: &storage.offset + &(start * &storage.strides[axis]),
        strides: storage.strides.clone(),
    }
}

//! Concatenation, outputs that are other values, and states: copies into place.

use super::builder::KernelBuilder;
use super::{LowerError, Lowering};
use crate::layout::{Storage, concat_slice};
use nnc_ir::{Dim, Node, ValueId};
use nnc_kernels::kernel::{AxisKind, Expr, Stmt};
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
            let kept = self.plan.layout.states.iter().any(|state| state.output == i);
            if kept || self.place_of(*value) == Some(&Place::Output(i)) {
                continue;
            }
            self.origin = format!("output {name:?}");
            let ty = self.graph.ty(*value).clone();
            let elements = ty.count().greatest(&self.graph.dims).unwrap_or_else(|| ty.count());
            let buffer = self.add_buffer(name.clone(), ty.dtype, &elements, Place::Output(i))?;
            let order: Vec<usize> = (0..ty.rank()).collect();
            self.copy_into(*value, &order, ty.dtype, &Storage::dense(buffer, &ty.shape))?;
        }
        self.finish_states()
    }

    /// Copies outputs that are kept as states to their blocks, unless they were written there. It comes last, as what the
    /// blocks hold is read until then: what would be made of it then is put aside first.
    fn finish_states(&mut self) -> Result<(), LowerError> {
        let layout = self.plan.layout;
        let mut aside = vec![];
        for (number, state) in layout.states.iter().enumerate() {
            let (name, value) = &self.graph.outputs[state.output];
            self.origin = format!("output {name:?}");
            let is_changed = |other: &usize| {
                let output = self.graph.outputs[layout.states[*other].output].1;
                self.place_of(output) != Some(&Place::State(*other))
            };
            let block = match self.place_of(*value) {
                Some(Place::State(own)) if *own == number => continue,
                Some(Place::State(other)) => !is_changed(other),
                Some(_) => true,
                None => self.plan.regions.is_constant(self.graph, *value),
            };
            let ty = self.graph.ty(*value).clone();
            let order: Vec<usize> = (0..ty.rank()).collect();
            let source = match block {
                true => None,
                false => {
                    let buffer = self.add_workspace(format!("{value}_kept"), ty.dtype, &ty.count())?;
                    let storage = Storage::dense(buffer, &ty.shape);
                    self.copy_into(*value, &order, ty.dtype, &storage)?;
                    Some(storage)
                }
            };
            aside.push((number, *value, source));
        }
        for (number, value, source) in aside {
            let (ty, order) = (self.graph.ty(value).clone(), (0..self.graph.ty(value).rank()).collect::<Vec<usize>>());
            let input = self.graph.inputs[layout.states[number].input];
            let block = self.storage(input)?;
            match source {
                None => self.copy_into(value, &order, ty.dtype, &block)?,
                Some(source) => self.move_elements(&ty.shape, &source, &block)?,
            }
        }
        Ok(())
    }

    /// Copies a tensor from memory to memory.
    fn move_elements(&mut self, shape: &[Dim], from: &Storage, to: &Storage) -> Result<(), LowerError> {
        let mut b = KernelBuilder::new(self, "copy");
        let (index, opened) = b.open_loops(shape, AxisKind::Vector);
        let source = b.buffer(from.buffer, &from.offset, false);
        let element = b.element(&from.strides, &index);
        let loaded = Expr::Load(source, element);
        let target = b.buffer(to.buffer, &to.offset, true);
        let element = b.element(&to.strides, &index);
        b.push(Stmt::Store(target, element, loaded));
        for _ in 0..opened {
            b.close_loop();
        }
        b.finish()
    }

    /// The place of the buffer that a value lies in.
    fn place_of(&self, value: ValueId) -> Option<&Place> {
        let storage = self.plan.layout.storage(value)?;
        self.program.buffers.get(storage.buffer.0 as usize).map(|buffer| &buffer.place)
    }
}

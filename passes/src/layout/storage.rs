//! Where stored values lie: buffer, offset and strides.

use super::LayOut;
use crate::error::LowerError;
use nnc_ir::op::Op;
use nnc_ir::{Dim, ValueId};
use nnc_kernels::plan::{BufferId, Place};

/// Memory of a value: element `index` lies at `offset + sum of index[i] * strides[i]` elements of the buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Storage {
    /// The buffer.
    pub buffer: BufferId,
    /// First element.
    pub offset: Dim,
    /// Elements between neighbours, per axis.
    pub strides: Vec<Dim>,
}

impl Storage {
    /// Row-major storage of a whole buffer.
    pub fn dense(buffer: BufferId, shape: &[Dim]) -> Storage {
        Storage { buffer, offset: Dim::from(0), strides: dense_strides(shape) }
    }

    /// The element at an index.
    pub fn at(&self, index: &[Dim]) -> Dim {
        index.iter().zip(&self.strides).fold(self.offset.clone(), |sum, (i, s)| sum + i * s)
    }
}

/// Row-major strides.
pub fn dense_strides(shape: &[Dim]) -> Vec<Dim> {
    let mut strides = vec![Dim::from(1); shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = &strides[axis] * &shape[axis];
    }
    strides
}

/// The strides of memory in which the axes lie in `order`, the outermost first.
pub(crate) fn ordered_strides(shape: &[Dim], order: &[usize]) -> Vec<Dim> {
    let permuted: Vec<Dim> = order.iter().map(|&a| shape[a].clone()).collect();
    let mut strides = vec![Dim::ZERO; shape.len()];
    for (&axis, stride) in order.iter().zip(dense_strides(&permuted)) {
        strides[axis] = stride;
    }
    strides
}

impl LayOut<'_> {
    /// Gives inputs and outputs of the model their places, but for those of states.
    pub(super) fn place_parameters(&mut self) -> Result<(), LowerError> {
        for (i, &input) in self.graph.inputs.iter().enumerate() {
            if !self.is_free(input) {
                continue;
            }
            let (count, shape) = (self.graph.ty(input).count(), self.graph.shape(input));
            let name = self.graph.values[input.index()].name.clone();
            self.origin = format!("input {i}");
            let buffer = self.add(name, input, &count, Place::Input(i))?;
            self.place(input, Storage::dense(buffer, shape));
        }
        for (i, (name, output)) in self.graph.outputs.iter().enumerate() {
            if !self.is_free(*output) || self.layout.states.iter().any(|state| state.output == i) {
                continue;
            }
            self.origin = format!("output {i}");
            let count = self.graph.ty(*output).count();
            let elements = count.greatest(&self.graph.dims).unwrap_or(count);
            let buffer = self.add(name.clone(), *output, &elements, Place::Output(i))?;
            self.place(*output, Storage::dense(buffer, self.graph.shape(*output)));
            self.place_behind_reshapes(*output, buffer);
        }
        Ok(())
    }

    /// Gives inputs of an inner graph their places, and results those where they are wanted as far as they are free.
    pub(super) fn place_inside(&mut self, given: &[(ValueId, Storage)], wanted: &[(ValueId, Storage)]) {
        for (value, storage) in given {
            self.place(*value, storage.clone());
        }
        for (value, storage) in wanted {
            if self.is_free(*value) {
                self.place(*value, storage.clone());
            }
        }
    }

    /// A stored value that reaches an output through reshapes alone is written there at once.
    fn place_behind_reshapes(&mut self, output: ValueId, buffer: BufferId) {
        let mut value = output;
        while let Some(node) = self.definition(value)
            && matches!(node.op, Op::Reshape { .. })
        {
            let operand = node.inputs[0];
            if !self.is_free(operand) {
                return;
            }
            value = operand;
            if self.regions.is_stored(value) {
                // Memory is asked for by the size of the output, which may be known after what is written there.
                let (count, dims) = (self.graph.ty(value).count(), &self.graph.dims);
                if count != self.graph.ty(output).count() && count.greatest(dims).is_none() {
                    return;
                }
                self.place(value, Storage::dense(buffer, self.graph.shape(value)));
                let mut alias = output;
                while alias != value {
                    self.layout.aliases.insert(alias);
                    let Some(node) = self.definition(alias) else { return };
                    alias = node.inputs[0];
                }
                return;
            }
        }
    }

    /// Gives the results of regions that have none yet their places.
    pub(super) fn place_results(&mut self) -> Result<(), LowerError> {
        let regions = self.regions;
        for region in &regions.list {
            let last = region.results.first().and_then(|&root| self.definition(root));
            if let Some(node) = last {
                self.origin.clone_from(&node.origin);
            }
            for &value in &region.results {
                if self.is_free(value) {
                    let storage = self.storage_of_result(value)?;
                    self.place(value, storage);
                }
            }
        }
        Ok(())
    }

    /// Memory of its own for a value that a kernel writes.
    pub(super) fn storage_of_result(&mut self, value: ValueId) -> Result<Storage, LowerError> {
        if let Some(storage) = &self.layout.storage[value.index()] {
            return Ok(storage.clone());
        }
        if let Some(halo) = self.layout.halo.get(&value).cloned() {
            return self.storage_within_border(value, &halo);
        }
        let ty = self.graph.ty(value);
        let strides = match self.is_sized_by_run(value) {
            true => dense_strides(&ty.shape),
            false => ordered_strides(&ty.shape, &self.preferred_order(value)),
        };
        let buffer = self.add_workspace(value, &ty.count())?;
        Ok(Storage { buffer, offset: Dim::ZERO, strides })
    }

    /// Whether a value's size is known only when the operation that yields it has run.
    pub(super) fn is_sized_by_run(&self, value: ValueId) -> bool {
        self.definition(value).is_some_and(|node| match &node.op {
            Op::If { varying, .. } => varying.iter().any(|&(result, _)| node.outputs[result] == value),
            Op::Loop { carried, varying, .. } => {
                let varies = varying.iter().any(|&(result, _)| node.outputs[result] == value);
                varies || node.outputs[*carried..].contains(&value)
            }
            _ => false,
        })
    }

    /// The axis order, outermost first, in which to store a value: the order its only reader sees through transposes
    /// and reshapes, so that the reader finds it dense.
    fn preferred_order(&self, value: ValueId) -> Vec<usize> {
        let identity: Vec<usize> = (0..self.graph.ty(value).rank()).collect();
        if self.regions.uses(value) != 1 {
            return identity;
        }
        let user = self.users[value.index()].map(|id| &self.graph.nodes[id.index()]);
        match user.map(|n| &n.op) {
            Some(Op::Transpose { perm }) => {
                let transposed = user.map_or(value, |n| n.outputs[0]);
                // Only a transpose that keeps the last axis, or feeds a reshape, gains: vectors stay contiguous.
                if perm.last() == Some(&(perm.len() - 1)) && !self.regions.is_stored(transposed) {
                    perm.clone()
                } else {
                    identity
                }
            }
            _ => identity,
        }
    }
}

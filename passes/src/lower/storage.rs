//! Where stored values lie: buffer, offset and strides.

use super::{LowerError, Lowering};
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

impl Lowering<'_> {
    /// Gives inputs and outputs their places.
    pub(super) fn place_parameters(&mut self) -> Result<(), LowerError> {
        for (i, &input) in self.graph.inputs.iter().enumerate() {
            let ty = self.graph.ty(input);
            let name = self.graph.values[input.index()].name.clone();
            self.origin = format!("input {i}");
            let buffer = self.add_buffer(name, ty.dtype, &ty.count(), Place::Input(i));
            self.storage[input.index()] = Some(Storage::dense(buffer, &ty.shape));
        }
        for (i, (name, output)) in self.graph.outputs.iter().enumerate() {
            if self.storage[output.index()].is_some() || self.is_constant(*output) {
                continue;
            }
            self.origin = format!("output {i}");
            let buffer = self.add_output(name, *output, i)?;
            self.storage[output.index()] = Some(Storage::dense(buffer, self.graph.shape(*output)));
            self.place_behind_reshapes(*output, buffer);
        }
        Ok(())
    }

    /// The caller's memory for an output, whose size has to be known before the run.
    pub(super) fn add_output(&mut self, name: &str, value: ValueId, number: usize) -> Result<BufferId, LowerError> {
        let ty = self.graph.ty(value);
        let elements = self.upper_bound(&ty.count())?;
        Ok(self.add_buffer(name.to_owned(), ty.dtype, &elements, Place::Output(number)))
    }

    /// A stored value that reaches an output through reshapes alone is written there at once.
    fn place_behind_reshapes(&mut self, output: ValueId, buffer: BufferId) {
        let mut value = output;
        while let Some(node) = self.definition(value)
            && matches!(node.op, Op::Reshape { .. })
        {
            let operand = node.inputs[0];
            if self.storage[operand.index()].is_some() || self.is_constant(operand) {
                return;
            }
            value = operand;
            if self.regions.is_stored(value) {
                self.storage[value.index()] = Some(Storage::dense(buffer, self.graph.shape(value)));
                let mut alias = output;
                while alias != value {
                    self.aliases.insert(alias);
                    let Some(node) = self.definition(alias) else { return };
                    alias = node.inputs[0];
                }
                return;
            }
        }
    }

    pub(super) fn is_constant(&self, value: ValueId) -> bool {
        self.definition(value).is_some_and(|n| matches!(n.op, Op::Constant(_)))
    }

    /// Whether the value's memory is written as another value's.
    pub(super) fn is_alias(&self, value: ValueId) -> bool {
        self.aliases.contains(&value)
    }

    /// The storage of a value that a kernel is about to write, made if it has none.
    pub(super) fn storage_to_write(&mut self, value: ValueId) -> Result<Storage, LowerError> {
        if let Some(storage) = &self.storage[value.index()] {
            return Ok(storage.clone());
        }
        let ty = self.graph.ty(value).clone();
        let storage = match self.halo.get(&value).cloned() {
            Some(halo) => self.storage_with_halo(value, &halo)?,
            None => {
                let order = self.preferred_order(value);
                let permuted: Vec<Dim> = order.iter().map(|&a| ty.shape[a].clone()).collect();
                let mut strides = vec![Dim::from(0); ty.rank()];
                for (axis, stride) in order.iter().zip(dense_strides(&permuted)) {
                    strides[*axis] = stride;
                }
                let buffer = self.add_workspace(format!("{value}"), ty.dtype, &ty.count())?;
                Storage { buffer, offset: Dim::from(0), strides }
            }
        };
        self.storage[value.index()] = Some(storage.clone());
        Ok(storage)
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

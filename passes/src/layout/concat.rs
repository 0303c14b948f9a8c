//! Operands of concatenations that lie where the result does.

use super::{LayOut, Storage};
use crate::error::LowerError;
use nnc_ir::op::Op;
use nnc_ir::{Dim, SymbolOrigin, ValueId};

/// A value in memory behind views, and for each of its axes the one that it is seen as; none for some of one element.
struct Base {
    value: ValueId,
    axes: Vec<Option<usize>>,
}

impl LayOut<'_> {
    /// Gives values that a concatenation joins their slice of its memory, so that their kernels write there and
    /// nothing is copied. Outer concatenations come first: an inner one may be a slice itself.
    pub(super) fn place_concatenated(&mut self) -> Result<(), LowerError> {
        for node in self.graph.nodes.iter().rev() {
            let Op::Concat { axis } = node.op else { continue };
            let output = node.outputs[0];
            self.origin.clone_from(&node.origin);
            // What is stored behind each operand, if its kernel may write into the slice.
            let places: Vec<Option<Base>> = node.inputs.iter().map(|&v| self.behind_views(v)).collect();
            if places.iter().all(Option::is_none) && self.is_free(output) {
                continue;
            }
            // Memory without a bound is asked for when all sizes are known, which may be after an operand is computed.
            if self.graph.ty(output).count().greatest(&self.graph.dims).is_none() {
                continue;
            }
            let storage = self.storage_of_result(output)?;
            self.place(output, storage.clone());
            let mut start = Dim::from(0);
            for (position, (&input, place)) in node.inputs.iter().zip(places).enumerate() {
                let slice = concat_slice(&storage, axis, &start);
                start = start + &self.graph.shape(input)[axis];
                if self.layout.storage(input) == Some(&slice) {
                    self.layout.placed.insert((output, position));
                    continue;
                }
                let Storage { buffer, offset, strides } = slice;
                // A kernel may run before a size that only a later node knows.
                let known = strides.iter().chain([&offset]).all(|d| self.known_from_inputs(d));
                if let Some(base) = place.filter(|base| known && self.is_free(base.value)) {
                    let of = |axis: &Option<usize>| axis.map_or(Dim::ZERO, |axis| strides[axis].clone());
                    let strides = base.axes.iter().map(of).collect();
                    self.place(base.value, Storage { buffer, offset, strides });
                    self.layout.placed.insert((output, position));
                }
            }
        }
        Ok(())
    }

    /// The value in memory that is seen as `value` through views alone, if nothing else reads it and its place is not
    /// decided yet.
    fn behind_views(&self, value: ValueId) -> Option<Base> {
        let mut base = Base { value, axes: (0..self.graph.shape(value).len()).map(Some).collect() };
        while !self.regions.is_stored(base.value) {
            let node = self.definition(base.value)?;
            let operand = *node.inputs.first()?;
            base.axes = match &node.op {
                Op::Transpose { perm } => {
                    let mut axes = vec![None; perm.len()];
                    perm.iter().zip(&base.axes).for_each(|(&axis, &seen)| axes[axis] = seen);
                    axes
                }
                Op::Reshape { .. } => {
                    same_but_units(self.graph.shape(operand), self.graph.shape(base.value), &base.axes)?
                }
                _ => return None,
            };
            base.value = operand;
            if self.regions.uses(operand) != 1 {
                return None;
            }
        }
        let free = self.definition(base.value).is_some()
            && self.is_free(base.value)
            && !self.layout.halo.contains_key(&base.value);
        free.then_some(base)
    }

    /// Whether a dimension mentions symbols of the model's inputs alone.
    fn known_from_inputs(&self, dim: &Dim) -> bool {
        dim.symbols().into_iter().all(|s| self.graph.dims.get(s).origin == SymbolOrigin::Input)
    }
}

/// The axes of `shape` by those of `other`, which differs from it in axes of one element alone.
fn same_but_units(shape: &[Dim], other: &[Dim], axes: &[Option<usize>]) -> Option<Vec<Option<usize>>> {
    let mut rest = other.iter().zip(axes).filter(|(size, _)| !size.is_const(1));
    let mut found = vec![];
    for size in shape {
        found.push(match size.is_const(1) {
            true => None,
            false => *rest.next().filter(|(other, _)| *other == size)?.1,
        });
    }
    if rest.next().is_some() { None } else { Some(found) }
}

/// The part of a concatenation's memory that begins at `start` along `axis`.
pub(crate) fn concat_slice(storage: &Storage, axis: usize, start: &Dim) -> Storage {
    Storage {
        buffer: storage.buffer,
        offset: &storage.offset + &(start * &storage.strides[axis]),
        strides: storage.strides.clone(),
    }
}

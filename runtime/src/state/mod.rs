//! States: outputs that a model keeps as inputs of its next run, in blocks of memory that stay where they are.
//!
//! A block is a row-major tensor with room along the axis that grows; what lies in it is the first part of each row along
//! that axis. A run adds behind it, so nothing of it is copied. Whoever runs a model without a [`State`] gives and gets whole
//! tensors, which are then copied into blocks and out of them.
//!
//! Invariant: a block has room for its row count, and a tensor in it no more along its axis than the capacity.

mod block;

use std::ffi::c_void;
use std::sync::Arc;

use block::Rows;
pub use block::StateInfo;
use nnc_abi::Status;

use crate::buffer::Buffer;
use crate::check;
use crate::signature::Signature;
use crate::{Error, Model, Result, Tensor, TensorRef};

impl Signature {
    /// The number of the state that holds an input, if one does.
    pub fn state_of_input(&self, input: usize) -> Option<usize> {
        self.states.iter().position(|state| state.input == input)
    }

    /// The number of the state that holds an output, if one does.
    pub fn state_of_output(&self, output: usize) -> Option<usize> {
        self.states.iter().position(|state| state.output == output)
    }

    /// How the tensor of a state lies in its block; an error that names it if it does not fit.
    pub(crate) fn rows_of(&self, info: &StateInfo, dims: &[i64]) -> Result<Rows> {
        let input = &self.inputs[info.input];
        Rows::of(info, input.dtype, dims).ok_or_else(|| {
            let most =
                info.growth.map_or_else(String::new, |(axis, most)| format!(" (at most {most} along axis {axis})"));
            let message = format!("state `{}`: {dims:?} does not fit its block{most}", input.name);
            Error::new(Status::SizeOverflow, message)
        })
    }
}

/// The states of one sequence of runs, such as the keys and values of a text so far. Any number may exist for a model.
#[derive(Debug)]
pub struct State {
    model: Model,
    blocks: Vec<Buffer>,
    /// The dimensions of each as the next run's input.
    dims: Vec<Vec<i64>>,
}

impl State {
    /// States whose inputs have these dimensions, one list for each of [`Signature::states`], and hold zeros; those that
    /// grow often begin with a size of 0.
    pub fn new(model: &Model, dims: &[&[i64]]) -> Result<State> {
        let signature = model.signature();
        if dims.len() != signature.states.len() {
            let message =
                format!("the model has {} states, dimensions of {} were given", signature.states.len(), dims.len());
            return Err(Error::new(Status::BadArgument, message));
        }
        let mut state = State { model: model.clone(), blocks: vec![], dims: vec![] };
        for (info, &dims) in signature.states.iter().zip(dims) {
            let input = &signature.inputs[info.input];
            if dims.len() != input.dims.len() {
                let message = format!("state `{}`: {dims:?} are no dimensions of {input}", input.name);
                return Err(Error::new(Status::BadRank, message));
            }
            let rows = signature.rows_of(info, dims)?;
            let block = Buffer::new(rows.block_bytes() as u64, &input.name)?;
            // SAFETY: the whole of what was just allocated.
            unsafe { block.pointer().write_bytes(0, rows.block_bytes()) };
            state.blocks.push(block);
            state.dims.push(dims.to_vec());
        }
        Ok(state)
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Bytes of memory held.
    pub fn bytes(&self) -> u64 {
        self.blocks.iter().map(|block| block.capacity() as u64).sum()
    }

    /// The dimensions of a state as the next run's input. Panics if `index` is out of range.
    pub fn dims(&self, index: usize) -> &[i64] {
        &self.dims[index]
    }

    /// Keeps the first `length` elements along the axis that grows, and forgets those behind.
    pub fn truncate(&mut self, index: usize, length: i64) -> Result<()> {
        let info = self.info(index)?;
        let axis = info.growth.map(|growth| growth.0);
        match axis.and_then(|axis| self.dims[index].get_mut(axis)) {
            Some(size) if (0..=*size).contains(&length) => {
                *size = length;
                Ok(())
            }
            _ => Err(Error::new(Status::BadArgument, format!("state {index} has no first {length} elements to keep"))),
        }
    }

    /// What a state holds, as a tensor of its own.
    pub fn read(&self, index: usize) -> Result<Tensor> {
        let (info, signature) = (self.info(index)?, self.model.signature());
        let (input, dims) = (&signature.inputs[info.input], &self.dims[index]);
        let rows = signature.rows_of(info, dims)?;
        let bytes = rows.count * rows.used;
        let buffer = Buffer::new(bytes as u64, &input.name)?;
        // SAFETY: both have their sizes, the block has been written since `new`, and what is copied is then written.
        unsafe {
            rows.bring_out(self.blocks[index].pointer(), buffer.pointer());
            Ok(Tensor::from_buffer(input.dtype, dims.clone(), buffer, bytes))
        }
    }

    /// Puts a tensor into a state in place of what it holds. Only the size along the axis that grows may be another.
    pub fn write(&mut self, index: usize, tensor: TensorRef<'_>) -> Result<()> {
        let (info, signature) = (self.info(index)?, self.model.signature());
        let input = &signature.inputs[info.input];
        let grows = |axis: usize| info.growth.is_some_and(|growth| growth.0 == axis);
        let mut sizes = tensor.dims.iter().zip(&self.dims[index]).enumerate();
        let same = tensor.dims.len() == self.dims[index].len() && sizes.all(|(axis, (x, y))| grows(axis) || x == y);
        if tensor.dtype != input.dtype || !same || check::bytes_of(input, tensor.dims) != Some(tensor.data.len() as u64)
        {
            let message = format!("state `{}`: {tensor:?} is none of {input}, now {:?}", input.name, self.dims[index]);
            return Err(Error::new(Status::BadShape, message));
        }
        let rows = signature.rows_of(info, tensor.dims)?;
        // SAFETY: the tensor has its bytes, and the block those of its rows, which depend on the other axes alone.
        unsafe { rows.bring_in(tensor.data.as_ptr(), self.blocks[index].pointer()) };
        self.dims[index].copy_from_slice(tensor.dims);
        Ok(())
    }

    pub(crate) fn info(&self, index: usize) -> Result<&StateInfo> {
        let states = &self.model.signature().states;
        states.get(index).ok_or_else(|| {
            Error::new(Status::BadArgument, format!("state {index}: the model has {} states", states.len()))
        })
    }

    /// An error unless the states are those of this model.
    pub(crate) fn check_model(&self, model: &crate::model::Inner) -> Result<()> {
        if std::ptr::eq(Arc::as_ptr(&self.model.inner), model) {
            return Ok(());
        }
        let message =
            format!("the state is one of another model than `{}`, or of another handle of it", model.signature.name);
        Err(Error::new(Status::BadArgument, message))
    }

    /// Where the blocks are.
    pub(crate) fn pointers(&self) -> impl Iterator<Item = *mut c_void> + '_ {
        self.blocks.iter().map(|block| block.pointer().cast())
    }

    /// Notes the dimensions that a run gave a state.
    pub(crate) fn set_dims(&mut self, index: usize, dims: &[i64]) {
        self.dims[index].copy_from_slice(dims);
    }
}

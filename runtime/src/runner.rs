//! Running a model: buffers that are kept, sizes that are planned once per set of dimensions.

use std::ffi::c_void;

use nnc_abi::{Fault, RunArgs, RunContext, Status};

use crate::buffer::Buffer;
use crate::model::Inner;
use crate::signature::Signature;
use crate::{Error, Model, Pool, Result, Tensor, TensorRef, check, pool};

/// The threads of a run.
#[derive(Clone, Debug, Default)]
pub enum Threads {
    /// The calling thread only.
    Serial,
    /// The process's shared pool, [`Pool::shared`].
    #[default]
    Shared,
    /// A pool of the caller's.
    Pool(Pool),
}

/// Runs one model again and again in buffers of its own; once the dimensions repeat, without allocating.
#[derive(Debug)]
pub struct Runner {
    model: Model,
    threads: Threads,
    buffers: Buffers,
}

impl Runner {
    /// A runner whose first run allocates.
    pub fn new(model: Model, threads: Threads) -> Runner {
        Runner { model, threads, buffers: Buffers::default() }
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Runs the model; [`Self::output`] gives the results until the next run.
    pub fn run(&mut self, inputs: &[TensorRef<'_>]) -> Result<()> {
        self.buffers.run(&self.model.inner, inputs, &self.threads)
    }

    /// Runs the model into the caller's memory, which must be as large as [`Model::plan`] says; [`Self::output_dims`]
    /// gives the actual dimensions.
    pub fn run_into(&mut self, inputs: &[TensorRef<'_>], outputs: &mut [&mut [u8]]) -> Result<()> {
        self.buffers.run_into(&self.model.inner, inputs, outputs, &self.threads)
    }

    /// The dimensions of an output of the last run. Panics if there was none or `index` is out of range.
    pub fn output_dims(&self, index: usize) -> &[i64] {
        self.buffers.dims(&self.model.inner.signature, index)
    }

    /// An output of the last [`Self::run`]. Panics if there was none or `index` is out of range.
    pub fn output(&self, index: usize) -> TensorRef<'_> {
        assert!(self.buffers.filled, "no outputs: the last run failed, or wrote into the caller's memory");
        let info = &self.model.inner.signature.outputs[index];
        // SAFETY: the last run succeeded, so the model wrote this many bytes.
        let data = unsafe { self.buffers.outputs[index].bytes(self.buffers.lengths[index]) };
        TensorRef { dtype: info.dtype, dims: self.output_dims(index), data }
    }

    /// Moves the outputs of the last [`Self::run`] out; the next run allocates new ones.
    pub fn take_outputs(&mut self) -> Vec<Tensor> {
        self.buffers.take_outputs(&self.model.inner.signature)
    }
}

/// The memory of a runner, without the model, so that a model can keep it for reuse.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    workspace: Buffer,
    workspace_bytes: u64,
    outputs: Vec<Buffer>,
    /// Bytes of each output: planned before a run, actual after it.
    lengths: Vec<usize>,
    /// The dimensions the plan below was made for; valid when `planned`.
    planned_dims: Vec<i64>,
    planned: bool,
    bounds: Vec<i64>,
    output_dims: Vec<i64>,
    /// The last run succeeded and wrote `outputs`.
    filled: bool,
    input_dims: Vec<i64>,
    symbols: Vec<i64>,
    pointers: Pointers,
}

/// The arrays of pointers of one call; meaningless between calls.
#[derive(Debug, Default)]
struct Pointers {
    inputs: Vec<*const c_void>,
    outputs: Vec<*mut c_void>,
}

// SAFETY: the pointers are written before each call and never read after it.
unsafe impl Send for Pointers {}
// SAFETY: as above; a shared reference gives no access.
unsafe impl Sync for Pointers {}

impl Buffers {
    /// Bytes of memory held.
    pub(crate) fn bytes(&self) -> u64 {
        let outputs: usize = self.outputs.iter().map(Buffer::capacity).sum();
        (self.workspace.capacity() + outputs) as u64
    }

    /// Runs into buffers of its own.
    pub(crate) fn run(&mut self, model: &Inner, inputs: &[TensorRef<'_>], threads: &Threads) -> Result<()> {
        self.prepare(model, inputs)?;
        self.outputs.resize_with(model.signature.outputs.len(), Buffer::empty);
        for ((buffer, &bytes), info) in self.outputs.iter_mut().zip(&self.lengths).zip(&model.signature.outputs) {
            buffer.reserve(bytes as u64, &info.name)?;
        }
        self.pointers.outputs.clear();
        self.pointers.outputs.extend(self.outputs.iter().map(|b| b.pointer().cast::<c_void>()));
        self.call(model, threads)?;
        self.filled = true;
        Ok(())
    }

    /// Runs into the caller's memory.
    pub(crate) fn run_into(
        &mut self,
        model: &Inner,
        inputs: &[TensorRef<'_>],
        outputs: &mut [&mut [u8]],
        threads: &Threads,
    ) -> Result<()> {
        self.prepare(model, inputs)?;
        if outputs.len() != self.lengths.len() {
            let message = format!("the model has {} outputs, {} were given", self.lengths.len(), outputs.len());
            return Err(Error::new(Status::BadArgument, message));
        }
        for ((given, &needed), info) in outputs.iter().zip(&self.lengths).zip(&model.signature.outputs) {
            if given.len() < needed {
                let message = format!("output `{}`: {needed} bytes needed, {} given", info.name, given.len());
                return Err(Error::new(Status::BufferTooSmall, message));
            }
        }
        self.pointers.outputs.clear();
        self.pointers.outputs.extend(outputs.iter_mut().map(|o| o.as_mut_ptr().cast::<c_void>()));
        self.call(model, threads)
    }

    /// Runs with the caller's pointers, the C API's way.
    ///
    /// # Safety
    ///
    /// All memory is as [`RunArgs`] demands for `input_dims`; `workspace` may be null, for one of the runtime's.
    pub(crate) unsafe fn run_raw(
        &mut self,
        model: &Inner,
        input_dims: &[i64],
        inputs: &[*const c_void],
        outputs: &[*mut c_void],
        workspace: (*mut c_void, u64),
        threads: &Threads,
    ) -> Result<&[i64]> {
        self.filled = false;
        self.input_dims.clear();
        self.input_dims.extend_from_slice(input_dims);
        self.plan(model)?;
        check::pointers(&model.signature, input_dims, inputs, &self.lengths, outputs)?;
        let workspace = if workspace.0.is_null() { self.own_workspace()? } else { workspace };
        // SAFETY: the caller's promise; dimensions and pointers have just been checked.
        unsafe { call(model, input_dims, inputs, outputs, &mut self.output_dims, workspace, threads) }?;
        Ok(&self.output_dims)
    }

    /// Checks the inputs, plans, and sets everything but the output pointers.
    fn prepare(&mut self, model: &Inner, inputs: &[TensorRef<'_>]) -> Result<()> {
        self.filled = false;
        check::gather(&model.signature, inputs, &mut self.input_dims)?;
        self.plan(model)?;
        self.pointers.inputs.clear();
        self.pointers.inputs.extend(inputs.iter().map(|t| t.data.as_ptr().cast::<c_void>()));
        Ok(())
    }

    /// Asks for the sizes, if the dimensions are new.
    fn plan(&mut self, model: &Inner) -> Result<()> {
        if !self.planned || self.planned_dims != self.input_dims {
            self.planned = false;
            self.bounds.resize(model.signature.output_dims_len(), 0);
            self.workspace_bytes = model.plan(&self.input_dims, &mut self.symbols, &mut self.bounds)?;
            self.planned_dims.clone_from(&self.input_dims);
            self.planned = true;
        }
        self.output_dims.clone_from(&self.bounds);
        self.measure(model)
    }

    /// The workspace of the planned size.
    fn own_workspace(&mut self) -> Result<(*mut c_void, u64)> {
        self.workspace.reserve(self.workspace_bytes, "the workspace")?;
        Ok((self.workspace.pointer().cast(), self.workspace_bytes))
    }

    /// Sets `lengths` from `output_dims`.
    fn measure(&mut self, model: &Inner) -> Result<()> {
        self.lengths.clear();
        let mut rest = &self.output_dims[..];
        for info in &model.signature.outputs {
            let (dims, tail) = rest.split_at(info.dims.len());
            rest = tail;
            self.lengths.push(model.output_bytes(info, dims)? as usize);
        }
        Ok(())
    }

    fn call(&mut self, model: &Inner, threads: &Threads) -> Result<()> {
        let workspace = self.own_workspace()?;
        // SAFETY: `prepare` has checked dimensions and inputs, and all memory has the planned size.
        unsafe {
            call(
                model,
                &self.input_dims,
                &self.pointers.inputs,
                &self.pointers.outputs,
                &mut self.output_dims,
                workspace,
                threads,
            )
        }?;
        if self.output_dims == self.bounds {
            return Ok(());
        }
        if self.output_dims.iter().zip(&self.bounds).any(|(&actual, &bound)| actual < 0 || actual > bound) {
            let (actual, bounds) = (&self.output_dims, &self.bounds);
            let message = format!("model `{}`: output dimensions {actual:?} exceed {bounds:?}", model.signature.name);
            return Err(Error::new(Status::Internal, message));
        }
        self.measure(model)
    }

    pub(crate) fn take_outputs(&mut self, signature: &Signature) -> Vec<Tensor> {
        assert!(std::mem::take(&mut self.filled), "no outputs: the last run failed, or wrote into the caller's memory");
        let outputs = std::mem::take(&mut self.outputs);
        outputs
            .into_iter()
            .enumerate()
            .map(|(i, buffer)| {
                let dims = self.dims(signature, i).to_vec();
                // SAFETY: the last run succeeded, so the model wrote this many bytes.
                unsafe { Tensor::from_buffer(signature.outputs[i].dtype, dims, buffer, self.lengths[i]) }
            })
            .collect()
    }

    fn dims(&self, signature: &Signature, index: usize) -> &[i64] {
        let first: usize = signature.outputs[..index].iter().map(|t| t.dims.len()).sum();
        &self.output_dims[first..][..signature.outputs[index].dims.len()]
    }
}

/// Calls a model's `run`.
///
/// # Safety
///
/// `plan` has accepted the dimensions, and all memory is as [`RunArgs`] demands for them.
pub(crate) unsafe fn call(
    model: &Inner,
    input_dims: &[i64],
    inputs: &[*const c_void],
    outputs: &[*mut c_void],
    output_dims: &mut [i64],
    (workspace, workspace_bytes): (*mut c_void, u64),
    threads: &Threads,
) -> Result<()> {
    let context: RunContext = match threads {
        Threads::Serial => pool::serial_context(),
        Threads::Shared => Pool::shared().context(),
        Threads::Pool(pool) => pool.context(),
    };
    let mut fault = Fault::NONE;
    let args = RunArgs {
        inputs: inputs.as_ptr(),
        input_dims: input_dims.as_ptr(),
        outputs: outputs.as_ptr(),
        output_dims: output_dims.as_mut_ptr(),
        workspace,
        workspace_bytes,
        weights: model.weights(),
        context: &context,
        n_inputs: inputs.len() as u32,
        n_outputs: outputs.len() as u32,
        fault: &mut fault,
    };
    let Some(run) = model.descriptor().run else {
        return Err(Error::new(Status::NotAModel, "the model has no `run`"));
    };
    // SAFETY: the caller's promise; `context` and the pool outlive the call.
    match unsafe { run(&args) } {
        0 => Ok(()),
        code => {
            let status = Status::from_code(code).unwrap_or(Status::Internal);
            let (name, text) = (&model.signature.name, status.text());
            let fault = model.fault_text(&fault).map_or_else(String::new, |fault| format!("{fault}: "));
            Err(Error::new(status, format!("model `{name}`: {fault}{text} (status {code})")))
        }
    }
}

//! Running a model: buffers that are kept, sizes that are planned once per set of dimensions.

use std::ffi::c_void;
use std::mem::take;

use nnc_abi::{Fault, RunArgs, RunContext, Status};

use crate::buffer::Buffer;
use crate::heap::Heap;
use crate::model::Inner;
use crate::signature::Signature;
use crate::{Error, Model, Pool, Result, State, Tensor, TensorRef, check};

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

    /// The seed of the runs to come, 0 until then: random numbers of nodes without a seed of their own depend on it. Its
    /// lower 63 bits count.
    pub fn set_seed(&mut self, seed: u64) {
        self.buffers.seed = seed;
    }

    /// Runs the model; [`Self::output`] gives the results until the next run.
    pub fn run(&mut self, inputs: &[TensorRef<'_>]) -> Result<()> {
        self.buffers.run(&self.model.inner, inputs, None, &self.threads)
    }

    /// Runs the model on what a state holds, which then holds what the run gives it. `inputs` are the others, in order, and
    /// [`Self::output`] gives the outputs that are not kept. After an error the contents of the state are unspecified.
    pub fn run_with_state(&mut self, inputs: &[TensorRef<'_>], state: &mut State) -> Result<()> {
        self.buffers.run(&self.model.inner, inputs, Some(state), &self.threads)
    }

    /// Runs the model into the caller's memory, which must be as large as [`Model::plan`] says, and where that knows no bound
    /// as large as the output turns out to be; [`Self::output_dims`] gives the actual dimensions.
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
        assert!(!self.buffers.is_kept(&self.model.inner, index), "this output is kept in the state");
        let info = &self.model.inner.signature.outputs[index];
        // SAFETY: the last run succeeded, so the model wrote this many bytes.
        let data = unsafe { self.buffers.outputs[index].bytes(self.buffers.lengths[index]) };
        TensorRef { dtype: info.dtype, dims: self.output_dims(index), data }
    }

    /// Moves the outputs of the last [`Self::run`] out; the next run allocates new ones. Those kept in a state are left out.
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
    /// Bytes of each output: planned before a run (0 where there is no bound), actual after it.
    lengths: Vec<usize>,
    /// What the model asks for during a run.
    heap: Heap,
    /// The dimensions the plan below was made for; valid when `planned`.
    planned_dims: Vec<i64>,
    planned: bool,
    bounds: Vec<i64>,
    output_dims: Vec<i64>,
    /// The last run succeeded and wrote `outputs`.
    filled: bool,
    /// Its outputs that are states were kept as such.
    kept: bool,
    /// The blocks of states in runs on whole tensors.
    blocks: Vec<Buffer>,
    input_dims: Vec<i64>,
    symbols: Vec<i64>,
    pointers: Pointers,
    /// What the next run is given.
    pub(crate) seed: u64,
}

/// The arrays of pointers of one call; meaningless between calls.
#[derive(Debug, Default)]
struct Pointers {
    inputs: Vec<*const c_void>,
    outputs: Vec<*mut c_void>,
    states: Vec<*mut c_void>,
}

// SAFETY: the pointers are written before each call and never read after it.
unsafe impl Send for Pointers {}
// SAFETY: as above; a shared reference gives no access.
unsafe impl Sync for Pointers {}

impl Buffers {
    /// Bytes of memory held.
    pub(crate) fn bytes(&self) -> u64 {
        let outputs: usize = self.outputs.iter().chain(&self.blocks).map(Buffer::capacity).sum();
        (self.workspace.capacity() + outputs + self.heap.bytes()) as u64
    }

    /// Runs into buffers of its own.
    pub(crate) fn run(
        &mut self,
        model: &Inner,
        inputs: &[TensorRef<'_>],
        state: Option<&mut State>,
        threads: &Threads,
    ) -> Result<()> {
        self.prepare(model, inputs, state.as_deref())?;
        self.outputs.resize_with(model.signature.outputs.len(), Buffer::empty);
        let sizes = self.outputs.iter_mut().zip(&self.lengths).zip(&model.signature.outputs).enumerate();
        for (i, ((buffer, &bytes), info)) in sizes {
            if info.is_allocated {
                self.heap.give(take(buffer));
            } else if state.is_none() || model.signature.state_of_output(i).is_none() {
                buffer.reserve(bytes as u64, &info.name)?;
            }
        }
        self.pointers.outputs.clear();
        self.pointers.outputs.extend(self.outputs.iter().map(|b| b.pointer().cast::<c_void>()));
        if model.signature.allocates {
            self.heap.begin(self.outputs.len(), &[]);
        }
        self.call(model, state, threads)?;
        for (i, info) in model.signature.outputs.iter().enumerate().filter(|(_, info)| info.is_allocated) {
            let buffer = self.heap.take_output(i);
            if buffer.capacity() < self.lengths[i] {
                let message = format!("model `{}`: no memory for output `{}`", model.signature.name, info.name);
                return Err(Error::new(Status::Internal, message));
            }
            self.outputs[i] = buffer;
        }
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
        self.prepare(model, inputs, None)?;
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
        if model.signature.allocates {
            let places: Vec<(*mut u8, usize)> = outputs.iter_mut().map(|o| (o.as_mut_ptr(), o.len())).collect();
            self.heap.begin(places.len(), &places);
        }
        self.call(model, None, threads)
    }

    /// Runs with the caller's pointers, the C API's way.
    ///
    /// # Safety
    ///
    /// All memory is as [`RunArgs`] demands for `input_dims`; `workspace` may be null, for one of the runtime's. Without a
    /// state, the tensors of states are ordinary ones; with one, it says their dimensions.
    pub(crate) unsafe fn run_raw(
        &mut self,
        model: &Inner,
        input_dims: &[i64],
        (inputs, outputs): (&[*const c_void], &[*mut c_void]),
        workspace: (*mut c_void, u64),
        state: Option<&mut State>,
        threads: &Threads,
    ) -> Result<&[i64]> {
        self.filled = false;
        self.input_dims.clear();
        self.input_dims.extend_from_slice(input_dims);
        if let Some(state) = &state {
            state.check_model(model)?;
            for (k, info) in model.signature.states.iter().enumerate() {
                self.input_dims[model.signature.input_dims_of(info.input)].copy_from_slice(state.dims(k));
            }
        }
        if let Some(info) = model.signature.outputs.iter().find(|info| info.is_allocated) {
            let message = format!("output `{}` has no bound: only nnc_run_results can make room for it", info.name);
            return Err(Error::new(Status::BadArgument, message));
        }
        if model.signature.allocates {
            self.heap.begin(outputs.len(), &[]);
        }
        self.plan(model)?;
        check::pointers(&model.signature, &self.input_dims, inputs, &self.lengths, outputs, state.is_some())?;
        let workspace = if workspace.0.is_null() { self.own_workspace()? } else { workspace };
        // SAFETY: the caller's promise; dimensions and pointers have just been checked.
        unsafe { self.invoke(model, (inputs, outputs), workspace, state, threads) }?;
        Ok(&self.output_dims)
    }

    /// Checks the inputs, plans, and sets everything but the output pointers.
    fn prepare(&mut self, model: &Inner, inputs: &[TensorRef<'_>], state: Option<&State>) -> Result<()> {
        self.filled = false;
        state.map_or(Ok(()), |state| state.check_model(model))?;
        check::gather(&model.signature, inputs, state, &mut self.input_dims)?;
        self.plan(model)?;
        self.pointers.inputs.clear();
        let mut rest = inputs.iter();
        for i in 0..model.signature.inputs.len() {
            let kept = state.is_some() && model.signature.state_of_input(i).is_some();
            let given = if kept { None } else { rest.next() };
            self.pointers.inputs.push(given.map_or(std::ptr::null(), |t| t.data.as_ptr().cast::<c_void>()));
        }
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
            let unknown = info.is_allocated && dims.iter().any(|&d| d < 0);
            self.lengths.push(if unknown { 0 } else { model.output_bytes(info, dims)? as usize });
        }
        Ok(())
    }

    fn call(&mut self, model: &Inner, state: Option<&mut State>, threads: &Threads) -> Result<()> {
        let workspace = self.own_workspace()?;
        let (inputs, outputs) = (take(&mut self.pointers.inputs), take(&mut self.pointers.outputs));
        // SAFETY: `prepare` has checked dimensions and inputs, and all memory has the planned size.
        let done = unsafe { self.invoke(model, (&inputs, &outputs), workspace, state, threads) };
        (self.pointers.inputs, self.pointers.outputs) = (inputs, outputs);
        done
    }

    /// Calls the model on tensors as prepared and planned; states are those given, or come from the tensors and go there.
    ///
    /// # Safety
    ///
    /// All memory is as [`RunArgs`] demands for `self.input_dims`.
    unsafe fn invoke(
        &mut self,
        model: &Inner,
        (inputs, outputs): (&[*const c_void], &[*mut c_void]),
        workspace: (*mut c_void, u64),
        state: Option<&mut State>,
        threads: &Threads,
    ) -> Result<()> {
        let signature = &model.signature;
        self.kept = state.is_some();
        self.pointers.states.clear();
        if let Some(state) = &state {
            self.pointers.states.extend(state.pointers());
        } else {
            self.blocks.resize_with(signature.states.len(), Buffer::empty);
            for (info, block) in signature.states.iter().zip(&mut self.blocks) {
                let rows = signature.rows_of(info, &self.input_dims[signature.input_dims_of(info.input)])?;
                block.reserve(rows.block_bytes() as u64, &signature.inputs[info.input].name)?;
                // SAFETY: the input is as the caller promises, and the block large enough.
                unsafe { rows.bring_in(inputs[info.input].cast(), block.pointer()) };
                self.pointers.states.push(block.pointer().cast());
            }
        }
        let memory = Memory { inputs, outputs, states: &self.pointers.states, workspace, seed: self.seed };
        // SAFETY: the caller's promise, and blocks are as large as states say.
        let done = unsafe { call(model, &self.input_dims, &memory, (&mut self.output_dims, &mut self.heap), threads) };
        self.heap.end();
        done?;
        self.check_output_dims(model)?;
        let kept = signature.states.iter().enumerate();
        if let Some(state) = state {
            kept.for_each(|(k, info)| state.set_dims(k, self.dims(signature, info.output)));
            return Ok(());
        }
        for (k, info) in kept {
            let rows = signature.rows_of(info, self.dims(signature, info.output))?;
            // SAFETY: the run has filled the block; the output is large enough by the caller's promise.
            unsafe { rows.bring_out(self.blocks[k].pointer(), outputs[info.output].cast()) };
        }
        Ok(())
    }

    /// Whether an output of the last run went to a state.
    fn is_kept(&self, model: &Inner, output: usize) -> bool {
        self.kept && model.signature.state_of_output(output).is_some()
    }

    /// Takes over the sizes that a run gave its outputs.
    fn check_output_dims(&mut self, model: &Inner) -> Result<()> {
        if self.output_dims == self.bounds {
            return Ok(());
        }
        let exceeds = |(&actual, &bound): (&i64, &i64)| actual < 0 || bound >= 0 && actual > bound;
        if self.output_dims.iter().zip(&self.bounds).any(exceeds) {
            let (actual, bounds) = (&self.output_dims, &self.bounds);
            let message = format!("model `{}`: output dimensions {actual:?} exceed {bounds:?}", model.signature.name);
            return Err(Error::new(Status::Internal, message));
        }
        self.measure(model)
    }

    pub(crate) fn take_outputs(&mut self, signature: &Signature) -> Vec<Tensor> {
        assert!(take(&mut self.filled), "no outputs: the last run failed, or wrote into the caller's memory");
        let outputs = take(&mut self.outputs);
        let kept = self.kept;
        outputs
            .into_iter()
            .enumerate()
            .filter(|(i, _)| !kept || signature.state_of_output(*i).is_none())
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

/// The memory of a run, by the arrays of [`RunArgs`], and its seed.
struct Memory<'a> {
    inputs: &'a [*const c_void],
    outputs: &'a [*mut c_void],
    states: &'a [*mut c_void],
    workspace: (*mut c_void, u64),
    seed: u64,
}

/// Calls a model's `run`.
///
/// # Safety
///
/// `plan` has accepted the dimensions, and all memory is as [`RunArgs`] demands for them.
unsafe fn call(
    model: &Inner,
    input_dims: &[i64],
    memory: &Memory<'_>,
    (output_dims, heap): (&mut [i64], &mut Heap),
    threads: &Threads,
) -> Result<()> {
    let threads: RunContext = match threads {
        Threads::Serial => RunContext::NOTHING,
        Threads::Shared => Pool::shared().context(),
        Threads::Pool(pool) => pool.context(),
    };
    let allocator = Heap::allocator(heap);
    let context = RunContext { allocator: &allocator, seed: memory.seed, ..threads };
    let mut fault = Fault::NONE;
    let args = RunArgs {
        inputs: memory.inputs.as_ptr(),
        input_dims: input_dims.as_ptr(),
        outputs: memory.outputs.as_ptr(),
        output_dims: output_dims.as_mut_ptr(),
        workspace: memory.workspace.0,
        workspace_bytes: memory.workspace.1,
        weights: model.weights(),
        context: &context,
        n_inputs: memory.inputs.len() as u32,
        n_outputs: memory.outputs.len() as u32,
        fault: &mut fault,
        states: memory.states.as_ptr(),
        n_states: memory.states.len() as u64,
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
            if let (Status::OutOfMemory, Some((bytes, output))) = (status, heap.refused()) {
                let whose = usize::try_from(output).ok().and_then(|i| model.signature.outputs.get(i));
                let whose = whose.map_or_else(String::new, |info| format!(" for output `{}`", info.name));
                return Err(Error::new(status, format!("model `{name}`: no {bytes} bytes of memory{whose}")));
            }
            let fault = model.fault_text(&fault).map_or_else(String::new, |fault| format!("{fault}: "));
            Err(Error::new(status, format!("model `{name}`: {fault}{text} (status {code})")))
        }
    }
}

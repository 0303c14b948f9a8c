//! A loaded model: immutable, shared, cheap to clone.

use std::any::Any;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use memmap2::Mmap;
use nnc_abi::{Fault, ModelDescriptor, PlanResult, Status};

use crate::artifact::{Artifact, weights_differ};
use crate::loader::{self, Segments};
use crate::runner::{Buffers, Runner, Threads};
use crate::signature::{Dim, Signature};
use crate::source::Memory;
use crate::{Error, Result, Tensor, TensorRef, check, weights};

/// A model that has passed every check and can be run by any number of threads at once.
#[derive(Clone)]
pub struct Model {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    descriptor: *const ModelDescriptor,
    pub(crate) signature: Signature,
    /// The file it was loaded from.
    artifact: Option<Artifact>,
    weights: Option<Mmap>,
    load_time: Duration,
    /// Buffers of finished calls of [`Model::run`], for the next ones.
    idle: Mutex<Vec<Buffers>>,
    /// What the descriptor's memory belongs to. Last, as it goes last.
    _owner: Owner,
}

#[allow(dead_code)] // Held to be dropped.
enum Owner {
    Segments(Segments),
    Caller(Box<dyn Any + Send + Sync>),
}

// SAFETY: the descriptor and what it points to are constants, alive as long as `_owner`; the rest is Send and Sync.
unsafe impl Send for Inner {}
// SAFETY: as above.
unsafe impl Sync for Inner {}

/// The sizes of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Bytes of workspace.
    pub workspace_bytes: u64,
    /// The dimensions of each output; for data-dependent ones an upper bound, -1 where there is none.
    pub output_dims: Vec<Vec<i64>>,
    /// Bytes of each output at those dimensions; `None` for one that the run allocates.
    pub output_bytes: Vec<Option<u64>>,
}

impl Model {
    /// Loads a compiled model. Takes well under a millisecond whatever the size of the weights: they are mapped, not read.
    ///
    /// The file may come from anywhere: it is checked, and no code of it runs until the model is planned or run; from then
    /// on the model can do whatever the process can. Code and weights loaded twice are in memory once. A file must not be overwritten in place while it is loaded;
    /// replace it by renaming, as the compiler does.
    pub fn load(path: impl AsRef<Path>) -> Result<Model> {
        let start = Instant::now();
        let loaded = loader::load(path.as_ref())?;
        Ok(Model {
            inner: Arc::new(Inner {
                descriptor: loaded.descriptor,
                signature: loaded.artifact.signature().clone(),
                artifact: Some(loaded.artifact),
                weights: loaded.weights,
                load_time: start.elapsed(),
                idle: Mutex::new(Vec::new()),
                _owner: Owner::Segments(loaded.segments),
            }),
        })
    }

    /// A model that is linked into the program: `extern "C" { static nnc_model_foo: ModelDescriptor; }`.
    ///
    /// # Safety
    ///
    /// It is a descriptor that nnc made.
    pub unsafe fn from_descriptor(descriptor: &'static ModelDescriptor) -> Result<Model> {
        // SAFETY: the caller's promise; a static outlives every owner.
        unsafe { Model::from_descriptor_owned(descriptor, Box::new(())) }
    }

    /// A model that is linked into the program and keeps its weights in a file, which is in `folder`.
    ///
    /// # Safety
    ///
    /// As [`Self::from_descriptor`].
    pub unsafe fn from_descriptor_in(descriptor: &'static ModelDescriptor, folder: impl AsRef<Path>) -> Result<Model> {
        // SAFETY: the caller's promise; a static outlives every owner.
        unsafe { Model::described(descriptor, Box::new(()), Some(folder.as_ref())) }
    }

    /// A model whose memory `owner` keeps, such as a just-in-time compiler's module; dropped with the model's last clone.
    ///
    /// A model with its weights in a side file cannot be made this way: there is no folder to find the file in; see
    /// [`Self::from_descriptor_in`].
    ///
    /// # Safety
    ///
    /// It is a descriptor that nnc made, valid and unchanging until `owner` is dropped.
    pub unsafe fn from_descriptor_owned(
        descriptor: *const ModelDescriptor,
        owner: Box<dyn Any + Send + Sync>,
    ) -> Result<Model> {
        // SAFETY: the caller's promise.
        unsafe { Model::described(descriptor, owner, None) }
    }

    /// A model in memory; `folder` is where its weights are, if it keeps them in a file.
    ///
    /// # Safety
    ///
    /// As [`Self::from_descriptor_owned`].
    unsafe fn described(
        descriptor: *const ModelDescriptor,
        owner: Box<dyn Any + Send + Sync>,
        folder: Option<&Path>,
    ) -> Result<Model> {
        let start = Instant::now();
        // SAFETY: the caller's promise.
        let memory = unsafe { Memory::new() };
        if descriptor.is_null() || !descriptor.is_aligned() {
            return Err(Error::new(Status::NotAModel, "the descriptor is null or misaligned"));
        }
        let signature = Signature::read(&memory, descriptor.cast(), "model")?;
        signature.check_machine("model")?;
        let weights = match (&signature.weights_file, folder) {
            (None, _) => None,
            (Some(file), Some(folder)) => Some(weights::map(&folder.join(file), &signature)?),
            (Some(file), None) => {
                let message = format!(
                    "model `{}` keeps its weights in `{file}`: load it by path, or name the file's folder",
                    signature.name
                );
                return Err(Error::new(Status::BadArgument, message));
            }
        };
        Ok(Model {
            inner: Arc::new(Inner {
                descriptor,
                signature,
                artifact: None,
                weights,
                load_time: start.elapsed(),
                idle: Mutex::new(Vec::new()),
                _owner: Owner::Caller(owner),
            }),
        })
    }

    /// What the model takes, gives and needs.
    pub fn signature(&self) -> &Signature {
        &self.inner.signature
    }

    /// The descriptor itself.
    pub fn descriptor(&self) -> &ModelDescriptor {
        self.inner.descriptor()
    }

    /// The weights in their final layout, wherever they lie.
    pub fn weights(&self) -> &[u8] {
        self.inner.all_weights()
    }

    /// Frees the buffers that are kept for later calls of [`Self::run`]; answers their bytes. Those in use stay.
    ///
    /// At most as many are kept as the process may use processors, each as large as the largest run so far needed.
    pub fn trim(&self) -> u64 {
        let idle = std::mem::take(&mut *self.inner.idle.lock().unwrap_or_else(PoisonError::into_inner));
        idle.iter().map(Buffers::bytes).sum()
    }

    /// Compares code and weights with the hashes that the compiler left; reads all of them.
    ///
    /// Of a model that is linked into the program, the weights alone have a hash that still applies.
    pub fn verify(&self) -> Result<()> {
        self.inner.verify()
    }

    /// How long loading took.
    pub fn load_time(&self) -> Duration {
        self.inner.load_time
    }

    /// The sizes of a run with inputs of these dimensions.
    pub fn plan(&self, input_dims: &[&[i64]]) -> Result<Plan> {
        let signature = self.signature();
        let ranks = signature.inputs.iter().map(|t| t.dims.len());
        if !input_dims.iter().map(|d| d.len()).eq(ranks) {
            let message = format!("model `{}`: wrong number of inputs or dimensions", signature.name);
            return Err(Error::new(Status::BadRank, message));
        }
        let mut flat = vec![0; signature.output_dims_len()];
        let workspace_bytes = self.inner.plan(&input_dims.concat(), &mut Vec::new(), &mut flat)?;
        let mut rest = &flat[..];
        let (mut output_dims, mut output_bytes) = (Vec::new(), Vec::new());
        for info in &signature.outputs {
            let (dims, tail) = rest.split_at(info.dims.len());
            rest = tail;
            let unknown = dims.iter().any(|&d| d < 0);
            output_bytes.push(if unknown { None } else { Some(self.inner.output_bytes(info, dims)?) });
            output_dims.push(dims.to_vec());
        }
        Ok(Plan { workspace_bytes, output_dims, output_bytes })
    }

    /// Runs the model on the process's shared pool. Outputs are new; the workspace is kept for the next call.
    pub fn run(&self, inputs: &[TensorRef<'_>]) -> Result<Vec<Tensor>> {
        self.run_with(inputs, &Threads::Shared)
    }

    /// Runs the model on the given threads.
    pub fn run_with(&self, inputs: &[TensorRef<'_>], threads: &Threads) -> Result<Vec<Tensor>> {
        self.inner.with_buffers(|buffers| {
            buffers.seed = 0;
            buffers.run(&self.inner, inputs, None, threads)?;
            Ok(buffers.take_outputs(&self.inner.signature))
        })
    }

    /// Buffers for repeated runs, on the process's shared pool.
    pub fn runner(&self) -> Runner {
        Runner::new(self.clone(), Threads::Shared)
    }
}

impl Inner {
    pub(crate) fn descriptor(&self) -> &ModelDescriptor {
        // SAFETY: valid and unchanging as long as `_owner`, checked by `Signature::read`.
        unsafe { &*self.descriptor }
    }

    /// Lends buffers that no other call uses at the moment.
    pub(crate) fn with_buffers<T>(&self, body: impl FnOnce(&mut Buffers) -> T) -> T {
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let mut buffers = idle().pop().unwrap_or_default();
        let result = body(&mut buffers);
        // More runs at once than processors are a burst, whose memory is not kept.
        let mut idle = idle();
        if idle.len() < most_idle() {
            idle.push(buffers);
        }
        result
    }

    /// The side file's weights, or null for embedded ones.
    pub(crate) fn weights(&self) -> *const std::ffi::c_void {
        self.weights.as_ref().map_or(std::ptr::null(), |map| map.as_ptr().cast())
    }

    fn all_weights(&self) -> &[u8] {
        let bytes = self.signature.weights_bytes as usize;
        match &self.weights {
            Some(map) => &map[..bytes],
            None if bytes == 0 => &[],
            // SAFETY: the ABI's promise about a descriptor.
            None => unsafe { std::slice::from_raw_parts(self.descriptor().weights.cast(), bytes) },
        }
    }

    fn verify(&self) -> Result<()> {
        if let Some(artifact) = &self.artifact {
            artifact.verify()?;
        }
        let weights = self.all_weights();
        // Those of the artifact have been looked at there.
        if weights.is_empty() || self.artifact.is_some() && self.weights.is_none() {
            return Ok(());
        }
        let name = &self.signature.name;
        weights_differ(weights, &self.signature.weights_hash)
            .map_or(Ok(()), |why| Err(Error::new(Status::Damaged, format!("model `{name}`: {why}"))))
    }

    /// Checks the dimensions of all inputs, fills in those of all outputs, answers the workspace. `symbols` is scratch.
    pub(crate) fn plan(&self, input_dims: &[i64], symbols: &mut Vec<i64>, output_dims: &mut [i64]) -> Result<u64> {
        let signature = &self.signature;
        assert_eq!(input_dims.len(), signature.input_dims_len());
        assert_eq!(output_dims.len(), signature.output_dims_len());
        check::check_dims(signature, input_dims, symbols)?;
        let Some(plan) = self.descriptor().plan else {
            let sizes = signature.outputs.iter().flat_map(|t| &t.dims).map(|d: &Dim| d.value.unwrap_or(-1));
            output_dims.iter_mut().zip(sizes).for_each(|(to, size)| *to = size);
            return Ok(signature.workspace_bytes.unwrap_or(0));
        };
        let out_dims = output_dims.as_mut_ptr();
        let mut result =
            PlanResult { out_dims, workspace_bytes: 0, fault_dim: -1, fault_expected: -1, fault: Fault::NONE };
        // SAFETY: both arrays have the lengths that the descriptor asks for.
        let code = unsafe { plan(input_dims.as_ptr(), &mut result) };
        if code != Status::Ok as i32 {
            if let Some(why) = self.fault_text(&result.fault) {
                let status = Status::from_code(code).unwrap_or(Status::Internal);
                return Err(Error::new(status, format!("model `{}`: {why}", signature.name)));
            }
            return Err(check::plan_refused(signature, input_dims, code, &result));
        }
        Ok(result.workspace_bytes)
    }

    /// What stopped a run, in words, if the model says.
    pub(crate) fn fault_text(&self, fault: &Fault) -> Option<String> {
        let text = self.signature.faults.get(usize::try_from(fault.number).ok()?)?;
        Some(match (fault.left, fault.right) {
            (i64::MIN, _) => text.clone(),
            (left, right) => format!("{text} ({left} and {right})"),
        })
    }

    /// Bytes of an output; an error if the model gave dimensions that cannot be.
    pub(crate) fn output_bytes(&self, info: &crate::TensorInfo, dims: &[i64]) -> Result<u64> {
        check::bytes_of(info, dims).ok_or_else(|| {
            let message = format!("output `{}` would be {} {dims:?}, which is too large", info.name, info.dtype);
            Error::new(Status::SizeOverflow, message)
        })
    }
}

/// How many buffers are kept for later runs.
fn most_idle() -> usize {
    static MOST: OnceLock<usize> = OnceLock::new();
    *MOST.get_or_init(|| std::thread::available_parallelism().map_or(1, usize::from))
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Model({} for {})", self.signature().name, self.signature().target)
    }
}

//! Calling a model: sizes first, then the run, with threads lent by the caller.

use core::ffi::c_void;

/// Checks input dimensions and computes sizes.
///
/// `input_dims` holds the dimensions of all inputs, one after the other (`input_dims_len` of them). Symbols take their
/// value from the first input dimension that is just the symbol; then every dimension is checked against its constant,
/// symbol or expression, and every symbol against its bounds. Answers [`crate::Status`]: `Ok`, `NullArgument`,
/// `BadShape`, `DimOutOfBounds`, `SizeOverflow`, `CheckFailed`. Pure, and safe to call from any thread.
pub type PlanFn = unsafe extern "C" fn(input_dims: *const i64, out: *mut PlanResult) -> i32;

/// What [`PlanFn`] fills in.
#[repr(C)]
#[derive(Debug)]
pub struct PlanResult {
    /// Set by the caller: room for `output_dims_len` numbers, or null when they are not wanted. Filled with the output
    /// dimensions, for data-dependent ones with an upper bound, or -1 where there is none.
    pub out_dims: *mut i64,
    /// Workspace that a run with these dimensions needs.
    pub workspace_bytes: u64,
    /// On `BadShape` and `DimOutOfBounds`, the index in `input_dims` of the offending dimension, if the model says; the
    /// caller sets -1 before.
    pub fault_dim: i64,
    /// With `fault_dim`, the size that was expected, if there is one; the caller sets -1 before.
    pub fault_expected: i64,
    /// On `CheckFailed`, what does not hold.
    pub fault: Fault,
}

/// What stopped a run, or its plan.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The index in [`crate::ModelDescriptor::faults`]; the caller sets -1 before.
    pub number: i64,
    /// One of the sizes compared; `i64::MIN` when none are.
    pub left: i64,
    /// The other.
    pub right: i64,
}

impl Fault {
    /// What the caller sets before.
    pub const NONE: Fault = Fault { number: -1, left: i64::MIN, right: i64::MIN };
}

/// Runs a model. Safe to call from any number of threads at once with different outputs, workspaces and allocators.
///
/// Checks dimensions as [`PlanFn`] does, then that the workspace is large enough and aligned. On any answer other than
/// `Ok` the contents of outputs, `output_dims` and workspace are unspecified.
pub type RunFn = unsafe extern "C" fn(args: *const RunArgs) -> i32;

/// The memory of one run. The caller owns all of it; outputs and workspace overlap nothing else here.
#[repr(C)]
#[derive(Debug)]
pub struct RunArgs {
    /// `n_inputs` pointers to dense row-major tensors. Any alignment works; 64 is fastest. An empty tensor's may be null.
    pub inputs: *const *const c_void,
    /// The dimensions of all inputs, one after the other. May be null when all of them are constants.
    pub input_dims: *const i64,
    /// `n_outputs` pointers to memory for the tensors at the sizes that `plan` gave. An empty tensor's may be null; those of
    /// outputs with [`crate::TENSOR_ALLOCATED`] are not looked at.
    pub outputs: *const *mut c_void,
    /// Filled with the actual output dimensions, one after the other; an output is packed densely at those. May be null
    /// when no output dimension depends on data.
    pub output_dims: *mut i64,
    /// `workspace_bytes` of scratch memory, aligned to [`crate::ALIGNMENT`]; contents do not matter before or after.
    pub workspace: *mut c_void,
    /// At least what `plan` gave.
    pub workspace_bytes: u64,
    /// Null for the embedded weights, else the mapped side file, aligned to [`crate::ALIGNMENT`].
    pub weights: *const c_void,
    /// Threads and allocator to use; null for none.
    pub context: *const RunContext,
    /// Number of pointers in `inputs`, at least the model's `n_inputs`.
    pub n_inputs: u32,
    /// Number of pointers in `outputs`, at least the model's `n_outputs`.
    pub n_outputs: u32,
    /// Null, or filled when the run stops at one of the model's faults.
    pub fault: *mut Fault,
    /// One block for each state of the model, which overlaps nothing else here; any alignment works. Not looked at when the
    /// model has none. On an answer other than `Ok` the contents of blocks are unspecified.
    pub states: *const *mut c_void,
    /// Number of pointers in `states`, at least the model's `n_states`.
    pub n_states: u64,
}

/// Part of a loop: iterations `begin..end`. Must not unwind. Sets the floating-point environment that it needs and
/// restores the thread's.
pub type ParallelBody = unsafe extern "C" fn(data: *mut c_void, begin: i64, end: i64);

/// A loop run by several threads: calls `body` on disjoint ranges that together cover `0..count`, each at least `grain`
/// long except the last, on any threads and in any order, and returns when all calls have returned. `grain` below 1
/// counts as 1; with `count` below 1 nothing is called.
pub type ParallelFor =
    unsafe extern "C" fn(pool: *mut c_void, count: i64, grain: i64, body: ParallelBody, data: *mut c_void);

/// Gives a run `bytes` of memory, aligned to [`crate::ALIGNMENT`], or null when there is none.
///
/// `output` is the position of the output that is to lie there, which then belongs to the caller, whatever the run
/// answers, or -1: the run releases what it has by the end. A run that asks again for an output has released what it got
/// before. Called by the thread that runs the model alone. Must not unwind.
pub type AllocateFn = unsafe extern "C" fn(state: *mut c_void, bytes: u64, output: i64) -> *mut c_void;

/// Takes memory back that [`AllocateFn`] gave for as many bytes. Must not unwind.
pub type ReleaseFn = unsafe extern "C" fn(state: *mut c_void, memory: *mut c_void, bytes: u64);

/// Memory for what has no bound from the sizes of the inputs.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Allocator {
    /// Gives memory.
    pub allocate: AllocateFn,
    /// Takes it back.
    pub release: ReleaseFn,
    /// Passed to both.
    pub state: *mut c_void,
}

/// What a run may use: threads, a seed, and memory.
#[repr(C)]
#[derive(Debug)]
pub struct RunContext {
    /// Null: the run stays on the calling thread.
    pub parallel_for: Option<ParallelFor>,
    /// Passed to `parallel_for`.
    pub pool: *mut c_void,
    /// How many threads `parallel_for` uses, the caller included; a hint. 0 counts as 1.
    pub threads: u32,
    /// Zero.
    pub flags: u32,
    /// What random numbers without a seed of their own depend on; the lower 63 bits count. 0 where nobody gave one.
    pub seed: u64,
    /// Where a model with [`crate::FLAG_ALLOCATES`] gets memory during the run; else not looked at.
    pub allocator: *const Allocator,
    /// Zero.
    pub reserved: u64,
}

impl RunContext {
    /// Neither threads nor a seed nor an allocator.
    pub const NOTHING: RunContext = RunContext {
        parallel_for: None,
        pool: core::ptr::null_mut(),
        threads: 1,
        flags: 0,
        seed: 0,
        allocator: core::ptr::null(),
        reserved: 0,
    };
}

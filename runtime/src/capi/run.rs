//! Planning and running.

use std::ffi::c_void;

use super::{array, borrow, guard, null};
use crate::{Model, Pool, Result, State, Threads};

/// Checks input dimensions and computes sizes.
///
/// # Safety
///
/// The handle is valid; `input_dims` and, unless null, `output_dims` have the model's lengths; `workspace_bytes` is null
/// or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nnc_plan(
    model: *const Model,
    input_dims: *const i64,
    output_dims: *mut i64,
    workspace_bytes: *mut u64,
) -> i32 {
    guard(|| {
        // SAFETY: the caller's promise.
        let model = unsafe { borrow(model, "model") }?;
        let signature = model.signature();
        // SAFETY: the caller's promise.
        let input_dims = unsafe { array(input_dims, signature.input_dims_len(), "input_dims") }?;
        let mut dims = vec![0; signature.output_dims_len()];
        let workspace = model.inner.plan(input_dims, &mut Vec::new(), &mut dims)?;
        // SAFETY: the caller's promise.
        unsafe {
            if !output_dims.is_null() {
                output_dims.copy_from_nonoverlapping(dims.as_ptr(), dims.len());
            }
            if !workspace_bytes.is_null() {
                workspace_bytes.write(workspace);
            }
        }
        Ok(())
    })
}

/// Runs a model.
///
/// # Safety
///
/// Handles are valid; arrays have the model's lengths; tensors and workspace are as large as `nnc_plan` says for these
/// dimensions, and outputs and workspace overlap nothing.
#[unsafe(no_mangle)]
#[allow(clippy::too_many_arguments)] // One C function with plain arguments serves its callers better than a structure.
pub unsafe extern "C" fn nnc_run(
    model: *const Model,
    pool: *const Pool,
    inputs: *const *const c_void,
    input_dims: *const i64,
    outputs: *const *mut c_void,
    output_dims: *mut i64,
    workspace: *mut c_void,
    workspace_bytes: u64,
) -> i32 {
    let call = Call { model, pool, inputs, input_dims, outputs, output_dims, workspace: (workspace, workspace_bytes) };
    // SAFETY: the caller's promise.
    guard(|| unsafe { run(call, None, 0) })
}

/// Runs a model on what a state holds.
///
/// # Safety
///
/// As [`nnc_run`], but for the tensors of states, which are not looked at; the state is valid and no other call uses it.
#[unsafe(no_mangle)]
#[allow(clippy::too_many_arguments)] // As above.
pub unsafe extern "C" fn nnc_run_with_state(
    model: *const Model,
    pool: *const Pool,
    state: *mut State,
    inputs: *const *const c_void,
    input_dims: *const i64,
    outputs: *const *mut c_void,
    output_dims: *mut i64,
    workspace: *mut c_void,
    workspace_bytes: u64,
) -> i32 {
    let call = Call { model, pool, inputs, input_dims, outputs, output_dims, workspace: (workspace, workspace_bytes) };
    guard(|| {
        // SAFETY: the caller's promise.
        let state = unsafe { state.as_mut() }.ok_or_else(|| null("state"))?;
        // SAFETY: as above.
        unsafe { run(call, Some(state), 0) }
    })
}

/// Runs a model whose random numbers depend on a seed; on what a state holds, where one is given.
///
/// # Safety
///
/// As [`nnc_run`], or [`nnc_run_with_state`] where the state is not null.
#[unsafe(no_mangle)]
#[allow(clippy::too_many_arguments)] // As above.
pub unsafe extern "C" fn nnc_run_with_seed(
    model: *const Model,
    pool: *const Pool,
    seed: u64,
    state: *mut State,
    inputs: *const *const c_void,
    input_dims: *const i64,
    outputs: *const *mut c_void,
    output_dims: *mut i64,
    workspace: *mut c_void,
    workspace_bytes: u64,
) -> i32 {
    let call = Call { model, pool, inputs, input_dims, outputs, output_dims, workspace: (workspace, workspace_bytes) };
    // SAFETY: the caller's promise.
    guard(|| unsafe { run(call, state.as_mut(), seed) })
}

/// The arguments of a run.
struct Call {
    model: *const Model,
    pool: *const Pool,
    inputs: *const *const c_void,
    input_dims: *const i64,
    outputs: *const *mut c_void,
    output_dims: *mut i64,
    workspace: (*mut c_void, u64),
}

/// # Safety
///
/// That of the functions above.
unsafe fn run(call: Call, state: Option<&mut State>, seed: u64) -> Result<()> {
    // SAFETY: the caller's promise, here and below.
    let (model, pool) = unsafe { (borrow(call.model, "model")?, call.pool.as_ref()) };
    let signature = model.signature();
    // SAFETY: as above.
    let (inputs, input_dims, outputs) = unsafe {
        (
            array(call.inputs, signature.inputs.len(), "inputs")?,
            array(call.input_dims, signature.input_dims_len(), "input_dims")?,
            array(call.outputs, signature.outputs.len(), "outputs")?,
        )
    };
    let threads = pool.map_or(Threads::Serial, |pool| Threads::Pool(pool.clone()));
    model.inner.with_buffers(|buffers| {
        let tensors = (inputs, outputs);
        buffers.seed = seed;
        // SAFETY: as above.
        let dims = unsafe { buffers.run_raw(&model.inner, input_dims, tensors, call.workspace, state, &threads) }?;
        if !call.output_dims.is_null() {
            // SAFETY: as above.
            unsafe { call.output_dims.copy_from_nonoverlapping(dims.as_ptr(), dims.len()) };
        }
        Ok(())
    })
}

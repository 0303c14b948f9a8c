//! Runs whose outputs lie in memory of the runtime's: for outputs without a bound, and for who does not want to plan.

use std::ffi::c_void;

use super::{array, borrow, guard, null, store};
use crate::{Error, Model, Pool, Result, State, Status, Tensor, TensorRef, Threads, check};

/// The outputs of one run, by their positions; none for those that a state holds.
pub struct Results {
    outputs: Vec<Option<Tensor>>,
}

/// Runs a model, on what a state holds if one is given, and hands over its outputs.
///
/// # Safety
///
/// Handles are valid; arrays have the model's lengths; tensors are as large as `input_dims` say, and no other call uses the
/// state; `out` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nnc_run_results(
    model: *const Model,
    pool: *const Pool,
    state: *mut State,
    inputs: *const *const c_void,
    input_dims: *const i64,
    out: *mut *mut Results,
) -> i32 {
    guard(|| {
        // So that a caller who overlooks an error finds null.
        // SAFETY: the caller's promise, here and below.
        unsafe { store(out, std::ptr::null_mut(), "out") }?;
        // SAFETY: as above.
        let (model, pool, state) = unsafe { (borrow(model, "model")?, pool.as_ref(), state.as_mut()) };
        let signature = model.signature();
        // SAFETY: as above.
        let pointers = unsafe { array(inputs, signature.inputs.len(), "inputs") }?;
        // SAFETY: as above.
        let mut rest = unsafe { array(input_dims, signature.input_dims_len(), "input_dims") }?;
        let mut tensors = vec![];
        for (i, (info, &pointer)) in signature.inputs.iter().zip(pointers).enumerate() {
            let (dims, tail) = rest.split_at(info.dims.len());
            rest = tail;
            if state.is_some() && signature.state_of_input(i).is_some() {
                continue;
            }
            let too_large = || Error::new(Status::BadShape, format!("input `{}` cannot be {dims:?}", info.name));
            let bytes = check::bytes_of(info, dims).ok_or_else(too_large)? as usize;
            if pointer.is_null() && bytes > 0 {
                return Err(null(&info.name));
            }
            // SAFETY: as above.
            tensors.push(TensorRef {
                dtype: info.dtype,
                dims,
                data: unsafe { array(pointer.cast(), bytes, "inputs") }?,
            });
        }
        let threads = pool.map_or(Threads::Serial, |pool| Threads::Pool(pool.clone()));
        let kept = state.is_some();
        let found = model.inner.with_buffers(|buffers| {
            buffers.run(&model.inner, &tensors, state, &threads)?;
            Ok(buffers.take_outputs(signature))
        })?;
        let mut found = found.into_iter();
        let held = |i: usize| kept && signature.state_of_output(i).is_some();
        let outputs = (0..signature.outputs.len()).map(|i| if held(i) { None } else { found.next() }).collect();
        // SAFETY: as above.
        unsafe { store(out, Box::into_raw(Box::new(Results { outputs })), "out") }
    })
}

/// The elements of an output; null where there is none.
///
/// # Safety
///
/// The handle is valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nnc_results_data(results: *const Results, index: u32) -> *const c_void {
    // SAFETY: the caller's promise.
    let output = unsafe { results.as_ref() }.and_then(|results| results.outputs.get(index as usize)?.as_ref());
    output.map_or(std::ptr::null(), |tensor| tensor.data().as_ptr().cast())
}

/// The dimensions of an output.
///
/// # Safety
///
/// The handle is valid; `dims` has room for as many numbers as the output has axes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nnc_results_dims(results: *const Results, index: u32, dims: *mut i64) -> i32 {
    guard(|| {
        // SAFETY: the caller's promise, here and below.
        let results = unsafe { borrow(results, "results") }?;
        let missing = || Error::new(Status::BadArgument, format!("the run has no output {index}"));
        let tensor = results.outputs.get(index as usize).and_then(Option::as_ref).ok_or_else(missing)?;
        if dims.is_null() && !tensor.dims().is_empty() {
            return Err(null("dims"));
        }
        for (axis, &size) in tensor.dims().iter().enumerate() {
            // SAFETY: as above.
            unsafe { dims.add(axis).write(size) };
        }
        Ok(())
    })
}

/// Frees results; null is allowed.
///
/// # Safety
///
/// The handle is not used again, and no call is using it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nnc_results_free(results: *mut Results) {
    guard(|| -> Result<()> {
        if !results.is_null() {
            // SAFETY: made by `nnc_run_results`; the caller's promise.
            drop(unsafe { Box::from_raw(results) });
        }
        Ok(())
    });
}

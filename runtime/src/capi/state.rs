//! States: making, asking, cutting short.

use super::{array, borrow, guard, null, store};
use crate::{Model, Result, State};

/// Makes the states of a sequence of runs.
///
/// # Safety
///
/// The handle is valid; `dims` holds the dimensions of the input of each state, one after the other; `out` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nnc_state_create(model: *const Model, dims: *const i64, out: *mut *mut State) -> i32 {
    guard(|| {
        // So that a caller who overlooks an error finds null.
        // SAFETY: the caller's promise, here and below.
        unsafe { store(out, std::ptr::null_mut(), "out") }?;
        // SAFETY: as above.
        let model = unsafe { borrow(model, "model") }?;
        let signature = model.signature();
        let ranks = signature.states.iter().map(|state| signature.inputs[state.input].dims.len());
        // SAFETY: as above.
        let mut rest = unsafe { array(dims, ranks.clone().sum(), "dims") }?;
        let each: Vec<&[i64]> = ranks
            .map(|rank| {
                let (dims, tail) = rest.split_at(rank);
                rest = tail;
                dims
            })
            .collect();
        let state = Box::new(State::new(model, &each)?);
        // SAFETY: as above.
        unsafe { store(out, Box::into_raw(state), "out") }
    })
}

/// Frees states; null is allowed.
///
/// # Safety
///
/// The handle is not used again, and no call is using it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nnc_state_free(state: *mut State) {
    guard(|| {
        if !state.is_null() {
            // SAFETY: made by `nnc_state_create`; the caller's promise.
            drop(unsafe { Box::from_raw(state) });
        }
        Ok(())
    });
}

/// The dimensions of a state as the next run's input.
///
/// # Safety
///
/// The handle is valid; `dims` has room for as many numbers as the input has axes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nnc_state_dims(state: *const State, index: u32, dims: *mut i64) -> i32 {
    guard(|| {
        // SAFETY: the caller's promise.
        let state = unsafe { borrow(state, "state") }?;
        let found = dims_of(state, index)?;
        if dims.is_null() && !found.is_empty() {
            return Err(null("dims"));
        }
        // SAFETY: as above.
        unsafe { dims.copy_from_nonoverlapping(found.as_ptr(), found.len()) };
        Ok(())
    })
}

/// Keeps the first elements along the axis that grows.
///
/// # Safety
///
/// The handle is valid and no other call is using it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nnc_state_truncate(state: *mut State, index: u32, length: i64) -> i32 {
    guard(|| {
        // SAFETY: the caller's promise.
        let state = unsafe { state.as_mut() }.ok_or_else(|| null("state"))?;
        state.truncate(index as usize, length)
    })
}

fn dims_of(state: &State, index: u32) -> Result<&[i64]> {
    state.info(index as usize)?;
    Ok(state.dims(index as usize))
}

//! Loading, freeing and asking models.

use std::ffi::{CStr, OsStr, c_char};
use std::os::unix::ffi::OsStrExt;

use nnc_abi::{ModelDescriptor, Status, TensorDescriptor};

use super::{array, borrow, guard, null, store};
use crate::{Error, Model, Result};

/// Loads a compiled model from a file.
///
/// # Safety
///
/// `path` is a string; `out` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nnc_model_load(path: *const c_char, out: *mut *mut Model) -> i32 {
    guard(|| {
        if path.is_null() {
            return Err(null("path"));
        }
        // SAFETY: the caller's promise.
        let path = OsStr::from_bytes(unsafe { CStr::from_ptr(path) }.to_bytes());
        // SAFETY: the caller's promise.
        unsafe { give(out, || Model::load(path)) }
    })
}

/// Makes a handle for a model that is linked into the program.
///
/// # Safety
///
/// `descriptor` is one that nnc made and outlives the handle; `out` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nnc_model_from_descriptor(descriptor: *const ModelDescriptor, out: *mut *mut Model) -> i32 {
    guard(|| {
        if descriptor.is_null() {
            return Err(null("descriptor"));
        }
        // SAFETY: the caller's promise.
        unsafe { give(out, || Model::from_descriptor_owned(descriptor, Box::new(()))) }
    })
}

/// Makes a handle for a model that is linked into the program and keeps its weights in a file.
///
/// # Safety
///
/// `descriptor` is one that nnc made and outlives the handle; `folder` is a string; `out` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nnc_model_from_descriptor_in(
    descriptor: *const ModelDescriptor,
    folder: *const c_char,
    out: *mut *mut Model,
) -> i32 {
    guard(|| {
        // SAFETY: the caller's promise.
        let descriptor = unsafe { borrow(descriptor, "descriptor") }?;
        if folder.is_null() {
            return Err(null("folder"));
        }
        // SAFETY: the caller's promise.
        let folder = OsStr::from_bytes(unsafe { CStr::from_ptr(folder) }.to_bytes());
        // SAFETY: the caller's promise.
        unsafe { give(out, || Model::from_descriptor_in(descriptor, folder)) }
    })
}

/// Frees a handle; null is allowed.
///
/// # Safety
///
/// The handle is not used again, and no call is using it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nnc_model_free(model: *mut Model) {
    guard(|| {
        if !model.is_null() {
            // SAFETY: made by `give`; the caller's promise.
            drop(unsafe { Box::from_raw(model) });
        }
        Ok(())
    });
}

/// Compares code and weights with their hashes.
///
/// # Safety
///
/// The handle is valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nnc_model_verify(model: *const Model) -> i32 {
    // SAFETY: the caller's promise.
    guard(|| unsafe { borrow(model, "model") }?.verify())
}

/// Frees the memory that is kept for later runs; answers its bytes. 0 for null.
///
/// # Safety
///
/// The handle is valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nnc_model_trim(model: *const Model) -> u64 {
    let mut freed = 0;
    guard(|| {
        // SAFETY: the caller's promise.
        freed = unsafe { borrow(model, "model") }?.trim();
        Ok(())
    });
    freed
}

/// The model's descriptor, valid as long as the handle; null for null.
///
/// # Safety
///
/// The handle is valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nnc_model_get_descriptor(model: *const Model) -> *const ModelDescriptor {
    // SAFETY: the caller's promise.
    unsafe { model.as_ref() }.map_or(std::ptr::null(), |m| std::ptr::from_ref(m.descriptor()))
}

/// Describes an input.
///
/// # Safety
///
/// The handle is valid; `out` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nnc_model_input(model: *const Model, index: u32, out: *mut *const TensorDescriptor) -> i32 {
    // SAFETY: the caller's promise; the descriptor's arrays are valid.
    guard(|| unsafe {
        let d = borrow(model, "model")?.descriptor();
        store(out, nth(array(d.inputs, d.n_inputs as usize, "inputs")?, index, "inputs")?, "out")
    })
}

/// Describes an output.
///
/// # Safety
///
/// The handle is valid; `out` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nnc_model_output(model: *const Model, index: u32, out: *mut *const TensorDescriptor) -> i32 {
    // SAFETY: the caller's promise; the descriptor's arrays are valid.
    guard(|| unsafe {
        let d = borrow(model, "model")?.descriptor();
        store(out, nth(array(d.outputs, d.n_outputs as usize, "outputs")?, index, "outputs")?, "out")
    })
}

fn nth(tensors: &[TensorDescriptor], index: u32, what: &str) -> Result<*const TensorDescriptor> {
    tensors.get(index as usize).map(std::ptr::from_ref).ok_or_else(|| {
        Error::new(Status::BadArgument, format!("index {index}: the model has {} {what}", tensors.len()))
    })
}

/// # Safety
///
/// `out` is null or writable.
unsafe fn give(out: *mut *mut Model, make: impl FnOnce() -> Result<Model>) -> Result<()> {
    // So that a caller who overlooks an error finds null.
    // SAFETY: the caller's promise.
    unsafe { store(out, std::ptr::null_mut(), "out") }?;
    let model = Box::new(make()?);
    // SAFETY: the caller's promise.
    unsafe { store(out, Box::into_raw(model), "out") }
}

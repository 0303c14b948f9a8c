//! The C API: `include/nnc.h`, which documents each function for its users.
//!
//! Functions answer a [`Status`] as `i32` and leave a line of text for [`nnc_last_error`]; no panic leaves them. Handles
//! are boxes; what their pointers must be is said once, in the header and in the `Safety` sections: handles come from
//! this API and have not been freed, arrays have the model's lengths.

mod model;
mod pool;
mod results;
mod run;
mod state;

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};

pub use model::*;
use nnc_abi::{DType, Status};
pub use pool::*;
pub use results::*;
pub use run::*;
pub use state::*;

use crate::{Error, Result};

thread_local! {
    static LAST_ERROR: RefCell<CString> = RefCell::default();
}

/// The text of the last error on the calling thread, valid until the next error on it; empty if there was none.
#[unsafe(no_mangle)]
pub extern "C" fn nnc_last_error() -> *const c_char {
    LAST_ERROR.try_with(|text| text.borrow().as_ptr()).unwrap_or(c"".as_ptr())
}

/// A sentence for a status; for an unknown one too. Never null, never freed.
#[unsafe(no_mangle)]
pub extern "C" fn nnc_status_text(status: i32) -> *const c_char {
    Status::from_code(status).map_or(c"unknown status", Status::c_text).as_ptr()
}

/// The runtime's version, such as `0.1.0`. Never freed.
#[unsafe(no_mangle)]
pub extern "C" fn nnc_version() -> *const c_char {
    const VERSION: &CStr = match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
        Ok(version) => version,
        Err(_) => panic!("the version contains a NUL"),
    };
    VERSION.as_ptr()
}

/// The version of the ABI that models must have.
#[unsafe(no_mangle)]
pub extern "C" fn nnc_abi_version() -> u32 {
    nnc_abi::ABI_VERSION
}

/// Bits of one element of a type; 0 for an unknown one.
#[unsafe(no_mangle)]
pub extern "C" fn nnc_dtype_bits(dtype: u32) -> u32 {
    DType::from_code(dtype).map_or(0, DType::bits)
}

/// The processor features of this machine, in the bits of the ABI.
#[unsafe(no_mangle)]
pub extern "C" fn nnc_host_features() -> u64 {
    crate::host_features()
}

/// Runs a function's body, keeps its error for `nnc_last_error` and answers its status.
fn guard(body: impl FnOnce() -> Result<()>) -> i32 {
    let result = catch_unwind(AssertUnwindSafe(body));
    let error = match result {
        Ok(Ok(())) => return Status::Ok as i32,
        Ok(Err(error)) => error,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("panic");
            Error::new(Status::Internal, format!("internal error: {text}"))
        }
    };
    let text = CString::new(error.to_string().replace('\0', "?")).unwrap_or_default();
    // At the end of a thread there is nowhere to keep it.
    let _ = LAST_ERROR.try_with(|last| *last.borrow_mut() = text);
    error.status() as i32
}

fn null(what: &str) -> Error {
    Error::new(Status::NullArgument, format!("`{what}` is null"))
}

/// A handle or structure behind a pointer.
///
/// # Safety
///
/// Null, or valid for `'a` and not written meanwhile.
unsafe fn borrow<'a, T>(pointer: *const T, what: &str) -> Result<&'a T> {
    // SAFETY: the caller's promise.
    unsafe { pointer.as_ref() }.ok_or_else(|| null(what))
}

/// # Safety
///
/// Null, or valid for `len` elements for `'a` and not written meanwhile.
unsafe fn array<'a, T>(pointer: *const T, len: usize, what: &str) -> Result<&'a [T]> {
    match (len, pointer.is_null()) {
        (0, _) => Ok(&[]),
        (_, true) => Err(null(what)),
        // SAFETY: the caller's promise.
        _ => Ok(unsafe { std::slice::from_raw_parts(pointer, len) }),
    }
}

/// # Safety
///
/// Null, or valid for writing.
unsafe fn store<T>(pointer: *mut T, value: T, what: &str) -> Result<()> {
    if pointer.is_null() {
        return Err(null(what));
    }
    // SAFETY: the caller's promise.
    unsafe { pointer.write(value) };
    Ok(())
}

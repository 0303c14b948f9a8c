//! Pools, and the context that lends one to a model called without the runtime.

use std::ffi::c_void;

use nnc_abi::{ParallelBody, RunContext};

use super::{borrow, guard, store};
use crate::Pool;

/// Makes a pool; 0 threads means as many as the shared pool has by default.
///
/// # Safety
///
/// `out` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nnc_pool_create(threads: u32, out: *mut *mut Pool) -> i32 {
    guard(|| {
        // SAFETY: the caller's promise.
        unsafe { store(out, std::ptr::null_mut(), "out") }?;
        let threads = if threads == 0 { crate::pool::size::default_threads() } else { threads as usize };
        // SAFETY: the caller's promise.
        unsafe { store(out, Box::into_raw(Box::new(Pool::new(threads))), "out") }
    })
}

/// Frees a pool; null is allowed.
///
/// # Safety
///
/// The handle comes from `nnc_pool_create`, is not used again, and no call is using it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nnc_pool_free(pool: *mut Pool) {
    guard(|| {
        // The shared pool is nobody's to free.
        if !pool.is_null() && !std::ptr::eq(pool, Pool::shared()) {
            // SAFETY: made by `nnc_pool_create`; the caller's promise.
            drop(unsafe { Box::from_raw(pool) });
        }
        Ok(())
    });
}

/// The pool that the process shares, started on first use; null if that failed. Never freed.
#[unsafe(no_mangle)]
pub extern "C" fn nnc_pool_shared() -> *const Pool {
    let mut pool = std::ptr::null();
    guard(|| {
        pool = Pool::shared();
        Ok(())
    });
    pool
}

/// Threads of a pool, the caller of a loop included; 1 for null.
///
/// # Safety
///
/// The handle is valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nnc_pool_threads(pool: *const Pool) -> u32 {
    // SAFETY: the caller's promise.
    unsafe { pool.as_ref() }.map_or(1, |pool| pool.threads() as u32)
}

/// Fills in the context that lends a pool to a run.
///
/// # Safety
///
/// The handle is valid and outlives every use of the context; `out` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nnc_pool_context(pool: *const Pool, out: *mut RunContext) -> i32 {
    // SAFETY: the caller's promise.
    guard(|| unsafe { store(out, borrow(pool, "pool")?.context(), "out") })
}

/// Runs a loop on a pool; on the calling thread for a null pool.
///
/// # Safety
///
/// The handle is valid; `body` may be called with `data` from any thread and does not throw.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nnc_pool_parallel_for(
    pool: *mut c_void,
    count: i64,
    grain: i64,
    body: Option<ParallelBody>,
    data: *mut c_void,
) {
    let Some(body) = body else { return };
    // SAFETY: the caller's promise.
    let pool = unsafe { pool.cast::<Pool>().as_ref() };
    let context = pool.map_or(RunContext::NOTHING, Pool::context);
    // SAFETY: the caller's promise.
    unsafe {
        match context.parallel_for {
            Some(parallel_for) => parallel_for(context.pool, count, grain, body, data),
            None if count > 0 => body(data, 0, count),
            None => {}
        }
    }
}

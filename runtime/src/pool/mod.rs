//! Threads for models: a fork-join pool with several loops in flight.
//!
//! ```text
//!  caller ── claims a slot ── publishes the loop ── works ── withdraws it ── waits for helpers still inside
//!  worker ── sees an open slot ── joins ── claims chunks until none are left ── leaves
//! ```
//!
//! A caller always takes part and would finish the loop alone, so nothing ever waits for a worker to become free:
//! loops started from many threads at once, or inside another loop, cannot deadlock, and a pool works (serially) in a
//! child process after `fork`. When all slots are taken, a loop runs on its caller alone.
//!
//! Which thread runs which chunk is decided by an atomic counter; results must not depend on it, and those of models do
//! not.
//!
//! Modules: [`size`] counts processors, `slot` is one loop in flight, `worker` is the life of a thread.

pub mod size;
mod slot;
#[cfg(test)]
mod tests;
mod worker;

use std::any::Any;
use std::ffi::c_void;
use std::fmt;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use nnc_abi::{ParallelBody, RunContext};
use slot::Job;
use worker::{Shared, Workers};

/// Chunks that each thread gets on average, when the grain allows: enough to even out threads that start late.
const CHUNKS_PER_THREAD: u64 = 4;

/// A pool of threads; clones share it. The threads end when the last clone goes.
#[derive(Clone)]
pub struct Pool {
    workers: Arc<Workers>,
}

impl Pool {
    /// A pool that runs loops on `threads` threads, of which the caller of a loop is one. 0 counts as 1. If the system
    /// refuses threads, there are fewer.
    pub fn new(threads: usize) -> Pool {
        Pool { workers: Arc::new(Workers::start(threads.clamp(1, size::MAX_THREADS) - 1)) }
    }

    /// The pool that all models of the process share, started on first use with [`size::default_threads`] threads.
    pub fn shared() -> &'static Pool {
        static SHARED: OnceLock<Pool> = OnceLock::new();
        SHARED.get_or_init(|| Pool::new(size::default_threads()))
    }

    /// Threads that run a loop, the caller included.
    pub fn threads(&self) -> usize {
        self.workers.shared.workers() + 1
    }

    /// The context that lends this pool to a run; valid as long as the pool lives.
    pub fn context(&self) -> RunContext {
        if self.threads() == 1 {
            return serial_context();
        }
        let pool = Arc::as_ptr(&self.workers.shared).cast_mut().cast::<c_void>();
        RunContext {
            parallel_for: Some(parallel_for),
            pool,
            threads: self.threads() as u32,
            flags: 0,
            seed: 0,
            reserved: [0; 2],
        }
    }

    /// Runs `body` on disjoint ranges that together cover `0..count`, each at least `grain` long but the last. If calls
    /// panic, the loop still ends, and one of the panics goes on in the caller.
    pub fn parallel_for(&self, count: usize, grain: usize, body: impl Fn(Range<usize>) + Sync) {
        struct Closure<F> {
            body: F,
            panic: Mutex<Option<Box<dyn Any + Send>>>,
        }
        unsafe extern "C" fn call<F: Fn(Range<usize>) + Sync>(data: *mut c_void, begin: i64, end: i64) {
            // SAFETY: `data` is the closure below, which outlives the loop and is shared.
            let closure = unsafe { &*data.cast::<Closure<F>>() };
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (closure.body)(begin as usize..end as usize))) {
                closure.panic.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(panic);
            }
        }
        fn trampoline<F: Fn(Range<usize>) + Sync>(_: &Closure<F>) -> ParallelBody {
            call::<F>
        }

        let clamp = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        let closure = Closure { body, panic: Mutex::new(None) };
        let data = (&raw const closure).cast_mut().cast();
        // SAFETY: the body fits the data, may run on any thread (`Sync`), and does not unwind.
        unsafe { run(&self.workers.shared, clamp(count), clamp(grain), trampoline(&closure), data) };
        if let Some(panic) = closure.panic.into_inner().unwrap_or_else(PoisonError::into_inner) {
            resume_unwind(panic);
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pool({} threads)", self.threads())
    }
}

/// The context of a run without threads.
pub(crate) fn serial_context() -> RunContext {
    RunContext { parallel_for: None, pool: std::ptr::null_mut(), threads: 1, flags: 0, seed: 0, reserved: [0; 2] }
}

/// [`nnc_abi::ParallelFor`] of a [`Pool`].
///
/// # Safety
///
/// `pool` comes from [`Pool::context`] of a living pool, and `body` may be called with `data` from any thread.
pub(crate) unsafe extern "C" fn parallel_for(
    pool: *mut c_void,
    count: i64,
    grain: i64,
    body: ParallelBody,
    data: *mut c_void,
) {
    // SAFETY: the caller's promise.
    unsafe { run(&*pool.cast::<Shared>(), count, grain, body, data) }
}

/// # Safety
///
/// `body` may be called with `data` from any thread and does not unwind.
unsafe fn run(shared: &Shared, count: i64, grain: i64, body: ParallelBody, data: *mut c_void) {
    let Ok(count) = u64::try_from(count) else {
        return;
    };
    let threads = shared.workers() as u64 + 1;
    let chunk = (grain.max(1) as u64).max(count / (threads * CHUNKS_PER_THREAD));
    if threads > 1 && chunk < count {
        let job = Job { body, data, count, chunk };
        // SAFETY: the caller's promise.
        if unsafe { shared.run(job) } {
            return;
        }
    }
    if count > 0 {
        // SAFETY: the caller's promise.
        unsafe { body(data, 0, count as i64) }
    }
}

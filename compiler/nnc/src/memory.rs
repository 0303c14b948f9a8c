//! A budget of heap memory for compilation.
//!
//! A small model can ask for a large program: limits on nodes, folding and unfolding keep that in check where they
//! know of it, and this is the net under them. [`Counted`] is the global allocator of the `nnc` command; while a
//! [`Budget`] lives, an allocation that would exceed it ends the process with one line and exit code 2, and so does one
//! that the system refuses; without a budget no model is being compiled, and a refusal is exit code 1. Output files that
//! have only a temporary name are removed.
//!
//! Rust offers a failed allocation no way back, so the process ends where it happens, on whatever thread, with whatever
//! locks held. Hence that path allocates nothing, takes no lock and runs no destructor: it calls `write`, `unlink` and
//! `_exit`, which POSIX allows even in a signal handler.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;
use std::sync::atomic::{AtomicIsize, AtomicPtr, AtomicUsize, Ordering::Relaxed};

use mimalloc::MiMalloc;

use crate::errors::Blame;

/// Memory that any model may take.
pub const BASE_BYTES: u64 = 2 << 30;
/// Memory that a model may take besides, for each of its bytes.
pub const BYTES_PER_BYTE: u64 = 4;

/// Bytes that are allocated, but for what threads have not reported.
static LIVE: AtomicIsize = AtomicIsize::new(0);
/// Bytes that may be.
static LIMIT: AtomicUsize = AtomicUsize::new(usize::MAX);
/// Bytes that a thread allocates or frees before it reports.
const UNREPORTED: isize = 64 << 10;
/// Temporary names of output files, null-terminated.
static STAGED: [AtomicPtr<std::ffi::c_char>; 4] = [const { AtomicPtr::new(ptr::null_mut()) }; 4];

thread_local! {
    static PENDING: Cell<isize> = const { Cell::new(0) };
}

/// mimalloc, counted. It is quicker than the C library's allocator with blocks as small and brief as a compiler's.
pub struct Counted;

// SAFETY: memory comes from `MiMalloc` and goes back to it with the layout it came with; counting does not touch it.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promises are those that `MiMalloc` wants.
        checked(unsafe { MiMalloc.alloc(layout) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: as above.
        checked(unsafe { MiMalloc.alloc_zeroed(layout) })
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: as above.
        unsafe { MiMalloc.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as isize - layout.size() as isize);
        // SAFETY: as above.
        checked(unsafe { MiMalloc.realloc(memory, layout, size) })
    }
}

/// Notes a change of the bytes allocated.
fn count(change: isize) {
    // A thread that is ending has no counter any more.
    let report = PENDING.try_with(|pending| {
        let sum = pending.get() + change;
        let report = sum.abs() >= UNREPORTED;
        pending.set(if report { 0 } else { sum });
        if report { sum } else { 0 }
    });
    let report = report.unwrap_or(change);
    if report != 0 {
        let live = LIVE.fetch_add(report, Relaxed) + report;
        if report > 0 && live > 0 && live as usize > LIMIT.load(Relaxed) {
            exhausted(
                b"error: compiling this model takes more memory than it may (--max-memory); it is no model this \
                compiler accepts\n",
                Blame::Compiler,
            );
        }
    }
}

fn checked(memory: *mut u8) -> *mut u8 {
    if memory.is_null() {
        let compiling = LIMIT.load(Relaxed) != usize::MAX;
        let blame = if compiling { Blame::Compiler } else { Blame::User };
        exhausted(b"error: the system has no memory left\n", blame);
    }
    memory
}

/// Ends the process.
fn exhausted(line: &[u8], blame: Blame) -> ! {
    for staged in &STAGED {
        let path = staged.load(Relaxed);
        if !path.is_null() {
            // SAFETY: a path in the table is null-terminated and never freed.
            unsafe { libc::unlink(path) };
        }
    }
    // SAFETY: `line` is that long; `_exit` ends the process without running anything.
    unsafe {
        libc::write(2, line.as_ptr().cast(), line.len());
        libc::_exit(blame.exit_code().into())
    }
}

/// While it lives, the process may take this much more than it had. The command compiles one model at a time: a second
/// budget would replace the first.
#[derive(Debug)]
pub struct Budget {
    /// Bytes that were allocated before.
    before: usize,
}

impl Budget {
    /// A budget of that many bytes.
    pub fn new(bytes: u64) -> Budget {
        let budget = Budget { before: usize::try_from(LIVE.load(Relaxed)).unwrap_or(0) };
        budget.set(bytes);
        budget
    }

    /// Makes it that many bytes.
    pub fn set(&self, bytes: u64) {
        LIMIT.store(self.before.saturating_add(usize::try_from(bytes).unwrap_or(usize::MAX)), Relaxed);
    }
}

/// The bytes that a model of so many bytes may take.
pub fn allowance(model: u64) -> u64 {
    model.saturating_mul(BYTES_PER_BYTE).saturating_add(BASE_BYTES)
}

impl Drop for Budget {
    fn drop(&mut self) {
        LIMIT.store(usize::MAX, Relaxed);
    }
}

/// A file to be removed when memory runs out, until this is dropped.
#[derive(Debug)]
pub struct Staged(Option<usize>);

impl Staged {
    /// Registers a file that is about to be made.
    pub fn new(path: &Path) -> Staged {
        let Ok(path) = CString::new(path.as_os_str().as_bytes()) else { return Staged(None) };
        let path = path.into_raw();
        let free = |slot: &AtomicPtr<_>| slot.compare_exchange(ptr::null_mut(), path, Relaxed, Relaxed).is_ok();
        Staged(STAGED.iter().position(free))
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if let Some(slot) = self.0.and_then(|slot| STAGED.get(slot)) {
            // The name is left to the system: another thread may be reading it on its way out.
            slot.store(ptr::null_mut(), Relaxed);
        }
    }
}

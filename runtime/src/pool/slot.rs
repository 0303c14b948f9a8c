//! One loop in flight.
//!
//! # Protocol
//!
//! `state` holds the number of helpers inside, and two flags. The owner, who holds `claimed`, writes the job while the
//! state is 0, sets `OPEN`, works, clears `OPEN`, and waits until no helper is inside. A helper enters by raising the
//! count in one step with seeing `OPEN`, and only then reads the job: it is valid from that step to the helper's leaving,
//! even if the slot was closed and opened for another loop after the helper first looked at it.

use std::cell::UnsafeCell;
use std::ffi::c_void;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nnc_abi::ParallelBody;

const OPEN: u32 = 1 << 31;
const OWNER_SLEEPS: u32 = 1 << 30;
const HELPERS: u32 = OWNER_SLEEPS - 1;

/// How long an owner watches for the last helper before it sleeps: the length of a usual chunk.
const SPIN: Duration = Duration::from_micros(100);

/// A loop: `body` over `0..count` in steps of `chunk`.
#[derive(Clone, Copy)]
pub(super) struct Job {
    pub(super) body: ParallelBody,
    pub(super) data: *mut c_void,
    pub(super) count: u64,
    pub(super) chunk: u64,
}

/// A place for a loop. Fields that different threads write stand on cache lines of their own (128 bytes: processors
/// fetch lines in pairs).
#[repr(align(128))]
pub(super) struct Slot {
    claimed: AtomicBool,
    job: UnsafeCell<Option<Job>>,
    state: Line<AtomicU32>,
    /// The next chunk to hand out. Counting chunks, not iterations, it cannot overflow.
    next: Line<AtomicU64>,
    asleep: Mutex<()>,
    wake: Condvar,
}

#[repr(align(128))]
struct Line<T>(T);

// SAFETY: the job is written by the owner while nobody else may read it, by the protocol above; what it points to may be
// used from any thread by the promise of `Slot::open`.
unsafe impl Sync for Slot {}
// SAFETY: as above.
unsafe impl Send for Slot {}

impl Slot {
    pub(super) fn new() -> Slot {
        Slot {
            claimed: AtomicBool::new(false),
            job: UnsafeCell::new(None),
            state: Line(AtomicU32::new(0)),
            next: Line(AtomicU64::new(0)),
            asleep: Mutex::new(()),
            wake: Condvar::new(),
        }
    }

    /// Becomes the owner, if there is none.
    pub(super) fn claim(&self) -> bool {
        !self.claimed.load(Ordering::Relaxed) && !self.claimed.swap(true, Ordering::Acquire)
    }

    /// Lets helpers in.
    ///
    /// # Safety
    ///
    /// The caller owns the slot, which is not open, and `job.body` may be called with its data from any thread until
    /// [`Self::close`] returns.
    pub(super) unsafe fn open(&self, job: Job) {
        // SAFETY: no helper is inside (the last `close` saw them out), and none enters before `OPEN` is set.
        unsafe { *self.job.get() = Some(job) };
        self.next.0.store(0, Ordering::Relaxed);
        self.state.0.store(OPEN, Ordering::Release);
    }

    /// Works until no chunk is left to claim. The caller is the owner, with the slot open, or a helper inside.
    pub(super) fn work(&self) {
        // SAFETY: valid while the owner has not closed or the helper has not left.
        let Some(job) = (unsafe { *self.job.get() }) else {
            return;
        };
        let chunks = job.count.div_ceil(job.chunk);
        loop {
            let chunk = self.next.0.fetch_add(1, Ordering::Relaxed);
            if chunk >= chunks {
                return;
            }
            let begin = chunk * job.chunk;
            let end = job.count.min(begin.saturating_add(job.chunk));
            // SAFETY: the promise of `open`; each chunk is claimed once. `count` came from an i64.
            unsafe { (job.body)(job.data, begin as i64, end as i64) };
        }
    }

    /// As a helper: enters if the slot is open.
    pub(super) fn enter(&self) -> bool {
        let mut state = self.state.0.load(Ordering::Relaxed);
        while state & OPEN != 0 {
            match self.state.0.compare_exchange_weak(state, state + 1, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => state = now,
            }
        }
        false
    }

    /// As a helper: leaves, after which the job may be gone.
    pub(super) fn leave(&self) {
        let before = self.state.0.fetch_sub(1, Ordering::Release);
        if before & OWNER_SLEEPS != 0 && before & HELPERS == 1 {
            // Under the lock, as the owner looks under it before it sleeps.
            let _asleep = self.asleep.lock().unwrap_or_else(PoisonError::into_inner);
            self.wake.notify_all();
        }
    }

    /// As the owner: keeps new helpers out, waits for those inside, and gives the slot up.
    pub(super) fn close(&self) {
        let mut state = self.state.0.fetch_and(!OPEN, Ordering::AcqRel) & !OPEN;
        if state & HELPERS != 0 {
            let start = Instant::now();
            while state & HELPERS != 0 && start.elapsed() < SPIN {
                std::hint::spin_loop();
                state = self.state.0.load(Ordering::Acquire);
            }
        }
        if state & HELPERS != 0 {
            let mut asleep = self.asleep.lock().unwrap_or_else(PoisonError::into_inner);
            state = self.state.0.fetch_or(OWNER_SLEEPS, Ordering::AcqRel);
            while state & HELPERS != 0 {
                asleep = self.wake.wait(asleep).unwrap_or_else(PoisonError::into_inner);
                state = self.state.0.load(Ordering::Acquire);
            }
        }
        self.state.0.store(0, Ordering::Relaxed);
        self.claimed.store(false, Ordering::Release);
    }
}

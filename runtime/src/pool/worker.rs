//! The threads of a pool: how they find work, wait for it and end.
//!
//! Between the loops of one run lie microseconds, so an idle worker watches for work for a while before it sleeps. It
//! sleeps on `published` with a futex: one system call wakes as many as a loop can use. `published` and `sleepers` are
//! sequentially consistent: either the publisher sees the sleeper, or the sleeper sees the publication and stays awake.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::slot::{Job, Slot};

/// Loops in flight at once; the mask `open` has a bit for each.
const SLOTS: usize = 16;

/// How long a worker watches for work before it sleeps: longer than the serial parts of a run.
const SPIN: Duration = Duration::from_micros(100);

/// What the threads of a pool share.
pub(super) struct Shared {
    slots: [Slot; SLOTS],
    /// Slots that may have work: a hint.
    open: AtomicU32,
    /// Counts published loops, wrapping; what idle workers watch.
    published: AtomicU32,
    sleepers: AtomicU32,
    ending: AtomicBool,
    /// Set once, when the threads have started.
    workers: AtomicUsize,
}

/// The threads themselves.
pub(super) struct Workers {
    pub(super) shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    /// Starts up to `count` threads.
    pub(super) fn start(count: usize) -> Workers {
        let shared = Arc::new(Shared {
            slots: std::array::from_fn(|_| Slot::new()),
            open: AtomicU32::new(0),
            published: AtomicU32::new(0),
            sleepers: AtomicU32::new(0),
            ending: AtomicBool::new(false),
            workers: AtomicUsize::new(0),
        });
        let threads = (0..count).map_while(|index| {
            let shared = shared.clone();
            let builder = std::thread::Builder::new().name(format!("nnc-{}", index + 1));
            builder.spawn(move || shared.live(index)).ok()
        });
        let threads: Vec<_> = threads.collect();
        shared.workers.store(threads.len(), Ordering::Relaxed);
        Workers { shared, threads }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.shared.ending.store(true, Ordering::SeqCst);
        self.shared.published.fetch_add(1, Ordering::SeqCst);
        futex_wake(&self.shared.published, u32::MAX);
        for thread in self.threads.drain(..) {
            // A loop's body may drop the last handle of its pool; a thread cannot wait for itself.
            if thread.thread().id() != std::thread::current().id() {
                let _ = thread.join();
            }
        }
    }
}

impl Shared {
    pub(super) fn workers(&self) -> usize {
        self.workers.load(Ordering::Relaxed)
    }

    /// Runs a loop of at least two chunks; answers `false`, having done nothing, when too many are in flight.
    ///
    /// # Safety
    ///
    /// The job's body may be called with its data from any thread, and does not unwind.
    pub(super) unsafe fn run(&self, job: Job) -> bool {
        let Some(index) = self.slots.iter().position(Slot::claim) else {
            return false;
        };
        let (slot, bit) = (&self.slots[index], 1 << index);
        // SAFETY: just claimed; the caller's promise holds until `close`.
        unsafe { slot.open(job) };
        self.open.fetch_or(bit, Ordering::Release);
        self.published.fetch_add(1, Ordering::SeqCst);
        if self.sleepers.load(Ordering::SeqCst) > 0 {
            let helpers = (job.count.div_ceil(job.chunk) - 1).min(self.workers() as u64);
            futex_wake(&self.published, helpers as u32);
        }
        slot.work();
        self.open.fetch_and(!bit, Ordering::Relaxed);
        slot.close();
        true
    }

    /// The life of worker `index`.
    fn live(&self, index: usize) {
        loop {
            // In this order: `ending` is set before the last publication, so that a worker either sees it here, or sees an
            // earlier count and does not sleep.
            let seen = self.published.load(Ordering::SeqCst);
            if self.ending.load(Ordering::SeqCst) {
                return;
            }
            while self.help(index) {}
            self.wait_beyond(seen);
        }
    }

    /// Works on one open loop, if there is any.
    fn help(&self, index: usize) -> bool {
        // Workers start looking at different slots, so that several loops share them out.
        let start = index as u32 % SLOTS as u32;
        let open = self.open.load(Ordering::Acquire);
        let rotated = (open | open << SLOTS) >> start & ((1 << SLOTS) - 1);
        if rotated == 0 {
            return false;
        }
        let at = (rotated.trailing_zeros() + start) % SLOTS as u32;
        let slot = &self.slots[at as usize];
        if slot.enter() {
            slot.work();
            // No chunk is left. While this helper is inside, the bit cannot stand for a later loop.
            self.open.fetch_and(!(1 << at), Ordering::Relaxed);
            slot.leave();
        }
        true
    }

    /// Returns when something has been published since `seen`.
    fn wait_beyond(&self, seen: u32) {
        let start = Instant::now();
        while start.elapsed() < SPIN {
            for _ in 0..16 {
                if self.published.load(Ordering::Relaxed) != seen {
                    return;
                }
                std::hint::spin_loop();
            }
        }
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        while self.published.load(Ordering::SeqCst) == seen {
            futex_wait(&self.published, seen);
        }
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Sleeps while `word` is `value`; may return early.
fn futex_wait(word: &AtomicU32, value: u32) {
    let operation = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;
    let no_timeout = std::ptr::null::<libc::timespec>();
    // SAFETY: the word is a valid, aligned 32-bit integer for the length of the call.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), operation, value, no_timeout) };
}

/// Wakes up to `count` sleepers.
fn futex_wake(word: &AtomicU32, count: u32) {
    let operation = libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG;
    // SAFETY: as above; the kernel only uses the address.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), operation, count.min(i32::MAX as u32)) };
}

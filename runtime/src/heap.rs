//! The allocator of a run: memory for what has no bound from the sizes of the inputs.
//!
//! Memory that a run gave back serves its later requests and those of the next run; what a whole run had no use for is
//! freed at its end.

use std::ffi::c_void;
use std::mem::take;

use nnc_abi::Allocator;

use crate::buffer::Buffer;

/// A request is served by memory of at most this many times its size, and a page more.
const MOST_WASTE: usize = 2;
const PAGE: usize = 4096;

/// Memory by whom it belongs to.
#[derive(Debug, Default)]
pub(crate) struct Heap {
    /// Given back in this run, or made for it.
    free: Vec<Buffer>,
    /// Left from the run before.
    idle: Vec<Buffer>,
    /// The run's.
    live: Vec<Buffer>,
    /// The outputs', by their positions.
    outputs: Vec<Buffer>,
    /// Where the caller wants outputs instead, and how much room is there.
    places: Vec<(*mut u8, usize)>,
    /// Bytes that could not be had, and the output they were for, or -1.
    refused: Option<(u64, i64)>,
}

// SAFETY: `places` is written before each call and never read after it; the rest is owned memory.
unsafe impl Send for Heap {}
// SAFETY: as above; a shared reference gives no access.
unsafe impl Sync for Heap {}

impl Heap {
    /// Bytes of memory held.
    pub(crate) fn bytes(&self) -> usize {
        [&self.free, &self.idle, &self.live, &self.outputs].into_iter().flatten().map(Buffer::capacity).sum()
    }

    /// Makes ready for a run of a model with this many outputs; those that it allocates go to `places`, if there are any.
    pub(crate) fn begin(&mut self, outputs: usize, places: &[(*mut u8, usize)]) {
        self.idle.append(&mut self.free);
        self.idle.append(&mut self.live);
        self.idle.extend(self.outputs.drain(..).filter(|buffer| buffer.capacity() > 0));
        self.outputs.resize_with(outputs, Buffer::empty);
        self.places.clear();
        self.places.extend_from_slice(places);
        self.refused = None;
    }

    /// Ends a run.
    pub(crate) fn end(&mut self) {
        self.idle.clear();
        self.places.clear();
    }

    /// The memory of an output; empty if the run asked for none.
    pub(crate) fn take_output(&mut self, output: usize) -> Buffer {
        self.outputs.get_mut(output).map_or_else(Buffer::empty, take)
    }

    /// Keeps memory for later requests.
    pub(crate) fn give(&mut self, buffer: Buffer) {
        if buffer.capacity() > 0 {
            self.free.push(buffer);
        }
    }

    /// What the run could not get.
    pub(crate) fn refused(&self) -> Option<(u64, i64)> {
        self.refused
    }

    /// The interface for model code. It is valid while `heap` is, which nothing else may use during the run.
    pub(crate) fn allocator(heap: *mut Heap) -> Allocator {
        Allocator { allocate, release, state: heap.cast() }
    }

    fn allocate(&mut self, bytes: u64, output: i64) -> Option<*mut u8> {
        let position = usize::try_from(output).ok();
        if let Some(&(place, room)) = position.and_then(|i| self.places.get(i)) {
            return (bytes <= room as u64).then_some(place);
        }
        let buffer = self.find(bytes)?;
        let memory = buffer.pointer();
        match position {
            None => self.live.push(buffer),
            Some(i) => {
                let old = std::mem::replace(self.outputs.get_mut(i)?, buffer);
                self.give(old);
            }
        }
        Some(memory)
    }

    /// Memory for a request: the smallest that fits and is not much too large, or new.
    fn find(&mut self, bytes: u64) -> Option<Buffer> {
        let wanted = usize::try_from(bytes).ok()?;
        let most = wanted.saturating_mul(MOST_WASTE).saturating_add(PAGE);
        for pool in [&mut self.free, &mut self.idle] {
            let fits = |buffer: &Buffer| (wanted..=most).contains(&buffer.capacity());
            let best = pool.iter().enumerate().filter(|(_, b)| fits(b)).min_by_key(|(_, b)| b.capacity());
            if let Some((found, _)) = best {
                return Some(pool.swap_remove(found));
            }
        }
        Buffer::new(bytes, "a run").ok()
    }

    fn release(&mut self, memory: *mut u8) {
        if let Some(found) = self.live.iter().position(|buffer| buffer.pointer() == memory) {
            let buffer = self.live.swap_remove(found);
            self.give(buffer);
        } else if let Some(output) = self.outputs.iter_mut().find(|buffer| buffer.pointer() == memory) {
            let buffer = take(output);
            self.give(buffer);
        }
    }
}

/// [`nnc_abi::AllocateFn`] of a heap.
///
/// # Safety
///
/// `state` comes from [`Heap::allocator`], and nothing else uses the heap.
unsafe extern "C" fn allocate(state: *mut c_void, bytes: u64, output: i64) -> *mut c_void {
    // SAFETY: the caller's promise.
    let heap = unsafe { &mut *state.cast::<Heap>() };
    heap.allocate(bytes, output).map_or_else(
        || {
            heap.refused = Some((bytes, output));
            std::ptr::null_mut()
        },
        <*mut u8>::cast,
    )
}

/// [`nnc_abi::ReleaseFn`] of a heap.
///
/// # Safety
///
/// As [`allocate`].
unsafe extern "C" fn release(state: *mut c_void, memory: *mut c_void, _: u64) {
    // SAFETY: the caller's promise.
    unsafe { &mut *state.cast::<Heap>() }.release(memory.cast());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks as model code does.
    fn ask(heap: &mut Heap, bytes: u64, output: i64) -> *mut c_void {
        let allocator = Heap::allocator(heap);
        // SAFETY: nothing else uses the heap here.
        unsafe { (allocator.allocate)(allocator.state, bytes, output) }
    }

    fn give_back(heap: &mut Heap, memory: *mut c_void, bytes: u64) {
        let allocator = Heap::allocator(heap);
        // SAFETY: as above.
        unsafe { (allocator.release)(allocator.state, memory, bytes) };
    }

    #[test]
    fn memory_is_used_again_and_freed_when_a_run_has_no_use_for_it() {
        let mut heap = Heap::default();
        heap.begin(1, &[]);
        let a = ask(&mut heap, 10_000, -1);
        assert_eq!(a as usize % nnc_abi::ALIGNMENT, 0);
        give_back(&mut heap, a, 10_000);
        assert_eq!(ask(&mut heap, 9_000, -1), a);
        // Not for what is much smaller.
        give_back(&mut heap, a, 9_000);
        assert_ne!(ask(&mut heap, 100, -1), a);
        heap.end();
        assert_eq!(heap.bytes(), 10_100);
        heap.begin(1, &[]);
        assert_eq!(ask(&mut heap, 9_500, 0), a);
        heap.end();
        assert_eq!(heap.bytes(), 10_000);
        assert_eq!(heap.take_output(0).capacity(), 10_000);
        assert_eq!(heap.bytes(), 0);
    }

    #[test]
    fn outputs_go_where_the_caller_wants_them_if_there_is_room() {
        let mut heap = Heap::default();
        let mut room = [0u8; 16];
        heap.begin(1, &[(room.as_mut_ptr(), room.len())]);
        assert_eq!(ask(&mut heap, 16, 0), room.as_mut_ptr().cast());
        assert!(ask(&mut heap, 17, 0).is_null());
        assert_eq!(heap.refused(), Some((17, 0)));
    }

    #[test]
    fn an_output_that_is_asked_for_again_has_been_given_back() {
        let mut heap = Heap::default();
        heap.begin(1, &[]);
        let first = ask(&mut heap, 64, 0);
        give_back(&mut heap, first, 64);
        assert_eq!(ask(&mut heap, 64, 0), first);
        assert_eq!(heap.bytes(), 64);
    }
}

//! Memory aligned as the ABI asks, that is only ever written by model code.

use std::alloc::{Layout, alloc, dealloc};
use std::ptr::NonNull;

use nnc_abi::Status;

use crate::{Error, Result};

/// Size from which memory is aligned to, and asked for in, huge pages: fewer faults on first use and fewer TLB misses.
const HUGE: usize = 4 << 20;
const HUGE_PAGE: usize = 2 << 20;

/// Owned memory of at least the requested size, aligned to [`nnc_abi::ALIGNMENT`], uninitialised at first.
#[derive(Debug)]
pub(crate) struct Buffer {
    memory: NonNull<u8>,
    capacity: usize,
}

// SAFETY: a buffer owns its memory, as a Box does.
unsafe impl Send for Buffer {}
// SAFETY: a shared buffer only gives out its address.
unsafe impl Sync for Buffer {}

impl Buffer {
    /// No memory, yet aligned and not null.
    pub(crate) const fn empty() -> Buffer {
        let dangling = std::ptr::without_provenance_mut(nnc_abi::ALIGNMENT);
        Buffer { memory: NonNull::new(dangling).expect("not null"), capacity: 0 }
    }

    /// `bytes` of memory; `what` names them if they cannot be had.
    pub(crate) fn new(bytes: u64, what: &str) -> Result<Buffer> {
        if bytes == 0 {
            return Ok(Buffer::empty());
        }
        let refuse = || Error::new(Status::OutOfMemory, format!("out of memory: {bytes} bytes for {what}"));
        let capacity = usize::try_from(bytes).map_err(|_| refuse())?;
        let layout = layout(capacity).ok_or_else(refuse)?;
        // SAFETY: the layout's size is not zero.
        let memory = NonNull::new(unsafe { alloc(layout) }).ok_or_else(refuse)?;
        if capacity >= HUGE && !cfg!(miri) {
            // SAFETY: the range was just allocated; the advice changes no contents, and a refusal does not matter.
            unsafe { libc::madvise(memory.as_ptr().cast(), capacity & !(HUGE_PAGE - 1), libc::MADV_HUGEPAGE) };
        }
        Ok(Buffer { memory, capacity })
    }

    /// Makes room for `bytes`; contents are lost when that needs new memory.
    pub(crate) fn reserve(&mut self, bytes: u64, what: &str) -> Result<()> {
        if bytes > self.capacity as u64 {
            // The old memory goes first: both together may be too much.
            *self = Buffer::empty();
            *self = Buffer::new(bytes, what)?;
        }
        Ok(())
    }

    pub(crate) fn pointer(&self) -> *mut u8 {
        self.memory.as_ptr()
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// The first `len` bytes.
    ///
    /// # Safety
    ///
    /// They have been written, and nothing writes them while the slice lives.
    pub(crate) unsafe fn bytes(&self, len: usize) -> &[u8] {
        assert!(len <= self.capacity);
        // SAFETY: within the memory; initialised and unchanging by the caller's promise.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr(), len) }
    }
}

fn layout(capacity: usize) -> Option<Layout> {
    let align = if capacity >= HUGE { HUGE_PAGE } else { nnc_abi::ALIGNMENT };
    Layout::from_size_align(capacity, align).ok()
}

impl Default for Buffer {
    fn default() -> Buffer {
        Buffer::empty()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let (1.., Some(layout)) = (self.capacity, layout(self.capacity)) {
            // SAFETY: allocated in `new` with the same layout.
            unsafe { dealloc(self.memory.as_ptr(), layout) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aligned_at_every_size() {
        for bytes in [0, 1, 63, 64, 4096, 5 << 20] {
            let buffer = Buffer::new(bytes, "a test").unwrap();
            assert_eq!(buffer.pointer() as usize % nnc_abi::ALIGNMENT, 0);
            assert_eq!(buffer.capacity() as u64, bytes);
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri ends where memory does")]
    fn impossible_sizes_are_errors() {
        assert_eq!(Buffer::new(u64::MAX, "a test").unwrap_err().status(), Status::OutOfMemory);
        assert_eq!(Buffer::new(1 << 62, "a test").unwrap_err().status(), Status::OutOfMemory);
    }
}

//! Where a descriptor is read from: the memory of this process, or the file of an artifact that is not loaded.

use std::ffi::{CStr, c_char};

/// Bytes, addresses and strings at addresses.
pub(crate) trait Source {
    /// An address that is not null.
    type Address: Copy;

    /// The bytes at an address; `None` if they are not there.
    fn bytes(&self, at: Self::Address, len: usize) -> Option<&[u8]>;

    /// The address `by` bytes after another.
    fn offset(&self, at: Self::Address, by: usize) -> Self::Address;

    /// The address in a word, the inner `None` being null; the outer, that the word is none.
    fn pointer(&self, at: Self::Address) -> Option<Option<Self::Address>>;

    /// The string at an address, which ends in a NUL; `None` if it is none.
    fn text(&self, at: Self::Address) -> Option<String>;

    /// Whether an address is a multiple of `to`.
    fn is_aligned(&self, at: Self::Address, to: usize) -> bool;

    /// Whether code is there.
    fn is_code(&self, at: Self::Address) -> bool;

    /// Whether weights of this size can be there.
    fn has_weights(&self, at: Self::Address, bytes: u64) -> bool;
}

/// The memory of this process.
pub(crate) struct Memory {
    _private: (),
}

impl Memory {
    /// # Safety
    ///
    /// Only addresses are asked about at which a descriptor's contents are, as the ABI says; nothing writes them.
    pub(crate) unsafe fn new() -> Memory {
        Memory { _private: () }
    }
}

impl Source for Memory {
    type Address = *const u8;

    fn bytes(&self, at: *const u8, len: usize) -> Option<&[u8]> {
        // SAFETY: the promise of `new`.
        Some(unsafe { std::slice::from_raw_parts(at, len) })
    }

    fn offset(&self, at: *const u8, by: usize) -> *const u8 {
        at.wrapping_add(by)
    }

    fn pointer(&self, at: *const u8) -> Option<Option<*const u8>> {
        // SAFETY: the promise of `new`.
        let found = unsafe { at.cast::<*const u8>().read_unaligned() };
        Some((!found.is_null()).then_some(found))
    }

    fn text(&self, at: *const u8) -> Option<String> {
        // SAFETY: the promise of `new`.
        unsafe { CStr::from_ptr(at.cast::<c_char>()) }.to_str().ok().map(str::to_owned)
    }

    fn is_aligned(&self, at: *const u8, to: usize) -> bool {
        at.addr().is_multiple_of(to)
    }

    fn is_code(&self, _: *const u8) -> bool {
        true
    }

    fn has_weights(&self, at: *const u8, _: u64) -> bool {
        // Weights made in memory may lie anywhere that the code can use.
        let _ = at;
        true
    }
}

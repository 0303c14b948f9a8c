//! Shared, read-only bytes: a part of a mapped file or of an owned buffer.
//!
//! Invariant: `range` lies inside the store, so `as_slice` cannot fail; cloning and slicing never
//! copy. The bytes have no alignment: a tensor may start anywhere in a file.

use std::{fmt, fs::File, io, ops::Range, sync::Arc};

use memmap2::Mmap;

#[derive(Clone)]
enum Store {
    Owned(Arc<Vec<u8>>),
    Mapped(Arc<Mmap>),
}

/// A part of a mapped file or of an owned buffer, cheap to clone, of any alignment.
#[derive(Clone)]
pub struct Bytes {
    store: Store,
    range: Range<usize>,
}

impl Bytes {
    /// Takes an owned buffer.
    pub fn new(bytes: Vec<u8>) -> Bytes {
        let range = 0..bytes.len();
        Bytes { store: Store::Owned(Arc::new(bytes)), range }
    }

    /// Maps a whole file.
    pub fn map(file: &File) -> io::Result<Bytes> {
        if file.metadata()?.len() == 0 {
            return Ok(Bytes::new(Vec::new()));
        }
        // SAFETY: the map is read-only and private to this process, and its bytes are only ever
        // read as plain integers, so no value of them is invalid. What remains is another process
        // changing or truncating the file while it is compiled: as with every tool that maps its
        // input, the file must stay as it is until the compiler is done with it.
        let map = unsafe { Mmap::map(file)? };
        let range = 0..map.len();
        Ok(Bytes { store: Store::Mapped(Arc::new(map)), range })
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        let all: &[u8] = match &self.store {
            Store::Owned(bytes) => bytes,
            Store::Mapped(map) => map,
        };
        &all[self.range.clone()]
    }

    /// The part `range` of these bytes, or `None` if it reaches past their end.
    pub fn slice(&self, range: Range<usize>) -> Option<Bytes> {
        if range.start > range.end || range.end > self.range.len() {
            return None;
        }
        let start = self.range.start + range.start;
        Some(Bytes { store: self.store.clone(), range: start..start + range.len() })
    }

    /// Whether these bytes lie in a mapped file rather than in the memory of this process.
    pub fn is_mapped(&self) -> bool {
        matches!(self.store, Store::Mapped(_))
    }
}

impl std::ops::Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.range.len())
    }
}

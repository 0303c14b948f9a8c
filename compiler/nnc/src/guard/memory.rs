//! Memory between two fences: pages that no access survives.
//!
//! The bytes asked for lie as close to a fence as their alignment allows, so that an access past them (or before them)
//! faults. What is left of their pages holds a pattern, so that a write there is found afterwards.

use std::io;

/// What the rest of the pages is filled with.
const PATTERN: u8 = 0xC5;

/// Which fence the bytes touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edge {
    /// The one after them.
    End,
    /// The one before them.
    Start,
    /// All but the one after them: one byte is between, so that they are aligned to nothing. Bytes that need an
    /// alignment touch it.
    Odd,
}

/// Bytes between two fences.
#[derive(Debug)]
pub struct Fenced {
    name: String,
    map: *mut u8,
    map_len: usize,
    page: usize,
    offset: usize,
    len: usize,
}

/// Where fenced bytes are, for who explains a fault.
#[derive(Debug)]
pub struct Span {
    /// What they are.
    pub name: String,
    /// First address of the fence before them.
    pub first: usize,
    /// First address after the fence behind them.
    pub end: usize,
    /// Their address.
    pub data: usize,
    /// Their number.
    pub len: usize,
}

impl Fenced {
    /// `len` bytes of value `fill`.
    ///
    /// # Errors
    /// When the memory cannot be had.
    pub fn new(name: impl Into<String>, len: usize, align: usize, edge: Edge, fill: u8) -> io::Result<Fenced> {
        // SAFETY: asks for a constant of the system.
        let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096);
        let large = || io::Error::from(io::ErrorKind::OutOfMemory);
        // Nothing at all lies between the two fences themselves.
        let wanted = if edge == Edge::Odd && align == 1 { len.checked_add(1) } else { Some(len) };
        let inner = wanted.and_then(|n| n.checked_next_multiple_of(page)).ok_or_else(large)?;
        let map_len = inner.checked_add(2 * page).ok_or_else(large)?;
        let offset = match edge {
            Edge::End => (inner - len) / align * align,
            Edge::Start => 0,
            Edge::Odd if align > 1 => (inner - len) / align * align,
            Edge::Odd => inner - len - 1,
        };
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new private mapping at an address of the system's choice.
        let map = unsafe { libc::mmap(std::ptr::null_mut(), map_len, libc::PROT_NONE, flags, -1, 0) };
        if map == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let mut fenced = Fenced { name: name.into(), map: map.cast(), map_len, page, offset, len };
        fenced.protect(libc::PROT_READ | libc::PROT_WRITE)?;
        fenced.inner_mut().fill(PATTERN);
        fenced.bytes_mut().fill(fill);
        Ok(fenced)
    }

    /// A copy of `bytes` that can only be read.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn read_only(name: impl Into<String>, bytes: &[u8], align: usize, edge: Edge) -> io::Result<Fenced> {
        let mut fenced = Fenced::new(name, bytes.len(), align, edge, 0)?;
        fenced.bytes_mut().copy_from_slice(bytes);
        fenced.protect(libc::PROT_READ)?;
        Ok(fenced)
    }

    /// Protects the pages between the fences.
    fn protect(&mut self, protection: libc::c_int) -> io::Result<()> {
        // SAFETY: these pages belong to this mapping, and nothing borrows them.
        let failed = unsafe { libc::mprotect(self.map.add(self.page).cast(), self.inner_len(), protection) } != 0;
        if failed { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    fn inner_len(&self) -> usize {
        self.map_len - 2 * self.page
    }

    fn inner(&self) -> &[u8] {
        // SAFETY: the pages between the fences are mapped and can be read as long as `self` lives.
        unsafe { std::slice::from_raw_parts(self.map.add(self.page), self.inner_len()) }
    }

    /// Only before the pages are sealed.
    fn inner_mut(&mut self) -> &mut [u8] {
        // SAFETY: as for `inner`; the exclusive borrow covers the whole mapping.
        unsafe { std::slice::from_raw_parts_mut(self.map.add(self.page), self.inner_len()) }
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.inner()[self.offset..][..self.len]
    }

    /// The bytes, to be written.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        let (offset, len) = (self.offset, self.len);
        &mut self.inner_mut()[offset..][..len]
    }

    /// Where the bytes begin.
    pub fn pointer(&self) -> *mut u8 {
        self.map.wrapping_add(self.page + self.offset)
    }

    /// Where they are.
    pub fn span(&self) -> Span {
        let first = self.map as usize;
        let data = self.pointer() as usize;
        Span { name: self.name.clone(), first, end: first + self.map_len, data, len: self.len }
    }

    /// The first byte beside the bytes that was written, counted from where they begin.
    pub fn spoiled(&self) -> Option<isize> {
        let beside = |at: &usize| !(self.offset..self.offset + self.len).contains(at);
        let inner = self.inner();
        let at = (0..inner.len()).filter(beside).find(|&at| inner[at] != PATTERN)?;
        Some(at as isize - self.offset as isize)
    }

    /// What the bytes are.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Fenced {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own, and it is not used again.
        unsafe { libc::munmap(self.map.cast(), self.map_len) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_touch_their_fence() {
        for (len, align) in [(0, 1), (1, 1), (12, 1), (4096, 1), (4097, 64), (64, 64), (100, 64)] {
            for edge in [Edge::End, Edge::Start, Edge::Odd] {
                let fenced = Fenced::new("x", len, align, edge, 7).unwrap();
                let span = fenced.span();
                assert!(fenced.bytes().iter().all(|&b| b == 7) && fenced.bytes().len() == len);
                let (before, after) = (span.data - span.first - fenced.page, span.end - fenced.page - span.data - len);
                assert_eq!(span.data % align, 0);
                match edge {
                    Edge::Start => assert_eq!(before, 0),
                    Edge::Odd if align == 1 => assert_eq!(after, 1),
                    Edge::Odd | Edge::End => assert!(after < align, "{after} after {len}"),
                }
            }
        }
    }

    #[test]
    fn writes_beside_are_found() {
        let mut fenced = Fenced::new("x", 100, 64, Edge::End, 0).unwrap();
        assert_eq!(fenced.spoiled(), None);
        let end = fenced.offset + 100;
        fenced.inner_mut()[end + 2] = 1;
        assert_eq!(fenced.spoiled(), Some(102));
        fenced.inner_mut()[0] = 1;
        assert_eq!(fenced.spoiled(), Some(-(fenced.offset as isize)));
    }
}

//! An artifact's memory as its file describes it, without loading it.
//!
//! An [`Image`] says which bytes of the file come to lie at which address, and which words hold addresses. For a shared
//! object these are its segments and relocations; for a relocatable object its sections, at addresses made up here.
//! Through a [`View`] the descriptor can be read as in a loaded artifact.
//!
//! # Invariants
//!
//! - Pieces are in ascending order and disjoint, and their bytes lie within the file.
//! - Words that hold addresses lie within pieces that are written before use, and never in code.

use std::cell::Cell;
use std::ops::{Range, RangeInclusive};

use nnc_abi::{ALIGNMENT, Arch, layout::model};

use crate::source::Source;

/// What a piece of memory is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Constants without addresses.
    Read,
    /// Constants that hold addresses: written when these are known, and read-only from then on.
    Relocate,
    /// Code.
    Execute,
}

/// Bytes of the file and where they go.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    pub(crate) address: u64,
    /// Bytes in memory; those that are not in the file are zero.
    pub(crate) memory: u64,
    /// Where in the file.
    pub(crate) file: Range<usize>,
    pub(crate) access: Access,
}

impl Piece {
    fn contains(&self, at: u64, len: u64) -> bool {
        let end = self.address + self.memory;
        at >= self.address && at <= end && len <= end - at
    }
}

/// An artifact's memory.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    pub(crate) arch: Arch,
    pub(crate) pieces: Vec<Piece>,
    /// The alignments that pieces ask for. Those of a shared object share no page of the least one's size.
    pub(crate) align: RangeInclusive<u64>,
    /// Words that hold addresses, and which; sorted by the first.
    pub(crate) pointers: Vec<(u64, u64)>,
    /// Where the descriptor is.
    pub(crate) descriptor: u64,
}

impl Image {
    /// The piece that holds these bytes.
    pub(crate) fn piece(&self, at: u64, len: u64) -> Option<&Piece> {
        let after = self.pieces.partition_point(|p| p.address <= at);
        self.pieces[..after].last().filter(|p| p.contains(at, len))
    }

    /// Where in the file the bytes at an address are.
    pub(crate) fn file_range(&self, at: u64, len: u64) -> Option<Range<usize>> {
        let piece = self.piece(at, len)?;
        let start = piece.file.start + usize::try_from(at - piece.address).ok()?;
        let end = start.checked_add(usize::try_from(len).ok()?)?;
        (end <= piece.file.end).then_some(start..end)
    }

    /// The address that a word holds.
    pub(crate) fn pointer(&self, at: u64) -> Option<u64> {
        self.pointers.binary_search_by_key(&at, |p| p.0).ok().map(|i| self.pointers[i].1)
    }

    /// Where in the file the embedded weights are; `None` if they are not.
    pub(crate) fn weights(&self, bytes: u64) -> Option<Range<usize>> {
        let at = self.pointer(self.descriptor + model::WEIGHTS as u64)?;
        (bytes > 0).then(|| self.file_range(at, bytes)).flatten()
    }
}

/// An image together with its file.
pub(crate) struct View<'a> {
    image: &'a Image,
    file: &'a [u8],
    /// Bytes that may still be read. A genuine artifact says each thing once; without a limit, tables that overlap could
    /// make a small file describe any amount.
    budget: Cell<usize>,
}

impl<'a> View<'a> {
    pub(crate) fn new(image: &'a Image, file: &'a [u8]) -> View<'a> {
        View { image, file, budget: Cell::new(file.len().saturating_mul(4)) }
    }

    fn spend(&self, bytes: usize) -> Option<()> {
        self.budget.set(self.budget.get().checked_sub(bytes)?);
        Some(())
    }
}

impl Source for View<'_> {
    type Address = u64;

    fn bytes(&self, at: u64, len: usize) -> Option<&[u8]> {
        self.spend(len)?;
        self.file.get(self.image.file_range(at, len as u64)?)
    }

    fn offset(&self, at: u64, by: usize) -> u64 {
        // An address past the end of memory belongs to no piece.
        at.saturating_add(by as u64)
    }

    fn pointer(&self, at: u64) -> Option<Option<u64>> {
        let word = self.bytes(at, 8)?;
        match self.image.pointer(at) {
            Some(target) => Some(Some(target)),
            None => word.iter().all(|b| *b == 0).then_some(None),
        }
    }

    fn text(&self, at: u64) -> Option<String> {
        let piece = self.image.piece(at, 1)?;
        let start = piece.file.start.checked_add(usize::try_from(at - piece.address).ok()?)?;
        let rest = self.file.get(start..piece.file.end)?;
        let end = rest.iter().take(self.budget.get()).position(|b| *b == 0)?;
        self.spend(end + 1)?;
        std::str::from_utf8(&rest[..end]).ok().map(str::to_owned)
    }

    fn is_aligned(&self, at: u64, to: usize) -> bool {
        at.is_multiple_of(to as u64)
    }

    fn is_code(&self, at: u64) -> bool {
        self.image.piece(at, 1).is_some_and(|p| p.access == Access::Execute)
    }

    fn has_weights(&self, at: u64, bytes: u64) -> bool {
        let constant = self.image.piece(at, bytes).is_some_and(|p| p.access == Access::Read);
        constant && self.image.file_range(at, bytes).is_some() && self.is_aligned(at, ALIGNMENT)
    }
}

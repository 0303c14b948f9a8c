//! From a path to a model in memory.
//!
//! The dynamic loader of the system has no part in it. It trusts the files it gets: it runs their constructors, follows
//! tables wherever they lead, and lets symbols of other libraries replace theirs. An artifact needs none of what it can
//! do, so the segments are mapped here, after [`Artifact`] has checked them, and nothing of the file runs.
//!
//! Nothing here reads the weights, so loading takes the same time however large they are: they, and the code, are pages
//! of the file, shared by all processes that use it.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

use memmap2::Mmap;
use nnc_abi::{ModelDescriptor, Status};

use crate::artifact::image::{Access, Image};
use crate::artifact::{self, Artifact, Kind};
use crate::{Error, Result, weights};

/// A model in memory, and what keeps it there.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) descriptor: *const ModelDescriptor,
    pub(crate) artifact: Artifact,
    pub(crate) weights: Option<Mmap>,
    pub(crate) segments: Segments,
}

/// Loads the shared object at `path`.
pub(crate) fn load(path: &Path) -> Result<Loaded> {
    let origin = path.display().to_string();
    let file = artifact::open(path, &origin)?;
    let artifact = Artifact::of_file(&file, origin.clone())?;
    if artifact.kind() != Kind::Library {
        let message = format!("{origin}: an object or archive is for linking; compile to a .so to load it");
        return Err(Error::new(Status::NotAModel, message));
    }
    let signature = artifact.signature();
    signature.check_machine(&origin)?;
    let side = weights::beside(path, signature)?;
    let weights = side.map(|side| weights::map(&side, signature)).transpose()?;
    let (segments, first) = Segments::map(&file, artifact.contents(), artifact.image()).map_err(|e| {
        let status = if e.kind() == io::ErrorKind::OutOfMemory { Status::OutOfMemory } else { Status::NotFound };
        Error::new(status, format!("{origin}: it cannot be mapped: {e}"))
    })?;
    let descriptor = first.wrapping_add(artifact.image().descriptor as usize).cast_const().cast();
    Ok(Loaded { descriptor, artifact, weights, segments })
}

/// The segments of a shared object in memory. None is writable, only code is executable.
#[derive(Debug)]
pub(crate) struct Segments {
    memory: *mut libc::c_void,
    bytes: usize,
}

// SAFETY: plain memory that nobody writes, freed by the only owner.
unsafe impl Send for Segments {}
// SAFETY: as above.
unsafe impl Sync for Segments {}

impl Drop for Segments {
    fn drop(&mut self) {
        // SAFETY: reserved by `map`; who drops the owner has no pointer into it any more.
        unsafe { libc::munmap(self.memory, self.bytes) };
    }
}

impl Segments {
    /// Maps the segments; answers also where address 0 of the image is.
    fn map(file: &File, contents: &[u8], image: &Image) -> io::Result<(Segments, *mut u8)> {
        // SAFETY: asks for a number.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as u64;
        let (least, most) = image.align.clone().into_inner();
        if page > least {
            return Err(io::Error::other(format!("this system's pages of {page} bytes are larger than its alignment")));
        }
        let (Some(first), Some(last)) = (image.pieces.first(), image.pieces.last()) else {
            return Err(io::Error::other("it has no segments"));
        };
        let lowest = first.address / most * most;
        let bytes = (last.address + last.memory).next_multiple_of(page) - lowest + most;
        let bytes = usize::try_from(bytes).map_err(io::Error::other)?;
        let segments = Segments { memory: reserve(bytes)?, bytes };
        let start = segments.memory.cast::<u8>();
        let start = start.wrapping_add(start.align_offset(most as usize));
        let first = start.wrapping_sub(lowest as usize);
        for piece in &image.pieces {
            let lead = piece.address % page;
            let at = first.wrapping_add((piece.address - lead) as usize).cast::<libc::c_void>();
            let length = (piece.memory + lead).next_multiple_of(page) as usize;
            if length == 0 {
                continue;
            }
            if piece.access == Access::Relocate {
                // SAFETY: pages of the reservation that no other piece has; the bytes are within them.
                unsafe {
                    check(libc::mprotect(at, length, libc::PROT_READ | libc::PROT_WRITE))?;
                    let to = first.wrapping_add(piece.address as usize);
                    to.copy_from_nonoverlapping(contents[piece.file.clone()].as_ptr(), piece.file.len());
                }
                continue;
            }
            let code = if piece.access == Access::Execute { libc::PROT_EXEC } else { 0 };
            let offset = piece.file.start as u64 - lead;
            let flags = libc::MAP_PRIVATE | libc::MAP_FIXED;
            // SAFETY: replaces pages of the reservation, which no other piece has, by pages of the file; the alignment
            // of the segment makes the offset one of a page.
            let mapped = unsafe {
                libc::mmap(at, length, libc::PROT_READ | code, flags, file.as_raw_fd(), offset as libc::off_t)
            };
            if mapped == libc::MAP_FAILED {
                return Err(io::Error::last_os_error());
            }
        }
        for (at, to) in &image.pointers {
            let to = first.wrapping_add(*to as usize);
            // SAFETY: an aligned word within a piece that was made writable above.
            unsafe { first.wrapping_add(*at as usize).cast::<*mut u8>().write(to) };
        }
        for piece in image.pieces.iter().filter(|p| p.access == Access::Relocate && p.memory > 0) {
            let lead = piece.address % page;
            let at = first.wrapping_add((piece.address - lead) as usize).cast();
            // SAFETY: the pages made writable above.
            check(unsafe {
                libc::mprotect(at, (piece.memory + lead).next_multiple_of(page) as usize, libc::PROT_READ)
            })?;
        }
        Ok((segments, first))
    }
}

/// Address space without memory.
fn reserve(bytes: usize) -> io::Result<*mut libc::c_void> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a new mapping at an address of the system's choice.
    let memory = unsafe { libc::mmap(std::ptr::null_mut(), bytes, libc::PROT_NONE, flags, -1, 0) };
    if memory == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(memory) }
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

//! The allocator of a run between fences: each piece of memory that the run asks for has pages of its own.

use std::ffi::c_void;

use nnc_runtime::abi::{ALIGNMENT, Allocator};

use super::fault::Watched;
use super::memory::{Edge, Fenced};

/// What a run has asked for and not given back.
pub struct FencedHeap {
    edge: Edge,
    fill: u8,
    /// Told of each piece while there is one.
    watched: *mut Watched,
    /// Memory, and the output that lies there, or -1.
    pieces: Vec<(Fenced, i64)>,
    /// What the run did wrong, if anything.
    problem: Option<String>,
}

impl FencedHeap {
    /// A heap whose memory lies at an edge and holds `fill` at first.
    pub fn new(edge: Edge, fill: u8) -> FencedHeap {
        FencedHeap { edge, fill, watched: std::ptr::null_mut(), pieces: vec![], problem: None }
    }

    /// The interface for model code, valid while `heap` and `watched` are, which nothing else may use during the run.
    pub fn allocator(heap: *mut FencedHeap, watched: *mut Watched) -> Allocator {
        // SAFETY: the heap is valid, and nothing uses it yet.
        unsafe { (*heap).watched = watched };
        Allocator { allocate, release, state: heap.cast() }
    }

    /// The memory of an output, if the run asked for it.
    pub fn output(&self, output: usize) -> Option<&Fenced> {
        self.pieces.iter().find(|(_, of)| usize::try_from(*of) == Ok(output)).map(|(memory, _)| memory)
    }

    /// What the run did wrong with its memory, when it has ended.
    pub fn problem(&self) -> Option<String> {
        let spoiled = |memory: &Fenced| {
            let (name, len) = (memory.name(), memory.bytes().len());
            memory.spoiled().map(|at| format!("writes byte {at} of {name}, which has {len} bytes"))
        };
        let kept = self.pieces.iter().find(|(_, output)| *output < 0);
        let kept = kept.map(|(memory, _)| format!("does not give back {} bytes", memory.bytes().len()));
        self.problem.clone().or_else(|| self.pieces.iter().find_map(|(memory, _)| spoiled(memory))).or(kept)
    }

    fn allocate(&mut self, bytes: u64, output: i64) -> Option<*mut c_void> {
        let name = if output < 0 { "memory that the run asked for".to_owned() } else { format!("output {output}") };
        let memory = Fenced::new(name, usize::try_from(bytes).ok()?, ALIGNMENT, self.edge, self.fill).ok()?;
        // SAFETY: the promise of `allocator`.
        unsafe { self.watched.as_mut() }?.spans.push(memory.span());
        let pointer = memory.pointer().cast();
        self.pieces.push((memory, output));
        Some(pointer)
    }

    fn release(&mut self, pointer: *mut c_void, bytes: u64) {
        let found = self.pieces.iter().position(|(memory, _)| memory.pointer().cast::<c_void>() == pointer);
        let Some(found) = found else {
            self.problem = Some(format!("gives back {bytes} bytes that it does not have"));
            return;
        };
        let (memory, _) = self.pieces.swap_remove(found);
        if memory.bytes().len() as u64 != bytes {
            self.problem = Some(format!("gives back {bytes} bytes of {}", memory.bytes().len()));
        } else if let Some(at) = memory.spoiled() {
            self.problem = Some(format!("writes byte {at} of {}, which has {bytes} bytes", memory.name()));
        }
        // SAFETY: the promise of `allocator`.
        if let Some(watched) = unsafe { self.watched.as_mut() } {
            let data = memory.span().data;
            watched.spans.retain(|span| span.data != data);
        }
    }
}

/// `nnc_abi::AllocateFn` of a heap.
///
/// # Safety
/// `state` comes from [`FencedHeap::allocator`].
unsafe extern "C" fn allocate(state: *mut c_void, bytes: u64, output: i64) -> *mut c_void {
    // SAFETY: the caller's promise.
    unsafe { &mut *state.cast::<FencedHeap>() }.allocate(bytes, output).unwrap_or(std::ptr::null_mut())
}

/// `nnc_abi::ReleaseFn` of a heap.
///
/// # Safety
/// As [`allocate`].
unsafe extern "C" fn release(state: *mut c_void, memory: *mut c_void, bytes: u64) {
    // SAFETY: the caller's promise.
    unsafe { &mut *state.cast::<FencedHeap>() }.release(memory, bytes);
}

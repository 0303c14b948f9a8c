//! A check of emitted x86-64 code: each function of either selector is decoded again before it reaches an object or
//! memory.
//!
//! The check knows nothing of how code was made. It reads bytes and relocations and demands:
//!
//! - every byte that can be reached belongs to one instruction, branches hit instructions of this function, every path
//!   ends in a return (or, in Cranelift's functions, a trap), and no data is executed ([`decode`]);
//! - each instruction exists on every processor with the target's features and means the same on all of them, whoever
//!   made them ([`instruction`]);
//! - the stack is balanced, the registers of the caller are as they were, aligned accesses to the stack and to constants
//!   are aligned, and no 128-bit SSE code and no caller meets dirty upper halves of vector registers ([`frame`]);
//! - only what may call calls, and then other functions of the artifact, never a library ([`Kind`]).
//!
//! What fails is a defect of nnc and gives an error instead of an artifact. What is not checked: that the code computes
//! the right values, that accesses through pointers stay in their buffers (other tests do both), and AArch64, for which
//! no decoder is at hand: its code is Cranelift's alone and runs under emulation in the tests.
//!
//! Source of the stack rules: System V ABI, AMD64 supplement, "Function Calling Sequence". Source of the differences
//! between vendors: the two readings that iced-x86 decodes, and AMD64 Architecture Programmer's Manual volume 3,
//! "Near Branches in 64-Bit Mode".

mod decode;
mod frame;
mod instruction;
#[cfg(test)]
mod tests;

use iced_x86::Code;
use nnc_desc::Features;

pub(crate) use decode::Decoded;
#[cfg(test)]
pub(crate) use instruction::Allowed;

/// A function of the artifact, as it would enter the object.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Function<'a> {
    /// Code, entered at the first byte, and its constants.
    pub(crate) bytes: &'a [u8],
    /// Places that the linker fills.
    pub(crate) relocations: &'a [Relocation],
    /// What it may do.
    pub(crate) kind: Kind,
    /// Whether paths may end in a trap: Cranelift guards divisions that kernels guard themselves.
    pub(crate) traps: bool,
}

/// What a function may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A kernel: calls nothing, refers to nothing outside itself.
    Kernel,
    /// An entry point or a step: calls other functions of the artifact and the caller's callbacks.
    Host,
    /// Sets the floating-point environment: a leaf that may touch MXCSR.
    Environment,
}

/// A place that the linker fills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Relocation {
    /// Bytes from the start of the function.
    pub(crate) offset: usize,
    /// Bytes filled.
    pub(crate) bytes: usize,
    /// Whether it refers to a library function rather than to something of the artifact.
    pub(crate) library: bool,
}

/// What is wrong with emitted code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Defect {
    /// Where.
    pub(crate) offset: usize,
    /// What.
    pub(crate) what: String,
}

impl Defect {
    fn at<T>(offset: usize, what: impl Into<String>) -> Result<T, Defect> {
        Err(Defect { offset, what: what.into() })
    }
}

impl std::fmt::Display for Defect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the emitted code is wrong at byte {:#x}: {}", self.offset, self.what)
    }
}

/// Checks a function for processors with these features.
///
/// # Errors
/// The first thing found wrong.
pub(crate) fn function(function: &Function<'_>, features: Features) -> Result<(), Defect> {
    if let Some(library) = function.relocations.iter().find(|r| r.library) {
        return Defect::at(library.offset, "it calls a library function, which artifacts do not have");
    }
    if let (Kind::Kernel | Kind::Environment, Some(r)) = (function.kind, function.relocations.first()) {
        return Defect::at(r.offset, "it refers to something outside itself");
    }
    let decoded = Decoded::new(function.bytes, function.relocations)?;
    if let (false, Some(trap)) = (function.traps, decoded.instructions.iter().find(|i| i.code() == Code::Ud2)) {
        return Defect::at(trap.ip() as usize, "a trap instead of a return");
    }
    let allowed = instruction::Allowed::new(features);
    for inst in &decoded.instructions {
        instruction::check(inst, function.kind, &allowed)?;
    }
    frame::check(&decoded, function.kind)
}

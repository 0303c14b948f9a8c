//! The wide x86 code generator: kernels to machine code for AVX2 and AVX-512.
//!
//! Cranelift has no vectors beyond 128 bits, so kernels for these targets are lowered here. The stages:
//!
//! ```text
//! Kernel ──select, address, scalar, vector, loops, gemm──▶ machine::Function ──regalloc──▶ allocations
//!                                                               └──encode, micro, assembler──▶ bytes
//! ```
//!
//! Invariants:
//! - what this generator does not support, it refuses with `Ok(None)`, before or during selection; nothing here panics;
//! - the bytes are position-independent, hold their constants, call nothing and change no state beyond the buffers;
//! - no load or store leaves the elements that the kernel IR names: tails are masked, or done one by one.
//!
//! Code is hoisted while it is selected, not by a later pass: see `select`.

mod address;
mod assembler;
mod encode;
mod gemm;
mod loops;
mod machine;
mod memory;
mod micro;
mod reduce;
mod regalloc;
mod scalar;
mod select;
mod shape;
mod vector;
mod vector_ops;

#[cfg(test)]
pub(crate) mod tests;

use crate::CodegenError;
use nnc_desc::{Arch, Target};
use nnc_kernels::Kernel;

/// Machine code of one kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineCode {
    /// Position-independent code, entered at its first byte, followed by its constants.
    pub bytes: Vec<u8>,
    /// Alignment that the bytes need.
    pub align: u32,
}

/// A broken invariant of the generator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault(pub String);

/// Compiles a kernel whose functions [`crate::math::expand`] has written out; `None` when it or the target is not for
/// this generator.
///
/// # Errors
/// When an invariant of the generator breaks; a kernel is never at fault.
pub fn compile(kernel: &Kernel, target: &Target) -> Result<Option<MachineCode>, CodegenError> {
    if target.arch != Arch::X86_64 || target.vector_bytes() < 32 {
        return Ok(None);
    }
    let fault = |Fault(message)| CodegenError::Backend { function: kernel.name.clone(), message };
    let Some(function) = select::lower(kernel, target).map_err(fault)? else { return Ok(None) };
    let encoded = encode::encode(&function).map_err(fault)?;
    Ok(Some(MachineCode { bytes: encoded.bytes, align: assembler::POOL_ALIGN as u32 }))
}

/// Why a kernel is not for this generator; for tests.
#[cfg(test)]
pub(crate) fn why(kernel: &Kernel, target: &Target) -> Option<String> {
    match select::lower_kernel(&crate::math::expand(kernel), target) {
        Err(select::Stop::Unsupported(reason)) => Some(reason.to_owned()),
        _ => None,
    }
}

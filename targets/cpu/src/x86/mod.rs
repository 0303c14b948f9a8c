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
//! - what this generator does not support, it refuses with a [`Reason`], before or during selection; nothing here panics;
//! - the bytes are position-independent, hold their constants, call nothing and change no state beyond the buffers;
//! - no load or store leaves the elements that the kernel IR names: tails are masked, or done one by one.
//!
//! Code is hoisted while it is selected, not by a later pass: see `select`.

mod address;
pub(crate) mod assembler;
mod conversions;
mod double;
mod encode;
mod encoding;
mod gemm;
mod loops;
mod machine;
mod masks;
mod memory;
mod micro;
mod numbers;
mod reason;
mod reduce;
mod regalloc;
mod scalar;
mod select;
mod shape;
mod vector;
mod vector_ops;

#[cfg(test)]
pub(crate) mod tests;

pub use reason::Reason;

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
    /// Why vector loops in it run one element at a time.
    pub scalar_loops: Vec<Reason>,
}

/// A broken invariant of the generator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault(pub String);

/// Whether this generator makes code for a target.
pub fn serves(target: &Target) -> bool {
    target.arch == Arch::X86_64 && target.vector_bytes() >= 32
}

/// Compiles a kernel whose functions [`nnc_kernels::math::expand`] has written out, for a target that this generator
/// [`serves`]; or says why the kernel is for Cranelift.
///
/// # Errors
/// When an invariant of the generator breaks; a kernel is never at fault.
pub fn compile(kernel: &Kernel, target: &Target) -> Result<Result<MachineCode, Reason>, CodegenError> {
    let fault = |Fault(message)| CodegenError::Backend { function: kernel.name.clone(), message };
    let (function, scalar_loops) = match select::lower(kernel, target) {
        Ok(lowered) => lowered,
        Err(select::Stop::Unsupported(reason)) => return Ok(Err(reason)),
        Err(select::Stop::Error(error)) => return Err(fault(error)),
    };
    let encoded = encode::encode(&function).map_err(fault)?;
    let scalar_loops = scalar_loops.into_iter().collect();
    Ok(Ok(MachineCode { bytes: encoded.bytes, align: assembler::POOL_ALIGN as u32, scalar_loops }))
}

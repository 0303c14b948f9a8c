//! Kernels as Cranelift functions: scalar code for everything, 128-bit vectors where a loop allows.
//!
//! [`lower`] fills a function with one kernel; which loops become vectors is decided in [`lanes`], and the same
//! expression lowering ([`expr`], [`binary`], [`convert`]) serves one lane or several. Kernels arrive expanded (`crate::math`).
//!
//! Invariants:
//! - no runtime library calls: operations that an instruction set lacks are written out here;
//! - nothing traps, whatever the input: integer division is guarded, conversions saturate;
//! - memory is accessed only where the kernel says, so that a vector loop has a scalar loop for its last iterations.

mod binary;
mod convert;
mod expr;
mod gemm;
pub(crate) mod index;
pub(crate) mod isa;
mod kernel;
mod lanes;
mod stmt;
mod vector;

pub(crate) use kernel::{lower, signature};

//! Tests of the wide x86 generator: differential against the interpreter, on memory with guard pages.

pub mod allocation;
mod differential;
mod encodings;
pub mod gemm;
pub mod host;
pub mod listing;

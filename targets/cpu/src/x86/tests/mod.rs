//! Tests of the wide x86 generator: differential against the interpreter, on memory with guard pages.

mod differential;
pub mod gemm;
pub mod host;
pub mod listing;

//! Tests of the wide x86 generator: differential against the interpreter, on memory with guard pages.

mod differential;
mod gemm;
mod host;
pub mod listing;

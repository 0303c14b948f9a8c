//! Code generation for processors: kernels and the host plan become machine code, an object and a shared library.

mod cranelift;
pub mod error;
pub mod math;

pub use error::CodegenError;

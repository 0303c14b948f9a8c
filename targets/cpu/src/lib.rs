//! Code generation for processors: kernels and the host plan become machine code, an object and a shared library.

pub mod math;

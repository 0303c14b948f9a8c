//! The kernel IR and the host plan: what passes hand to targets.
//!
//! A [`Program`] is a list of [`Kernel`]s (loops over typed scalar expressions with a vector axis, plus structured
//! micro-kernels), buffers at fixed (possibly symbolic) offsets, and the host plan: the [`plan::Step`]s that run them.
//! Targets see this and nothing else; they match every enum here exhaustively.
//!
//! Index arithmetic is `nnc_ir::Dim`: a canonical polynomial, here over kernel variables, so that strides are read
//! off a coefficient instead of being rediscovered.
//!
//! Source: the loop forms follow Halide's (Ragan-Kelley et al., PLDI 2013), the batch-reduce GEMM Georganas et al.,
//! "High-Performance Deep Learning via a Single Building Block", 2019.

pub mod affine;
#[cfg(any(test, feature = "generate"))]
pub mod generate;
pub mod interpret;
pub mod kernel;
pub mod ops;
pub mod parse;
pub mod plan;
pub mod print;
pub mod verify;
pub mod weights;

pub use kernel::{BufferDecl, BufferRef, Expr, Gemm, Kernel, Lanes, Loop, Scalar, Stmt, Var, VarInfo};
pub use plan::{Argument, Buffer, BufferId, KernelId, Place, Program, SizeCheck, Step};
pub use weights::{Pack, Weight, WeightId};

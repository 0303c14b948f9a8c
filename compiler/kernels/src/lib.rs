//! The kernel IR and the host plan: what passes hand to targets.
//!
//! A [`Program`] is a list of [`Kernel`]s (loops over typed scalar expressions with a vector axis, plus
//! contractions), buffers at fixed (possibly symbolic) offsets, and the host plan: the [`plan::Step`]s that run them.
//! Targets see this and nothing else; they match every enum here exhaustively.
//!
//! Mathematical functions are kernel IR too: [`math`] writes them out in elementary operations, so that every target
//! shares them. [`walk`] is the one recursion over expressions and statements.
//!
//! Index arithmetic is [`index`]: canonical polynomials over the variables of a kernel.
//!
//! Source: the loop forms follow Halide's (Ragan-Kelley et al., PLDI 2013).

pub mod affine;
pub mod contraction;
#[cfg(any(test, feature = "generate"))]
pub mod generate;
pub mod index;
pub mod interpret;
pub mod kernel;
pub mod math;
pub mod ops;
pub mod parse;
pub mod plan;
pub mod print;
pub mod verify;
pub mod walk;
pub mod weights;

pub use contraction::Contraction;
pub use index::Index;
pub use kernel::{AxisKind, BufferDecl, BufferRef, Expr, Kernel, Loop, Scalar, Stmt, Var, VarInfo};
pub use plan::{Argument, Buffer, BufferId, KernelId, Place, Program, SizeCheck, Step};
pub use weights::{Pack, Weight, WeightId};

//! The binary interface between a compiled model and whatever calls it.
//!
//! A model is one read-only [`ModelDescriptor`] and the code and weights it points to. Everything here is `#[repr(C)]`,
//! little-endian, 64-bit, and shared by three parties that must agree to the byte: the code generator (which writes the
//! descriptor into the object through the constants of [`layout`]), `nnc-runtime`, and C programs (through
//! [`C_HEADER`], the text of `include/nnc_abi.h`; a test of `nnc-runtime` compares the two).
//!
//! # Invariants
//!
//! - This crate depends on nothing and does nothing: types, numbers, names.
//! - A released layout never changes. New fields take the place of `reserved` ones, which are zero until then, or are
//!   appended (`struct_bytes` grows); anything else raises [`ABI_VERSION`].
//! - Every pointer in a descriptor is null or valid for the life of the loaded artifact; every string is UTF-8 and ends
//!   in a NUL; counts of zero go with a pointer that may be null.
//! - The descriptor and all it reaches are never written.
//!
//! # What a model's code promises
//!
//! No lock, global, system call or libc call; no allocation but from the caller's [`Allocator`], and none at all without
//! [`FLAG_ALLOCATES`]; no unwinding; the same result for any number of threads. It touches only its own code and constants,
//! and the memory that [`RunArgs`] hands it.
#![cfg_attr(not(test), no_std)]

mod dtype;
mod features;
pub mod layout;
mod model;
mod run;
mod status;
mod text;

pub use dtype::DType;
pub use features::{Arch, Feature, aarch64, features_of, names_of_features, x86_64};
pub use model::{
    DimDescriptor, DimKind, FLAG_ALLOCATES, FLAG_STATES, FLAG_WEIGHTS_IN_FILE, FaultDescriptor, ModelDescriptor,
    StateDescriptor, SymbolDescriptor, TENSOR_ALLOCATED, TensorDescriptor, WeightsTrailer,
};
pub use run::{
    AllocateFn, Allocator, Fault, ParallelBody, ParallelFor, PlanFn, PlanResult, ReleaseFn, RunArgs, RunContext, RunFn,
};
pub use status::Status;
pub use text::is_plain;

/// The first eight bytes of a descriptor: `NNCMODEL` in memory order.
pub const MAGIC: u64 = u64::from_le_bytes(*b"NNCMODEL");

/// The first eight bytes of the trailer of a weights side file: `NNCWEIGH` in memory order.
pub const WEIGHTS_MAGIC: u64 = u64::from_le_bytes(*b"NNCWEIGH");

/// The version of every layout and contract in this crate. An artifact and a caller work together when it is equal.
pub const ABI_VERSION: u32 = 1;

/// The alignment of the workspace and of the weights, and the one at which inputs and outputs are fastest.
pub const ALIGNMENT: usize = 64;

/// The symbol a `.so` exports its descriptor under, whatever the model is called.
pub const MODEL_SYMBOL: &str = "nnc_model";

/// The symbol `nnc_model_<name>` is this followed by the model's name as a C identifier.
pub const MODEL_SYMBOL_PREFIX: &str = "nnc_model_";

/// Names a model cannot have: with the prefix they are functions of the C API, which may be linked into the same program.
pub const RESERVED_MODEL_NAMES: &[&str] = &[
    "load",
    "from_descriptor",
    "from_descriptor_in",
    "free",
    "get_descriptor",
    "input",
    "output",
    "descriptor",
    "verify",
    "trim",
];

/// The C spelling of this crate: `include/nnc_abi.h`, self-contained but for `<stdint.h>`, with an include guard, for the
/// compiler to paste into each `model.h`.
pub const C_HEADER: &str = include_str!("../../include/nnc_abi.h");

//! Loads and runs models that nnc compiled.
//!
//! ```no_run
//! use nnc_runtime::{Model, TensorRef};
//!
//! let model = Model::load("resnet50.so")?;
//! let image = vec![0f32; 3 * 224 * 224];
//! let outputs = model.run(&[TensorRef::new(&[1, 3, 224, 224], &image)])?;
//! println!("{:?}: {:?}", outputs[0].dims(), &outputs[0].as_slice::<f32>().unwrap()[..5]);
//! # Ok::<(), nnc_runtime::Error>(())
//! ```
//!
//! The runtime depends on the ABI only and knows nothing of ONNX, graphs or kernels. A program that wants none of it can
//! call a model through the header the compiler writes; what it gets here is: checks with readable errors before any
//! model code runs, buffers, a thread pool, and the C API of `include/nnc.h`.
//!
//! # Invariants
//!
//! - No instruction of a model runs before its file, ABI version, processor and features have been checked, and none
//!   runs while it is loaded, inspected or verified.
//! - A model is immutable and shared: any number of threads may run one at once.
//! - A [`Runner`] whose dimensions stay the same allocates nothing per run.
//! - The number of threads never changes a result.
//!
//! Linux on 64-bit processors only.

mod artifact;
mod buffer;
pub mod capi;
mod check;
mod cpu;
mod error;
mod loader;
mod model;
pub mod pool;
mod runner;
mod sequences;
mod signature;
mod source;
mod state;
mod strings;
mod tensor;
#[cfg(test)]
mod tests;
mod weights;

pub use artifact::{Artifact, Kind};
pub use cpu::host_features;
pub use error::{Error, Result};
pub use model::{Model, Plan};
pub use nnc_abi::{self as abi, DType, DimKind, Status};
pub use pool::Pool;
pub use runner::{Runner, Threads};
pub use sequences::Sequence;
pub use signature::{Dim, Signature, Symbol, TensorInfo};
pub use state::{State, StateInfo};
pub use strings::{Strings, string_refs, strings};
pub use tensor::{Element, Tensor, TensorRef};

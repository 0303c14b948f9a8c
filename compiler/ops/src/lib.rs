//! ONNX operators as core operations.
//!
//! [`translate`] turns a model into an [`nnc_ir::Graph`]. Each operator family is one file of this crate and one line
//! of the table in `registry.rs`; nothing after this crate knows an ONNX operator.
//!
//! # How to add an operator
//!
//! 1. Write `src/<operator>.rs`: a `//!` line of purpose, a link to the operator's page and the opsets covered; then
//!
//!    ```ignore
//!    pub fn hard_swish(ctx: &mut Context) -> Result<Vec<ValueId>> {
//!        let x = ctx.input(0)?;                      // required input; optional_input(i) for the others
//!        let alpha = ctx.float("alpha", 0.2)?;       // attribute with its default: each access marks it consumed
//!        let scaled = ctx.binary_scalar(BinaryOp::Mul, x, alpha.into())?;
//!        Ok(vec![scaled])                            // results in ONNX order; unwanted ones at the end may be left out
//!    }
//!    ```
//! 2. Add a line to the table in `registry_table.rs`: the module, and for each of its operators the name, the first
//!    opset covered and the function. The line declares the module as well.
//! 3. Write tests at the end of the file with the helpers of `testing.rs`: a table of cases, each a model in a line and
//!    the values or the error it gives. `hostile.rs` tries every operator of the table with nonsense.
//!
//! What a translation may rely on: names are resolved, model-local functions are inlined, inputs have exact types.
//! What it must do: read every attribute it supports through the accessors (one that nobody read is an error naming
//! it; `ctx.no_effect(name)` is for those documented as meaningless at inference), never index or unwrap on model data,
//! and refuse with [`error::invalid`] (the model breaks ONNX's rules) or [`error::unsupported`] (nnc cannot do it),
//! saying what to do. Helpers that emit core ops are in `emit.rs`, those about shapes in `broadcast.rs` and
//! `shapes.rs`.
//!
//! # What import does besides
//!
//! - small results whose operands are known are computed (`scope.rs`, by the reference interpreter);
//! - integer tensors made of dimensions are followed as expressions, so that shapes computed by the model are exact;
//! - sizes that must be equal are made equal by narrowing the bounds of a dimension (`assume.rs`), or required to be
//!   (`agree.rs`);
//! - where the run alone knows a shape operand, the shape the file states stands in (`stated.rs`), else `bind_dims`;
//! - all that is refused of a model is found, not just the first (`survey.rs`);
//! - strings become numbers into tables (`strings.rs`), elements of 8-bit floats and smaller types a byte each (`narrow.rs`);
//! - sequences and optionals are taken apart (`sequence.rs`), an `If` of known condition is its branch (`control.rs`).

#[macro_use]
mod registry_table;

mod agree;
mod assume;
mod broadcast;
pub mod context;
mod emit;
pub mod error;
mod finish;
mod forest;
#[cfg(test)]
mod hostile;
mod item;
mod ml_coupling;
mod ml_labels;
mod ml_tree_attributes;
mod movement;
mod names;
mod narrow;
mod narrow_floats;
mod packed_sequence;
mod pattern;
mod ranges;
mod repeat;
mod require;
mod scope;
mod shapes;
mod signature;
mod stated;
mod string_case;
mod string_numbers;
mod strings;
mod subgraph;
mod survey;
mod tensors;
#[cfg(test)]
pub(crate) mod testing;
mod translate;

pub mod registry;

pub use context::Context;
pub use error::{ErrorKind, TranslateError};
pub use survey::{Survey, survey};
pub use tensors::import as import_tensor;
pub use translate::{DimRange, Options, translate};

for_each_family!(declare_modules);

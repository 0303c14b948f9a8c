//! The passes: from an imported graph to a program of kernels.
//!
//! [`pipeline`] lists the graph passes, which rewrite `nnc_ir::Graph`, in order; [`regions`] divides what
//! remains into regions; [`layout`] says where their results lie and [`choose`] how each is computed; [`lower`] makes kernels of
//! `nnc-kernels` of them and [`schedule`] lays those onto the machine; [`memory`] gives every buffer its place in the workspace
//! and [`memory_check`] checks that independently.

pub mod allocate;
pub mod blame;
pub mod choose;
pub mod dead_code;
mod error;
pub mod fold_constants;
pub mod fuel;
pub mod hand_in_constants;
pub mod in_place;
mod keep_narrow;
pub mod layout;
pub mod lower;
pub mod memory;
pub mod memory_check;
pub mod merge_contracts;
pub mod pipeline;
pub mod regions;
pub mod rules;
pub mod schedule;
#[cfg(test)]
mod testing;

pub use error::LowerError;

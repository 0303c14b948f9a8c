//! Target descriptions: what a processor has, as data.
//!
//! Passes ask a [`Target`] for lanes, tiles and rates; code generators for its features. Nothing here generates code.

pub mod features;
pub mod table;
pub mod tiles;

pub use features::{Arch, Feature, Features};
pub use table::{Target, TargetError};

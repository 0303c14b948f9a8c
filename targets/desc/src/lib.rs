//! Target descriptions: what a processor has, as data.
//!
//! Passes ask a [`Target`] for lanes, products and rates; code generators for its features. Nothing here generates code.

pub mod features;
pub mod products;
pub mod table;
pub mod tiles;

pub use features::{Arch, Feature, Features};
pub use products::Product;
pub use table::{Target, TargetError};

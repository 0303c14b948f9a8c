//! Target descriptions: what a processor has, as data.
//!
//! Passes ask a [`Target`] for lanes, products and rates; code generators for its features. Nothing here generates code.

pub mod cost;
pub mod features;
pub mod operations;
pub mod products;
pub mod rates;
pub mod table;
pub mod tiles;

pub use cost::Work;
pub use features::{Arch, Feature, Features};
pub use products::Product;
pub use rates::Rates;
pub use table::{Target, TargetError};

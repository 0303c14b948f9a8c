//! Symbolic dimensions: integer expressions over named symbols, in a canonical form.

use std::fmt;

/// A dimension symbol: an index of a [`DimTable`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Symbol(pub u32);

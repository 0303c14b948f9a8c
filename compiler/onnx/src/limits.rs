//! Limits that keep a small hostile file from costing much time or memory.
//!
//! The limits of the wire format stand in `strip`; these are those of what comes after.

/// The deepest chain of function calls.
pub(crate) const MOST_CALLS: usize = 64;
/// The deepest nesting of subgraphs once functions are expanded.
pub(crate) const MOST_GRAPH_LEVELS: usize = 40;
/// The most nodes that expanding functions may add.
pub(crate) const MOST_EXPANDED_NODES: usize = 1 << 16;
/// The most bytes of names and attributes that expanding functions may add.
pub(crate) const MOST_EXPANSION: usize = 1 << 27;

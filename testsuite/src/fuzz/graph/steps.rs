//! The mixes of operations that graphs grow by. A step answers `None` when what it drew does not fit.

use nnc_ir::ValueId;

use super::builder::Builder;
use super::elementwise::{binary, bits, compare, convert, exact_unary, select, shared, unary, with_scalar};
use super::movement::{
    broadcast, concat, dims, gather, gather_elements, iota, pad, reshape, scatter_elements, slice, transpose,
};
use super::sums::{arg_reduce, contract, conv, cumulative, pool, pool_index, reduce, softmax, top_k};
use super::{cells, nested, sizes};

/// Appends an operation.
pub(super) type Step = fn(&mut Builder) -> Option<ValueId>;

/// What rewrite rules match.
pub(super) const RULES: &[Step] = &[
    unary,
    exact_unary,
    binary,
    binary,
    binary,
    with_scalar,
    with_scalar,
    with_scalar,
    transpose,
    transpose,
    reshape,
    reshape,
    broadcast,
    slice,
    slice,
    pad,
    concat,
    concat,
    reduce,
    reduce,
    contract,
    contract,
    select,
    convert,
    shared,
    sizes::compress,
    nested::branches,
    nested::repeated,
];

/// Every core operation that a graph without symbols of its own may have.
pub(super) const LOWER: &[Step] = &[
    unary,
    exact_unary,
    binary,
    with_scalar,
    transpose,
    reshape,
    broadcast,
    slice,
    pad,
    concat,
    reduce,
    contract,
    contract,
    select,
    convert,
    conv,
    conv,
    pool,
    pool_index,
    gather,
    gather_elements,
    scatter_elements,
    cumulative,
    top_k,
    arg_reduce,
    iota,
    dims,
    compare,
    bits,
    sizes::non_zero,
    sizes::compress,
    sizes::unique,
    sizes::non_max_suppression,
    sizes::bind,
    sizes::scatter_found,
    cells::recurrent,
    nested::branches,
    nested::repeated,
];

/// What bodies of branches and loops are made of.
pub(super) const BODY: &[Step] = &[
    unary,
    exact_unary,
    binary,
    binary,
    with_scalar,
    transpose,
    reshape,
    slice,
    concat,
    reduce,
    contract,
    select,
    convert,
    gather,
    scatter_elements,
    cumulative,
    sizes::non_zero,
    sizes::compress,
    sizes::bind,
    nested::branches,
    nested::repeated,
];

/// Many values alive, views of one another.
pub(super) const MEMORY: &[Step] = &[
    unary,
    exact_unary,
    binary,
    binary,
    shared,
    shared,
    with_scalar,
    transpose,
    reshape,
    slice,
    concat,
    concat,
    reduce,
    contract,
    pad,
    select,
    scatter_elements,
    cumulative,
    top_k,
    softmax,
    sizes::compress,
    sizes::unique,
    cells::recurrent,
    nested::branches,
    nested::repeated,
];

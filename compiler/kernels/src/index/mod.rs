//! Index arithmetic of kernels: integer expressions over the variables of one kernel, in a canonical form.
//!
//! An [`Index`] has the representation of an `nnc_ir::Dim`, a canonical polynomial, so that strides are read off a
//! coefficient instead of being rediscovered. It is a type of its own because the two speak of different things: a
//! dimension mentions symbols of a graph, which mean the same in every kernel; an index mentions variables, which mean
//! nothing outside of theirs.
//!
//! Invariants:
//! - symbol `n` of the dimension inside stands for variable `n`; nothing outside of this module sees it;
//! - the one way in is [`Index::import`], the one way out [`Index::export`], and both are told what stands for what.

mod names;
mod ops;
mod polynomial;
mod ranges;
#[cfg(test)]
mod tests;

pub use names::Names;
pub use polynomial::{Factor, Polynomial, View};
pub use ranges::Ranges;

use crate::kernel::Var;
use nnc_ir::{Dim, Symbol};
use std::fmt;

/// A polynomial over the variables of a kernel; cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Index(Dim);

impl Var {
    /// This variable inside an [`Index`].
    pub fn index(self) -> Index {
        Index(Dim::sym(Symbol(self.0)))
    }
}

impl Index {
    /// What an index becomes that cannot be represented; no element has it.
    pub const OVERFLOW: Index = Index(Dim::OVERFLOW);
    /// 0.
    pub const ZERO: Index = Index(Dim::ZERO);
    /// 1.
    pub const ONE: Index = Index(Dim::ONE);

    /// A dimension of a graph over variables of a kernel: `index_of` says what stands for each symbol there.
    pub fn import(dim: &Dim, index_of: &impl Fn(Symbol) -> Index) -> Index {
        Index(dim.substitute(&|symbol| Some(index_of(symbol).0)))
    }

    /// The index over symbols of a graph: `dim_of` says what each variable is there.
    pub fn export(&self, dim_of: &impl Fn(Var) -> Dim) -> Dim {
        self.0.substitute(&|symbol| Some(dim_of(Var(symbol.0))))
    }

    /// The value when it mentions no variable.
    pub fn as_const(&self) -> Option<i64> {
        self.0.as_const()
    }

    /// Whether it is exactly this number.
    pub fn is_const(&self, value: i64) -> bool {
        self.0.is_const(value)
    }

    /// The variable when it is exactly one.
    pub fn as_var(&self) -> Option<Var> {
        self.0.as_symbol().map(|symbol| Var(symbol.0))
    }

    /// The constant term.
    pub fn constant(&self) -> i64 {
        self.0.constant()
    }

    /// The variables mentioned anywhere, sorted, each once.
    pub fn vars(&self) -> Vec<Var> {
        self.0.symbols().into_iter().map(|symbol| Var(symbol.0)).collect()
    }

    /// Whether the variable is mentioned anywhere.
    pub fn mentions(&self, var: Var) -> bool {
        self.0.symbols().contains(&Symbol(var.0))
    }

    /// The value under an assignment; `None` when a variable has none, a division is by zero, or `i64` overflows.
    pub fn eval(&self, value_of: &impl Fn(Var) -> Option<i64>) -> Option<i64> {
        self.0.eval(&|symbol| value_of(Var(symbol.0)))
    }

    /// The index with variables replaced; those for which `value_of` has nothing stay.
    pub fn substitute(&self, value_of: &impl Fn(Var) -> Option<Index>) -> Index {
        Index(self.0.substitute(&|symbol| value_of(Var(symbol.0)).map(|index| index.0)))
    }

    /// Least and greatest value over the ranges of the variables, saturated to `i64` (`i64::MAX`: unbounded).
    pub fn bounds(&self, ranges: &Ranges) -> (i64, i64) {
        self.0.bounds(ranges.table())
    }

    /// Whether `self >= other` for every value of the variables. `false` when not known.
    pub fn provably_ge(&self, other: &Index, ranges: &Ranges) -> bool {
        self.0.provably_ge(&other.0, ranges.table())
    }

    /// The index with minima, maxima, comparisons, selections and divisions decided where the ranges do.
    pub fn simplify(&self, ranges: &Ranges) -> Index {
        Index(self.0.simplify(ranges.table()))
    }
}

impl fmt::Display for Index {
    /// With variables as `s3`; [`Names::display`] knows their names.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

//! What dimensions of graphs and indices of kernels have in common, for code that serves either, but never both at once.

use super::{Index, Ranges};
use crate::kernel::Var;
use nnc_ir::dim::{Atom, DimOp};
use nnc_ir::{Dim, DimTable, Symbol};
use std::ops::{Add, Mul, Sub};

/// A polynomial opened for reading: `constant + sum of coefficient * product of factors`.
#[derive(Clone, Debug)]
pub struct View<P: Polynomial> {
    /// The constant term.
    pub constant: i64,
    /// Coefficient and factors (not empty; a power repeats its factor) of each other term.
    pub terms: Vec<(i64, Vec<Factor<P>>)>,
}

/// A variable of the polynomial.
#[derive(Clone, Debug)]
pub enum Factor<P: Polynomial> {
    /// A variable.
    Var(P::Var),
    /// An opaque operation.
    Op(DimOp, Vec<P>),
}

/// A [`Dim`] or an [`Index`].
pub trait Polynomial:
    Clone
    + PartialEq
    + From<i64>
    + for<'a> Add<&'a Self, Output = Self>
    + for<'a> Sub<&'a Self, Output = Self>
    + for<'a> Mul<&'a Self, Output = Self>
{
    /// What it is over.
    type Var: Copy + std::fmt::Debug;
    /// What is known of these.
    type Ranges;

    /// The value when it mentions no variable.
    fn as_const(&self) -> Option<i64>;
    /// Whether it is exactly this number.
    fn is_const(&self, value: i64) -> bool {
        self.as_const() == Some(value)
    }
    /// The variables mentioned anywhere, sorted, each once.
    fn vars(&self) -> Vec<Self::Var>;
    /// Its constant and terms, for lowering.
    fn view(&self) -> View<Self>;
    /// Rounded toward minus infinity; undefined where the divisor is 0.
    fn floor_div(&self, divisor: &Self) -> Self;
    /// What multiplied by `divisor` gives `self`, if there is such.
    fn div_exact(&self, divisor: &Self) -> Option<Self>;
    /// The same with operations decided where the ranges do.
    fn simplify(&self, ranges: &Self::Ranges) -> Self;
}

/// The terms of a dimension as those of a polynomial that `over` makes of dimensions inside.
fn view<P: Polynomial>(dim: &Dim, var: impl Fn(Symbol) -> P::Var, over: impl Fn(&Dim) -> P) -> View<P> {
    let view = dim.view();
    let factor = |atom: &Atom| match atom {
        Atom::Sym(symbol) => Factor::Var(var(*symbol)),
        Atom::Op(op, operands) => Factor::Op(*op, operands.iter().map(&over).collect()),
    };
    let terms = view.terms.into_iter().map(|(c, atoms)| (c, atoms.into_iter().map(factor).collect())).collect();
    View { constant: view.constant, terms }
}

impl Polynomial for Dim {
    type Var = Symbol;
    type Ranges = DimTable;

    fn as_const(&self) -> Option<i64> {
        self.as_const()
    }

    fn vars(&self) -> Vec<Symbol> {
        self.symbols()
    }

    fn view(&self) -> View<Dim> {
        view(self, |symbol| symbol, Dim::clone)
    }

    fn floor_div(&self, divisor: &Dim) -> Dim {
        self.floor_div(divisor)
    }

    fn div_exact(&self, divisor: &Dim) -> Option<Dim> {
        self.div_exact(divisor)
    }

    fn simplify(&self, table: &DimTable) -> Dim {
        self.simplify(table)
    }
}

impl Polynomial for Index {
    type Var = Var;
    type Ranges = Ranges;

    fn as_const(&self) -> Option<i64> {
        self.as_const()
    }

    fn vars(&self) -> Vec<Var> {
        self.vars()
    }

    fn view(&self) -> View<Index> {
        view(&self.0, |symbol| Var(symbol.0), |dim| Index(dim.clone()))
    }

    fn floor_div(&self, divisor: &Index) -> Index {
        self.floor_div(divisor)
    }

    fn div_exact(&self, divisor: &Index) -> Option<Index> {
        self.div_exact(divisor)
    }

    fn simplify(&self, ranges: &Ranges) -> Index {
        self.simplify(ranges)
    }
}

//! Symbolic dimensions: integer expressions over named symbols, in a canonical form.
//!
//! A [`Dim`] is a polynomial with `i64` coefficients whose variables are [`Atom`]s: symbols, or operations that a
//! polynomial cannot express (division, minimum, comparison).
//!
//! Invariants:
//! - canonical: terms are sorted, have distinct monomials and nonzero coefficients, and each operation is simplified
//!   when built, so that `==` decides equality of polynomials over atoms;
//! - nothing here panics. A coefficient that leaves `i64`, or an expression beyond the size limits (which protect
//!   against hostile models), becomes the constant [`Dim::OVERFLOW`], which no tensor can have as a size.
//!
//! Source: the treatment of symbolic shapes follows tract's `TDim` (github.com/sonos/tract, `data/src/dim`) in its
//! vocabulary, but keeps polynomials expanded, which makes equality structural.

mod bounds;
mod canonical;
mod extremes;
mod ops;
mod table;
#[cfg(test)]
mod tests;
mod text;

pub use table::{DimTable, SymbolInfo, SymbolOrigin};
pub(crate) use text::is_identifier;
pub use text::{DimParseError, DisplayDim, unquote};

use canonical::Poly;
use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

/// A dimension symbol: an index of a [`DimTable`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Symbol(pub u32);

/// A symbolic integer in canonical form; cheap to clone.
///
/// Not `Ord`: `a.min(b)` would silently mean the structurally lesser. See [`Dim::structural_cmp`].
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Dim(Repr);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Repr {
    Const(i64),
    Poly(Arc<Poly>),
}

/// An operation that polynomials cannot express.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DimOp {
    /// `(a, b)`: a / b rounded down; undefined when b is 0.
    FloorDiv,
    /// `(a, b)`: a - b * floor(a / b); undefined when b is 0.
    Mod,
    /// `(a, b, ...)`: the least of two or more.
    Min,
    /// `(a, b, ...)`: the greatest of two or more.
    Max,
    /// `(a, b)`: 1 when equal, else 0.
    Eq,
    /// `(a, b)`: 1 when a < b, else 0.
    Lt,
    /// `(c, a, b)`: a when c is not 0, else b.
    Select,
}

/// A variable of the polynomial.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Atom {
    /// A symbol.
    Sym(Symbol),
    /// An opaque operation.
    Op(DimOp, Vec<Dim>),
}

/// A [`Dim`] opened for reading: `constant + sum of coefficient * product of atoms`.
#[derive(Clone, Debug)]
pub struct DimView<'a> {
    /// The constant term.
    pub constant: i64,
    /// Coefficient and atoms (not empty; a power repeats its atom) of each other term.
    pub terms: Vec<(i64, Vec<&'a Atom>)>,
}

impl Dim {
    /// What an expression becomes that cannot be represented.
    pub const OVERFLOW: Dim = Dim(Repr::Const(i64::MAX));
    /// 0.
    pub const ZERO: Dim = Dim(Repr::Const(0));
    /// 1.
    pub const ONE: Dim = Dim(Repr::Const(1));

    /// The symbol as an expression.
    pub fn sym(symbol: Symbol) -> Dim {
        Dim::atom(Atom::Sym(symbol))
    }

    /// The value when it mentions no symbol.
    pub fn as_const(&self) -> Option<i64> {
        match self.0 {
            Repr::Const(value) => Some(value),
            Repr::Poly(_) => None,
        }
    }

    /// The symbol when it is exactly one.
    pub fn as_symbol(&self) -> Option<Symbol> {
        match self.as_atom()? {
            Atom::Sym(symbol) => Some(*symbol),
            Atom::Op(..) => None,
        }
    }

    /// Whether it is exactly this number.
    pub fn is_const(&self, value: i64) -> bool {
        self.as_const() == Some(value)
    }

    /// A total order of expressions as texts, for sorting and ordered maps; it says nothing of their values.
    pub fn structural_cmp(&self, other: &Dim) -> Ordering {
        match (&self.0, &other.0) {
            (Repr::Const(a), Repr::Const(b)) => a.cmp(b),
            (Repr::Const(_), Repr::Poly(_)) => Ordering::Less,
            (Repr::Poly(_), Repr::Const(_)) => Ordering::Greater,
            (Repr::Poly(a), Repr::Poly(b)) => a.structural_cmp(b),
        }
    }

    /// Its constant and terms, for lowering.
    pub fn view(&self) -> DimView<'_> {
        let terms = self.terms().iter().map(|t| (t.coef, t.mono.0.iter().collect())).collect();
        DimView { constant: self.constant(), terms }
    }

    /// The symbols mentioned anywhere, sorted, each once.
    pub fn symbols(&self) -> Vec<Symbol> {
        let mut found = vec![];
        self.collect_symbols(&mut found);
        found.sort_unstable();
        found.dedup();
        found
    }

    fn collect_symbols(&self, found: &mut Vec<Symbol>) {
        for atom in self.terms().iter().flat_map(|t| &t.mono.0) {
            match atom {
                Atom::Sym(symbol) => found.push(*symbol),
                Atom::Op(_, operands) => operands.iter().for_each(|d| d.collect_symbols(found)),
            }
        }
    }

    /// The value under an assignment; `None` when a symbol has none, a division is by zero, or `i64` overflows.
    pub fn eval(&self, value_of: &impl Fn(Symbol) -> Option<i64>) -> Option<i64> {
        let mut sum = self.constant();
        for term in self.terms() {
            let mut product = term.coef;
            for atom in &term.mono.0 {
                product = product.checked_mul(eval_atom(atom, value_of)?)?;
            }
            sum = sum.checked_add(product)?;
        }
        Some(sum)
    }

    /// The expression with symbols replaced; those for which `value_of` has nothing stay.
    pub fn substitute(&self, value_of: &impl Fn(Symbol) -> Option<Dim>) -> Dim {
        let mut sum = Dim::from(self.constant());
        for term in self.terms() {
            let mut product = Dim::from(term.coef);
            for atom in &term.mono.0 {
                let factor = match atom {
                    Atom::Sym(symbol) => value_of(*symbol).unwrap_or_else(|| Dim::sym(*symbol)),
                    Atom::Op(op, operands) => {
                        let operands: Vec<Dim> = operands.iter().map(|d| d.substitute(value_of)).collect();
                        Dim::apply(*op, &operands)
                    }
                };
                product = &product * &factor;
            }
            sum = &sum + &product;
        }
        sum
    }
}

fn eval_atom(atom: &Atom, value_of: &impl Fn(Symbol) -> Option<i64>) -> Option<i64> {
    let (op, operands) = match atom {
        Atom::Sym(symbol) => return value_of(*symbol),
        Atom::Op(op, operands) => (*op, operands),
    };
    // Only the branch taken is evaluated: the other may divide by zero.
    if let (DimOp::Select, [c, a, b]) = (op, operands.as_slice()) {
        return if c.eval(value_of)? != 0 { a.eval(value_of) } else { b.eval(value_of) };
    }
    let values = operands.iter().map(|d| d.eval(value_of)).collect::<Option<Vec<i64>>>()?;
    match (op, values.as_slice()) {
        (DimOp::FloorDiv, &[a, b]) => ops::floor_div_i64(a, b),
        (DimOp::Mod, &[a, b]) => ops::floor_mod_i64(a, b),
        (DimOp::Eq, &[a, b]) => Some(i64::from(a == b)),
        (DimOp::Lt, &[a, b]) => Some(i64::from(a < b)),
        (DimOp::Min, values) => values.iter().copied().min(),
        (DimOp::Max, values) => values.iter().copied().max(),
        _ => None,
    }
}

impl Ord for Atom {
    fn cmp(&self, other: &Atom) -> Ordering {
        match (self, other) {
            (Atom::Sym(a), Atom::Sym(b)) => a.cmp(b),
            (Atom::Sym(_), Atom::Op(..)) => Ordering::Less,
            (Atom::Op(..), Atom::Sym(_)) => Ordering::Greater,
            (Atom::Op(op, a), Atom::Op(other_op, b)) => {
                let pairwise = a.iter().zip(b).map(|(x, y)| x.structural_cmp(y)).find(|o| o.is_ne());
                op.cmp(other_op).then(a.len().cmp(&b.len())).then(pairwise.unwrap_or(Ordering::Equal))
            }
        }
    }
}

impl PartialOrd for Atom {
    fn partial_cmp(&self, other: &Atom) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl From<i64> for Dim {
    fn from(value: i64) -> Dim {
        Dim(Repr::Const(value))
    }
}

impl From<i32> for Dim {
    fn from(value: i32) -> Dim {
        Dim(Repr::Const(i64::from(value)))
    }
}

impl From<usize> for Dim {
    /// Sizes beyond `i64` become [`Dim::OVERFLOW`].
    fn from(value: usize) -> Dim {
        Dim(Repr::Const(i64::try_from(value).unwrap_or(i64::MAX)))
    }
}

impl From<Symbol> for Dim {
    fn from(symbol: Symbol) -> Dim {
        Dim::sym(symbol)
    }
}

macro_rules! operators {
    ($($tr:ident::$method:ident => $function:path),* $(,)?) => { $(
        impl std::ops::$tr<&Dim> for &Dim {
            type Output = Dim;
            fn $method(self, rhs: &Dim) -> Dim { $function(self, rhs) }
        }
        impl std::ops::$tr<Dim> for &Dim {
            type Output = Dim;
            fn $method(self, rhs: Dim) -> Dim { $function(self, &rhs) }
        }
        impl std::ops::$tr<&Dim> for Dim {
            type Output = Dim;
            fn $method(self, rhs: &Dim) -> Dim { $function(&self, rhs) }
        }
        impl std::ops::$tr<Dim> for Dim {
            type Output = Dim;
            fn $method(self, rhs: Dim) -> Dim { $function(&self, &rhs) }
        }
        impl std::ops::$tr<i64> for &Dim {
            type Output = Dim;
            fn $method(self, rhs: i64) -> Dim { $function(self, &Dim::from(rhs)) }
        }
        impl std::ops::$tr<i64> for Dim {
            type Output = Dim;
            fn $method(self, rhs: i64) -> Dim { $function(&self, &Dim::from(rhs)) }
        }
    )* };
}
operators!(Add::add => canonical::add, Sub::sub => canonical::sub, Mul::mul => canonical::mul);

impl std::ops::Neg for &Dim {
    type Output = Dim;
    fn neg(self) -> Dim {
        canonical::mul(self, &Dim::from(-1))
    }
}

impl std::ops::Neg for Dim {
    type Output = Dim;
    fn neg(self) -> Dim {
        -&self
    }
}

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s{}", self.0)
    }
}

impl fmt::Debug for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

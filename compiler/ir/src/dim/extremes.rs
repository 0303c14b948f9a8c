//! The greatest and the least an expression can be, as expressions over the symbols that are known before a run.
//!
//! Symbols that data defines are replaced by their bounds, each term by the end that its sign asks for: `n - count` is
//! greatest where `count` is least. Memory is sized by the result, so it holds whatever the data is:
//!
//! Invariant: under every assignment within the bounds of the symbols, `least <= value <= greatest` wherever all three
//! have a value. (A symbol's `upper` counts among its bounds.)
//!
//! A condition that data decides is decided both ways, with all selections by it the same way: the sizes of the two
//! branches of an `If` are not added up.

use super::{Atom, Dim, DimOp, DimTable, Symbol, SymbolOrigin};
use rustc_hash::FxHashMap;

/// Nesting of symbols bounded by expressions over other symbols.
const MAX_DEPTH: u32 = 32;
/// Conditions decided both ways, one inside the other; further ones are bounded by either branch on its own.
const MOST_CASES: u32 = 4;

impl Dim {
    /// The greatest value for given inputs, over the symbols of inputs alone; `None` when it is not bounded. An
    /// expression without data-dependent symbols is its own bound.
    pub fn greatest(&self, table: &DimTable) -> Option<Dim> {
        self.greatest_given(table, &|_| false)
    }

    /// The greatest value over the symbols of inputs and those of data for which `given` holds; `None` when it is not
    /// bounded.
    pub fn greatest_given(&self, table: &DimTable, given: &dyn Fn(Symbol) -> bool) -> Option<Dim> {
        Extremes::new(table, given).of(self, true, MOST_CASES)
    }

    /// The least value for given inputs, over the symbols of inputs alone; `None` when it is not bounded.
    pub fn least(&self, table: &DimTable) -> Option<Dim> {
        Extremes::new(table, &|_| false).of(self, false, MOST_CASES)
    }

    /// Whether it mentions a symbol that data defines.
    pub fn depends_on_data(&self, table: &DimTable) -> bool {
        self.symbols().iter().any(|s| table.lookup(*s).is_some_and(|i| i.origin != SymbolOrigin::Input))
    }
}

struct Extremes<'t> {
    table: &'t DimTable,
    /// Symbols of data that are known nevertheless.
    given: &'t dyn Fn(Symbol) -> bool,
    /// Bounds of symbols found so far: one symbol may bound many others.
    symbols: FxHashMap<(Symbol, bool), Option<Dim>>,
    depth: u32,
}

impl<'t> Extremes<'t> {
    fn new(table: &'t DimTable, given: &'t dyn Fn(Symbol) -> bool) -> Self {
        Extremes { table, given, symbols: FxHashMap::default(), depth: 0 }
    }

    /// Whether a symbol is not known yet.
    fn is_open(&self, symbol: Symbol) -> bool {
        self.table.lookup(symbol).is_some_and(|i| i.origin == SymbolOrigin::Node) && !(self.given)(symbol)
    }

    /// Whether an expression mentions a symbol that is not known yet.
    fn mentions_open(&self, dim: &Dim) -> bool {
        dim.symbols().into_iter().any(|s| self.is_open(s))
    }

    /// The greatest value, or the least.
    fn of(&mut self, dim: &Dim, greatest: bool, cases: u32) -> Option<Dim> {
        if *dim == Dim::OVERFLOW || !self.mentions_open(dim) {
            return (*dim != Dim::OVERFLOW).then(|| dim.clone());
        }
        if cases > 0
            && let Some(condition) = self.condition_in(dim)
        {
            let (holds, fails) = (decide(dim, &condition, true), decide(dim, &condition, false));
            let holds = self.of(&holds, greatest, cases - 1)?;
            let fails = self.of(&fails, greatest, cases - 1)?;
            return known(if greatest { holds.max(&fails) } else { holds.min(&fails) });
        }
        let view = dim.view();
        let mut sum = Dim::from(view.constant);
        for (coefficient, atoms) in view.terms {
            let product = self.product(&atoms, greatest == (coefficient > 0))?;
            sum = known(sum + product * coefficient)?;
        }
        Some(sum)
    }

    /// The condition of a selection that data decides.
    fn condition_in(&self, dim: &Dim) -> Option<Dim> {
        dim.view().terms.iter().flat_map(|(_, atoms)| atoms).find_map(|atom| {
            let Atom::Op(op, operands) = atom else { return None };
            match (op, operands.as_slice()) {
                (DimOp::Select, [c, ..]) if self.mentions_open(c) => Some(c.clone()),
                _ => operands.iter().find_map(|d| self.condition_in(d)),
            }
        })
    }

    /// The greatest or least value of a product of atoms.
    fn product(&mut self, atoms: &[&Atom], greatest: bool) -> Option<Dim> {
        let table = self.table;
        let (open, fixed): (Vec<&Atom>, Vec<&Atom>) =
            atoms.iter().partition(|a| self.mentions_open(&Dim::atom((**a).clone())));
        let not_negative = |a: &Atom| Dim::atom(a.clone()).bounds(table).0 >= 0;
        let times = |a: Dim, b: Dim| known(a * b);
        if fixed.iter().all(|a| not_negative(a)) {
            let fixed = fixed.iter().try_fold(Dim::ONE, |p, a| times(p, Dim::atom((*a).clone())))?;
            match open.as_slice() {
                [] => return Some(fixed),
                // One factor of any sign: its own end counts.
                [only] => return times(self.atom(only, greatest)?, fixed),
                _ if open.iter().all(|a| not_negative(a)) => {
                    return open.iter().try_fold(fixed, |p, a| {
                        // The least may come out negative, as it is looked for less closely than the sign.
                        let end = self.atom(a, greatest)?;
                        times(p, if greatest { end } else { end.max(&Dim::ZERO) })
                    });
                }
                _ => {}
            }
        }
        // Signs are not known: no product is farther from 0 than that of the magnitudes.
        let mut magnitude = Dim::ONE;
        for atom in atoms {
            let (low, high) = (self.atom(atom, false)?, self.atom(atom, true)?);
            magnitude = times(magnitude, high.max(&-low))?;
        }
        Some(if greatest { magnitude } else { -magnitude })
    }

    fn atom(&mut self, atom: &Atom, greatest: bool) -> Option<Dim> {
        let (op, operands) = match atom {
            Atom::Sym(symbol) => return self.symbol(*symbol, greatest),
            Atom::Op(op, operands) => (*op, operands.as_slice()),
        };
        if !operands.iter().any(|d| self.mentions_open(d)) {
            return Some(Dim::atom(atom.clone()));
        }
        let extreme = match (op, operands) {
            (DimOp::Min | DimOp::Max, operands) => {
                // One bounded operand bounds a minimum from above, and a maximum from below.
                let any_will_do = (op == DimOp::Min) == greatest;
                let mut ends = vec![];
                for operand in operands {
                    match self.of(operand, greatest, 0) {
                        Some(end) => ends.push(end),
                        None if any_will_do => {}
                        None => return None,
                    }
                }
                if ends.is_empty() {
                    return None;
                }
                Dim::apply(op, &ends)
            }
            (DimOp::FloorDiv, [a, b]) if b.as_const().is_some_and(|b| b > 0) => self.of(a, greatest, 0)?.floor_div(b),
            // The divisor is at least 1, so the quotient is no farther from 0 than the dividend.
            (DimOp::FloorDiv, [a, b]) if b.bounds(self.table).0 > 0 => {
                let end = self.of(a, greatest, 0)?;
                if greatest { end.max(&Dim::ZERO) } else { end.min(&Dim::ZERO) }
            }
            (DimOp::Mod, [_, b]) if b.bounds(self.table).0 > 0 => match greatest {
                true => self.of(b, true, 0)? - 1,
                false => Dim::ZERO,
            },
            (DimOp::Eq | DimOp::Lt, _) => Dim::from(i64::from(greatest)),
            (DimOp::Select, [_, a, b]) => {
                let (a, b) = (self.of(a, greatest, 0)?, self.of(b, greatest, 0)?);
                if greatest { a.max(&b) } else { a.min(&b) }
            }
            _ => return None,
        };
        known(extreme)
    }

    fn symbol(&mut self, symbol: Symbol, greatest: bool) -> Option<Dim> {
        let info = self.table.lookup(symbol)?;
        if !self.is_open(symbol) {
            return Some(Dim::sym(symbol));
        }
        if !greatest {
            return (info.min > i64::MIN).then(|| Dim::from(info.min));
        }
        if let Some(found) = self.symbols.get(&(symbol, greatest)) {
            return found.clone();
        }
        let upper = match &info.upper {
            Some(upper) if self.depth < MAX_DEPTH => {
                self.depth += 1;
                let upper = self.of(upper, true, MOST_CASES);
                self.depth -= 1;
                upper
            }
            _ => None,
        };
        let bound = match (upper, info.max) {
            (upper, i64::MAX) => upper,
            (None, max) => Some(Dim::from(max)),
            (Some(upper), max) => Some(upper.min(&Dim::from(max))),
        };
        self.symbols.insert((symbol, greatest), bound.clone());
        bound
    }
}

/// Unless it could not be represented.
fn known(dim: Dim) -> Option<Dim> {
    (dim != Dim::OVERFLOW).then_some(dim)
}

/// The expression where a condition holds or fails: every selection by it is made.
fn decide(dim: &Dim, condition: &Dim, holds: bool) -> Dim {
    let view = dim.view();
    let mut sum = Dim::from(view.constant);
    for (coefficient, atoms) in view.terms {
        let mut product = Dim::from(coefficient);
        for atom in atoms {
            let factor = match atom {
                Atom::Op(DimOp::Select, operands) if operands.first() == Some(condition) => {
                    match operands.get(if holds { 1 } else { 2 }) {
                        Some(branch) => decide(branch, condition, holds),
                        None => Dim::OVERFLOW,
                    }
                }
                Atom::Op(op, operands) => {
                    let operands: Vec<Dim> = operands.iter().map(|d| decide(d, condition, holds)).collect();
                    Dim::apply(*op, &operands)
                }
                Atom::Sym(symbol) => Dim::sym(*symbol),
            };
            product = product * factor;
        }
        sum = sum + product;
    }
    sum
}

//! Interval analysis: what the bounds of symbols say of an expression. Every answer fails closed.
//!
//! Two bounds are computed and the better one kept: plain intervals, and the polynomial rewritten in variables shifted
//! to start at 0, where every term with a positive coefficient is at least 0. The second proves `n*m - n >= 0` for
//! `n >= 0`, `m >= 1`, which intervals cannot.

use super::canonical::{Monomial, Term, gcd};
use super::{Atom, Dim, DimOp, DimTable, Symbol};
use std::collections::BTreeMap;

/// Stands for infinity. Finite ends of intervals are within `i64`, so no sum of them comes near.
const INF: i128 = 1 << 100;
/// Nesting of symbols bounded by expressions over other symbols.
const MAX_UPPER_DEPTH: u32 = 16;
/// Minima, maxima, selections and divisions looked into, one after the other.
const MOST_CASES: u32 = 3;
/// Terms looked into at a time, and operands of one.
const MOST_OPENED: usize = 4;

type Interval = (i128, i128);

fn clamp(value: i128) -> i128 {
    value.clamp(-INF, INF)
}

fn mul(a: i128, b: i128) -> i128 {
    clamp(a.saturating_mul(b))
}

/// Ends beyond `i64` become infinite outward and the nearest `i64` inward; the latter describes no value at all.
fn snap((low, high): Interval) -> Interval {
    let (least, greatest) = (i128::from(i64::MIN), i128::from(i64::MAX));
    let low = if low < least { -INF } else { low.min(greatest) };
    let high = if high > greatest { INF } else { high.max(least) };
    (low, high)
}

fn mul_intervals(a: Interval, b: Interval) -> Interval {
    let products = [mul(a.0, b.0), mul(a.0, b.1), mul(a.1, b.0), mul(a.1, b.1)];
    (products.into_iter().min().unwrap_or(-INF), products.into_iter().max().unwrap_or(INF))
}

impl Dim {
    /// Least and greatest value over the bounds of the symbols, saturated to `i64` (`i64::MAX`: unbounded).
    pub fn bounds(&self, table: &DimTable) -> (i64, i64) {
        let (low, high) = interval(self, table, MAX_UPPER_DEPTH);
        let narrow = |v: i128| v.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64;
        (narrow(low), narrow(high))
    }

    /// Whether `self >= other` for every value of the symbols. `false` when not known.
    pub fn provably_ge(&self, other: &Dim, table: &DimTable) -> bool {
        let difference = self - other;
        if *self == Dim::OVERFLOW || *other == Dim::OVERFLOW || difference == Dim::OVERFLOW {
            return matches!((self.as_const(), other.as_const()), (Some(a), Some(b)) if a >= b);
        }
        not_negative(difference, table, MOST_CASES)
    }

    /// Whether `self > other` for every value of the symbols. `false` when not known.
    pub fn provably_gt(&self, other: &Dim, table: &DimTable) -> bool {
        self.provably_ge(&(other + 1), table)
    }

    /// The expression with minima, maxima, comparisons, selections and divisions decided where the bounds do.
    pub fn simplify(&self, table: &DimTable) -> Dim {
        let mut sum = Dim::from(self.constant());
        for term in self.terms() {
            let mut product = Dim::from(term.coef);
            for atom in &term.mono.0 {
                let factor = match atom {
                    // Not even a symbol with one value is replaced, or equal sizes would differ as expressions.
                    Atom::Sym(symbol) => Dim::sym(*symbol),
                    Atom::Op(op, operands) => {
                        let operands: Vec<Dim> = operands.iter().map(|d| d.simplify(table)).collect();
                        decide(*op, operands, table)
                    }
                };
                product = &product * &factor;
            }
            sum = &sum + &product;
        }
        sum
    }
}

/// Whether an expression is at least 0, looking into minima, maxima, selections and divisions.
fn not_negative(mut dim: Dim, table: &DimTable, cases: u32) -> bool {
    for _ in 0..MAX_UPPER_DEPTH {
        if dim == Dim::OVERFLOW {
            return false;
        }
        if interval(&dim, table, MAX_UPPER_DEPTH).0 >= 0 {
            return true;
        }
        // -c * count >= -c * upper: replace a symbol by its symbolic bound and look again. So too in a product of others that
        // are not negative.
        let bounded = dim.terms().iter().filter(|term| term.coef < 0).find_map(|term| {
            let least = |atom: &Atom| atom_interval(atom, table, MAX_UPPER_DEPTH).0;
            term.mono.0.iter().enumerate().find_map(|(place, atom)| {
                let Atom::Sym(symbol) = atom else { return None };
                let upper = table.lookup(*symbol)?.upper.clone()?;
                let mut others = term.mono.0.clone();
                others.remove(place);
                let gain = Dim::term(term.coef, Monomial(others.clone())) * &(upper - Dim::sym(*symbol));
                others.iter().all(|atom| least(atom) >= 0).then_some(gain)
            })
        });
        let Some(gain) = bounded else { break };
        dim = &dim + &gain;
    }
    let Some(cases) = cases.checked_sub(1) else { return false };
    if is_negative_somewhere(&dim, table) {
        return false;
    }
    let opaque =
        |term: &&Term| matches!(term.mono.0.as_slice(), [Atom::Op(_, operands)] if operands.len() <= MOST_OPENED);
    dim.terms().iter().filter(opaque).take(MOST_OPENED).any(|term| {
        let [Atom::Op(op, operands)] = term.mono.0.as_slice() else { return false };
        let replaced = |by: &Dim| {
            let atom = Dim::atom(Atom::Op(*op, operands.clone()));
            not_negative(&dim + &((by - &atom) * term.coef), table, cases)
        };
        match (op, operands.as_slice()) {
            // A minimum is at most each of its operands and equal to one.
            (DimOp::Min, operands) if term.coef < 0 => operands.iter().any(replaced),
            (DimOp::Max, operands) if term.coef > 0 => operands.iter().any(replaced),
            (DimOp::Min | DimOp::Max, operands) => operands.iter().all(replaced),
            (DimOp::Select, [_, a, b]) => replaced(a) && replaced(b),
            // c * floor(a / b) with c = k * b lies between k * (a - b + 1) and k * a. Any c is of that form when all is
            // multiplied by t; an integer is not negative when its t-fold is more than -t.
            (DimOp::FloorDiv, [a, b]) => {
                let Some(divisor) = b.as_const().filter(|b| *b > 0) else { return false };
                let common = gcd(term.coef.unsigned_abs(), divisor.unsigned_abs()) as i64;
                let (times, k) = (divisor / common, term.coef / common);
                let rest = &dim - &(Dim::atom(Atom::Op(*op, operands.clone())) * term.coef);
                let end = if term.coef < 0 { a.clone() } else { a - divisor + 1 };
                not_negative(rest * times + end * k + (times - 1), table, cases)
            }
            _ => false,
        }
    })
}

/// Whether an expression is below 0 where all symbols have their least values: what nothing can prove not to be. Most
/// questions end here.
fn is_negative_somewhere(dim: &Dim, table: &DimTable) -> bool {
    let least = |symbol: Symbol| table.lookup(symbol).map(|info| info.min);
    let possible = |symbol: Symbol| {
        let Some(info) = table.lookup(symbol) else { return false };
        info.min <= info.max && info.upper.as_ref().is_none_or(|u| u.eval(&least).is_some_and(|u| info.min <= u))
    };
    dim.eval(&least).is_some_and(|value| value < 0) && dim.symbols().into_iter().all(possible)
}

fn decide(op: DimOp, mut operands: Vec<Dim>, table: &DimTable) -> Dim {
    match (op, operands.as_slice()) {
        (DimOp::Min | DimOp::Max, _) => {
            let mut i = 0;
            while i < operands.len() {
                let loses = operands.iter().enumerate().any(|(j, other)| {
                    let (low, high) = if op == DimOp::Min { (other, &operands[i]) } else { (&operands[i], other) };
                    // MAX is "to the end": no value exceeds it.
                    j != i && (high.is_const(i64::MAX) || high.provably_ge(low, table))
                });
                if loses {
                    operands.remove(i);
                } else {
                    i += 1;
                }
            }
        }
        (DimOp::Eq, [a, b]) if a.provably_gt(b, table) || b.provably_gt(a, table) => return Dim::ZERO,
        (DimOp::Lt, [a, b]) if b.provably_gt(a, table) => return Dim::ONE,
        (DimOp::Lt, [a, b]) if a.provably_ge(b, table) => return Dim::ZERO,
        (DimOp::Select, [c, a, b]) => {
            let (low, high) = c.bounds(table);
            if low > 0 || high < 0 {
                return a.clone();
            }
            if (low, high) == (0, 0) {
                return b.clone();
            }
        }
        (DimOp::FloorDiv | DimOp::Mod, [a, b]) if a.provably_ge(&Dim::ZERO, table) && b.provably_gt(a, table) => {
            return if op == DimOp::FloorDiv { Dim::ZERO } else { a.clone() };
        }
        (DimOp::FloorDiv, [a, b]) => {
            if let Some(quotient) = divide_steps(a, b, table) {
                return quotient;
            }
        }
        _ => {}
    }
    Dim::apply(op, &operands)
}

/// `floor((m * x + r) / (c * x))`, which is `floor(m / c)` where `0 <= r < x`.
fn divide_steps(a: &Dim, b: &Dim, table: &DimTable) -> Option<Dim> {
    let ([divisor @ Term { coef: 1.., .. }], 0) = (b.terms(), b.constant()) else { return None };
    let mut multiples = Dim::ZERO;
    for term in a.terms() {
        if let Some(mono) = term.mono.divided_by(&divisor.mono) {
            multiples = multiples + Dim::term(term.coef, mono);
        }
    }
    let content = gcd(multiples.content(), multiples.constant().unsigned_abs());
    let step = i64::try_from(gcd(content, divisor.coef.unsigned_abs())).ok().filter(|&step| step > 0)?;
    let (x, count) = (Dim::term(step, divisor.mono.clone()), Dim::from(divisor.coef / step));
    let whole = multiples.div_exact(&Dim::from(step))?;
    let rest = a - &(&whole * &x);
    (rest.provably_ge(&Dim::ZERO, table) && x.provably_gt(&rest, table)).then(|| whole.floor_div(&count))
}

fn interval(dim: &Dim, table: &DimTable, depth: u32) -> Interval {
    if let Some(value) = dim.as_const() {
        return (i128::from(value), i128::from(value));
    }
    let mut atoms: BTreeMap<&Atom, Interval> = BTreeMap::new();
    for atom in dim.terms().iter().flat_map(|t| &t.mono.0) {
        atoms.entry(atom).or_insert_with(|| snap(atom_interval(atom, table, depth)));
    }
    let (mut low, mut high) = (i128::from(dim.constant()), i128::from(dim.constant()));
    for term in dim.terms() {
        let coef = i128::from(term.coef);
        let (l, h) = snap(mul_intervals((coef, coef), product(&term.mono.0, &atoms)));
        (low, high) = (clamp(low + l), clamp(high + h));
    }
    // Of a sum in which every variable occurs once, intervals are exact.
    if dim.terms().iter().all(|term| term.mono.0.len() == 1) {
        return snap((low, high));
    }
    let shifted = |sign| shifted_low(dim, &atoms, sign).unwrap_or(-INF);
    snap((low.max(shifted(1)), high.min(-shifted(-1))))
}

/// The interval of a sorted product; an even power is not negative.
fn product(mono: &[Atom], atoms: &BTreeMap<&Atom, Interval>) -> Interval {
    let mut result = (1, 1);
    for power in mono.chunk_by(|a, b| a == b) {
        let base = atoms.get(&power[0]).copied().unwrap_or((-INF, INF));
        let mut raised = power.iter().fold((1, 1), |acc, _| mul_intervals(acc, base));
        if power.len() % 2 == 0 {
            raised.0 = raised.0.max(0);
        }
        result = mul_intervals(result, raised);
    }
    result
}

/// A lower bound of `sign * dim` from its expansion in variables `atom - least value`, which are not negative; `None`
/// when there is none, or numbers grow beyond what is worth following.
fn shifted_low(dim: &Dim, atoms: &BTreeMap<&Atom, Interval>, sign: i128) -> Option<i128> {
    // Variables by position; a term of the expansion is a sorted list of positions.
    let shifts: Vec<Interval> = atoms.values().copied().collect();
    let bounded_below = shifts.iter().all(|s| s.0 > -INF);
    if !bounded_below || shifts.len() > 16 || dim.terms().len() > 64 || dim.terms().iter().any(|t| t.mono.0.len() > 6) {
        return None;
    }
    let finite = |v: Option<i128>| v.filter(|v| v.abs() < INF);
    let index: BTreeMap<&Atom, usize> = atoms.keys().enumerate().map(|(i, a)| (*a, i)).collect();
    let mut expansion: BTreeMap<Vec<usize>, i128> = BTreeMap::new();
    for term in dim.terms() {
        let mut partial: Vec<(Vec<usize>, i128)> = vec![(vec![], sign * i128::from(term.coef))];
        for atom in &term.mono.0 {
            let &i = index.get(atom)?;
            let mut longer = Vec::with_capacity(2 * partial.len());
            for (mut mono, coef) in partial {
                if shifts[i].0 != 0 {
                    longer.push((mono.clone(), finite(coef.checked_mul(shifts[i].0))?));
                }
                mono.push(i);
                longer.push((mono, coef));
            }
            partial = longer;
        }
        for (mut mono, coef) in partial {
            mono.sort_unstable();
            let slot = expansion.entry(mono).or_insert(0);
            *slot = finite(Some(*slot + coef))?;
        }
    }
    let mut low = sign * i128::from(dim.constant());
    for (mono, coef) in expansion {
        let reach = |product: i128, &i: &usize| finite(product.checked_mul(shifts[i].1 - shifts[i].0));
        if mono.is_empty() {
            low = finite(Some(low + coef))?;
        } else if coef < 0 {
            low = finite(Some(low + mono.iter().try_fold(coef, reach)?))?;
        }
    }
    Some(low)
}

fn symbol_interval(symbol: Symbol, table: &DimTable, depth: u32) -> Interval {
    let Some(info) = table.lookup(symbol) else { return (-INF, INF) };
    let low = if info.min == i64::MIN { -INF } else { i128::from(info.min) };
    let mut high = if info.max == i64::MAX { INF } else { i128::from(info.max) };
    if let (Some(upper), true) = (&info.upper, depth > 0) {
        high = high.min(interval(upper, table, depth - 1).1);
    }
    // Contradictory bounds describe no run at all; keep the interval well-formed.
    (low, high.max(low))
}

fn atom_interval(atom: &Atom, table: &DimTable, depth: u32) -> Interval {
    let (op, operands) = match atom {
        Atom::Sym(symbol) => return symbol_interval(*symbol, table, depth),
        Atom::Op(op, operands) => (*op, operands),
    };
    let of: Vec<Interval> = operands.iter().map(|d| interval(d, table, depth)).collect();
    match (op, of.as_slice()) {
        (DimOp::FloorDiv, &[a, b]) if b.0 > 0 => {
            // Monotone in a; in b the extremes are at its ends. An infinite operand stays infinite.
            let quotient = |x: i128, y: i128| if x.abs() >= INF && y < INF { x } else { x.div_euclid(y) };
            let ends = [quotient(a.0, b.0), quotient(a.0, b.1), quotient(a.1, b.0), quotient(a.1, b.1)];
            (ends.into_iter().min().unwrap_or(-INF), ends.into_iter().max().unwrap_or(INF))
        }
        (DimOp::Mod, &[a, b]) if b.0 > 0 => {
            let high = clamp(b.1 - 1);
            (0, if a.0 >= 0 { high.min(a.1) } else { high })
        }
        (DimOp::Min, of) if !of.is_empty() => {
            let least = |f: fn(&Interval) -> i128| of.iter().map(f).min().unwrap_or(-INF);
            (least(|i| i.0), least(|i| i.1))
        }
        (DimOp::Max, of) if !of.is_empty() => {
            let most = |f: fn(&Interval) -> i128| of.iter().map(f).max().unwrap_or(INF);
            (most(|i| i.0), most(|i| i.1))
        }
        (DimOp::Eq | DimOp::Lt, _) => (0, 1),
        (DimOp::Select, &[_, a, b]) => (a.0.min(b.0), a.1.max(b.1)),
        _ => (-INF, INF),
    }
}

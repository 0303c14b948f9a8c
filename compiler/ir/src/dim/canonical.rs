//! Polynomials over atoms: the representation of [`Dim`] and its ring operations.
//!
//! Invariant: a [`Poly`] has at least one term; terms are in descending graded lexicographic order, so the first is
//! the leading one (Cox, Little, O'Shea, "Ideals, Varieties, and Algorithms", 4th ed. 2015, chapter 2.2).

use super::{Atom, Dim, Repr};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Nodes an expression may have as a tree. Real models stay below 100.
const MAX_SIZE: u32 = 4096;
/// Operations that may be nested; bounds every recursion over a `Dim`.
const MAX_DEPTH: u32 = 64;

/// A product of atoms, sorted; a power repeats its atom.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Monomial(pub Vec<Atom>);

impl Ord for Monomial {
    /// Less is more leading: higher degree first, then lexicographic with the least atom as the largest variable.
    fn cmp(&self, other: &Monomial) -> Ordering {
        other.0.len().cmp(&self.0.len()).then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for Monomial {
    fn partial_cmp(&self, other: &Monomial) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Monomial {
    pub fn times(&self, other: &Monomial) -> Monomial {
        let mut atoms: Vec<Atom> = self.0.iter().chain(&other.0).cloned().collect();
        atoms.sort();
        Monomial(atoms)
    }

    /// The monomial that gives `self` when multiplied by `divisor`.
    pub fn divided_by(&self, divisor: &Monomial) -> Option<Monomial> {
        let mut rest = divisor.0.iter().peekable();
        let mut left = Vec::with_capacity(self.0.len());
        for atom in &self.0 {
            if rest.peek() == Some(&atom) {
                rest.next();
            } else {
                left.push(atom.clone());
            }
        }
        rest.peek().is_none().then_some(Monomial(left))
    }

    /// The largest monomial dividing both.
    pub fn common(&self, other: &Monomial) -> Monomial {
        let mut theirs = other.0.iter().peekable();
        let mut shared = vec![];
        for atom in &self.0 {
            while theirs.next_if(|t| *t < atom).is_some() {}
            if theirs.next_if(|t| *t == atom).is_some() {
                shared.push(atom.clone());
            }
        }
        Monomial(shared)
    }
}

/// `coef * mono`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Term {
    pub mono: Monomial,
    pub coef: i64,
}

/// `constant + sum of terms`.
#[derive(PartialEq, Eq, Hash)]
pub(super) struct Poly {
    terms: Vec<Term>,
    constant: i64,
    /// Nodes of the expression as a tree; a function of the other fields.
    size: u32,
    /// Nesting of operations; a function of the other fields.
    depth: u32,
}

impl Poly {
    pub fn structural_cmp(&self, other: &Poly) -> Ordering {
        self.terms.cmp(&other.terms).then(self.constant.cmp(&other.constant))
    }
}

impl Dim {
    pub(super) fn terms(&self) -> &[Term] {
        match &self.0 {
            Repr::Const(_) => &[],
            Repr::Poly(poly) => &poly.terms,
        }
    }

    /// The constant term.
    pub fn constant(&self) -> i64 {
        match &self.0 {
            Repr::Const(value) => *value,
            Repr::Poly(poly) => poly.constant,
        }
    }

    fn size(&self) -> u32 {
        match &self.0 {
            Repr::Const(_) => 1,
            Repr::Poly(poly) => poly.size,
        }
    }

    fn depth(&self) -> u32 {
        match &self.0 {
            Repr::Const(_) => 0,
            Repr::Poly(poly) => poly.depth,
        }
    }

    /// The atom when the expression is exactly one.
    pub(super) fn as_atom(&self) -> Option<&Atom> {
        match self.terms() {
            [Term { mono: Monomial(atoms), coef: 1 }] if self.constant() == 0 && atoms.len() == 1 => atoms.first(),
            _ => None,
        }
    }

    pub(super) fn atom(atom: Atom) -> Dim {
        Dim::build(0, vec![Term { mono: Monomial(vec![atom]), coef: 1 }])
    }

    /// One term as an expression.
    pub(super) fn term(coef: i64, mono: Monomial) -> Dim {
        match (coef, mono.0.is_empty()) {
            (0, _) => Dim::ZERO,
            (_, true) => Dim::from(coef),
            (_, false) => Dim::build(0, vec![Term { mono, coef }]),
        }
    }

    /// From terms that are sorted, distinct and nonzero.
    pub(super) fn build(constant: i64, terms: Vec<Term>) -> Dim {
        if terms.is_empty() {
            return Dim::from(constant);
        }
        let (mut size, mut depth) = (1u32, 0u32);
        for atom in terms.iter().flat_map(|t| &t.mono.0) {
            size = size.saturating_add(1);
            if let Atom::Op(_, operands) = atom {
                for operand in operands {
                    size = size.saturating_add(operand.size());
                    depth = depth.max(operand.depth() + 1);
                }
            }
        }
        if size > MAX_SIZE || depth > MAX_DEPTH {
            return Dim::OVERFLOW;
        }
        Dim(Repr::Poly(Arc::new(Poly { terms, constant, size, depth })))
    }

    /// The same terms without the constant.
    pub(super) fn without_constant(&self) -> Dim {
        Dim::build(0, self.terms().to_vec())
    }

    /// Every coefficient and the constant through `f`; `None` from `f` is an overflow.
    pub(super) fn map_coefs(&self, f: impl Fn(i64) -> Option<i64>) -> Dim {
        let Some(constant) = f(self.constant()) else { return Dim::OVERFLOW };
        let mut terms = Vec::with_capacity(self.terms().len());
        for term in self.terms() {
            match f(term.coef) {
                Some(0) => {}
                Some(coef) => terms.push(Term { mono: term.mono.clone(), coef }),
                None => return Dim::OVERFLOW,
            }
        }
        Dim::build(constant, terms)
    }

    /// Greatest common divisor of the coefficients of the non-constant terms; 0 when there is none.
    pub(super) fn content(&self) -> u64 {
        self.terms().iter().fold(0, |g, t| gcd(g, t.coef.unsigned_abs()))
    }
}

pub(super) fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// Whether an operand is the overflow and the other one symbolic. Between constants, `i64::MAX` is also a number that
/// models use ("to the end" of a slice), so there only arithmetic that really overflows does.
fn absorbs(a: &Dim, b: &Dim) -> bool {
    (*a == Dim::OVERFLOW && b.as_const().is_none()) || (*b == Dim::OVERFLOW && a.as_const().is_none())
}

pub(super) fn add(a: &Dim, b: &Dim) -> Dim {
    if absorbs(a, b) {
        return Dim::OVERFLOW;
    }
    let Some(constant) = a.constant().checked_add(b.constant()) else { return Dim::OVERFLOW };
    if a.terms().is_empty() && b.terms().is_empty() {
        return Dim::from(constant);
    }
    let mut terms = Vec::with_capacity(a.terms().len() + b.terms().len());
    let (mut left, mut right) = (a.terms().iter().peekable(), b.terms().iter().peekable());
    loop {
        let order = match (left.peek(), right.peek()) {
            (Some(l), Some(r)) => l.mono.cmp(&r.mono),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => break,
        };
        match order {
            Ordering::Less => terms.extend(left.next().cloned()),
            Ordering::Greater => terms.extend(right.next().cloned()),
            Ordering::Equal => {
                if let (Some(l), Some(r)) = (left.next(), right.next()) {
                    match l.coef.checked_add(r.coef) {
                        Some(0) => {}
                        Some(coef) => terms.push(Term { mono: l.mono.clone(), coef }),
                        None => return Dim::OVERFLOW,
                    }
                }
            }
        }
    }
    Dim::build(constant, terms)
}

pub(super) fn sub(a: &Dim, b: &Dim) -> Dim {
    match (a.as_const(), b.as_const()) {
        // Not by way of -b, which overflows for i64::MIN.
        (Some(x), Some(y)) => x.checked_sub(y).map_or(Dim::OVERFLOW, Dim::from),
        _ if absorbs(a, b) => Dim::OVERFLOW,
        _ => add(a, &-b),
    }
}

pub(super) fn mul(a: &Dim, b: &Dim) -> Dim {
    if absorbs(a, b) {
        return Dim::OVERFLOW;
    }
    let (scaled, factor) = match (a.as_const(), b.as_const()) {
        (_, Some(factor)) => (a, factor),
        (Some(factor), None) => (b, factor),
        (None, None) => return mul_polynomials(a, b),
    };
    match factor {
        0 => Dim::ZERO,
        1 => scaled.clone(),
        _ => scaled.map_coefs(|c| c.checked_mul(factor)),
    }
}

fn mul_polynomials(a: &Dim, b: &Dim) -> Dim {
    if u64::from(a.size()) * u64::from(b.size()) > 1 << 20 {
        return Dim::OVERFLOW;
    }
    let one = || Monomial(vec![]);
    let expand = |d: &Dim| -> Vec<(Monomial, i64)> {
        let constant = (d.constant() != 0).then(|| (one(), d.constant()));
        d.terms().iter().map(|t| (t.mono.clone(), t.coef)).chain(constant).collect()
    };
    let right = expand(b);
    let mut sum: BTreeMap<Monomial, i64> = BTreeMap::new();
    for (mono, coef) in expand(a) {
        for (other, factor) in &right {
            let slot = sum.entry(mono.times(other)).or_insert(0);
            match coef.checked_mul(*factor).and_then(|p| slot.checked_add(p)) {
                Some(value) => *slot = value,
                None => return Dim::OVERFLOW,
            }
        }
    }
    let constant = sum.remove(&one()).unwrap_or(0);
    Dim::build(constant, sum.into_iter().filter(|(_, c)| *c != 0).map(|(mono, coef)| Term { mono, coef }).collect())
}

/// Multivariate long division; `Some` when nothing remains.
pub(super) fn div_exact(a: &Dim, b: &Dim) -> Option<Dim> {
    if let Some(divisor) = b.as_const() {
        let divides = |c: i64| c.checked_rem(divisor) == Some(0);
        let exact = divides(a.constant()) && a.terms().iter().all(|t| divides(t.coef));
        return exact.then(|| a.map_coefs(|c| c.checked_div(divisor)));
    }
    let lead = b.terms().first()?;
    let (mut rest, mut quotient) = (a.clone(), Dim::ZERO);
    // Each step removes the leading monomial, and those are in descending order; the limit is for hostile input.
    for _ in 0..MAX_SIZE {
        if rest == Dim::ZERO {
            return Some(quotient);
        }
        let top = rest.terms().first()?;
        if top.coef.checked_rem(lead.coef)? != 0 {
            return None;
        }
        let step = Dim::term(top.coef.checked_div(lead.coef)?, top.mono.divided_by(&lead.mono)?);
        let product = mul(&step, b);
        quotient = add(&quotient, &step);
        rest = sub(&rest, &product);
        if product == Dim::OVERFLOW || quotient == Dim::OVERFLOW || rest == Dim::OVERFLOW {
            return None;
        }
    }
    None
}

//! Operations that simplify where they can and otherwise become an opaque [`Atom`].
//!
//! Every rule holds for all integer values of the symbols for which both sides are defined; bounds of symbols are not
//! consulted here (see [`Dim::simplify`]).

use super::canonical::{self, Monomial, gcd};
use super::{Atom, Dim, DimOp};
use std::cmp::Ordering;

/// `a / b` rounded down; `None` for a zero divisor or overflow.
pub(super) fn floor_div_i64(a: i64, b: i64) -> Option<i64> {
    let quotient = a.checked_div(b)?;
    Some(if a % b != 0 && (a < 0) != (b < 0) { quotient - 1 } else { quotient })
}

/// Remainder with the sign of the divisor; `None` for a zero divisor.
pub(super) fn floor_mod_i64(a: i64, b: i64) -> Option<i64> {
    if b == 0 {
        return None;
    }
    let r = a.wrapping_rem(b);
    Some(if r != 0 && (r < 0) != (b < 0) { r + b } else { r })
}

impl Dim {
    /// Rounded toward minus infinity; undefined where the divisor is 0.
    pub fn floor_div(&self, divisor: &Dim) -> Dim {
        if *self == Dim::OVERFLOW || *divisor == Dim::OVERFLOW {
            return Dim::OVERFLOW;
        }
        if let (Some(a), Some(b)) = (self.as_const(), divisor.as_const()) {
            return match floor_div_i64(a, b) {
                Some(value) => Dim::from(value),
                None if b == 0 => opaque(DimOp::FloorDiv, &[self.clone(), divisor.clone()]),
                None => Dim::OVERFLOW,
            };
        }
        match divisor.as_const() {
            Some(0) => opaque(DimOp::FloorDiv, &[self.clone(), divisor.clone()]),
            Some(1) => self.clone(),
            Some(k) if k < 0 => (-self).floor_div(&-divisor),
            Some(k) => self.floor_div_const(k),
            None => self.floor_div_symbolic(divisor),
        }
    }

    /// By `k > 1`; `self` is not constant.
    fn floor_div_const(&self, k: i64) -> Dim {
        // Whole multiples of k leave: floor((k * q + r) / k) = q + floor(r / k). Coefficients split toward zero,
        // which reads best; the constant splits downward, so that it is below k.
        let low = self.constant().rem_euclid(k);
        let fraction = &self.without_constant().map_coefs(|c| Some(c % k)) + &Dim::from(low);
        let whole = self.without_constant().map_coefs(|c| Some(c / k)) + self.constant().div_euclid(k);
        if fraction.as_const().is_some() {
            return whole;
        }
        // floor((g * x + c) / (g * k)) = floor((x + floor(c / g)) / k)
        let g = gcd(fraction.content(), k.unsigned_abs()) as i64;
        if g > 1 {
            let inner = &fraction.without_constant().map_coefs(|c| Some(c / g)) + &Dim::from(low / g);
            return whole + inner.floor_div(&Dim::from(k / g));
        }
        // floor((floor(x / j) + c) / k) = floor((x + c * j) / (j * k)) for j > 0
        let stripped = fraction.without_constant();
        if let Some(Atom::Op(DimOp::FloorDiv, operands)) = stripped.as_atom()
            && let [x, j] = operands.as_slice()
            && let Some(j) = j.as_const().filter(|&j| j > 0)
            && let (Some(shift), Some(product)) = (low.checked_mul(j), j.checked_mul(k))
        {
            return whole + (x + &Dim::from(shift)).floor_div(&Dim::from(product));
        }
        whole + opaque(DimOp::FloorDiv, &[fraction, Dim::from(k)])
    }

    fn floor_div_symbolic(&self, divisor: &Dim) -> Dim {
        if let Some(quotient) = canonical::div_exact(self, divisor) {
            return quotient;
        }
        let [only] = divisor.terms() else {
            return opaque(DimOp::FloorDiv, &[self.clone(), divisor.clone()]);
        };
        if divisor.constant() != 0 {
            return opaque(DimOp::FloorDiv, &[self.clone(), divisor.clone()]);
        }
        if only.coef < 0 {
            return (-self).floor_div(&-divisor);
        }
        // The terms that the divisor divides leave, as in the constant case.
        let mut whole = Dim::ZERO;
        for term in self.terms() {
            if let Some(mono) = term.mono.divided_by(&only.mono) {
                whole = whole + Dim::term(term.coef / only.coef, mono);
            }
        }
        let fraction = self - &(&whole * divisor);
        // A common factor of what is left cancels.
        let mut shared = if fraction.constant() == 0 { only.mono.clone() } else { Monomial(vec![]) };
        let mut g = gcd(only.coef.unsigned_abs(), gcd(fraction.content(), fraction.constant().unsigned_abs()));
        for term in fraction.terms() {
            shared = shared.common(&term.mono);
        }
        if fraction == Dim::ZERO {
            return whole;
        }
        if g == 0 || g > i64::MAX as u64 {
            g = 1;
        }
        if g > 1 || !shared.0.is_empty() {
            let factor = Dim::term(g as i64, shared);
            if let (Some(x), Some(y)) =
                (canonical::div_exact(&fraction, &factor), canonical::div_exact(divisor, &factor))
            {
                return whole + x.floor_div(&y);
            }
        }
        whole + opaque(DimOp::FloorDiv, &[fraction, divisor.clone()])
    }

    /// Rounded toward plus infinity; undefined where the divisor is 0.
    pub fn ceil_div(&self, divisor: &Dim) -> Dim {
        match divisor.as_const() {
            Some(k) if k > 0 && self.as_const().is_none() => (self + (k - 1)).floor_div(divisor),
            _ => -(-self).floor_div(divisor),
        }
    }

    /// `self - divisor * floor(self / divisor)`: the sign of the divisor.
    pub fn rem(&self, divisor: &Dim) -> Dim {
        let atom = |a: &Dim| opaque(DimOp::Mod, &[a.clone(), divisor.clone()]);
        let Some(k) = divisor.as_const() else {
            return match canonical::div_exact(self, divisor) {
                Some(_) => Dim::ZERO,
                None => atom(self),
            };
        };
        if let Some(a) = self.as_const() {
            return floor_mod_i64(a, k).map_or_else(|| atom(self), Dim::from);
        }
        if k <= 0 {
            return atom(self);
        }
        let reduced = self.map_coefs(|c| Some(c.rem_euclid(k)));
        if let Some(value) = reduced.as_const() {
            return Dim::from(value);
        }
        // (g * x + c) mod (g * k) = g * ((x + floor(c / g)) mod k) + c mod g
        let g = gcd(reduced.content(), k.unsigned_abs()) as i64;
        if g > 1 {
            let low = reduced.constant();
            let inner = &reduced.without_constant().map_coefs(|c| Some(c / g)) + &Dim::from(low / g);
            return inner.rem(&Dim::from(k / g)) * g + low % g;
        }
        opaque(DimOp::Mod, &[reduced, Dim::from(k)])
    }

    /// The lesser.
    pub fn min(&self, other: &Dim) -> Dim {
        extremum(DimOp::Min, &[self.clone(), other.clone()])
    }

    /// The greater.
    pub fn max(&self, other: &Dim) -> Dim {
        extremum(DimOp::Max, &[self.clone(), other.clone()])
    }

    /// 1 when equal, else 0.
    pub fn eq01(&self, other: &Dim) -> Dim {
        if self == other {
            return Dim::ONE;
        }
        let mut difference = self - other;
        if let Some(value) = difference.as_const() {
            return Dim::from(i64::from(value == 0));
        }
        if difference.terms().first().is_some_and(|t| t.coef < 0) {
            difference = -difference;
        }
        let g = difference.content() as i64;
        if g > 1 {
            if difference.constant() % g != 0 {
                return Dim::ZERO;
            }
            difference = difference.map_coefs(|c| Some(c / g));
        }
        let Some(right) = difference.constant().checked_neg() else {
            return opaque(DimOp::Eq, &[difference, Dim::ZERO]);
        };
        opaque(DimOp::Eq, &[difference.without_constant(), Dim::from(right)])
    }

    /// 1 when less than `other`, else 0.
    pub fn lt01(&self, other: &Dim) -> Dim {
        if let (Some(a), Some(b)) = (self.as_const(), other.as_const()) {
            return Dim::from(i64::from(a < b));
        }
        // x + c < 0, where the leading coefficient of x says on which side x is written.
        let difference = self - other;
        if let Some(value) = difference.as_const() {
            return Dim::from(i64::from(value < 0));
        }
        let g = difference.content() as i64;
        let c = difference.constant();
        if g < 1 || c == i64::MIN {
            return opaque(DimOp::Lt, &[self.clone(), other.clone()]);
        }
        let x = difference.without_constant().map_coefs(|v| Some(v / g));
        if x.terms().first().is_some_and(|t| t.coef < 0) {
            // c < g * y, that is floor(c / g) < y
            opaque(DimOp::Lt, &[Dim::from(c.div_euclid(g)), -x])
        } else {
            // g * x < -c, that is x < ceil(-c / g)
            opaque(DimOp::Lt, &[x, Dim::from(-c.div_euclid(g))])
        }
    }

    /// `then` where `self` is not 0, else `otherwise`.
    pub fn select(&self, then: &Dim, otherwise: &Dim) -> Dim {
        if then == otherwise {
            return then.clone();
        }
        match self.as_const() {
            Some(0) => otherwise.clone(),
            Some(_) => then.clone(),
            None => opaque(DimOp::Select, &[self.clone(), then.clone(), otherwise.clone()]),
        }
    }

    /// The expression that multiplied by `divisor` gives `self`, if there is one.
    pub fn div_exact(&self, divisor: &Dim) -> Option<Dim> {
        canonical::div_exact(self, divisor)
    }

    /// The operation by its name; operands beyond its arity are ignored, missing ones make it an overflow.
    pub fn apply(op: DimOp, operands: &[Dim]) -> Dim {
        match (op, operands) {
            (DimOp::FloorDiv, [a, b, ..]) => a.floor_div(b),
            (DimOp::Mod, [a, b, ..]) => a.rem(b),
            (DimOp::Min | DimOp::Max, [_, ..]) => extremum(op, operands),
            (DimOp::Eq, [a, b, ..]) => a.eq01(b),
            (DimOp::Lt, [a, b, ..]) => a.lt01(b),
            (DimOp::Select, [c, a, b, ..]) => c.select(a, b),
            _ => Dim::OVERFLOW,
        }
    }
}

fn opaque(op: DimOp, operands: &[Dim]) -> Dim {
    Dim::atom(Atom::Op(op, operands.to_vec()))
}

/// `Min` or `Max` of one or more: flattened, without those that another one decides.
fn extremum(op: DimOp, operands: &[Dim]) -> Dim {
    let mut flat: Vec<Dim> = vec![];
    for operand in operands {
        match operand.as_atom() {
            Some(Atom::Op(inner, nested)) if *inner == op => flat.extend(nested.iter().cloned()),
            _ => flat.push(operand.clone()),
        }
    }
    // No value exceeds i64::MAX, which models use as "to the end".
    if flat.contains(&Dim::OVERFLOW) {
        if op == DimOp::Max {
            return Dim::OVERFLOW;
        }
        flat.retain(|d| *d != Dim::OVERFLOW);
    }
    let mut kept: Vec<Dim> = vec![];
    for candidate in flat {
        let mut wanted = true;
        kept.retain(|other| {
            let order = match (candidate.as_const(), other.as_const()) {
                (Some(a), Some(b)) => Some(a.cmp(&b)),
                _ => (&candidate - other).as_const().filter(|&d| d != i64::MAX).map(|d| d.cmp(&0)),
            };
            let stays = match order {
                None => true,
                Some(Ordering::Equal) => true,
                Some(Ordering::Less) => op == DimOp::Max,
                Some(Ordering::Greater) => op == DimOp::Min,
            };
            wanted &= order.is_none() || !stays;
            stays
        });
        if wanted {
            kept.push(candidate);
        }
    }
    kept.sort_by(Dim::structural_cmp);
    match kept.as_slice() {
        [] => Dim::OVERFLOW,
        [only] => only.clone(),
        _ => opaque(op, &kept),
    }
}

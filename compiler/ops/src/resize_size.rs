//! The size of an axis times a scale, as the standard rounds it: `floor(size * scale)` with the product rounded to `f32`
//! first. 10 elements times 0.7 are 7, though the nearest `f32` to 0.7 is less; 90 times 1.3 are 116.
//!
//! For a size that is not known, `f32` arithmetic becomes arithmetic on dimensions. A scale is `m / 2^k`, and the product
//! `n * m / 2^k` rounds up to an integer where that lies within half a unit of the last place, which depends on the
//! product's magnitude alone. So between powers of two the size is `floor((n * m + h) / 2^k)`, each time with another `h`.
//! Whatever form is found has been compared with the rounding for every size it is used for.

use crate::context::Context;
use crate::error::{Result, invalid, unsupported};
use nnc_ir::Dim;
use nnc_ir::op::Relation;

/// No axis that is resized by a fraction has more elements, unless its size is a constant: the run requires that.
const MOST_ELEMENTS: i64 = 1 << 17;

/// Most forms for one axis.
const MOST_PIECES: usize = 24;

/// `floor(size * scale)` in `f32`.
fn rounded(size: i64, scale: f64) -> f64 {
    f64::from((size as f32 * scale as f32).floor())
}

/// `floor((n * factor + add) / divisor)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Form {
    factor: i64,
    add: i64,
    divisor: i64,
}

impl Form {
    fn at(self, n: i64) -> Option<i64> {
        Some(n.checked_mul(self.factor)?.checked_add(self.add)?.div_euclid(self.divisor))
    }

    fn of(self, size: &Dim) -> Dim {
        (size * Dim::from(self.factor) + self.add).floor_div(&Dim::from(self.divisor))
    }

    /// The first of these sizes for which it is not right.
    fn fails(self, sizes: std::ops::RangeInclusive<i64>, scale: f64) -> Option<i64> {
        sizes.into_iter().find(|&n| self.at(n).is_none_or(|size| size as f64 != rounded(n, scale)))
    }
}

/// The scale as a fraction of small numbers, if it is or looks like one.
fn ratio(scale: f64) -> Option<Form> {
    let ratios = (1..=64).map(f64::from).filter(|&q| scale * q < 1e6);
    let exact = |q: &f64| (scale * q).fract() == 0.0;
    let near = |q: &f64| ((scale * q).round() as f32 / *q as f32) == scale as f32;
    let found = ratios.clone().find(exact).or_else(|| ratios.clone().find(near))?;
    Some(Form { factor: (scale * found).round() as i64, add: 0, divisor: found as i64 })
}

/// The forms, each with the size from which on it is used.
fn pieces(scale: f64, low: i64, high: i64) -> Option<Vec<(i64, Form)>> {
    let simple = ratio(scale);
    if let Some(form) = simple
        && form.fails(low..=high, scale).is_none()
    {
        return Some(vec![(low, form)]);
    }
    // f32 has 24 bits: the scale is m / 2^k.
    let (mut factor, mut k) = (f64::from(scale as f32), 0);
    while factor.fract() != 0.0 {
        (factor, k) = (factor * 2.0, k + 1);
    }
    if k > 40 || factor >= f64::from(1 << 24) {
        return None;
    }
    let (factor, divisor) = (factor as i64, 1i64 << k);
    // Half a unit in the last place of products from 2^e on.
    let halves = (0..24).filter(|e| k + e >= 24).map(|e| 1i64 << (k + e - 24));
    let forms: Vec<Form> = std::iter::once(0).chain(halves).map(|add| Form { factor, add, divisor }).collect();
    let mut found = vec![];
    let mut from = low;
    while from <= high {
        let reach = |form: &Form| form.fails(from..=high, scale).unwrap_or(i64::MAX);
        let best = forms.iter().max_by_key(|form| reach(form))?;
        let end = reach(best);
        if end == from || found.len() == MOST_PIECES {
            return None;
        }
        found.push((from, *best));
        from = end;
    }
    Some(found)
}

/// `floor(size * scale)`.
pub(crate) fn scaled(ctx: &mut Context, size: &Dim, scale: f64) -> Result<Dim> {
    if !(scale.is_finite() && scale > 0.0) {
        return Err(invalid(format!("the scale {scale} is not positive")));
    }
    if let Some(size) = size.as_const() {
        let scaled = rounded(size, scale);
        return if scaled < 1e15 { Ok(Dim::from(scaled as i64)) } else { Err(invalid("the scaled size is too large")) };
    }
    let (low, high) = size.bounds(ctx.dims());
    let whole = scale.fract() == 0.0 && scale < 1e6;
    if !whole && high > MOST_ELEMENTS {
        let what = "the size of an axis that is scaled";
        ctx.require(size.clone(), Relation::AtMost, Dim::from(MOST_ELEMENTS), what.to_owned())?;
    }
    let (low, high) = (low.clamp(0, MOST_ELEMENTS), high.clamp(0, MOST_ELEMENTS));
    let Some(pieces) = pieces(scale, low, high) else {
        return Err(unsupported(format!(
            "size `{}` times {scale} is not a fixed size; fix the dimension with --dim",
            ctx.dims().display(size)
        )));
    };
    let mut pieces = pieces.into_iter().rev();
    let Some((mut from, last)) = pieces.next() else { return Ok(Dim::ZERO) };
    let mut result = last.of(size);
    for (start, form) in pieces {
        result = size.lt01(&Dim::from(from)).select(&form.of(size), &result);
        from = start;
    }
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::{MOST_ELEMENTS, pieces, ratio, rounded};

    #[test]
    fn forms_are_right_for_every_size() {
        for scale in [1.3f32, 0.7, 0.3, 1.1, 2.6, 3.7, 0.123_456, 1.000_001, 4.2, 0.999_999_94, 7.0 / 3.0, 1e-3] {
            let scale = f64::from(scale);
            let pieces = pieces(scale, 0, MOST_ELEMENTS).unwrap_or_else(|| panic!("{scale}"));
            assert!(pieces.len() <= 20, "{scale}: {} forms", pieces.len());
            for n in 0..=MOST_ELEMENTS {
                let form = pieces.iter().rev().find(|(from, _)| *from <= n).map(|p| p.1);
                assert_eq!(form.and_then(|f| f.at(n)).map(|s| s as f64), Some(rounded(n, scale)), "{n} times {scale}");
            }
        }
    }

    #[test]
    fn ratios() {
        let found = |scale: f64| ratio(scale).map(|form| (form.factor, form.divisor));
        assert_eq!(found(0.5), Some((1, 2)));
        assert_eq!(found(f64::from(0.7f32)), Some((7, 10)));
        assert_eq!(found(f64::from(0.123_456f32)), None);
    }
}

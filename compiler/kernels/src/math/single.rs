//! Functions of `f32` in `f32` and `i32` operations alone, so that they fit the lanes of any vector unit.
//!
//! Error bounds, in units of the last place against the exact value, with or without fused multiply-add (tests hold
//! them): `exp` 2, `expm1` 4, `log` 2, `log1p` 4, `tanh` 4, `erf` 4, `sigmoid` 4; `sin`, `cos` 3 and `tan` 5 for |x| <= 2^17. Beyond, the
//! argument itself is known to 0.01 at best; results stay in range but lose accuracy.
//! NaN in, NaN out; infinities give the limits. `tanh` and `erf` stay in [-1, 1], `sigmoid` in [0, 1].
//!
//! Source: argument reductions and coefficients of `exp`, `tanh`, `sin` and `cos` from Moshier's Cephes (netlib.org/cephes,
//! single precision), `log` from FreeBSD's msun `e_logf.c`, `erf` from N. Juffa's minimax fit
//! (stackoverflow.com/questions/35148198). We differ in branch-free selection and in scaling by two factors, which keeps
//! subnormal results right.

use super::build::{Lets, X, horner};
use nnc_ir::DType;

/// 1.5 * 2^23: added to a small number, its low bits hold the number rounded to an integer.
const MAGIC: f64 = 12_582_912.0;
const MAGIC_BITS: i64 = 0x4b40_0000;

/// `e^x`. Underflows to 0 below -103.97, overflows to infinity above 88.72.
pub(super) fn exp(b: &mut Lets<'_>, x: X) -> X {
    let x = b.share(x);
    let x = b.share(x.at_most(89.0));
    let x = b.share(x.at_least(-104.0));
    exp_in_range(b, x)
}

/// `e^x` of a named x in -104..=89, or NaN.
fn exp_in_range(b: &mut Lets<'_>, x: X) -> X {
    let Split { half, rest, p, .. } = split_exp(b, x);
    (p + 1.0) * power_of_two(half) * power_of_two(rest)
}

/// `e^x` as `(p + 1) * 2^n`.
struct Split {
    /// A whole number.
    n: X,
    /// Two integers whose sum is `n`, which may be beyond the exponents of normal numbers itself.
    half: X,
    rest: X,
    /// `e^r - 1` for what `n` leaves of `x`.
    p: X,
}

fn split_exp(b: &mut Lets<'_>, x: X) -> Split {
    let rounded = b.share(x.clone().mul_add(x.like(std::f64::consts::LOG2_E), x.like(MAGIC)));
    let n = b.share(&rounded - MAGIC);
    // ln 2 in two parts; the first has 9 bits, so that its product with n is exact.
    let r = n.clone().mul_add(x.like(-0.693_359_375), x);
    let r = b.share(n.clone().mul_add(r.like(2.121_944_400_5e-4), r));
    let p = horner(
        &r,
        &[
            1.987_569_150_0e-4,
            1.398_199_950_7e-3,
            8.333_451_907_3e-3,
            4.166_579_589_4e-2,
            1.666_666_545_9e-1,
            5.000_000_120_1e-1,
        ],
    );
    let squared = &r * &r;
    let p = p.mul_add(squared, r);
    let whole = b.share(rounded.bitcast(DType::I32) - X::int(DType::I32, MAGIC_BITS));
    let half = b.share(whole.clone().shr(1));
    let rest = whole - &half;
    Split { n, half, rest, p }
}

/// `e^x - 1`.
pub(super) fn expm1(b: &mut Lets<'_>, x: X) -> X {
    let x = b.share(x);
    let x = b.share(x.at_most(89.0));
    let x = b.share(x.at_least(-18.0));
    let Split { n, half, rest, p } = split_exp(b, x);
    // (p + 1) * 2^n - 1 = (p + (1 - 2^-n)) * 2^n; from n = 26 on nothing is left of 2^-n.
    let shifted = b.share(&n + MAGIC);
    let least = b.share(shifted.at_most(MAGIC + 26.0));
    let inverse = power_of_two(X::int(DType::I32, MAGIC_BITS) - least.bitcast(DType::I32));
    (p + (n.like(1.0) - inverse)) * power_of_two(half) * power_of_two(rest)
}

/// `log(1 + x)`.
pub(super) fn log1p(b: &mut Lets<'_>, x: X) -> X {
    super::double::log1p_by(b, x, log)
}

/// 2^n for n in -126..=127.
fn power_of_two(n: X) -> X {
    (n + X::int(DType::I32, 127)).shl(23).bitcast(DType::F32)
}

/// Natural logarithm.
pub(super) fn log(b: &mut Lets<'_>, x: X) -> X {
    let x = b.share(x);
    // Subnormal numbers are brought into range first.
    let small = b.share(x.clone().lt(x.like(f64::from(f32::MIN_POSITIVE))));
    let scaled = b.share(small.clone().select(&x * 8_388_608.0, x.clone()));
    // x = 2^k * m with m in sqrt(1/2)..sqrt(2).
    let bits = b.share(scaled.bits() + X::int(DType::I32, 0x3f80_0000 - 0x3f35_04f3));
    let k = bits.clone().shr(23) - X::int(DType::I32, 127);
    let k = b.share(k.convert(DType::F32) - small.select(x.like(23.0), x.like(0.0)));
    let m = bits.and(X::int(DType::I32, 0x007f_ffff)) + X::int(DType::I32, 0x3f35_04f3);
    let f = b.share(m.bitcast(DType::F32) - 1.0);
    let s = b.share(&f / (&f + 2.0));
    let z = b.share(&s * &s);
    let r = horner(&z, &[0.242_790_788_41, 0.284_987_866_88, 0.400_009_721_52, 0.666_666_626_93]) * &z;
    let half_square = b.share(&f * &f * 0.5);
    let low = s * (r + &half_square) + &k * 9.058_000_614_5e-6;
    let y = low - half_square + f + k * 6.931_381_225_6e-1;
    log_limits(x, y)
}

/// The logarithm `y` of `x`, with the values at zero, infinity, NaN and below zero.
pub(super) fn log_limits(x: X, y: X) -> X {
    let infinity = x.like(f64::INFINITY);
    // Infinity and NaN are their own logarithm.
    let y = x.clone().lt(infinity).select(y, x.clone());
    let y = x.clone().lt(x.like(0.0)).select(x.like(f64::NAN), y);
    x.clone().eq(x.like(0.0)).select(x.like(f64::NEG_INFINITY), y)
}

/// `1 / (1 + e^-x)`, accurate on both sides.
pub(super) fn sigmoid(b: &mut Lets<'_>, x: X) -> X {
    let x = b.share(x);
    let low = b.share(-(x.clone().abs()));
    let low = b.share(low.at_least(-104.0));
    let e = exp_in_range(b, low);
    let e = b.share(e);
    let s = b.share(x.like(1.0) / (&e + 1.0));
    x.clone().lt(x.like(0.0)).select(e * &s, s)
}

/// Hyperbolic tangent.
pub(super) fn tanh(b: &mut Lets<'_>, x: X) -> X {
    let x = b.share(x);
    let a = b.share(x.clone().abs());
    let z = b.share(&x * &x);
    let p = horner(
        &z,
        &[-5.704_988_727_45e-3, 2.063_908_879_54e-2, -5.373_971_401_58e-2, 1.333_144_220_36e-1, -3.333_328_204_66e-1],
    );
    let small = (p * z).mul_add(x.clone(), x.clone());
    // 1 - 2 / (e^2a + 1); 1 to the last bit from 9.02 on.
    let doubled = b.share((&a + &a).at_most(20.0));
    let e = exp_in_range(b, doubled);
    let large = (x.like(1.0) - x.like(2.0) / (e + 1.0)).with_sign_of(x);
    a.clone().lt(a.like(0.625)).select(small, large)
}

/// Error function.
pub(super) fn erf(b: &mut Lets<'_>, x: X) -> X {
    let x = b.share(x);
    let t = b.share(x.clone().abs());
    let t = b.share(t.at_most(4.0));
    let s = b.share(&t * &t);
    let small = horner(
        &s,
        &[-5.967_617_03e-4, 4.991_194_23e-3, -2.676_813_49e-2, 1.128_199_25e-1, -3.761_253_36e-1, 1.283_791_66e-1],
    );
    let small = small.mul_add(x.clone(), x.clone());
    let high = t.clone().mul_add(t.like(-1.728_534_70e-5), t.like(3.831_971_26e-4));
    let low = t.clone().mul_add(t.like(-3.883_964_38e-3), t.like(2.425_462_19e-2));
    let mut r = high.mul_add(s, low);
    for c in [-1.067_778_77e-1, -6.348_466_87e-1, -1.287_175_12e-1] {
        r = r.mul_add(t.clone(), t.like(c));
    }
    let r = b.share(r.mul_add(t.clone(), -t.clone()));
    let large = (x.like(1.0) - exp_in_range(b, r)).with_sign_of(x);
    t.clone().lt(t.like(0.927_734_375)).select(small, large)
}

/// Sine and cosine of x reduced to -pi/4..=pi/4, and the quadrant.
struct Reduced {
    sin: X,
    cos: X,
    quadrant: X,
}

fn reduce(b: &mut Lets<'_>, x: X) -> Reduced {
    let rounded = b.share(x.clone().mul_add(x.like(std::f64::consts::FRAC_2_PI), x.like(MAGIC)));
    let n = b.share(&rounded - MAGIC);
    // pi / 2 in parts of 7 bits, whose products with n are exact for n below 2^17.
    let mut r = x;
    let mut rest = std::f64::consts::FRAC_PI_2;
    for _ in 0..6 {
        let exponent = rest.abs().log2().floor() as i32;
        let quantum = 2f64.powi(exponent - 6);
        let part = (rest / quantum).trunc() * quantum;
        rest -= part;
        r = n.clone().mul_add(r.like(-part), r);
    }
    let r = b.share(n.mul_add(r.like(-rest), r));
    // Far outside the range the remainder is no longer small: keep the results in -1..=1.
    let r = b.share(r.at_most(std::f64::consts::FRAC_PI_2));
    let r = b.share(r.at_least(-std::f64::consts::FRAC_PI_2));
    let z = b.share(&r * &r);
    let p = horner(&z, &[-1.951_529_589_1e-4, 8.332_160_873_6e-3, -1.666_665_461_1e-1]);
    let sin = (p * &z).mul_add(r.clone(), r);
    let p = horner(&z, &[2.443_315_711_809_948e-5, -1.388_731_625_493_765e-3, 4.166_664_568_298_827e-2]);
    let cos = (p * &z).mul_add(z.clone(), z * -0.5) + 1.0;
    let quadrant = b.share(rounded.bitcast(DType::I32) - X::int(DType::I32, MAGIC_BITS));
    Reduced { sin: b.share(sin), cos: b.share(cos), quadrant }
}

/// `odd` or `even` by the lowest bit of `quadrant`, negated if its second bit is set.
fn turn(b: &mut Lets<'_>, quadrant: X, even: X, odd: X) -> X {
    let one = X::int(DType::I32, 1);
    let swap = quadrant.clone().and(one.clone()).eq(one);
    let value = b.share(swap.select(odd, even));
    let sign = quadrant.and(X::int(DType::I32, 2)).shl(30);
    value.bits().binary(nnc_ir::op::BinaryOp::Xor, sign).bitcast(DType::F32)
}

/// Sine.
pub(super) fn sin(b: &mut Lets<'_>, x: X) -> X {
    let x = b.share(x);
    let r = reduce(b, x);
    turn(b, r.quadrant, r.sin, r.cos)
}

/// Cosine.
pub(super) fn cos(b: &mut Lets<'_>, x: X) -> X {
    let x = b.share(x);
    let r = reduce(b, x);
    turn(b, r.quadrant + X::int(DType::I32, 1), r.sin, r.cos)
}

/// Tangent.
pub(super) fn tan(b: &mut Lets<'_>, x: X) -> X {
    let x = b.share(x);
    let r = reduce(b, x);
    let quadrant = r.quadrant.clone();
    let sin = turn(b, r.quadrant, r.sin.clone(), r.cos.clone());
    let cos = turn(b, quadrant + X::int(DType::I32, 1), r.sin, r.cos);
    sin / cos
}

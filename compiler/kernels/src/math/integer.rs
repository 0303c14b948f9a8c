//! Integer powers by squaring, written out for every bit of the exponent.
//!
//! Products wrap. A negative exponent yields the truncated value of the exact power: 1 or -1 for the bases 1 and -1,
//! otherwise 0.

use super::build::{Lets, X};
use nnc_ir::op::BinaryOp;

/// x to the power y, of one integer type.
pub(super) fn pow(b: &mut Lets<'_>, x: X, y: X) -> X {
    let (dtype, x, y) = (x.dtype, b.share(x), b.share(y));
    let (one, zero) = (X::int(dtype, 1), X::int(dtype, 0));
    let bits = 8 * dtype.size() as i64;
    let (mut result, mut square) = (one.clone(), x.clone());
    for bit in 0..bits {
        let used = y.clone().binary(BinaryOp::Shr, X::int(dtype, bit)).and(one.clone()).eq(one.clone());
        result = b.share(used.select(&result * &square, result));
        if bit + 1 < bits {
            square = b.share(&square * &square);
        }
    }
    if !dtype.is_signed() {
        return result;
    }
    let odd = y.clone().and(one.clone()).eq(one.clone());
    let minus_one = X::int(dtype, -1);
    let sign = odd.select(minus_one.clone(), one.clone());
    let inverse = x.clone().eq(minus_one).select(sign, zero.clone());
    let inverse = x.eq(one.clone()).select(one, inverse);
    y.lt(zero).select(inverse, result)
}

//! Indices of kernels and dimensions of host plans as Cranelift values.
//!
//! Terms are added from the outermost variable inwards, so that each partial sum is invariant in as many loops as
//! possible and Cranelift's loop-invariant code motion can move it out. Divisions never trap: a zero divisor, which
//! has no meaning, yields 0.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, Value, types};
use cranelift_frontend::FunctionBuilder;
use nnc_ir::dim::DimOp;
use nnc_kernels::index::{Factor, Polynomial};

/// Where the values of variables come from.
pub(crate) trait Values<P: Polynomial> {
    /// The value of a variable, `i64`.
    fn value(&mut self, b: &mut FunctionBuilder<'_>, var: P::Var) -> Value;
    /// Larger for variables that change more often.
    fn depth(&self, var: P::Var) -> u32;
    /// Whether the expression is known not to be negative.
    fn not_negative(&self, poly: &P) -> bool;
}

/// `scale` times the expression without its constant, if there is anything else; and `scale` times the constant.
pub(crate) fn scaled<P: Polynomial>(
    b: &mut FunctionBuilder<'_>,
    values: &mut dyn Values<P>,
    poly: &P,
    scale: i64,
) -> (Option<Value>, i64) {
    let view = poly.view();
    let mut terms = view.terms;
    let depth = |values: &dyn Values<P>, factor: &Factor<P>| match factor {
        Factor::Var(var) => values.depth(*var),
        Factor::Op(_, operands) => operands.iter().flat_map(P::vars).map(|v| values.depth(v)).max().unwrap_or(0),
    };
    terms.sort_by_cached_key(|(_, factors)| factors.iter().map(|f| depth(values, f)).max());
    let mut sum = None;
    for (coefficient, mut factors) in terms {
        factors.sort_by_cached_key(|f| depth(values, f));
        let mut product: Option<Value> = None;
        for f in &factors {
            let factor = factor(b, values, f);
            product = Some(match product {
                Some(p) => b.ins().imul(p, factor),
                None => factor,
            });
        }
        let Some(mut product) = product else { continue };
        let coefficient = coefficient.wrapping_mul(scale);
        if coefficient != 1 {
            let c = b.ins().iconst(types::I64, coefficient);
            product = b.ins().imul(product, c);
        }
        sum = Some(match sum {
            Some(s) => b.ins().iadd(s, product),
            None => product,
        });
    }
    (sum, view.constant.wrapping_mul(scale))
}

/// The expression's value.
pub(crate) fn value<P: Polynomial>(b: &mut FunctionBuilder<'_>, values: &mut dyn Values<P>, poly: &P) -> Value {
    let (sum, constant) = scaled(b, values, poly, 1);
    match sum {
        Some(sum) if constant == 0 => sum,
        Some(sum) => {
            let c = b.ins().iconst(types::I64, constant);
            b.ins().iadd(sum, c)
        }
        None => b.ins().iconst(types::I64, constant),
    }
}

fn factor<P: Polynomial>(b: &mut FunctionBuilder<'_>, values: &mut dyn Values<P>, factor: &Factor<P>) -> Value {
    let (op, operands) = match factor {
        Factor::Var(var) => return values.value(b, *var),
        Factor::Op(op, operands) => (*op, operands.as_slice()),
    };
    match (op, operands) {
        (DimOp::FloorDiv, [x, y]) => divide(b, values, x, y).0,
        (DimOp::Mod, [x, y]) => divide(b, values, x, y).1,
        (DimOp::Eq | DimOp::Lt, [x, y]) => {
            let (x, y) = (value(b, values, x), value(b, values, y));
            let cc = if op == DimOp::Eq { IntCC::Equal } else { IntCC::SignedLessThan };
            let c = b.ins().icmp(cc, x, y);
            b.ins().uextend(types::I64, c)
        }
        (DimOp::Select, [c, x, y]) => {
            let c = value(b, values, c);
            let (x, y) = (value(b, values, x), value(b, values, y));
            let zero = b.ins().iconst(types::I64, 0);
            let c = b.ins().icmp(IntCC::NotEqual, c, zero);
            b.ins().select(c, x, y)
        }
        (DimOp::Min | DimOp::Max, [first, rest @ ..]) => {
            let mut best = value(b, values, first);
            for operand in rest {
                let other = value(b, values, operand);
                best = if op == DimOp::Min { b.ins().smin(best, other) } else { b.ins().smax(best, other) };
            }
            best
        }
        // Operations are built with the operands they need; anything else has no value.
        _ => b.ins().iconst(types::I64, 0),
    }
}

/// Quotient rounded down and its remainder.
fn divide<P: Polynomial>(b: &mut FunctionBuilder<'_>, values: &mut dyn Values<P>, x: &P, y: &P) -> (Value, Value) {
    let not_negative = values.not_negative(x);
    let a = value(b, values, x);
    if let Some(d) = y.as_const().filter(|d| *d > 0) {
        if d & (d - 1) == 0 {
            let shift = b.ins().iconst(types::I64, i64::from(d.trailing_zeros()));
            let mask = b.ins().iconst(types::I64, d - 1);
            return (b.ins().sshr(a, shift), b.ins().band(a, mask));
        }
        let divisor = b.ins().iconst(types::I64, d);
        if not_negative {
            let q = b.ins().udiv(a, divisor);
            let back = b.ins().imul(q, divisor);
            return (q, b.ins().isub(a, back));
        }
        let q = b.ins().sdiv(a, divisor);
        return floored(b, a, divisor, q);
    }
    let divisor = value(b, values, y);
    let (q, ok) = safe_sdiv(b, a, divisor);
    let (q, r) = floored(b, a, divisor, q);
    let zero = b.ins().iconst(types::I64, 0);
    (b.ins().select(ok, q, zero), b.ins().select(ok, r, zero))
}

/// From the truncated to the floored quotient, and the remainder.
fn floored(b: &mut FunctionBuilder<'_>, a: Value, divisor: Value, q: Value) -> (Value, Value) {
    let zero = b.ins().iconst(types::I64, 0);
    let back = b.ins().imul(q, divisor);
    let r = b.ins().isub(a, back);
    let differ = b.ins().bxor(r, divisor);
    let opposite = b.ins().icmp(IntCC::SignedLessThan, differ, zero);
    let some = b.ins().icmp(IntCC::NotEqual, r, zero);
    let adjust = b.ins().band(opposite, some);
    let wide = b.ins().uextend(types::I64, adjust);
    let q = b.ins().isub(q, wide);
    let more = b.ins().select(adjust, divisor, zero);
    (q, b.ins().iadd(r, more))
}

/// Truncated quotient of 64-bit (or any) integers that never traps, and whether the divisor was not zero.
/// The lowest number divided by -1 wraps.
pub(crate) fn safe_sdiv(b: &mut FunctionBuilder<'_>, a: Value, d: Value) -> (Value, Value) {
    let ty = b.func.dfg.value_type(d);
    let (zero, one) = (b.ins().iconst(ty, 0), b.ins().iconst(ty, 1));
    let ok = b.ins().icmp(IntCC::NotEqual, d, zero);
    let bits = ty.lane_bits();
    let minus_one = b.ins().iconst(ty, if bits == 64 { -1 } else { (1i64 << bits) - 1 });
    let flip = b.ins().icmp(IntCC::Equal, d, minus_one);
    let safe = b.ins().select(ok, d, one);
    let safe = b.ins().select(flip, one, safe);
    let q = b.ins().sdiv(a, safe);
    let negated = b.ins().ineg(a);
    (b.ins().select(flip, negated, q), ok)
}

//! Numbers written as strings, and strings read as numbers, for Cast and CastMap.
//!
//! What is read is an integer for integers, and for floats a decimal number, an infinity or NaN, with white space around it;
//! anything else stops the run. The first 18 digits count. A float of at most 15 digits and a power of ten up to 22 is
//! the nearest one; others may be the one beside it, in `f64`.

use crate::context::Context;
use crate::error::{Result, unsupported};
use crate::pattern::automaton;
use crate::strings::{Runs, Strings};
use nnc_ir::op::{BinaryOp, ReduceOp, ScatterOp, UnaryOp};
use nnc_ir::{DType, Dim, Op, Tensor, ValueId};

/// Digits that are read.
const DIGITS: i64 = 18;
/// The greatest power of ten of an `f64`.
const MOST: i64 = 308;
const INTEGER: &str = r"\s*[+-]?[0-9]+\s*";
const DECIMAL: &str = r"\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\s*";
const INFINITE: &str = r"(?i)\s*[+-]?inf(inity)?\s*";
const NOT_A_NUMBER: &str = r"(?i)\s*[+-]?nan\s*";

/// The characters of strings, one after the other.
struct Characters {
    /// How long each string is, `[strings]`.
    lengths: ValueId,
    /// The string of each character.
    of: ValueId,
    /// Where in its string each stands.
    within: ValueId,
    /// The characters, `i64`.
    codes: ValueId,
}

impl Characters {
    fn is(&self, ctx: &mut Context, character: u8) -> Result<ValueId> {
        ctx.binary_scalar(BinaryOp::Eq, self.codes, character.into())
    }

    /// For each string what its characters together yield, those where the mask holds.
    fn combined(&self, ctx: &mut Context, op: ScatterOp, start: ValueId, mask: ValueId, x: ValueId) -> Result<ValueId> {
        let own = ctx.gather(start, self.of)?;
        let neutral = if op == ScatterOp::Add { ctx.int_scalar(0) } else { own };
        let updates = ctx.select(mask, x, neutral)?;
        ctx.one(Op::ScatterElements { axis: 0, op }, &[start, self.of, updates])
    }

    /// For each string where the first character stands that the mask holds for; its length where there is none.
    fn first(&self, ctx: &mut Context, mask: ValueId) -> Result<ValueId> {
        self.combined(ctx, ScatterOp::Min, self.lengths, mask, self.within)
    }

    fn sum(&self, ctx: &mut Context, mask: ValueId, x: ValueId) -> Result<ValueId> {
        let zero = ctx.binary_scalar(BinaryOp::Mul, self.lengths, 0.0)?;
        self.combined(ctx, ScatterOp::Add, zero, mask, x)
    }

    /// Whether the mask holds for some character of each string.
    fn any(&self, ctx: &mut Context, mask: ValueId) -> Result<ValueId> {
        let one = ctx.int_scalar(1);
        let count = self.sum(ctx, mask, one)?;
        ctx.binary_scalar(BinaryOp::Gt, count, 0.0)
    }
}

/// Whether each string is as a pattern says.
fn matches(ctx: &mut Context, [offsets, bytes]: [ValueId; 2], pattern: &str) -> Result<ValueId> {
    let automaton = automaton(pattern)?;
    let [classes, next] = [automaton.classes, automaton.next].map(|table| ctx.constant(table));
    let states = ctx.one(Op::RunAutomaton, &[offsets, bytes, classes, next])?;
    let accepts: Vec<i64> = automaton.accepts.iter().map(|&accepts| i64::from(accepts)).collect();
    let accepts = ctx.ints_constant(&accepts);
    let accepted = ctx.gather(accepts, states)?;
    ctx.binary_scalar(BinaryOp::Ne, accepted, 0.0)
}

/// The powers of ten from 0 on at each element, which is clamped to what the table has.
fn power(ctx: &mut Context, table: Tensor, exponent: ValueId) -> Result<ValueId> {
    let last = table.len() as f64 - 1.0;
    let exponent = ctx.binary_scalar(BinaryOp::Max, exponent, 0.0)?;
    let exponent = ctx.binary_scalar(BinaryOp::Min, exponent, last)?;
    let table = ctx.constant(table);
    ctx.gather(table, exponent)
}

fn whole_powers() -> Tensor {
    let list: Vec<i64> = (0..=DIGITS as u32).map(|e| 10i64.pow(e)).collect();
    Tensor::from_slice(&[list.len()], &list)
}

/// The significant digits before `end` of each string: their number, the power of ten that it is to be multiplied with, and
/// whether they are all there.
fn significant(ctx: &mut Context, text: &Characters, end: ValueId) -> Result<[ValueId; 3]> {
    let dot = text.is(ctx, b'.')?;
    let dot = text.first(ctx, dot)?;
    let dot = ctx.binary(BinaryOp::Min, dot, end)?;
    let (digit, is_digit) = digits(ctx, text)?;
    let before = ctx.gather(end, text.of)?;
    let before = ctx.binary(BinaryOp::Lt, text.within, before)?;
    let mantissa = ctx.binary(BinaryOp::And, is_digit, before)?;
    let some = ctx.binary_scalar(BinaryOp::Gt, digit, 0.0)?;
    let leading = ctx.binary(BinaryOp::And, mantissa, some)?;
    let lead = text.first(ctx, leading)?;
    let (lead_of, dot_of) = (ctx.gather(lead, text.of)?, ctx.gather(dot, text.of)?);
    let not_before = ctx.binary(BinaryOp::Ge, text.within, lead_of)?;
    let counts = ctx.binary(BinaryOp::And, mantissa, not_before)?;
    let one = ctx.int_scalar(1);
    let count = text.sum(ctx, counts, one)?;
    let kept = ctx.binary_scalar(BinaryOp::Min, count, DIGITS as f64)?;
    // Which of the significant digits each is.
    let number = ctx.sub(text.within, lead_of)?;
    let (behind, across) = (ctx.binary(BinaryOp::Gt, text.within, dot_of)?, ctx.binary(BinaryOp::Lt, lead_of, dot_of)?);
    let skipped = ctx.binary(BinaryOp::And, behind, across)?;
    let skipped = ctx.convert(skipped, DType::I64)?;
    let number = ctx.sub(number, skipped)?;
    let kept_of = ctx.gather(kept, text.of)?;
    let read = ctx.binary(BinaryOp::Lt, number, kept_of)?;
    let read = ctx.binary(BinaryOp::And, counts, read)?;
    let place = ctx.sub(kept_of, number)?;
    let place = ctx.binary_scalar(BinaryOp::Sub, place, 1.0)?;
    let weight = power(ctx, whole_powers(), place)?;
    let weighed = ctx.mul(digit, weight)?;
    let value = text.sum(ctx, read, weighed)?;
    // The first significant digit counts 10^(dot - 1 - lead), or, behind the dot, 10^(dot - lead).
    let scale = ctx.sub(dot, lead)?;
    let left = ctx.binary_scalar(BinaryOp::Gt, scale, 0.0)?;
    let left = ctx.convert(left, DType::I64)?;
    let scale = ctx.sub(scale, left)?;
    let scale = ctx.sub(scale, kept)?;
    let scale = ctx.binary_scalar(BinaryOp::Add, scale, 1.0)?;
    Ok([value, scale, ctx.binary(BinaryOp::Eq, count, kept)?])
}

/// Where each string's last digit or dot ends, if it is not behind an `e`, and where its first `e` is.
fn number_ends(ctx: &mut Context, text: &Characters) -> Result<[ValueId; 2]> {
    let (_, is_digit) = digits(ctx, text)?;
    let dot = text.is(ctx, b'.')?;
    let mask = ctx.binary(BinaryOp::Or, is_digit, dot)?;
    let none = ctx.binary_scalar(BinaryOp::Mul, text.lengths, 0.0)?;
    let behind = ctx.binary_scalar(BinaryOp::Add, text.within, 1.0)?;
    let last = text.combined(ctx, ScatterOp::Max, none, mask, behind)?;
    let (small, large) = (text.is(ctx, b'e')?, text.is(ctx, b'E')?);
    let either = ctx.binary(BinaryOp::Or, small, large)?;
    let exponent = text.first(ctx, either)?;
    Ok([ctx.binary(BinaryOp::Min, last, exponent)?, exponent])
}

/// What each character counts as a digit, and whether it is one.
fn digits(ctx: &mut Context, text: &Characters) -> Result<(ValueId, ValueId)> {
    let digit = ctx.binary_scalar(BinaryOp::Sub, text.codes, f64::from(b'0'))?;
    let (low, high) = (ctx.binary_scalar(BinaryOp::Ge, digit, 0.0)?, ctx.binary_scalar(BinaryOp::Le, digit, 9.0)?);
    Ok((digit, ctx.binary(BinaryOp::And, low, high)?))
}

/// The power of ten that follows an `e` at `end`, at most some thousands.
fn exponent(ctx: &mut Context, text: &Characters, end: ValueId) -> Result<ValueId> {
    let end_of = ctx.gather(end, text.of)?;
    let after = ctx.binary(BinaryOp::Gt, text.within, end_of)?;
    let (digit, is_digit) = digits(ctx, text)?;
    let mask = ctx.binary(BinaryOp::And, is_digit, after)?;
    let none = ctx.binary_scalar(BinaryOp::Mul, end, 0.0)?;
    let last = text.combined(ctx, ScatterOp::Max, none, mask, text.within)?;
    let last = ctx.gather(last, text.of)?;
    let place = ctx.sub(last, text.within)?;
    // More digits than these say the same.
    let powers: Vec<i64> = (0..6).map(|e| 10i64.pow(e)).collect();
    let weight = power(ctx, Tensor::from_slice(&[6], &powers), place)?;
    let weighed = ctx.mul(digit, weight)?;
    let value = text.sum(ctx, mask, weighed)?;
    let value = ctx.binary_scalar(BinaryOp::Min, value, 9999.0)?;
    let minus = text.is(ctx, b'-')?;
    let minus = ctx.binary(BinaryOp::And, minus, after)?;
    let minus = text.any(ctx, minus)?;
    let opposite = ctx.unary(UnaryOp::Neg, value)?;
    ctx.select(minus, opposite, value)
}

/// `value * 10^scale` in `f64`.
fn scaled(ctx: &mut Context, value: ValueId, scale: ValueId) -> Result<ValueId> {
    let powers: Vec<f64> = (0..=MOST).map(|e| format!("1e{e}").parse().unwrap_or(f64::INFINITY)).collect();
    let powers = Tensor::from_slice(&[powers.len()], &powers);
    let down = ctx.unary(UnaryOp::Neg, scale)?;
    let mut y = ctx.convert(value, DType::F64)?;
    for (op, exponent) in [(BinaryOp::Mul, scale), (BinaryOp::Div, down)] {
        let rest = ctx.binary_scalar(BinaryOp::Sub, exponent, MOST as f64)?;
        for exponent in [exponent, rest] {
            let factor = power(ctx, powers.clone(), exponent)?;
            y = ctx.binary(op, y, factor)?;
        }
    }
    // Of none, however great the power.
    let zero = ctx.binary_scalar(BinaryOp::Eq, value, 0.0)?;
    let nothing = ctx.scalar(DType::F64, 0.0);
    ctx.select(zero, nothing, y)
}

/// The numbers that strings are.
pub(crate) fn read(ctx: &mut Context, strings: &Strings, dtype: DType) -> Result<ValueId> {
    let table = ctx.packed(strings)?;
    let [begins, ends] = ctx.neighbours(table[0])?;
    let lengths = ctx.sub(ends, begins)?;
    let most = ctx.dim(table[1], 0);
    let Runs { of, within, .. } = ctx.runs(lengths, most)?;
    let begin = ctx.gather(begins, of)?;
    let at = ctx.add(begin, within)?;
    let codes = ctx.gather(table[1], at)?;
    let codes = ctx.convert(codes, DType::I64)?;
    let text = Characters { lengths, of, within, codes };
    let integer = !dtype.is_float();
    let mut fine = matches(ctx, table, if integer { INTEGER } else { DECIMAL })?;
    let [end, exponent_at] = number_ends(ctx, &text)?;
    let [value, scale, all] = significant(ctx, &text, end)?;
    let minus = text.is(ctx, b'-')?;
    let exponent_of = ctx.gather(exponent_at, of)?;
    let before = ctx.binary(BinaryOp::Lt, within, exponent_of)?;
    let minus = ctx.binary(BinaryOp::And, minus, before)?;
    let minus = text.any(ctx, minus)?;
    let mut y = value;
    if integer {
        fine = ctx.binary(BinaryOp::And, fine, all)?;
    } else {
        let more = exponent(ctx, &text, end)?;
        let scale = ctx.add(scale, more)?;
        y = scaled(ctx, value, scale)?;
        for (pattern, number) in [(INFINITE, f64::INFINITY), (NOT_A_NUMBER, f64::NAN)] {
            let such = matches(ctx, table, pattern)?;
            let number = ctx.scalar(DType::F64, number);
            y = ctx.select(such, number, y)?;
            fine = ctx.binary(BinaryOp::Or, fine, such)?;
        }
    }
    let opposite = ctx.unary(UnaryOp::Neg, y)?;
    y = ctx.select(minus, opposite, y)?;
    // Index 1 of a table of one element stops the run.
    let bad = ctx.unary(UnaryOp::Not, fine)?;
    let bad = ctx.convert(bad, DType::I64)?;
    let one = ctx.constant(Tensor::from_f64s(ctx.dtype(y), &[1], &[1.0]));
    let one = ctx.gather(one, bad)?;
    y = ctx.mul(y, one)?;
    let shape = ctx.shape(strings.numbers);
    let y = ctx.reshape(y, &shape)?;
    ctx.convert(y, dtype)
}

/// Integers as strings.
pub(crate) fn written(ctx: &mut Context, x: ValueId) -> Result<Strings> {
    let (dtype, shape) = (ctx.dtype(x), ctx.shape(x));
    if dtype.is_float() {
        return Err(unsupported(
            "strings of floats are not supported, for eight digits of all floats are not written exactly; use integers",
        ));
    }
    let count = ctx.ty(x).count();
    let x = ctx.reshape(x, std::slice::from_ref(&count))?;
    let (magnitude, minus) = if dtype == DType::U64 {
        (x, None)
    } else {
        let x = ctx.convert(x, DType::I64)?;
        let minus = ctx.binary_scalar(BinaryOp::Lt, x, 0.0)?;
        let opposite = ctx.unary(UnaryOp::Neg, x)?;
        let magnitude = ctx.select(minus, opposite, x)?;
        (ctx.one(Op::Bitcast(DType::U64), &[magnitude])?, Some(ctx.convert(minus, DType::I64)?))
    };
    let powers: Vec<u64> = (0..20).map(|e| 10u64.pow(e)).collect();
    let table = ctx.constant(Tensor::from_slice(&[20], &powers));
    let above = ctx.slice_axis(table, 0, Dim::ONE, Dim::from(19))?;
    let apart = ctx.unsqueeze(magnitude, &[1])?;
    let longer = ctx.binary(BinaryOp::Ge, apart, above)?;
    let longer = ctx.convert(longer, DType::I64)?;
    let digits = ctx.reduce(ReduceOp::Sum, longer, &[1], false)?;
    let mut lengths = ctx.binary_scalar(BinaryOp::Add, digits, 1.0)?;
    if let Some(minus) = minus {
        lengths = ctx.add(lengths, minus)?;
    }
    let Runs { offsets, of, within } = ctx.runs(lengths, count * Dim::from(20))?;
    let length = ctx.gather(lengths, of)?;
    let place = ctx.sub(length, within)?;
    let place = ctx.binary_scalar(BinaryOp::Sub, place, 1.0)?;
    let place = ctx.binary_scalar(BinaryOp::Min, place, 19.0)?;
    let (power, magnitude) = (ctx.gather(table, place)?, ctx.gather(magnitude, of)?);
    let upper = ctx.div(magnitude, power)?;
    let tens = ctx.binary_scalar(BinaryOp::Div, upper, 10.0)?;
    let tens = ctx.binary_scalar(BinaryOp::Mul, tens, 10.0)?;
    let digit = ctx.sub(upper, tens)?;
    let mut character = ctx.binary_scalar(BinaryOp::Add, digit, f64::from(b'0'))?;
    if let Some(minus) = minus {
        let minus = ctx.gather(minus, of)?;
        let sign = ctx.binary(BinaryOp::Lt, within, minus)?;
        let dash = ctx.scalar(DType::U64, f64::from(b'-'));
        character = ctx.select(sign, dash, character)?;
    }
    let bytes = ctx.convert(character, DType::U8)?;
    ctx.whole_table([offsets, bytes], &shape)
}

#[cfg(test)]
mod tests {
    use crate::testing::sketch;

    fn cast(strings: &[&str], to: i64) -> String {
        sketch().given_strings("x", "n", strings).node("Cast", "x -> y").int("to", to).output("y").run()
    }

    #[test]
    fn read() {
        let floats = [
            "1.5",
            "-0.25",
            " +12e2\n",
            "1E-3",
            "007.50",
            ".5",
            "3.",
            "inf",
            "-Infinity",
            "nan",
            "0e99",
            "-7",
            " 42 ",
            "-1.5 \n",
            " -inf",
        ];
        assert_eq!(cast(&floats, 11), "f64[15] 1.5 -0.25 1200 0.001 7.5 0.5 3 inf -inf NaN 0 -7 42 -1.5 -inf");
        assert_eq!(
            cast(&["1e400", "-1e-400", "123456789012345678901234567890"], 1),
            "f32[3] inf -0 123456789182729271864492818432"
        );
        let integers = ["-12", "0", "+007", " 123456789012345 "];
        assert_eq!(cast(&integers, 7), "i64[4] -12 0 7 123456789012345");
        assert_eq!(cast(&["300"], 2), "u8[1] 44");
        for wrong in ["", "x", "1 2", "1e", "--1", "1.2.3"] {
            assert!(cast(&[wrong], 1).contains("index"), "{wrong}: {}", cast(&[wrong], 1));
        }
        for wrong in ["1.0", "9999999999999999999", "inf"] {
            assert!(cast(&[wrong], 7).contains("index"), "{wrong}");
        }
    }

    #[test]
    fn written() {
        let x = sketch().given("x", &[2, 3], &[0i64, -7, 10, i64::MIN, i64::MAX, 999]);
        let text = x.node("Cast", "x -> y").int("to", 8).output("y").run();
        assert_eq!(text, "string[6] 0 -7 10 -9223372036854775808 9223372036854775807 999");
        let x = sketch().given("x", &[2], &[u64::MAX, 1]).node("Cast", "x -> y").int("to", 8).output("y");
        assert_eq!(x.run(), "string[2] 18446744073709551615 1");
        let x = sketch().given("x", &[1], &[1.5f32]).node("Cast", "x -> y").int("to", 8).output("y");
        assert!(x.run().contains("strings of floats are not supported"), "{}", x.run());
    }
}

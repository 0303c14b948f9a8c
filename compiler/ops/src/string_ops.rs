//! What strings are made into: StringConcat, StringSplit and RegexFullMatch
//! (<https://onnx.ai/onnx/operators/onnx__StringSplit.html> and so on), all opsets.

use crate::context::Context;
use crate::error::{Result, invalid};
use crate::pattern::automaton;
use crate::strings::Strings;
use nnc_ir::op::{BinaryOp, ReduceOp};
use nnc_ir::{DType, Dim, Op, Tensor, ValueId};

/// Elements of two tensors, one behind the other.
pub fn string_concat(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let pair = [ctx.strings_input(0)?, ctx.strings_input(1)?];
    let (numbers, [offsets, bytes]) = ctx.join_tables(&pair)?;
    let (left, right) = ctx.broadcast2(numbers[0], numbers[1])?;
    let shape = ctx.shape(left);
    let last = shape.len();
    let (left, right) = (ctx.unsqueeze(left, &[last])?, ctx.unsqueeze(right, &[last])?);
    let numbers = ctx.concat(&[left, right], last)?;
    let [offsets, bytes] = ctx.packed(&Strings { numbers, offsets, bytes, whole: false, total: None })?;
    // Every second string begins where the one before it did.
    let sizes = vec![shape.iter().fold(Dim::ONE, |n, d| &n * d) + 1];
    let offsets = ctx.one(Op::Slice { starts: vec![Dim::ZERO], sizes, steps: vec![2] }, &[offsets])?;
    let joined = ctx.whole_table([offsets, bytes], &shape)?;
    ctx.define_strings(0, joined);
    Ok(vec![])
}

/// The pieces of each element on a new last axis, filled up with empty strings, and how many there are.
pub fn string_split(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let strings = ctx.strings_input(0)?;
    let delimiter = ctx.string("delimiter", "")?;
    let most = ctx.optional_int("maxsplit")?.filter(|&most| most >= 0).unwrap_or(i64::MAX);
    let shape = ctx.shape(strings.numbers);
    let elements = ctx.ty(strings.numbers).count();
    let [offsets, bytes] = ctx.packed(&strings)?;
    let size = ctx.dim(bytes, 0);
    let count = ctx.fresh_dim("pieces", (0, i64::MAX), Some(&elements + &size));
    let results = ctx.push(Op::SplitStrings { delimiter, most, count }, &[offsets, bytes])?;
    let &[spans, first] = &results[..] else { return Err(invalid("no pieces")) };
    let pieces = ctx.dim(spans, 0);
    // From a piece's begin to its end, then from there to the next one's begin: every second string is a piece.
    let marks = ctx.reshape(spans, &[pieces * 2])?;
    let end = ctx.dims_vector(vec![size.clone()])?;
    let marks = ctx.concat(&[marks, end], 0)?;
    let (marks, empty) = ctx.with_empty_string(marks)?;
    let [begins, ends] = ctx.neighbours(first)?;
    let lengths = ctx.sub(ends, begins)?;
    // A maximum of nothing is not 0.
    let zero = ctx.ints_constant(&[0]);
    let all = ctx.concat(&[lengths, zero], 0)?;
    let longest = ctx.reduce(ReduceOp::Max, all, &[0], false)?;
    let stated = ctx.stated_dim(0, shape.len());
    let longest = ctx.bind_dim(longest, stated, Some(&size + 1))?;
    let place = ctx.iota(DType::I64, &[elements, longest.clone()], 1)?;
    let (begins, counts) = (ctx.unsqueeze(begins, &[1])?, ctx.unsqueeze(lengths, &[1])?);
    let there = ctx.binary(BinaryOp::Lt, place, counts)?;
    let piece = ctx.add(place, begins)?;
    let number = ctx.binary_scalar(BinaryOp::Mul, piece, 2.0)?;
    let numbers = ctx.select(there, number, empty)?;
    let whole_shape: Vec<Dim> = shape.iter().cloned().chain([longest]).collect();
    let numbers = ctx.reshape(numbers, &whole_shape)?;
    ctx.define_strings(0, Strings { numbers, offsets: marks, bytes, whole: false, total: Some(size) });
    Ok(vec![numbers, ctx.reshape(lengths, &shape)?])
}

/// Whether the pattern matches all of each element.
pub fn regex_full_match(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let strings = ctx.strings_input(0)?;
    let pattern = ctx.optional_string("pattern")?.ok_or_else(|| invalid("attribute `pattern` is missing"))?;
    let automaton = automaton(&pattern)?;
    let [classes, next] = [automaton.classes, automaton.next].map(|table| ctx.constant(table));
    let states = ctx.one(Op::RunAutomaton, &[strings.offsets, strings.bytes, classes, next])?;
    let accepts: Vec<u8> = automaton.accepts.iter().map(|&accepts| u8::from(accepts)).collect();
    let accepts = Tensor { dtype: DType::Bool, ..Tensor::from_slice(&[accepts.len()], &accepts) };
    let accepts = ctx.constant(accepts);
    let matches = ctx.gather(accepts, states)?;
    Ok(vec![ctx.by_number(matches, &strings)?])
}

#[cfg(test)]
mod tests {
    use crate::testing::{Sketch, sketch};

    fn words(shape: &str, words: &[&str]) -> Sketch {
        sketch().given_strings("x", shape, words)
    }

    #[test]
    fn joined() {
        let x = words("2 1", &["a", "bc"]).given_strings("z", "2", &["", "\u{e9}"]);
        let joined = x.node("StringConcat", "x z -> y").output("y");
        assert_eq!(joined.run(), "string[4] a a\u{e9} bc bc\u{e9}");
    }

    #[test]
    fn split() {
        let x = || words("n", &["a b  c", "", " d"]).node("StringSplit", "x -> y z");
        assert_eq!(x().output("y").run(), "string[9] a b c    d  ");
        assert_eq!(x().output("z").run(), "i64[3] 3 0 1");
        assert_eq!(x().string("delimiter", " ").output("z").run(), "i64[3] 4 1 2");
        assert_eq!(x().int("maxsplit", 1).output("y").run(), "string[6] a b  c   d ");
        let none = words("n", &[]).node("StringSplit", "x -> y z").output("z");
        assert_eq!(none.run(), "i64[0]");
    }

    #[test]
    fn matched() {
        let x = |pattern: &str| {
            let x = words("4", &["abc", "aBc", "ab\nc", ""]).node("RegexFullMatch", "x -> y");
            x.string("pattern", pattern).output("y").run()
        };
        assert_eq!(x("a(b|B)c"), "bool[4] 1 1 0 0");
        assert_eq!(x("ab|abc|"), "bool[4] 1 0 0 1");
        assert_eq!(x("(?i)[a-c]*"), "bool[4] 1 1 0 1");
        assert_eq!(x("(?s).*c$"), "bool[4] 1 1 1 0");
        assert!(x("a(").contains("the pattern"), "{}", x("a("));
        assert!(x("(a{99}){99}{99}").contains("the pattern"));
    }
}

//! StringNormalizer (<https://onnx.ai/onnx/operators/onnx__StringNormalizer.html>), all opsets.
//!
//! Where the standard is silent, as ONNX Runtime: stopwords are taken out, not empty strings, and one empty string is left
//! where nothing is.

use crate::context::Context;
use crate::error::{Result, invalid};
use crate::select_indices::coordinates;
use crate::string_case::Case;
use crate::strings::Strings;
use nnc_ir::op::BinaryOp;
use nnc_ir::{Dim, ValueId};

/// Another case, and some words less.
pub fn string_normalizer(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let strings = ctx.strings_input(0)?;
    let action = match ctx.string("case_change_action", "NONE")?.as_str() {
        "NONE" => None,
        "LOWER" => Some(Case::Lower),
        "UPPER" => Some(Case::Upper),
        other => return Err(invalid(format!("case_change_action is `{other}`, it must be LOWER, UPPER or NONE"))),
    };
    let exact = ctx.flag("is_case_sensitive", false)?;
    let stopwords = ctx.strings("stopwords")?.unwrap_or_default();
    // Cases are those of Unicode in every locale.
    ctx.no_effect("locale");
    let shape = ctx.shape(strings.numbers);
    if !matches!(&shape[..], [_]) && !matches!(&shape[..], [one, _] if one.is_const(1)) {
        return Err(invalid(format!("the input is of shape {}, it must be [C] or [1, C]", ctx.show_shape(&shape))));
    }
    let table = [strings.offsets, strings.bytes];
    let changed = match action {
        Some(case) => ctx.cased(table, case)?,
        None => table,
    };
    let [offsets, bytes] = changed;
    let mut result = Strings { offsets, bytes, ..strings.clone() };
    result.total = Some(ctx.dim(bytes, 0)).filter(|_| strings.whole);
    if !stopwords.is_empty() {
        let case = action.unwrap_or(Case::Lower);
        let stopwords = if exact { stopwords } else { stopwords.iter().map(|word| case.of(word)).collect() };
        let compared = match (exact, action) {
            (true, _) => table,
            (false, Some(_)) => changed,
            (false, None) => ctx.cased(table, case)?,
        };
        let [offsets, bytes] = compared;
        let found = ctx.find_strings(&Strings { offsets, bytes, ..strings }, &stopwords)?;
        let kept = ctx.binary_scalar(BinaryOp::Eq, found, stopwords.len() as f64)?;
        result = without(ctx, result, kept)?;
    }
    ctx.define_strings(0, result);
    Ok(vec![])
}

/// The strings that are kept, of a row; if none is, an empty one.
fn without(ctx: &mut Context, strings: Strings, kept: ValueId) -> Result<Strings> {
    let count = ctx.ty(kept).count();
    let kept = ctx.reshape(kept, std::slice::from_ref(&count))?;
    let places = coordinates(ctx, kept)?;
    let places = ctx.squeeze(places, &[1])?;
    let numbers = ctx.reshape(strings.numbers, &[count])?;
    let numbers = ctx.gather(numbers, places)?;
    let left = ctx.dim(numbers, 0);
    let (offsets, empty) = ctx.with_empty_string(strings.offsets)?;
    let empty = ctx.reshape(empty, &[Dim::ONE])?;
    let numbers = ctx.concat(&[numbers, empty], 0)?;
    let numbers = ctx.slice_axis(numbers, 0, Dim::ZERO, left.max(&Dim::ONE))?;
    let mut shape = ctx.shape(numbers);
    if ctx.rank(strings.numbers) == 2 {
        shape.insert(0, Dim::ONE);
    }
    let numbers = ctx.reshape(numbers, &shape)?;
    Ok(Strings { numbers, offsets, whole: false, ..strings })
}

#[cfg(test)]
mod tests {
    use crate::testing::{Sketch, sketch};

    fn words(shape: &str, words: &[&str]) -> Sketch {
        sketch().given_strings("x", shape, words)
    }

    #[test]
    fn normalized() {
        let x = || words("n", &["Stra\u{df}e", "\u{c9}t\u{e9}", "MAN", "\u{2c65}\u{212a}"]);
        let x = || x().node("StringNormalizer", "x -> y").output("y");
        let lower = x().string("case_change_action", "LOWER");
        assert_eq!(lower.run(), "string[4] stra\u{df}e \u{e9}t\u{e9} man \u{2c65}k");
        let upper = x().string("case_change_action", "UPPER").string_list("stopwords", &["man"]);
        assert_eq!(upper.run(), "string[3] STRA\u{df}E \u{c9}T\u{c9} \u{23a}\u{212a}");
        let exact = x().int("is_case_sensitive", 1).string_list("stopwords", &["man", "\u{c9}t\u{e9}"]);
        assert_eq!(exact.run(), "string[3] Stra\u{df}e MAN \u{2c65}\u{212a}");
        let all = words("1 2", &["a", "A"]).node("StringNormalizer", "x -> y").string_list("stopwords", &["A"]);
        assert_eq!(all.clone().output("y").run(), "string[1] ");
        assert!(words("2 1", &["a", "b"]).node("StringNormalizer", "x -> y").output("y").run().contains("[1, C]"));
    }
}

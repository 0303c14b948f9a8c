//! Operators that move elements whatever they are, on strings: they move the numbers.
//!
//! The translation of the operator is that for numbers; it is handed the numbers of its strings, of one table for all.

use crate::context::Context;
use crate::error::Result;
use crate::registry::Operator;
use crate::strings::Strings;
use nnc_ir::{Dim, ValueId};

/// What an operator makes of strings that it does not look into.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Movement {
    /// The same elements in the same order.
    Keeps,
    /// Elements at other places, or not all of them, but none twice.
    Selects,
    /// Elements, perhaps several times.
    Moves,
    /// Something about their shape.
    Counts,
}

fn movement(operator: &Operator) -> Option<Movement> {
    match (operator.domain, operator.name) {
        ("", "Identity" | "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" | "Dropout") => Some(Movement::Keeps),
        ("", "Shape" | "Size") => Some(Movement::Counts),
        ("", "Compress" | "Concat" | "DepthToSpace" | "ReverseSequence" | "Slice" | "SpaceToDepth" | "Split") => {
            Some(Movement::Selects)
        }
        ("", "Transpose") => Some(Movement::Selects),
        ("", "Expand" | "Gather" | "GatherElements" | "GatherND" | "Scatter" | "ScatterElements" | "ScatterND") => {
            Some(Movement::Moves)
        }
        ("", "Tile" | "Where") | ("ai.onnx.ml", "ArrayFeatureExtractor") => Some(Movement::Moves),
        _ => None,
    }
}

/// Translates an operator that moves strings; `None` if it does not, or has none.
pub(crate) fn translate(ctx: &mut Context, operator: &Operator) -> Result<Option<Vec<ValueId>>> {
    let Some(movement) = movement(operator) else { return Ok(None) };
    let mut places = vec![];
    let mut tensors: Vec<Strings> = vec![];
    for index in 0..ctx.input_count() {
        if let Some(strings) = ctx.optional_strings(index)? {
            places.push(index);
            tensors.push(strings);
        }
    }
    if tensors.is_empty() {
        return Ok(None);
    }
    let (numbers, [offsets, bytes]) = ctx.join_tables(&tensors)?;
    let whole = movement == Movement::Keeps && tensors.iter().all(|s| s.whole);
    let total = tensors.iter().try_fold(Dim::ZERO, |sum, s| Some(sum + s.total.as_ref()?));
    let total = total.filter(|_| movement != Movement::Moves);
    let results = ctx.with_inputs(places.into_iter().zip(numbers), operator.translation)?;
    if movement == Movement::Counts {
        return Ok(Some(results));
    }
    for (i, numbers) in results.into_iter().enumerate() {
        let total = total.clone();
        ctx.define_strings(i, Strings { numbers, offsets, bytes, whole, total });
    }
    Ok(Some(vec![]))
}

#[cfg(test)]
mod tests {
    use crate::testing::{Sketch, sketch};

    fn words() -> Sketch {
        sketch().given_strings("x", "2 3", &["a", "bc", "", "def", "g", "a"]).given_strings(
            "z",
            "1 3",
            &["x", "", "yy"],
        )
    }

    #[test]
    fn numbers_move() {
        for (node, expected) in [
            ("Identity", "string[6] a bc  def g a"),
            ("Transpose", "string[6] a def bc g  a"),
            ("Flatten", "string[6] a bc  def g a"),
        ] {
            assert_eq!(words().node(node, "x -> y").output("y").run(), expected, "{node}");
        }
        let joined = words().node("Concat", "x z x -> y").int("axis", 0).output("y");
        assert_eq!(joined.run(), "string[15] a bc  def g a x  yy a bc  def g a");
        let picked = words().ints("i", &[2], &[-1, 0]).node("Gather", "x i -> y").int("axis", 1).output("y");
        assert_eq!(picked.run(), "string[4]  a a def");
        let chosen = words().given_bools("c", &[2, 1], &[0, 1]).node("Where", "c x z -> y").output("y");
        assert_eq!(chosen.run(), "string[6] x  yy def g a");
        let constant = words().strings("k", &[3], &["p", "q", "r"]).node("Concat", "k k -> y").int("axis", 0);
        assert_eq!(constant.output("y").run(), "string[6] p q r p q r");
        assert_eq!(words().node("Shape", "x -> y").output("y").run(), "i64[2] 2 3");
    }

    #[test]
    fn data_decides_how_many() {
        let kept = words().given_bools("c", &[3], &[1, 0, 1]).node("Compress", "x c -> t").int("axis", 1);
        assert_eq!(kept.node("Identity", "t -> y").output("y").run(), "string[4] a  def a");
    }

    #[test]
    fn others_refuse_strings() {
        let text = words().node("Relu", "x -> y").output("y").run();
        assert!(text.contains("`x` is a tensor of strings"), "{text}");
        assert_eq!(words().output("x").run(), "string[6] a bc  def g a");
    }
}

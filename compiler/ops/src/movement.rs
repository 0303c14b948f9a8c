//! Operators that move elements whatever they are, on elements that are no numbers of the core.
//!
//! The translation of the operator is that for numbers. Of strings it is handed the numbers, into one table for all; of
//! narrow types the bytes that hold the elements.

use crate::context::Context;
use crate::error::{Result, invalid};
use crate::narrow::Narrow;
use crate::registry::Operator;
use crate::scope::Compound;
use crate::strings::Strings;
use nnc_ir::{Dim, ValueId};
use nnc_onnx::Attribute;

/// What an operator makes of elements that it does not look into.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Movement {
    /// Its first result has the same elements in the same order; others are of numbers.
    Keeps,
    /// Elements at other places, or not all of them, but none twice.
    Selects,
    /// Elements, perhaps several times.
    Moves,
    /// Elements with zeros between them, which strings do not have.
    Fills,
    /// Something about their shape.
    Counts,
    /// Something about their values, as numbers.
    Reads,
}

fn movement(ctx: &Context, operator: &Operator) -> Option<Movement> {
    match (operator.domain, operator.name) {
        ("", "Identity" | "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze") => Some(Movement::Keeps),
        ("", "Dropout") => Some(Movement::Keeps).filter(|_| !ctx.has_input(2)),
        ("", "Shape" | "Size") => Some(Movement::Counts),
        ("", "Compress" | "Concat" | "DepthToSpace" | "ReverseSequence" | "Slice" | "SpaceToDepth" | "Split") => {
            Some(Movement::Selects)
        }
        ("", "Transpose") => Some(Movement::Selects),
        ("", "Expand" | "Gather" | "GatherElements" | "GatherND" | "TensorScatter" | "Tile" | "Where") => {
            Some(Movement::Moves)
        }
        ("", "Scatter" | "ScatterElements" | "ScatterND") => {
            let none = |reduction: &Attribute| matches!(reduction, Attribute::String(name) if name == b"none");
            Some(Movement::Moves).filter(|_| ctx.node.attributes.get("reduction").is_none_or(none))
        }
        ("ai.onnx.ml", "ArrayFeatureExtractor") => Some(Movement::Moves),
        ("", "Pad") => Some(Movement::Fills),
        ("", "IsInf" | "IsNaN") => Some(Movement::Reads),
        _ => None,
    }
}

/// Translates an operator that moves elements that are no numbers; `None` if it does not, or has none.
pub(crate) fn translate(ctx: &mut Context, operator: &Operator) -> Result<Option<Vec<ValueId>>> {
    let Some(movement) = movement(ctx, operator) else { return Ok(None) };
    let mut places = vec![];
    let (mut strings, mut narrow) = (vec![], vec![]);
    for index in (0..ctx.input_count()).filter(|&index| ctx.has_input(index)).collect::<Vec<_>>() {
        match ctx.compound_input(index)? {
            Some(Compound::Strings(tensor)) => strings.push(tensor),
            Some(Compound::Narrow(tensor)) => narrow.push(tensor),
            _ => continue,
        }
        places.push(index);
    }
    match (&strings[..], &narrow[..]) {
        ([_, ..], []) if !matches!(movement, Movement::Fills | Movement::Reads) => {
            move_strings(ctx, operator, movement, &places, &strings).map(Some)
        }
        ([], [_, ..]) => move_narrow(ctx, operator, movement, &places, &narrow).map(Some),
        _ => Ok(None),
    }
}

/// How many results have the elements.
fn moved(movement: Movement, results: usize) -> usize {
    match movement {
        Movement::Keeps => 1,
        Movement::Selects | Movement::Moves | Movement::Fills => results,
        Movement::Counts | Movement::Reads => 0,
    }
}

fn move_strings(
    ctx: &mut Context,
    operator: &Operator,
    movement: Movement,
    places: &[usize],
    tensors: &[Strings],
) -> Result<Vec<ValueId>> {
    let (numbers, [offsets, bytes]) = ctx.join_tables(tensors)?;
    let whole = movement == Movement::Keeps && tensors.iter().all(|s| s.whole);
    let total = tensors.iter().try_fold(Dim::ZERO, |sum, s| Some(sum + s.total.as_ref()?));
    let total = total.filter(|_| movement != Movement::Moves);
    let results = ctx.with_inputs(places.iter().copied().zip(numbers), operator.translation)?;
    for (i, &numbers) in results.iter().enumerate().take(moved(movement, results.len())) {
        let total = total.clone();
        ctx.define_compound(i, Compound::Strings(Strings { numbers, offsets, bytes, whole, total }));
    }
    Ok(results)
}

fn move_narrow(
    ctx: &mut Context,
    operator: &Operator,
    movement: Movement,
    places: &[usize],
    tensors: &[Narrow],
) -> Result<Vec<ValueId>> {
    let encoding = tensors[0].encoding;
    if let Some(other) = tensors.iter().find(|tensor| tensor.encoding != encoding) {
        let (one, other) = (encoding.name(), other.encoding.name());
        return Err(invalid(format!("its inputs are of {one} and {other}, they must be of one type")));
    }
    let reads = movement == Movement::Reads;
    let values: Vec<ValueId> =
        tensors.iter().map(|&t| if reads { ctx.decode(t) } else { Ok(t.value) }).collect::<Result<_>>()?;
    let results = ctx.with_inputs(places.iter().copied().zip(values), operator.translation)?;
    for (i, &value) in results.iter().enumerate().take(moved(movement, results.len())) {
        ctx.define_narrow(i, Narrow { value, encoding });
    }
    Ok(results)
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

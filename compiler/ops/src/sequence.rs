//! Sequences and optionals.
//!
//! SequenceConstruct, SequenceEmpty, SequenceInsert, SequenceErase, SequenceAt, SequenceLength, SplitToSequence,
//! ConcatFromSequence, Optional, OptionalHasElement, OptionalGetElement; all opsets. Pages:
//! `https://onnx.ai/onnx/operators/onnx__<Name>.html`. A sequence of a length known at compile time is the list of its
//! tensors, of any shapes; any other is packed (`packed_sequence.rs`).

use crate::context::Context;
use crate::error::{Result, invalid};
use crate::item::{Item, Kind};
use crate::packed_sequence::Packed;
use crate::scope::Compound;
use crate::tensors;
use nnc_ir::op::{BinaryOp, Relation};
use nnc_ir::{DType, Dim, ValueId};

/// A sequence of tensors.
#[derive(Clone, Debug)]
pub(crate) enum Sequence {
    /// Its elements, and of what they are, which counts where there is none.
    List(Kind, Vec<Item>),
    /// A packed one.
    Packed(Packed),
}

/// A list is not made longer than this by one node.
const MOST_PARTS: i64 = 1 << 14;

fn sequence(ctx: &mut Context, index: usize) -> Result<Sequence> {
    match ctx.item_input(index)? {
        Item::Compound(Compound::Sequence(sequence)) => Ok(sequence),
        Item::Compound(Compound::Nothing) => Err(invalid(format!("input {index} is an empty optional"))),
        Item::Compound(Compound::Optional(..)) => {
            Err(invalid(format!("input {index} is an optional; take its element with OptionalGetElement first")))
        }
        _ => Err(invalid(format!("input {index} is a tensor, it must be a sequence"))),
    }
}

fn yields(ctx: &mut Context, sequence: Sequence) -> Result<Vec<ValueId>> {
    ctx.define_compound(0, Compound::Sequence(sequence));
    Ok(vec![])
}

fn kind_of(ctx: &Context, item: &Item) -> Result<Kind> {
    item.kind(ctx.graph()).ok_or_else(|| invalid("the elements of a sequence must be tensors"))
}

/// The position an input holds, between 0 and `length`, if it is known.
fn known_position(ctx: &mut Context, input: ValueId, length: usize) -> Result<Option<usize>> {
    let Some(known) = ctx.constant_ints(input) else { return Ok(None) };
    let position = known.first().copied().unwrap_or(0);
    let from_start = if position < 0 { position.saturating_add(length as i64) } else { position };
    match usize::try_from(from_start) {
        Ok(p) if p <= length => Ok(Some(p)),
        _ => Err(invalid(format!("position {position} is not in a sequence of {length}"))),
    }
}

impl Context<'_, '_> {
    /// A sequence with one element more, before the one at a place, or at the end.
    pub(crate) fn with_one_more(&mut self, from: &Sequence, item: Item, place: Option<ValueId>) -> Result<Sequence> {
        if let Sequence::List(kind, mut items) = from.clone() {
            if kind_of(self, &item)? != kind {
                return Err(invalid("the element is not of the type of the sequence's elements"));
            }
            let known = match place {
                Some(place) => known_position(self, place, items.len())?,
                None => Some(items.len()),
            };
            // One place is all that there is in a sequence of nothing.
            if let Some(place) = known.or_else(|| items.is_empty().then_some(0)) {
                items.insert(place, item);
                return Ok(Sequence::List(kind, items));
            }
        }
        let from = packed(self, from)?;
        if Some(kind_of(self, &item)?) != from.elements.kind(self.graph()) {
            return Err(invalid("the element is not of the type of the sequence's elements"));
        }
        let place = place.map(|place| self.packed_position(place, &from)).transpose()?;
        Ok(Sequence::Packed(self.packed_insert(&from, &item, place)?))
    }

    /// What the file says that output `index` of a graph has elements of.
    pub(crate) fn stated_kind(&self, graph: &nnc_onnx::Graph, index: usize) -> Option<Kind> {
        match graph.outputs.get(index)?.ty.as_ref()? {
            nnc_onnx::TypeInfo::Tensor { elem_type, .. } => tensors::kind(*elem_type),
            _ => None,
        }
    }
}

/// A sequence as a packed one.
pub(crate) fn packed(ctx: &mut Context, sequence: &Sequence) -> Result<Packed> {
    match sequence {
        Sequence::Packed(packed) => Ok(packed.clone()),
        Sequence::List(kind, items) => {
            let Some(first) = items.first() else { return Err(invalid("the sequence is empty")) };
            let rank = ctx.rank(first.tensor()?);
            ctx.pack(sequence, *kind, rank)
        }
    }
}

/// A sequence of the inputs.
pub fn sequence_construct(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let items = (0..ctx.input_count()).map(|i| ctx.item_input(i)).collect::<Result<Vec<Item>>>()?;
    let Some(first) = items.first() else { return Err(invalid("it has no inputs")) };
    let kind = kind_of(ctx, first)?;
    yields(ctx, Sequence::List(kind, items))
}

/// A sequence of nothing.
pub fn sequence_empty(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let kind = match ctx.optional_int("dtype")? {
        Some(number) => tensors::kind_of_number(number)?,
        None => Kind::Numbers(DType::F32),
    };
    yields(ctx, Sequence::List(kind, vec![]))
}

/// With one element more.
pub fn sequence_insert(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let (from, item) = (sequence(ctx, 0)?, ctx.item_input(1)?);
    let place = ctx.optional_input(2)?;
    let more = ctx.with_one_more(&from, item, place)?;
    yields(ctx, more)
}

/// With one element less.
pub fn sequence_erase(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let from = sequence(ctx, 0)?;
    let place = ctx.optional_input(1)?;
    if let Sequence::List(kind, mut items) = from.clone() {
        let known = match place {
            Some(place) => known_position(ctx, place, items.len())?,
            None => Some(items.len().saturating_sub(1)),
        };
        if let Some(place) = known {
            if place >= items.len() {
                return Err(invalid(format!("position {place} is not in a sequence of {}", items.len())));
            }
            items.remove(place);
            return yields(ctx, Sequence::List(kind, items));
        }
    }
    let from = packed(ctx, &from)?;
    let place = match place {
        Some(place) => place,
        None => ctx.int_scalar(-1),
    };
    let place = ctx.packed_position(place, &from)?;
    let less = ctx.packed_erase(&from, place)?;
    yields(ctx, Sequence::Packed(less))
}

/// One element; of a list, at a position that only the run knows, that of a packed sequence where their types differ.
pub fn sequence_at(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let (from, place) = (sequence(ctx, 0)?, ctx.input(1)?);
    if let Sequence::List(_, items) = &from {
        if let Some(place) = known_position(ctx, place, items.len())? {
            let item = items.get(place).ok_or_else(|| invalid(format!("there is no element {place}")))?;
            return Ok(ctx.yields([item.clone()]));
        }
        if let Some(chosen) = chosen(ctx, items, place)? {
            return Ok(vec![chosen]);
        }
    }
    let from = packed(ctx, &from)?;
    let place = ctx.packed_position(place, &from)?;
    let item = ctx.packed_at(&from, place)?;
    Ok(ctx.yields([item]))
}

/// The one of a few tensors of numbers of one type that a position says, at a cost of all of them; `None` if they differ.
fn chosen(ctx: &mut Context, items: &[Item], place: ValueId) -> Result<Option<ValueId>> {
    const MOST: usize = 8;
    let numbers: Option<Vec<ValueId>> = items.iter().map(|item| item.number().ok()).collect();
    let Some((&first, rest)) = numbers.as_deref().and_then(<[ValueId]>::split_first) else { return Ok(None) };
    if rest.len() >= MOST || rest.iter().any(|&e| ctx.ty(e) != ctx.ty(first)) {
        return Ok(None);
    }
    let length = Dim::from(items.len());
    let place = ctx.reshape(place, &[])?;
    let place = ctx.normalize_index(place, &length)?;
    let bound = ctx.bind_dim(place, None, Some(length.clone()))?;
    ctx.require(bound + 1, Relation::AtMost, length, "the position in a sequence".to_owned())?;
    let mut result = first;
    for (i, &element) in rest.iter().enumerate() {
        let here = ctx.binary_scalar(BinaryOp::Eq, place, (i + 1) as f64)?;
        result = ctx.select(here, element, result)?;
    }
    Ok(Some(result))
}

/// The number of elements.
pub fn sequence_length(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let length = match sequence(ctx, 0)? {
        Sequence::List(_, items) => Dim::from(items.len()),
        Sequence::Packed(packed) => ctx.packed_length(&packed),
    };
    Ok(vec![ctx.dim_scalar(length)?])
}

/// The parts of a tensor along an axis.
pub fn split_to_sequence(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let x = ctx.item_input(0)?;
    let value = x.tensor()?;
    let axis = ctx.int("axis", 0)?;
    let axis = ctx.axis(axis, ctx.rank(value))?;
    let keep = ctx.flag("keepdims", true)?;
    let split = ctx.optional_input(1)?;
    let total = ctx.dim(value, axis);
    let known = match split {
        None => Some(vec![1]),
        Some(split) => ctx.constant_ints(split),
    };
    let sizes = match (known, total.as_const()) {
        (Some(known), Some(total)) if split.is_some_and(|split| ctx.rank(split) > 0) => Some((known, total)),
        (Some(known), Some(total)) => Some((even_sizes(total, known.first().copied().unwrap_or(0))?, total)),
        _ => None,
    };
    let Some((sizes, total)) = sizes else {
        let sequence = match split {
            None => ctx.packed_slices(&x, axis, keep)?,
            Some(split) => {
                let sizes =
                    if ctx.rank(split) > 0 { ctx.convert(split, DType::I64)? } else { ctx.even_parts(&total, split)? };
                ctx.packed_split(&x, axis, sizes)?
            }
        };
        return yields(ctx, Sequence::Packed(sequence));
    };
    if sizes.iter().any(|&s| s < 0) || sizes.iter().fold(0i64, |n, &s| n.saturating_add(s)) != total {
        return Err(invalid(format!("the sizes {sizes:?} do not sum to {total}")));
    }
    let mut start = 0;
    let mut parts = vec![];
    for size in sizes {
        let part = ctx.slice_axis(value, axis, Dim::from(start), Dim::from(size))?;
        start += size;
        let part = if split.is_none() && !keep { ctx.squeeze(part, &[axis])? } else { part };
        parts.push(x.with_shaped(part));
    }
    let kind = kind_of(ctx, &x)?;
    yields(ctx, Sequence::List(kind, parts))
}

/// Parts of `size` elements, the last of which has what is left.
fn even_sizes(total: i64, size: i64) -> Result<Vec<i64>> {
    if size < 1 || total / size >= MOST_PARTS {
        return Err(invalid(format!("{total} elements cannot be split into parts of {size}")));
    }
    let (mut sizes, mut left) = (vec![], total);
    while left > 0 {
        sizes.push(left.min(size));
        left -= size;
    }
    Ok(sizes)
}

/// The elements one after the other, or stacked.
pub fn concat_from_sequence(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let from = sequence(ctx, 0)?;
    let axis = ctx.optional_int("axis")?.ok_or_else(|| invalid("attribute `axis` is missing"))?;
    let stack = ctx.flag("new_axis", false)?;
    let item = match &from {
        Sequence::Packed(packed) => {
            let axis = ctx.axis(axis, packed.axes.len() + usize::from(stack))?;
            if stack { ctx.packed_stack(packed, axis)? } else { ctx.packed_concat(packed, axis)? }
        }
        Sequence::List(_, items) => {
            let Some(first) = items.first() else { return Err(invalid("the sequence is empty")) };
            let axis = ctx.axis(axis, ctx.rank(first.tensor()?) + usize::from(stack))?;
            let (mut values, like) = ctx.joined(items, first)?;
            if stack {
                for value in &mut values {
                    *value = ctx.unsqueeze(*value, &[axis])?;
                }
            }
            let value = ctx.concat(&values, axis)?;
            like.with_shaped(value)
        }
    };
    Ok(ctx.yields([item]))
}

/// The input, or nothing.
pub fn optional(ctx: &mut Context) -> Result<Vec<ValueId>> {
    ctx.no_effect("type");
    if !ctx.has_input(0) {
        ctx.define_compound(0, Compound::Nothing);
        return Ok(vec![]);
    }
    pass_on(ctx)
}

/// Whether there is an input that is not nothing.
pub fn optional_has_element(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let compound = if ctx.has_input(0) { ctx.compound_input(0)? } else { Some(Compound::Nothing) };
    Ok(vec![match compound {
        Some(Compound::Optional(has, _)) => has,
        Some(Compound::Nothing) => ctx.scalar(DType::Bool, 0.0),
        _ => ctx.scalar(DType::Bool, 1.0),
    }])
}

/// The input, which is not nothing.
pub fn optional_get_element(ctx: &mut Context) -> Result<Vec<ValueId>> {
    match ctx.compound_input(0)? {
        Some(Compound::Nothing) => Err(invalid("the optional is empty")),
        Some(Compound::Optional(has, item)) => {
            let has = ctx.convert(has, DType::I64)?;
            let has = ctx.bind_dim(has, None, Some(Dim::ONE))?;
            ctx.require(Dim::ONE, Relation::AtMost, has, "the number of elements to take from an optional".to_owned())?;
            Ok(ctx.yields([*item]))
        }
        _ => pass_on(ctx),
    }
}

/// The first input, whatever it is.
pub(crate) fn pass_on(ctx: &mut Context) -> Result<Vec<ValueId>> {
    match ctx.compound_input(0)? {
        Some(compound) => {
            ctx.define_compound(0, compound);
            Ok(vec![])
        }
        None => Ok(vec![ctx.input(0)?]),
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{Sketch, sketch};
    use nnc_onnx::ElemType::{Bool, Float, Int64};

    #[test]
    fn parts() {
        let parts = || sketch().input("x", Float, "5 4").ints("two", &[], &[2]).node("SplitToSequence", "x two -> s");
        let at = |i: i64| parts().ints("i", &[], &[i]).node("SequenceAt", "s i -> y").output("y").result_type();
        assert_eq!(at(0), "f32[2, 4]");
        assert_eq!(at(-1), "f32[1, 4]");
        assert!(at(9).contains("position 9 is not in a sequence of 3"));
        let joined = parts().node("ConcatFromSequence", "s -> y").int("axis", 0).output("y");
        assert_eq!(joined.result_type(), "f32[5, 4]");
        assert_eq!(parts().output("s").result_type(), "f32[20]");
    }

    #[test]
    fn position_at_run_time() {
        let sketch = sketch().input("x", Float, "4 4").input("i", Int64, "").node("SplitToSequence", "x -> s");
        assert_eq!(sketch.node("SequenceAt", "s i -> y").output("y").result_type(), "f32[1, 4]");
    }

    /// The parts of a tensor, of sizes that only the run knows.
    fn open_parts(axis: i64) -> Sketch {
        let x: Vec<f32> = (0..10).map(|i| i as f32).collect();
        let sketch = sketch().given("x", &[2, 5], &x).given("sizes", &[3], &[2i64, 0, 3]).given("two", &[], &[2i64]);
        sketch.node("SplitToSequence", if axis == 1 { "x sizes -> s" } else { "x two -> s" }).int("axis", axis)
    }

    #[test]
    fn packed() {
        let at = |i: i64| open_parts(1).given("i", &[], &[i]).node("SequenceAt", "s i -> y").output("y").run();
        assert_eq!(at(0), "f32[2, 2] 0 1 5 6");
        assert_eq!(at(-2), "f32[2, 0]");
        assert_eq!(at(-1), "f32[2, 3] 2 3 4 7 8 9");
        assert!(at(3).contains("out of range"), "{}", at(3));
        assert!(at(-4).contains("out of range"), "{}", at(-4));
        assert_eq!(open_parts(1).node("SequenceLength", "s -> y").output("y").run(), "i64[] 3");
        let joined = |axis| open_parts(axis).node("ConcatFromSequence", "s -> y").int("axis", axis).output("y").run();
        assert_eq!(joined(1), "f32[2, 5] 0 1 2 3 4 5 6 7 8 9");
        assert_eq!(joined(0), "f32[2, 5] 0 1 2 3 4 5 6 7 8 9");
        let uneven = open_parts(1).node("ConcatFromSequence", "s -> y").int("axis", 0).output("y").run();
        assert!(uneven.contains("axis 1 of an element of a sequence"), "{uneven}");
    }

    #[test]
    fn packed_grows_and_shrinks() {
        let more = |place: Option<i64>| {
            let sketch = open_parts(1).floats("e", &[2, 1], &[-1.0, -2.0]);
            let sketch = match place {
                Some(place) => sketch.given("p", &[], &[place]).node("SequenceInsert", "s e p -> m"),
                None => sketch.node("SequenceInsert", "s e -> m"),
            };
            sketch.node("ConcatFromSequence", "m -> y").int("axis", 1).output("y").run()
        };
        assert_eq!(more(None), "f32[2, 6] 0 1 2 3 4 -1 5 6 7 8 9 -2");
        assert_eq!(more(Some(0)), "f32[2, 6] -1 0 1 2 3 4 -2 5 6 7 8 9");
        assert_eq!(more(Some(-1)), "f32[2, 6] 0 1 -1 2 3 4 5 6 -2 7 8 9");
        assert!(more(Some(4)).contains("outside its bounds"), "{}", more(Some(4)));
        let less = |place: i64| {
            let sketch = open_parts(1).given("p", &[], &[place]).node("SequenceErase", "s p -> m");
            sketch.node("ConcatFromSequence", "m -> y").int("axis", 1).output("y").run()
        };
        assert_eq!(less(0), "f32[2, 3] 2 3 4 7 8 9");
        assert_eq!(less(-1), "f32[2, 2] 0 1 5 6");
        assert!(less(3).contains("the position in a sequence"), "{}", less(3));
    }

    #[test]
    fn stacked() {
        let sketch = sketch().given("x", &[4], &[1.0f32, 2.0, 3.0, 4.0]).given("two", &[], &[2i64]);
        let sketch = sketch.node("SplitToSequence", "x two -> s").node("ConcatFromSequence", "s -> y");
        assert_eq!(sketch.int("axis", 1).int("new_axis", 1).output("y").run(), "f32[2, 2] 1 3 2 4");
    }

    #[test]
    fn branches_of_different_lengths() {
        for (condition, expected) in [(1u8, "i64[] 2"), (0, "i64[] 1")] {
            let then = sketch().node("SequenceConstruct", "x z -> t").output("t");
            let otherwise = sketch().node("SequenceConstruct", "x -> e").output("e");
            let sketch = sketch().given("x", &[2], &[1.0f32, 2.0]).given("z", &[1], &[3.0f32]);
            let sketch = sketch.given_bools("c", &[], &[condition]).node("If", "c -> s");
            let sketch = sketch.graph("then_branch", then).graph("else_branch", otherwise);
            assert_eq!(sketch.node("SequenceLength", "s -> y").output("y").run(), expected);
        }
    }

    /// Nothing in one branch, a tensor in the other.
    #[test]
    fn optionals() {
        let chosen = |condition: u8, node: &str| {
            let then = sketch().node("Optional", "x -> t").output("t");
            let otherwise = sketch().node("Optional", "-> e").output("e");
            let sketch = sketch().given("x", &[2], &[1.0f32, 2.0]).given_bools("c", &[], &[condition]);
            let sketch = sketch.node("If", "c -> o").graph("then_branch", then).graph("else_branch", otherwise);
            sketch.node(node, "o -> y").output("y").run()
        };
        assert_eq!(chosen(1, "OptionalHasElement"), "bool[] 1");
        assert_eq!(chosen(0, "OptionalHasElement"), "bool[] 0");
        assert_eq!(chosen(1, "OptionalGetElement"), "f32[2] 1 2");
        assert!(chosen(0, "OptionalGetElement").contains("take from an optional"));
    }

    /// A loop of as many iterations as the run says fills a sequence with tensors of growing sizes.
    #[test]
    fn loops_carry_sequences() {
        for n in [0i64, 3] {
            let body = sketch().input("i", Int64, "").input("again", Bool, "").ints("one", &[1], &[1]);
            let mut body = body.ints("zero", &[1], &[0]).ints("axes", &[1], &[0]);
            body.model.graph.inputs.push(nnc_onnx::ValueInfo { name: "s_in".into(), ty: None });
            let body = body.node("Unsqueeze", "i axes -> begin").node("Add", "begin one -> end");
            let body = body.node("Slice", "x zero end -> part").node("SequenceInsert", "s_in part -> s_out");
            let body = body.node("Identity", "again -> again_out").output("again_out").output("s_out");
            let sketch = sketch().given("x", &[4], &[1.0f32, 2.0, 3.0, 4.0]).given("n", &[], &[n]);
            let sketch = sketch.node("SequenceEmpty", "-> s").node("Loop", "n _ s -> r").graph("body", body);
            let length = sketch.clone().node("SequenceLength", "r -> y").output("y").run();
            assert_eq!(length, format!("i64[] {n}"));
            let all = sketch.node("ConcatFromSequence", "r -> y").int("axis", 0).output("y").run();
            assert_eq!(all, if n == 0 { "f32[0]" } else { "f32[6] 1 1 2 1 2 3" });
        }
    }

    #[test]
    fn strings() {
        let sketch = sketch().given_strings("x", "4", &["a", "bc", "", "d"]).given("two", &[], &[2i64]);
        let sketch = sketch.given("i", &[], &[1i64]).node("SplitToSequence", "x two -> s");
        let sketch = sketch.strings("k", &[1], &["new"]).node("SequenceInsert", "s k i -> m");
        let at = |name: &str| sketch.clone().node("SequenceAt", &format!("m {name} -> y")).output("y").run();
        assert_eq!(at("i"), "string[1] new");
        assert_eq!(at("two"), "string[2]  d");
    }
}

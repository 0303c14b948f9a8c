//! Sequences and optionals, which exist while a model is translated only: a sequence is the list of its tensors.
//!
//! SequenceConstruct, SequenceEmpty, SequenceInsert, SequenceErase, SequenceAt, SequenceLength, SplitToSequence,
//! ConcatFromSequence, SequenceMap, Optional, OptionalHasElement, OptionalGetElement; all opsets. Pages:
//! `https://onnx.ai/onnx/operators/onnx__<Name>.html`. Lengths must be known; positions too, but for SequenceAt.

use crate::context::Context;
use crate::error::{Result, invalid, unsupported};
use crate::scope::{Compound, Passed};
use nnc_ir::op::BinaryOp;
use nnc_ir::{DType, Dim, ValueId};

fn sequence(ctx: &mut Context, index: usize) -> Result<Vec<ValueId>> {
    match ctx.compound_input(index)? {
        Some(Compound::Sequence(elements)) => Ok(elements),
        Some(Compound::Nothing) => Err(invalid(format!("input {index} is an empty optional"))),
        _ => Err(invalid(format!("input {index} is a tensor, it must be a sequence"))),
    }
}

fn yields(ctx: &mut Context, elements: Vec<ValueId>) -> Result<Vec<ValueId>> {
    ctx.define_compound(0, Compound::Sequence(elements));
    Ok(vec![])
}

/// The position an input holds, between 0 and `length`; without it `default`.
fn position(ctx: &mut Context, index: usize, length: usize, default: usize) -> Result<usize> {
    let Some(input) = ctx.optional_input(index)? else { return Ok(default) };
    let position = ctx.require_ints(input, "the position")?.first().copied().unwrap_or(0);
    let from_start = if position < 0 { position.saturating_add(length as i64) } else { position };
    match usize::try_from(from_start) {
        Ok(p) if p <= length => Ok(p),
        _ => Err(invalid(format!("position {position} is not in a sequence of {length}"))),
    }
}

/// A sequence of the inputs.
pub fn sequence_construct(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let elements = ctx.inputs()?;
    yields(ctx, elements)
}

/// A sequence of nothing.
pub fn sequence_empty(ctx: &mut Context) -> Result<Vec<ValueId>> {
    ctx.no_effect("dtype");
    yields(ctx, vec![])
}

/// With one element more.
pub fn sequence_insert(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let mut elements = sequence(ctx, 0)?;
    let element = ctx.input(1)?;
    let place = position(ctx, 2, elements.len(), elements.len())?;
    elements.insert(place, element);
    yields(ctx, elements)
}

/// With one element less.
pub fn sequence_erase(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let mut elements = sequence(ctx, 0)?;
    let place = position(ctx, 1, elements.len(), elements.len().saturating_sub(1))?;
    if place >= elements.len() {
        return Err(invalid(format!("position {place} is not in a sequence of {}", elements.len())));
    }
    elements.remove(place);
    yields(ctx, elements)
}

/// One element; at a position that only the run knows, all must have the same type.
pub fn sequence_at(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let elements = sequence(ctx, 0)?;
    let place = ctx.input(1)?;
    if ctx.constant_ints(place).is_some() {
        let place = position(ctx, 1, elements.len(), 0)?;
        let element = elements.get(place).ok_or_else(|| invalid(format!("there is no element {place}")))?;
        return Ok(vec![*element]);
    }
    let Some((&first, rest)) = elements.split_first() else { return Err(invalid("the sequence is empty")) };
    if rest.iter().any(|&e| ctx.ty(e) != ctx.ty(first)) {
        return Err(unsupported("the position must be known at compile time, as the elements differ in type"));
    }
    let place = ctx.reshape(place, &[])?;
    let place = ctx.normalize_index(place, &Dim::from(elements.len()))?;
    let mut result = first;
    for (i, &element) in rest.iter().enumerate() {
        let here = ctx.binary_scalar(BinaryOp::Eq, place, (i + 1) as f64)?;
        result = ctx.select(here, element, result)?;
    }
    Ok(vec![result])
}

/// The number of elements.
pub fn sequence_length(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let length = sequence(ctx, 0)?.len();
    Ok(vec![ctx.int_scalar(length as i64)])
}

/// The parts of a tensor along an axis.
pub fn split_to_sequence(ctx: &mut Context) -> Result<Vec<ValueId>> {
    const MOST_PARTS: i64 = 1 << 14;
    let x = ctx.input(0)?;
    let axis = ctx.int("axis", 0)?;
    let axis = ctx.axis(axis, ctx.rank(x))?;
    let keep = ctx.flag("keepdims", true)?;
    let split = ctx.optional_input(1)?;
    let total = ctx.dim(x, axis).as_const();
    let total = total.ok_or_else(|| unsupported("the axis must have a fixed size; fix it with --dim"))?;
    let mut sizes = vec![];
    match split {
        Some(split) if ctx.rank(split) > 0 => sizes = ctx.require_ints(split, "the sizes")?,
        _ => {
            let size = match split {
                Some(split) => ctx.require_ints(split, "the size")?.first().copied().unwrap_or(0),
                None => 1,
            };
            if size < 1 || total / size >= MOST_PARTS {
                return Err(invalid(format!("{total} elements cannot be split into parts of {size}")));
            }
            let mut left = total;
            while left > 0 {
                sizes.push(left.min(size));
                left -= size;
            }
        }
    }
    if sizes.iter().any(|&s| s < 0) || sizes.iter().fold(0i64, |n, &s| n.saturating_add(s)) != total {
        return Err(invalid(format!("the sizes {sizes:?} do not sum to {total}")));
    }
    let mut start = 0;
    let mut parts = vec![];
    for size in sizes {
        let part = ctx.slice_axis(x, axis, Dim::from(start), Dim::from(size))?;
        start += size;
        parts.push(if split.is_none() && !keep { ctx.squeeze(part, &[axis])? } else { part });
    }
    yields(ctx, parts)
}

/// The elements one after the other, or stacked.
pub fn concat_from_sequence(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let mut elements = sequence(ctx, 0)?;
    let axis = ctx.optional_int("axis")?.ok_or_else(|| invalid("attribute `axis` is missing"))?;
    let stack = ctx.flag("new_axis", false)?;
    let Some(&first) = elements.first() else { return Err(invalid("the sequence is empty")) };
    let axis = ctx.axis(axis, ctx.rank(first) + usize::from(stack))?;
    if stack {
        for element in &mut elements {
            *element = ctx.unsqueeze(*element, &[axis])?;
        }
    }
    Ok(vec![ctx.concat(&elements, axis)?])
}

/// A subgraph for each element.
pub fn sequence_map(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let body = ctx.subgraph("body")?;
    let first = sequence(ctx, 0)?;
    let mut results: Vec<Vec<ValueId>> = vec![vec![]; body.outputs.len()];
    for i in 0..first.len() {
        let mut arguments = vec![];
        for input in 0..ctx.input_count() {
            arguments.push(Passed::plain(match ctx.compound_input(input)? {
                Some(Compound::Sequence(elements)) => {
                    let element = elements.get(i).copied();
                    element.ok_or_else(|| invalid("the sequences differ in length"))?
                }
                _ => ctx.input(input)?,
            }));
        }
        let number = ctx.int_scalar(i as i64);
        let yielded = ctx.iterated(number, |ctx| ctx.inline(body, &arguments))?;
        for (list, result) in results.iter_mut().zip(yielded) {
            list.push(result.number()?);
        }
    }
    for (i, list) in results.into_iter().enumerate() {
        ctx.define_compound(i, Compound::Sequence(list));
    }
    Ok(vec![])
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
    let there = ctx.has_input(0) && !matches!(ctx.compound_input(0)?, Some(Compound::Nothing));
    Ok(vec![ctx.scalar(DType::Bool, f64::from(u8::from(there)))])
}

/// The input, which is not nothing.
pub fn optional_get_element(ctx: &mut Context) -> Result<Vec<ValueId>> {
    match ctx.compound_input(0)? {
        Some(Compound::Nothing) => Err(invalid("the optional is empty")),
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
    use crate::testing::sketch;
    use nnc_onnx::ElemType::{Float, Int64};

    #[test]
    fn parts() {
        let parts = || sketch().input("x", Float, "5 4").ints("two", &[], &[2]).node("SplitToSequence", "x two -> s");
        let at = |i: i64| parts().ints("i", &[], &[i]).node("SequenceAt", "s i -> y").output("y").result_type();
        assert_eq!(at(0), "f32[2, 4]");
        assert_eq!(at(-1), "f32[1, 4]");
        assert!(at(9).contains("position 9 is not in a sequence of 3"));
        let joined = parts().node("ConcatFromSequence", "s -> y").int("axis", 0).output("y");
        assert_eq!(joined.result_type(), "f32[5, 4]");
        assert!(parts().output("s").result_type().contains("`s` is a sequence"));
    }

    #[test]
    fn position_at_run_time() {
        let sketch = sketch().input("x", Float, "4 4").input("i", Int64, "").node("SplitToSequence", "x -> s");
        assert_eq!(sketch.node("SequenceAt", "s i -> y").output("y").result_type(), "f32[1, 4]");
    }
}

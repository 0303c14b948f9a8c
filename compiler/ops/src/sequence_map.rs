//! SequenceMap (<https://onnx.ai/onnx/operators/onnx__SequenceMap.html>, opsets 17 on): a graph for each element of a
//! sequence. For one of a known length the graph is written out as often; else it is a loop that carries the results.

use crate::context::{Context, Translator};
use crate::error::{Result, invalid};
use crate::item::Item;
use crate::packed_sequence::Packed;
use crate::repeat::{Repeat, Rolled, repeat};
use crate::scope::{self, Compound};
use crate::sequence::Sequence;
use nnc_ir::op::Relation;
use nnc_ir::{DType, ValueId};
use nnc_onnx::Graph;

/// A subgraph for each element.
pub fn sequence_map(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let body = ctx.subgraph("body")?;
    let inputs = (0..ctx.input_count()).map(|i| ctx.item_input(i)).collect::<Result<Vec<Item>>>()?;
    let results = match inputs.first() {
        Some(Item::Compound(Compound::Sequence(Sequence::List(_, first)))) => written_out(ctx, body, first, &inputs)?,
        Some(Item::Compound(Compound::Sequence(Sequence::Packed(first)))) => looped(ctx, body, first, &inputs)?,
        _ => return Err(invalid("input 0 must be a sequence")),
    };
    Ok(ctx.yields(results.into_iter().map(|sequence| Item::Compound(Compound::Sequence(sequence)))))
}

fn written_out<'m>(
    ctx: &mut Context<'_, 'm>,
    body: &'m Graph,
    first: &[Item],
    inputs: &[Item],
) -> Result<Vec<Sequence>> {
    let mut results: Vec<Vec<Item>> = vec![vec![]; body.outputs.len()];
    for i in 0..first.len() {
        let mut arguments = vec![];
        for input in inputs {
            arguments.push(match input {
                Item::Compound(Compound::Sequence(Sequence::List(_, items))) => {
                    items.get(i).cloned().ok_or_else(|| invalid("the sequences differ in length"))?
                }
                Item::Compound(Compound::Sequence(Sequence::Packed(packed))) => {
                    let place = ctx.int_scalar(i as i64);
                    ctx.packed_at(packed, place)?
                }
                item => item.clone(),
            });
        }
        let number = ctx.int_scalar(i as i64);
        let yielded = ctx.iterated(number, |ctx| ctx.inline(body, &arguments))?;
        for (list, result) in results.iter_mut().zip(yielded) {
            list.push(result);
        }
    }
    let mut sequences = vec![];
    for (i, list) in results.into_iter().enumerate() {
        let kind = match list.first() {
            Some(item) => item.kind(ctx.graph()),
            None => ctx.stated_kind(body, i),
        };
        sequences.push(Sequence::List(kind.ok_or_else(|| invalid("its body must yield tensors"))?, list));
    }
    Ok(sequences)
}

fn looped<'m>(ctx: &mut Context<'_, 'm>, body: &'m Graph, first: &Packed, inputs: &[Item]) -> Result<Vec<Sequence>> {
    let length = ctx.packed_length(first);
    let mut outer = vec![];
    for input in inputs {
        // What is taken at a position that only the run knows must be packed.
        outer.push(match input {
            Item::Compound(Compound::Sequence(sequence)) => {
                let packed = crate::sequence::packed(ctx, sequence)?;
                let other = ctx.packed_length(&packed);
                ctx.require(other, Relation::Equal, length.clone(), "the length of a sequence".to_owned())?;
                Item::Compound(Compound::Sequence(Sequence::Packed(packed)))
            }
            item => item.clone(),
        });
    }
    let mut carried = vec![];
    for i in 0..body.outputs.len() {
        let kind = ctx.stated_kind(body, i).or_else(|| first.elements.kind(ctx.graph()));
        let kind = kind.ok_or_else(|| invalid("its body must yield tensors"))?;
        carried.push(Item::Compound(Compound::Sequence(Sequence::List(kind, vec![]))));
    }
    let node = ctx.node;
    let step = |translator: &mut Translator<'m>, [iteration, condition]: [ValueId; 2], state: &[Item]| {
        let depth = translator.frames.len() - 1;
        let mut arguments = vec![];
        for outer in &outer {
            let mut item = outer.clone();
            for value in item.values_mut() {
                *value = scope::capture(&mut translator.frames, depth, *value);
            }
            arguments.push(match item {
                Item::Compound(Compound::Sequence(Sequence::Packed(packed))) => {
                    Context::new(translator, node).packed_at(&packed, iteration)?
                }
                item => item,
            });
        }
        let mut ctx = Context::new(translator, node);
        let found = ctx.inline(body, &arguments)?;
        let mut results = vec![(String::new(), Item::Numbers(condition))];
        for ((item, state), output) in found.into_iter().zip(state).zip(&body.outputs) {
            let Item::Compound(Compound::Sequence(sequence)) = state else { continue };
            let more = ctx.with_one_more(sequence, item, None)?;
            results.push((output.name.clone(), Item::Compound(Compound::Sequence(more))));
        }
        Ok(results)
    };
    let trip = ctx.dim_scalar(length.clone())?;
    let condition = ctx.scalar(DType::Bool, 1.0);
    let names: Vec<&str> = body.outputs.iter().map(|output| output.name.as_str()).collect();
    let looped = Repeat { onnx: body, trip, condition, names: &names, step: &step };
    let results = repeat(ctx, &looped, &carried, true).map_err(Rolled::error)?;
    let sequences = results.into_iter().filter_map(|item| match item {
        Item::Compound(Compound::Sequence(sequence)) => Some(sequence),
        _ => None,
    });
    Ok(sequences.collect())
}

//! Scan (<https://onnx.ai/onnx/operators/onnx__Scan.html>): a loop over slices of its inputs that carries state. Before opset 9
//! all values had a batch axis more: then each batch element is a loop of its own.

use crate::context::{Context, Translator};
use crate::error::{Result, invalid, unfit, unsupported};
use crate::item::Item;
use crate::repeat::{Repeat, Rolled, repeat};
use crate::scope;
use nnc_ir::{DType, Dim, Op, ValueId};
use nnc_onnx::Graph;

/// Most batch elements that become loops of their own.
const MOST_BATCHES: i64 = 64;

/// Which axes are scanned, and which of them backwards.
struct Order {
    axes_in: Vec<i64>,
    axes_out: Vec<i64>,
    reverse_in: Vec<i64>,
    reverse_out: Vec<i64>,
}

/// A loop over the slices of some inputs, carrying state.
pub fn scan(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let body = ctx.subgraph("body")?;
    let scans = ctx.optional_int("num_scan_inputs")?.and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
    let batched = ctx.opset() < 9;
    if batched && ctx.has_input(0) {
        return Err(unsupported("lengths of sequences are not supported; export for opset 9 or later"));
    }
    let first = usize::from(batched);
    let inputs: Vec<Item> = (first..ctx.input_count()).map(|i| ctx.item_input(i)).collect::<Result<_>>()?;
    let Some(states) = inputs.len().checked_sub(scans).filter(|_| scans > 0 && body.inputs.len() == inputs.len())
    else {
        return Err(invalid(format!("num_scan_inputs {scans} does not fit {} inputs", inputs.len())));
    };
    let Some(outputs) = body.outputs.len().checked_sub(states) else {
        return Err(invalid("its body has too few outputs"));
    };
    let order = if batched {
        let (none, reverse_in) = (vec![0; scans.max(outputs)], list(ctx, "directions", scans)?);
        Order { axes_in: none.clone(), axes_out: none.clone(), reverse_in, reverse_out: none }
    } else {
        Order {
            axes_in: list(ctx, "scan_input_axes", scans)?,
            axes_out: list(ctx, "scan_output_axes", outputs)?,
            reverse_in: list(ctx, "scan_input_directions", scans)?,
            reverse_out: list(ctx, "scan_output_directions", outputs)?,
        }
    };
    let results = if batched {
        by_batch(ctx, body, &inputs, states, &order)?
    } else {
        scanned(ctx, body, &inputs, states, &order)?
    };
    Ok(ctx.yields(results))
}

/// The results for each batch element, stacked.
fn by_batch<'m>(
    ctx: &mut Context<'_, 'm>,
    body: &'m Graph,
    inputs: &[Item],
    states: usize,
    order: &Order,
) -> Result<Vec<Item>> {
    let shaped = inputs.iter().map(Item::tensor).collect::<Result<Vec<ValueId>>>()?;
    let batch = shaped.first().filter(|x| ctx.rank(**x) > 0).map(|x| ctx.dim(*x, 0));
    let Some(count) = batch.as_ref().and_then(Dim::as_const).filter(|n| (1..=MOST_BATCHES).contains(n)) else {
        return Err(unsupported(format!(
            "the batch must have a fixed size from 1 to {MOST_BATCHES}; fix it with --dim, or export for opset 9 or later"
        )));
    };
    if shaped.iter().any(|&x| ctx.rank(x) == 0 || Some(ctx.dim(x, 0)) != batch) {
        return Err(invalid("its inputs differ in the size of the batch"));
    }
    let mut results: Vec<Vec<Item>> = vec![];
    for element in 0..count {
        let mut parts = vec![];
        for x in inputs {
            let part = ctx.slice_axis(x.tensor()?, 0, Dim::from(element), Dim::ONE)?;
            parts.push(x.with_shaped(ctx.squeeze(part, &[0])?));
        }
        let found = scanned(ctx, body, &parts, states, order)?;
        results.resize(found.len(), vec![]);
        for (list, part) in results.iter_mut().zip(found) {
            list.push(part.with_shaped(ctx.unsqueeze(part.tensor()?, &[0])?));
        }
    }
    let mut stacked = vec![];
    for list in results {
        let Some(first) = list.first() else { return Err(invalid("there are no batches")) };
        let (values, like) = ctx.joined(&list, first)?;
        stacked.push(like.with_shaped(ctx.concat(&values, 0)?));
    }
    Ok(stacked)
}

/// The states at the end, then what was scanned.
fn scanned<'m>(
    ctx: &mut Context<'_, 'm>,
    body: &'m Graph,
    inputs: &[Item],
    states: usize,
    order: &Order,
) -> Result<Vec<Item>> {
    let (carried, scanned) = inputs.split_at(states);
    // The scanned axis comes first, in the order of the iterations.
    let mut ordered = vec![];
    for (i, x) in scanned.iter().enumerate() {
        let value = x.tensor()?;
        let axis = ctx.axis(order.axes_in[i], ctx.rank(value))?;
        let moved = ctx.move_axis(value, axis, 0)?;
        let value = if order.reverse_in[i] != 0 { reversed(ctx, moved, 0)? } else { moved };
        ordered.push(x.with_shaped(value));
    }
    let lengths = ordered.iter().map(|x| Ok(ctx.dim(x.tensor()?, 0))).collect::<Result<Vec<Dim>>>()?;
    let length = lengths[0].clone();
    if let Some(other) = lengths.iter().find(|other| **other != length) {
        return Err(unfit([&length, other], "the scanned inputs differ in length"));
    }
    let trip = ctx.dim_scalar(length)?;
    let condition = ctx.scalar(DType::Bool, 1.0);
    let origin = ctx.origin.clone();
    let names: Vec<&str> = body.inputs.iter().map(|input| input.name.as_str()).collect();
    let step = |translator: &mut Translator<'m>, [iteration, condition]: [ValueId; 2], state: &[Item]| {
        let depth = translator.frames.len() - 1;
        let mut items = state.to_vec();
        for outer in &ordered {
            // What is scanned is captured, and read at the iteration's number.
            let mut item = outer.clone();
            for value in item.values_mut() {
                *value = scope::capture(&mut translator.frames, depth, *value);
            }
            let gather = Op::Gather { axis: 0, batch: 0 };
            let slices = translator.frames[depth].push(gather, &[item.tensor()?, iteration], &origin)?;
            let slice = slices.first().copied().ok_or_else(|| invalid("the operation has no result"))?;
            items.push(item.with_shaped(slice));
        }
        for (input, item) in body.inputs.iter().zip(items) {
            translator.frames[depth].bind(&input.name, item);
        }
        translator.nodes(body)?;
        let mut outputs = vec![(String::new(), Item::Numbers(condition))];
        outputs.extend(translator.outputs(body)?);
        Ok(outputs)
    };
    let looped = Repeat { onnx: body, trip, condition, names: &names[..states], step: &step };
    let mut results = repeat(ctx, &looped, carried, false).map_err(Rolled::error)?;
    for (i, result) in results[states..].iter_mut().enumerate() {
        let mut value = result.tensor()?;
        if order.reverse_out[i] != 0 {
            value = reversed(ctx, value, 0)?;
        }
        let axis = ctx.axis(order.axes_out[i], ctx.rank(value))?;
        *result = result.with_shaped(ctx.move_axis(value, 0, axis)?);
    }
    Ok(results)
}

/// A list attribute with one entry per scanned value, by default zeros.
fn list(ctx: &mut Context, name: &str, count: usize) -> Result<Vec<i64>> {
    match ctx.ints(name)? {
        None => Ok(vec![0; count]),
        Some(values) if values.len() == count => Ok(values.to_vec()),
        Some(values) => Err(invalid(format!("{name} has {} entries, it must have {count}", values.len()))),
    }
}

fn reversed(ctx: &mut Context, x: ValueId, axis: usize) -> Result<ValueId> {
    let sizes = ctx.shape(x);
    let (mut starts, mut steps) = (vec![Dim::ZERO; sizes.len()], vec![1; sizes.len()]);
    (starts[axis], steps[axis]) = (&sizes[axis] - 1, -1);
    ctx.one(Op::Slice { starts, sizes, steps }, &[x])
}

#[cfg(test)]
mod tests {
    use crate::testing::{Sketch, sketch};
    use nnc_onnx::ElemType::{Float, Int4};

    /// A body that adds each element to its state, and yields what it has.
    fn running_sum() -> Sketch {
        let body = sketch().input("s_in", Float, "").input("x_in", Float, "");
        let body = body.node("Add", "s_in x_in -> s_out").node("Identity", "s_out -> sums");
        body.output("s_out").output("sums")
    }

    #[test]
    fn scan() {
        for (direction, expected) in [(0, "f32[3] 1 3 6"), (1, "f32[3] 3 5 6")] {
            let sketch = sketch().floats("s", &[], &[0.0]).given("x", &[3], &[1.0f32, 2.0, 3.0]);
            let sketch = sketch.node("Scan", "s x -> last sums").graph("body", running_sum()).int("num_scan_inputs", 1);
            let sketch = sketch.int_list("scan_input_directions", &[direction]).output("sums");
            assert_eq!(sketch.run(), expected);
        }
    }

    /// Before opset 9: two sequences, the second backwards as well.
    #[test]
    fn batches() {
        for (direction, expected) in [(0, "f32[2, 2] 1 3 13 17"), (1, "f32[2, 2] 2 3 14 17")] {
            let sketch =
                sketch().opset(8).floats("s", &[2], &[0.0, 10.0]).given("x", &[2, 2], &[1.0f32, 2.0, 3.0, 4.0]);
            let sketch =
                sketch.node("Scan", "_ s x -> last sums").graph("body", running_sum()).int("num_scan_inputs", 1);
            assert_eq!(sketch.int_list("directions", &[direction]).output("sums").run(), expected);
        }
        let free = sketch().opset(8).input("s", Float, "n").input("x", Float, "n 2").node("Scan", "_ s x -> last sums");
        let free = free.graph("body", running_sum()).int("num_scan_inputs", 1).output("sums");
        assert!(free.run().contains("the batch must have a fixed size"));
    }

    #[test]
    fn narrow_types() {
        let body = sketch().input("s_in", Int4, "").input("x_in", Int4, "").node("Identity", "s_in -> before");
        let body = body.node("Identity", "x_in -> s_out").output("s_out").output("before");
        let sketch = sketch().initializer("s", Int4, &[], vec![5]).given_narrow("x", Int4, "3", &[0xf2, 0x03]);
        let sketch = sketch.node("Scan", "s x -> last before").graph("body", body).int("num_scan_inputs", 1);
        assert_eq!(sketch.clone().output("before").run(), "i4[3] 5 2 -1");
        assert_eq!(sketch.output("last").run(), "i4[] 3");
    }
}

//! Control flow: If (<https://onnx.ai/onnx/operators/onnx__If.html>) and Loop
//! (<https://onnx.ai/onnx/operators/onnx__Loop.html>); all opsets.
//!
//! Subgraphs become graphs whose inputs end with the values they take from around them. An If whose condition is known
//! is its taken branch. A Loop whose carried values change shape is unrolled when its iterations are known.

use crate::context::{Context, Translator};
use crate::error::{Result, invalid, unsupported};
use crate::item::{Form, Item};
use crate::repeat::{Repeat, Rolled, known_outside, repeat};
use crate::scope::Frame;
use nnc_ir::{DType, Dim, Op, Symbol, ValueId};
use nnc_onnx::{Graph, TypeInfo};

/// A loop is not unrolled further than this.
const MOST_UNROLLED: usize = 256;

/// One of two subgraphs.
pub fn if_(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let condition = ctx.input(0)?;
    let (then, otherwise) = (ctx.subgraph("then_branch")?, ctx.subgraph("else_branch")?);
    if let Some(holds) = ctx.constant_scalar(condition) {
        let results = ctx.inline(if holds != 0.0 { then } else { otherwise }, &[])?;
        return Ok(ctx.yields(results));
    }
    let condition = ctx.reshape(condition, &[])?;
    let before = ctx.dims().len();
    let branches = [ctx.branch(then, None)?, ctx.branch(otherwise, None)?];
    let (forms, equal) = common_forms(ctx, &branches, before)?;
    let [then, otherwise] = match equal {
        true => branches,
        false => [ctx.branch(then, Some(&forms))?, ctx.branch(otherwise, Some(&forms))?],
    };
    let results = then.results.clone();
    let mut captured: Vec<ValueId> = vec![];
    for (outer, _) in then.captures.iter().chain(&otherwise.captures) {
        if !captured.contains(outer) {
            captured.push(*outer);
        }
    }
    let [then, otherwise] = [then, otherwise].map(|mut branch| {
        for &outer in &captured {
            let inner = branch.captures.iter().find(|c| c.0 == outer).map(|c| c.1);
            let inner = inner.unwrap_or_else(|| branch.graph.add_value(ctx.ty(outer).clone(), ""));
            branch.graph.inputs.push(inner);
        }
        branch.graph
    });
    let (varying, sizes) = varying(ctx, &then, &otherwise, before)?;
    let op = Op::If { varying, sizes, then: Box::new(then), otherwise: Box::new(otherwise) };
    let inputs: Vec<ValueId> = std::iter::once(condition).chain(captured).collect();
    let mut values = ctx.push(op, &inputs)?.into_iter();
    let mut items = vec![];
    for ((_, item), form) in results.iter().zip(&forms) {
        let item = item.of_values(ctx.graph(), &mut values);
        // What is known of the elements of sequences is what is known outside.
        items.push(ctx.conform(&item, form)?);
    }
    Ok(ctx.yields(items))
}

/// The forms in which both branches can yield their results, and whether both do.
fn common_forms(ctx: &Context, [then, otherwise]: &[Frame<'_>; 2], before: usize) -> Result<(Vec<Form>, bool)> {
    let (mut forms, mut equal) = (vec![], true);
    for ((name, a), (_, b)) in then.results.iter().zip(&otherwise.results) {
        let known = |size: &Dim| known_outside(ctx, size, before, true);
        let [inner_a, inner_b] = [a.form(&then.graph), b.form(&otherwise.graph)];
        let [a, b] = [inner_a.outside(&known), inner_b.outside(&known)];
        let Some(both) = a.unify(&b) else {
            let (a, b) = (ctx.show_form(&inner_a), ctx.show_form(&inner_b));
            return Err(unsupported(format!(
                "output `{name}` is {a} in one branch and {b} in the other; make the condition a constant, or the types \
                 and numbers of axes equal"
            )));
        };
        equal &= both == a && both == b;
        forms.push(both);
    }
    Ok((forms, equal))
}

/// Sizes, by result and axis, and a symbol for each.
type Sizes = (Vec<(usize, usize)>, Vec<Symbol>);

/// The sizes in which two branches differ. Symbols from number `before` on
/// are known inside the branches alone.
fn varying(ctx: &mut Context, then: &nnc_ir::Graph, otherwise: &nnc_ir::Graph, before: usize) -> Result<Sizes> {
    let (mut varying, mut sizes) = (vec![], vec![]);
    for (result, ((_, a), (_, b))) in then.outputs.iter().zip(&otherwise.outputs).enumerate() {
        let (a, b) = (then.ty(*a), otherwise.ty(*b));
        for (axis, (a, b)) in a.shape.iter().zip(&b.shape).enumerate() {
            if a != b {
                let ((a_low, a_high), (b_low, b_high)) = (a.bounds(ctx.dims()), b.bounds(ctx.dims()));
                let upper = most(ctx, a, before).zip(most(ctx, b, before)).map(|(a, b)| a.max(&b));
                let (low, high) = (a_low.min(b_low).max(0), a_high.max(b_high));
                let symbol = ctx.fresh_dim("size", (low, high), upper);
                varying.push((result, axis));
                sizes.push(symbol);
            }
        }
    }
    Ok((varying, sizes))
}

/// The most a size can be, by what is known outside a branch.
fn most(ctx: &Context, size: &Dim, before: usize) -> Option<Dim> {
    let inside = |size: &Dim| size.symbols().iter().any(|s| s.0 as usize >= before);
    let mut size = size.clone();
    // A symbol's bound may mention another symbol of the branch.
    for _ in 0..8 {
        if !inside(&size) {
            return Some(size);
        }
        size = match size.as_symbol().and_then(|symbol| ctx.dims().lookup(symbol)?.upper.clone()) {
            Some(upper) => upper,
            None => return Some(size.bounds(ctx.dims()).1).filter(|&n| n < i64::MAX).map(Dim::from),
        };
    }
    None
}

/// A subgraph repeated a number of times, or while a condition holds.
pub fn loop_<'m>(ctx: &mut Context<'_, 'm>) -> Result<Vec<ValueId>> {
    let body = ctx.subgraph("body")?;
    let trip = match ctx.optional_input(0)? {
        Some(trip) => ctx.reshape(trip, &[])?,
        None => ctx.int_scalar(i64::MAX),
    };
    let condition = match ctx.optional_input(1)? {
        Some(condition) => ctx.reshape(condition, &[])?,
        None => ctx.scalar(DType::Bool, 1.0),
    };
    let carried: Vec<Item> = (2..ctx.input_count()).map(|i| ctx.item_input(i)).collect::<Result<_>>()?;
    if body.inputs.len() != carried.len() + 2 || body.outputs.len() < carried.len() + 1 {
        return Err(invalid(format!("its body does not fit {} carried values", carried.len())));
    }
    let names: Vec<&str> = body.inputs[2..].iter().map(|input| input.name.as_str()).collect();
    let node = ctx.node;
    let step = |translator: &mut Translator<'m>, [iteration, condition]: [ValueId; 2], state: &[Item]| {
        let mut ctx = Context::new(translator, node);
        let mut arguments = first_arguments(&mut ctx, body, [iteration, condition])?;
        arguments.extend_from_slice(state);
        for (input, item) in body.inputs.iter().zip(arguments) {
            ctx.frame_mut().bind(&input.name, item);
        }
        translator.nodes(body)?;
        let mut results = translator.outputs(body)?;
        if let Some((_, again)) = results.first_mut() {
            let scalar = Context::new(translator, node).reshape(again.number()?, &[])?;
            *again = Item::Numbers(scalar);
        }
        Ok(results)
    };
    let looped = Repeat { onnx: body, trip, condition, names: &names, step: &step };
    let results = match repeat(ctx, &looped, &carried, false) {
        Ok(results) => results,
        Err(Rolled::Varies(_)) => match unrolled(ctx, body, trip, condition, &carried)? {
            Some(results) => results,
            None => repeat(ctx, &looped, &carried, true).map_err(Rolled::error)?,
        },
        Err(Rolled::Failed(error)) => return Err(error),
    };
    Ok(ctx.yields(results))
}

/// The iteration's number and the condition as a body takes them: scalars, or vectors of one element where it says so.
fn first_arguments(ctx: &mut Context, body: &Graph, values: [ValueId; 2]) -> Result<Vec<Item>> {
    let mut arguments = vec![];
    for (input, value) in body.inputs.iter().zip(values) {
        let vector = matches!(&input.ty, Some(TypeInfo::Tensor { shape: Some(shape), .. }) if shape.len() == 1);
        let shape = if vector { vec![Dim::ONE] } else { vec![] };
        arguments.push(Item::Numbers(ctx.reshape(value, &shape)?));
    }
    Ok(arguments)
}

/// The iterations one after the other; `None` when their number is not known.
fn unrolled<'m>(
    ctx: &mut Context<'_, 'm>,
    body: &'m Graph,
    trip: ValueId,
    condition: ValueId,
    carried: &[Item],
) -> Result<Option<Vec<Item>>> {
    let Some(trips) = ctx.constant_ints(trip).and_then(|t| t.first().copied()) else { return Ok(None) };
    let mut state = carried.to_vec();
    let mut scanned: Vec<Vec<Item>> = vec![vec![]; body.outputs.len() - carried.len() - 1];
    let mut again = condition;
    for iteration in 0..trips.max(0) {
        match ctx.constant_scalar(again) {
            None => return Ok(None),
            Some(0.0) => break,
            Some(_) if iteration as usize >= MOST_UNROLLED => return Ok(None),
            Some(_) => {}
        }
        let number = ctx.int_scalar(iteration);
        let mut arguments = first_arguments(ctx, body, [number, again])?;
        arguments.extend(state);
        let mut results = ctx.iterated(number, |ctx| ctx.inline(body, &arguments))?.into_iter();
        again = results.next().ok_or_else(|| invalid("its body yields nothing"))?.number()?;
        state = results.by_ref().take(carried.len()).collect();
        for (list, result) in scanned.iter_mut().zip(results) {
            list.push(result.with_shaped(ctx.unsqueeze(result.tensor()?, &[0])?));
        }
    }
    for list in scanned {
        let Some(first) = list.first() else { return Ok(None) };
        let (values, like) = ctx.joined(&list, first)?;
        state.push(like.with_shaped(ctx.concat(&values, 0)?));
    }
    Ok(Some(state))
}

#[cfg(test)]
mod tests {
    use crate::testing::{Sketch, sketch};
    use nnc_ir::DType;
    use nnc_onnx::ElemType::{self, Bool, Float, Int4, Int64, Uint4};

    fn conditional(inputs: Sketch) -> Sketch {
        let then = sketch().floats("one", &[1], &[1.0]).node("Add", "x one -> t").output("t");
        let otherwise = sketch().node("Neg", "x -> e").output("e");
        inputs.node("If", "c -> y").graph("then_branch", then).graph("else_branch", otherwise).output("y")
    }

    #[test]
    fn if_at_run_time() {
        for (condition, expected) in [(1u8, "f32[2] 2 3"), (0, "f32[2] -1 -2")] {
            let inputs = sketch().given("x", &[2], &[1.0f32, 2.0]).given_bools("c", &[], &[condition]);
            assert_eq!(conditional(inputs).run(), expected);
        }
    }

    #[test]
    fn if_known() {
        // Only the branch taken is translated, so their shapes may differ.
        let inputs = sketch().given("x", &[2], &[1.0f32, 2.0]).initializer("c", Bool, &[1], vec![0]);
        let graph = conditional(inputs).translate();
        assert!(graph.is_ok_and(|g| g.nodes.len() == 1));
    }

    #[test]
    fn if_of_different_sizes() {
        let choice = |sketch: Sketch, operator: &str, condition| {
            let then = self::sketch().node("Identity", "x -> t").output("t");
            let otherwise = self::sketch().node(operator, "x -> e").int("keepdims", 1).output("e");
            let sketch = sketch.given_bools("c", &[], &[condition]).node("If", "c -> y");
            sketch.graph("then_branch", then).graph("else_branch", otherwise).output("y").run()
        };
        let line = || sketch().given("x", &[2], &[1.0f32, 2.0]);
        assert_eq!(choice(line(), "ReduceMax", 1), "f32[2] 1 2");
        assert_eq!(choice(line(), "ReduceMax", 0), "f32[1] 2");
        let square = sketch().given("x", &[2, 2], &[1.0f32, 2.0, 3.0, 4.0]);
        assert_eq!(choice(square, "ReduceMax", 0), "f32[1, 1] 4");
        let square = sketch().given("x", &[2, 2], &[1.0f32, 2.0, 3.0, 4.0]);
        let then = self::sketch().node("Identity", "x -> t").output("t");
        let otherwise = self::sketch().node("ReduceMax", "x -> e").int("keepdims", 0).output("e");
        let square = square.given_bools("c", &[], &[1]).node("If", "c -> y");
        let found = square.graph("then_branch", then).graph("else_branch", otherwise).output("y").run();
        assert!(found.contains("is f32[2, 2] in one branch and f32[] in the other"), "{found}");
    }

    /// A branch that assumes a size fails the run with another size when it is taken, and only then.
    #[test]
    fn what_a_branch_assumes_is_checked_in_it() {
        let then = sketch().node("Relu", "x -> t").output("t");
        let otherwise = sketch().floats("k", &[5], &[1.0; 5]).node("Add", "x k -> e").output("e");
        let sketch = sketch().input("x", Float, "a").input("c", Bool, "").node("If", "c -> y");
        let sketch = sketch.graph("then_branch", then).graph("else_branch", otherwise).output("y");
        let graph = sketch.translate().unwrap();
        nnc_ir::verify::verify(&graph).unwrap();
        for (size, condition, expected) in [(3, 1, Some(3.0)), (5, 1, Some(5.0)), (5, 0, Some(10.0)), (3, 0, None)] {
            let x = nnc_ir::Tensor::from_slice(&[size], &vec![1.0f32; size]);
            let c = nnc_ir::Tensor { dtype: DType::Bool, ..nnc_ir::Tensor::scalar(condition as u8) };
            let sum = nnc_eval::run(&graph, &[x, c]).ok().map(|y| y[0].to_f64s().iter().sum::<f64>());
            assert_eq!(sum, expected, "{size} {condition}");
        }
    }

    /// What fails in the branch that is not taken does not fail the run, whether the branches agree in size or not.
    #[test]
    fn only_the_branch_taken_runs() {
        for (condition, expected) in [(0u8, "f32[2] 1 2"), (1, "out of range")] {
            let then = sketch().node("Gather", "x i -> t").output("t");
            let otherwise =
                sketch().ints("s", &[1], &[0]).ints("e", &[1], &[2]).node("Slice", "x s e -> f").output("f");
            let sketch = sketch().given("x", &[3], &[1.0f32, 2.0, 3.0]).given("i", &[3], &[7i64, 8, 9]);
            let sketch = sketch.given_bools("c", &[], &[condition]).node("If", "c -> y");
            let found = sketch.graph("then_branch", then).graph("else_branch", otherwise).output("y").run();
            assert!(found.contains(expected), "{found}");
        }
    }

    /// Doubles `s` in each iteration and scans it out.
    fn doubling() -> Sketch {
        let body = sketch().input("i", Int64, "").input("again", Bool, "").input("s_in", Float, "1");
        let body = body.node("Add", "s_in s_in -> s_out").node("Identity", "again -> again_out");
        body.node("Mul", "s_out factor -> scanned").output("again_out").output("s_out").output("scanned")
    }

    #[test]
    fn loops() {
        let known = sketch().given("s", &[1], &[1.0f32]).floats("factor", &[1], &[10.0]).ints("n", &[], &[3]);
        let known = known.node("Loop", "n _ s -> last all").graph("body", doubling()).output("all");
        assert_eq!(known.result_type(), "f32[3, 1]");
        assert_eq!(known.run(), "f32[3, 1] 20 40 80");
        let run = sketch().given("s", &[1], &[1.0f32]).given("factor", &[1], &[10.0f32]).given("n", &[], &[2i64]);
        let run = run.node("Loop", "n _ s -> last all").graph("body", doubling());
        assert_eq!(run.output("all").run(), "f32[2, 1] 20 40");
    }

    /// A body that takes its iteration's number and the condition as vectors of one element, as some exporters write them.
    #[test]
    fn numbers_as_vectors() {
        for n in [3i64, 2] {
            let body = sketch().input("i", Int64, "1").input("again", Bool, "1").input("s_in", Int64, "2");
            let body = body.node("Add", "s_in i -> s_out").node("Identity", "again -> again_out");
            let body = body.node("Slice", "s_in i i -> none").output("again_out").output("s_out");
            let looped = sketch().given("s", &[2], &[10i64, 20]);
            let looped = if n == 3 { looped.ints("n", &[], &[n]) } else { looped.given("n", &[], &[n]) };
            let last = looped.node("Loop", "n _ s -> y").graph("body", body).output("y").run();
            assert_eq!(last, if n == 3 { "i64[2] 13 23" } else { "i64[2] 11 21" });
        }
    }

    /// A constant trip count bounds a loop that a condition may end.
    #[test]
    fn bounded_by_the_trip_count() {
        let body = sketch().input("i", Int64, "").input("again", Bool, "").input("s_in", Float, "");
        let body = body.node("Add", "s_in s_in -> s_out").node("Less", "s_out limit -> again_out");
        let body = body.output("again_out").output("s_out").output("s_out");
        let looped = sketch().given("s", &[], &[1.0f32]).given("limit", &[], &[5.0f32]).ints("n", &[], &[10]);
        let looped = looped.node("Loop", "n _ s -> last all").graph("body", body).output("all");
        let graph = looped.translate().unwrap();
        assert!(graph.dims.iter().any(|(_, info)| info.name.starts_with("trips") && (info.min, info.max) == (0, 10)));
        assert_eq!(looped.run(), "f32[3] 2 4 8");
    }

    #[test]
    fn growing_state_is_unrolled() {
        let body = || {
            let body = sketch().input("i", Int64, "").input("again", Bool, "").input("s_in", Float, "");
            let body = body.node("Concat", "s_in x -> s_out").int("axis", 0);
            body.node("Identity", "again -> again_out").output("again_out").output("s_out")
        };
        let grown = sketch().given("x", &[1], &[1.0f32]).floats("s", &[0], &[]).ints("n", &[], &[3]);
        let grown = grown.node("Loop", "n _ s -> y").graph("body", body()).output("y");
        assert_eq!(grown.run(), "f32[3] 1 1 1");
        let open = sketch().given("x", &[1], &[1.0f32]).floats("s", &[0], &[]).given("n", &[], &[3i64]);
        let open = open.node("Loop", "n _ s -> y").graph("body", body()).output("y");
        assert_eq!(open.run(), "f32[3] 1 1 1");
    }

    /// What grows is bounded by how often, where that is known before the run.
    #[test]
    fn growing_state_is_bounded() {
        let body = sketch().input("i", Int64, "").input("again", Bool, "").input("s_in", Float, "");
        let body = body.node("Concat", "s_in x -> s_out").int("axis", 0);
        let body = body.node("Identity", "again -> again_out").output("again_out").output("s_out");
        let grown = sketch().input("x", Float, "k").input("like", Float, "n").floats("s", &[2], &[1.0, 2.0]);
        let grown = grown.node("Shape", "like -> shape").node("Loop", "shape _ s -> y").graph("body", body).output("y");
        let graph = grown.translate().unwrap();
        let size = graph.shape(graph.outputs[0].1)[0].greatest(&graph.dims);
        assert_eq!(size.map(|size| graph.dims.display(&size).to_string()), Some("k*n + 2".to_owned()));
    }

    #[test]
    fn narrow_types() {
        let branch = |name: &str| sketch().node("Identity", &format!("{name} -> r")).output("r");
        let both = |other: &str, elem| {
            let sketch =
                sketch().given_narrow("x", Int4, "3", &[0xf2, 0x03]).given_narrow("z", elem, "3", &[0x11, 0x01]);
            let sketch = sketch.given_bools("c", &[], &[0]).node("If", "c -> y");
            sketch.graph("then_branch", branch("x")).graph("else_branch", branch(other)).output("y").run()
        };
        assert_eq!(both("z", Int4), "i4[3] 1 1 1");
        assert!(both("z", Uint4).contains("is i4[3] in one branch and u4[3] in the other"));
        let body = || {
            let body = sketch().input("i", Int64, "").input("again", Bool, "").input("s_in", Int4, "2");
            let body = body.node("Concat", "s_in s_in -> d").int("axis", 0).ints("p", &[2], &[1, 2]);
            let body = body.node("Gather", "d p -> s_out").int("axis", 0).node("Identity", "again -> again_out");
            body.output("again_out").output("s_out").output("s_in")
        };
        for (result, expected) in [("last", "i4[2] 2 -1"), ("all", "i4[3, 2] -1 2 2 -1 -1 2")] {
            let sketch = sketch().given_narrow("s", Int4, "2", &[0x2f]).ints("n", &[], &[3]);
            let sketch = sketch.node("Loop", "n _ s -> last all").graph("body", body());
            assert_eq!(sketch.output(result).run(), expected);
        }
    }

    #[test]
    fn strings() {
        let branch =
            |node: &str, inputs: &str| sketch().node(node, &format!("{inputs} -> r")).int("axis", 0).output("r");
        for (condition, expected) in [(1, "string[4] a bc a bc"), (0, "string[2] a bc")] {
            let sketch = sketch().given_strings("x", "2", &["a", "bc"]).given_bools("c", &[], &[condition]);
            let sketch = sketch.node("If", "c -> y").graph("then_branch", branch("Concat", "x x"));
            let sketch = sketch.graph("else_branch", self::sketch().node("Identity", "x -> r").output("r"));
            assert_eq!(sketch.output("y").run(), expected);
        }
        let body = sketch().input("i", Int64, "").input("again", Bool, "").input("v", ElemType::String, "3");
        let body = body.ints("p", &[3], &[1, 2, 0]).node("Gather", "v p -> w").node("Identity", "again -> again_out");
        let body = body.output("again_out").output("w");
        let turned = sketch().given_strings("x", "3", &["a", "bc", ""]).given("n", &[], &[2i64]);
        assert_eq!(turned.node("Loop", "n _ x -> y").graph("body", body).output("y").run(), "string[3]  a bc");
    }

    /// A constant of a branch in place hides that of the same name around it, and is hidden again after it.
    #[test]
    fn narrow_constants_of_branches() {
        let branch = |value| sketch().initializer("w", Uint4, &[1], vec![value]).node("Identity", "w -> r").output("r");
        let sketch = sketch().initializer("c", Bool, &[], vec![1]).initializer("w", Uint4, &[1], vec![7]);
        let sketch = sketch.node("Identity", "w -> o");
        let chosen = |sketch: Sketch, value, name: &str| {
            let node = sketch.node("If", &format!("c -> {name}"));
            node.graph("then_branch", branch(value)).graph("else_branch", branch(0))
        };
        let both = chosen(chosen(sketch, 3, "a"), 5, "b").node("Concat", "a b w -> y");
        assert_eq!(both.int("axis", 0).output("y").run(), "u4[3] 3 5 7");
    }
}

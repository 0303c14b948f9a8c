//! Control flow: If (<https://onnx.ai/onnx/operators/onnx__If.html>) and Loop
//! (<https://onnx.ai/onnx/operators/onnx__Loop.html>); all opsets.
//!
//! Subgraphs become graphs whose inputs end with the values they take from around them. An If whose condition is known
//! is its taken branch. A Loop whose carried values change shape is unrolled when its iterations are known.

use crate::context::Context;
use crate::error::{Error, Result, invalid, unsupported};
use crate::scope::{Frame, Passed};
use nnc_ir::{DType, Dim, Encoding, Op, Symbol, TensorType, ValueId};
use nnc_onnx::Graph;

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
    let then = ctx.branch(then)?;
    let otherwise = ctx.branch(otherwise)?;
    let encodings = then.result_encodings.clone();
    let differ = encodings.iter().zip(&otherwise.result_encodings).position(|(a, b)| a != b);
    if let Some((name, _)) = differ.and_then(|i| then.graph.outputs.get(i)) {
        return Err(invalid(format!("output `{name}` is of one type in one branch and of another in the other")));
    }
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
    let results = ctx.push(op, &inputs)?;
    Ok(ctx.yields(passed(results, &encodings)))
}

/// Results with the narrow types among theirs.
fn passed(results: Vec<ValueId>, encodings: &[Option<Encoding>]) -> Vec<Passed> {
    let encodings = encodings.iter().copied().chain(std::iter::repeat(None));
    results.into_iter().zip(encodings).map(|(value, encoding)| Passed { value, encoding }).collect()
}

/// Sizes, by result and axis, and a symbol for each.
type Sizes = (Vec<(usize, usize)>, Vec<Symbol>);

/// The sizes in which two branches differ. Symbols from number `before` on
/// are known inside the branches alone.
fn varying(ctx: &mut Context, then: &nnc_ir::Graph, otherwise: &nnc_ir::Graph, before: usize) -> Result<Sizes> {
    let (mut varying, mut sizes) = (vec![], vec![]);
    for (result, ((name, a), (_, b))) in then.outputs.iter().zip(&otherwise.outputs).enumerate() {
        let (a, b) = (then.ty(*a), otherwise.ty(*b));
        if a.dtype != b.dtype || a.rank() != b.rank() {
            let show = |ty: &TensorType| format!("{}{}", ty.dtype, ctx.show_shape(&ty.shape));
            return Err(unsupported(format!(
                "output `{name}` is {} in one branch and {} in the other; make the condition a constant, or the types \
                 and numbers of axes equal",
                show(a),
                show(b)
            )));
        }
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
pub fn loop_(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let body = ctx.subgraph("body")?;
    let trip = match ctx.optional_input(0)? {
        Some(trip) => ctx.reshape(trip, &[])?,
        None => ctx.int_scalar(i64::MAX),
    };
    let condition = match ctx.optional_input(1)? {
        Some(condition) => ctx.reshape(condition, &[])?,
        None => ctx.scalar(DType::Bool, 1.0),
    };
    let carried: Vec<Passed> = (2..ctx.input_count()).map(|i| ctx.passed_input(i)).collect::<Result<_>>()?;
    if body.inputs.len() != carried.len() + 2 || body.outputs.len() < carried.len() + 1 {
        return Err(invalid(format!("its body does not fit {} carried values", carried.len())));
    }
    let results = match rolled(ctx, body, trip, condition, &carried) {
        Ok(results) => results,
        // The error of the loop as it stands says more than that of unrolling it.
        Err(Rolled::Varies(error)) => unrolled(ctx, body, trip, condition, &carried)?.ok_or(error)?,
        Err(Rolled::Failed(error)) => return Err(error),
    };
    Ok(ctx.yields(results))
}

/// Why a loop did not become a core loop.
enum Rolled {
    /// A carried value changes its type: unrolling may help.
    Varies(Error),
    Failed(Error),
}

impl From<Error> for Rolled {
    fn from(error: Error) -> Rolled {
        Rolled::Failed(error)
    }
}

fn rolled<'m>(
    ctx: &mut Context<'_, 'm>,
    body: &'m Graph,
    trip: ValueId,
    condition: ValueId,
    carried: &[Passed],
) -> std::result::Result<Vec<Passed>, Rolled> {
    let types: Vec<(TensorType, Option<Encoding>)> =
        carried.iter().map(|state| (ctx.ty(state.value).clone(), state.encoding)).collect();
    let before = ctx.dims().len();
    let scalars = [TensorType::new(DType::I64, vec![]), TensorType::new(DType::Bool, vec![])];
    let parameters: Vec<_> = scalars.into_iter().map(|ty| (ty, None)).chain(types.iter().cloned()).collect();
    let mut frame = ctx.nested(body, &parameters)?;
    check_encodings(&frame, carried)?;
    for (i, (ty, _)) in types.iter().enumerate() {
        let found = frame.graph.ty(frame.graph.outputs[i + 1].1);
        if found != ty {
            let show = |ty: &TensorType| format!("{}{}", ty.dtype, ctx.show_shape(&ty.shape));
            return Err(Rolled::Varies(unsupported(format!(
                "carried value `{}` enters an iteration as {} and leaves it as {}; such loops are supported only \
                 with a constant number of iterations",
                body.inputs[i + 2].name,
                show(ty),
                show(found)
            ))));
        }
    }
    let again = frame.graph.outputs[0].1;
    let unconditional = ctx.constant_scalar(condition).is_some_and(|c| c != 0.0)
        && (again == frame.graph.inputs[1] || frame.known(again).is_some_and(|t| t.splat().is_some_and(|c| c != 0.0)));
    let count = ctx.symbolic(trip).and_then(|mut t| t.pop());
    let count = count.filter(|c| !c.is_const(i64::MAX)).map(|c| Dim::max(&c, &Dim::ZERO).simplify(ctx.dims()));
    let trips = match count {
        Some(count) if unconditional => Trips::Exactly(count),
        Some(count) => Trips::AtMost(count),
        None => Trips::Unknown,
    };
    core_loop(ctx, frame, &[trip, condition], carried, trips, before).map_err(Rolled::Failed)
}

/// An error unless carried values leave an iteration as tensors of the types that they enter it as, narrow types included.
pub(crate) fn check_encodings(frame: &Frame<'_>, carried: &[Passed]) -> Result<()> {
    let left = frame.result_encodings.iter().skip(1);
    match carried.iter().zip(left).position(|(state, left)| state.encoding != *left) {
        None => Ok(()),
        Some(i) => Err(invalid(format!("carried value {i} enters an iteration as one type and leaves it as another"))),
    }
}

/// What is known of the number of iterations.
pub(crate) enum Trips {
    /// So many.
    Exactly(Dim),
    /// A condition may end the loop earlier.
    AtMost(Dim),
    /// Nothing.
    Unknown,
}

/// The core loop of a translated body. Results scanned over a number of iterations known exactly have that size.
pub(crate) fn core_loop(
    ctx: &mut Context,
    mut frame: Frame<'_>,
    operands: &[ValueId],
    carried: &[Passed],
    trips: Trips,
    symbols_before: usize,
) -> Result<Vec<Passed>> {
    for (name, value) in frame.graph.outputs.iter().skip(carried.len() + 1) {
        let inner = frame.graph.shape(*value).iter().flat_map(Dim::symbols).any(|s| s.0 as usize >= symbols_before);
        if inner {
            return Err(unsupported(format!("the size of `{name}` varies from iteration to iteration")));
        }
    }
    frame.graph.inputs.extend(frame.captures.iter().map(|c| c.1));
    let (exact, upper) = match trips {
        Trips::Exactly(count) => (Some(count.clone()), Some(count)),
        Trips::AtMost(count) => (None, Some(count)),
        Trips::Unknown => (None, None),
    };
    let most = upper.as_ref().map_or(i64::MAX, |count| count.bounds(ctx.dims()).1);
    let least = exact.as_ref().and_then(Dim::as_const).unwrap_or(0);
    let trips = ctx.fresh_dim("trips", (least, most), upper);
    let mut inputs = operands.to_vec();
    inputs.extend(carried.iter().map(|state| state.value));
    inputs.extend(frame.captures.iter().map(|c| c.0));
    let op = Op::Loop { body: Box::new(frame.graph), carried: carried.len(), trips };
    let mut results = ctx.push(op, &inputs)?;
    if let Some(exact) = exact {
        for scanned in &mut results[carried.len()..] {
            // The slice takes everything; it says what the size is.
            let mut sizes = ctx.shape(*scanned);
            sizes[0] = exact.clone();
            let (starts, steps) = (vec![Dim::ZERO; sizes.len()], vec![1; sizes.len()]);
            *scanned = ctx.one(Op::Slice { starts, sizes, steps }, &[*scanned])?;
        }
    }
    // The condition, which comes first in the body, is no result.
    Ok(passed(results, frame.result_encodings.get(1..).unwrap_or_default()))
}

/// The iterations one after the other; `None` when their number is not known.
fn unrolled<'m>(
    ctx: &mut Context<'_, 'm>,
    body: &'m Graph,
    trip: ValueId,
    condition: ValueId,
    carried: &[Passed],
) -> Result<Option<Vec<Passed>>> {
    let Some(trips) = ctx.constant_ints(trip).and_then(|t| t.first().copied()) else { return Ok(None) };
    let mut state = carried.to_vec();
    let mut scanned: Vec<Vec<Passed>> = vec![vec![]; body.outputs.len() - carried.len() - 1];
    let mut again = condition;
    for iteration in 0..trips.max(0) {
        match ctx.constant_scalar(again) {
            None => return Ok(None),
            Some(0.0) => break,
            Some(_) if iteration as usize >= MOST_UNROLLED => return Ok(None),
            Some(_) => {}
        }
        let mut arguments = vec![Passed::plain(ctx.int_scalar(iteration)), Passed::plain(again)];
        arguments.extend(&state);
        let results = ctx.iterated(arguments[0].value, |ctx| ctx.inline(body, &arguments))?;
        again = results[0].number()?;
        state.copy_from_slice(&results[1..=carried.len()]);
        for (list, &result) in scanned.iter_mut().zip(&results[carried.len() + 1..]) {
            list.push(Passed { value: ctx.unsqueeze(result.value, &[0])?, ..result });
        }
    }
    for list in scanned {
        let Some(&first) = list.first() else { return Ok(None) };
        let values: Vec<ValueId> = list.into_iter().map(|part| part.value).collect();
        state.push(Passed { value: ctx.concat(&values, 0)?, ..first });
    }
    Ok(Some(state))
}

#[cfg(test)]
mod tests {
    use crate::testing::{Sketch, sketch};
    use nnc_ir::DType;
    use nnc_onnx::ElemType::{Bool, Float, Int4, Int64, Uint4};

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
        assert!(open.run().contains("enters an iteration as f32[0] and leaves it as f32[1]"), "{}", open.run());
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
        assert!(both("z", Uint4).contains("of one type in one branch and of another in the other"));
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

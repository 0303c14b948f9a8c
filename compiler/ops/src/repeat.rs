//! Loops of the core: what Loop, Scan and SequenceMap become where their iterations are not written out.
//!
//! A body is translated for carried values of the forms and sizes that they enter the loop with. Where one leaves an
//! iteration otherwise, it is translated again, with what fits both: sequences packed, sizes that change as symbols. The
//! memory for such a size is planned by how much an iteration adds to it and how many there are at most.

use crate::context::{Context, Translator};
use crate::error::{Error, Result, invalid, unsupported};
use crate::item::{Form, Item};
use crate::packed_sequence::Axis;
use crate::scope::{Compound, Frame};
use crate::sequence::Sequence;
use nnc_ir::dim::{Atom, DimOp};
use nnc_ir::{DType, Dim, DimTable, Op, Symbol, TensorType, ValueId};
use nnc_onnx::Graph;

/// How often a body is translated before it is given up: forms get more general each time.
const MOST_ATTEMPTS: usize = 8;
/// After so many, nothing is said of how long elements of sequences are at most.
const PRECISE_ATTEMPTS: usize = 4;

/// What an iteration yields: whether to go on, what is carried, what is scanned; with names.
pub(crate) type Results = Vec<(String, Item)>;

/// Translates an iteration, in the innermost frame, from its number, the condition and what is carried.
pub(crate) type Step<'a, 'm> = dyn Fn(&mut Translator<'m>, [ValueId; 2], &[Item]) -> Result<Results> + 'a;

/// A loop to be translated.
pub(crate) struct Repeat<'a, 'm> {
    /// The graph that its values belong to.
    pub onnx: &'m Graph,
    /// The most iterations, an `i64` scalar.
    pub trip: ValueId,
    /// Whether there is a first one, a `bool` scalar.
    pub condition: ValueId,
    /// Names of the carried values.
    pub names: &'a [&'m str],
    /// Translates an iteration, in a frame of its own, from its number, the condition and what is carried.
    pub step: &'a Step<'a, 'm>,
}

/// Why a loop did not become a core loop.
pub(crate) enum Rolled {
    /// A carried value changes its form or size: unrolling may help.
    Varies(Error),
    Failed(Error),
}

impl From<Error> for Rolled {
    fn from(error: Error) -> Rolled {
        Rolled::Failed(error)
    }
}

impl Rolled {
    /// What is wrong.
    pub(crate) fn error(self) -> Error {
        match self {
            Rolled::Varies(error) | Rolled::Failed(error) => error,
        }
    }
}

/// A size that may change: which of the carried values' values, and which of its axes.
type Place = (usize, usize);

/// The carried values at the end, then what was scanned. Unless `changing`, carried values must leave an iteration as they
/// enter it.
pub(crate) fn repeat<'m>(
    ctx: &mut Context<'_, 'm>,
    repeat: &Repeat<'_, 'm>,
    carried: &[Item],
    changing: bool,
) -> std::result::Result<Vec<Item>, Rolled> {
    let mut carried = carried.to_vec();
    let mut varying = if changing { lengths(&carried) } else { vec![] };
    for attempt in 0..MOST_ATTEMPTS {
        let before = ctx.dims().len();
        let forms: Vec<Form> = carried.iter().map(|item| item.form(ctx.graph())).collect();
        let sizes: Vec<Symbol> = varying.iter().map(|_| ctx.fresh_dim("size", (0, i64::MAX), None)).collect();
        let entering = entering(ctx, &carried, &varying, &sizes);
        let (frame, left) = body(ctx, repeat, (&carried, &forms), &entering, (before, attempt < PRECISE_ATTEMPTS))?;
        let mut both = vec![];
        for (i, (form, left)) in forms.iter().zip(&left).enumerate() {
            let fits = form.unify(left).or_else(|| form.replaced_if_empty(left));
            match fits.filter(|both| changing || both == form) {
                Some(fits) => both.push(fits),
                None => return Err(Rolled::Varies(changes(ctx, repeat, i, form, left))),
            }
        }
        if both != forms {
            for (item, form) in carried.iter_mut().zip(&both) {
                *item = ctx.conform(item, form)?;
            }
            varying = lengths(&carried);
            continue;
        }
        let places = differing(ctx, repeat, &frame, &entering, (&carried, &varying))?;
        if let (Some(place), false) = (places.first(), changing) {
            return Err(Rolled::Varies(changes_size(ctx, repeat, &frame, &entering, &carried, place.0)));
        }
        if places.is_empty() {
            let changing = Changing { varying, sizes };
            bound_growth(ctx, repeat, &frame, &carried, &changing);
            return core_loop(ctx, repeat, frame, &carried, changing, before).map_err(Rolled::Failed);
        }
        varying.extend(places);
    }
    Err(Rolled::Failed(unsupported("what it carries changes in too many ways; carry tensors of one shape")))
}

/// The sizes that may change, and a symbol for each.
struct Changing {
    varying: Vec<Place>,
    sizes: Vec<Symbol>,
}

/// The lengths of packed sequences and of what they are packed into.
fn lengths(carried: &[Item]) -> Vec<Place> {
    let (mut places, mut first) = (vec![], 0);
    for item in carried {
        let count = item.values().len();
        let held = match item {
            Item::Compound(Compound::Optional(_, held)) => held,
            item => item,
        };
        if matches!(held, Item::Compound(Compound::Sequence(Sequence::Packed(_)))) {
            places.extend((first..first + held.values().len()).map(|value| (value, 0)));
        }
        first += count;
    }
    places
}

/// The types of the carried values in the body.
fn entering(ctx: &Context, carried: &[Item], varying: &[Place], sizes: &[Symbol]) -> Vec<TensorType> {
    let values = carried.iter().flat_map(Item::values);
    let mut types: Vec<TensorType> = values.map(|value| ctx.ty(value).clone()).collect();
    for (&(value, axis), &symbol) in varying.iter().zip(sizes) {
        types[value].shape[axis] = Dim::sym(symbol);
    }
    types
}

/// The body, translated for carried values of these types, and the forms in which they leave it, as far as they are known
/// outside. Symbols from number `before` on are known inside alone.
fn body<'m>(
    ctx: &mut Context<'_, 'm>,
    repeat: &Repeat<'_, 'm>,
    (carried, forms): (&[Item], &[Form]),
    types: &[TensorType],
    (before, precise): (usize, bool),
) -> Result<(Frame<'m>, Vec<Form>)> {
    let node = ctx.node;
    let mut left = vec![];
    let frame = ctx.translator.in_frame(repeat.onnx, |translator| {
        let Some(frame) = translator.frames.last_mut() else { return Ok(vec![]) };
        let mut input = |ty: TensorType, name: &str| frame.graph.add_input(ty, name);
        let iteration = input(TensorType::new(DType::I64, vec![]), "");
        let condition = input(TensorType::new(DType::Bool, vec![]), "");
        let mut types = types.iter();
        let mut values = vec![];
        for (i, item) in carried.iter().enumerate() {
            for (k, ty) in types.by_ref().take(item.values().len()).enumerate() {
                let name = repeat.names.get(i).filter(|_| k == 0).copied().unwrap_or_default();
                values.push(input(ty.clone(), name));
            }
        }
        let mut values = values.into_iter();
        let state: Vec<Item> = carried.iter().map(|item| item.of_values(&frame.graph, &mut values)).collect();
        frame.iterations.push(iteration);
        let mut results = (repeat.step)(translator, [iteration, condition], &state)?;
        let mut inner = Context::new(translator, node);
        for ((_, result), form) in results.iter_mut().skip(1).zip(forms) {
            let outside = result.form(inner.graph()).outside(&|size| known_outside(&inner, size, before, precise));
            // A form that does not fit is found by who compares them.
            if form.unify(&outside).as_ref() == Some(form) {
                *result = inner.conform(result, form)?;
            }
            left.push(outside);
        }
        Ok(results)
    })?;
    Ok((frame, left))
}

/// What is known outside of a size that symbols from number `before` on may be in.
pub(crate) fn known_outside(ctx: &Context, size: &Dim, before: usize, precise: bool) -> Axis {
    match size.symbols().iter().any(|s| s.0 as usize >= before) {
        false => Axis::Same(size.clone()),
        true => Axis::UpTo(size.greatest(ctx.dims()).filter(|_| precise)),
    }
}

fn changes(ctx: &Context, repeat: &Repeat<'_, '_>, i: usize, before: &Form, after: &Form) -> Error {
    unsupported(format!(
        "carried value `{}` enters an iteration as {} and leaves it as {}; such loops are supported only with a constant \
         number of iterations",
        repeat.names.get(i).copied().unwrap_or_default(),
        ctx.show_form(before),
        ctx.show_form(after)
    ))
}

/// The type of value `value` of the carried ones as it leaves an iteration.
fn leaving<'f>(frame: &'f Frame<'_>, value: usize) -> Result<&'f TensorType> {
    let output = frame.graph.outputs.get(value + 1);
    output.map(|output| frame.graph.ty(output.1)).ok_or_else(|| invalid("its body yields too few values"))
}

fn changes_size(
    ctx: &Context,
    repeat: &Repeat<'_, '_>,
    frame: &Frame<'_>,
    entering: &[TensorType],
    carried: &[Item],
    value: usize,
) -> Error {
    let owners = carried.iter().enumerate().flat_map(|(i, item)| std::iter::repeat_n(i, item.values().len()));
    let owner = owners.take(value + 1).last().unwrap_or(0);
    let show = |ty: Option<&TensorType>| {
        ty.map_or_else(String::new, |ty| format!("{}{}", ty.dtype, ctx.show_shape(&ty.shape)))
    };
    unsupported(format!(
        "carried value `{}` enters an iteration as {} and leaves it as {}; such loops are supported only with a constant \
         number of iterations",
        repeat.names.get(owner).copied().unwrap_or_default(),
        show(entering.get(value)),
        show(leaving(frame, value).ok())
    ))
}

/// Where what leaves an iteration has another size than what enters it, but for sizes that may change.
fn differing(
    ctx: &Context,
    repeat: &Repeat<'_, '_>,
    frame: &Frame<'_>,
    entering: &[TensorType],
    (carried, varying): (&[Item], &[Place]),
) -> Result<Vec<Place>> {
    let mut places = vec![];
    for (value, before) in entering.iter().enumerate() {
        let after = leaving(frame, value)?;
        if before.dtype != after.dtype || before.rank() != after.rank() {
            return Err(changes_size(ctx, repeat, frame, entering, carried, value));
        }
        let axes = before.shape.iter().zip(&after.shape).enumerate().filter(|(_, (a, b))| a != b);
        places.extend(axes.map(|(axis, _)| (value, axis)).filter(|place| !varying.contains(place)));
    }
    Ok(places)
}

/// Says how large sizes can become that change: what an iteration adds, times the iterations.
fn bound_growth(ctx: &mut Context, repeat: &Repeat<'_, '_>, frame: &Frame<'_>, carried: &[Item], changing: &Changing) {
    let most = ctx.symbolic(repeat.trip).and_then(|mut trip| trip.pop()).filter(|trip| !trip.is_const(i64::MAX));
    let most = most.and_then(|trip| trip.greatest(ctx.dims())).map(|trip| trip.max(&Dim::ZERO).simplify(ctx.dims()));
    let initial: Vec<ValueId> = carried.iter().flat_map(Item::values).collect();
    let mut open: Vec<(Place, Symbol)> = changing.varying.iter().copied().zip(changing.sizes.iter().copied()).collect();
    // What one adds may be another.
    for _ in 0..=open.len().min(4) {
        let given: Vec<Symbol> = open.iter().map(|o| o.1).collect();
        let table = ctx.dims().with_given(&given);
        let mentions = |size: &Dim, all: &[Symbol]| size.symbols().iter().any(|s| all.contains(s));
        let mut found = vec![];
        for &((value, axis), symbol) in &open {
            let first = ctx.ty(initial[value]).shape[axis].greatest(ctx.dims());
            let last = leaving(frame, value).ok().map(|ty| ty.shape[axis].clone());
            let (Some(first), Some(last)) = (first, last) else { continue };
            let more = growth(&last, symbol, &table).map(|more| more.simplify(&table));
            let upper = match (last.greatest(&table), more, &most) {
                (Some(last), ..) if !mentions(&last, &given) => Some(first.max(&last)),
                (_, Some(more), Some(most)) if !mentions(&more, &given) => {
                    Some(first + more.max(&Dim::ZERO) * most.clone())
                }
                (_, Some(more), None) if more.bounds(&table).1 <= 0 => Some(first),
                _ => None,
            };
            found.extend(
                upper.map(|upper| upper.simplify(ctx.dims())).filter(|u| *u != Dim::OVERFLOW).map(|u| (symbol, u)),
            );
        }
        if found.is_empty() {
            return;
        }
        for (symbol, upper) in found {
            ctx.frame_mut().graph.dims.set_upper(symbol, upper);
            open.retain(|o| o.1 != symbol);
        }
    }
}

/// What is added at most to a size that is a symbol, where another takes its place.
fn growth(last: &Dim, symbol: Symbol, table: &DimTable) -> Option<Dim> {
    let more = last - &Dim::sym(symbol);
    if !more.symbols().contains(&symbol) {
        let more = more.greatest(table)?;
        // What the symbols in it are bounded by may mention the size.
        if !more.symbols().contains(&symbol) {
            return Some(more);
        }
    }
    let last = last.greatest(table)?;
    let view = last.view();
    let [(1, atoms)] = view.terms.as_slice() else { return Some(&last - &Dim::sym(symbol)) };
    match atoms.as_slice() {
        [Atom::Op(DimOp::Max, operands)] => {
            let mut each = operands.iter().map(|operand| growth(operand, symbol, table));
            let first = each.next()??;
            let most = each.try_fold(first, |most, more| Some(most.max(&more?)));
            most.map(|most| most + view.constant)
        }
        _ => Some(&last - &Dim::sym(symbol)),
    }
}

/// The core loop of a translated body. Results scanned over a number of iterations known exactly have that size.
fn core_loop(
    ctx: &mut Context,
    repeat: &Repeat<'_, '_>,
    mut frame: Frame<'_>,
    carried: &[Item],
    changing: Changing,
    symbols_before: usize,
) -> Result<Vec<Item>> {
    for (name, item) in frame.results.iter().skip(carried.len() + 1) {
        if !matches!(item, Item::Numbers(_) | Item::Compound(Compound::Narrow(_))) {
            return Err(unsupported(format!("`{name}` is scanned and no tensor of numbers; carry a sequence instead")));
        }
        let shape = frame.graph.shape(item.tensor()?);
        if shape.iter().flat_map(Dim::symbols).any(|s| s.0 as usize >= symbols_before) {
            return Err(unsupported(format!("the size of `{name}` varies from iteration to iteration")));
        }
    }
    let trips = trips(ctx, repeat, &mut frame);
    let (exact, upper) = match trips {
        Trips::Exactly(count) => (Some(count.clone()), Some(count)),
        Trips::AtMost(count) => (None, Some(count)),
        Trips::Unknown => (None, None),
    };
    let most = upper.as_ref().map_or(i64::MAX, |count| count.bounds(ctx.dims()).1);
    let least = exact.as_ref().and_then(Dim::as_const).unwrap_or(0);
    let trips = ctx.fresh_dim("trips", (least, most), upper);
    let states: Vec<ValueId> = carried.iter().flat_map(Item::values).collect();
    frame.graph.inputs.extend(frame.captures.iter().map(|c| c.1));
    let mut inputs = vec![repeat.trip, repeat.condition];
    inputs.extend(&states);
    inputs.extend(frame.captures.iter().map(|c| c.0));
    let Changing { varying, sizes } = changing;
    let op = Op::Loop { body: Box::new(frame.graph), carried: states.len(), varying, sizes, trips };
    let mut results = ctx.push(op, &inputs)?;
    if let Some(exact) = exact {
        for scanned in results.iter_mut().skip(states.len()) {
            // The slice takes everything; it says what the size is.
            let mut sizes = ctx.shape(*scanned);
            sizes[0] = exact.clone();
            let (starts, steps) = (vec![Dim::ZERO; sizes.len()], vec![1; sizes.len()]);
            *scanned = ctx.one(Op::Slice { starts, sizes, steps }, &[*scanned])?;
        }
    }
    let mut results = results.into_iter();
    let mut items: Vec<Item> = carried.iter().map(|item| item.of_values(ctx.graph(), &mut results)).collect();
    // The condition, which comes first in the body, is no result.
    let scanned = frame.results.iter().skip(carried.len() + 1);
    items.extend(scanned.zip(results).map(|((_, item), value)| item.with_shaped(value)));
    Ok(items)
}

/// What is known of the number of iterations.
enum Trips {
    /// So many.
    Exactly(Dim),
    /// A condition may end the loop earlier.
    AtMost(Dim),
    /// Nothing.
    Unknown,
}

fn trips(ctx: &mut Context, repeat: &Repeat<'_, '_>, frame: &mut Frame<'_>) -> Trips {
    let again = frame.graph.outputs[0].1;
    let goes_on =
        again == frame.graph.inputs[1] || frame.known(again).is_some_and(|t| t.splat().is_some_and(|c| c != 0.0));
    let unconditional = ctx.constant_scalar(repeat.condition).is_some_and(|c| c != 0.0) && goes_on;
    let count = ctx.symbolic(repeat.trip).and_then(|mut t| t.pop());
    let count = count.filter(|c| !c.is_const(i64::MAX)).map(|c| Dim::max(&c, &Dim::ZERO).simplify(ctx.dims()));
    match count {
        Some(count) if unconditional => Trips::Exactly(count),
        Some(count) => Trips::AtMost(count),
        None => Trips::Unknown,
    }
}

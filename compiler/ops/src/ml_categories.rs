//! Categories to numbers and back: LabelEncoder, CategoryMapper, OneHotEncoder and ZipMap of `ai.onnx.ml`
//! (<https://onnx.ai/onnx/operators/index_ml.html>), all versions.
//!
//! A category is looked up as a position in a list: strings by hashing, numbers by bisection. Of equal keys the first
//! counts; NaN is a key like another from version 4 of LabelEncoder on, and none before.

use crate::context::Context;
use crate::error::{Result, invalid};
use crate::ml_labels::Labelled;
use crate::scope::{Compound, Maps};
use nnc_ir::op::UnaryOp;
use nnc_ir::{DType, Tensor, ValueId};

/// A list of categories, or of what they become.
enum List {
    Strings(Vec<Vec<u8>>),
    /// Of rank 1.
    Numbers(Tensor),
}

impl List {
    fn len(&self) -> usize {
        match self {
            List::Strings(list) => list.len(),
            List::Numbers(list) => list.len(),
        }
    }
}

fn bytes(list: Vec<String>) -> List {
    List::Strings(list.into_iter().map(String::into_bytes).collect())
}

fn numbers(list: &[i64]) -> List {
    List::Numbers(Tensor::from_slice(&[list.len()], list))
}

/// The list that one of the attributes `PREFIX_strings`, `_int64s`, `_floats` and `_tensor` has.
fn list(ctx: &mut Context, prefix: &str) -> Result<Option<List>> {
    if let Some(list) = ctx.strings(&format!("{prefix}_strings"))? {
        return Ok(Some(bytes(list)));
    }
    if let Some(list) = ctx.ints(&format!("{prefix}_int64s"))? {
        return Ok(Some(numbers(list)));
    }
    if let Some(list) = ctx.floats(&format!("{prefix}_floats"))? {
        return Ok(Some(List::Numbers(Tensor::from_slice(&[list.len()], list))));
    }
    let name = format!("{prefix}_tensor");
    if let Some((_, list)) = ctx.string_tensor(&name)? {
        return Ok(Some(List::Strings(list)));
    }
    Ok(ctx.tensor(&name)?.map(|tensor| List::Numbers(Tensor { shape: vec![tensor.len()], ..tensor })))
}

/// The position in the list of each element of input 0, or the list's length.
fn position(ctx: &mut Context, keys: &List) -> Result<ValueId> {
    match keys {
        List::Strings(keys) => {
            let strings = ctx.strings_input(0)?;
            ctx.find_strings(&strings, keys)
        }
        List::Numbers(keys) => {
            let x = ctx.input(0)?;
            if ctx.dtype(x) != keys.dtype {
                return Err(invalid(format!("the input is {}, the keys are {}", ctx.show(x), keys.dtype)));
            }
            position_of_number(ctx, x, keys)
        }
    }
}

/// For each element which of the keys it is, the first of equal ones, or their number.
pub(crate) fn position_of_number(ctx: &mut Context, x: ValueId, keys: &Tensor) -> Result<ValueId> {
    let count = keys.len() as i64;
    let mut order: Vec<usize> = (0..keys.len()).filter(|&i| !keys.get_f64(i).is_nan()).collect();
    // Integers of 64 bits have no exact double.
    let by_value = |&i: &usize, &j: &usize| match keys.dtype.is_float() {
        true => keys.get_f64(i).total_cmp(&(keys.get_f64(j) + 0.0)),
        false => keys.get_i64(i).cmp(&keys.get_i64(j)),
    };
    let same = |i: usize, j: usize| match keys.dtype.is_float() {
        true => keys.get_f64(i) == keys.get_f64(j),
        false => keys.get_i64(i) == keys.get_i64(j),
    };
    order.sort_by(by_value);
    order.dedup_by(|later, kept| same(*later, *kept));
    let size = keys.dtype.size();
    let sorted: Vec<u8> = order.iter().flat_map(|&i| &keys.data.bytes()[i * size..(i + 1) * size]).copied().collect();
    let sorted = Tensor { dtype: keys.dtype, shape: vec![order.len()], data: nnc_ir::Data::new(sorted) };
    let mut found = ctx.int_scalar(count);
    if !order.is_empty() {
        let sorted = ctx.constant(sorted);
        let place = ctx.find_among(x, sorted)?;
        let positions: Vec<i64> = order.iter().map(|&i| i as i64).chain([count]).collect();
        let positions = ctx.ints_constant(&positions);
        found = ctx.gather(positions, place)?;
    }
    let nan = (0..keys.len()).find(|&i| keys.get_f64(i).is_nan()).filter(|_| ctx.opset() >= 4);
    if let Some(nan) = nan {
        let (is_nan, nan) = (ctx.unary(UnaryOp::IsNan, x)?, ctx.int_scalar(nan as i64));
        found = ctx.select(is_nan, nan, found)?;
    }
    let shape = ctx.shape(x);
    ctx.broadcast_to(found, &shape)
}

/// The values at these positions; their last one is for what is no key.
fn valued(ctx: &mut Context, values: List, position: ValueId) -> Result<Vec<ValueId>> {
    match values {
        List::Strings(values) => {
            let strings = ctx.strings_of(&values, position);
            ctx.define_strings(0, strings);
            Ok(vec![])
        }
        List::Numbers(values) => {
            let values = ctx.constant(values);
            Ok(vec![ctx.gather(values, position)?])
        }
    }
}

/// The list with what stands for all else behind it.
fn with_default(ctx: &mut Context, list: List) -> Result<List> {
    let (string, int) = (ctx.string("default_string", "_Unused")?, ctx.int("default_int64", -1)?);
    let float = ctx.float("default_float", -0.0)?;
    let of_tensor = ctx.string_tensor("default_tensor")?;
    match list {
        List::Strings(mut list) => {
            let given = of_tensor.and_then(|(_, strings)| strings.into_iter().next());
            list.push(given.unwrap_or(string.into_bytes()));
            Ok(List::Strings(list))
        }
        List::Numbers(list) => {
            let default = match ctx.tensor("default_tensor")? {
                Some(tensor) if tensor.dtype == list.dtype && tensor.len() == 1 => tensor,
                Some(_) => return Err(invalid("default_tensor is not one element of the type of the values")),
                None if list.dtype.is_float() => Tensor::scalar_of(list.dtype, float.into()),
                None if list.dtype == DType::I64 => Tensor::scalar(int),
                None => Tensor::scalar_of(list.dtype, int as f64),
            };
            let bytes = [list.data.bytes(), default.data.bytes()].concat();
            Ok(List::Numbers(Tensor { dtype: list.dtype, shape: vec![list.len() + 1], data: nnc_ir::Data::new(bytes) }))
        }
    }
}

/// Each element's value by its key.
pub fn label_encoder(ctx: &mut Context) -> Result<Vec<ValueId>> {
    // Version 1 numbers its classes, or names numbers.
    let (keys, values) = match ctx.strings("classes_strings")? {
        Some(classes) => {
            let all: Vec<i64> = (0..classes.len() as i64).collect();
            pair(ctx, bytes(classes), numbers(&all))?
        }
        None => (list(ctx, "keys")?, list(ctx, "values")?),
    };
    mapped(ctx, keys, values)
}

/// Keys and values where either may be looked up: strings in the input are the keys.
fn pair(ctx: &mut Context, strings: List, numbers: List) -> Result<(Option<List>, Option<List>)> {
    let from_strings = ctx.optional_strings(0)?.is_some();
    Ok(if from_strings { (Some(strings), Some(numbers)) } else { (Some(numbers), Some(strings)) })
}

fn mapped(ctx: &mut Context, keys: Option<List>, values: Option<List>) -> Result<Vec<ValueId>> {
    let (Some(keys), Some(values)) = (keys, values) else { return Err(invalid("the keys or the values are missing")) };
    if keys.len() != values.len() {
        return Err(invalid(format!("there are {} keys and {} values", keys.len(), values.len())));
    }
    let values = with_default(ctx, values)?;
    let position = position(ctx, &keys)?;
    valued(ctx, values, position)
}

/// The number of each category, or the category of each number.
pub fn category_mapper(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let (Some(ints), Some(strings)) = (ctx.ints("cats_int64s")?, ctx.strings("cats_strings")?) else {
        return Err(invalid("cats_int64s or cats_strings is missing"));
    };
    let (keys, values) = pair(ctx, bytes(strings), numbers(ints))?;
    mapped(ctx, keys, values)
}

/// 1 at each element's category on a new last axis, 0 elsewhere; what is no category has none, or stops the run.
pub fn one_hot_encoder(ctx: &mut Context) -> Result<Vec<ValueId>> {
    const MOST_CATEGORIES: usize = 1 << 14;
    let lenient = ctx.flag("zeros", true)?;
    let categories = match (ctx.strings("cats_strings")?, ctx.ints("cats_int64s")?) {
        (Some(list), _) if !list.is_empty() => bytes(list),
        (_, Some(list)) => numbers(list),
        _ => return Err(invalid("cats_int64s or cats_strings is missing")),
    };
    let count = categories.len();
    if count > MOST_CATEGORIES {
        return Err(invalid(format!("there are {count} categories, at most {MOST_CATEGORIES} are accepted")));
    }
    let position = match &categories {
        List::Strings(_) => position(ctx, &categories)?,
        List::Numbers(keys) => {
            let x = ctx.input(0)?;
            let x = ctx.convert(x, DType::I64)?;
            position_of_number(ctx, x, keys)?
        }
    };
    // A row for what is none; without it the position is out of range, which stops the run.
    let rows = count + usize::from(lenient);
    let mut table = vec![0f32; rows * count];
    table.iter_mut().step_by(count + 1).take(count).for_each(|one| *one = 1.0);
    let table = ctx.constant(Tensor::from_slice(&[rows, count], &table));
    Ok(vec![ctx.gather(table, position)?])
}

/// A map from labels to scores for each row: its values as they are, and its keys.
pub fn zip_map(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let x = ctx.input(0)?;
    let labels = ctx.labels(["classlabels_int64s", "classlabels_strings"])?;
    let columns = ctx.shape(x).last().cloned();
    if !columns.is_some_and(|columns| columns.is_const(labels.len() as i64)) {
        return Err(invalid(format!("{} labels do not fit {}", labels.len(), ctx.show(x))));
    }
    let all: Vec<i64> = (0..labels.len() as i64).collect();
    let all = ctx.ints_constant(&all);
    let keys = ctx.labelled(&labels, all)?;
    ctx.define_compound(0, Compound::Maps(Maps { values: Labelled::Numbers(x), keys }));
    Ok(vec![])
}

#[cfg(test)]
mod tests {
    use crate::testing::{Sketch, sketch};
    use nnc_onnx::Attribute;

    const DOMAIN: &str = "ai.onnx.ml";

    fn cities(op: &str) -> Sketch {
        let x = sketch().given_strings("x", "n 2", &["rome", "paris", "", "oslo"]);
        x.node(op, "x -> y").domain(DOMAIN).output("y")
    }

    #[test]
    fn labels() {
        let keyed = || cities("LabelEncoder").string_list("keys_strings", &["paris", "rome", "paris"]);
        assert_eq!(keyed().int_list("values_int64s", &[5, 6, 7]).run(), "i64[2, 2] 6 5 -1 -1");
        let named = keyed().string_list("values_strings", &["capital of France", "of Italy", "-"]);
        assert_eq!(named.string("default_string", "?").run(), "string[4] of Italy capital of France ? ?");
        let numbers = sketch().given("x", &[4], &[3.5f32, f32::NAN, -0.0, 1.0]).node("LabelEncoder", "x -> y");
        let numbers = numbers.domain(DOMAIN).output("y");
        let keys = Attribute::Floats(vec![f32::NAN, 3.5, 0.0, 3.5]);
        let numbers = numbers.attribute("keys_floats", keys).int_list("values_int64s", &[10, 11, 12, 13]);
        assert_eq!(numbers.run(), "i64[4] 11 -1 12 -1");
        let mut newer = numbers;
        newer.model.graph.nodes[0].opset = 4;
        assert_eq!(newer.run(), "i64[4] 11 10 12 -1");
        let old = cities("LabelEncoder").string_list("classes_strings", &["oslo", "rome"]).int("default_int64", 9);
        assert_eq!(old.run(), "i64[2, 2] 1 9 9 0");
        assert!(keyed().int_list("values_int64s", &[5]).run().contains("3 keys and 1 values"));
        assert!(keyed().run().contains("missing"));
    }

    #[test]
    fn categories() {
        let both = |sketch: Sketch| {
            sketch.string_list("cats_strings", &["oslo", "paris"]).int_list("cats_int64s", &[7, 3]).output("y")
        };
        assert_eq!(both(cities("CategoryMapper")).run(), "i64[2, 2] -1 3 -1 7");
        let back = sketch().given("x", &[3], &[3i64, 8, 7]).node("CategoryMapper", "x -> y").domain(DOMAIN);
        assert_eq!(both(back).run(), "string[3] paris _Unused oslo");
        let hot = || cities("OneHotEncoder").string_list("cats_strings", &["rome", "oslo"]);
        assert_eq!(hot().run(), "f32[2, 2, 2] 1 0 0 0 0 0 0 1");
        assert!(hot().int("zeros", 0).run().contains("out of range"), "{}", hot().int("zeros", 0).run());
        let hot = sketch().given("x", &[3], &[3.7f32, 8.0, -1.0]).node("OneHotEncoder", "x -> y").domain(DOMAIN);
        assert_eq!(hot.int_list("cats_int64s", &[8, 3]).output("y").run(), "f32[3, 2] 0 1 1 0 0 0");
    }

    #[test]
    fn maps() {
        let scores = || sketch().given("x", &[1, 2], &[0.25f32, 0.75]).node("ZipMap", "x -> y").domain(DOMAIN);
        let named = scores().string_list("classlabels_strings", &["no", "yes"]).output("y");
        assert_eq!(named.run(), "f32[1, 2] 0.25 0.75");
        let outputs: Vec<String> =
            named.translate().map(|g| g.outputs.into_iter().map(|o| o.0).collect()).unwrap_or_default();
        assert_eq!(outputs, ["y", "y.keys", "y.keys.bytes"]);
        assert!(scores().int_list("classlabels_int64s", &[1]).output("y").run().contains("1 labels do not fit"));
    }
}

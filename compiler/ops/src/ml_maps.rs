//! DictVectorizer and CastMap of `ai.onnx.ml` (<https://onnx.ai/onnx/operators/index_ml.html>): a map as a row of its values.
//!
//! A map is its values and its keys, in the order in which the caller has them. Where the standard is silent, as ONNX Runtime.

use crate::context::Context;
use crate::error::{Result, invalid};
use crate::ml_categories::position_of_number;
use crate::ml_labels::{Labelled, Labels};
use crate::scope::{Compound, Maps};
use crate::string_numbers;
use crate::strings::Strings;
use nnc_ir::op::{BinaryOp, ScatterOp};
use nnc_ir::{DType, Dim, Op, Tensor, ValueId};
use std::collections::HashMap;

/// The input, a single map.
fn map(ctx: &mut Context) -> Result<Maps> {
    match ctx.compound_input(0)? {
        Some(Compound::Maps(maps)) => {
            let values = match &maps.values {
                Labelled::Numbers(values) => *values,
                Labelled::Strings(values) => values.numbers,
            };
            ctx.require_rank(values, 1, "the values of the map")?;
            Ok(maps)
        }
        _ => Err(invalid("input 0 must be a map")),
    }
}

/// What a map has at each place of a row of `count`: the value that is to stand there, else 0 or the string `none`. Values
/// whose place is `count` are left out; one beyond stops the run.
fn placed(ctx: &mut Context, values: &Labelled, place: ValueId, count: usize, none: &str) -> Result<Labelled> {
    let shape = [Dim::from(count) + 1];
    let scatter = Op::ScatterElements { axis: 0, op: ScatterOp::Replace };
    let kept = |ctx: &mut Context, row: ValueId| ctx.slice_axis(row, 0, Dim::ZERO, Dim::from(count));
    Ok(match values {
        Labelled::Numbers(values) => {
            let empty = ctx.full(ctx.dtype(*values), 0.0, &shape)?;
            let row = ctx.one(scatter, &[empty, place, *values])?;
            Labelled::Numbers(kept(ctx, row)?)
        }
        Labelled::Strings(values) => {
            let none = ctx.constant_strings(&[1], &[none])?;
            let (numbers, [offsets, bytes]) = ctx.join_tables(&[values.clone(), none])?;
            let empty = ctx.broadcast_to(numbers[1], &shape)?;
            let row = ctx.one(scatter, &[empty, place, numbers[0]])?;
            Labelled::Strings(Strings { numbers: kept(ctx, row)?, offsets, bytes, whole: false, total: None })
        }
    })
}

/// The elements at these indices of a row.
fn picked(ctx: &mut Context, row: Labelled, index: ValueId) -> Result<Labelled> {
    Ok(match row {
        Labelled::Numbers(row) => Labelled::Numbers(ctx.gather(row, index)?),
        Labelled::Strings(row) => {
            let numbers = ctx.gather(row.numbers, index)?;
            Labelled::Strings(Strings { numbers, whole: false, total: None, ..row })
        }
    })
}

/// Makes a row, as a matrix of one row, the output.
fn as_row(ctx: &mut Context, row: Labelled) -> Result<Vec<ValueId>> {
    match row {
        Labelled::Numbers(row) => Ok(vec![ctx.unsqueeze(row, &[0])?]),
        Labelled::Strings(row) => {
            let numbers = ctx.unsqueeze(row.numbers, &[0])?;
            ctx.define_strings(0, Strings { numbers, ..row });
            Ok(vec![])
        }
    }
}

/// For each word of a list the place of the first that is equal.
fn first_places<T: std::hash::Hash + Eq>(list: &[T]) -> Vec<i64> {
    let mut first = HashMap::new();
    list.iter().enumerate().map(|(i, word)| *first.entry(word).or_insert(i as i64)).collect()
}

/// The value of each word of the vocabulary, or 0.
pub fn dict_vectorizer(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let Maps { values, keys } = map(ctx)?;
    let vocabulary = ctx.labels(["int64_vocabulary", "string_vocabulary"])?;
    let (place, first) = match (&vocabulary, keys) {
        (Labels::Numbers(words), Labelled::Numbers(keys)) => {
            let keys = ctx.convert(keys, DType::I64)?;
            let list = Tensor::from_slice(&[words.len()], words);
            (position_of_number(ctx, keys, &list)?, first_places(words))
        }
        (Labels::Strings(words), Labelled::Strings(keys)) => (ctx.find_strings(&keys, words)?, first_places(words)),
        _ => return Err(invalid("the vocabulary and the keys of the map must both be numbers, or both strings")),
    };
    let row = placed(ctx, &values, place, vocabulary.len(), "")?;
    let first = ctx.ints_constant(&first);
    let row = picked(ctx, row, first)?;
    as_row(ctx, row)
}

/// The values in the order of their keys; or, `SPARSE`, each at the place that its key says.
pub fn cast_map(ctx: &mut Context) -> Result<Vec<ValueId>> {
    let Maps { values, keys } = map(ctx)?;
    let Labelled::Numbers(keys) = keys else { return Err(invalid("the keys of the map must be numbers")) };
    let to = ctx.string("cast_to", "TO_FLOAT")?;
    let form = ctx.string("map_form", "DENSE")?;
    let most = ctx.int("max_map", 1)?;
    let row = match form.as_str() {
        "DENSE" => {
            let order = Op::TopK { axis: 0, k: ctx.dim(keys, 0), largest: false };
            let sorted = ctx.push(order, &[keys])?;
            let &[_, order] = &sorted[..] else { return Err(invalid("no order")) };
            picked(ctx, values, order)?
        }
        "SPARSE" => {
            let most = usize::try_from(most).ok().filter(|&most| most <= 1 << 30);
            let most = most.ok_or_else(|| invalid("max_map must be from 0 to 2^30"))?;
            let place = ctx.binary_scalar(BinaryOp::Min, keys, most as f64)?;
            placed(ctx, &values, place, most, "0.f")?
        }
        other => return Err(invalid(format!("map_form is `{other}`, it must be DENSE or SPARSE"))),
    };
    let row = match (to.as_str(), row) {
        ("TO_FLOAT", Labelled::Numbers(row)) => Labelled::Numbers(ctx.convert(row, DType::F32)?),
        ("TO_INT64", Labelled::Numbers(row)) => Labelled::Numbers(ctx.convert(row, DType::I64)?),
        ("TO_STRING", Labelled::Strings(row)) => Labelled::Strings(row),
        ("TO_FLOAT", Labelled::Strings(row)) => Labelled::Numbers(string_numbers::read(ctx, &row, DType::F32)?),
        ("TO_INT64", Labelled::Strings(row)) => Labelled::Numbers(string_numbers::read(ctx, &row, DType::I64)?),
        ("TO_STRING", Labelled::Numbers(row)) => Labelled::Strings(string_numbers::written(ctx, row)?),
        (other, _) => return Err(invalid(format!("cast_to is `{other}`, it must be TO_FLOAT, TO_INT64 or TO_STRING"))),
    };
    as_row(ctx, row)
}

#[cfg(test)]
mod tests;

//! What is found by comparing: numbers among numbers (`lower_bound`), strings among strings and what is in them.

use crate::env::Env;
use crate::error::{Eval, unfit};
use crate::values::allocatable;
use nnc_ir::{DType, Symbol, Tensor};
use rustc_hash::FxHashMap;

pub(super) fn lower_bound([x, keys]: [&Tensor; 2]) -> Eval<Tensor> {
    let &[count] = &keys.shape[..] else { return Err(unfit(format!("keys of shape {:?}", keys.shape))) };
    if x.dtype != keys.dtype {
        return Err(unfit(format!("{} among keys of {}", x.dtype, keys.dtype)));
    }
    allocatable(DType::I64, &x.shape)?;
    // Integers of 64 bits have no exact double.
    let less = |key: usize, i: usize| match x.dtype {
        DType::U64 => (keys.get_i64(key) as u64) < x.get_i64(i) as u64,
        dtype if dtype.is_float() => keys.get_f64(key) < x.get_f64(i),
        _ => keys.get_i64(key) < x.get_i64(i),
    };
    let found = |i: usize| {
        let (mut low, mut left) = (0, count);
        while left > 0 {
            let half = left / 2;
            if less(low + half, i) {
                low += half + 1;
                left -= half + 1;
            } else {
                left = half;
            }
        }
        low as i64
    };
    let positions: Vec<i64> = (0..x.len()).map(found).collect();
    Ok(Tensor::from_slice(&x.shape, &positions))
}

/// The strings that offsets mark.
fn strings<'a>(offsets: &Tensor, bytes: &'a Tensor) -> Eval<Vec<&'a [u8]>> {
    let marks = offsets.to_vec::<i64>().filter(|marks| offsets.shape.len() == 1 && !marks.is_empty());
    let Some(marks) = marks.filter(|_| bytes.dtype == DType::U8 && bytes.shape.len() == 1) else {
        return Err(unfit(format!("strings of {} {:?} in {:?}", offsets.dtype, offsets.shape, bytes.shape)));
    };
    let string = |pair: &[i64]| {
        let span = usize::try_from(pair[0]).ok().zip(usize::try_from(pair[1]).ok());
        let string = span.and_then(|(begin, end)| bytes.data.bytes().get(begin..end));
        string.ok_or_else(|| unfit(format!("a string from {} to {} of {} bytes", pair[0], pair[1], bytes.len())))
    };
    marks.windows(2).map(string).collect()
}

pub(super) fn find_string([offsets, bytes, key_offsets, key_bytes]: [&Tensor; 4]) -> Eval<Tensor> {
    let keys = strings(key_offsets, key_bytes)?;
    let mut numbers: FxHashMap<&[u8], i64> = FxHashMap::default();
    for (number, key) in keys.iter().enumerate() {
        numbers.entry(key).or_insert(number as i64);
    }
    let strings = strings(offsets, bytes)?;
    let found: Vec<i64> = strings.iter().map(|s| numbers.get(s).copied().unwrap_or(keys.len() as i64)).collect();
    Ok(Tensor::from_slice(&[found.len()], &found))
}

pub(super) fn run_automaton([offsets, bytes, classes, next]: [&Tensor; 4]) -> Eval<Tensor> {
    let &[states, width] = &next.shape[..] else { return Err(unfit(format!("states of shape {:?}", next.shape))) };
    let classes = classes.to_vec::<u8>().filter(|classes| classes.len() == 256);
    let (Some(classes), Some(next)) = (classes, next.to_vec::<i64>()) else {
        return Err(unfit("an automaton of other types"));
    };
    let step = |state: usize, byte: u8| {
        let class = usize::from(classes[usize::from(byte)]);
        let to = next.get(state * width + class).filter(|_| class < width)?;
        usize::try_from(*to).ok().filter(|&to| to < states)
    };
    let last = |string: &&[u8]| {
        let state = string.iter().try_fold(0, |state, &byte| step(state, byte));
        state.map(|state| state as i64).ok_or_else(|| unfit("an automaton that leads out of its states"))
    };
    let found = strings(offsets, bytes)?.iter().map(last).collect::<Eval<Vec<i64>>>()?;
    Ok(Tensor::from_slice(&[found.len()], &found))
}

pub(super) fn compare_strings([offsets, bytes, left, right]: [&Tensor; 4]) -> Eval<Tensor> {
    let strings = strings(offsets, bytes)?;
    if left.dtype != DType::I64 || right.dtype != DType::I64 || left.shape != right.shape {
        return Err(unfit(format!("numbers of strings of shapes {:?} and {:?}", left.shape, right.shape)));
    }
    let string = |number: i64| {
        let found = usize::try_from(number).ok().and_then(|n| strings.get(n));
        found.ok_or_else(|| unfit(format!("string {number} of {}", strings.len())))
    };
    allocatable(DType::I64, &left.shape)?;
    let compared = |i: usize| Ok(string(left.get_i64(i))?.cmp(string(right.get_i64(i))?) as i64);
    Ok(Tensor::from_slice(&left.shape, &(0..left.len()).map(compared).collect::<Eval<Vec<i64>>>()?))
}

pub(super) fn split_strings(
    [offsets, bytes]: [&Tensor; 2],
    delimiter: &[u8],
    most: i64,
    count: Symbol,
    env: &mut Env,
) -> Eval<Vec<Tensor>> {
    let marks = offsets.to_i64s().unwrap_or_default();
    let (mut spans, mut first): (Vec<i64>, Vec<i64>) = (vec![], vec![]);
    for (string, &begin) in strings(offsets, bytes)?.into_iter().zip(&marks) {
        first.push(spans.len() as i64 / 2);
        let pieces = if delimiter.is_empty() { words(string, most) } else { parts(string, delimiter, most) };
        spans.extend(pieces.into_iter().flatten().map(|at| begin + at as i64));
    }
    let pieces = spans.len() / 2;
    first.push(pieces as i64);
    env.define(count, pieces as i64)?;
    Ok(vec![Tensor::from_slice(&[pieces, 2], &spans), Tensor::from_slice(&[first.len()], &first)])
}

/// What is between white space.
fn words(string: &[u8], most: i64) -> Vec<[usize; 2]> {
    let mut words: Vec<[usize; 2]> = vec![];
    let mut begin = None;
    for (i, byte) in string.iter().enumerate() {
        match begin {
            Some(b) if is_space(*byte) && (words.len() as i64) < most => {
                words.push([b, i]);
                begin = None;
            }
            None if !is_space(*byte) => begin = Some(i),
            _ => {}
        }
    }
    words.extend(begin.map(|b| [b, string.len()]));
    words
}

/// Space, tab, line feed, vertical tab, form feed, carriage return.
fn is_space(byte: u8) -> bool {
    byte == b' ' || (9..=13).contains(&byte)
}

/// What is between delimiters.
fn parts(string: &[u8], delimiter: &[u8], most: i64) -> Vec<[usize; 2]> {
    let mut parts: Vec<[usize; 2]> = vec![];
    let (mut begin, mut at) = (0, 0);
    while at + delimiter.len() <= string.len() && (parts.len() as i64) < most {
        if string[at..].starts_with(delimiter) {
            parts.push([begin, at]);
            at += delimiter.len();
            begin = at;
        } else {
            at += 1;
        }
    }
    parts.push([begin, string.len()]);
    parts
}

//! `lower_bound`, `find_string` and `run_automaton`.

use crate::error::{Eval, unfit};
use crate::values::allocatable;
use nnc_ir::{DType, Tensor};
use rustc_hash::FxHashMap;

/// A result of this shape.
fn result(shape: &[usize], elements: Vec<i64>) -> Tensor {
    Tensor::from_slice(shape, &elements)
}

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
    Ok(result(&x.shape, (0..x.len()).map(found).collect()))
}

/// The strings that begins and ends mark.
fn strings<'a>(begins: &'a Tensor, ends: &'a Tensor, bytes: &'a Tensor) -> Eval<impl Iterator<Item = Eval<&'a [u8]>>> {
    let types = [begins.dtype, ends.dtype, bytes.dtype] == [DType::I64, DType::I64, DType::U8];
    if !types || begins.shape != ends.shape || bytes.shape.len() != 1 {
        return Err(unfit(format!("strings from {:?} to {:?}", begins.shape, ends.shape)));
    }
    allocatable(DType::I64, &begins.shape)?;
    Ok((0..begins.len()).map(|i| {
        let (begin, end) = (begins.get_i64(i), ends.get_i64(i));
        let span = usize::try_from(begin).ok().zip(usize::try_from(end).ok());
        let string = span.and_then(|(begin, end)| bytes.data.bytes().get(begin..end));
        string.ok_or_else(|| unfit(format!("a string from {begin} to {end} of {} bytes", bytes.len())))
    }))
}

pub(super) fn find_string([begins, ends, bytes, offsets, keys]: [&Tensor; 5]) -> Eval<Tensor> {
    let count = offsets.len().checked_sub(1).filter(|_| offsets.shape.len() == 1);
    let count = count.ok_or_else(|| unfit(format!("offsets of keys of shape {:?}", offsets.shape)))?;
    let bounds = |skip: usize| {
        let list: Vec<i64> = offsets.to_i64s().unwrap_or_default().into_iter().skip(skip).take(count).collect();
        Tensor::from_slice(&[list.len()], &list)
    };
    let (key_begins, key_ends) = (bounds(0), bounds(1));
    let mut numbers: FxHashMap<&[u8], i64> = FxHashMap::default();
    for (number, key) in strings(&key_begins, &key_ends, keys)?.enumerate() {
        numbers.entry(key?).or_insert(number as i64);
    }
    let number = |string: Eval<&[u8]>| Ok(numbers.get(string?).copied().unwrap_or(count as i64));
    let found = strings(begins, ends, bytes)?.map(number).collect::<Eval<Vec<i64>>>()?;
    Ok(result(&begins.shape, found))
}

pub(super) fn run_automaton([begins, ends, bytes, classes, next]: [&Tensor; 5]) -> Eval<Tensor> {
    let &[states, width] = &next.shape[..] else { return Err(unfit(format!("states of shape {:?}", next.shape))) };
    let classes = classes.to_vec::<u8>().filter(|classes| classes.len() == 256);
    let (Some(classes), Some(next)) = (classes, next.to_vec::<i64>()) else {
        return Err(unfit("an automaton of other types".to_owned()));
    };
    let step = |state: usize, byte: u8| {
        let class = usize::from(classes[usize::from(byte)]);
        let to = next.get(state * width + class).filter(|_| class < width)?;
        usize::try_from(*to).ok().filter(|&to| to < states)
    };
    let last = |string: Eval<&[u8]>| {
        let state = string?.iter().try_fold(0, |state, &byte| step(state, byte));
        state.map(|state| state as i64).ok_or_else(|| unfit("an automaton that leads out of its states".to_owned()))
    };
    let found = strings(begins, ends, bytes)?.map(last).collect::<Eval<Vec<i64>>>()?;
    Ok(result(&begins.shape, found))
}

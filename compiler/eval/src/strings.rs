//! `lower_bound`, `find_string` and `run_automaton`.

use crate::error::{Eval, unfit};
use crate::values::allocatable;
use nnc_ir::{DType, Tensor};
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

//! Elements in the types they are computed in: `f64` for every float, `i64` for every integer and bool.
//!
//! Rules: a float is rounded to its type once, when an operation's result is stored; integers wrap when stored;
//! `u64` is carried as its bit pattern. No size is allocated before it is checked here.

use crate::error::{Cause, Eval, unfit};
use half::{bf16, f16};
use nnc_ir::tensor::Element;
use nnc_ir::{DType, Data, Tensor};
use std::borrow::Cow;

/// Elements a tensor may have, an axis of size 0 counted as 1. Keeps products of any of its sizes below overflow.
pub(super) const MAX_COUNT: usize = 1 << 40;
/// Bytes of a tensor that an operation allocates.
const MAX_BYTES: usize = 1 << 31;

/// Elements in their computing type.
pub(super) enum Values {
    Float(Vec<f64>),
    Int(Vec<i64>),
}

/// Number of elements.
pub(super) fn count(shape: &[usize]) -> Eval<usize> {
    let mut product = 1usize;
    for &size in shape {
        product = product
            .checked_mul(size.max(1))
            .filter(|&p| p <= MAX_COUNT)
            .ok_or_else(|| Cause::TooLarge { shape: shape.to_vec() })?;
    }
    Ok(if shape.contains(&0) { 0 } else { product })
}

/// Number of elements of a tensor about to be allocated.
pub(super) fn allocatable(dtype: DType, shape: &[usize]) -> Eval<usize> {
    let count = count(shape)?;
    if count > MAX_BYTES / dtype.size() {
        return Err(Cause::TooLarge { shape: shape.to_vec() });
    }
    Ok(count)
}

/// Elements from one index of an axis to the next.
pub(super) fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for i in (1..shape.len()).rev() {
        strides[i - 1] = strides[i] * shape[i].max(1);
    }
    strides
}

/// Advances a row-major multi-index; `false` after the last one.
pub(super) fn advance(index: &mut [usize], shape: &[usize]) -> bool {
    for (i, &size) in index.iter_mut().zip(shape).rev() {
        *i += 1;
        if *i < size {
            return true;
        }
        *i = 0;
    }
    false
}

/// The elements as they are, borrowed when aligned. `T` must have the size of the tensor's element type.
pub(super) fn elements<T: Element>(tensor: &Tensor) -> Cow<'_, [T]> {
    let bytes = tensor.data.bytes();
    match bytemuck::try_cast_slice(bytes) {
        Ok(slice) => Cow::Borrowed(slice),
        Err(_) => Cow::Owned(bytemuck::pod_collect_to_vec(bytes)),
    }
}

/// The elements of any tensor as doubles.
pub(super) fn floats(tensor: &Tensor) -> Vec<f64> {
    match tensor.dtype {
        DType::F32 => elements::<f32>(tensor).iter().map(|&v| f64::from(v)).collect(),
        DType::F64 => elements::<f64>(tensor).into_owned(),
        DType::F16 => elements::<f16>(tensor).iter().map(|v| v.to_f64()).collect(),
        DType::BF16 => elements::<bf16>(tensor).iter().map(|v| v.to_f64()).collect(),
        dtype => ints(tensor).into_iter().map(|v| int_to_f64(v, dtype)).collect(),
    }
}

/// The elements of an integer or bool tensor; those of a float tensor truncated.
pub(super) fn ints(tensor: &Tensor) -> Vec<i64> {
    fn widen<T: Element + Into<i64>>(tensor: &Tensor) -> Vec<i64> {
        elements::<T>(tensor).iter().map(|&v| v.into()).collect()
    }
    match tensor.dtype {
        DType::Bool => tensor.data.bytes().iter().map(|&b| i64::from(b != 0)).collect(),
        DType::U8 => widen::<u8>(tensor),
        DType::I8 => widen::<i8>(tensor),
        DType::U16 => widen::<u16>(tensor),
        DType::I16 => widen::<i16>(tensor),
        DType::U32 => widen::<u32>(tensor),
        DType::I32 => widen::<i32>(tensor),
        // Bit patterns: i64 and u64 alike.
        DType::U64 | DType::I64 => elements::<i64>(tensor).into_owned(),
        DType::F16 | DType::BF16 | DType::F32 | DType::F64 => floats(tensor).into_iter().map(|v| v as i64).collect(),
    }
}

/// The elements in their computing type.
pub(super) fn load(tensor: &Tensor) -> Values {
    if tensor.dtype.is_float() { Values::Float(floats(tensor)) } else { Values::Int(ints(tensor)) }
}

/// The only element of a tensor that must have one.
pub(super) fn scalar_int(tensor: &Tensor) -> Eval<i64> {
    match ints(tensor).as_slice() {
        [value] => Ok(*value),
        _ => Err(unfit(format!("expected a scalar, not shape {:?}", tensor.shape))),
    }
}

/// As [`scalar_int`], as a double.
pub(super) fn scalar_float(tensor: &Tensor) -> Eval<f64> {
    match floats(tensor).as_slice() {
        [value] => Ok(*value),
        _ => Err(unfit(format!("expected a scalar, not shape {:?}", tensor.shape))),
    }
}

struct Typed<T>(Vec<T>);

impl<T: bytemuck::NoUninit> AsRef<[u8]> for Typed<T> {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }
}

/// A tensor that owns `elements` as they are; `T` represents `dtype`.
pub(super) fn typed<T>(dtype: DType, shape: Vec<usize>, elements: Vec<T>) -> Tensor
where
    T: bytemuck::NoUninit + Send + Sync,
{
    debug_assert_eq!(std::mem::size_of::<T>(), dtype.size());
    debug_assert_eq!(shape.iter().product::<usize>(), elements.len());
    Tensor { dtype, shape, data: Data::new(Typed(elements)) }
}

/// A bool tensor.
pub(super) fn from_bools(shape: Vec<usize>, elements: impl Iterator<Item = bool>) -> Tensor {
    typed(DType::Bool, shape, elements.map(u8::from).collect())
}

/// A tensor from doubles, each rounded once (to integers: truncated and saturated, NaN becoming 0).
pub(super) fn from_floats(dtype: DType, shape: Vec<usize>, values: Vec<f64>) -> Tensor {
    macro_rules! cast {
        ($ty:ty) => {
            typed(dtype, shape, values.into_iter().map(|v| v as $ty).collect::<Vec<$ty>>())
        };
    }
    match dtype {
        DType::Bool => from_bools(shape, values.into_iter().map(|v| v != 0.0)),
        DType::U8 => cast!(u8),
        DType::I8 => cast!(i8),
        DType::U16 => cast!(u16),
        DType::I16 => cast!(i16),
        DType::U32 => cast!(u32),
        DType::I32 => cast!(i32),
        DType::U64 => cast!(u64),
        DType::I64 => cast!(i64),
        DType::F16 => typed(dtype, shape, values.into_iter().map(|v| f16::from_f32(to_f32_odd(v))).collect()),
        DType::BF16 => typed(dtype, shape, values.into_iter().map(|v| bf16::from_f32(to_f32_odd(v))).collect()),
        DType::F32 => cast!(f32),
        DType::F64 => typed(dtype, shape, values),
    }
}

/// A tensor from integers that wrap (to bool: nonzero).
///
/// Not for float types, whose source type matters: see [`int_to_float`].
pub(super) fn from_ints(dtype: DType, shape: Vec<usize>, values: Vec<i64>) -> Tensor {
    macro_rules! wrap {
        ($ty:ty) => {
            typed(dtype, shape, values.into_iter().map(|v| v as $ty).collect::<Vec<$ty>>())
        };
    }
    match dtype {
        DType::Bool => from_bools(shape, values.into_iter().map(|v| v != 0)),
        DType::U8 => wrap!(u8),
        DType::I8 => wrap!(i8),
        DType::U16 => wrap!(u16),
        DType::I16 => wrap!(i16),
        DType::U32 => wrap!(u32),
        DType::I32 => wrap!(i32),
        DType::U64 => wrap!(u64),
        DType::I64 => typed(dtype, shape, values),
        DType::F16 | DType::BF16 | DType::F32 | DType::F64 => int_to_float(dtype, DType::I64, shape, values),
    }
}

/// A tensor from values in their computing type.
pub(super) fn store(dtype: DType, shape: Vec<usize>, values: Values) -> Tensor {
    match values {
        Values::Float(values) => from_floats(dtype, shape, values),
        Values::Int(values) => from_ints(dtype, shape, values),
    }
}

/// Integers of type `from` as floats of type `to`, each rounded once.
pub(super) fn int_to_float(to: DType, from: DType, shape: Vec<usize>, values: Vec<i64>) -> Tensor {
    let odd = |v: i64| {
        // Rounding to odd at bit 11 leaves at least 42 significant bits: see `to_f32_odd`.
        let magnitude = if from == DType::U64 { v as u64 } else { v.unsigned_abs() };
        let sticky = if magnitude >> 53 == 0 {
            magnitude
        } else {
            (magnitude & !0x7ff) | (u64::from(magnitude & 0x7ff != 0) << 11)
        };
        if from != DType::U64 && v < 0 { -(sticky as f64) } else { sticky as f64 }
    };
    let exact = |v: i64| int_to_f64(v, from);
    let doubles =
        if to == DType::F64 { values.into_iter().map(exact).collect() } else { values.into_iter().map(odd).collect() };
    from_floats(to, shape, doubles)
}

/// An integer of type `from` rounded to a double.
fn int_to_f64(v: i64, from: DType) -> f64 {
    if from == DType::U64 { v as u64 as f64 } else { v as f64 }
}

/// To `f32` with rounding to odd, after which a rounding to a type with fewer bits gives what one rounding would.
///
/// Source: S. Boldo and G. Melquiond, "When double rounding is odd", 2005,
/// <https://inria.hal.science/inria-00070603>.
fn to_f32_odd(v: f64) -> f32 {
    let near = v as f32;
    let back = f64::from(near);
    if back == v || v.is_nan() || near.to_bits() & 1 == 1 {
        return near;
    }
    // The neighbour on the other side of v is the odd one.
    f32::from_bits(if back.abs() > v.abs() { near.to_bits() - 1 } else { near.to_bits() + 1 })
}

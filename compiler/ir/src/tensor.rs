//! Constant tensors and their shared bytes.

use crate::{DType, Widened};
use std::fmt;
use std::sync::Arc;

/// Immutable bytes with shared ownership: an owned vector, a range of a mapped model file, or numbers that are widened when
/// somebody asks for the bytes.
#[derive(Clone)]
pub struct Data(Source);

#[derive(Clone)]
enum Source {
    Bytes(Arc<dyn AsRef<[u8]> + Send + Sync>),
    Widened(Arc<Widened>),
}

impl Data {
    /// Shares any byte container, e.g. `Vec<u8>` or a mapped range.
    pub fn new(bytes: impl AsRef<[u8]> + Send + Sync + 'static) -> Data {
        Data(Source::Bytes(Arc::new(bytes)))
    }

    /// Elements of `f32` that stay in fewer bits.
    pub fn widened(widened: Widened) -> Data {
        Data(Source::Widened(Arc::new(widened)))
    }

    /// The numbers, where they stay in fewer bits.
    pub fn as_widened(&self) -> Option<&Widened> {
        match &self.0 {
            Source::Bytes(_) => None,
            Source::Widened(widened) => Some(widened),
        }
    }

    /// The bytes; not aligned to anything. Those of widened numbers are made here and kept.
    pub fn bytes(&self) -> &[u8] {
        match &self.0 {
            Source::Bytes(bytes) => (**bytes).as_ref(),
            Source::Widened(widened) => widened.bytes(),
        }
    }

    /// Number of bytes.
    pub fn len(&self) -> usize {
        match &self.0 {
            Source::Bytes(bytes) => (**bytes).as_ref().len(),
            Source::Widened(widened) => widened.numbers.len() * size_of::<f32>(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl PartialEq for Data {
    /// By content.
    fn eq(&self, other: &Data) -> bool {
        self.bytes() == other.bytes()
    }
}

impl Eq for Data {}

impl fmt::Debug for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Data({} bytes)", self.len())
    }
}

/// A constant tensor: row-major, dense, little-endian.
///
/// Invariant: `data` holds exactly `shape` product times `dtype.size()` bytes. Two are equal when their bits are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// Element type.
    pub dtype: DType,
    /// Sizes, outermost first; empty for a scalar.
    pub shape: Vec<usize>,
    /// Elements.
    pub data: Data,
}

impl Tensor {
    /// A tensor over `bytes`; `None` when their number does not fit the shape.
    pub fn new(dtype: DType, shape: Vec<usize>, data: Data) -> Option<Tensor> {
        let count = shape.iter().try_fold(1usize, |a, &b| a.checked_mul(b))?;
        (count.checked_mul(dtype.size())? == data.len()).then_some(Tensor { dtype, shape, data })
    }

    /// A tensor from typed elements.
    ///
    /// # Panics
    /// When the number of elements is not the shape's product: a mistake of the caller, never of a model.
    pub fn from_slice<T: Element>(shape: &[usize], elements: &[T]) -> Tensor {
        assert_eq!(shape.iter().product::<usize>(), elements.len(), "element count");
        let bytes = bytemuck::cast_slice::<T, u8>(elements).to_vec();
        Tensor { dtype: T::DTYPE, shape: shape.to_vec(), data: Data::new(bytes) }
    }

    /// A scalar (rank 0).
    pub fn scalar<T: Element>(element: T) -> Tensor {
        Tensor::from_slice(&[], &[element])
    }

    /// A scalar of type `dtype` from a double, converted with Rust's `as` (saturating for integers).
    pub fn scalar_of(dtype: DType, value: f64) -> Tensor {
        let mut bytes = Vec::with_capacity(8);
        push_f64(&mut bytes, dtype, value);
        Tensor { dtype, shape: vec![], data: Data::new(bytes) }
    }

    /// A tensor of type `dtype` from doubles, converted with Rust's `as` (saturating for integers).
    ///
    /// # Panics
    /// When the number of elements is not the shape's product.
    pub fn from_f64s(dtype: DType, shape: &[usize], values: &[f64]) -> Tensor {
        assert_eq!(shape.iter().product::<usize>(), values.len(), "element count");
        let mut bytes = Vec::with_capacity(values.len() * dtype.size());
        for &value in values {
            push_f64(&mut bytes, dtype, value);
        }
        Tensor { dtype, shape: shape.to_vec(), data: Data::new(bytes) }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies the elements out; `None` when `T` is not this tensor's type.
    pub fn to_vec<T: Element>(&self) -> Option<Vec<T>> {
        (T::DTYPE == self.dtype).then(|| bytemuck::pod_collect_to_vec::<u8, T>(self.data.bytes()))
    }

    /// Every element as a double (64-bit integers round).
    pub fn to_f64s(&self) -> Vec<f64> {
        (0..self.len()).map(|i| self.get_f64(i)).collect()
    }

    /// Every element as `i64`; `None` for floating-point types.
    pub fn to_i64s(&self) -> Option<Vec<i64>> {
        (!self.dtype.is_float()).then(|| (0..self.len()).map(|i| self.get_i64(i)).collect())
    }

    /// Element `index` (row-major) as a double.
    pub fn get_f64(&self, index: usize) -> f64 {
        let size = self.dtype.size();
        let b = &self.data.bytes()[index * size..(index + 1) * size];
        use bytemuck::pod_read_unaligned as read;
        match self.dtype {
            DType::F16 => read::<half::f16>(b).to_f64(),
            DType::BF16 => read::<half::bf16>(b).to_f64(),
            DType::F32 => f64::from(read::<f32>(b)),
            DType::F64 => read::<f64>(b),
            DType::U64 => read::<u64>(b) as f64,
            _ => self.get_i64(index) as f64,
        }
    }

    /// Element `index` (row-major) as `i64`: floats truncate, `u64` wraps.
    pub fn get_i64(&self, index: usize) -> i64 {
        let size = self.dtype.size();
        let b = &self.data.bytes()[index * size..(index + 1) * size];
        use bytemuck::pod_read_unaligned as read;
        match self.dtype {
            DType::Bool | DType::U8 => i64::from(b[0]),
            DType::I8 => i64::from(b[0] as i8),
            DType::U16 => i64::from(read::<u16>(b)),
            DType::I16 => i64::from(read::<i16>(b)),
            DType::U32 => i64::from(read::<u32>(b)),
            DType::I32 => i64::from(read::<i32>(b)),
            DType::U64 => read::<u64>(b) as i64,
            DType::I64 => read::<i64>(b),
            _ => self.get_f64(index) as i64,
        }
    }

    /// The single value every element has, if there is one (`NaN` counts as itself); it is not looked for in widened numbers.
    pub fn splat(&self) -> Option<f64> {
        if self.data.as_widened().is_some() {
            return None;
        }
        let size = self.dtype.size();
        let bytes = self.data.bytes();
        let first = bytes.get(..size)?;
        bytes.chunks_exact(size).all(|c| c == first).then(|| self.get_f64(0))
    }
}

fn push_f64(bytes: &mut Vec<u8>, dtype: DType, v: f64) {
    match dtype {
        DType::Bool => bytes.push(u8::from(v != 0.0)),
        DType::U8 => bytes.push(v as u8),
        DType::I8 => bytes.push(v as i8 as u8),
        DType::U16 => bytes.extend((v as u16).to_le_bytes()),
        DType::I16 => bytes.extend((v as i16).to_le_bytes()),
        DType::U32 => bytes.extend((v as u32).to_le_bytes()),
        DType::I32 => bytes.extend((v as i32).to_le_bytes()),
        DType::U64 => bytes.extend((v as u64).to_le_bytes()),
        DType::I64 => bytes.extend((v as i64).to_le_bytes()),
        DType::F16 => bytes.extend(half::f16::from_f64(v).to_le_bytes()),
        DType::BF16 => bytes.extend(half::bf16::from_f64(v).to_le_bytes()),
        DType::F32 => bytes.extend((v as f32).to_le_bytes()),
        DType::F64 => bytes.extend(v.to_le_bytes()),
    }
}

/// A Rust type that is the representation of one [`DType`].
pub trait Element: bytemuck::Pod {
    /// The element type it represents.
    const DTYPE: DType;
}

macro_rules! elements {
    ($($ty:ty => $dtype:ident),*) => { $(impl Element for $ty { const DTYPE: DType = DType::$dtype; })* };
}
elements!(u8 => U8, i8 => I8, u16 => U16, i16 => I16, u32 => U32, i32 => I32, u64 => U64, i64 => I64,
    half::f16 => F16, half::bf16 => BF16, f32 => F32, f64 => F64);

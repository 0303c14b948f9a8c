//! Tensors at the border: dense, row-major, typed by a code; borrowed ([`TensorRef`]) or owned ([`Tensor`]).

use std::fmt;

use nnc_abi::DType;

use crate::buffer::Buffer;

/// A Rust type that is the element of some [`DType`].
///
/// # Safety
///
/// The type has no padding, every bit pattern is a value, and its size is that of `DTYPE`.
pub unsafe trait Element: Copy + 'static {
    /// The element type.
    const DTYPE: DType;
}

macro_rules! elements {
    ($($rust:ty = $dtype:ident,)*) => {
        $(
            // SAFETY: a plain number.
            unsafe impl Element for $rust { const DTYPE: DType = DType::$dtype; }
        )*
    };
}

elements! {
    f32 = F32,
    f64 = F64,
    i8 = I8,
    i16 = I16,
    i32 = I32,
    i64 = I64,
    u8 = U8,
    u16 = U16,
    u32 = U32,
    u64 = U64,
}

/// A borrowed tensor.
#[derive(Clone, Copy)]
pub struct TensorRef<'a> {
    /// The element type.
    pub dtype: DType,
    /// The dimensions, outermost first.
    pub dims: &'a [i64],
    /// The elements. Any alignment works; 64 bytes is fastest.
    pub data: &'a [u8],
}

impl<'a> TensorRef<'a> {
    /// A tensor of numbers.
    pub fn new<T: Element>(dims: &'a [i64], elements: &'a [T]) -> TensorRef<'a> {
        // SAFETY: by `Element` the slice is plain bytes; a byte has no alignment.
        let data = unsafe { std::slice::from_raw_parts(elements.as_ptr().cast(), size_of_val(elements)) };
        TensorRef { dtype: T::DTYPE, dims, data }
    }

    /// A tensor of any type, from its bytes.
    pub fn from_bytes(dtype: DType, dims: &'a [i64], data: &'a [u8]) -> TensorRef<'a> {
        TensorRef { dtype, dims, data }
    }

    /// The elements, if they are of type `T` (or booleans, as `u8`) and lie aligned for it.
    pub fn as_slice<T: Element>(&self) -> Option<&'a [T]> {
        let same = self.dtype == T::DTYPE || (self.dtype == DType::Bool && T::DTYPE == DType::U8);
        if !same || !self.data.as_ptr().cast::<T>().is_aligned() {
            return None;
        }
        // SAFETY: aligned, within the data, and by `Element` any bytes are values.
        Some(unsafe { std::slice::from_raw_parts(self.data.as_ptr().cast(), self.data.len() / size_of::<T>()) })
    }
}

impl fmt::Debug for TensorRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.dtype, self.dims)
    }
}

/// An owned tensor, aligned to 64 bytes.
pub struct Tensor {
    dtype: DType,
    dims: Vec<i64>,
    buffer: Buffer,
    bytes: usize,
}

impl Tensor {
    /// A tensor over the first `bytes` of a buffer.
    ///
    /// # Safety
    ///
    /// Those have been written.
    pub(crate) unsafe fn from_buffer(dtype: DType, dims: Vec<i64>, buffer: Buffer, bytes: usize) -> Tensor {
        assert!(bytes <= buffer.capacity());
        Tensor { dtype, dims, buffer, bytes }
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The dimensions, outermost first.
    pub fn dims(&self) -> &[i64] {
        &self.dims
    }

    /// The elements as bytes.
    pub fn data(&self) -> &[u8] {
        // SAFETY: written before `from_buffer`, and never again.
        unsafe { self.buffer.bytes(self.bytes) }
    }

    /// The elements, if they are of type `T` (or booleans, as `u8`).
    pub fn as_slice<T: Element>(&self) -> Option<&[T]> {
        self.view().as_slice()
    }

    /// The tensor, borrowed: an output can be the next run's input.
    pub fn view(&self) -> TensorRef<'_> {
        TensorRef { dtype: self.dtype, dims: &self.dims, data: self.data() }
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.view().fmt(f)
    }
}

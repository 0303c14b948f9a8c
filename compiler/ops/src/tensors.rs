//! ONNX tensors as constants.

use crate::error::{Result, invalid, unsupported};
use nnc_ir::{DType, Data, Tensor};
use nnc_onnx::ElemType;

/// The element type a tensor of that ONNX type has in the IR; 4- and 2-bit integers are widened to 8 bits.
pub(crate) fn dtype(elem: ElemType) -> Option<DType> {
    Some(match elem {
        ElemType::Float => DType::F32,
        ElemType::Double => DType::F64,
        ElemType::Float16 => DType::F16,
        ElemType::Bfloat16 => DType::BF16,
        ElemType::Bool => DType::Bool,
        ElemType::Uint8 | ElemType::Uint4 | ElemType::Uint2 => DType::U8,
        ElemType::Int8 | ElemType::Int4 | ElemType::Int2 => DType::I8,
        ElemType::Uint16 => DType::U16,
        ElemType::Int16 => DType::I16,
        ElemType::Uint32 => DType::U32,
        ElemType::Int32 => DType::I32,
        ElemType::Uint64 => DType::U64,
        ElemType::Int64 => DType::I64,
        _ => return None,
    })
}

/// As [`dtype`], for a number found in an attribute.
pub(crate) fn dtype_of_number(number: i64) -> Result<DType> {
    let elem = i32::try_from(number).ok().and_then(ElemType::from_number);
    let elem = elem.ok_or_else(|| invalid(format!("{number} is not the number of an ONNX element type")))?;
    match dtype(elem) {
        Some(dtype) if elem.bits() >= 8 => Ok(dtype),
        _ => Err(unsupported(format!("elements of type {elem} are not supported; use another type"))),
    }
}

/// Bytes of a model file, shared.
struct Shared(nnc_onnx::Bytes);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        self.0.as_slice()
    }
}

/// The tensor as a constant; its bytes stay in the file unless they have to be rewritten.
///
/// # Errors
/// When the IR has no element type for it.
pub fn import(tensor: &nnc_onnx::Tensor) -> Result<Tensor> {
    let elem = tensor.elem_type;
    let Some(dtype) = dtype(elem) else {
        return Err(unsupported(format!("constants of type {elem} are not supported")));
    };
    let nnc_onnx::TensorData::Bytes(bytes) = &tensor.data else {
        return Err(unsupported("strings are not supported"));
    };
    let data = match elem.bits() {
        bits @ (2 | 4) => Data::new(unpack(bytes, bits, tensor.element_count(), dtype == DType::I8)),
        // Any nonzero byte may stand for true in a file; the IR wants 1.
        _ if dtype == DType::Bool && bytes.iter().any(|&b| b > 1) => {
            Data::new(bytes.iter().map(|&b| u8::from(b != 0)).collect::<Vec<u8>>())
        }
        _ => Data::new(Shared(bytes.clone())),
    };
    Tensor::new(dtype, tensor.dims.clone(), data).ok_or_else(|| invalid("its data does not fit its shape"))
}

/// Elements of 2 or 4 bits, the first in the low bits, as bytes.
fn unpack(bytes: &[u8], bits: usize, count: usize, signed: bool) -> Vec<u8> {
    let per_byte = 8 / bits;
    let at = |i: usize| {
        let high = bytes.get(i / per_byte).copied().unwrap_or(0) << (8 - bits - bits * (i % per_byte));
        if signed { (high as i8 >> (8 - bits)) as u8 } else { high >> (8 - bits) }
    };
    (0..count).map(at).collect()
}

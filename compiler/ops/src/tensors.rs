//! ONNX tensors as constants.

use crate::error::{Result, invalid, unsupported};
use crate::item::Kind;
use crate::narrow::{self, ElementType, carrier};
use nnc_ir::{DType, Data, Encoding, Tensor};
use nnc_onnx::ElemType;

/// The element type of the IR that an ONNX type is.
pub(crate) fn dtype(elem: ElemType) -> Option<DType> {
    Some(match elem {
        ElemType::Float => DType::F32,
        ElemType::Double => DType::F64,
        ElemType::Float16 => DType::F16,
        ElemType::Bfloat16 => DType::BF16,
        ElemType::Bool => DType::Bool,
        ElemType::Uint8 => DType::U8,
        ElemType::Int8 => DType::I8,
        ElemType::Uint16 => DType::U16,
        ElemType::Int16 => DType::I16,
        ElemType::Uint32 => DType::U32,
        ElemType::Int32 => DType::I32,
        ElemType::Uint64 => DType::U64,
        ElemType::Int64 => DType::I64,
        _ => return None,
    })
}

/// How tensors of an ONNX type that the IR does not have are encoded.
pub(crate) fn encoding(elem: ElemType) -> Option<Encoding> {
    Some(match elem {
        ElemType::String => Encoding::Strings,
        ElemType::Float8E4M3FN => Encoding::F8E4M3FN,
        ElemType::Float8E4M3FNUZ => Encoding::F8E4M3FNUZ,
        ElemType::Float8E5M2 => Encoding::F8E5M2,
        ElemType::Float8E5M2FNUZ => Encoding::F8E5M2FNUZ,
        ElemType::Float8E8M0 => Encoding::F8E8M0,
        ElemType::Float4E2M1 => Encoding::F4E2M1,
        ElemType::Uint4 => Encoding::U4,
        ElemType::Int4 => Encoding::I4,
        ElemType::Uint2 => Encoding::U2,
        ElemType::Int2 => Encoding::I2,
        _ => return None,
    })
}

/// How tensors of a narrow ONNX type are encoded.
pub(crate) fn narrow_encoding(elem: ElemType) -> Option<Encoding> {
    encoding(elem).filter(|&encoding| encoding != Encoding::Strings)
}

/// As [`dtype`], for a number found in an attribute.
pub(crate) fn dtype_of_number(number: i64) -> Result<DType> {
    match type_of_number(number)? {
        ElementType::Plain(dtype) => Ok(dtype),
        ElementType::Narrow(encoding) => {
            Err(unsupported(format!("elements of type {} are not supported here; use another type", encoding.name())))
        }
    }
}

/// The type of elements that a number found in an attribute stands for.
pub(crate) fn type_of_number(number: i64) -> Result<ElementType> {
    let elem = i32::try_from(number).ok().and_then(ElemType::from_number);
    let elem = elem.ok_or_else(|| invalid(format!("{number} is not the number of an ONNX element type")))?;
    let plain = dtype(elem).map(ElementType::Plain);
    let found = plain.or_else(|| narrow_encoding(elem).map(ElementType::Narrow));
    found.ok_or_else(|| unsupported(format!("elements of type {elem} are not supported; use another type")))
}

/// What elements are, by a number found in an attribute.
pub(crate) fn kind_of_number(number: i64) -> Result<Kind> {
    if number == i64::from(ElemType::String.number()) {
        return Ok(Kind::Strings);
    }
    Ok(match type_of_number(number)? {
        ElementType::Plain(dtype) => Kind::Numbers(dtype),
        ElementType::Narrow(encoding) => Kind::Narrow(encoding),
    })
}

/// What the elements of an ONNX type are.
pub(crate) fn kind(elem: ElemType) -> Option<Kind> {
    let plain = dtype(elem).map(Kind::Numbers);
    plain.or_else(|| {
        encoding(elem).map(|encoding| match encoding {
            Encoding::Strings => Kind::Strings,
            narrow => Kind::Narrow(narrow),
        })
    })
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
        return Err(unsupported(format!("constants of type {elem} are not supported here")));
    };
    let nnc_onnx::TensorData::Bytes(bytes) = &tensor.data else {
        return Err(unsupported("strings are not supported"));
    };
    // Any nonzero byte may stand for true in a file; the IR wants 1.
    let data = if dtype == DType::Bool && bytes.iter().any(|&b| b > 1) {
        Data::new(bytes.iter().map(|&b| u8::from(b != 0)).collect::<Vec<u8>>())
    } else {
        Data::new(Shared(bytes.clone()))
    };
    Tensor::new(dtype, tensor.dims.clone(), data).ok_or_else(|| invalid("its data does not fit its shape"))
}

/// The tensor as a constant with an element to a byte, and its type, if that is a narrow one.
pub(crate) fn import_narrow(tensor: &nnc_onnx::Tensor) -> Result<Option<(Tensor, Encoding)>> {
    let Some(encoding) = narrow_encoding(tensor.elem_type) else { return Ok(None) };
    let data = match &tensor.data {
        nnc_onnx::TensorData::Bytes(bytes) if encoding.bits() == 8 => Data::new(Shared(bytes.clone())),
        data => Data::new(narrow::unpack(data.bytes(), encoding, tensor.element_count())),
    };
    let constant = Tensor::new(carrier(encoding), tensor.dims.clone(), data);
    constant.map(|constant| Some((constant, encoding))).ok_or_else(|| invalid("its data does not fit its shape"))
}

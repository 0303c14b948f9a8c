//! Values of test cases as the arrays that models take and yield: of strings two, of a sequence its elements end to end
//! and the shape of each, of an optional what it holds and whether it does.

use std::path::{Path, PathBuf};

use nnc_onnx::{DimInfo, ElemType, Model, TypeInfo, Value, ValueKind};
use nnc_runtime::DType;

use crate::array::Array;
use crate::errors::{Failure, Result};
use crate::{packed, strings};

/// The arrays of one value.
#[derive(Debug)]
pub struct Arrays {
    /// All of them, in the order in which a model has them.
    pub all: Vec<Array>,
    /// Whether it is an optional that holds nothing: only the last array counts.
    nothing: bool,
}

impl Arrays {
    /// The arrays that count, each with the output that should be the same.
    pub fn to_compare<'a>(&'a self, found: &'a [Array]) -> impl Iterator<Item = (&'a Array, &'a Array)> {
        let first = if self.nothing { self.all.len().saturating_sub(1) } else { 0 };
        self.all.iter().zip(found).skip(first)
    }
}

/// The arrays that a file holds, which is of a type.
///
/// # Errors
/// When the file cannot be read, or is of another type.
pub fn arrays(file: &Path, ty: Option<&TypeInfo>) -> Result<Arrays> {
    let value = load(file, ty)?;
    let nothing = matches!(value, Value::Optional(None));
    let mut all = vec![];
    add(&value, ty, &mut all).map_err(|e| e.in_file(file.display()))?;
    Ok(Arrays { all, nothing })
}

fn load(file: &Path, ty: Option<&TypeInfo>) -> Result<Value> {
    Ok(match ty {
        Some(TypeInfo::Sequence(_)) => nnc_onnx::load_value(file, ValueKind::Sequence)?,
        Some(TypeInfo::Optional(_)) => nnc_onnx::load_value(file, ValueKind::Optional)?,
        _ => Value::Tensor(nnc_onnx::load_tensor(file)?.tensor),
    })
}

/// States how many axes the elements of sequences have that are given, where a model does not.
///
/// # Errors
/// When a file cannot be read.
pub fn state_ranks(model: &mut Model, files: &[(usize, PathBuf)]) -> Result<()> {
    for (position, file) in files {
        let Some(ty) = model.graph.inputs.get_mut(*position).and_then(|input| input.ty.as_mut()) else { continue };
        if !matches!(ty, TypeInfo::Sequence(_) | TypeInfo::Optional(_)) {
            continue;
        }
        let Some(rank) = rank(&load(file, Some(ty))?) else { continue };
        let mut held = ty;
        while let TypeInfo::Sequence(of) | TypeInfo::Optional(of) = held {
            held = of;
        }
        if let TypeInfo::Tensor { shape: shape @ None, .. } = held {
            *shape = Some(vec![DimInfo::Unknown; rank]);
        }
    }
    Ok(())
}

/// The number of axes of the first tensor in a value.
fn rank(value: &Value) -> Option<usize> {
    match value {
        Value::Tensor(tensor) => Some(tensor.dims.len()),
        Value::Sequence(values) => rank(values.first()?),
        Value::Optional(value) => rank(value.as_deref()?),
    }
}

fn dtype(elem_type: ElemType) -> Result<DType> {
    let dtype = u32::try_from(elem_type.number()).ok().and_then(DType::from_code);
    dtype.ok_or_else(|| Failure::unsupported(format!("tensors of type {elem_type}")))
}

fn add(value: &Value, ty: Option<&TypeInfo>, all: &mut Vec<Array>) -> Result<()> {
    match value {
        Value::Tensor(tensor) => {
            let dims = tensor.dims.iter().map(|&d| d as i64).collect();
            add_elements(dtype(tensor.elem_type)?, dims, std::slice::from_ref(tensor), all)
        }
        Value::Sequence(values) => {
            let of = match ty {
                Some(TypeInfo::Sequence(of)) => Some(&**of),
                _ => None,
            };
            add_sequence(values, of, all)
        }
        Value::Optional(value) => {
            let of = match ty {
                Some(TypeInfo::Optional(of)) => Some(&**of),
                _ => None,
            };
            match value {
                Some(value) => add(value, of, all)?,
                None => add_nothing(of, all)?,
            }
            let has = u8::from(value.is_some());
            all.push(Array::from_bytes(DType::Bool, vec![], &[has])?);
            Ok(())
        }
    }
}

/// Arrays of nothing, in the place of what an optional does not hold.
fn add_nothing(ty: Option<&TypeInfo>, all: &mut Vec<Array>) -> Result<()> {
    match ty {
        Some(TypeInfo::Tensor { elem_type, shape }) => {
            let size = |dim: &DimInfo| if let DimInfo::Size(size) = dim { *size as i64 } else { 0 };
            let dims: Vec<i64> = shape.iter().flatten().map(size).collect();
            let dtype = dtype(*elem_type)?;
            if dtype == DType::String {
                let count = usize::try_from(dims.iter().product::<i64>()).unwrap_or(0);
                all.extend(strings::arrays(dims, vec![""; count])?);
            } else {
                all.push(Array::zeros(dtype, dims)?);
            }
            Ok(())
        }
        Some(TypeInfo::Sequence(of)) => add_sequence(&[], Some(of), all),
        _ => Err(Failure::unsupported("an empty optional of a type that the model does not state")),
    }
}

/// The elements of a sequence end to end, and their shapes.
fn add_sequence(values: &[Value], of: Option<&TypeInfo>, all: &mut Vec<Array>) -> Result<()> {
    let mut tensors = vec![];
    for value in values {
        match value {
            Value::Tensor(tensor) => tensors.push(tensor.clone()),
            _ => return Err(Failure::unsupported("a sequence of what is no tensor")),
        }
    }
    let (stated, stated_rank) = match of {
        Some(TypeInfo::Tensor { elem_type, shape }) => (Some(*elem_type), shape.as_ref().map_or(0, Vec::len)),
        _ => (None, 0),
    };
    let elem_type = tensors.first().map(|tensor| tensor.elem_type).or(stated);
    let elem_type = elem_type.ok_or_else(|| Failure::unsupported("an empty sequence of unknown type"))?;
    let rank = tensors.first().map_or(stated_rank, |tensor| tensor.dims.len());
    if tensors.iter().any(|tensor| tensor.dims.len() != rank || tensor.elem_type != elem_type) {
        return Err(Failure::unsupported("a sequence of tensors that differ in type or number of axes"));
    }
    let total: usize = tensors.iter().map(|tensor| tensor.dims.iter().product::<usize>()).sum();
    add_elements(dtype(elem_type)?, vec![total as i64], &tensors, all)?;
    let sizes = tensors.iter().flat_map(|tensor| &tensor.dims).flat_map(|&d| (d as i64).to_le_bytes());
    let dims = vec![tensors.len() as i64, rank as i64];
    all.push(Array::from_bytes(DType::I64, dims, &sizes.collect::<Vec<u8>>())?);
    Ok(())
}

/// The elements of tensors end to end; of strings two arrays.
fn add_elements(dtype: DType, dims: Vec<i64>, tensors: &[nnc_onnx::Tensor], all: &mut Vec<Array>) -> Result<()> {
    if dtype == DType::String {
        let strings = tensors.iter().flat_map(|tensor| tensor.data.strings());
        all.extend(strings::arrays(dims, strings)?);
        return Ok(());
    }
    let bytes = match tensors {
        [only] => only.bytes().to_vec(),
        _ => {
            // Elements of less than a byte fill bytes across the ends of tensors.
            let each = tensors.iter().map(|t| packed::unpack(dtype, t.bytes(), t.dims.iter().product()));
            let elements = each.collect::<Vec<_>>().concat();
            match packed::is_packed(dtype) {
                true => packed::pack(dtype, &elements, matches!(dtype, DType::I4 | DType::I2))
                    .map_err(|wrong| Failure::user(format!("{wrong} is no element of type {dtype}")))?,
                false => elements,
            }
        }
    };
    all.push(Array::from_bytes(dtype, dims, &bytes)?);
    Ok(())
}

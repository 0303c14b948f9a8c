//! A model's inputs: from an archive, or made up.

use std::path::Path;

use nnc_ir::{Dim, DimTable, SymbolInfo};
use nnc_runtime::{DType, DimKind, Signature, TensorInfo};

use crate::array::Array;
use crate::errors::{Failure, Result};
use crate::npz::{Header, Reader};

/// Reads every input of a model from an archive, by name. Arrays of other names are ignored.
///
/// # Errors
/// When an input is missing, or has another type or shape than the model takes.
pub fn from_npz(path: &Path, signature: &Signature) -> Result<Vec<Array>> {
    let mut reader = Reader::open(path)?;
    let mut arrays: Vec<Array> = vec![];
    // Strings are two inputs and one array.
    while let Some(info) = signature.inputs.get(arrays.len()) {
        arrays.extend(from_archive(&mut reader, path, info)?);
    }
    Ok(arrays)
}

fn from_archive(reader: &mut Reader, path: &Path, info: &TensorInfo) -> Result<Vec<Array>> {
    let file = path.display();
    let accept = |header: &Header| {
        if header.is(info.dtype) && fits(&header.dims, info) {
            return Ok(());
        }
        Err(Failure::user(format!("{file}: array `{}` is {}; the model takes {info}", info.name, header.describe())))
    };
    let arrays = match info.dtype {
        DType::String => reader.strings(&info.name, accept)?.map(Vec::from),
        _ => reader.array(&info.name, info.dtype, accept)?.map(|array| vec![array]),
    };
    arrays.ok_or_else(|| {
        let names = reader.names();
        let names = if names.is_empty() { "no arrays".to_owned() } else { names.join(", ") };
        let name = &info.name;
        Failure::user(format!("{file}: no array named `{name}`, which the model takes as {info}; it has {names}"))
    })
}

/// Whether dimensions have the rank and the constants of an input; the runtime checks the symbols.
fn fits(dims: &[i64], info: &TensorInfo) -> bool {
    let constant = |d: &nnc_runtime::Dim| d.value.filter(|_| d.kind == DimKind::Constant);
    dims.len() == info.dims.len() && dims.iter().zip(&info.dims).all(|(&n, d)| constant(d).is_none_or(|c| c == n))
}

/// The symbols' values for made-up inputs: 1, or the least allowed.
fn default_symbols(signature: &Signature) -> Vec<(String, i64)> {
    let symbols = signature.symbols.iter();
    symbols.map(|s| (s.name.clone(), s.min.max(1).min(s.max))).collect()
}

/// The dimensions of every input when the symbols have their default values.
///
/// # Errors
/// As [`dims`].
pub fn default_dims(signature: &Signature) -> Result<Vec<Vec<i64>>> {
    dims(signature, &default_symbols(signature).into_iter().map(|s| s.1).collect::<Vec<_>>())
}

/// The dimensions of every input when the symbols, in the signature's order, have these values.
///
/// # Errors
/// When a dimension is an expression that has no value for them.
pub fn dims(signature: &Signature, symbols: &[i64]) -> Result<Vec<Vec<i64>>> {
    let mut table = DimTable::default();
    for symbol in &signature.symbols {
        table.new_symbol(SymbolInfo::input(symbol.name.as_str()));
    }
    let size = |info: &TensorInfo, dim: &nnc_runtime::Dim| {
        let value = match dim.kind {
            DimKind::Constant => dim.value,
            DimKind::Symbol => dim.symbol.and_then(|s| symbols.get(s)).copied(),
            DimKind::Expression | DimKind::Data => {
                let parsed: Option<Dim> = table.parse(&dim.text).ok();
                parsed.and_then(|d| d.eval(&|s| symbols.get(s.0 as usize).copied()))
            }
        };
        value.filter(|&n| n >= 0).ok_or_else(|| {
            let (name, text) = (&info.name, &dim.text);
            Failure::user(format!("input `{name}`: no size can be chosen for dimension `{text}`; give --inputs"))
        })
    };
    let inputs = signature.inputs.iter();
    inputs.map(|info| info.dims.iter().map(|d| size(info, d)).collect()).collect()
}

/// Made-up inputs of the default dimensions.
///
/// # Errors
/// As [`random_at`].
pub fn random(signature: &Signature) -> Result<Vec<Array>> {
    random_at(signature, default_dims(signature)?)
}

/// Made-up inputs of these dimensions, the same in every run: floats are normally distributed, integers, booleans and
/// floats of 8 or 4 bits are 0 or 1, which are indices and masks that most models take; strings share their bytes evenly.
///
/// # Errors
/// When an input is too large.
pub fn random_at(signature: &Signature, dims: Vec<Vec<i64>>) -> Result<Vec<Array>> {
    let mut rng = fastrand::Rng::with_seed(0);
    let fill = |(info, dims): (&TensorInfo, Vec<i64>)| {
        let name = &info.name;
        let mut array = Array::zeros(info.dtype, dims).map_err(|e| e.in_file(format!("input `{name}`")))?;
        fill(info.dtype, array.bytes_mut(), &mut rng);
        Ok(array)
    };
    let mut arrays: Vec<Array> = signature.inputs.iter().zip(dims).map(fill).collect::<Result<_>>()?;
    for i in 1..arrays.len() {
        let (before, from) = arrays.split_at_mut(i);
        if let (Some(offsets), Some(bytes)) = (before.last_mut(), from.first())
            && offsets.dtype() == DType::String
        {
            divide(bytes.bytes().len(), offsets.bytes_mut());
        }
    }
    Ok(arrays)
}

/// Offsets of strings that share so many bytes.
fn divide(len: usize, offsets: &mut [u8]) {
    let last = (offsets.len() / 8).saturating_sub(1);
    for (i, cell) in offsets.chunks_exact_mut(8).enumerate() {
        let offset = if last == 0 { 0 } else { len as u128 * i as u128 / last as u128 };
        cell.copy_from_slice(&(offset as i64).to_le_bytes());
    }
}

fn fill(dtype: DType, bytes: &mut [u8], rng: &mut fastrand::Rng) {
    let size = (dtype.bits() / 8).max(1) as usize;
    for cell in bytes.chunks_exact_mut(size) {
        match dtype {
            DType::F32 => cell.copy_from_slice(&(normal(rng) as f32).to_le_bytes()),
            DType::F64 => cell.copy_from_slice(&normal(rng).to_le_bytes()),
            DType::F16 => cell.copy_from_slice(&half::f16::from_f64(normal(rng)).to_le_bytes()),
            DType::BF16 => cell.copy_from_slice(&half::bf16::from_f64(normal(rng)).to_le_bytes()),
            DType::U4 | DType::I4 => cell[0] = rng.u8(..) & 0x11,
            DType::U2 | DType::I2 => cell[0] = rng.u8(..) & 0x55,
            // The codes of 1; of powers of two, which have no 0, those of 1 and 2.
            DType::F4E2M1 => cell[0] = rng.u8(..) & 0x22,
            DType::F8E4M3FN => cell[0] = u8::from(rng.bool()) * 0x38,
            DType::F8E5M2 => cell[0] = u8::from(rng.bool()) * 0x3c,
            DType::F8E4M3FNUZ | DType::F8E5M2FNUZ => cell[0] = u8::from(rng.bool()) * 0x40,
            DType::F8E8M0 => cell[0] = 0x7f + u8::from(rng.bool()),
            _ => cell[0] = u8::from(rng.bool()),
        }
    }
}

/// A normally distributed number (Box and Muller, 1958).
fn normal(rng: &mut fastrand::Rng) -> f64 {
    let radius = (-2.0 * (1.0 - rng.f64()).ln()).sqrt();
    radius * (std::f64::consts::TAU * rng.f64()).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_numbers() {
        let mut rng = fastrand::Rng::with_seed(1);
        let numbers: Vec<f64> = (0..10_000).map(|_| normal(&mut rng)).collect();
        let mean = numbers.iter().sum::<f64>() / 1e4;
        let variance = numbers.iter().map(|x| x * x).sum::<f64>() / 1e4;
        assert!(mean.abs() < 0.05 && (variance - 1.0).abs() < 0.05);
    }

    #[test]
    fn integers_are_small_and_nonnegative() {
        let mut bytes = [0; 800];
        fill(DType::I64, &mut bytes, &mut fastrand::Rng::with_seed(1));
        assert!(bytes.chunks_exact(8).all(|c| c[0] < 2 && c[1..] == [0; 7]));
    }
}

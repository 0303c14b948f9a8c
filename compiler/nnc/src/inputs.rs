//! A model's inputs: from an archive, or made up, of sizes that [`crate::sizes`] picks.

use std::collections::BTreeMap;
use std::path::Path;

use nnc_ops::DimRange;
use nnc_runtime::{DType, DimKind, Runner, Signature, TensorInfo, TensorRef};

use crate::array::Array;
use crate::errors::{Blame, Failure, OneLine, Result};
use crate::npz::{Header, Reader};
use crate::sizes;

/// The inputs of a run.
#[derive(Debug)]
pub struct Given {
    /// The arrays, in the model's order.
    pub arrays: Vec<Array>,
    /// The symbolic dimensions for which sizes were picked, and those.
    pub picked: Vec<(String, i64)>,
}

impl Given {
    /// Inputs from an archive, or made up if there is none: of sizes within `dims` that the model takes. It has run on them
    /// once. `file` is the model's.
    ///
    /// # Errors
    /// When an array does not fit, no sizes do, or the run fails.
    pub fn run(
        runner: &mut Runner,
        file: &Path,
        archive: Option<&Path>,
        dims: &BTreeMap<String, DimRange>,
    ) -> Result<Given> {
        let model = runner.model().clone();
        let signature = model.signature();
        let mut run = |arrays: &[Array]| {
            let views: Vec<TensorRef<'_>> = arrays.iter().map(Array::view).collect();
            runner.run(&views).map_err(|e| Failure::of_run(file, e))
        };
        if let Some(path) = archive {
            let arrays = from_npz(path, signature)?;
            run(&arrays)?;
            return Ok(Given { arrays, picked: vec![] });
        }
        let named = |e: Failure| e.in_file(file.display());
        let free = |name: &String| {
            let fixed = signature.symbols.iter().any(|s| s.name == *name && s.min == s.max);
            !fixed && !dims.contains_key(name)
        };
        let mut failed = None;
        for sizes in sizes::pick(&model, dims).map_err(named)? {
            let arrays = random_at(signature, sizes.inputs).map_err(named)?;
            match run(&arrays) {
                Ok(()) => {
                    let picked = sizes.symbols.into_iter().filter(|(name, _)| free(name)).collect();
                    return Ok(Given { arrays, picked });
                }
                Err(failure) if failure.blame() == Blame::Compiler => return Err(failure),
                // Whether smaller sizes help is not known; what the first said is what is wrong with usual ones.
                Err(failure) => failed = failed.or(Some(failure)),
            }
        }
        Err(failed.unwrap_or_else(|| Failure::user("no sizes can be chosen; give --inputs")))
    }

    /// The tensors of the last run by name, each with its type and shape: inputs, then outputs.
    pub fn shapes(&self, runner: &Runner) -> Vec<(String, String)> {
        let signature = runner.model().signature();
        let inputs =
            signature.inputs.iter().zip(&self.arrays).map(|(info, array)| (info.name.clone(), array.describe()));
        let outputs = signature.outputs.iter().enumerate().map(|(i, info)| {
            let view = runner.output(i);
            (info.name.clone(), format!("{} {:?}", view.dtype, view.dims))
        });
        inputs.chain(outputs).collect()
    }

    /// What was picked, after a semicolon; nothing if nothing was.
    pub fn note(&self) -> String {
        let sizes: Vec<String> = self.picked.iter().map(|(name, n)| format!("{}={n}", OneLine(name))).collect();
        if sizes.is_empty() { String::new() } else { format!("; picked: {} (--dim takes others)", sizes.join(", ")) }
    }
}

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

//! What a model should compute: by the reference interpreter, and by ONNX Runtime, if there is a Python that has it.
//!
//! ONNX Runtime runs in a process of its own, without its optimizer, on the file as it is, so that it shares nothing with
//! nnc but the file and the inputs.

use std::path::Path;
use std::process::Command;

use nnc_ir::{DType, Graph, Tensor};
use nnc_runtime::{Runner, Signature, TensorRef};

use crate::array::Array;
use crate::errors::{Failure, Result};
use crate::npz;

/// Environment variable that names the Python to ask.
pub const PYTHON: &str = "NNC_PYTHON";
/// Runs a model: its file, an archive of inputs, and where the outputs go, numbered.
const SCRIPT: &str = include_str!("reference.py");

/// What the interpreter makes of a graph; `file` is for messages.
///
/// # Errors
/// When the inputs do not fit, or a node's data.
pub fn interpret(graph: &Graph, inputs: &[Tensor], file: &str) -> Result<Vec<Tensor>> {
    nnc_eval::run(graph, inputs).map_err(|e| Failure::user(format!("{file}: {e}")))
}

/// What ONNX Runtime makes of a model file; why nothing, in a few words, where it cannot be asked.
///
/// # Errors
/// When there is no room for temporary files.
pub fn onnx_runtime(
    model: &Path,
    signature: &Signature,
    inputs: &[Array],
) -> Result<std::result::Result<Vec<Tensor>, String>> {
    let python = std::env::var_os(PYTHON).unwrap_or_else(|| "python3".into());
    let temporary = |e: std::io::Error| Failure::user(format!("a temporary folder: {e}"));
    let folder = tempfile::tempdir().map_err(temporary)?;
    let (given, found) = (folder.path().join("in.npz"), folder.path().join("out.npz"));
    let views: Vec<(&str, TensorRef<'_>)> =
        signature.inputs.iter().zip(inputs).map(|(info, array)| (info.name.as_str(), array.view())).collect();
    let mut file = std::fs::File::create(&given).map_err(temporary)?;
    npz::write(&mut file, &views).map_err(temporary)?;
    let output = Command::new(&python).args(["-c", SCRIPT]).arg(model).args([&given, &found]).output();
    let name = Path::new(&python).display().to_string();
    let output = match output {
        Ok(output) => output,
        Err(error) => return Ok(Err(format!("{name}: {error}; {PYTHON} names a Python that has onnxruntime"))),
    };
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("it failed");
        return Ok(Err(match said.contains("No module named") {
            true => format!("{name} has no onnxruntime; {PYTHON} names a Python that has"),
            false => format!("{name}: {said}"),
        }));
    }
    Ok(numbered(&found, signature).map_err(|e| e.to_string()))
}

/// The outputs in an archive, by their numbers.
fn numbered(path: &Path, signature: &Signature) -> Result<Vec<Tensor>> {
    let mut reader = npz::Reader::open(path)?;
    let mut tensors: Vec<Tensor> = vec![];
    // Strings are two outputs and one array; what else is several is as many.
    let mut number = 0;
    while let Some(info) = signature.outputs.get(tensors.len()) {
        let accept = |header: &npz::Header| {
            if header.is(info.dtype) {
                return Ok(());
            }
            Err(Failure::user(format!("output `{}` is {}, not {}", info.name, header.describe(), info.dtype)))
        };
        let arrays = match info.dtype {
            nnc_runtime::DType::String => reader.strings(&number.to_string(), accept)?.map(Vec::from),
            dtype => reader.array(&number.to_string(), dtype, accept)?.map(|array| vec![array]),
        };
        let arrays = arrays.ok_or_else(|| Failure::user(format!("no output `{}`", info.name)))?;
        for array in &arrays {
            tensors.push(tensor(&array.view())?);
        }
        number += 1;
    }
    Ok(tensors)
}

/// The outputs of the last run.
///
/// # Errors
/// When one is of a type that the interpreter does not know.
pub fn outputs(runner: &Runner) -> Result<Vec<Tensor>> {
    (0..runner.model().signature().outputs.len()).map(|i| tensor(&runner.output(i))).collect()
}

/// A tensor as the interpreter takes it; of strings, their offsets.
///
/// # Errors
/// When it is of a type that the interpreter does not know.
pub fn tensor(view: &TensorRef<'_>) -> Result<Tensor> {
    if view.dtype == nnc_runtime::DType::String {
        let offsets: Vec<i64> =
            view.data.chunks_exact(8).map(|c| i64::from_le_bytes(c.try_into().unwrap_or_default())).collect();
        return Ok(Tensor::from_slice(&[offsets.len()], &offsets));
    }
    let unknown = || Failure::user(format!("arrays of {} cannot be interpreted", view.dtype));
    let dtype = DType::from_name(&view.dtype.to_string()).ok_or_else(unknown)?;
    let shape = view.dims.iter().map(|&d| usize::try_from(d).unwrap_or(0)).collect();
    Tensor::new(dtype, shape, nnc_ir::tensor::Data::new(view.data.to_vec())).ok_or_else(unknown)
}

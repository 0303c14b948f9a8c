//! Checks translations against recorded test cases: `cargo run --release -p nnc-ops --example check_cases -- DIR...`
//!
//! Each DIR holds `model.onnx`, `test_data_set_*/{input,output}_*.pb` and optionally `tolerance.txt` (relative, then
//! absolute), as ONNX's backend tests do. The model is translated, the interpreter runs it, and outputs are compared.
//! With `-q` only the failing cases and the totals are printed.

use nnc_ir::{DType, Data, Graph, Tensor};
use nnc_onnx::{ElemType, TensorData};
use std::path::{Path, PathBuf};

/// How a case ended.
enum Outcome {
    Pass,
    Refused(String),
    Failed(String),
}

fn main() {
    let (mut passed, mut total, mut quiet) = (0, 0, false);
    for argument in std::env::args().skip(1) {
        if argument == "-q" {
            quiet = true;
            continue;
        }
        let folder = PathBuf::from(&argument);
        let name = folder.file_name().map_or(argument.clone(), |n| n.to_string_lossy().into_owned());
        let outcome = std::panic::catch_unwind(|| check(&folder));
        total += 1;
        match outcome.unwrap_or_else(|_| Outcome::Failed("PANIC".into())) {
            Outcome::Pass => {
                passed += 1;
                if !quiet {
                    println!("ok       {name}");
                }
            }
            Outcome::Refused(why) => println!("refused  {name}: {why}"),
            Outcome::Failed(why) => println!("FAILED   {name}: {why}"),
        }
    }
    println!("{passed} of {total} pass");
}

fn check(folder: &Path) -> Outcome {
    let translated = nnc_onnx::Model::load(folder.join("model.onnx"))
        .map_err(|e| e.to_string())
        .and_then(|model| nnc_ops::translate(&model, &nnc_ops::Options::default()).map_err(|e| e.to_string()));
    let graph = match translated {
        Ok(graph) => graph,
        Err(error) => return Outcome::Refused(error),
    };
    if let Err(error) = nnc_ir::verify::verify(&graph) {
        return Outcome::Failed(format!("not well-formed: {error}"));
    }
    let tolerance = std::fs::read_to_string(folder.join("tolerance.txt")).unwrap_or_default();
    let numbers: Vec<f64> = tolerance.split_whitespace().filter_map(|t| t.parse().ok()).collect();
    let tolerance = (numbers.first().copied().unwrap_or(1e-3), numbers.get(1).copied().unwrap_or(1e-7));
    for set in 0.. {
        let data = folder.join(format!("test_data_set_{set}"));
        if !data.is_dir() {
            break;
        }
        if let Err(error) = check_set(&graph, &data, tolerance) {
            return Outcome::Failed(error);
        }
    }
    Outcome::Pass
}

fn check_set(graph: &Graph, data: &Path, tolerance: (f64, f64)) -> Result<(), String> {
    let inputs: Vec<Tensor> =
        (0..graph.inputs.len()).map(|i| load(&data.join(format!("input_{i}.pb")))).collect::<Result<_, _>>()?;
    let results = nnc_eval::run(graph, &inputs).map_err(|e| e.to_string())?;
    for (i, ((name, _), found)) in graph.outputs.iter().zip(&results).enumerate() {
        let expected = load(&data.join(format!("output_{i}.pb")))?;
        if (expected.dtype, &expected.shape) != (found.dtype, &found.shape) {
            return Err(format!(
                "`{name}` is {}{:?}, not {}{:?}",
                found.dtype, found.shape, expected.dtype, expected.shape
            ));
        }
        compare(&expected, found, tolerance).map_err(|e| format!("`{name}` {e}"))?;
    }
    Ok(())
}

fn compare(expected: &Tensor, found: &Tensor, (relative, absolute): (f64, f64)) -> Result<(), String> {
    let (mut wrong, mut first) = (0, String::new());
    for i in 0..expected.len() {
        let (e, f) = (expected.get_f64(i), found.get_f64(i));
        let near = (e - f).abs() <= absolute + relative * e.abs();
        if !(near || e == f || (e.is_nan() && f.is_nan())) {
            if wrong == 0 {
                first = format!("element {i} is {f}, not {e}");
            }
            wrong += 1;
        }
    }
    if wrong == 0 { Ok(()) } else { Err(format!("differs in {wrong} of {}: {first}", expected.len())) }
}

/// A value file as a tensor of the IR; 4- and 2-bit integers become 8-bit ones.
fn load(path: &Path) -> Result<Tensor, String> {
    let tensor = nnc_onnx::load_tensor(path).map_err(|e| e.to_string())?.tensor;
    let elem = tensor.elem_type;
    let TensorData::Bytes(bytes) = &tensor.data else { return Err("strings".into()) };
    let name = match elem {
        ElemType::Float => "f32",
        ElemType::Double => "f64",
        ElemType::Float16 => "f16",
        ElemType::Bfloat16 => "bf16",
        ElemType::Bool => "bool",
        ElemType::Uint8 | ElemType::Uint4 | ElemType::Uint2 => "u8",
        ElemType::Int8 | ElemType::Int4 | ElemType::Int2 => "i8",
        ElemType::Uint16 => "u16",
        ElemType::Int16 => "i16",
        ElemType::Uint32 => "u32",
        ElemType::Int32 => "i32",
        ElemType::Uint64 => "u64",
        ElemType::Int64 => "i64",
        _ => return Err(format!("elements of type {elem}")),
    };
    let dtype = DType::from_name(name).ok_or("no such type")?;
    let bits = elem.bits();
    let data = match bits {
        2 | 4 => {
            let at = |i: usize| {
                let shift = 8 - bits - bits * (i % (8 / bits));
                let high = bytes[i / (8 / bits)] << shift;
                if dtype == DType::I8 { (high as i8 >> (8 - bits)) as u8 } else { high >> (8 - bits) }
            };
            (0..tensor.dims.iter().product()).map(at).collect()
        }
        _ => bytes.to_vec(),
    };
    Tensor::new(dtype, tensor.dims.clone(), Data::new(data)).ok_or_else(|| "data does not fit the shape".into())
}

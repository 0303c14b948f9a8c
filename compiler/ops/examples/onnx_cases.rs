//! Runs cases of ONNX's backend test suite through translation and the reference interpreter: `onnx_cases FOLDER...`,
//! each with a `model.onnx` and folders `test_data_set_N` of `input_I.pb` and `output_I.pb`.
//!
//! Prints a line per case: `ok`, `refused` (translation), `failed` (interpreter) or `differs`.

use nnc_ir::{DType, Tensor};
use nnc_ops::{Options, import_tensor, interpret, translate};
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut wrong = 0;
    for folder in std::env::args().skip(1) {
        match case(Path::new(&folder)) {
            Ok(()) => println!("ok {folder}"),
            Err(message) => {
                println!("{message}");
                wrong += 1;
            }
        }
    }
    if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn case(folder: &Path) -> Result<(), String> {
    let model = nnc_onnx::Model::load(folder.join("model.onnx")).map_err(|e| format!("refused {e}"))?;
    let graph = translate(&model, &Options::default()).map_err(|e| format!("refused {e}"))?;
    nnc_ir::verify::verify(&graph).map_err(|e| format!("failed {}: does not verify: {e:?}", folder.display()))?;
    for set in (0..).map(|n| folder.join(format!("test_data_set_{n}"))).take_while(|set| set.exists()) {
        // Inputs with a default value may have a file all the same; the graph does not take them.
        let mut inputs = vec![];
        for (i, input) in model.graph.inputs.iter().enumerate() {
            if model.graph.required_inputs().any(|r| r.name == input.name) {
                inputs.push(load(&set.join(format!("input_{i}.pb")))?);
            }
        }
        let results = interpret::run(&graph, &inputs).map_err(|e| format!("failed {}: {e}", folder.display()))?;
        for (i, result) in results.iter().enumerate() {
            let expected = load(&set.join(format!("output_{i}.pb")))?;
            compare(result, &expected).map_err(|e| format!("differs {}: output {i}: {e}", folder.display()))?;
        }
    }
    Ok(())
}

fn load(path: &Path) -> Result<Tensor, String> {
    let named = nnc_onnx::load_tensor(path).map_err(|e| format!("failed {e}"))?;
    import_tensor(&named.tensor).map_err(|_| format!("refused {}: element type {}", path.display(), named.tensor.elem_type))
}

/// The tolerance of ONNX's own runner; wider for 16-bit floats, whose reference results are rounded at every step.
fn compare(found: &Tensor, expected: &Tensor) -> Result<(), String> {
    if found.dtype != expected.dtype || found.shape != expected.shape {
        return Err(format!("{}{:?}, expected {}{:?}", found.dtype, found.shape, expected.dtype, expected.shape));
    }
    let (relative, absolute) = match found.dtype {
        DType::F16 => (1e-2, 1e-3),
        DType::BF16 => (5e-2, 1e-2),
        _ => (1e-3, 1e-7),
    };
    for (i, (a, b)) in found.to_f64s().into_iter().zip(expected.to_f64s()).enumerate() {
        let close = a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= absolute + relative * b.abs();
        if !close {
            return Err(format!("element {i} is {a}, expected {b}"));
        }
    }
    Ok(())
}

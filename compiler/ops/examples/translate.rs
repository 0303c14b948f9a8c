//! Translates models and says for each whether it worked: `translate [--dim NAME=N] [--print] PATH...`.

use nnc_ops::{DimRange, Options, translate};
use std::process::ExitCode;
use std::time::Instant;

fn main() -> ExitCode {
    let (mut options, mut print, mut failed) = (Options::default(), false, 0);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        if argument == "--print" {
            print = true;
        } else if argument == "--dim" {
            let text = arguments.next().unwrap_or_default();
            let Some((name, Ok(size))) = text.split_once('=').map(|(n, v)| (n, v.parse())) else {
                eprintln!("--dim wants NAME=N");
                return ExitCode::FAILURE;
            };
            options.dims.insert(name.to_owned(), DimRange { min: size, max: size });
        } else if let Err(message) = one(&argument, &options, print) {
            println!("err {message}");
            failed += 1;
        }
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn one(path: &str, options: &Options, print: bool) -> Result<(), String> {
    let start = Instant::now();
    let model = nnc_onnx::Model::load(path).map_err(|e| e.to_string())?;
    let graph = translate(&model, options).map_err(|e| e.to_string())?;
    let (nodes, time) = (graph.nodes.len(), start.elapsed().as_millis());
    if let Err(errors) = nnc_ir::verify::verify(&graph) {
        return Err(format!("{path}: does not verify: {errors:?}"));
    }
    println!("ok  {path}: {nodes} nodes, {time} ms");
    if print {
        println!("{}", nnc_ir::print::graph(&graph));
    }
    Ok(())
}

//! Golden files: a graph, and what the pipeline makes of it.
//!
//! Each file of `passes/golden` holds a graph, a line `; becomes`, and the graph after all passes (for AVX2, default
//! numerics; `; run: strict` in the first line asks for strict). `NNC_BLESS=1` rewrites what stands below the line.
//! The text after the line parses back to itself, and computes what the graph above computes.

use nnc_desc::Target;
use nnc_ir::{Graph, Tensor};
use nnc_passes::pipeline::{Numerics, PipelineOptions, optimize};
use std::path::Path;

const SEPARATOR: &str = "; becomes\n";

#[test]
fn golden_files() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let (source, expected) = text.split_once(SEPARATOR).unwrap_or((&text, ""));
        let actual = run(source, &file);
        if actual == expected {
            continue;
        }
        if std::env::var_os("NNC_BLESS").is_some() {
            std::fs::write(&file, format!("{}\n{SEPARATOR}{actual}", source.trim_end())).unwrap();
        } else {
            panic!("{} differs (NNC_BLESS=1 rewrites it); the passes give\n{actual}", file.display());
        }
    }
}

fn run(source: &str, file: &Path) -> String {
    let graph = nnc_ir::parse::graph(source).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    nnc_ir::verify::verify(&graph).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let strict = source.lines().next().is_some_and(|line| line.contains("run: strict"));
    let numerics = if strict { Numerics::Strict } else { Numerics::Default };
    let options = PipelineOptions { numerics, ..PipelineOptions::default() };
    let result = optimize(graph.clone(), &Target::parse("x86_64-avx2").unwrap(), &options).unwrap();
    compare(&graph, &result, strict);
    nnc_ir::print::graph(&result)
}

/// Evaluates both graphs on inputs whose symbolic sizes are 2.
fn compare(before: &Graph, after: &Graph, exact: bool) {
    let input = |(i, &value): (usize, &nnc_ir::ValueId)| {
        let ty = before.ty(value);
        let shape: Vec<usize> = ty.shape.iter().map(|d| d.eval(&|_| Some(2)).unwrap() as usize).collect();
        let count: usize = shape.iter().product();
        let values: Vec<f64> = (0..count).map(|j| ((i * 7 + j * 5) % 11) as f64 / 4.0 - 1.0).collect();
        Tensor::from_f64s(ty.dtype, &shape, &values)
    };
    let inputs: Vec<Tensor> = before.inputs.iter().enumerate().map(input).collect();
    let (a, b) = (nnc_eval::run(before, &inputs).unwrap(), nnc_eval::run(after, &inputs).unwrap());
    for (a, b) in a.iter().zip(&b) {
        assert_eq!(a.shape, b.shape);
        let (x, y) = (a.to_f64s(), b.to_f64s());
        let scale = x.iter().fold(1.0, |m: f64, v| m.max(v.abs()));
        let bound = if exact { 0.0 } else { 1e-5 * scale };
        assert!(x.iter().zip(&y).all(|(x, y)| (x - y).abs() <= bound), "{x:?}\n{y:?}");
    }
}

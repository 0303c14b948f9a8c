//! Golden files of graph passes: `golden/PASS/NAME.nnc` holds a graph, the line `; ----`, and the graph after the
//! pipeline up to and with that pass.
//!
//! `golden/fuse/NAME.nnc` holds after the line what the whole pipeline makes of the graph, and its regions.
//!
//! `NNC_BLESS=1` rewrites what follows the line. Both graphs are verified and printed back, and the reference
//! interpreter gives the same results for both.

use std::fs;
use std::path::Path;

use nnc_desc::Target;
use nnc_ir::{DType, Graph, Tensor, parse, print, verify};
use nnc_passes::pipeline::{self, PipelineOptions};

use crate::common::root;

const LINE: &str = "; ----\n";
/// The step after the passes.
const FUSE: &str = "fuse";
/// What every symbolic dimension is in the interpreter.
const SIZE: i64 = 3;

/// Reads a graph that must be right; what is printed of it reads back as the same.
fn graph(file: &Path, text: &str) -> Graph {
    let fail = |what: &dyn std::fmt::Display| -> Graph { panic!("{}: {what}", file.display()) };
    let graph = parse::graph(text).unwrap_or_else(|e| fail(&e));
    verify::verify(&graph).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let printed = print::graph(&graph);
    let again = parse::graph_with(&printed, &parse::Constants::of(&graph)).unwrap_or_else(|e| fail(&e));
    assert_eq!(printed, print::graph(&again), "{}: printing and reading changes the graph", file.display());
    graph
}

/// Pseudo-random inputs, the same every time.
fn inputs(graph: &Graph) -> Vec<Tensor> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state >> 40
    };
    let mut tensor = |value: &nnc_ir::ValueId| {
        let ty = graph.ty(*value);
        let size = |d: &nnc_ir::Dim| d.eval(&|_| Some(SIZE)).expect("a size") as usize;
        let shape: Vec<usize> = ty.shape.iter().map(size).collect();
        let element = |n: u64| match ty.dtype {
            DType::Bool => (n & 1) as f64,
            dtype if dtype.is_float() => n as f64 / (1 << 23) as f64 - 1.0,
            _ => (n % 3) as f64,
        };
        let elements: Vec<f64> = (0..shape.iter().product()).map(|_| element(next())).collect();
        Tensor::from_f64s(ty.dtype, &shape, &elements)
    };
    graph.inputs.iter().map(&mut tensor).collect()
}

fn agree(file: &Path, before: &Graph, after: &Graph) {
    let inputs = inputs(before);
    let run = |graph| nnc_eval::run(graph, &inputs).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    for (a, b) in run(before).iter().zip(run(after)) {
        let (a_values, b_values) = (a.to_f64s(), b.to_f64s());
        let close = |(a, b): (&f64, &f64)| a == b || (a - b).abs() <= 1e-5 * (1.0 + a.abs());
        let same = a.shape == b.shape && a_values.iter().zip(&b_values).all(close);
        assert!(same, "{}: results change", file.display());
    }
}

/// The regions of a graph, which read back as the same.
fn regions(file: &Path, graph: &Graph) -> String {
    let regions = nnc_passes::regions::fuse(graph);
    regions.verify(graph).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let printed = nnc_passes::regions::print(&regions.list);
    let again = nnc_passes::regions::parse(&printed).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    assert_eq!(again, regions.list, "{}: printing and reading changes the regions", file.display());
    printed
}

fn check(pass: &str, file: &Path) {
    let text = fs::read_to_string(file).expect("a file");
    let (input, expected) = text.split_once(LINE).unwrap_or((&text, ""));
    let before = graph(file, input);
    let stop_after = (pass != FUSE).then(|| pass.to_owned());
    let options = PipelineOptions { stop_after, ..PipelineOptions::default() };
    let target = Target::parse("x86_64-avx2").expect("a target");
    let after = pipeline::optimize(graph(file, input), &target, &options);
    let after = after.unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let mut printed = print::graph(&after);
    if pass == FUSE {
        printed += &regions(file, &after);
    }
    agree(file, &before, &after);
    if std::env::var_os("NNC_BLESS").is_some() {
        fs::write(file, format!("{input}{LINE}{printed}")).expect("the file can be written");
    } else {
        assert_eq!(expected, printed, "{}: run with NNC_BLESS=1 if this is meant", file.display());
    }
}

#[test]
fn passes_yield_what_the_files_say() {
    let mut count = 0;
    for pass in pipeline::names() {
        let Ok(folder) = fs::read_dir(root().join("testsuite/golden").join(pass)) else { continue };
        for entry in folder {
            check(pass, &entry.expect("an entry").path());
            count += 1;
        }
    }
    assert!(count >= 5, "golden files are missing");
    for entry in fs::read_dir(root().join("testsuite/golden")).expect("golden files") {
        let name = entry.expect("an entry").file_name();
        assert!(pipeline::names().iter().any(|p| *p == name), "golden/{} is no pass", name.display());
    }
}

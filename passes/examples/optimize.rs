//! Prints what the graph passes do to a model: operations before and after, and the time of each pass.
//!
//! `cargo run --release -p nnc-passes --example optimize -- MODEL.onnx [--print] [--strict] [--check] [--fuel=N]`
//!
//! `--check` evaluates the model before and after with the reference interpreter (slow) and prints how far results differ.

use nnc_desc::Target;
use nnc_ir::{Graph, Op};
use nnc_passes::pipeline::{Event, Numerics, PipelineOptions, Yield, optimize};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some(path) = args.iter().find(|a| !a.starts_with("--")) else {
        return Err("usage: optimize MODEL.onnx [--print] [--strict] [--check] [--fuel=N]".into());
    };
    let start = Instant::now();
    let model = nnc_onnx::Model::load(Path::new(path))?;
    let graph = nnc_ops::translate(&model, &nnc_ops::Options::default())?;
    println!("import {:.2?}", start.elapsed());
    let before = counts(&graph);
    let observe = |event: &Event| {
        let Yield::Graph(graph) = event.yields else { return };
        println!("{:<16} {:>9.2?} {:>6} nodes", event.pass, event.elapsed, graph.nodes.len());
        if let Some(report) = event.report {
            println!(
                "    {:?} after {} rounds, {} terms: {:?}",
                report.stop, report.rounds, report.terms, report.applied
            );
        }
    };
    let numerics = if args.iter().any(|a| a == "--strict") { Numerics::Strict } else { Numerics::Default };
    let fuel = args.iter().find_map(|a| a.strip_prefix("--fuel=")).map(str::parse).transpose()?;
    let options = PipelineOptions { numerics, fuel, observer: Some(&observe), ..PipelineOptions::default() };
    let original = graph.clone();
    let start = Instant::now();
    let graph = optimize(graph, &Target::parse("x86_64-avx512")?, &options)?;
    println!("passes {:.2?}", start.elapsed());
    let after = counts(&graph);
    for name in before.keys().chain(after.keys()).collect::<std::collections::BTreeSet<_>>() {
        println!("{name:<16} {:>6} -> {:>6}", before.get(name).unwrap_or(&0), after.get(name).unwrap_or(&0));
    }
    nnc_ir::verify::verify(&graph)?;
    if args.iter().any(|a| a == "--check") {
        check(&original, &graph)?;
    }
    if args.iter().any(|a| a == "--print") {
        println!("{}", nnc_ir::print::graph(&graph));
    }
    Ok(())
}

fn counts(graph: &Graph) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    for node in &graph.nodes {
        if !matches!(node.op, Op::Constant(_)) {
            *counts.entry(node.op.name()).or_default() += 1;
        }
    }
    counts
}

/// Evaluates both graphs; symbolic sizes become 3.
fn check(before: &Graph, after: &Graph) -> Result<(), Box<dyn std::error::Error>> {
    let mut state = 1u64;
    let mut inputs = vec![];
    for &input in &before.inputs {
        let ty = before.ty(input);
        let size = |d: &nnc_ir::Dim| d.eval(&|_| Some(3)).and_then(|n| usize::try_from(n).ok());
        let shape: Vec<usize> = ty.shape.iter().map(size).collect::<Option<_>>().ok_or("a size")?;
        let values: Vec<f64> = (0..shape.iter().product())
            .map(|_| {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                let unit = (state >> 40) as f64 / f64::from(1 << 24);
                if ty.dtype.is_float() { unit - 0.5 } else { (unit * 2.0).floor() }
            })
            .collect();
        inputs.push(nnc_ir::Tensor::from_f64s(ty.dtype, &shape, &values));
    }
    let (a, b) = (nnc_eval::run(before, &inputs)?, nnc_eval::run(after, &inputs)?);
    for ((name, _), (a, b)) in before.outputs.iter().zip(a.iter().zip(&b)) {
        let (x, y) = (a.to_f64s(), b.to_f64s());
        let scale = x.iter().fold(0.0, |m: f64, v| m.max(v.abs()));
        let error = x.iter().zip(&y).fold(0.0, |m: f64, (x, y)| m.max((x - y).abs()));
        println!("{name}: {:?} and {:?}, scale {scale:.3e}, greatest difference {error:.3e}", a.shape, b.shape);
    }
    Ok(())
}

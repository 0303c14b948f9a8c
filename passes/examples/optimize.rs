//! Prints what the graph passes do to a model: operations before and after, and the time of each pass.
//!
//! `cargo run --release -p nnc-passes --example optimize -- MODEL.onnx [--print] [--strict]`

use nnc_desc::Target;
use nnc_ir::{Graph, Op};
use nnc_passes::pipeline::{Event, Numerics, PipelineOptions, optimize};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some(path) = args.iter().find(|a| !a.starts_with("--")) else {
        return Err("usage: optimize MODEL.onnx [--print] [--strict]".into());
    };
    let start = Instant::now();
    let model = nnc_onnx::Model::load(Path::new(path))?;
    let graph = nnc_ops::translate(&model, &nnc_ops::Options::default())?;
    println!("import {:.2?}", start.elapsed());
    let before = counts(&graph);
    let observe = |event: &Event| {
        println!("{:<16} {:>9.2?} {:>6} nodes", event.pass, event.elapsed, event.graph.nodes.len());
        if let Some(report) = event.report {
            println!("    {:?} after {} rounds, {} terms: {:?}", report.stop, report.rounds, report.terms, report.applied);
        }
    };
    let numerics = if args.iter().any(|a| a == "--strict") { Numerics::Strict } else { Numerics::Default };
    let options = PipelineOptions { numerics, observer: Some(&observe), ..PipelineOptions::default() };
    let start = Instant::now();
    let graph = optimize(graph, &Target::parse("x86_64-avx512")?, &options)?;
    println!("passes {:.2?}", start.elapsed());
    let after = counts(&graph);
    for name in before.keys().chain(after.keys()).collect::<std::collections::BTreeSet<_>>() {
        println!("{name:<16} {:>6} -> {:>6}", before.get(name).unwrap_or(&0), after.get(name).unwrap_or(&0));
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

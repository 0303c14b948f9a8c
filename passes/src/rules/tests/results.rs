//! What the pipeline makes of small networks.

use super::{agree, inputs, parse};
use crate::pipeline::{PipelineOptions, optimize};
use nnc_desc::Target;
use nnc_ir::{Graph, Op};

/// Optimises a graph and checks that it computes the same.
pub(super) fn optimized(text: &str) -> Graph {
    let graph = parse(text);
    let target = Target::parse("x86_64-avx2").unwrap();
    let result = optimize(graph.clone(), &target, &PipelineOptions::default()).unwrap();
    let inputs = inputs(&graph, 5);
    let before = nnc_ops::interpret::run(&graph, &inputs).unwrap();
    let after = nnc_ops::interpret::run(&result, &inputs).unwrap();
    for (a, b) in before.iter().zip(&after) {
        agree(a, b).unwrap();
    }
    result
}

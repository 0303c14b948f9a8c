//! That every form of a graph computes the same, on inputs that are the same every time.

use nnc_desc::Target;
use nnc_ir::{DType, Graph, Tensor};
use nnc_passes::pipeline::{self, Numerics, PipelineOptions};

/// What every symbolic dimension is.
const SIZE: i64 = 3;
/// What sums in another order may differ by, as a part of the greatest magnitude of their tensor.
const TOLERANCE: f64 = 1e-5;

/// Checks that the reference interpreter sees no difference between two graphs.
pub fn graphs(before: &Graph, after: &Graph, numerics: Numerics) -> Result<(), String> {
    let inputs = inputs(before);
    let tolerance = if numerics == Numerics::Strict { 0.0 } else { TOLERANCE };
    compare("the rewritten graph", &interpret(before, &inputs)?, &interpret(after, &inputs)?, tolerance)
}

/// Checks that programs compute what the graph does: of the rewritten graph fused, and of the graph as it was with every
/// operation by itself.
pub fn programs(before: &Graph, after: &Graph, target: &Target) -> Result<(), String> {
    let inputs = inputs(before);
    let wanted = interpret(before, &inputs)?;
    let optimised = run(after, target, &PipelineOptions::default(), &inputs)?;
    compare("the program", &wanted, &optimised, TOLERANCE)?;
    let nothing = PipelineOptions { fuel: Some(0), disabled: vec!["fuse".into()], ..PipelineOptions::default() };
    let plain = run(before, target, &nothing, &inputs)?;
    compare("the program without optimisation", &wanted, &plain, TOLERANCE)
}

/// Pseudo-random inputs: floats in -1..1, integers in 0..3.
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

fn interpret(graph: &Graph, inputs: &[Tensor]) -> Result<Vec<Tensor>, String> {
    nnc_eval::run(graph, inputs).map_err(|e| e.to_string())
}

/// Makes a program of a graph and interprets its kernels.
fn run(graph: &Graph, target: &Target, options: &PipelineOptions, inputs: &[Tensor]) -> Result<Vec<Tensor>, String> {
    let lowered = pipeline::program(graph, target, options).map_err(|e| e.to_string())?;
    let program = lowered.ok_or("the pipeline stopped early")?.program;
    let inputs: Vec<(Vec<i64>, Vec<u8>)> = inputs
        .iter()
        .map(|tensor| (tensor.shape.iter().map(|&d| d as i64).collect(), tensor.data.bytes().to_vec()))
        .collect();
    let outputs = nnc_kernels::interpret::run(&program, &inputs).map_err(|e| e.to_string())?;
    let mut tensors = vec![];
    for ((shape, bytes), (name, value)) in outputs.into_iter().zip(&graph.outputs) {
        let shape = shape.iter().map(|&d| d as usize).collect();
        let tensor = Tensor::new(graph.ty(*value).dtype, shape, nnc_ir::Data::new(bytes));
        tensors.push(tensor.ok_or_else(|| format!("{name}: bytes do not fit the shape"))?);
    }
    Ok(tensors)
}

fn compare(what: &str, wanted: &[Tensor], found: &[Tensor], tolerance: f64) -> Result<(), String> {
    if wanted.len() != found.len() {
        return Err(format!("{what} has {} results, not {}", found.len(), wanted.len()));
    }
    for (position, (wanted, found)) in wanted.iter().zip(found).enumerate() {
        if wanted.shape != found.shape {
            return Err(format!("{what}: result {position} is {:?}, not {:?}", found.shape, wanted.shape));
        }
        let (wanted, found) = (wanted.to_f64s(), found.to_f64s());
        let finite = wanted.iter().filter(|w| w.is_finite());
        let most = tolerance * finite.fold(1.0, |most: f64, w| most.max(w.abs()));
        let close = |(w, f): (&f64, &f64)| w == f || (w - f).abs() <= most || (w.is_nan() && f.is_nan());
        if let Some(at) = wanted.iter().zip(&found).position(|pair| !close(pair)) {
            return Err(format!("{what}: element {at} of result {position} is {}, not {}", found[at], wanted[at]));
        }
    }
    Ok(())
}

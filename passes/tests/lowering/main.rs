//! Lowering against the reference interpreter: small graphs in text form, lowered for three vector lengths, run by
//! the kernel interpreter, and compared with the core operations' own meaning. Every program is printed and read back.

mod allocated;
mod axes;
mod cases;
mod control;
mod data_dependent;
mod far_taps;
mod limits;
mod narrow;
mod pooling;
mod recurrent;
mod sizes;
mod states;
mod suppression;

use nnc_desc::Target;
use nnc_ir::{DType, Graph, Tensor};
use nnc_kernels::{Program, parse, print};
use nnc_passes::pipeline::{self, PassError, PipelineOptions};

/// What runs are given; more than fits into a word.
const SEED: u64 = 0x0123_4567_89ab_cdef;

/// Deterministic inputs: floats in -1..1, integers in 0..4.
fn input(dtype: DType, dims: &[i64], seed: u64) -> Tensor {
    let count: i64 = dims.iter().product();
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let values: Vec<f64> = (0..count)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            if dtype.is_float() { (state >> 40) as f64 / (1 << 23) as f64 - 1.0 } else { (state >> 60 & 3) as f64 }
        })
        .collect();
    let shape: Vec<usize> = dims.iter().map(|&d| d as usize).collect();
    if dtype == DType::Bool {
        let bits: Vec<f64> = values.iter().map(|v| f64::from(*v > 1.0)).collect();
        return Tensor::from_f64s(dtype, &shape, &bits);
    }
    Tensor::from_f64s(dtype, &shape, &values)
}

/// Lowers a graph and compares, with symbols set to each of the given values (the same for all).
fn check(text: &str, symbols: &[i64], tolerance: f64) {
    check_with(text, &[], symbols, tolerance);
}

/// The same with outputs kept as inputs.
fn check_with(text: &str, states: &[(usize, usize)], symbols: &[i64], tolerance: f64) {
    let graph = nnc_ir::parse::graph(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    nnc_ir::verify::verify(&graph).unwrap_or_else(|e| panic!("{e}\n{text}"));
    check_graph(&graph, text, states, symbols, tolerance);
}

/// The same for a graph that has a text for messages.
fn check_graph(graph: &Graph, text: &str, states: &[(usize, usize)], symbols: &[i64], tolerance: f64) {
    for target in ["x86_64", "x86_64-avx2", "x86_64-avx512"] {
        let target = nnc_desc::Target::parse(target).unwrap();
        let program = planned(graph, &target, states).unwrap_or_else(|e| panic!("{e}\n{text}"));
        let printed = || program.kernels.iter().map(print::kernel).collect::<String>();
        nnc_kernels::verify::program(&program).unwrap_or_else(|e| panic!("{e}\n{text}\n{}", printed()));
        check_text(&program);
        for &value in symbols {
            let tensors: Vec<Tensor> = graph
                .inputs
                .iter()
                .enumerate()
                .map(|(i, &v)| {
                    let ty = graph.ty(v);
                    let dims: Vec<i64> = ty.shape.iter().map(|d| d.eval(&|_| Some(value)).unwrap()).collect();
                    input(ty.dtype, &dims, i as u64 + 1)
                })
                .collect();
            let want = nnc_eval::run_with_seed(graph, &tensors, SEED).unwrap_or_else(|e| panic!("{e}\n{text}"));
            let raw: Vec<(Vec<i64>, Vec<u8>)> = tensors
                .iter()
                .map(|t| (t.shape.iter().map(|&d| d as i64).collect(), t.data.bytes().to_vec()))
                .collect();
            let got = nnc_kernels::interpret::run_with_seed(&program, &raw, SEED)
                .unwrap_or_else(|e| panic!("{e}\n{text}\n{}", printed()));
            for ((dims, bytes), want) in got.into_iter().zip(want) {
                let shape: Vec<usize> = dims.iter().map(|&d| d as usize).collect();
                assert_eq!(shape, want.shape, "{text}");
                let got = Tensor::new(want.dtype, shape, nnc_ir::Data::new(bytes)).expect("bytes fit the shape");
                let scale = want.to_f64s().iter().fold(1e-3f64, |m, v| if v.is_finite() { m.max(v.abs()) } else { m });
                for i in 0..want.len() {
                    let (g, w) = (got.get_f64(i), want.get_f64(i));
                    let same = (g - w).abs() <= tolerance * scale || g == w || (g.is_nan() && w.is_nan());
                    assert!(same, "element {i}: {g} where {w} belongs\n{text}\n{}", printed());
                }
            }
        }
    }
}

/// Prints a program and reads it back.
fn check_text(program: &Program) {
    let text = print::program(program);
    let again = parse::program(&text, &program.constants()).unwrap_or_else(|e| panic!("{e}\n{text}"));
    // Variables of kernels are renumbered in the order of the text.
    let renumbered = |kernel| parse::kernel(&print::kernel(kernel)).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let kernels = program.kernels.iter().map(renumbered).collect();
    assert!(again == Program { kernels, ..program.clone() }, "{again:#?}\nis not what was printed:\n{program:#?}");
    assert_eq!(print::program(&again), text);
    nnc_kernels::verify::program(&again).unwrap_or_else(|e| panic!("{e}\n{text}"));
}

/// The program of a graph.
fn lowered(text: &str) -> nnc_kernels::plan::Program {
    let graph = nnc_ir::parse::graph(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let target = nnc_desc::Target::parse("x86_64-avx2").expect("a target");
    planned(&graph, &target, &[]).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

/// The planned program of a graph, without rewriting.
fn planned(graph: &Graph, target: &Target, states: &[(usize, usize)]) -> Result<Program, PassError> {
    let options = PipelineOptions { states: states.to_vec(), ..PipelineOptions::default() };
    let lowered = pipeline::program(graph, target, &options)?;
    Ok(lowered.expect("nothing stops it").program)
}

//! Weights that stay in the type of the file: what the passes keep narrow, packed and widened as it is read.

use super::{check_graph, planned};
use nnc_desc::Target;
use nnc_kernels::Program;
use nnc_passes::pipeline::{PipelineOptions, optimize};

/// Compares, and yields the program for AVX-512.
fn check(text: &str, symbols: &[i64], tolerance: f64) -> Program {
    let graph = nnc_ir::parse::graph(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let target = Target::parse("x86_64-avx512").unwrap();
    let graph = optimize(graph, &target, &PipelineOptions::default()).unwrap_or_else(|e| panic!("{e}\n{text}"));
    check_graph(&graph, text, &[], symbols, tolerance);
    planned(&graph, &target, &[]).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

/// Bytes of the largest weight.
fn largest(program: &Program) -> usize {
    program.weights.iter().map(|weight| weight.packed_bytes()).max().unwrap_or(0)
}

#[test]
fn half_precision() {
    for dtype in ["f16", "bf16"] {
        let program = check(
            &format!(
                "dim n in 0..
                 graph @t(%0: {dtype}[n, 50]) -> (y: %2) {{
                   %1 = constant {dtype}[50, 48] random=1
                   %2 = contract %0, %1 batch=[] contract=[(1, 0)] out={dtype} : {dtype}[n, 48]
                 }}"
            ),
            &[0, 1, 17],
            1e-2,
        );
        assert_eq!(largest(&program), 50 * 48 * 2);
    }
}

/// Bytes with a zero point of their own for each column, and scales.
#[test]
fn bytes_with_zero_points() {
    let program = check(
        "dim n in 0..
         graph @t(%0: f32[n, 50]) -> (y: %8) {
           %9 = constant u8[48, 50] random=1
           %10 = constant u8[] [101]
           %11 = broadcast %10 shape=[48, 50] axes=[] : u8[48, 50]
           %1 = xor %9, %11 : u8[48, 50]
           %2 = convert %1 to=f32 : f32[48, 50]
           %3 = constant f32[48] random=2
           %4 = broadcast %3 shape=[48, 50] axes=[0] : f32[48, 50]
           %5 = sub %2, %4 : f32[48, 50]
           %6 = broadcast %3 shape=[48, 50] axes=[0] : f32[48, 50]
           %7 = mul %5, %6 : f32[48, 50]
           %8 = contract %0, %7 batch=[] contract=[(1, 1)] out=f32 : f32[n, 48]
         }",
        &[0, 1, 17],
        1e-5,
    );
    assert_eq!(largest(&program), 50 * 48);
}

/// Numbers of 4 bits less 8 in blocks of 32 along the sum; 40 columns do not fill the panels.
#[test]
fn halves_of_bytes_in_blocks() {
    let program = check(
        "dim n in 0..
         graph @t(%0: f32[n, 64]) -> (y: %12) {
           %1 = constant u8[40, 64] random=1
           %2 = constant u8[] [15]
           %3 = broadcast %2 shape=[40, 64] axes=[] : u8[40, 64]
           %4 = and %1, %3 : u8[40, 64]
           %5 = convert %4 to=f32 : f32[40, 64]
           %6 = constant f32[] [8]
           %7 = broadcast %6 shape=[40, 64] axes=[] : f32[40, 64]
           %8 = sub %5, %7 : f32[40, 64]
           %9 = constant f32[40, 2] random=2
           %10 = broadcast %9 shape=[40, 2, 32] axes=[0, 1] : f32[40, 2, 32]
           %13 = reshape %10 shape=[40, 64] : f32[40, 64]
           %11 = mul %8, %13 : f32[40, 64]
           %12 = contract %0, %11 batch=[] contract=[(1, 1)] out=f32 : f32[n, 40]
         }",
        &[0, 1, 17],
        1e-5,
    );
    assert_eq!(largest(&program), 64 * 48 / 2);
}

/// A convolution in two groups of which every output channel has a scale; its numbers fit 4 bits.
#[test]
fn convolution() {
    let program = check(
        "graph @t(%0: f32[1, 9, 9, 16]) -> (y: %6) {
           %1 = constant i8[64, 8, 3, 3] random=1
           %2 = convert %1 to=f32 : f32[64, 8, 3, 3]
           %3 = constant f32[64, 1, 1, 1] random=2
           %4 = broadcast %3 shape=[64, 8, 3, 3] axes=[0, 1, 2, 3] : f32[64, 8, 3, 3]
           %5 = mul %2, %4 : f32[64, 8, 3, 3]
           %7 = transpose %5 perm=[2, 3, 1, 0] : f32[3, 3, 8, 64]
           %6 = conv %0, %7 window={ size=[3, 3] strides=[1, 1] dilations=[1, 1] pad_low=[0, 0] pad_high=[0, 0] } groups=2 out=f32 : f32[1, 7, 7, 64]
         }",
        &[1],
        1e-5,
    );
    assert_eq!(largest(&program), 64 * 8 * 9 / 2);
}

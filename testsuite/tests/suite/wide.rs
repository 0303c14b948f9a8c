//! Free dimensions cost no vectors: products and convolutions over symbolic sizes use the target's vectors fully.

use nnc_cpu::{KernelCode, Width};
use nnc_desc::Target;
use nnc_ir::{parse, verify};

/// The kernels of a graph's program.
fn kernels(text: &str, target: &str) -> Vec<KernelCode> {
    let graph = parse::graph(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    verify::verify(&graph).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let target = Target::parse(target).unwrap();
    let lowered = nnc_passes::pipeline::program(&graph, &target, &Default::default());
    let program = lowered.unwrap_or_else(|e| panic!("{e}\n{text}")).expect("nothing stops it").program;
    nnc_cpu::compile(&program, &target, &nnc_cpu::Options::default()).unwrap_or_else(|e| panic!("{e}\n{text}")).kernels
}

fn check_all_wide(text: &str) {
    for target in ["x86_64-avx2", "x86_64-avx512"] {
        let kernels = kernels(text, target);
        assert!(kernels.iter().any(|k| k.name.starts_with("con")), "no product in\n{text}");
        for kernel in kernels {
            assert_eq!(kernel.width, Width::Full, "{} for {target} of\n{text}", kernel.name);
        }
    }
}

#[test]
fn convolutions_over_free_batch_height_and_width() {
    let window = |size: usize, stride: usize, pad: usize| {
        format!(
            "window={{size=[{size}, {size}] strides=[{stride}, {stride}] dilations=[1, 1] pad_low=[{pad}, {pad}] \
             pad_high=[{pad}, {pad}]}}"
        )
    };
    let (strided, point, padded) = (window(3, 2, 0), window(1, 1, 0), window(3, 1, 1));
    let sizes = "batch, floor((height + 1)/2) - 1, floor((width + 1)/2) - 1";
    check_all_wide(&format!(
        "dim batch in 0..
         dim height in 0..
         dim width in 0..
         graph @t(%0: f32[batch, height, width, 3]) -> (y: %11, z: %12) {{
           %1 = constant f32[3, 3, 3, 64] random=1
           %2 = conv %0, %1 {strided} groups=1 out=f32 : f32[{sizes}, 64]
           %3 = tanh %2 : f32[{sizes}, 64]
           %4 = constant f32[1, 1, 64, 16] random=2
           %5 = conv %3, %4 {point} groups=1 out=f32 : f32[{sizes}, 16]
           %6 = tanh %5 : f32[{sizes}, 16]
           %7 = constant f32[3, 3, 16, 24] random=3
           %8 = conv %6, %7 {padded} groups=1 out=f32 : f32[{sizes}, 24]
           %9 = tanh %8 : f32[{sizes}, 24]
           %10 = constant f32[3, 3, 1, 24] random=4
           %11 = conv %9, %10 {padded} groups=24 out=f32 : f32[{sizes}, 24]
           %12 = reduce %11 op=sum axes=[1, 2] : f32[batch, 24]
         }}"
    ));
}

#[test]
fn products_over_free_batch_and_sequence() {
    check_all_wide(
        "dim batch in 0..
         dim s in 0..
         graph @t(%0: f32[batch, s, 48]) -> (y: %12) {
           %1 = constant f32[48, 96] random=1
           %2 = contract %0, %1 batch=[] contract=[(2, 0)] out=f32 : f32[batch, s, 96]
           %3 = reshape %2 shape=[batch, s, 3, 32] : f32[batch, s, 3, 32]
           %4 = transpose %3 perm=[0, 2, 1, 3] : f32[batch, 3, s, 32]
           %5 = contract %4, %4 batch=[(0, 0), (1, 1)] contract=[(3, 3)] out=f32 : f32[batch, 3, s, s]
           %6 = exp %5 : f32[batch, 3, s, s]
           %7 = contract %6, %4 batch=[(0, 0), (1, 1)] contract=[(3, 2)] out=f32 : f32[batch, 3, s, 32]
           %8 = transpose %7 perm=[0, 2, 1, 3] : f32[batch, s, 3, 32]
           %9 = reshape %8 shape=[batch, s, 96] : f32[batch, s, 96]
           %10 = constant f32[96, 48] random=2
           %11 = contract %9, %10 batch=[] contract=[(2, 0)] out=f32 : f32[batch, s, 48]
           %12 = add %11, %0 : f32[batch, s, 48]
         }",
    );
}

#[test]
fn what_is_not_wide_is_told() {
    let text = "dim n in 0..
         graph @t(%0: f64[n, 8]) -> (y: %2) {
           %1 = constant f64[8, 8] random=1
           %2 = contract %0, %1 batch=[] contract=[(1, 0)] out=f64 : f64[n, 8]
         }";
    let notes = nnc_cpu::notes(&kernels(text, "x86_64-avx512"));
    assert_eq!(notes, ["1 kernel runs with 128-bit vectors: a matrix product of this type (contract_0)"]);
    // Where vectors have 128 bits there is nothing to tell.
    assert_eq!(nnc_cpu::notes(&kernels(text, "x86_64")), Vec::<String>::new());
}

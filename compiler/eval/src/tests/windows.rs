//! `conv`, `pool`, `pool_index`.

use super::*;
use nnc_ir::op::{ReduceOp, Window};

fn window(size: &[usize], strides: &[usize], dilations: &[usize], low: &[usize], high: &[usize]) -> Window {
    Window {
        size: size.to_vec(),
        strides: strides.to_vec(),
        dilations: dilations.to_vec(),
        pad_low: low.to_vec(),
        pad_high: high.to_vec(),
    }
}

fn line(size: usize, stride: usize, dilation: usize, low: usize, high: usize) -> Window {
    window(&[size], &[stride], &[dilation], &[low], &[high])
}

fn conv(x: &Tensor, w: &Tensor, window: Window, groups: usize) -> Tensor {
    one(&Op::Conv { window, groups, out: DType::F32 }, &[x, w])
}

#[test]
fn convolution_along_a_line() {
    let x = tensor(&[1, 4, 1], &[1.0f32, 2.0, 3.0, 4.0]);
    let w = tensor(&[3, 1, 1], &[1.0f32, 10.0, 100.0]);
    check(&conv(&x, &w, line(3, 1, 1, 0, 0), 1), &[1, 2, 1], &[321.0f32, 432.0]);
    check(&conv(&x, &w, line(3, 1, 1, 1, 1), 1), &[1, 4, 1], &[210.0f32, 321.0, 432.0, 43.0]);
    check(&conv(&x, &w, line(3, 2, 1, 1, 0), 1), &[1, 2, 1], &[210.0f32, 432.0]);
    check(&conv(&x, &w, line(3, 1, 2, 2, 2), 1), &[1, 4, 1], &[310.0f32, 420.0, 31.0, 42.0]);
    // A border times infinity.
    let infinite = tensor(&[3, 1, 1], &[1.0f32, 10.0, f32::INFINITY]);
    let sums = conv(&x, &infinite, line(3, 3, 1, 0, 2), 1).to_f64s();
    assert!(sums[0] == f64::INFINITY && sums[1].is_nan(), "{sums:?}");
    // Windows wholly inside the border.
    check(&conv(&x, &w, line(3, 4, 1, 4, 3), 1), &[1, 3, 1], &[0.0f32, 321.0, 0.0]);
}

#[test]
fn convolution_over_images() {
    let x = counting(&[1, 3, 3, 1]);
    let w = tensor(&[2, 2, 1, 1], &[1.0f32, 2.0, 3.0, 4.0]);
    let plane = window(&[2, 2], &[1, 1], &[1, 1], &[0, 0], &[0, 0]);
    check(&conv(&x, &w, plane, 1), &[1, 2, 2, 1], &[27.0f32, 37.0, 57.0, 67.0]);
    // Two images, two channels in, three out, kernel 1.
    let x = counting(&[2, 1, 2]);
    let w = counting(&[1, 2, 3]);
    let found = conv(&x, &w, line(1, 1, 1, 0, 0), 1);
    check(&found, &[2, 1, 3], &[3.0f32, 4.0, 5.0, 9.0, 14.0, 19.0]);
}

#[test]
fn grouped_convolution() {
    // Four channels in two groups, each with two filters over its two channels.
    let x = tensor(&[1, 1, 4], &[1.0f32, 2.0, 3.0, 4.0]);
    let w = tensor(&[1, 2, 4], &[1.0f32, 10.0, 1.0, 10.0, 100.0, 1000.0, 100.0, 1000.0]);
    let found = conv(&x, &w, line(1, 1, 1, 0, 0), 2);
    check(&found, &[1, 1, 4], &[201.0f32, 2010.0, 403.0, 4030.0]);
    // Depthwise.
    let w = tensor(&[1, 1, 4], &[1.0f32, 10.0, 100.0, 1000.0]);
    check(&conv(&x, &w, line(1, 1, 1, 0, 0), 4), &[1, 1, 4], &[1.0f32, 20.0, 300.0, 4000.0]);
    let op = Op::Conv { window: line(1, 1, 1, 0, 0), groups: 3, out: DType::F32 };
    assert!(error(&op, &[&x, &w]).contains("in 3 groups"));
}

#[test]
fn integer_convolution() {
    let (x, w) = (tensor(&[1, 2, 1], &[255u8, 255]), tensor(&[2, 1, 1], &[-128i8, -128]));
    let op = Op::Conv { window: line(2, 1, 1, 0, 0), groups: 1, out: DType::I32 };
    check(&one(&op, &[&x, &w]), &[1, 1, 1], &[-65280i32]);
}

#[test]
fn volumes() {
    let cube = window(&[2; 3], &[1; 3], &[1; 3], &[0; 3], &[0; 3]);
    let x = counting(&[1, 2, 2, 2, 1]);
    check(&conv(&x, &tensor(&[2, 2, 2, 1, 1], &[1.0f32; 8]), cube, 1), &[1, 1, 1, 1, 1], &[28.0f32]);
}

#[test]
fn pooling() {
    let pool = |x: &Tensor, op, window| one(&Op::Pool { op, window }, &[x]);
    let x = tensor(&[1, 4, 1], &[1.0f32, -2.0, 3.0, -4.0]);
    check(&pool(&x, ReduceOp::Max, line(2, 2, 1, 0, 0)), &[1, 2, 1], &[1.0f32, 3.0]);
    check(&pool(&x, ReduceOp::Min, line(2, 1, 2, 1, 1)), &[1, 4, 1], &[-2.0f32, 1.0, -4.0, 3.0]);
    check(&pool(&x, ReduceOp::Sum, line(3, 1, 1, 1, 1)), &[1, 4, 1], &[-1.0f32, 2.0, -3.0, -1.0]);
    check(&pool(&x, ReduceOp::Max, line(1, 4, 1, 4, 0)), &[1, 2, 1], &[f32::NEG_INFINITY, 1.0]);
    let nan = tensor(&[1, 2, 1], &[f32::NAN, 1.0]);
    assert!(pool(&nan, ReduceOp::Max, line(2, 1, 1, 0, 0)).get_f64(0).is_nan());
    let bytes = tensor(&[1, 2, 2], &[1u8, 200, 3, 4]);
    check(&pool(&bytes, ReduceOp::Max, line(2, 1, 1, 0, 0)), &[1, 1, 2], &[3u8, 200]);
    // A window larger than what it runs over.
    check::<f32>(&pool(&x, ReduceOp::Max, line(5, 1, 1, 0, 0)), &[1, 0, 1], &[]);
    let huge = Op::Pool { op: ReduceOp::Max, window: line(usize::MAX, 1, usize::MAX, 0, 0) };
    assert!(error(&huge, &[&x]).contains("too large"));
}

#[test]
fn pooling_indices() {
    let index = |x: &Tensor, window| one(&Op::PoolIndex { window }, &[x]);
    let x = tensor(&[1, 2, 2, 2], &[1.0f32, 8.0, 5.0, 2.0, 5.0, 3.0, 4.0, 8.0]);
    let plane = window(&[2, 2], &[1, 1], &[1, 1], &[0, 0], &[0, 0]);
    check(&index(&x, plane), &[1, 1, 1, 2], &[1i64, 0]);
    let padded = window(&[2, 2], &[2, 2], &[1, 1], &[1, 1], &[1, 1]);
    check(&index(&x, padded), &[1, 2, 2, 2], &[0i64, 0, 1, 1, 2, 2, 3, 3]);
    check(&index(&tensor(&[1, 3, 1], &[1.0, f32::NAN, f32::NAN]), line(3, 1, 1, 0, 0)), &[1, 1, 1], &[1i64]);
}

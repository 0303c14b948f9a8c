//! Gathers and scatters.

use super::*;
use nnc_ir::op::ScatterOp;

#[test]
fn gather() {
    let op = |axis, batch| Op::Gather { axis, batch };
    let x = counting(&[3, 2]);
    check(&one(&op(0, 0), &[&x, &row(&[2i64, 0])]), &[2, 2], &[4.0f32, 5.0, 0.0, 1.0]);
    check(&one(&op(1, 0), &[&x, &Tensor::scalar(1i64)]), &[3], &[1.0f32, 3.0, 5.0]);
    check(&one(&op(1, 0), &[&x, &tensor(&[1, 2], &[1i64, 1])]), &[3, 1, 2], &[1.0f32, 1.0, 3.0, 3.0, 5.0, 5.0]);
    // x [2, 2, 3] and index [2, 1] share their first axis.
    let x = counting(&[2, 2, 3]);
    check(&one(&op(2, 1), &[&x, &tensor(&[2, 1], &[0i64, 2])]), &[2, 2, 1], &[0.0f32, 3.0, 8.0, 11.0]);
    check(&one(&op(1, 1), &[&x, &tensor(&[2], &[0i64, 1])]), &[2, 3], &[0.0f32, 1.0, 2.0, 9.0, 10.0, 11.0]);
    check::<f32>(&one(&op(0, 0), &[&x, &row::<i64>(&[])]), &[0, 2, 3], &[]);
    assert_eq!(error(&op(0, 0), &[&x, &row(&[2i64])]), "gather: index 2 is out of range for axis 0 of size 2");
    assert!(error(&op(0, 0), &[&x, &row(&[-1i64])]).contains("index -1 is out of range"));
}

#[test]
fn gather_elements() {
    let x = counting(&[2, 3]);
    let index = tensor(&[2, 2], &[2i64, 0, 1, 1]);
    check(&one(&Op::GatherElements { axis: 1 }, &[&x, &index]), &[2, 2], &[2.0f32, 0.0, 4.0, 4.0]);
    let index = tensor(&[1, 3], &[1i64, 0, 1]);
    check(&one(&Op::GatherElements { axis: 0 }, &[&x, &index]), &[1, 3], &[3.0f32, 1.0, 5.0]);
    assert!(error(&Op::GatherElements { axis: 1 }, &[&x, &tensor(&[3, 1], &[0i64; 3])]).contains("by [3, 1]"));
}

#[test]
fn gather_nd() {
    let x = counting(&[2, 3, 2]);
    let index = tensor(&[2, 2], &[1i64, 2, 0, 1]);
    check(&one(&Op::GatherNd { batch: 0 }, &[&x, &index]), &[2, 2], &[10.0f32, 11.0, 2.0, 3.0]);
    let index = tensor(&[2, 1], &[1i64, 2]);
    check(&one(&Op::GatherNd { batch: 1 }, &[&x, &index]), &[2, 2], &[2.0f32, 3.0, 10.0, 11.0]);
    let none = tensor::<i64>(&[2, 0], &[]);
    check(&one(&Op::GatherNd { batch: 0 }, &[&row(&[1u8]), &none]), &[2, 1], &[1u8, 1]);
    let empty = tensor::<f32>(&[3, 0], &[]);
    check::<f32>(&one(&Op::GatherNd { batch: 0 }, &[&empty, &tensor(&[1, 1], &[2i64])]), &[1, 0], &[]);
    assert!(error(&Op::GatherNd { batch: 0 }, &[&x, &tensor(&[1, 2], &[0i64, 3])]).contains("index 3"));
}

#[test]
fn scatter_nd() {
    let x = counting(&[3, 2]);
    let (index, updates) = (tensor(&[2, 1], &[2i64, 0]), tensor(&[2, 2], &[10.0f32, 20.0, 30.0, 40.0]));
    let scatter = |op| one(&Op::ScatterNd(op), &[&x, &index, &updates]);
    check(&scatter(ScatterOp::Replace), &[3, 2], &[30.0f32, 40.0, 2.0, 3.0, 10.0, 20.0]);
    check(&scatter(ScatterOp::Add), &[3, 2], &[30.0f32, 41.0, 2.0, 3.0, 14.0, 25.0]);
    let points = tensor(&[3, 1], &[1i64, 1, 0]);
    let twice = |op| one(&Op::ScatterNd(op), &[&row(&[3u8, 5]), &points, &row(&[200u8, 100, 2])]);
    check(&twice(ScatterOp::Replace), &[2], &[2u8, 100]);
    check(&twice(ScatterOp::Add), &[2], &[5u8, 49]);
    check(&twice(ScatterOp::Max), &[2], &[3u8, 200]);
    check(&twice(ScatterOp::Min), &[2], &[2u8, 5]);
    check(&twice(ScatterOp::Mul), &[2], &[6u8, (5u32 * 200 * 100) as u8]);
    assert!(error(&Op::ScatterNd(ScatterOp::Add), &[&x, &index, &row(&[1.0f32])]).contains("updates [1]"));
}

#[test]
fn scatter_elements() {
    let op = |axis, op| Op::ScatterElements { axis, op };
    let x = tensor(&[2, 3], &[0i32; 6]);
    let (index, updates) = (tensor(&[2, 2], &[1i64, 1, 0, 2]), tensor(&[2, 2], &[1i32, 2, 3, 4]));
    check(&one(&op(1, ScatterOp::Replace), &[&x, &index, &updates]), &[2, 3], &[0i32, 2, 0, 3, 0, 4]);
    check(&one(&op(1, ScatterOp::Add), &[&x, &index, &updates]), &[2, 3], &[0i32, 3, 0, 3, 0, 4]);
    let first = tensor(&[1, 2], &[1i64, 0]);
    let moved = one(&op(0, ScatterOp::Replace), &[&x, &first, &tensor(&[1, 2], &[7i32, 8])]);
    check(&moved, &[2, 3], &[0i32, 8, 0, 7, 0, 0]);
    assert!(error(&op(0, ScatterOp::Add), &[&x, &index, &updates]).contains("index 2 is out of range"));
}

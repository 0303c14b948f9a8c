//! `reduce`, `arg_reduce`, `cumulative`, `contract`.

use super::*;
use half::f16;
use nnc_ir::op::ReduceOp;

fn reduce(op: ReduceOp, axes: &[usize], x: &Tensor) -> Tensor {
    one(&Op::Reduce { op, axes: axes.to_vec() }, &[x])
}

#[test]
fn reductions() {
    let x = counting(&[2, 3]);
    check(&reduce(ReduceOp::Sum, &[0], &x), &[3], &[3.0f32, 5.0, 7.0]);
    check(&reduce(ReduceOp::Sum, &[1], &x), &[2], &[3.0f32, 12.0]);
    check(&reduce(ReduceOp::Sum, &[0, 1], &x), &[], &[15.0f32]);
    check(&reduce(ReduceOp::Prod, &[1], &x), &[2], &[0.0f32, 60.0]);
    check(&reduce(ReduceOp::Max, &[0, 2], &counting(&[2, 2, 2])), &[2], &[5.0f32, 7.0]);
    let nan = tensor(&[2, 2], &[1.0f32, f32::NAN, 3.0, 2.0]);
    let max = reduce(ReduceOp::Max, &[1], &nan).to_f64s();
    assert!(max[0].is_nan() && max[1] == 3.0);
    assert!(reduce(ReduceOp::Min, &[1], &nan).get_f64(0).is_nan());
    check(&reduce(ReduceOp::Sum, &[0], &row(&[100i8, 100])), &[], &[-56i8]);
    check(&reduce(ReduceOp::Max, &[0], &row(&[1u64, u64::MAX])), &[], &[u64::MAX]);
    check_bools(&reduce(ReduceOp::Max, &[0], &bools(&[false, true])), &[true]);
    // Sums are rounded once: step by step, f16 would stay at 2048.
    check(&reduce(ReduceOp::Sum, &[0], &row(&[f16::ONE; 3000])), &[], &[f16::from_f32(3000.0)]);
    assert!(error(&Op::Reduce { op: ReduceOp::Sum, axes: vec![2] }, &[&x]).contains("axes [2]"));
}

#[test]
fn empty_reductions() {
    let x = tensor::<f32>(&[2, 0], &[]);
    check(&reduce(ReduceOp::Sum, &[1], &x), &[2], &[0.0f32; 2]);
    check(&reduce(ReduceOp::Prod, &[1], &x), &[2], &[1.0f32; 2]);
    check(&reduce(ReduceOp::Max, &[1], &x), &[2], &[f32::NEG_INFINITY; 2]);
    check(&reduce(ReduceOp::Min, &[1], &x), &[2], &[f32::INFINITY; 2]);
    check::<f32>(&reduce(ReduceOp::Sum, &[0], &x), &[0], &[]);
    check(&reduce(ReduceOp::Max, &[0], &row::<i8>(&[])), &[], &[i8::MIN]);
    check(&reduce(ReduceOp::Min, &[0], &row::<i64>(&[])), &[], &[i64::MAX]);
    check(&reduce(ReduceOp::Max, &[0], &row::<u32>(&[])), &[], &[0u32]);
    check(&reduce(ReduceOp::Min, &[0], &row::<u64>(&[])), &[], &[u64::MAX]);
    check_bools(&reduce(ReduceOp::Min, &[0], &bools(&[])), &[true]);
}

#[test]
fn arg_reductions() {
    let arg = |x: &Tensor, axis, max, last| one(&Op::ArgReduce { axis, max, last }, &[x]);
    let x = tensor(&[2, 3], &[1.0f32, 3.0, 3.0, 5.0, 4.0, 5.0]);
    check(&arg(&x, 1, true, false), &[2], &[1i64, 0]);
    check(&arg(&x, 1, true, true), &[2], &[2i64, 2]);
    check(&arg(&x, 0, false, false), &[3], &[0i64, 0, 0]);
    check(&arg(&row(&[2i32, 1, 1]), 0, false, true), &[], &[2i64]);
    check(&arg(&row(&[1u64, u64::MAX]), 0, true, false), &[], &[1i64]);
    let nan = row(&[1.0f32, f32::NAN, 9.0, f32::NAN]);
    check(&arg(&nan, 0, true, false), &[], &[1i64]);
    check(&arg(&nan, 0, false, true), &[], &[3i64]);
    let empty = tensor::<f32>(&[2, 0], &[]);
    assert!(error(&Op::ArgReduce { axis: 1, max: true, last: false }, &[&empty]).contains("no element"));
    check::<i64>(&arg(&empty, 0, true, false), &[0], &[]);
}

#[test]
fn running_sums() {
    let run = |x: &Tensor, op, axis, exclusive, reverse| one(&Op::Cumulative { op, axis, exclusive, reverse }, &[x]);
    let x = row(&[1i32, 2, 3]);
    check(&run(&x, ReduceOp::Sum, 0, false, false), &[3], &[1i32, 3, 6]);
    check(&run(&x, ReduceOp::Sum, 0, true, false), &[3], &[0i32, 1, 3]);
    check(&run(&x, ReduceOp::Sum, 0, false, true), &[3], &[6i32, 5, 3]);
    check(&run(&x, ReduceOp::Sum, 0, true, true), &[3], &[5i32, 3, 0]);
    check(&run(&x, ReduceOp::Prod, 0, true, false), &[3], &[1i32, 1, 2]);
    check(&run(&row(&[1.0f32, 2.0, 3.0]), ReduceOp::Sum, 0, true, false), &[3], &[0.0f32, 1.0, 3.0]);
    check(&run(&counting(&[2, 2]), ReduceOp::Sum, 0, false, false), &[2, 2], &[0.0f32, 1.0, 2.0, 4.0]);
    check(&run(&row(&[1.0f32, 3.0, 2.0]), ReduceOp::Max, 0, false, false), &[3], &[1.0f32, 3.0, 3.0]);
    check::<f32>(&run(&row::<f32>(&[]), ReduceOp::Sum, 0, false, false), &[0], &[]);
}

#[test]
fn contractions() {
    let op = |batch: &[(usize, usize)], contract: &[(usize, usize)], out| Op::Contract {
        batch: batch.to_vec(),
        contract: contract.to_vec(),
        out,
    };
    let (a, b) = (counting(&[2, 3]), counting(&[3, 2]));
    check(&one(&op(&[], &[(1, 0)], DType::F32), &[&a, &b]), &[2, 2], &[10.0f32, 13.0, 28.0, 40.0]);
    // Both stored transposed.
    check(&one(&op(&[], &[(0, 1)], DType::F32), &[&b, &a]), &[2, 2], &[10.0f32, 28.0, 13.0, 40.0]);
    // Outer product, full contraction, two contracted axes in another order.
    check(&one(&op(&[], &[], DType::I32), &[&row(&[1i32, 2]), &row(&[3i32, 4])]), &[2, 2], &[3i32, 4, 6, 8]);
    check(&one(&op(&[], &[(0, 0), (1, 1)], DType::F32), &[&a, &a]), &[], &[55.0f32]);
    check(&one(&op(&[], &[(0, 1), (1, 0)], DType::F32), &[&a, &b]), &[], &[0.0f32 + 2.0 + 8.0 + 3.0 + 12.0 + 25.0]);
    // Batch axes in different places: lhs [m=1, batch=2, k=2], rhs [k=2, n=1, batch=2].
    let (l, r) = (counting(&[1, 2, 2]), counting(&[2, 1, 2]));
    check(&one(&op(&[(1, 2)], &[(2, 0)], DType::F32), &[&l, &r]), &[2, 1, 1], &[2.0f32, 2.0 + 9.0]);
    // Two batch axes come out in the order given.
    let x = counting(&[2, 3]);
    let squares = one(&op(&[(1, 1), (0, 0)], &[], DType::F32), &[&x, &x]);
    check(&squares, &[3, 2], &[0.0f32, 9.0, 1.0, 16.0, 4.0, 25.0]);
    let mixed = one(&op(&[], &[(0, 0)], DType::I32), &[&row(&[255u8, 255]), &row(&[-128i8, 1])]);
    check(&mixed, &[], &[255i32 * -127]);
    check(&one(&op(&[], &[(0, 0)], DType::I32), &[&row(&[i32::MAX]), &row(&[2i32])]), &[], &[-2i32]);
    let (none, empty) = (tensor::<f32>(&[2, 0], &[]), tensor::<f32>(&[0, 1], &[]));
    check(&one(&op(&[], &[(1, 0)], DType::F32), &[&none, &empty]), &[2, 1], &[0.0f32; 2]);
    let message = error(&op(&[], &[(1, 0)], DType::F32), &[&a, &a]);
    assert!(message.contains("axis 1 of [2, 3] does not pair with axis 0"), "{message}");
    assert!(
        error(&op(&[(0, 0)], &[(0, 1)], DType::F32), &[&tensor(&[2], &[0f32; 2]), &counting(&[2, 2])])
            .contains("no perm")
    );
    assert!(error(&op(&[], &[], DType::I32), &[&row(&[1i16]), &row(&[1i16])]).contains("i16 and i16 as i32"));
}

#[test]
fn contraction_in_blocks_keeps_every_term() {
    let (k, n) = (100, 700);
    let (a, b) = (tensor(&[1, k], &vec![1.0f64; k]), tensor(&[k, n], &vec![2.0f64; k * n]));
    let op = Op::Contract { batch: vec![], contract: vec![(1, 0)], out: DType::F64 };
    check(&one(&op, &[&a, &b]), &[1, n], &vec![200.0f64; n]);
}

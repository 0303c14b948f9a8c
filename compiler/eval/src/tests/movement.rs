//! `constant`, `dims`, `iota`, `broadcast`, `reshape`, `transpose`, `slice`, `pad`, `concat`.

use super::*;
use nnc_ir::op::PadMode;
use nnc_ir::{ConstId, Symbol};

#[test]
fn sources() {
    let mut pool = ConstPool::default();
    let id = pool.add(row(&[1i8, 2]));
    let found = eval_op(&Op::Constant(id), &[], &pool, &mut Env::new()).unwrap();
    check(&found[0], &[2], &[1i8, 2]);
    assert!(error(&Op::Constant(ConstId(5)), &[]).contains("unknown constant"));

    let mut env = Env::new();
    env.define(Symbol(0), 7).unwrap();
    let seven = Dim::sym(Symbol(0));
    let list = Op::Dims { dims: vec![seven.clone(), &seven * Dim::from(2)], scalar: false };
    check(&eval_op(&list, &[], &pool, &mut env).unwrap()[0], &[2], &[7i64, 14]);
    let scalar = Op::Dims { dims: vec![seven - 1], scalar: true };
    check(&eval_op(&scalar, &[], &pool, &mut env).unwrap()[0], &[], &[6i64]);
    let unbound = Op::Dims { dims: vec![Dim::sym(Symbol(3))], scalar: true };
    assert_eq!(error(&unbound, &[]), "dims: dimension `s3` mentions `s3`, which has no value");
    let zero = Dim::sym(Symbol(0)) - 7;
    let divided = Op::Dims { dims: vec![Dim::from(1).floor_div(&zero)], scalar: true };
    let message = eval_op(&divided, &[], &pool, &mut env).unwrap_err().to_string();
    assert!(message.contains("divides by zero"), "{message}");

    let iota = |axis| one(&Op::Iota { dtype: DType::F32, shape: dims(&[2, 3]), axis }, &[]);
    check(&iota(0), &[2, 3], &[0.0f32, 0.0, 0.0, 1.0, 1.0, 1.0]);
    check(&iota(1), &[2, 3], &[0.0f32, 1.0, 2.0, 0.0, 1.0, 2.0]);
}

#[test]
fn broadcast() {
    let op = |sizes: &[i64], axes: &[usize]| Op::Broadcast { shape: dims(sizes), axes: axes.to_vec() };
    check(&one(&op(&[2, 3], &[1]), &[&row(&[1i16, 2, 3])]), &[2, 3], &[1i16, 2, 3, 1, 2, 3]);
    check(&one(&op(&[2, 2], &[0, 1]), &[&tensor(&[2, 1], &[1u8, 2])]), &[2, 2], &[1u8, 1, 2, 2]);
    check(&one(&op(&[3], &[]), &[&Tensor::scalar(5.0f64)]), &[3], &[5.0f64; 3]);
    check::<f32>(&one(&op(&[0, 3], &[1]), &[&row(&[1.0f32])]), &[0, 3], &[]);
    assert!(error(&op(&[2, 3], &[0]), &[&row(&[1u8, 2, 3])]).contains("does not broadcast"));
    assert!(error(&op(&[-1], &[]), &[&Tensor::scalar(5.0f64)]).contains("may not be negative"));
}

#[test]
fn reshape_shares_bytes() {
    let x = counting(&[2, 3]);
    let y = one(&Op::Reshape { shape: dims(&[3, 1, 2]) }, &[&x]);
    assert_eq!(y.shape, [3, 1, 2]);
    assert_eq!(y.data.bytes().as_ptr(), x.data.bytes().as_ptr());
    assert!(error(&Op::Reshape { shape: dims(&[4]) }, &[&x]).contains("differ in their number"));
}

#[test]
fn transpose() {
    let op = |perm: &[usize]| Op::Transpose { perm: perm.to_vec() };
    check(&one(&op(&[1, 0]), &[&counting(&[2, 3])]), &[3, 2], &[0.0f32, 3.0, 1.0, 4.0, 2.0, 5.0]);
    let x = counting(&[2, 2, 2]);
    check(&one(&op(&[2, 0, 1]), &[&x]), &[2, 2, 2], &[0.0f32, 2.0, 4.0, 6.0, 1.0, 3.0, 5.0, 7.0]);
    let moved = one(&op(&[1, 0, 2]), &[&tensor(&[1, 2, 2], &[1u8, 2, 3, 4])]);
    check(&moved, &[2, 1, 2], &[1u8, 2, 3, 4]);
    assert!(error(&op(&[0, 0, 1]), &[&x]).contains("no permutation"));
}

#[test]
fn slice() {
    let op = |starts: &[i64], sizes: &[i64], steps: &[i64]| Op::Slice {
        starts: dims(starts),
        sizes: dims(sizes),
        steps: steps.to_vec(),
    };
    let x = counting(&[3, 4]);
    check(&one(&op(&[1, 1], &[2, 2], &[1, 2]), &[&x]), &[2, 2], &[5.0f32, 7.0, 9.0, 11.0]);
    check(&one(&op(&[2, 3], &[2, 3], &[-2, -1]), &[&x]), &[2, 3], &[11.0f32, 10.0, 9.0, 3.0, 2.0, 1.0]);
    check::<f32>(&one(&op(&[3, 0], &[0, 4], &[1, 1]), &[&x]), &[0, 4], &[]);
    check(&one(&op(&[0, 2], &[1, 1], &[i64::MAX, i64::MIN]), &[&x]), &[1, 1], &[2.0f32]);
    let message = error(&op(&[0, 1], &[3, 4], &[1, 1]), &[&x]);
    assert_eq!(message, "slice: index 4 is out of range for axis 1 of size 4");
    assert!(error(&op(&[0, 0], &[3, 2], &[1, -1]), &[&x]).contains("index -1 is out of range"));
    assert!(error(&op(&[0, 0], &[3, 2], &[1, 0]), &[&x]).starts_with("slice: slice of"));
}

#[test]
fn pad() {
    let pad = |x: &Tensor, low: i64, high: i64, mode| {
        let op = Op::Pad { low: dims(&[low]), high: dims(&[high]), mode };
        one(&op, &[x, &Tensor::scalar(9i32)])
    };
    let x = row(&[1i32, 2, 3]);
    check(&pad(&x, 1, 2, PadMode::Constant), &[6], &[9i32, 1, 2, 3, 9, 9]);
    check(&pad(&x, 2, 1, PadMode::Edge), &[6], &[1i32, 1, 1, 2, 3, 3]);
    check(&pad(&x, 2, 2, PadMode::Reflect), &[7], &[3i32, 2, 1, 2, 3, 2, 1]);
    check(&pad(&x, 2, 4, PadMode::Wrap), &[9], &[2i32, 3, 1, 2, 3, 1, 2, 3, 1]);
    check(&pad(&row(&[7i32]), 2, 0, PadMode::Reflect), &[3], &[7i32; 3]);
    check(&pad(&row::<i32>(&[]), 1, 1, PadMode::Constant), &[2], &[9i32, 9]);
    let corner = Op::Pad { low: dims(&[1, 0]), high: dims(&[0, 1]), mode: PadMode::Constant };
    let padded = one(&corner, &[&tensor(&[1, 2], &[1i8, 2]), &Tensor::scalar(0i8)]);
    check(&padded, &[2, 3], &[0i8, 0, 0, 1, 2, 0]);
    let edge = Op::Pad { low: dims(&[1]), high: dims(&[0]), mode: PadMode::Edge };
    assert!(error(&edge, &[&row::<i32>(&[]), &Tensor::scalar(0i32)]).contains("no element to repeat"));
    let negative = Op::Pad { low: dims(&[-1]), high: dims(&[0]), mode: PadMode::Constant };
    assert!(error(&negative, &[&x, &Tensor::scalar(0i32)]).contains("may not be negative"));
}

#[test]
fn concat() {
    let (a, b) = (tensor(&[2, 1], &[1u16, 2]), tensor(&[2, 2], &[3u16, 4, 5, 6]));
    check(&one(&Op::Concat { axis: 1 }, &[&a, &b]), &[2, 3], &[1u16, 3, 4, 2, 5, 6]);
    let (c, empty) = (tensor(&[1, 2], &[7u16, 8]), tensor::<u16>(&[0, 2], &[]));
    check(&one(&Op::Concat { axis: 0 }, &[&b, &empty, &c]), &[3, 2], &[3u16, 4, 5, 6, 7, 8]);
    assert!(error(&Op::Concat { axis: 0 }, &[&a, &b]).contains("along axis 0"));
    assert!(error(&Op::Concat { axis: 0 }, &[]).contains("at least one"));
}

//! `top_k`, `non_zero`, `unique`, `non_max_suppression`, `bind_dims`, `random`.

use super::*;
use crate::random::philox;
use nnc_ir::op::Distribution;
use nnc_ir::{DimTable, Symbol};

const COUNT: Symbol = Symbol(0);

fn defining(op: &Op, inputs: &[&Tensor]) -> (Vec<Tensor>, i64) {
    let mut env = Env::new();
    let results = eval_op(op, inputs, &ConstPool::default(), &mut env).unwrap();
    (results, env.get(COUNT).unwrap())
}

#[test]
fn top_k() {
    let top = |x: &Tensor, axis, k: i64, largest| eval(&Op::TopK { axis, k: Dim::from(k), largest }, &[x]);
    let found = top(&row(&[2.0f32, 5.0, 1.0, 5.0]), 0, 3, true);
    check(&found[0], &[3], &[5.0f32, 5.0, 2.0]);
    check(&found[1], &[3], &[1i64, 3, 0]);
    let found = top(&tensor(&[2, 2], &[4u64, u64::MAX, 3, 2]), 0, 1, false);
    check(&found[0], &[1, 2], &[3u64, 2]);
    check(&found[1], &[1, 2], &[1i64, 1]);
    let found = top(&row(&[1.0f32, f32::NAN, 2.0]), 0, 3, true);
    check(&found[1], &[3], &[1i64, 2, 0]);
    check::<i64>(&top(&row(&[1i8]), 0, 0, true)[1], &[0], &[]);
    let op = Op::TopK { axis: 0, k: Dim::from(2), largest: true };
    assert!(error(&op, &[&row(&[1i8])]).contains("2 elements of axis 0"));
}

/// At most 1.0 of feature 1 leads to leaf 0, more to leaf 1, NaN to leaf 2; the second tree is leaf 1.
#[test]
fn tree_leaf() {
    let nodes = tensor(&[4, 4], &[1, 1, 2, 3, 0, 1, 1, 1, 0, 2, 2, 2, 0, 3, 3, 3]);
    let thresholds = row(&[1.0f32, 0.0, 0.0, 0.0]);
    let x = tensor(&[4, 2], &[9.0f32, 1.0, 9.0, 1.0f32.next_up(), 9.0, f32::NAN, 9.0, f32::NEG_INFINITY]);
    let leaves = |nodes: &Tensor| eval(&Op::TreeLeaf { missing: true }, &[&x, &thresholds, nodes, &row(&[0i32, 2])]);
    check(&leaves(&nodes)[0], &[4, 2], &[0i64, 1, 1, 1, 2, 1, 0, 1]);
    let back = tensor(&[4, 4], &[1, 0, 2, 3, 0, 1, 1, 1, 0, 2, 2, 2, 0, 3, 3, 3]);
    let refused = error(&Op::TreeLeaf { missing: true }, &[&x, &thresholds, &back, &row(&[0i32, 2])]);
    assert!(refused.contains("leads back"), "{refused}");
}

#[test]
fn lower_bound() {
    let keys = row(&[-1.0f32, 0.0, 0.0, 2.5]);
    let x = row(&[-2.0f32, -1.0, 0.0, 1.0, 2.5, 3.0, f32::NAN]);
    check(&eval(&Op::LowerBound, &[&x, &keys])[0], &[7], &[0i64, 0, 1, 3, 3, 4, 0]);
    let (large, keys) = (row(&[u64::MAX, 3]), row(&[1u64, u64::MAX - 1, u64::MAX]));
    check(&eval(&Op::LowerBound, &[&large, &keys])[0], &[2], &[2i64, 1]);
    assert!(error(&Op::LowerBound, &[&large, &row(&[1i64])]).contains("keys of i64"));
}

#[test]
fn strings() {
    let bytes = row(b"parisromepari");
    let offsets = row(&[0i64, 5, 9, 13, 13]);
    let (key_offsets, keys) = (row(&[0i64, 4, 8, 8]), row(b"romepari"));
    let found = eval(&Op::FindString, &[&offsets, &bytes, &key_offsets, &keys]);
    check(&found[0], &[4], &[3i64, 0, 1, 2]);
    let outside = error(&Op::FindString, &[&row(&[9i64, 14]), &bytes, &key_offsets, &keys]);
    assert!(outside.contains("from 9 to 14 of 13 bytes"), "{outside}");
    // Whether there is an `r`, and an `i` somewhere behind it.
    let classes = row(&std::array::from_fn::<u8, 256, _>(|byte| match byte as u8 {
        b'r' => 1,
        b'i' => 2,
        _ => 0,
    }));
    let next = tensor(&[3, 3], &[0i64, 1, 0, 1, 1, 2, 2, 2, 2]);
    let states = eval(&Op::RunAutomaton, &[&offsets, &bytes, &classes, &next]);
    check(&states[0], &[4], &[2i64, 1, 2, 0]);
    let next = tensor(&[1, 3], &[0i64, 1, 0]);
    assert!(error(&Op::RunAutomaton, &[&offsets, &bytes, &classes, &next]).contains("leads out of its states"));
}

#[test]
fn compared_strings() {
    let (bytes, offsets) = (row(b"romeroman"), row(&[0i64, 4, 9, 9]));
    let numbers = [row(&[0i64, 1, 0, 2, 2]), row(&[1i64, 0, 0, 2, 1])];
    let found = eval(&Op::CompareStrings, &[&offsets, &bytes, &numbers[0], &numbers[1]]);
    check(&found[0], &[5], &[1i64, -1, 0, 0, -1]);
    let outside = error(&Op::CompareStrings, &[&offsets, &bytes, &row(&[3i64]), &row(&[0i64])]);
    assert!(outside.contains("string 3 of 3"), "{outside}");
}

#[test]
fn split_strings() {
    let (bytes, offsets) = (row(b" a\tbc  a,,b,"), row(&[0i64, 7, 7, 12]));
    let split = |delimiter: &str, most| {
        defining(&Op::SplitStrings { delimiter: delimiter.into(), most, count: COUNT }, &[&offsets, &bytes])
    };
    let (found, count) = split("", i64::MAX);
    assert_eq!(count, 3);
    check(&found[0], &[3, 2], &[1i64, 2, 3, 5, 7, 12]);
    check(&found[1], &[4], &[0i64, 2, 2, 3]);
    check(&split("", 1).0[0], &[3, 2], &[1i64, 2, 3, 7, 7, 12]);
    let (found, count) = split(",", i64::MAX);
    assert_eq!(count, 6);
    check(&found[0], &[6, 2], &[0i64, 7, 7, 7, 7, 8, 9, 9, 10, 11, 12, 12]);
    check(&split(",,", 0).0[0], &[3, 2], &[0i64, 7, 7, 7, 7, 12]);
}

#[test]
fn non_zero() {
    let (found, count) = defining(&Op::NonZero { count: COUNT }, &[&tensor(&[2, 2], &[0.0f32, 1.0, f32::NAN, -0.0])]);
    check(&found[0], &[2, 2], &[0i64, 1, 1, 0]);
    assert_eq!(count, 2);
    let (found, count) = defining(&Op::NonZero { count: COUNT }, &[&Tensor::scalar(3u8)]);
    check::<i64>(&found[0], &[1, 0], &[]);
    assert_eq!(count, 1);
}

#[test]
fn unique() {
    let x = row(&[2i32, 1, 1, 3, 2]);
    let (found, count) = defining(&Op::Unique { sorted: true, count: COUNT }, &[&x]);
    check(&found[0], &[3], &[1i32, 2, 3]);
    check(&found[1], &[3], &[1i64, 0, 3]);
    check(&found[2], &[5], &[1i64, 0, 0, 2, 1]);
    check(&found[3], &[3], &[2i64, 2, 1]);
    assert_eq!(count, 3);
    let (found, _) = defining(&Op::Unique { sorted: false, count: COUNT }, &[&x]);
    check(&found[0], &[3], &[2i32, 1, 3]);
    check(&found[2], &[5], &[0i64, 1, 1, 2, 0]);
    let (found, _) = defining(&Op::Unique { sorted: true, count: COUNT }, &[&row(&[f32::NAN, -0.0, f32::NAN, 0.0])]);
    check(&found[1], &[2], &[1i64, 0]);
    let (found, count) = defining(&Op::Unique { sorted: true, count: COUNT }, &[&row::<f32>(&[])]);
    check::<f32>(&found[0], &[0], &[]);
    assert_eq!(count, 0);
}

/// Selected (batch, class, box) rows for boxes `[1, n, 4]` and scores `[1, classes, n]`.
fn nms(boxes: &[f32], scores: &[f32], max: i64, iou: f32, score: f32, center: bool) -> Vec<i64> {
    let n = boxes.len() / 4;
    let inputs = [
        &tensor(&[1, n, 4], boxes),
        &tensor(&[1, scores.len() / n.max(1), n], scores),
        &Tensor::scalar(max),
        &Tensor::scalar(iou),
        &Tensor::scalar(score),
    ];
    let (found, count) = defining(&Op::NonMaxSuppression { center, count: COUNT }, &inputs);
    assert_eq!(found[0].shape, [count as usize, 3]);
    found[0].to_vec().unwrap()
}

#[test]
fn non_max_suppression() {
    // The example of ONNX's documentation: pairs of near boxes at 0, 10 and 100.
    let boxes = [
        [0.0, 0.0, 1.0, 1.0],
        [0.0, 0.1, 1.0, 1.1],
        [0.0, -0.1, 1.0, 0.9],
        [0.0, 10.0, 1.0, 11.0],
        [0.0, 10.1, 1.0, 11.1],
        [0.0, 100.0, 1.0, 101.0],
    ]
    .concat();
    let scores = [0.9f32, 0.75, 0.6, 0.95, 0.5, 0.3];
    assert_eq!(nms(&boxes, &scores, 3, 0.5, 0.0, false), [0, 0, 3, 0, 0, 0, 0, 0, 5]);
    assert_eq!(nms(&boxes, &scores, 2, 0.5, 0.0, false), [0, 0, 3, 0, 0, 0]);
    assert_eq!(nms(&boxes, &scores, 3, 0.5, 0.4, false), [0, 0, 3, 0, 0, 0]);
    assert_eq!(nms(&boxes, &scores, 3, 0.5, 0.9, false), [0, 0, 3]);
    assert!(nms(&boxes, &scores, 0, 0.5, 0.0, false).is_empty());
    assert!(nms(&boxes, &scores, -1, 0.5, 0.0, false).is_empty());
    assert!(nms(&[], &[], 3, 0.5, 0.0, false).is_empty());
}

#[test]
fn suppression_details() {
    // Flipped corners; overlap exactly at the threshold does not suppress; ties go to the lower index.
    let halves = [[0.0f32, 0.0, 2.0, 2.0], [2.0, 2.0, 0.0, 1.0]].concat();
    assert_eq!(nms(&halves, &[0.5, 0.5], 9, 0.5, 0.0, false), [0, 0, 0, 0, 0, 1]);
    assert_eq!(nms(&halves, &[0.5, 0.5], 9, 0.4, 0.0, false), [0, 0, 0]);
    // Two classes are independent.
    assert_eq!(nms(&halves, &[0.1, 0.2, 0.4, 0.3], 9, 0.4, 0.0, false), [0, 0, 1, 0, 1, 0]);
    // Boxes without area suppress nothing, not even themselves.
    let points = [[1.0f32, 1.0, 1.0, 1.0]; 2].concat();
    assert_eq!(nms(&points, &[0.5, 0.5], 9, 0.0, 0.0, false), [0, 0, 0, 0, 0, 1]);
    // (x, y, width, height): [0, 2] x [0, 4] and [1, 3] x [0, 4], overlap 1/3.
    let centers = [[1.0f32, 2.0, 2.0, 4.0], [2.0, 2.0, 2.0, 4.0]].concat();
    assert_eq!(nms(&centers, &[0.5, 0.6], 9, 0.3, 0.0, true), [0, 0, 1]);
    assert_eq!(nms(&centers, &[0.5, 0.6], 9, 0.34, 0.0, true), [0, 0, 1, 0, 0, 0]);
    assert_eq!(nms(&centers, &[f32::NAN, 0.6], 9, 0.34, 0.0, true), [0, 0, 1]);
}

#[test]
fn bind_dims() {
    let mut table = DimTable::default();
    let (n, m) = (table.fresh("n", 0, 10, None), table.fresh("m", 1, 5, None));
    let op = Op::BindDims { symbols: vec![n, m] };
    let mut env = Env::with_table(&table);
    let run = |env: &mut Env, sizes: &[i64]| eval_op(&op, &[&row(sizes)], &ConstPool::default(), env);
    assert!(run(&mut env, &[10, 1]).unwrap().is_empty());
    assert_eq!((env.get(n), env.get(m)), (Some(10), Some(1)));
    let message = run(&mut env, &[3, 6]).unwrap_err().to_string();
    assert_eq!(message, "bind_dims: `m_0` would be 6, outside its bounds 1..=5");
    assert!(run(&mut env, &[1]).is_err());
    let scalar = Op::BindDims { symbols: vec![n] };
    assert!(eval_op(&scalar, &[&Tensor::scalar(4i64)], &ConstPool::default(), &mut env).is_ok());
    assert_eq!(env.get(n), Some(4));
}

#[test]
fn philox_known_answers() {
    // The vectors that the Random123 distribution tests itself with.
    assert_eq!(philox([0; 4], [0; 2]), [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
    assert_eq!(philox([u32::MAX; 4], [u32::MAX; 2]), [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]);
    let pi = [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344];
    assert_eq!(philox(pi, [0xa4093822, 0x299f31d0]), [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1]);
}

#[test]
fn random() {
    let draw = |distribution, dtype, n: i64, seed, counter: i64| {
        one(&Op::Random { distribution, dtype, shape: dims(&[n]), seed }, &[&Tensor::scalar(counter)])
    };
    let uniform = Distribution::Uniform { low: -1.0, high: 3.0 };
    let first = draw(uniform, DType::F64, 6, 0, 0).to_f64s();
    let word = |w: u32| -1.0 + 4.0 * f64::from(w >> 8) / 16777216.0;
    assert_eq!(first[..4], [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8].map(word));
    assert_eq!(first[4], word(philox([1, 0, 0, 0], [0, 0])[0]));
    // A longer draw begins with a shorter one; counter and seed change it.
    assert_eq!(draw(uniform, DType::F64, 3, 0, 0).to_f64s(), first[..3]);
    assert_ne!(draw(uniform, DType::F64, 3, 0, 1).to_f64s(), first[..3]);
    assert_ne!(draw(uniform, DType::F64, 3, 1, 0).to_f64s(), first[..3]);
    assert_eq!(draw(uniform, DType::F64, 1, 7 << 32, 9 << 32).get_f64(0), word(philox([0, 0, 0, 9], [0, 7])[0]));
    let values = draw(Distribution::Normal { mean: 5.0, std: 2.0 }, DType::F32, 10001, 42, 3).to_f64s();
    let mean = values.iter().sum::<f64>() / 10001.0;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 10001.0;
    assert!((mean - 5.0).abs() < 0.1 && (variance - 4.0).abs() < 0.2, "{mean} {variance}");
    assert!(values.iter().all(|v| v.is_finite()));
}

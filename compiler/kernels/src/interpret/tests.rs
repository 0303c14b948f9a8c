//! Kernels and programs with known answers.

use super::{RunError, run, run_kernel};
use crate::plan::{Argument, Buffer, BufferId, KernelId, Parameter, Place, Program, SizeCheck, Step};
use crate::weights::{Pack, Weight, WeightId};
use crate::{Kernel, parse};
use nnc_ir::op::Relation;
use nnc_ir::{DType, Dim, DimTable, SymbolInfo, SymbolOrigin, Tensor};

fn kernel(text: &str) -> Kernel {
    parse::kernel(text).unwrap_or_else(|e| panic!("{e}"))
}

fn bytes<T: nnc_ir::tensor::Element>(values: &[T]) -> Vec<u8> {
    Tensor::from_slice(&[values.len()], values).data.bytes().to_vec()
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytemuck::pod_collect_to_vec(bytes)
}

/// Runs `store y[p] = value` over the elements of one input.
fn map<T: nnc_ir::tensor::Element>(value: &str, input: &[T], output: DType) -> Vec<u8> {
    let text = format!(
        "kernel @k(x: read {} align 8, y: write {output} align 8) parallel p in 0..{} {{ store y[p] = {value} }}",
        T::DTYPE,
        input.len()
    );
    let mut buffers = [bytes(input), vec![0; input.len() * output.size()]];
    let status = run_kernel(&kernel(&text), &mut buffers, &[], 0, input.len() as i64);
    assert_eq!(status, Ok(0));
    let [_, result] = buffers;
    result
}

#[test]
fn softmax() {
    let k = kernel(
        "kernel @softmax(x: read f32 align 4, y: write f32 align 4; n: i64) parallel p in 0..2 {
           scratch e: f32[64] align 64
           reduce vector j in 0..n -> (m: f32 = max from -inf.f32) {
             yield load x[n*p + j]
           }
           reduce vector k in 0..n -> (s: f32 = sum from 0.0f32, c: i64 = sum from 0i64) {
             let t: f32 = exp(sub(load x[n*p + k], m))
             store e[k] = t
             yield t, 1i64
           }
           for vector l in 0..n {
             store y[n*p + l] = div(mul(load e[l], convert.f32(c)), s)
           }
         }",
    );
    let mut buffers = [bytes(&[0f32, 0.0, 0.0, 1.0, 1.0, 1.0 + 2f32.ln()]), vec![0; 24]];
    assert_eq!(run_kernel(&k, &mut buffers, &[3], 0, 2), Ok(0));
    let expected = [1.0, 1.0, 1.0, 0.75, 0.75, 1.5];
    for (a, b) in floats(&buffers[1]).into_iter().zip(expected) {
        assert!((a - b).abs() < 1e-6, "{a} {b}");
    }
}

#[test]
fn scalar_functions() {
    assert_eq!(map("div(7i32, load x[p])", &[2i32, 0, -2], DType::I32), bytes(&[3i32, 0, -3]));
    assert_eq!(map("div(load x[p], -1i32)", &[i32::MIN], DType::I32), bytes(&[i32::MIN]));
    assert_eq!(map("mod(load x[p], 3i8)", &[-4i8, 4, -128], DType::I8), bytes(&[2i8, 1, 1]));
    assert_eq!(map("rem(load x[p], 3i8)", &[-4i8, 4], DType::I8), bytes(&[-1i8, 1]));
    assert_eq!(map("mod(load x[p], -3.0f32)", &[4f32, -4.0], DType::F32), bytes(&[-2f32, -1.0]));
    assert_eq!(map("shr(load x[p], 1i16)", &[-4i16, 5], DType::I16), bytes(&[-2i16, 2]));
    assert_eq!(map("shl(1u8, load x[p])", &[7u8, 8], DType::U8), vec![128, 0]);
    assert_eq!(map("pow(load x[p], 3i64)", &[-2i64, 5], DType::I64), bytes(&[-8i64, 125]));
    assert_eq!(map("round(load x[p])", &[0.5f32, 1.5, -2.5], DType::F32), bytes(&[0f32, 2.0, -2.0]));
    assert_eq!(map("sign(load x[p])", &[-3f32, 0.0, 9.0], DType::F32), bytes(&[-1f32, 0.0, 1.0]));
    assert_eq!(map("max(load x[p], 0.0f32)", &[-3f32, 9.0], DType::F32), bytes(&[0f32, 9.0]));
    assert!(floats(&map("max(0.0f32, load x[p])", &[f32::NAN], DType::F32))[0].is_nan());
    assert!(floats(&map("min(load x[p], 0.0f32)", &[f32::NAN], DType::F32))[0].is_nan());
    assert_eq!(map("is_inf(load x[p])", &[f64::NEG_INFINITY, 1.0], DType::Bool), vec![1, 0]);
}

#[test]
fn conversions() {
    let wild = [f32::NAN, 300.0, -300.0, -1.9, f32::INFINITY];
    assert_eq!(map("convert.u8(load x[p])", &wild, DType::U8), vec![0, 255, 0, 0, 255]);
    assert_eq!(map("convert.i8(load x[p])", &wild, DType::I8), bytes(&[0i8, 127, -128, -1, 127]));
    assert_eq!(map("convert.bool(load x[p])", &[0f32, f32::NAN, -0.5], DType::Bool), vec![0, 1, 1]);
    assert_eq!(map("convert.i8(load x[p])", &[200u16, 0x1234], DType::I8), bytes(&[-56i8, 0x34]));
    assert_eq!(map("convert.f32(load x[p])", &[-1i64], DType::F32), bytes(&[-1f32]));
    assert_eq!(map("bitcast.i32(load x[p])", &[-1.0f32], DType::I32), bytes(&[0xbf80_0000u32]));
    let half = map("convert.f16(mul(convert.f32(load x[p]), 2.0f32))", &[half::f16::from_f32(1.5)], DType::F16);
    assert_eq!(half, bytes(&[half::f16::from_f32(3.0)]));
}

#[test]
fn borders_and_failures() {
    let k = kernel(
        "kernel @shift(x: read f32 align 4, y: write f32 align 4) parallel p in 0..1 {
           for vector j in 0..4 {
             store y[j] = load_if(ge(index(j - 1), 0i64), x[j - 1], 9.0f32)
           }
           mut i: i64 [0..=4] = 0i64
           while lt(i, 4i64) {
             if eq(load y[i], 2.0f32) {
               fail 8
             }
             i = index(i + 1)
           }
         }",
    );
    let mut buffers = [bytes(&[1f32, 3.0, 4.0]), vec![0; 16]];
    assert_eq!(run_kernel(&k, &mut buffers, &[], 0, 1), Ok(0));
    assert_eq!(floats(&buffers[1]), [9.0, 1.0, 3.0, 4.0]);
    buffers[0] = bytes(&[1f32, 2.0, 4.0]);
    assert_eq!(run_kernel(&k, &mut buffers, &[], 0, 1), Ok(8));
    buffers[0] = bytes(&[1f32]);
    let error = run_kernel(&k, &mut buffers, &[], 0, 1);
    assert_eq!(
        error,
        Err(RunError::OutOfBounds { kernel: "shift".to_owned(), buffer: "x".to_owned(), index: 1, elements: 1 })
    );
}

#[test]
fn contraction_panel_with_taps() {
    // A one-dimensional convolution: two taps, two channels in, three out, four positions.
    let k = kernel(
        "kernel @conv(x: read f32 align 4, w: read f32 align 4, y: write f32 align 4) parallel p in 0..1 {
           contract f32 tile 4 x 8 m [4] n [3] k [2] a x[0] stride [2] tap 2 by [2] b w[0] panel -> (r, c, acc) {
             store y[3*r + c] = add(acc, convert.f32(index(c)))
           }
         }",
    );
    let x: Vec<f32> = (0..10).map(|v| v as f32).collect();
    let (mut w, mut expected) = (vec![0f32; 32], vec![]);
    for row in 0..4 {
        for col in 0..3 {
            w[row * 8 + col] = (row * 3 + col) as f32;
        }
    }
    for r in 0..4 {
        for c in 0..3 {
            expected.push((0..4).map(|i| x[2 * r + i] * w[i * 8 + c]).sum::<f32>() + c as f32);
        }
    }
    let mut buffers = [bytes(&x), bytes(&w), vec![0; 48]];
    assert_eq!(run_kernel(&k, &mut buffers, &[], 0, 1), Ok(0));
    assert_eq!(floats(&buffers[2]), expected);
}

#[test]
fn contraction_of_bytes_over_rows() {
    let k = kernel(
        "kernel @q(x: read u8 align 1, w: read i8 align 1, y: write i32 align 4) parallel p in 0..1 {
           contract i32 tile 4 x 16 m [1] n [2] k [2] a x[0] stride [2] b w[1] rows [3] -> (r, c, acc) {
             store y[2*r + c] = acc
           }
         }",
    );
    let mut buffers = [vec![200, 100], bytes(&[0i8, -1, 2, 0, 3, -4]), vec![0; 8]];
    assert_eq!(run_kernel(&k, &mut buffers, &[], 0, 1), Ok(0));
    assert_eq!(buffers[2], bytes(&[100i32, 0]));
}

/// `y = 2 * x + w` in two steps over the workspace, then the count of positive elements is bound and so many are kept.
fn program() -> Program {
    let mut dims = DimTable::default();
    let n = Dim::sym(dims.new_symbol(SymbolInfo { max: 64, ..SymbolInfo::input("n") }));
    let count = dims.fresh("count", 0, 64, Some(n.clone()));
    assert_eq!(dims.get(count).origin, SymbolOrigin::Node);
    let kernels = parse::kernels(
        "kernel @double(x: read f32 align 4, y: write f32 align 4; n: i64) parallel p in 0..n {
           store y[p] = mul(load x[p], 2.0f32)
         }
         ; the weight repeats
         kernel @bias(x: read f32 align 4, w: read f32 align 4, y: write f32 align 4; n: i64) parallel p in 0..n {
           store y[p] = add(load x[p], load w[mod(p, 2)])
         }
         kernel @count(x: read f32 align 4, y: write i64 align 8; n: i64) parallel p in 0..1 {
           reduce vector j in 0..n -> (c: i64 = sum from 0i64) {
             yield convert.i64(gt(load x[j], 0.0f32))
           }
           store y[0] = c
         }",
    );
    let kernels = kernels.unwrap_or_else(|e| panic!("{e}"));
    let buffer = |name: &str, dtype, bytes: Dim, place| Buffer { name: name.to_owned(), dtype, bytes, place };
    let argument = |id| Argument { buffer: BufferId(id), offset: Dim::ZERO };
    let step = |kernel, arguments: &[u32], extent: &Dim| Step::Run {
        kernel: KernelId(kernel),
        arguments: arguments.iter().map(|&id| argument(id)).collect(),
        params: vec![n.clone()],
        extent: extent.clone(),
        work: Dim::ONE,
        apart: false,
        origin: format!("node {kernel}"),
    };
    let bytes_of = &n * 4;
    Program {
        name: "test".to_owned(),
        inputs: vec![Parameter::plain("x".to_owned(), DType::F32, vec![n.clone()])],
        states: vec![],
        outputs: vec![Parameter::plain("y".to_owned(), DType::F32, vec![Dim::sym(count)])],
        weights: vec![Weight { source: Tensor::from_slice(&[2], &[0.5f32, -100.0]), pack: Pack::Plain }],
        buffers: vec![
            buffer("x", DType::F32, bytes_of.clone(), Place::Input(0)),
            buffer("t", DType::F32, bytes_of.clone(), Place::Workspace { offset: Dim::from(64) }),
            buffer("w", DType::F32, Dim::from(8), Place::Weight(WeightId(0))),
            buffer("y", DType::F32, bytes_of, Place::Output(0)),
            buffer("c", DType::I64, Dim::from(8), Place::Workspace { offset: Dim::ZERO }),
        ],
        steps: vec![
            step(0, &[0, 1], &n),
            step(1, &[1, 2, 3], &n),
            step(2, &[3, 4], &Dim::ONE),
            Step::Bind { symbol: count, source: argument(4), min: Dim::ZERO, max: n.clone(), origin: String::new() },
            Step::Check(SizeCheck {
                left: n.clone(),
                relation: Relation::Equal,
                right: n.clone(),
                what: "a size".to_owned(),
                origin: "node".to_owned(),
            }),
        ],
        checks: vec![],
        kernels,
        workspace_bytes: &n * 4 + 64,
        dims,
    }
}

#[test]
fn whole_program() {
    let program = program();
    let input = |values: &[f32]| vec![(vec![values.len() as i64], bytes(values))];
    let result = run(&program, &input(&[1.0, 2.0, 3.0]));
    assert_eq!(result, Ok(vec![(vec![2], bytes(&[2.5f32, -96.0]))]));
    assert_eq!(run(&program, &input(&[])), Ok(vec![(vec![0], vec![])]));
    assert!(matches!(run(&program, &input(&[0.0; 65])), Err(RunError::Input { .. })));
    assert!(matches!(run(&program, &[(vec![2, 2], bytes(&[0f32; 4]))]), Err(RunError::Input { .. })));
    assert!(matches!(run(&program, &[(vec![2], bytes(&[0f32; 3]))]), Err(RunError::Input { .. })));
    assert!(crate::print::program(&program).contains("run @bias(t, w, y; n) over 0..n work 1 from \"node 1\""));
}

#[test]
fn a_workspace_too_small_is_found() {
    let mut program = program();
    program.workspace_bytes = Dim::from(64);
    let result = run(&program, &[(vec![1], bytes(&[1f32]))]);
    assert!(matches!(result, Err(RunError::Plan(_))), "{result:?}");
}

#[test]
fn overlapping_buffers_change_the_result() {
    let mut program = program();
    // The count of positive inputs is written while `t` is still to be read.
    program.steps.swap(1, 2);
    if let Step::Run { arguments, .. } = &mut program.steps[1] {
        arguments[0].buffer = BufferId(0);
    }
    let right = run(&program, &[(vec![3], bytes(&[1f32, 2.0, 3.0]))]);
    program.buffers[1].place = Place::Workspace { offset: Dim::ZERO };
    let wrong = run(&program, &[(vec![3], bytes(&[1f32, 2.0, 3.0]))]);
    assert_eq!(right, Ok(vec![(vec![3], bytes(&[2.5f32, -96.0, 6.5]))]));
    assert_ne!(right, wrong);
}

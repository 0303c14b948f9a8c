//! Text to kernel and back.

use crate::{Expr, Scalar, Stmt, parse, print, verify};
use nnc_ir::DType;

/// Every construct once.
const ALL: &str = "\
kernel @all_0(x0: read f32 align 4, \"a b\": read i8 align 1, y1: write f32 align 64; n: i64 [0..=128], m: i64) parallel p in 0..n*m {
  scratch s2: f32[128] align 64
  for vector j in 0..768 {
    let t: f32 = mul(load x0[768*p + j], 0.5f32)
    store y1[768*p + j] = max(t, mul_add(t, -inf.f32, nan.f32))
  }
  for unrolled k [0..=7] in 0..4 {
    store s2[k] = select(and(true, is_nan(-0.0f32)), bits.f32(0x7fc00001), convert.f32(index(n + k)))
  }
  reduce vector l in 0..n -> (r: f32 = max from -inf.f32, c: i64 [0..=99] = sum from 0i64) {
    let u: f16 = convert.f16(load x0[l])
    yield convert.f32(u), convert.i64(bitcast.u16(u))
  }
  mut i: i64 [0..=10] = 0i64
  while lt(i, 10i64) {
    if eq(load \"a b\"[i + max(n, i)], -128i8) {
      fail 8
    } else {
      i = index(i + 1)
    }
  }
  contract f32 tile 6 x 16 m [n] n [10] k [4] a x0[n + p] stride [4] tap 3 by [n] tap 2 by [4] b x0[0] panel fetch [n + 64] by [12] -> (row, col, acc) {
    store y1[16*row + col] = add(acc, load_if(gt(index(n), 3i64), x0[col], 1e-8f32))
  }
  contract f32 tile 6 x 16 m [1] n [10] k [4] a x0[n] stride [4] b x0[0] panel fetch ahead -> (row.2, col.2, acc.2) {
    store y1[col.2] = acc.2
  }
  contract i32 tile 6 x 16 m [1] n [n] k [4] a \"a b\"[0] stride [4] b \"a b\"[0] rows [n] -> (row.1, col.1, acc.1) {
    store y1[col.1] = convert.f32(acc.1)
  }
}
";

#[test]
fn every_construct_comes_back() {
    let kernel = parse::kernel(ALL).unwrap_or_else(|e| panic!("{e}"));
    verify::kernel(&kernel).unwrap_or_else(|e| panic!("{e}"));
    let text = print::kernel(&kernel);
    assert_eq!(text, ALL);
    assert_eq!(parse::kernel(&text).as_ref(), Ok(&kernel));
    assert_eq!(parse::kernels(&format!("{text}\n; comment\n{text}")), Ok(vec![kernel.clone(), kernel]));
}

#[test]
fn constants_keep_their_bits() {
    let values = [0u64, 1, 2, 0x7f, 0x80, 0xff, 0x3c00, 0x7c00, 0x7e00, 0x7e01, 0x8000, 0xfc00, 0x3f80, 0x7f80, 0xffff];
    let wide = [0x7fc0_0000, 0x7f80_0001, 0x8000_0000, 0xff80_0000, 0x3dcc_cccd, 1 << 63, 0x7ff0 << 48, u64::MAX];
    for dtype in DType::ALL {
        for bits in values.into_iter().chain(wide) {
            let fits = dtype.size() == 8 || bits >> (8 * dtype.size()) == 0;
            if !fits {
                continue;
            }
            let scalar = Scalar { dtype, bits };
            let text = print::expr::scalar(scalar);
            let kernel = format!("kernel @k() parallel p in 0..1 {{ let t: {dtype} = {text} }}");
            let kernel = parse::kernel(&kernel).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(
                kernel.body[0],
                Stmt::Let(kernel.params.first().copied().unwrap_or(crate::Var(1)), Expr::Const(scalar))
            );
        }
    }
}

#[test]
fn errors_name_the_place() {
    let check = |text: &str, line: usize, problem: &str| {
        let error = parse::kernel(text).expect_err(text);
        assert_eq!(error.line, line, "{error}");
        assert!(error.problem.contains(problem), "{error}");
    };
    check("kernel @k() parallel p in 0..1 {\n  store y[0] = 1i8\n}", 2, "unknown buffer `y`");
    check("kernel @k() parallel p in 0..q {\n}", 1, "unknown dimension");
    check("kernel @k() parallel p in 0..1 {\n  let t: f32 = frob(1.0f32)\n}", 2, "unknown function");
    check("kernel @k() parallel p in 0..1 {\n  let t: f32 = 1.0\n}", 2, "number with its type");
    check("kernel @k() parallel p in 0..1 {\n  let p: i64 = 1i64\n}", 2, "declared twice");
    check("kernel @k() parallel p in 0..1 {\n", 2, "expected a name");
    check("", 1, "expected one kernel");
    let deep = format!("kernel @k() parallel p in 0..1 {{ let t: f32 = {}1.0f32", "neg(".repeat(10_000));
    check(&deep, 1, "nested too deeply");
}

#[test]
fn no_text_panics() {
    // Every prefix, and every single character replaced.
    for end in (0..ALL.len()).filter(|&i| ALL.is_char_boundary(i)) {
        let _ = parse::kernels(&ALL[..end]);
        for other in ["(", "[", "}", "\"", "-", "9", "e", " ", "é"] {
            let text = format!("{}{other}{}", &ALL[..end], &ALL[end + 1..]);
            if let Ok(kernels) = parse::kernels(&text) {
                for kernel in kernels {
                    let _ = verify::kernel(&kernel);
                    let _ = print::kernel(&kernel);
                }
            }
        }
    }
}

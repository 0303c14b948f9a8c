//! `unary`, `binary`, `select`, `convert`, `bitcast`.

use super::*;
use half::{bf16, f16};
use nnc_ir::op::{BinaryOp, UnaryOp};

fn unary(f: UnaryOp, x: &Tensor) -> Tensor {
    one(&Op::Unary(f), &[x])
}

fn binary<T: Element>(f: BinaryOp, x: &[T], y: &[T]) -> Tensor {
    one(&Op::Binary(f), &[&row(x), &row(y)])
}

#[test]
fn unary_floats() {
    let nan = f32::NAN;
    let x = row(&[-2.5f32, -0.5, 0.5, 1.5, 2.5]);
    check(&unary(UnaryOp::Round, &x), &[5], &[-2.0f32, -0.0, 0.0, 2.0, 2.0]);
    check(&unary(UnaryOp::Floor, &x), &[5], &[-3.0f32, -1.0, 0.0, 1.0, 2.0]);
    check(&unary(UnaryOp::Ceil, &x), &[5], &[-2.0f32, -0.0, 1.0, 2.0, 3.0]);
    check(&unary(UnaryOp::Trunc, &x), &[5], &[-2.0f32, -0.0, 0.0, 1.0, 2.0]);
    check(&unary(UnaryOp::Sign, &x), &[5], &[-1.0f32, -1.0, 1.0, 1.0, 1.0]);
    check(&unary(UnaryOp::Neg, &x), &[5], &[2.5f32, 0.5, -0.5, -1.5, -2.5]);
    check(&unary(UnaryOp::Abs, &x), &[5], &[2.5f32, 0.5, 0.5, 1.5, 2.5]);
    assert!(unary(UnaryOp::Sign, &row(&[nan])).get_f64(0).is_nan());
    check(&unary(UnaryOp::Sqrt, &row(&[4.0f32, 0.0])), &[2], &[2.0f32, 0.0]);
    check(&unary(UnaryOp::Rsqrt, &row(&[4.0f32, 0.0])), &[2], &[0.5f32, f32::INFINITY]);
    check(&unary(UnaryOp::Recip, &row(&[4.0f32, 0.0])), &[2], &[0.25f32, f32::INFINITY]);
    check_bools(&unary(UnaryOp::IsNan, &row(&[nan, 1.0, f32::INFINITY])), &[true, false, false]);
    check_bools(&unary(UnaryOp::IsInf, &row(&[nan, 1.0, f32::NEG_INFINITY])), &[false, false, true]);
}

#[test]
fn transcendental_functions() {
    use UnaryOp::*;
    for (f, x, y) in [
        (Exp, 1.0, std::f64::consts::E),
        (Expm1, 1e-9, 1.0000000005e-9),
        (Log, 10.0, std::f64::consts::LN_10),
        (Log1p, 1e-9, 9.999999995e-10),
        (Sin, 1.0, 0.8414709848078965),
        (Cos, 1.0, 0.5403023058681398),
        (Tan, 1.0, 1.5574077246549023),
        (Asin, 0.5, std::f64::consts::FRAC_PI_6),
        (Acos, 0.5, std::f64::consts::FRAC_PI_3),
        (Atan, 1.0, std::f64::consts::FRAC_PI_4),
        (Sinh, 1.0, 1.1752011936438014),
        (Cosh, 1.0, 1.5430806348152437),
        (Tanh, 1.0, 0.7615941559557649),
        (Asinh, 1.0, 0.881373587019543),
        (Acosh, 2.0, 1.3169578969248166),
        (Atanh, 0.5, 0.5493061443340549),
        (Erf, 0.5, 0.5204998778130465),
        (Sigmoid, 1.0, 0.7310585786300049),
    ] {
        let result = unary(f, &row(&[x])).get_f64(0);
        assert!((result - y).abs() <= 4.0 * f64::EPSILON * y, "{f:?} {x}: {result}");
        assert_eq!(unary(f, &row(&[x as f32])).get_f64(0), f64::from(y as f32), "{f:?}");
    }
    assert_eq!(unary(Sigmoid, &row(&[-1000.0f32])).get_f64(0), 0.0);
}

#[test]
fn unary_integers() {
    check(&unary(UnaryOp::Neg, &row(&[i8::MIN, 5])), &[2], &[i8::MIN, -5]);
    check(&unary(UnaryOp::Neg, &row(&[1u8])), &[1], &[255u8]);
    check(&unary(UnaryOp::Abs, &row(&[i32::MIN, -5])), &[2], &[i32::MIN, 5]);
    check(&unary(UnaryOp::Sign, &row(&[-7i16, 0, 9])), &[3], &[-1i16, 0, 1]);
    check(&unary(UnaryOp::Sign, &row(&[u64::MAX, 0])), &[2], &[1u64, 0]);
    check(&unary(UnaryOp::BitNot, &row(&[0u16, 1])), &[2], &[u16::MAX, u16::MAX - 1]);
    check_bools(&unary(UnaryOp::Not, &bools(&[true, false])), &[false, true]);
    assert_eq!(error(&Op::Unary(UnaryOp::Exp), &[&row(&[1i32])]), "exp: Exp of i32");
    assert_eq!(error(&Op::Unary(UnaryOp::Not), &[&row(&[1i32])]), "not: Not of i32");
}

#[test]
fn binary_floats() {
    let nan = f32::NAN;
    let max = binary(BinaryOp::Max, &[1.0, nan, 1.0], &[2.0, 1.0, nan]).to_f64s();
    assert!(max[0] == 2.0 && max[1].is_nan() && max[2].is_nan());
    let min = binary(BinaryOp::Min, &[1.0, nan, 1.0], &[2.0, 1.0, nan]).to_f64s();
    assert!(min[0] == 1.0 && min[1].is_nan() && min[2].is_nan());
    let (x, y) = ([7.5f32, -7.5, 7.5, -7.5], [2.0f32, 2.0, -2.0, -2.0]);
    check(&binary(BinaryOp::Mod, &x, &y), &[4], &[1.5f32, 0.5, -0.5, -1.5]);
    check(&binary(BinaryOp::Rem, &x, &y), &[4], &[1.5f32, -1.5, 1.5, -1.5]);
    check(&binary(BinaryOp::Pow, &[2.0f32, -8.0, 0.0], &[0.5, 3.0, 0.0]), &[3], &[2f32.sqrt(), -512.0, 1.0]);
    check_close(
        &binary(BinaryOp::Atan2, &[1.0f32, -1.0], &[-1.0, 0.0]),
        &[2],
        &[2.356194490192345, -std::f64::consts::FRAC_PI_2],
    );
    check(&binary(BinaryOp::Div, &[1.0f32], &[3.0]), &[1], &[1.0f32 / 3.0]);
    check_bools(&binary(BinaryOp::Ne, &[nan, 1.0], &[nan, 1.0]), &[true, false]);
    check_bools(&binary(BinaryOp::Le, &[nan, 1.0], &[nan, 1.0]), &[false, true]);
    // 2049 and 1 need 12 bits; a tie of f16 goes to the even neighbour.
    let f = f16::from_f32;
    check(&binary(BinaryOp::Add, &[f(2048.0)], &[f(1.0)]), &[1], &[f(2048.0)]);
    check(&binary(BinaryOp::Add, &[f(2050.0)], &[f(1.0)]), &[1], &[f(2052.0)]);
    assert!(error(&Op::Binary(BinaryOp::And), &[&row(&[1.0f32]), &row(&[1.0f32])]).contains("And of f32"));
    assert!(error(&Op::Binary(BinaryOp::Add), &[&row(&[1.0f32]), &row(&[1.0f64])]).contains("f32 [1] and f64 [1]"));
}

#[test]
fn binary_integers() {
    check(&binary(BinaryOp::Add, &[i8::MAX], &[1]), &[1], &[i8::MIN]);
    check(&binary(BinaryOp::Sub, &[0u32], &[1]), &[1], &[u32::MAX]);
    check(&binary(BinaryOp::Mul, &[i64::MAX], &[2]), &[1], &[-2i64]);
    check(&binary(BinaryOp::Div, &[-7i32, 7, i32::MIN], &[2, 0, -1]), &[3], &[-3i32, 0, i32::MIN]);
    check(&binary(BinaryOp::Div, &[u64::MAX], &[2]), &[1], &[u64::MAX / 2]);
    check(&binary(BinaryOp::Mod, &[-7i32, 7, -7, 6, 5], &[3, -3, -3, -3, 0]), &[5], &[2i32, -2, -1, 0, 0]);
    check(&binary(BinaryOp::Rem, &[-7i32, 7, -7, 6, 5], &[3, -3, -3, -3, 0]), &[5], &[-1i32, 1, -1, 0, 0]);
    check(&binary(BinaryOp::Rem, &[i64::MIN, -1], &[-1, i64::MIN]), &[2], &[0i64, -1]);
    check(&binary(BinaryOp::Mod, &[u64::MAX], &[10]), &[1], &[5u64]);
    check(&binary(BinaryOp::Pow, &[3i32, 2, 2, -1, 0], &[4, 33, -1, -3, -1]), &[5], &[81i32, 0, 0, -1, 0]);
    check(&binary(BinaryOp::Max, &[u64::MAX, 1], &[1, 2]), &[2], &[u64::MAX, 2]);
    check(&binary(BinaryOp::Min, &[-1i64], &[1]), &[1], &[-1i64]);
    check(&binary(BinaryOp::And, &[6u8], &[3]), &[1], &[2u8]);
    check(&binary(BinaryOp::Or, &[6u8], &[3]), &[1], &[7u8]);
    check(&binary(BinaryOp::Xor, &[6u8], &[3]), &[1], &[5u8]);
    check(&binary(BinaryOp::Shl, &[0x81u8, 1, 1], &[1, 7, 8]), &[3], &[2u8, 128, 0]);
    check(&binary(BinaryOp::Shr, &[-8i8, -8, 8], &[1, 100, 100]), &[3], &[-4i8, -1, 0]);
    check(&binary(BinaryOp::Shr, &[u64::MAX, u64::MAX], &[63, 64]), &[2], &[1u64, 0]);
    check_bools(&binary(BinaryOp::Lt, &[1u64, u64::MAX], &[u64::MAX, 1]), &[true, false]);
    let both = one(&Op::Binary(BinaryOp::Xor), &[&bools(&[true, true]), &bools(&[true, false])]);
    check_bools(&both, &[false, true]);
}

#[test]
fn select() {
    let (x, y) = (row(&[1.0f64, 2.0]), row(&[3.0f64, 4.0]));
    check(&one(&Op::Select, &[&bools(&[true, false]), &x, &y]), &[2], &[1.0f64, 4.0]);
    assert!(error(&Op::Select, &[&bools(&[true]), &x, &y]).contains("select by bool [1]"));
}

#[test]
fn convert() {
    let to = |dtype, x: &Tensor| one(&Op::Convert(dtype), &[x]);
    let floats = row(&[f32::NAN, 300.7, -300.7, -1.9, f32::INFINITY]);
    check(&to(DType::U8, &floats), &[5], &[0u8, 255, 0, 0, 255]);
    check(&to(DType::I8, &floats), &[5], &[0i8, 127, -128, -1, 127]);
    check(&to(DType::I64, &floats), &[5], &[0i64, 300, -300, -1, i64::MAX]);
    check_bools(&to(DType::Bool, &row(&[0.0f32, -0.0, 0.1, f32::NAN])), &[false, false, true, true]);
    check(&to(DType::I8, &row(&[200i32, -129])), &[2], &[-56i8, 127]);
    check(&to(DType::U64, &row(&[-1i8])), &[1], &[u64::MAX]);
    check(&to(DType::F32, &row(&[u64::MAX])), &[1], &[18446744073709551615.0f32]);
    check(&to(DType::F32, &bools(&[true, false])), &[2], &[1.0f32, 0.0]);
    check(&to(DType::F16, &row(&[65520.0f32, 65519.0])), &[2], &[f16::INFINITY, f16::MAX]);
    // The nearest double is a tie between two values of f32; the integer lies above it.
    let above_tie = (1i64 << 60) + (1 << 36) + 1;
    check(&to(DType::F32, &row(&[above_tie])), &[1], &[above_tie as f32]);
    // Just above the middle of two values of f16 and of bf16: rounding to f32 first would make it the middle.
    let middle = |step: f64| row(&[1.0 + step / 2.0 + 1e-14]);
    check(&to(DType::F16, &middle(1.0 / 1024.0)), &[1], &[f16::from_f32(1.0 + 1.0 / 1024.0)]);
    check(&to(DType::BF16, &middle(1.0 / 128.0)), &[1], &[bf16::from_f32(1.0 + 1.0 / 128.0)]);
    check(&to(DType::F32, &row(&[bf16::from_f32(-3.0)])), &[1], &[-3.0f32]);
}

#[test]
fn bitcast() {
    check(&one(&Op::Bitcast(DType::U32), &[&row(&[1.0f32])]), &[1], &[0x3f80_0000u32]);
    check(&one(&Op::Bitcast(DType::I8), &[&row(&[255u8])]), &[1], &[-1i8]);
    assert!(error(&Op::Bitcast(DType::U8), &[&row(&[1.0f32])]).contains("differ in size"));
    assert!(error(&Op::Bitcast(DType::Bool), &[&row(&[2u8])]).contains("no bool"));
}

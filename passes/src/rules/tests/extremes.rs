//! Exact rules on nasty inputs: no value changes, not even the sign of a zero.

use super::examples::{generated, text};
use super::table::EXAMPLES;
use super::{check_with, parse};
use crate::rules::{EXACT, Rule};
use crate::testing::Random;
use nnc_ir::{DType, Graph, Tensor};

/// NaN, infinities, zeros of both signs, numbers at the ends of the range; integers likewise.
pub(super) fn nasty(graph: &Graph, seed: u64) -> Vec<Tensor> {
    let mut random = Random(seed);
    let mut tensor = |value: &nnc_ir::ValueId| {
        let ty = graph.ty(*value);
        let shape = ty.static_shape().unwrap();
        let count: usize = shape.iter().product();
        let floats = [
            0.0,
            -0.0,
            1.0,
            -1.0,
            2.5,
            -0.5,
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::from(f32::MAX),
            f64::from(f32::MIN),
            f64::from(f32::MIN_POSITIVE),
            1e-40,
            -1e-45,
            16_777_216.0,
        ];
        let integers =
            [0.0, 1.0, -1.0, 2.0, 127.0, -128.0, 255.0, 65535.0, -32768.0, f64::from(i32::MIN), 9.3e18, -9.3e18];
        let values: Vec<f64> = (0..count)
            .map(|_| match ty.dtype {
                DType::Bool => random.below(2) as f64,
                dtype if dtype.is_float() => floats[random.below(floats.len())],
                _ => integers[random.below(integers.len())],
            })
            .collect();
        Tensor::from_f64s(ty.dtype, &shape, &values)
    };
    graph.inputs.iter().map(&mut tensor).collect()
}

/// Equal bits, where a NaN is a NaN.
fn identical(a: &Tensor, b: &Tensor) -> Result<(), String> {
    if a.dtype != b.dtype || a.shape != b.shape {
        return Err(format!("{} {:?} against {} {:?}", a.dtype, a.shape, b.dtype, b.shape));
    }
    let (x, y) = (a.to_f64s(), b.to_f64s());
    match x.iter().zip(&y).position(|(x, y)| x.to_bits() != y.to_bits() && !(x.is_nan() && y.is_nan())) {
        Some(i) if a.data.bytes() != b.data.bytes() => Err(format!("element {i}: {} against {}", x[i], y[i])),
        _ => Ok(()),
    }
}

fn exact_rules() -> Vec<&'static Rule> {
    EXACT.iter().copied().flatten().collect()
}

/// What adds several elements may add them in another order, which is no matter of rules.
fn sums(body: &str) -> bool {
    ["contract", "conv %", "op=sum", "op=prod"].iter().any(|name| body.contains(name))
}

#[test]
fn exact_rules_keep_every_bit() {
    let mut failures = vec![];
    let by_hand = EXAMPLES.iter().map(|(_, signature, body)| (signature.to_string(), body.to_string()));
    let examples = by_hand.chain(exact_rules().into_iter().flat_map(generated));
    for (signature, body) in examples.chain(more()).filter(|(_, body)| !sums(body)) {
        let graph = parse(&text(&signature, &body));
        for seed in 0..20 {
            // Indices must be in range.
            if signature.contains("i64") {
                continue;
            }
            if let Err(error) = check_with(&graph, &exact_rules(), &nasty(&graph, seed), identical) {
                failures.push(format!("{error}\nin\n{body}"));
                break;
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

/// Every elementwise operation with itself, with constants that rules look for, and every pair of conversions.
fn more() -> Vec<(String, String)> {
    let mut found = vec![];
    for dtype in ["f32", "f16", "f64", "i8", "u8", "i32", "u64"] {
        for f in ["add", "sub", "mul", "div", "pow", "max", "min", "mod", "rem"] {
            for constant in ["-2", "-1", "-0.5", "0", "0.5", "1", "2", "3", "8", "inf", "-inf", "nan"] {
                let integer = !dtype.starts_with('f');
                let whole = constant.parse::<i64>().is_ok_and(|c| c >= 0 || !dtype.starts_with('u'));
                if integer && !whole {
                    continue;
                }
                let constant = format!("%8 = constant {dtype}[9] splat={constant}\n");
                found.push((format!("{dtype}[9]"), format!("{constant}%9 = {f} %0, %8 : {dtype}[9]")));
                found.push((format!("{dtype}[9]"), format!("{constant}%9 = {f} %8, %0 : {dtype}[9]")));
            }
            let pair = format!("{dtype}[9], {dtype}[9]");
            found.push((pair.clone(), format!("%9 = {f} %0, %0 : {dtype}[9]")));
            found.push((pair.clone(), format!("%8 = neg %1 : {dtype}[9]\n%9 = {f} %0, %8 : {dtype}[9]")));
            found.push((pair, format!("%8 = {f} %0, %1 : {dtype}[9]\n%9 = neg %8 : {dtype}[9]")));
        }
    }
    let unary = ["neg", "abs", "sign", "floor", "ceil", "round", "trunc", "sqrt", "exp", "sigmoid", "recip"];
    for (outer, inner) in unary.iter().flat_map(|outer| unary.map(|inner| (outer, inner))) {
        found.push(("f32[20]".into(), format!("%8 = {inner} %0 : f32[20]\n%9 = {outer} %8 : f32[20]")));
    }
    let types = ["bool", "u8", "i8", "u16", "i16", "u32", "i32", "u64", "f16", "bf16", "f32", "f64"];
    for (a, b) in types.iter().flat_map(|a| types.map(|b| (a, b))) {
        for c in types {
            let body = format!("%8 = convert %0 to={b} : {b}[20]\n%9 = convert %8 to={c} : {c}[20]");
            found.push((format!("{a}[20]"), body));
        }
    }
    // Bounds do not hold of NaN, and a root of `-0` is `-0`.
    for (f, g, constant) in [("sigmoid", "lt", 2), ("sigmoid", "ge", -1), ("tanh", "eq", 2), ("tanh", "ne", 2)] {
        let body = format!(
            "%7 = {f} %0 : f32[20]\n%8 = constant f32[20] splat={constant}\n%9 = {g} %7, %8 : bool[20]\n%10 = {g} %8, %7 : bool[20]\n%11 = and %9, %10 : bool[20]\n%12 = or %11, %9 : bool[20]"
        );
        found.push(("f32[20]".into(), body));
    }
    for f in ["max", "min"] {
        let body = format!("%7 = sqrt %0 : f32[40]\n%8 = constant f32[40] splat=0\n%9 = {f} %7, %8 : f32[40]");
        found.push(("f32[40]".into(), body));
    }
    // Empty axes.
    for op in ["max", "min"] {
        let body =
            format!("%8 = broadcast %0 shape=[3, 0] axes=[0] : f32[3, 0]\n%9 = reduce %8 op={op} axes=[1] : f32[3]");
        found.push(("f32[3]".into(), body));
        let body = format!("%8 = reduce %0 op={op} axes=[1] : f32[3]\n%9 = reduce %8 op={op} axes=[0] : f32[]");
        found.push(("f32[3, 0]".into(), body));
    }
    found.push((
        "f32[0]".into(),
        "%8 = reshape %0 shape=[0, 4] : f32[0, 4]\n%9 = reshape %8 shape=[2, 0] : f32[2, 0]".into(),
    ));
    found
}

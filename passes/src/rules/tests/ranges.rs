//! Every value lies within the bounds known of its class, whatever the inputs are.

use super::examples::{of, text};
use super::extremes::nasty;
use super::{all_rules, evaluate, parse};
use crate::rules::load::load;
use crate::rules::range::interval;
use crate::rules::saturate::{Limits, saturate};

fn check(graph: &nnc_ir::Graph, seed: u64) {
    let mut loaded = load(graph, false);
    saturate(&mut loaded.net, &all_rules(), Limits::default(), &mut crate::fuel::Fuel::default());
    let inputs = nasty(graph, seed);
    let net = &loaded.net;
    evaluate(graph, &loaded, &inputs, &mut |id, _, value| {
        let bounds = interval(net, id);
        let outside = value.to_f64s().into_iter().find(|v| !v.is_nan() && !(bounds.low..=bounds.high).contains(v));
        outside.map_or(Ok(()), |v| Err(format!("{v} is not in {bounds:?}\n{}", nnc_ir::print::graph(graph))))
    })
    .unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn examples_stay_within_their_bounds() {
    for rule in all_rules() {
        for (signature, body) in of(rule).iter().filter(|(signature, _)| !signature.contains("i64")) {
            check(&parse(&text(signature, body)), 3);
        }
    }
}

/// Arithmetic of every type, where integers wrap and small floats overflow.
#[test]
fn arithmetic_stays_within_its_bounds() {
    for dtype in ["i8", "u8", "i32", "u64", "f16", "bf16", "f32", "f64"] {
        for f in ["add", "sub", "mul", "div", "max", "min", "mod"] {
            for constant in [1, 2, 100] {
                let body = format!(
                    "%2 = constant {dtype}[40] splat={constant}\n%3 = min %0, %2 : {dtype}[40]\n%4 = max %1, %2 : {dtype}[40]\n%5 = {f} %3, %4 : {dtype}[40]\n%6 = {f} %5, %2 : {dtype}[40]\n%7 = abs %6 : {dtype}[40]\n%8 = neg %7 : {dtype}[40]\n%9 = convert %8 to=f16 : f16[40]\n%10 = convert %9 to=i8 : i8[40]"
                );
                let graph = parse(&text(&format!("{dtype}[40], {dtype}[40]"), &body));
                (0..6).for_each(|seed| check(&graph, seed));
            }
        }
    }
}

#[test]
fn what_is_known() {
    let bounds = |signature: &str, body: &str| {
        let graph = parse(&text(signature, body));
        let loaded = load(&graph, false);
        let found = interval(&loaded.net, loaded.classes[graph.outputs[0].1.index()].unwrap());
        (found.low, found.high)
    };
    let infinite = f64::INFINITY;
    assert_eq!(bounds("f32[4]", "%1 = sigmoid %0 : f32[4]"), (0.0, 1.0));
    assert_eq!(bounds("f32[4]", "%1 = tanh %0 : f32[4]\n%2 = neg %1 : f32[4]\n%3 = abs %2 : f32[4]"), (0.0, 1.0));
    assert_eq!(bounds("i8[4]", "%1 = add %0, %0 : i8[4]"), (-128.0, 127.0));
    assert_eq!(bounds("u8[4]", "%1 = convert %0 to=i32 : i32[4]\n%2 = mul %1, %1 : i32[4]"), (0.0, 65025.0));
    assert_eq!(bounds("u8[4]", "%1 = constant u8[4] splat=7\n%2 = mod %0, %1 : u8[4]"), (0.0, 7.0));
    assert_eq!(bounds("f32[4]", "%1 = exp %0 : f32[4]\n%2 = convert %1 to=i8 : i8[4]"), (0.0, 127.0));
    assert_eq!(bounds("bool[4]", "%1 = convert %0 to=f32 : f32[4]\n%2 = sub %1, %1 : f32[4]"), (-1.0, 1.0));
    assert_eq!(bounds("f32[4]", "%1 = iota dtype=i64 shape=[2, 900] axis=1 : i64[2, 900]"), (0.0, 899.0));
    assert_eq!(bounds("f32[4]", "%1 = reduce %0 op=sum axes=[0] : f32[]"), (-infinite, infinite));
    assert_eq!(
        bounds("f32[4, 0]", "%1 = sigmoid %0 : f32[4, 0]\n%2 = reduce %1 op=max axes=[1] : f32[4]").0,
        -infinite
    );
}

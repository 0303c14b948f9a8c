//! Tests of the search for a wrong rewrite.

use super::*;
use crate::rules::Rule;
use crate::rules::net::Net;
use crate::rules::rule::exactly;
use crate::rules::saturate::Site;
use egg::Id;
use nnc_ir::Tensor;
use nnc_ir::op::{BinaryOp, Op, UnaryOp};

/// Every operation that a planted rule is about, with something right to rewrite around each.
const GRAPH: &str = "graph @g(%0 x: f32[4, 4], %1 y: f32[4, 4], %2 c: bool[4, 4]) -> (a: %9, b: %16, c: %19) {
  %3 = exp %0 : f32[4, 4] ; Exp \"exp\"
  %4 = neg %3 : f32[4, 4]
  %5 = neg %4 : f32[4, 4]
  %6 = tanh %1 : f32[4, 4] ; Tanh \"tanh\"
  %7 = div %5, %6 : f32[4, 4] ; Div \"div\"
  %8 = sqrt %7 : f32[4, 4] ; Sqrt \"sqrt\"
  %9 = sigmoid %8 : f32[4, 4] ; Sigmoid \"sigmoid\"
  %10 = transpose %0 perm=[1, 0] : f32[4, 4] ; Transpose \"transpose\"
  %11 = abs %10 : f32[4, 4]
  %12 = log %11 : f32[4, 4] ; Log \"log\"
  %13 = pow %11, %1 : f32[4, 4] ; Pow \"pow\"
  %14 = add %12, %13 : f32[4, 4] ; Add \"add\"
  %15 = neg %14 : f32[4, 4]
  %16 = neg %15 : f32[4, 4]
  %17 = max %0, %1 : f32[4, 4] ; Max \"max\"
  %18 = erf %17 : f32[4, 4] ; Erf \"erf\"
  %19 = select %2, %18, %1 : f32[4, 4] ; Where \"where\"
}
";

fn unary(net: &mut Net, site: &Site, from: UnaryOp, to: UnaryOp) -> Vec<Id> {
    match (site.op, site.args) {
        (Op::Unary(f), &[x]) if *f == from => net.unary(to, x).into_iter().collect(),
        _ => vec![],
    }
}

/// The first operand in the place of an operation.
fn first(site: &Site, of: fn(&Op) -> bool) -> Vec<Id> {
    if of(site.op) { site.args.first().copied().into_iter().collect() } else { vec![] }
}

fn product(net: &mut Net, site: &Site, of: BinaryOp) -> Vec<Id> {
    match (site.op, site.args) {
        (Op::Binary(f), &[x, y]) if *f == of => net.binary(BinaryOp::Mul, x, y).into_iter().collect(),
        _ => vec![],
    }
}

/// Wrong rules whose results are cheaper, so that extraction takes them. Each is named like the node it breaks.
const WRONG: &[Rule] = &[
    exactly("exp", 2, |net, site| unary(net, site, UnaryOp::Exp, UnaryOp::Neg)),
    exactly("tanh", 2, |net, site| unary(net, site, UnaryOp::Tanh, UnaryOp::Abs)),
    exactly("div", 2, |net, site| product(net, site, BinaryOp::Div)),
    exactly("sqrt", 2, |_, site| first(site, |op| matches!(op, Op::Unary(UnaryOp::Sqrt)))),
    exactly("sigmoid", 2, |net, site| unary(net, site, UnaryOp::Sigmoid, UnaryOp::Neg)),
    exactly("transpose", 2, |_, site| first(site, |op| matches!(op, Op::Transpose { .. }))),
    exactly("log", 2, |_, site| first(site, |op| matches!(op, Op::Unary(UnaryOp::Log)))),
    exactly("pow", 2, |net, site| product(net, site, BinaryOp::Pow)),
    exactly("add", 2, |_, site| first(site, |op| matches!(op, Op::Binary(BinaryOp::Add)))),
    exactly("max", 2, |_, site| first(site, |op| matches!(op, Op::Binary(BinaryOp::Max)))),
    exactly("erf", 2, |net, site| unary(net, site, UnaryOp::Erf, UnaryOp::Abs)),
];

fn found(planted: &[Rule]) -> Option<Blame> {
    let graph = nnc_ir::parse::graph(GRAPH).unwrap();
    let numbers = |start: f64| {
        let values: Vec<f64> = (0..16).map(|i| start + f64::from((i * 7) % 16) / 8.0).collect();
        Tensor::from_f64s(nnc_ir::DType::F32, &[4, 4], &values)
    };
    let choice: Vec<f64> = (0..16).map(|i| f64::from(i % 3 / 2)).collect();
    let inputs = [numbers(0.3), numbers(0.6), Tensor::from_f64s(nnc_ir::DType::Bool, &[4, 4], &choice)];
    let run = |graph: &Graph| nnc_eval::run(graph, &inputs).unwrap();
    let expected = run(&graph);
    let mut agrees = |graph: &Graph| {
        run(graph).iter().zip(&expected).all(|(x, y)| {
            x.to_f64s().iter().zip(y.to_f64s()).all(|(x, y)| (x - y).abs() < 1e-4 || (x.is_nan() && y.is_nan()))
        })
    };
    let options = PipelineOptions { planted, ..PipelineOptions::default() };
    blame(&graph, &Target::parse("x86_64").unwrap(), &options, &mut agrees).unwrap()
}

#[test]
fn every_wrong_rule_is_named() {
    assert_eq!(found(&[]), None);
    for rule in WRONG {
        let found = found(std::slice::from_ref(rule)).unwrap_or_else(|| panic!("{} changes nothing", rule.name));
        assert_eq!((found.pass, found.applied.what), ("simplify", rule.name));
        assert!(found.applied.origin.ends_with(&format!("\"{}\"", rule.name)), "{found:?}");
    }
}

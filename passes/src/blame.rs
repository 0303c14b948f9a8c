//! Blame: which rewrite or pass is the first that makes a graph compute something else.
//!
//! Every unit of fuel is one rewrite or pass, always the same ones in the same order, so bisection finds the first unit
//! after which the results are wrong. It may be a later one that is wrong, if a wrong result comes and goes with fuel;
//! what is found is always a unit with right results before it and wrong ones after it.
//!
//! Source: bisection over fuel is Whalley, "Automatic Isolation of Compiler Errors", TOPLAS 1994.

use crate::fuel::{Applied, Fuel};
use crate::pipeline::{Event, PassError, PipelineOptions, optimize};
use nnc_desc::Target;
use nnc_ir::Graph;
use std::cell::RefCell;

/// What is to blame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blame {
    /// The pass that ran.
    pub pass: &'static str,
    /// The rule, or the pass itself, and the node.
    pub applied: Applied,
    /// How much fuel leads there (`--opt-fuel`).
    pub fuel: usize,
}

/// Looks for the first rewrite or pass after which `agrees` says no of the graph; `None` when it never does, or already
/// does of the graph as it is. The options' fuel and observer are not used.
///
/// # Errors
/// When a pass leaves a graph that does not verify.
pub fn blame(
    graph: &Graph,
    target: &Target,
    options: &PipelineOptions<'_>,
    agrees: &mut dyn FnMut(&Graph) -> bool,
) -> Result<Option<Blame>, PassError> {
    let run = |fuel| optimized(graph, target, options, fuel);
    let whole = run(None)?;
    if agrees(&whole.graph) || !agrees(graph) {
        return Ok(None);
    }
    let (mut right, mut wrong) = (0, whole.fuel.spent());
    while wrong - right > 1 {
        let middle = right + (wrong - right) / 2;
        if agrees(&run(Some(middle))?.graph) {
            right = middle;
        } else {
            wrong = middle;
        }
    }
    let at = run(Some(wrong))?;
    let applied = at.fuel.last().cloned().unwrap_or_default();
    Ok(Some(Blame { pass: at.pass, applied, fuel: wrong }))
}

/// A graph after so much fuel.
struct Optimized {
    graph: Graph,
    fuel: Fuel,
    /// The pass that the last unit was spent in.
    pass: &'static str,
}

fn optimized(
    graph: &Graph,
    target: &Target,
    options: &PipelineOptions<'_>,
    fuel: Option<usize>,
) -> Result<Optimized, PassError> {
    let seen: RefCell<(Fuel, &'static str)> = RefCell::default();
    let observer = |event: &Event<'_>| {
        let mut seen = seen.borrow_mut();
        if event.fuel.spent() > seen.0.spent() {
            *seen = (event.fuel.clone(), event.pass);
        }
    };
    let options =
        PipelineOptions { fuel, observer: Some(&observer), stop_after: None, dump_after: None, ..options.clone() };
    let graph = optimize(graph.clone(), target, &options)?;
    let (fuel, pass) = seen.into_inner();
    Ok(Optimized { graph, fuel, pass })
}

#[cfg(test)]
mod tests {
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
}

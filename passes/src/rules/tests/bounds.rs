//! Every value-changing rule keeps to its bound ([`Effect::bound`]), and none states one that is far too wide.

use super::examples::{of, text};
use super::{all_rules, parse};
use crate::rules::load::load;
use crate::rules::rule::Effect;
use crate::rules::saturate::{Limits, saturate};
use crate::testing::Random;
use nnc_ir::op::{BinaryOp, ReduceOp};
use nnc_ir::{DType, Graph, Op, Tensor};

/// Numbers with full mantissas, of either sign, near 1.
fn full(ty: &nnc_ir::TensorType, random: &mut Random) -> Tensor {
    let shape = ty.static_shape().unwrap();
    let mut number = || (0.25 + random.below(1 << 24) as f64 / f64::from(1 << 23)) * [1.0, -1.0][random.below(2)];
    let values: Vec<f64> = (0..shape.iter().product()).map(|_| number()).collect();
    Tensor::from_f64s(ty.dtype, &shape, &values)
}

/// The `m` of [`Effect::bound`] for the result of a graph.
fn magnitudes(graph: &Graph, inputs: &[Tensor]) -> Vec<f64> {
    let magnitude = |tensor: &Tensor| {
        let values: Vec<f64> = tensor.to_f64s().into_iter().map(f64::abs).collect();
        Tensor::from_f64s(DType::F64, &tensor.shape, &values)
    };
    let mut found: Vec<Option<Tensor>> = nnc_eval::trace(graph, inputs).unwrap().values;
    found.iter_mut().flatten().for_each(|value| *value = magnitude(value));
    let plain = found.clone();
    for node in &graph.nodes {
        let op = match &node.op {
            Op::Binary(BinaryOp::Sub) => Op::Binary(BinaryOp::Add),
            Op::Contract { batch, contract, .. } => {
                Op::Contract { batch: batch.clone(), contract: contract.clone(), out: DType::F64 }
            }
            Op::Conv { window, groups, .. } => Op::Conv { window: window.clone(), groups: *groups, out: DType::F64 },
            op @ (Op::Binary(BinaryOp::Add | BinaryOp::Mul | BinaryOp::Div)
            | Op::Broadcast { .. }
            | Op::Reduce { .. }) => op.clone(),
            // Of any other operation the result has its magnitude.
            _ => continue,
        };
        let mut args: Vec<&Tensor> = node.inputs.iter().map(|x| found[x.index()].as_ref().unwrap()).collect();
        if op == Op::Binary(BinaryOp::Div) {
            args[1] = plain[node.inputs[1].index()].as_ref().unwrap();
        }
        let result = nnc_eval::eval_op(&op, &args, &graph.consts, &mut nnc_eval::Env::new()).unwrap().remove(0);
        found[node.outputs[0].index()] = Some(result);
    }
    found[graph.outputs[0].1.index()].as_ref().unwrap().to_f64s()
}

/// How many terms the sums of a graph have together.
fn terms(graph: &Graph) -> usize {
    let of = |node: &nnc_ir::Node| match &node.op {
        Op::Contract { contract, .. } => {
            contract.iter().map(|p| graph.ty(node.inputs[0]).static_shape().unwrap()[p.0]).product()
        }
        Op::Conv { .. } => graph.ty(node.inputs[1]).static_shape().unwrap().split_last().unwrap().1.iter().product(),
        Op::Reduce { op: ReduceOp::Sum, axes } => {
            axes.iter().map(|&axis| graph.ty(node.inputs[0]).static_shape().unwrap()[axis]).product()
        }
        _ => 0,
    };
    graph.nodes.iter().map(of).sum()
}

/// The largest difference between the model's result and what a rule equates with it, as a part of the bound.
fn used(rule: &'static crate::rules::Rule, graph: &Graph, seed: u64) -> Option<f64> {
    let mut random = Random(seed);
    let inputs: Vec<Tensor> = graph.inputs.iter().map(|&input| full(graph.ty(input), &mut random)).collect();
    let mut loaded = load(graph, false);
    let report = saturate(&mut loaded.net, &[rule], Limits::default(), &mut crate::fuel::Fuel::default());
    report.applied.get(rule.name)?;
    let class = loaded.classes[graph.outputs[0].1.index()]?;
    let results = super::values_of(graph, &loaded, &inputs, class);
    let sides: Vec<Vec<f64>> = results.iter().map(Tensor::to_f64s).collect();
    let scale = magnitudes(graph, &inputs);
    let unit = 2f64.powi(-24) * rule.effect.bound(terms(graph));
    let mut most = 0f64;
    for (i, m) in scale.into_iter().enumerate() {
        for side in &sides {
            let difference = (side[i] - sides[0][i]).abs();
            most = most.max(if difference == 0.0 { 0.0 } else { difference / (unit * m) });
        }
    }
    Some(most)
}

#[test]
fn value_changing_rules_keep_to_their_bounds() {
    for rule in all_rules() {
        let Effect::Rounds { roundings, .. } = rule.effect else { continue };
        let mut most: Option<f64> = None;
        for (signature, body) in of(rule).iter().filter(|(signature, _)| signature.contains("f32")) {
            let graph = parse(&text(signature, body));
            for seed in 1..60 {
                most = used(rule, &graph, seed).into_iter().chain(most).reduce(f64::max);
            }
        }
        let most = most.unwrap_or_else(|| panic!("{} has no example", rule.name));
        assert!(most <= 1.0, "{} differs by {most} times its bound", rule.name);
        // A root is the power to the bit here; what sums are allowed is for the worst case.
        let tight = roundings > 0 && rule.effect.touches_single() && !rule.name.starts_with("power");
        assert!(!tight || most > 0.2, "{} uses only {most} of its bound", rule.name);
    }
}

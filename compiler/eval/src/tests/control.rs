//! Whole graphs: symbols, declared types, `if`, `loop`, tracing.

use super::*;
use crate::{run, trace};
use nnc_ir::Graph;

fn parse(text: &str) -> Graph {
    let graph = nnc_ir::parse::graph(text).unwrap();
    nnc_ir::verify::verify(&graph).unwrap();
    graph
}

fn yes(value: bool) -> Tensor {
    Tensor { shape: vec![], ..bools(&[value]) }
}

const DOUBLED: &str = "dim n in 1..4
    graph @doubled(%0 x: f32[n, 2], %1 y: f32[2*n]) -> (s: %3, x: %0, s: %3) {
        %2 = reshape %0 shape=[2*n] : f32[2*n]
        %3 = add %2, %1 : f32[2*n] ; Add \"sum\"
    }";

#[test]
fn symbols_come_from_inputs() {
    let graph = parse(DOUBLED);
    let found = run(&graph, &[counting(&[2, 2]), counting(&[4])]).unwrap();
    check(&found[0], &[4], &[0.0f32, 2.0, 4.0, 6.0]);
    check(&found[1], &[2, 2], &[0.0f32, 1.0, 2.0, 3.0]);
    check(&found[2], &[4], &[0.0f32, 2.0, 4.0, 6.0]);
    let refuse = |inputs: &[Tensor]| run(&graph, inputs).unwrap_err().to_string();
    assert_eq!(refuse(&[counting(&[2, 2]), counting(&[5])]), "graph (doubled): `y` should be f32[2*n], but is f32[5]");
    assert_eq!(
        refuse(&[counting(&[5, 2]), counting(&[10])]),
        "graph (doubled): `n` would be 5, outside its bounds 1..=4"
    );
    assert!(refuse(&[counting(&[2]), counting(&[10])]).contains("`x` should be f32[n, 2], but is f32[2]"));
    assert!(refuse(&[row(&[1i32]), counting(&[10])]).contains("but is i32[1]"));
    assert_eq!(refuse(&[]), "graph (doubled): takes 2 inputs, not 0");
}

#[test]
fn every_value_is_traced() {
    let values = trace(&parse(DOUBLED), &[counting(&[1, 2]), counting(&[2])]).unwrap().values;
    assert_eq!(values.len(), 4);
    check(values[2].as_ref().unwrap(), &[2], &[0.0f32, 1.0]);
    check(values[3].as_ref().unwrap(), &[2], &[0.0f32, 2.0]);
}

#[test]
fn data_defines_symbols() {
    let graph = parse(
        "dim n in 0..
         dim k in 0..2 from node
         graph @found(%0: f32[n]) -> (y: %3) {
            %1 = non_zero %0 count=k : i64[k, 1] ; NonZero \"where\"
            %2 = reshape %1 shape=[k] : i64[k]
            %3 = gather %0, %2 axis=0 batch=0 : f32[k]
         }",
    );
    check(&run(&graph, &[row(&[0.0f32, 5.0, 0.0, 7.0])]).unwrap()[0], &[2], &[5.0f32, 7.0]);
    let message = run(&graph, &[row(&[1.0f32; 3])]).unwrap_err().to_string();
    assert_eq!(message, "non_zero (NonZero \"where\"): `k` would be 3, outside its bounds 0..=2");
}

#[test]
fn branches() {
    let graph = parse(
        "dim n in 0..
         graph @choose(%0: bool[], %1: f32[n]) -> (y: %2) {
            %2 = if %0, %1 varying=[] sizes=[] then=graph @a(%0: f32[n]) -> (y: %1) { %1 = neg %0 : f32[n] }
                otherwise=graph @b(%0: f32[n]) -> (y: %0) { } : f32[n]
         }",
    );
    check(&run(&graph, &[yes(true), row(&[1.0f32])]).unwrap()[0], &[1], &[-1.0f32]);
    check(&run(&graph, &[yes(false), row(&[1.0f32])]).unwrap()[0], &[1], &[1.0f32]);
}

/// Doubles %2 in each iteration, stops when it exceeds 100, scans the iteration number plus %3.
const LOOP: &str = "dim trips in 0.. from node
    graph @repeat(%0 trip: i64[], %1 go: bool[], %2 x: i64[], %3 offset: i64[]) -> (last: %4, all: %5) {
        %4, %5 = loop %0, %1, %2, %3 carried=1 varying=[] sizes=[] trips=trips body=graph @body(%0: i64[], %1: bool[], %2: i64[], %3: i64[])
            -> (go: %7, x: %4, scan: %5) {
            %4 = add %2, %2 : i64[]
            %5 = add %0, %3 : i64[]
            %6 = constant i64[] [100]
            %7 = le %4, %6 : bool[]
        } : i64[], i64[trips]
    }";

#[test]
fn loops() {
    let graph = parse(LOOP);
    let repeat = |trip: i64, go: bool, x: i64| {
        run(&graph, &[Tensor::scalar(trip), yes(go), Tensor::scalar(x), Tensor::scalar(10i64)]).unwrap()
    };
    // Four values in each of three iterations.
    let inputs = [Tensor::scalar(3i64), yes(true), Tensor::scalar(1i64), Tensor::scalar(10i64)];
    assert_eq!(trace(&graph, &inputs).unwrap().inside.len(), 12);
    let found = repeat(3, true, 1);
    check(&found[0], &[], &[8i64]);
    check(&found[1], &[3], &[10i64, 11, 12]);
    let found = repeat(i64::MAX, true, 30);
    check(&found[0], &[], &[120i64]);
    check(&found[1], &[2], &[10i64, 11]);
    for found in [repeat(3, false, 1), repeat(0, true, 1), repeat(-5, true, 1)] {
        check(&found[0], &[], &[1i64]);
        check::<i64>(&found[1], &[0], &[]);
    }
}

#[test]
fn errors_name_the_node_inside() {
    let graph = parse(
        "graph @outer(%0: bool[], %1: i64[2]) -> (y: %2) {
            %2 = if %0, %1 varying=[] sizes=[] then=graph @a(%0: i64[2]) -> (y: %1) { %1 = gather %0, %0 axis=0 batch=0 : i64[2] ; G \"g\"
                }
                otherwise=graph @b(%0: i64[2]) -> (y: %0) { } : i64[2] ; If \"i\"
         }",
    );
    let message = run(&graph, &[yes(true), row(&[0i64, 9])]).unwrap_err().to_string();
    assert_eq!(message, "if (If \"i\"): gather (G \"g\"): index 9 is out of range for axis 0 of size 2");
}

#[test]
fn malformed_graphs_are_refused() {
    let mut graph = parse(DOUBLED);
    graph.nodes.swap(0, 1);
    let message = run(&graph, &[counting(&[2, 2]), counting(&[4])]).unwrap_err().to_string();
    assert!(message.contains("used before it is defined"), "{message}");
    let mut graph = parse(DOUBLED);
    graph.values[3].ty.dtype = DType::I8;
    let message = run(&graph, &[counting(&[2, 2]), counting(&[4])]).unwrap_err().to_string();
    assert_eq!(message, "add (Add \"sum\"): `%3` should be i8[2*n], but is f32[4]");
    graph.nodes[1].outputs.clear();
    assert!(run(&graph, &[counting(&[2, 2]), counting(&[4])]).is_err());
}

#[test]
fn nesting_is_limited() {
    let leaf = parse("graph @leaf(%0: bool[]) -> (y: %0) { }");
    let nested = |depth: usize| {
        let mut graph = leaf.clone();
        for _ in 0..depth {
            let mut outer = leaf.clone();
            let condition = outer.inputs[0];
            let result = outer.add_value(outer.ty(condition).clone(), "");
            let op =
                Op::If { varying: vec![], sizes: vec![], then: Box::new(graph), otherwise: Box::new(leaf.clone()) };
            let inputs = vec![condition, condition];
            outer.nodes.push(nnc_ir::Node { op, inputs, outputs: vec![result], origin: String::new() });
            outer.outputs[0].1 = result;
            graph = outer;
        }
        run(&graph, &[yes(true)])
    };
    check_bools(&nested(64).unwrap()[0], &[true]);
    assert!(nested(65).unwrap_err().to_string().ends_with("if: subgraphs are nested too deeply"));
}

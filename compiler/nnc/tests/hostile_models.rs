//! Small models that ask for much: compiled all the same, or refused in one line that names the limit.

mod common;

use common::{Case, floats, model, nnc, node, text, value};
use onnx_protobuf::{FunctionProto, OperatorSetIdProto, TensorProto};

/// A chain of one operator on `shape`.
fn chain(operator: &str, length: usize, shape: &str) -> Case {
    let name = |i: usize| if i == length { "y".to_owned() } else { format!("h{i}") };
    let nodes = (0..length).map(|i| node(operator, &format!("{} -> {}", name(i), name(i + 1)))).collect();
    Case::new(&model(vec![value("h0", 1, shape)], nodes, vec![value("y", 1, shape)], vec![]))
}

fn integers(name: &str, values: &[i64]) -> TensorProto {
    let dims = vec![values.len() as i64];
    TensorProto { name: name.to_owned(), dims, data_type: 7, int64_data: values.to_vec(), ..TensorProto::default() }
}

#[test]
fn many_operations_in_a_row() {
    for operator in ["Sin", "Neg", "Softmax"] {
        chain(operator, 700, "4 4").compile(&[]).ok();
    }
}

/// More nodes than are rewritten at once.
#[test]
fn many_nodes() {
    chain("Sin", 10_000, "4").compile(&[]).ok();
}

#[test]
fn many_operands_and_results() {
    let names: Vec<String> = (0..700).map(|i| format!("x{i}")).collect();
    let inputs = names.iter().map(|name| value(name, 1, "4")).collect();
    let sum = node("Sum", &format!("{} -> y", names.join(" ")));
    Case::new(&model(inputs, vec![sum], vec![value("y", 1, "4")], vec![])).compile(&[]).ok();

    let mut split = node("Split", &format!("x -> {}", names.join(" ")));
    split.attribute.push(onnx_protobuf::AttributeProto {
        name: "num_outputs".to_owned(),
        i: 700,
        type_: onnx_protobuf::attribute_proto::AttributeType::INT.into(),
        ..Default::default()
    });
    let sum = node("Sum", &format!("{} -> y", names.join(" ")));
    Case::new(&model(vec![value("x", 1, "700")], vec![split, sum], vec![value("y", 1, "1")], vec![])).compile(&[]).ok();
}

#[test]
fn tensors_beyond_all_memory() {
    let nodes = vec![node("MatMul", "x x -> y")];
    let huge = "1073741824 1073741824";
    let matmul = model(vec![value("x", 1, huge)], nodes, vec![value("y", 1, huge)], vec![]);
    Case::new(&matmul).refused(2, &["1099511627776 bytes"]);
}

/// Constants that are large only when they are repeated stay small.
#[test]
fn repeated_constants() {
    let nodes = vec![node("Expand", "v s -> c"), node("Mul", "x c -> y")];
    let shape = "40000 40000";
    let constants = vec![floats("v", &[], &[2.0]), integers("s", &[40_000, 40_000])];
    let case = Case::new(&model(vec![value("x", 1, shape)], nodes, vec![value("y", 1, shape)], constants));
    case.compile(&["--max-memory", "200"]).ok();
}

#[test]
fn functions_that_double() {
    let opset = || OperatorSetIdProto { version: 21, ..OperatorSetIdProto::default() };
    let function = |k: usize| {
        let call = |signature: &str| {
            let mut call = node(&format!("F{}", k + 1), signature);
            call.domain = "local".to_owned();
            call
        };
        let body = if k == 20 { vec![node("Neg", "a -> r")] } else { vec![call("a -> m"), call("m -> r")] };
        FunctionProto {
            name: format!("F{k}"),
            domain: "local".to_owned(),
            input: vec!["a".to_owned()],
            output: vec!["r".to_owned()],
            node: body,
            opset_import: vec![
                opset(),
                OperatorSetIdProto { domain: "local".to_owned(), version: 1, ..Default::default() },
            ],
            ..FunctionProto::default()
        }
    };
    let mut call = node("F0", "x -> y");
    call.domain = "local".to_owned();
    let mut doubling = model(vec![value("x", 1, "1")], vec![call], vec![value("y", 1, "1")], vec![]);
    doubling.opset_import.push(OperatorSetIdProto { domain: "local".to_owned(), version: 1, ..Default::default() });
    doubling.functions = (0..=20).map(function).collect();
    Case::new(&doubling).refused(2, &["65536 nodes", "functions"]);
}

/// The end of memory is one line and exit code 2, whatever was being done.
#[test]
fn memory_that_is_used_up() {
    let case = chain("Sin", 10000, "4");
    for mib in ["1", "4", "8"] {
        let line = case.compile(&["--max-memory", mib]).refused(2);
        assert!(line.contains("--max-memory"), "{line}");
        assert_eq!(case.files(), ["m.onnx"]);
    }
    nnc(["compile", &text(&case.model()), "--stop-after", "lower", "--max-memory", "x"]).refused(1);
}

//! Order of nodes, definition of names, subgraphs.

use onnx_protobuf::ModelProto;

use super::{graph, graph_attribute, load, model, node, raw_tensor, refusal, value};
use crate::{Attribute, DimInfo, TypeInfo};

fn ops(model: &ModelProto) -> Vec<String> {
    let nodes = load(model).unwrap().graph.nodes;
    nodes.into_iter().map(|node| node.op_type).collect()
}

#[test]
fn nodes_in_order_stay() {
    let nodes = vec![node("B", &["x"], &["b"]), node("A", &["x"], &["a"])];
    assert_eq!(ops(&model(graph(&["x"], &["a", "b"], nodes))), ["B", "A"]);
}

#[test]
fn nodes_out_of_order_are_sorted() {
    let nodes = vec![
        node("C", &["b", "a"], &["c"]),
        node("B", &["a"], &["b"]),
        node("D", &["x"], &["d"]),
        node("A", &["x", ""], &["a", ""]),
    ];
    assert_eq!(ops(&model(graph(&["x"], &["c", "d"], nodes))), ["D", "A", "B", "C"]);
}

#[test]
fn nameless_nodes_get_names() {
    let mut named = node("Relu", &["x"], &["a"]);
    named.name = "n".to_owned();
    let nodes = vec![named, node("Conv", &["a"], &["b"])];
    let model = load(&model(graph(&["x"], &["b"], nodes))).unwrap();
    let names: Vec<_> = model.graph.nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["n", "Conv#1"]);
    assert_eq!(model.graph.nodes[0].opset, 21);
}

#[test]
fn cycles_name_a_node_on_them() {
    let nodes = vec![
        node("After", &["c"], &["d"]),
        node("A", &["x", "c"], &["a"]),
        node("B", &["a"], &["b"]),
        node("C", &["b"], &["c"]),
    ];
    let line = refusal(&model(graph(&["x"], &["d"], nodes)));
    assert!(line.contains("cyclic") && !line.contains("After"), "{line}");
    let own = vec![node("A", &["a"], &["a"])];
    assert!(refusal(&model(graph(&[], &[], own))).contains("node `A#0`: the graph is cyclic"));
}

#[test]
fn undefined_names_are_refused() {
    let line = refusal(&model(graph(&["x"], &["y"], vec![node("Conv", &["x", "w"], &["y"])])));
    assert!(line.contains("node `Conv#0`: missing tensor: `w`"), "{line}");
    let line = refusal(&model(graph(&["x"], &["y"], vec![])));
    assert!(line.contains("graph output `y`: missing tensor"), "{line}");
}

#[test]
fn names_defined_twice_are_refused() {
    let twice = vec![node("A", &["x"], &["y"]), node("B", &["x"], &["y"])];
    let line = refusal(&model(graph(&["x"], &["y"], twice)));
    assert!(line.contains("node `B#1`: the value `y` is defined twice"), "{line}");
    let input = vec![node("A", &["x"], &["x"])];
    assert!(refusal(&model(graph(&["x"], &["x"], input))).contains("defined twice"));
    assert!(refusal(&model(graph(&["x", "x"], &["x"], vec![]))).contains("defined twice"));
    let mut constants = graph(&[], &[], vec![]);
    constants.initializer = vec![raw_tensor("w", 2, &[1], &[0]), raw_tensor("w", 2, &[1], &[0])];
    assert!(refusal(&model(constants)).contains("initialiser `w`: the value `w` is defined twice"));
}

#[test]
fn initialisers_may_be_defaults_of_inputs() {
    let mut graph = graph(&["x", "w"], &["x"], vec![]);
    graph.initializer.push(raw_tensor("w", 2, &[1], &[0]));
    let model = load(&model(graph)).unwrap();
    let required: Vec<_> = model.graph.required_inputs().map(|input| &input.name).collect();
    assert_eq!(required, ["x"]);
}

#[test]
fn subgraphs_see_outer_names() {
    let inner = graph(&[], &["z"], vec![node("Add", &["x", "late"], &["z"])]);
    let mut branch = node("If", &["x"], &["y"]);
    branch.attribute.push(graph_attribute("then_branch", inner));
    // `late` is made after the node whose subgraph uses it, so the two must change places.
    let nodes = vec![branch, node("Late", &["x"], &["late"])];
    let loaded = load(&model(graph(&["x"], &["y"], nodes.clone()))).unwrap();
    assert_eq!(loaded.graph.nodes[0].op_type, "Late");
    assert!(matches!(&loaded.graph.nodes[1].attributes["then_branch"], Attribute::Graph(_)));
    let line = refusal(&model(graph(&["x"], &["y"], nodes[..1].to_vec())));
    assert!(line.contains("node `Add#0`: missing tensor: `late`"), "{line}");
    let inner = graph(&[], &["z"], vec![node("Add", &["y"], &["z"])]);
    let mut branch = node("If", &["x"], &["y"]);
    branch.attribute.push(graph_attribute("then_branch", inner));
    assert!(refusal(&model(graph(&["x"], &["y"], vec![branch]))).contains("cyclic"));
}

#[test]
fn types_are_kept() {
    use onnx_protobuf::{
        TensorShapeProto, TypeProto, tensor_shape_proto::Dimension, tensor_shape_proto::dimension::Value as Dim,
        type_proto, type_proto::Value,
    };
    let dim = |value| Dimension { value, ..Dimension::default() };
    let dims = vec![
        dim(Some(Dim::DimValue(3))),
        dim(Some(Dim::DimParam("batch".to_owned()))),
        dim(None),
        dim(Some(Dim::DimValue(-1))),
    ];
    let tensor = type_proto::Tensor {
        elem_type: 26,
        shape: Some(TensorShapeProto { dim: dims, ..TensorShapeProto::default() }).into(),
        ..type_proto::Tensor::default()
    };
    let tensor = TypeProto { value: Some(Value::TensorType(tensor)), ..TypeProto::default() };
    let list = type_proto::Sequence { elem_type: Some(tensor).into(), ..Default::default() };
    let list = TypeProto { value: Some(Value::SequenceType(list)), ..TypeProto::default() };
    let maybe = type_proto::Optional { elem_type: Some(list).into(), ..Default::default() };
    let mut info = value("x");
    info.type_ = Some(TypeProto { value: Some(Value::OptionalType(maybe)), ..TypeProto::default() }).into();
    let mut graph = graph(&[], &["x"], vec![]);
    graph.input.push(info);
    let model = load(&model(graph)).unwrap();
    let tensor = TypeInfo::Tensor {
        elem_type: crate::ElemType::Int2,
        shape: Some(vec![DimInfo::Size(3), DimInfo::Symbol("batch".to_owned()), DimInfo::Unknown, DimInfo::Unknown]),
    };
    let expected = TypeInfo::Optional(Box::new(TypeInfo::Sequence(Box::new(tensor))));
    assert_eq!(model.graph.inputs[0].ty, Some(expected));
}

#[test]
fn versions_are_needed() {
    let nodes = || graph(&["x"], &["y"], vec![node("Relu", &["x"], &["y"])]);
    let mut without = model(nodes());
    without.opset_import.clear();
    assert!(refusal(&without).contains("has no opset_import"));
    without.ir_version = 2;
    assert_eq!(load(&without).unwrap().graph.nodes[0].opset, 1);
    without.ir_version = 0;
    assert!(refusal(&without).contains("has no ir_version"));
    let mut twice = model(nodes());
    twice.opset_import.push(super::opset("ai.onnx", 20));
    assert!(refusal(&twice).contains("two versions"));
    let mut empty = model(nodes());
    empty.graph = None.into();
    assert!(refusal(&empty).contains("has no graph"));
}

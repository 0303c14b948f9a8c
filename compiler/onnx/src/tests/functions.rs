//! Expansion of model-local functions.

use onnx_protobuf::{AttributeProto, FunctionProto, ModelProto, NodeProto, attribute_proto::AttributeType};

use super::{graph, graph_attribute, int_attribute, load, model, node, opset, refusal};
use crate::{Attribute, Graph};

fn function(name: &str, inputs: &[&str], outputs: &[&str], nodes: Vec<NodeProto>) -> FunctionProto {
    FunctionProto {
        name: name.to_owned(),
        domain: "local".to_owned(),
        input: inputs.iter().map(|name| (*name).to_owned()).collect(),
        output: outputs.iter().map(|name| (*name).to_owned()).collect(),
        node: nodes,
        opset_import: vec![opset("", 18), opset("local", 1)],
        ..FunctionProto::default()
    }
}

fn call(name: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
    NodeProto { domain: "local".to_owned(), ..node(name, inputs, outputs) }
}

fn with(nodes: Vec<NodeProto>, functions: Vec<FunctionProto>) -> ModelProto {
    ModelProto { functions, ..model(graph(&["x"], &["y"], nodes)) }
}

/// One line per node: outputs = operator(inputs).
fn text(graph: &Graph) -> Vec<String> {
    let line = |node: &crate::Node| format!("{} = {}({})", node.outputs.join(","), node.op_type, node.inputs.join(","));
    graph.nodes.iter().map(line).collect()
}

fn reference(name: &str, to: &str) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        ref_attr_name: to.to_owned(),
        type_: AttributeType::INT.into(),
        ..AttributeProto::default()
    }
}

#[test]
fn bodies_get_fresh_names_and_their_own_versions() {
    let body = vec![node("Neg", &["a"], &["t"]), node("Add", &["t", "b"], &["r"])];
    let f = function("F", &["a", "b"], &["r"], body);
    let nodes = vec![call("F", &["x", "x"], &["t"]), call("F", &["t"], &["y"])];
    let model = load(&with(nodes, vec![f])).unwrap();
    assert_eq!(text(&model.graph), ["t.0 = Neg(x)", "t = Add(t.0,x)", "t.1 = Neg(t)", "y = Add(t.1,)"]);
    assert_eq!(model.graph.nodes[0].opset, 18);
    assert_eq!(model.graph.nodes[0].name, "F#0/Neg#0");
    assert_eq!(model.functions.len(), 1);
}

#[test]
fn calls_nest() {
    let inner = function("I", &["a"], &["r"], vec![node("Neg", &["a"], &["r"])]);
    let body = vec![call("I", &["a"], &["m"]), call("I", &["m"], &["r"])];
    let outer = function("O", &["a"], &["r"], body);
    let model = load(&with(vec![call("O", &["x"], &["y"])], vec![outer, inner])).unwrap();
    assert_eq!(text(&model.graph), ["m.0 = Neg(x)", "y = Neg(m.0)"]);
}

#[test]
fn outputs_that_are_inputs_are_copied() {
    let f = function("F", &["a"], &["a", "a"], vec![]);
    let model = load(&with(vec![call("F", &["x"], &["", "y"])], vec![f])).unwrap();
    assert_eq!(text(&model.graph), ["y = Identity(x)"]);
}

#[test]
fn attribute_references_are_replaced() {
    let mut body = node("Op", &["a"], &["r"]);
    body.attribute = vec![reference("p", "given"), reference("q", "default"), reference("r", "no")];
    let mut f = function("F", &["a"], &["r"], vec![body]);
    f.attribute = vec!["given".to_owned(), "no".to_owned()];
    f.attribute_proto = vec![int_attribute("default", 5)];
    let mut node = call("F", &["x"], &["y"]);
    node.attribute = vec![int_attribute("given", 4)];
    let loaded = load(&with(vec![node.clone()], vec![f.clone()])).unwrap();
    let attributes = &loaded.graph.nodes[0].attributes;
    assert!(matches!(attributes["p"], Attribute::Int(4)));
    assert!(matches!(attributes["q"], Attribute::Int(5)));
    assert_eq!(attributes.len(), 2);
    node.attribute = vec![int_attribute("other", 4)];
    let line = refusal(&with(vec![node], vec![f.clone()]));
    assert!(line.contains("node `F#0`: calls the function `F` with the attribute `other`"));
    assert!(refusal(&with(f.node, vec![])).contains("only a function's body"));
}

#[test]
fn subgraphs_of_bodies_capture_nothing_of_the_caller() {
    // The body's subgraph defines `x`, the caller's name of what the body calls `a`.
    let inner = graph(&[], &["z"], vec![node("Neg", &["a"], &["x"]), node("Add", &["x", "a"], &["z"])]);
    let mut branch = node("If", &["a"], &["r"]);
    branch.attribute.push(graph_attribute("then_branch", inner));
    let f = function("F", &["a"], &["r"], vec![branch]);
    let model = load(&with(vec![call("F", &["x"], &["y"])], vec![f])).unwrap();
    let Attribute::Graph(inner) = &model.graph.nodes[0].attributes["then_branch"] else {
        panic!("the branch is a graph");
    };
    assert_eq!(text(inner), ["x.0 = Neg(x)", "z.1 = Add(x.0,x)"]);
    assert_eq!(inner.outputs[0].name, "z.1");
}

#[test]
fn calls_in_subgraphs_are_expanded() {
    let f = function("F", &["a"], &["r"], vec![node("Neg", &["a"], &["r"])]);
    let mut branch = node("If", &["x"], &["y"]);
    let inner = graph(&[], &["z"], vec![call("F", &["x"], &["z"])]);
    branch.attribute.push(graph_attribute("then_branch", inner));
    let model = load(&with(vec![branch], vec![f])).unwrap();
    assert_eq!(text(&model.graph.nodes[0].attributes["then_branch"].graphs()[0]), ["z = Neg(x)"]);
}

#[test]
fn recursion_and_explosion_are_refused() {
    let f = function("F", &["a"], &["r"], vec![call("G", &["a"], &["r"])]);
    let g = function("G", &["a"], &["r"], vec![call("F", &["a"], &["r"])]);
    let line = refusal(&with(vec![call("F", &["x"], &["y"])], vec![f, g]));
    assert!(line.contains("calls itself"), "{line}");

    let doubling = |k: usize| {
        let next = format!("F{}", k + 1);
        let body = vec![call(&next, &["a"], &["m"]), call(&next, &["m"], &["r"])];
        function(&format!("F{k}"), &["a"], &["r"], body)
    };
    let last = |k| function(&format!("F{k}"), &["a"], &["r"], vec![node("Neg", &["a"], &["r"])]);
    let chain = |len: usize| (0..len).map(doubling).chain([last(len)]).collect::<Vec<_>>();
    let line = refusal(&with(vec![call("F0", &["x"], &["y"])], chain(40)));
    assert!(line.contains("when its functions are expanded"), "{line}");
    let line = refusal(&with(vec![call("F0", &["x"], &["y"])], chain(100)));
    assert!(line.contains("more than 64 deep"), "{line}");
    assert!(load(&with(vec![call("F0", &["x"], &["y"])], chain(4))).is_ok());
}

#[test]
fn wrong_calls_are_refused() {
    let f = function("F", &["a"], &["r"], vec![node("Neg", &["a"], &["r"])]);
    let line = refusal(&with(vec![call("F", &["x", "x"], &["y"])], vec![f.clone()]));
    assert!(line.contains("with 2 inputs, it has 1"), "{line}");
    let line = refusal(&with(vec![call("F", &["x"], &["y", "z"])], vec![f.clone()]));
    assert!(line.contains("with 2 outputs, it has 1"), "{line}");
    let line = refusal(&with(vec![call("F", &["x"], &["y"])], vec![f.clone(), f]));
    assert!(line.contains("function `F`: the function is defined twice"), "{line}");
    let undefined = function("F", &["a"], &["r"], vec![node("Neg", &["gone"], &["r"])]);
    let line = refusal(&with(vec![call("F", &["x"], &["y"])], vec![undefined]));
    assert!(line.contains("node `F#0/Neg#0`: missing tensor: `gone.0`"), "{line}");
}

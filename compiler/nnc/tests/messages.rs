//! What a refusal says: the node at fault, dimensions by the model's names, remedies that help, and whose fault it is.

mod common;

use common::{Case, model, node, value, with_int};
use onnx_protobuf::ModelProto;

const F32: i32 = 1;
const I64: i32 = 7;

/// The sum of vectors whose sizes have different names.
fn sum_of_two_sizes() -> ModelProto {
    let inputs = vec![value("x", F32, "height"), value("z", F32, "width")];
    model(inputs, vec![node("Add", "x z -> y")], vec![value("y", F32, "?")], vec![])
}

/// A tensor as long as an input says.
fn size_from_data() -> ModelProto {
    let inputs = vec![value("x", F32, "1"), value("s", I64, "1")];
    model(inputs, vec![node("Expand", "x s -> y")], vec![value("y", F32, "?")], vec![])
}

/// Rows of two lengths side by side.
fn joined_rows() -> ModelProto {
    let inputs = vec![value("x", F32, "height 2"), value("z", F32, "width 2")];
    let join = with_int(node("Concat", "x z -> y"), "axis", 1);
    model(inputs, vec![join], vec![value("y", F32, "? 4")], vec![])
}

/// The `--dim` arguments that a message proposes, for a size of 4.
fn proposals(message: &str) -> Vec<String> {
    let words: Vec<&str> = message.split([' ', ',', ';', '\n']).collect();
    let after = words.windows(2).filter(|pair| pair[0] == "--dim" && pair[1] != "NAME=N");
    after.filter_map(|pair| pair[1].strip_suffix('N')).map(|start| format!("{start}4")).collect()
}

#[test]
fn what_a_message_proposes_helps() {
    for (name, model) in [("sum", sum_of_two_sizes()), ("expand", size_from_data()), ("concat", joined_rows())] {
        let case = Case::new(&model);
        let mut given: Vec<String> = vec![];
        // What is left to fix is said next; no remedy is refused or proposed twice.
        loop {
            let arguments: Vec<&str> = given.iter().flat_map(|dim| ["--dim", dim.as_str()]).collect();
            let outcome = case.compile(&arguments);
            if outcome.code == Some(0) {
                break;
            }
            let message = outcome.refused(2);
            let proposed = proposals(&message);
            assert!(!proposed.is_empty() && proposed.iter().all(|dim| !given.contains(dim)), "{name}: {message}");
            given.extend(proposed);
        }
    }
}

#[test]
fn dimensions_without_a_name_can_be_given_a_range() {
    let unnamed =
        model(vec![value("x", F32, "? 3")], vec![node("Relu", "x -> y")], vec![value("y", F32, "? 3")], vec![]);
    let case = Case::new(&unnamed);
    case.compile(&["--dim", "x_dim0=4"]).ok();
    let line = case.compile(&["--dim", "x_dim7=4"]).refused(1);
    assert!(line.contains("x_dim7") && line.contains("it has x_dim0"), "{line}");
    // A name of the kind that sizes from data get, but there is no such size.
    let line = case.compile(&["--dim", "size_3=4"]).refused(1);
    assert!(line.contains("size_3") && line.contains("it has x_dim0"), "{line}");
}

#[test]
fn dimensions_have_the_models_names() {
    for model in [sum_of_two_sizes(), joined_rows()] {
        let case = Case::new(&model);
        let outcome = case.compile(&[]);
        if outcome.code != Some(0) {
            // Valid for some sizes: nothing is wrong with the model.
            let line = outcome.refused(2);
            assert!(line.contains("height") && line.contains("width") && !line.contains("s0"), "{line}");
        }
    }
}

#[test]
fn the_node_at_fault_is_named() {
    let inputs = vec![value("x", F32, "1 3 8 8"), value("w", F32, "channels 3 3 3")];
    let nodes = vec![node("Conv", "x w -> c"), node("Relu", "c -> y")];
    let free_channels = model(inputs, nodes, vec![value("y", F32, "1 channels 6 6")], vec![]);
    let line = Case::new(&free_channels).refused(2, &["make_c"]);
    assert!(!line.contains("make_y"), "{line}");
}

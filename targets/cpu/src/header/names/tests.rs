//! Tests of identifiers of tensors.

use super::*;
use nnc_ir::{Dim, DimTable};

fn names(inputs: &[&str], outputs: &[&str]) -> Vec<String> {
    let parameter = |name: &&str| Parameter::plain((*name).to_owned(), nnc_ir::DType::F32, vec![Dim::from(3)]);
    let names = Names::new(&Program {
        name: "m".to_owned(),
        dims: DimTable::default(),
        inputs: inputs.iter().map(parameter).collect(),
        states: vec![],
        outputs: outputs.iter().map(parameter).collect(),
        weights: vec![],
        buffers: vec![],
        kernels: vec![],
        checks: vec![],
        steps: vec![],
        workspace_bytes: Dim::from(0),
    });
    [names.inputs, names.outputs].concat()
}

#[test]
fn names_become_identifiers() {
    assert_eq!(identifier("input.1:0"), "input_1_0");
    assert_eq!(identifier("3d"), "_3d");
    assert_eq!(identifier(""), "_");
}

#[test]
fn no_two_are_equal() {
    assert_eq!(names(&["a.b", "a_b", "a_b_0"], &[]), ["a_b_2", "a_b", "a_b_0"]);
    assert_eq!(names(&["x", "X"], &["x"]), ["x", "X_2", "x_3"]);
    // The constant of one is the macro of another.
    assert_eq!(names(&["a_rank", "input_a"], &[]), ["a_rank", "input_a_2"]);
    assert_eq!(names(&["s", "S"], &[]), ["s", "S_2"]);
    // Many at once, in a time that is not their number squared.
    let many: Vec<String> = (0..20_000).map(|i| format!("{}é", ["a", "b"][i % 2])).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let found: FxHashSet<String> = names(&many, &[]).into_iter().collect();
    assert_eq!(found.len(), many.len());
}

#[test]
fn sizes_differ_in_name() {
    assert_eq!(distinct(["a b", "a_b", "A_B", "a_b_2"].into_iter()), ["a_b", "a_b_2", "A_B_3", "a_b_2_2"]);
}

#[test]
fn comments_stay_comments() {
    assert_eq!(comment("a*/b/*c"), "a* /b/ *c");
    assert_eq!(comment("*/*/"), "* / * /");
    assert_eq!(comment("??/ \\ \n \u{202e}"), "? ?/ / ? ?");
    assert_eq!(comment("*\\"), "* /");
    assert_eq!(comment(&"x".repeat(5000)).len(), LONGEST);
}

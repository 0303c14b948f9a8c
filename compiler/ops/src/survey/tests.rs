//! Tests of all that is refused of a model.

use super::*;
use crate::testing::{Sketch, sketch};
use nnc_onnx::ElemType::{Complex64, Float};
use nnc_onnx::{DimInfo, ElemType};

fn found(sketch: &Sketch) -> (Vec<String>, Vec<String>) {
    let Survey { refused, unknown } = survey(&sketch.model, &Options::default());
    (refused.iter().map(ToString::to_string).collect(), unknown)
}

fn stated(sketch: &mut Sketch, name: &str, sizes: &[u64]) {
    let shape = Some(sizes.iter().map(|&n| DimInfo::Size(n)).collect());
    let ty = TypeInfo::Tensor { elem_type: ElemType::Float, shape };
    sketch.model.graph.value_info.insert(name.to_owned(), ty);
}

#[test]
fn nothing_is_refused_of_what_translates() {
    let sketch = sketch().input("x", Float, "2").node("Relu", "x -> y").output("y");
    assert_eq!(found(&sketch), (vec![], vec![]));
}

#[test]
fn goes_on_where_the_file_states_types() {
    let sketch = || {
        sketch()
            .input("x", Float, "2 3")
            .node("Transpose", "x -> a")
            .int_list("perm", &[0, 0])
            .node("Frobnicate", "a -> b")
            .node("Relu", "b -> c")
            .node("MatMul", "c c -> y")
            .output("y")
    };
    // Of what the first node yields nothing is known, nor of all that comes of it.
    let (refused, unknown) = found(&sketch());
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert!(refused[0].contains("Transpose \"n0\": perm"), "{refused:?}");
    assert_eq!(unknown, ["Relu \"n2\"", "MatMul \"n3\""]);
    // With a type behind the missing operator the last node is found to be wrong too.
    let mut typed = sketch();
    stated(&mut typed, "b", &[2, 3]);
    let (refused, unknown) = found(&typed);
    assert_eq!((refused.len(), unknown.len()), (2, 0), "{refused:?} {unknown:?}");
    assert!(refused[1].contains("MatMul \"n3\""), "{refused:?}");
}

#[test]
fn inputs_and_subgraphs_are_looked_at() {
    let body = sketch().node("Transpose", "x -> t").int_list("perm", &[5]).output("t");
    let other = sketch().node("Relu", "x -> u").output("u");
    let sketch = sketch()
        .input("waves", Complex64, "1")
        .input("x", Float, "2")
        .input("c", ElemType::Bool, "")
        .node("If", "c -> y")
        .graph("then_branch", body)
        .graph("else_branch", other)
        .node("Identity", "waves -> z")
        .node("Relu", "y -> r")
        .output("r");
    let (refused, unknown) = found(&sketch);
    assert_eq!(refused.len(), 2, "{refused:?}");
    assert!(refused[0].contains("input `waves`") && refused[1].contains("axis 5"), "{refused:?}");
    assert_eq!(unknown.len(), 3, "{unknown:?}");
}

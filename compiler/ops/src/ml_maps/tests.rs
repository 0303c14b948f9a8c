//! Tests of maps and vectorised dictionaries.

use crate::testing::{Sketch, sketch};
use nnc_onnx::{ElemType, TypeInfo, ValueInfo};

fn map(op: &str, key: ElemType, value: ElemType) -> Sketch {
    let mut sketch = sketch().node(op, "x -> y").domain("ai.onnx.ml").output("y");
    let value = Box::new(TypeInfo::Tensor { elem_type: value, shape: Some(vec![]) });
    let ty = Some(TypeInfo::Map { key, value });
    sketch.model.graph.inputs.push(ValueInfo { name: "x".into(), ty });
    sketch
}

#[test]
fn vocabulary() {
    let numbers = || map("DictVectorizer", ElemType::Int64, ElemType::Double);
    let numbers = || numbers().holds(&[1.5f64, 2.5, 3.5]).holds(&[7i64, -2, 5]);
    assert_eq!(numbers().int_list("int64_vocabulary", &[5, 6, 7, 5]).run(), "f64[1, 4] 3.5 0 1.5 3.5");
    let words = map("DictVectorizer", ElemType::String, ElemType::Int64).holds(&[1i64, 2]);
    let words = words.holds_strings(&["b", "a"]).string_list("string_vocabulary", &["a", "c", "b"]);
    assert_eq!(words.run(), "i64[1, 3] 2 0 1");
    let texts = map("DictVectorizer", ElemType::Int64, ElemType::String).holds_strings(&["one", "two"]);
    let texts = texts.holds(&[1i64, 2]).int_list("int64_vocabulary", &[2, 3, 1, 2]);
    assert_eq!(texts.run(), "string[4] two  one two");
    assert!(numbers().string_list("string_vocabulary", &["a"]).run().contains("must both be numbers"));
    let no_map = sketch().given("x", &[1], &[1i64]).node("DictVectorizer", "x -> y").domain("ai.onnx.ml");
    assert!(no_map.int_list("int64_vocabulary", &[1]).output("y").run().contains("input 0 must be a map"));
}

#[test]
fn cast() {
    let given = |keys: &[i64]| map("CastMap", ElemType::Int64, ElemType::Float).holds(&[2.75f32, -1.5]).holds(keys);
    assert_eq!(given(&[4, 1]).run(), "f32[1, 2] -1.5 2.75");
    assert_eq!(given(&[4, 1]).string("cast_to", "TO_INT64").run(), "i64[1, 2] -1 2");
    let sparse = |keys: &[i64]| given(keys).string("map_form", "SPARSE").int("max_map", 4).run();
    assert_eq!(sparse(&[3, 0]), "f32[1, 4] -1.5 0 0 2.75");
    assert_eq!(sparse(&[4, 1]), "f32[1, 4] 0 -1.5 0 0");
    assert!(sparse(&[2, -1]).contains("index"), "{}", sparse(&[2, -1]));
    let texts = map("CastMap", ElemType::Int64, ElemType::String).holds_strings(&["b", "a"]).holds(&[2i64, 0]);
    let texts = texts.string("cast_to", "TO_STRING").string("map_form", "SPARSE").int("max_map", 3);
    assert_eq!(texts.run(), "string[3] a 0.f b");
    assert!(given(&[1, 2]).string("cast_to", "TO_BOOL").run().contains("cast_to is `TO_BOOL`"));
}

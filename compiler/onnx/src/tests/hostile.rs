//! Files that were cut, damaged or built to do harm.

use onnx_protobuf::{FunctionProto, ModelProto, NodeProto};
use proptest::prelude::*;

use super::{bytes_of, field, graph, graph_attribute, int_attribute, load_bytes, model, node, opset, raw_tensor};
use crate::{Bytes, Model};

/// A model with a bit of everything.
fn rich() -> ModelProto {
    let mut inner = graph(&[], &["z"], vec![node("Add", &["x", "w"], &["z"])]);
    inner.initializer.push(raw_tensor("c", 7, &[1], &[0; 8]));
    let mut branch = node("If", &["x"], &["m"]);
    branch.attribute = vec![graph_attribute("then_branch", inner), int_attribute("i", 3)];
    let call = NodeProto { domain: "local".to_owned(), ..node("F", &["m"], &["y"]) };
    let mut main = graph(&["x"], &["y"], vec![call, branch]);
    main.initializer.push(raw_tensor("w", 1, &[4, 5], &[7; 80]));
    let mut typed = raw_tensor("v", 6, &[3], &[]);
    typed.int32_data = vec![1, -1, 300];
    main.initializer.push(typed);
    let function = FunctionProto {
        name: "F".to_owned(),
        domain: "local".to_owned(),
        input: vec!["a".to_owned()],
        output: vec!["b".to_owned()],
        node: vec![node("Neg", &["a"], &["b"])],
        opset_import: vec![opset("", 21)],
        ..FunctionProto::default()
    };
    ModelProto { functions: vec![function], producer_name: "p".to_owned(), ..model(main) }
}

#[test]
fn cut_files_are_refused() {
    let bytes = bytes_of(&rich());
    assert!(load_bytes(bytes.clone()).is_ok());
    // The functions come last: without them the call is of an unknown operator, which is not
    // this crate's concern, so cut up to the end of the graph in steps of 1%.
    let end = bytes.len() - bytes_of(&rich().functions[0]).len() - 3;
    let mut refused = 0;
    for percent in 0..100 {
        let cut = load_bytes(bytes[..end * percent / 100].to_vec());
        let line = cut.expect_err("a cut file is refused").to_string();
        assert!(line.starts_with("m.onnx: "), "{line}");
        refused += usize::from(line.contains("ends too early: the data at byte"));
    }
    assert!(refused > 90, "{refused}");
    for len in 0..bytes.len() {
        let _ = load_bytes(bytes[..len].to_vec());
    }
}

#[test]
fn numbers_beyond_64_bits_are_refused() {
    // `ir_version` in ten bytes: the last one may hold one bit.
    let number = |last: u8| load_bytes([vec![8], vec![0x80; 9], vec![last]].concat()).unwrap_err().to_string();
    assert!(number(2).contains("more than 64 bits"), "{}", number(2));
    assert!(!number(1).contains("more than 64 bits"), "{}", number(1));
}

#[test]
fn deep_nesting_is_refused() {
    // Graphs in attributes of nodes of graphs, a hundred thousand deep, built from the inside.
    let mut lengths = vec![0usize];
    let encoded = |len: usize| {
        let mut out = Vec::new();
        crate::wire::put_varint(&mut out, len as u64);
        out
    };
    for _ in 0..300_000 {
        let last = lengths[lengths.len() - 1];
        lengths.push(last + 1 + encoded(last).len());
    }
    let mut bytes = vec![7 << 3 | 2];
    let mut levels = lengths.iter().rev();
    bytes.extend(encoded(*levels.next().unwrap()));
    for (place, len) in levels.enumerate() {
        bytes.push([1 << 3 | 2u8, 5 << 3 | 2, 6 << 3 | 2][place % 3]);
        bytes.extend(encoded(*len));
    }
    let line = load_bytes(bytes).unwrap_err().to_string();
    assert!(line.contains("nested more than 64 messages deep"), "{line}");
}

#[test]
fn groups_and_broken_tags_are_refused() {
    for (bytes, what) in [
        (vec![0x0b; 1000], "groups are not part of ONNX"),
        (vec![0x0c], "groups are not part of ONNX"),
        (vec![0x0e], "no such wire type"),
        (vec![0x00, 0x00], "no field has this number"),
        (vec![0xff; 11], "more than 64 bits"),
        (vec![0x08], "ends too early"),
        (vec![0x3a, 0xff, 0xff, 0xff, 0xff, 0x7f], "ends too early"),
        (vec![0x38, 0x01], "holds a number where"),
        (vec![0x12, 0x01, 0xff], "does not decode"),
        (vec![], "has no ir_version"),
    ] {
        let line = load_bytes(bytes).unwrap_err().to_string();
        assert!(line.contains(what), "{line}");
    }
}

#[test]
fn many_messages_are_refused() {
    let nodes = [1 << 3 | 2u8, 0].repeat((1 << 22) + 1);
    let line = load_bytes(field(7, &nodes)).unwrap_err().to_string();
    assert!(line.contains("has more than 2097152 nodes"), "{line}");
}

#[test]
fn names_cannot_break_the_line() {
    let mut bad = node("Conv", &["a\nb"], &["y"]);
    bad.name = format!("n\r\n\u{1b}[2J{}", "x".repeat(100_000));
    let line = super::refusal(&model(graph(&[], &["y"], vec![bad])));
    assert!(line.len() < 1000 && !line.chars().any(char::is_control), "{line}");
}

#[test]
fn stripped_numbers_cannot_be_forged() {
    // A second `raw_data`, in a second copy of the message, only replaces the first.
    let tensor = raw_tensor("w", 2, &[8], &[5, 0, 0, 0, 0, 0, 0, 0]);
    let mut main = graph(&[], &[], vec![]);
    main.initializer = vec![tensor];
    let loaded = load_bytes(bytes_of(&model(main))).unwrap();
    assert_eq!(loaded.graph.initializers[0].tensor.bytes(), [5, 0, 0, 0, 0, 0, 0, 0]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn damage_never_panics(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = bytes_of(&rich());
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Err(error) = Model::parse(Bytes::new(bytes), "m.onnx", None) {
            prop_assert!(!error.to_string().contains('\n'));
        }
    }

    #[test]
    fn noise_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = load_bytes(bytes.clone());
        let _ = load_bytes(field(7, &bytes));
        let _ = load_bytes([vec![8, 9], field(7, &field(5, &bytes))].concat());
    }
}

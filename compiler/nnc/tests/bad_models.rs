//! Models that cannot be compiled: one line that names file and node, exit code 1 or 2, no file left behind.

mod common;

use common::{Case, dense, external, floats, model, nnc, node, text, value};
use onnx_protobuf::{Message, ModelProto, TensorProto};

#[test]
fn not_a_model() {
    for bytes in [&b""[..], b"hello", &[0xff; 64], &[0x0a; 1000], b"\x7fELF"] {
        Case::from_bytes(bytes).refused(1, &[]);
    }
    let absent = nnc(["compile", "absent/m.onnx", "-o", "out.so"]).refused(1);
    assert!(absent.contains("absent/m.onnx"), "{absent}");
}

#[test]
fn truncated_anywhere() {
    let whole = dense().write_to_bytes().expect("it encodes");
    for percent in 0..100 {
        Case::from_bytes(&whole[..whole.len() * percent / 100]).refused(1, &[]);
    }
}

#[test]
fn damaged_anywhere() {
    let whole = dense().write_to_bytes().expect("it encodes");
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0xff;
        let case = Case::from_bytes(&bytes);
        let outcome = case.compile(&["--emit", "graph"]);
        assert!(matches!(outcome.code, Some(0..=2)), "byte {at}: {outcome:?}");
        if outcome.code != Some(0) {
            assert_eq!(outcome.stderr.lines().count(), 1, "byte {at}: {outcome:?}");
            assert_eq!(case.files(), ["m.onnx"], "byte {at}");
        }
    }
}

#[test]
fn cyclic() {
    let nodes = vec![node("Add", "x b -> a"), node("Relu", "a -> b"), node("Relu", "b -> y")];
    let cyclic = model(vec![value("x", 1, "3")], nodes, vec![value("y", 1, "3")], vec![]);
    Case::new(&cyclic).refused(1, &["make_"]);
}

#[test]
fn missing_tensor() {
    let nodes = vec![node("Add", "x nowhere -> y")];
    let missing = model(vec![value("x", 1, "3")], nodes, vec![value("y", 1, "3")], vec![]);
    Case::new(&missing).refused(1, &["make_y", "nowhere"]);
    let no_output = model(vec![value("x", 1, "3")], vec![], vec![value("y", 1, "3")], vec![]);
    Case::new(&no_output).refused(1, &["`y`"]);
}

#[test]
fn wrong_rank_or_type() {
    let inputs = || vec![value("x", 1, "2 3"), value("i", 7, "2 3"), value("z", 1, "4 5")];
    for nodes in [vec![node("Add", "x i -> y")], vec![node("Add", "x z -> y")], vec![node("MatMul", "x z -> y")]] {
        let wrong = model(inputs(), nodes, vec![value("y", 1, "2 3")], vec![]);
        Case::new(&wrong).refused(1, &["make_y"]);
    }
    let stated = model(vec![value("x", 1, "2 3")], vec![node("Relu", "x -> y")], vec![value("y", 1, "7")], vec![]);
    Case::new(&stated).refused(1, &["`y`"]);
}

#[test]
fn unknown_operators_are_named_at_once() {
    let nodes =
        vec![node("Frobnicate", "x -> a"), node("Relu", "a -> b"), node("Grind", "b -> c"), node("Grind", "c -> y")];
    let unknown = model(vec![value("x", 1, "3")], nodes, vec![value("y", 1, "3")], vec![]);
    let case = Case::new(&unknown);
    case.refused(2, &["Frobnicate", "Grind"]);
    let report = nnc(["inspect", &text(&case.model())]).ok();
    assert!(report.contains("missing") && report.contains("Frobnicate, Grind"), "{report}");
    assert!(report.contains("refused    none of what can be told") && report.contains("Relu \"make_b\""), "{report}");
    let known = nnc(["inspect"]).ok();
    assert!(known.contains("ai.onnx") && known.contains("Relu 1") && known.contains("com.microsoft"), "{known}");
    nnc(["inspect", "--dim", "batch=1"]).refused(1);
}

#[test]
fn all_that_is_refused_is_told_at_once() {
    let inputs = || vec![value("x", 1, "3"), value("z", 1, "4"), value("waves", 14, "2")];
    let nodes = ["Add x z -> a", "Softplus a -> y", "MatMul x z -> w", "Elu w -> v"];
    let nodes = nodes.map(|text| text.split_once(' ').map(|(op, names)| node(op, names)).expect("an operator"));
    let mut broken = model(inputs(), nodes.to_vec(), vec![value("y", 1, "3"), value("v", 1, "1")], vec![]);
    let report = |model: &ModelProto, more: &[&str]| {
        let case = Case::new(model);
        nnc([&["inspect", &text(&case.model())], more].concat()).ok()
    };
    let lines = report(&broken, &[]);
    for part in
        ["refused    input `waves`", "Add \"make_a\"", "MatMul \"make_w\"", "Softplus \"make_y\", Elu \"make_v\""]
    {
        assert!(lines.contains(part), "{part}: {lines}");
    }
    // With the types stated, what comes after is looked at.
    let graph = broken.graph.as_mut().expect("a graph");
    graph.value_info.extend([value("a", 1, "3"), value("w", 1, "1")]);
    let lines = report(&broken, &["--json"]);
    let lines: serde_json::Value = serde_json::from_str(&lines).expect("JSON");
    assert_eq!((lines["refused"].as_array().map(Vec::len), &lines["unknown"]), (Some(3), &serde_json::json!([])));
    // Nothing is refused of a whole model, in any stage.
    assert!(report(&dense(), &[]).contains("refused    none\n"));
    let line = nnc(["inspect", &text(&Case::new(&dense()).model()), "--dim", "batch"]).refused(1);
    assert!(line.contains("--dim batch"), "{line}");
}

/// Exit code 2, whatever was asked for, says that the model is right; 1 that it, or the command, is not.
#[test]
fn the_exit_code_says_whose_fault_it_is() {
    let input = || vec![value("x", 1, "3")];
    let relu = |constant| {
        let nodes = vec![node("Relu", "x -> y"), node("Identity", "w -> z")];
        model(input(), nodes, vec![value("y", 1, "3"), value("z", 14, "1")], vec![constant])
    };
    let complex = TensorProto { data_type: 14, raw_data: vec![0; 8], ..floats("w", &[1], &[]) };
    let untyped = TensorProto { data_type: 0, ..floats("w", &[1], &[1.0]) };
    let missing = model(input(), vec![node("Frobnicate", "x -> y")], vec![value("y", 1, "3")], vec![]);
    let mismatch = model(
        vec![value("x", 1, "3"), value("z", 1, "4")],
        vec![node("Add", "x z -> y")],
        vec![value("y", 1, "3")],
        vec![],
    );
    for (model, code, words) in [
        (relu(complex), 2, "complex64"),
        (relu(untyped), 1, "no element type"),
        (missing, 2, "Frobnicate"),
        (mismatch, 1, "make_y"),
    ] {
        let case = Case::new(&model);
        case.refused(code, &[words]);
        let file = text(&case.model());
        let inputs = text(&case.npz("in.npz", &[]));
        for command in [
            &["bench", &file][..],
            &["check", &file],
            &["run", &file, "--inputs", &inputs, "--outputs", &text(&case.path("o.npz"))],
            &["blame", &file, "--inputs", &inputs],
        ] {
            let line = nnc(command).refused(code);
            assert!(line.contains(words), "{command:?}: {line}");
        }
    }
    let file = text(&Case::new(&dense()).model());
    for wrong in ["nan", "-1", "inf", "x"] {
        nnc(["check", &file, &format!("--tolerance={wrong}")]).refused(1);
    }
    for command in ["bench", "check", "inspect", "verify"] {
        nnc([command, "absent.onnx"]).refused(1);
        nnc([command, "absent.onnx", "--nonsense"]).refused(1);
    }
}

#[test]
fn huge_and_negative_dimensions() {
    for shape in ["9223372036854775807", "-5", "4294967296 4294967296 4294967296", "9223372036854775806 2"] {
        let huge = model(vec![value("x", 1, shape)], vec![node("Relu", "x -> y")], vec![value("y", 1, shape)], vec![]);
        let case = Case::new(&huge);
        let outcome = case.compile(&[]);
        let line = if outcome.code == Some(2) { outcome.refused(2) } else { outcome.refused(1) };
        assert!(line.contains("m.onnx"), "{line}");
        assert_eq!(case.files(), ["m.onnx"]);
    }
    for dims in [&[i64::MAX, 2][..], &[-1], &[1 << 40, 1 << 40]] {
        let constant = model(
            vec![value("x", 1, "3")],
            vec![node("Add", "x w -> y")],
            vec![value("y", 1, "3")],
            vec![floats("w", dims, &[1.0])],
        );
        Case::new(&constant).refused(1, &["`w`"]);
    }
}

#[test]
fn external_data_outside_the_folder() {
    for location in ["../secret.bin", "/etc/passwd", "a/../../b.bin", "absent.bin"] {
        let outside = model(
            vec![value("x", 1, "3")],
            vec![node("Add", "x w -> y")],
            vec![value("y", 1, "3")],
            vec![external("w", &[3], location)],
        );
        Case::new(&outside).refused(1, &[]);
    }
}

#[test]
fn output_that_cannot_be_written() {
    let case = Case::new(&dense());
    for (output, words) in [
        ("no/such/folder/out.so", "cannot be written"),
        (".", "cannot be written"),
        ("out.exe", ".so, .o or .a"),
        ("out", ".so, .o or .a"),
        ("m.onnx", "would replace"),
    ] {
        let line = case.compile_to(output, &[]).refused(1);
        assert!(line.contains(words), "{line}");
    }
    std::fs::create_dir(case.path("out.h")).expect("a folder");
    let line = case.compile(&[]).refused(1);
    assert!(line.contains("out.h"), "{line}");
    assert_eq!(case.files(), ["m.onnx", "out.h"]);
    // Before any work: the model is not even looked at.
    let line = nnc(["compile", "absent.onnx", "-o", "/dev/null"]).refused(1);
    assert!(line.contains("/dev/null"), "{line}");
}

#[test]
fn arguments_that_do_not_fit() {
    let case = Case::new(&dense());
    for (arguments, words) in [
        (&["--target", "z80"][..], "z80"),
        (&["--target", "x86_64+neon"], "neon"),
        (&["--dim", "batch=0..-1"], "--dim batch=0..-1"),
        (&["--dim", "rows=4"], "rows"),
        (&["--dim", "batch=2", "--dim", "batch=3"], "batch"),
        (&["--name", "2x"], "2x"),
        (&["--name", "load"], "load"),
        (&["--dump-ir", "lower"], "after:"),
        (&["--dump-ir", "after:nothing"], "nothing"),
        (&["--stop-after", "nothing"], "nothing"),
        (&["--emit", "poem"], "poem"),
        (&["--numerics", "wild"], "wild"),
        (&["--nonsense"], "--nonsense"),
    ] {
        let line = case.compile(arguments).refused(1);
        assert!(line.contains(words), "{line}");
        assert_eq!(case.files(), ["m.onnx"]);
    }
    nnc(["compile", &text(&case.model())]).refused(1);
    nnc(["frobnicate"]).refused(1);
    nnc::<&str>([]).refused(1);
}

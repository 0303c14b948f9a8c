//! The commands on a tiny model, from the ONNX file to its results.

mod common;

use std::path::Path;

use common::{Case, dense, model, nnc, node, text, value};
use nnc_runtime::{DType, TensorRef};
use onnx_protobuf::Message;
use serde_json::Value;

const X: [f32; 6] = [1.0, 0.0, 0.0, 0.0, 1.0, -1.0];
const Y: [f32; 4] = [1.5, 0.0, 0.0, 1.25];

fn last_line(text: &str) -> Value {
    let line = text.lines().last().expect("a line");
    serde_json::from_str(line).expect("JSON")
}

fn check_outputs(path: &Path) {
    let mut reader = nnc::npz::Reader::open(path).expect("an archive");
    assert_eq!(reader.names(), ["y"]);
    let y = reader.array("y", DType::F32, |_| Ok(())).expect("an array").expect("it is there");
    assert_eq!((y.dims(), y.view().as_slice::<f32>()), (&[2, 2][..], Some(&Y[..])));
}

#[test]
fn compiles_and_runs() {
    let case = Case::new(&dense());
    let inputs = case.npz("in.npz", &[("x", TensorRef::new(&[2, 3], &X))]);
    let targets: &[&str] = if cfg!(target_arch = "x86_64") { &["x86_64", "native"] } else { &["native"] };
    for target in targets {
        case.compile(&["--target", target]).ok();
        assert_eq!(case.files().iter().filter(|f| f.starts_with("out")).count(), 2);
        for (file, threads) in [("out.so", "1"), ("out.so", "3"), ("m.onnx", "1")] {
            let outputs = case.path("res.npz");
            let (model, inputs, outputs) = (text(&case.path(file)), text(&inputs), text(&outputs));
            nnc(["run", &model, "--inputs", &inputs, "--outputs", &outputs, "--threads", threads]).ok();
            check_outputs(Path::new(&outputs));
            std::fs::remove_file(&outputs).expect("it was written");
        }
        std::fs::remove_file(case.path("out.h")).expect("a header");
    }
}

#[test]
fn same_command_same_bytes() {
    let case = Case::new(&dense());
    let read = |name: &str| std::fs::read(case.path(name)).expect("an artifact");
    for extension in ["so", "o", "a"] {
        let name = format!("out.{extension}");
        case.compile_to(&name, &[]).ok();
        let (first, header) = (read(&name), read("out.h"));
        case.compile_to(&name, &[]).ok();
        assert!(first == read(&name), "{name} differs");
        assert_eq!(header, read("out.h"));
    }
}

#[test]
fn inspects() {
    let case = Case::new(&dense());
    case.compile(&["--dim", "batch=1..64"]).ok();
    let report = last_line(&nnc(["inspect", &text(&case.path("out.so")), "--json"]).ok());
    for key in ["kernels", "code_bytes", "weights_bytes", "workspace_bytes"] {
        assert!(report[key].is_u64(), "{key}: {report}");
    }
    // The product with its epilogue is all there is to run.
    assert_eq!((&report["kernels"], &report["steps"]), (&1.into(), &1.into()));
    assert_eq!(report["name"], "out");
    assert_eq!(report["inputs"][0]["name"], "x");
    assert_eq!(report["inputs"][0]["dims"], serde_json::json!(["batch", "3"]));
    assert_eq!(report["dims"][0], serde_json::json!({"name": "batch", "min": 1, "max": 64}));
    let lines = nnc(["inspect", &text(&case.path("out.so"))]).ok();
    assert!(lines.contains("x: f32 [batch, 3]") && lines.contains("batch: 1 to 64"), "{lines}");
    let report = last_line(&nnc(["inspect", &text(&case.model()), "--json"]).ok());
    assert_eq!(report["operators"], serde_json::json!({"Add": 1, "MatMul": 1, "Relu": 1}));
    assert_eq!(report["missing"], serde_json::json!([]));
}

#[test]
fn measures() {
    let case = Case::new(&dense());
    case.compile(&[]).ok();
    for file in ["out.so", "m.onnx"] {
        let model = text(&case.path(file));
        let report = last_line(&nnc(["bench", &model, "--runs", "7", "--threads", "1", "--json"]).ok());
        for key in ["median_ms", "p90_ms", "p99_ms", "throughput", "load_ms", "peak_rss_mb"] {
            assert!(report[key].as_f64().is_some_and(|n| n > 0.0), "{key}: {report}");
        }
        assert_eq!(report["runs"], 7);
    }
    let inputs = text(&case.npz("in.npz", &[("x", TensorRef::new(&[2, 3], &X))]));
    let model = text(&case.path("out.so"));
    let lines = nnc(["bench", &model, "--inputs", &inputs, "--runs", "3"]).ok();
    assert!(lines.starts_with("median ") && lines.ends_with("\nx f32 [2, 3], y f32 [2, 2]\n"), "{lines}");
}

#[test]
fn measures_at_usual_sizes_and_those_given() {
    let case = Case::new(&dense());
    case.compile(&["--dim", "batch=1..8"]).ok();
    let report = |arguments: &[&str]| last_line(&nnc([&["bench", "--runs", "1", "--json"], arguments].concat()).ok());
    let (compiled, source) = (text(&case.path("out.so")), text(&case.model()));
    for model in [&compiled, &source] {
        let picked = report(&[model]);
        assert_eq!((&picked["picked"]["batch"], &picked["threads"]), (&1.into(), &1.into()), "{picked}");
        let given = report(&[model, "--dim", "batch=5"]);
        assert_eq!(given["shapes"], serde_json::json!({"x": "f32 [5, 3]", "y": "f32 [5, 2]"}));
        assert_eq!(given["picked"], serde_json::json!({}));
    }
    let line = nnc(["bench", &compiled, "--dim", "batch=9"]).refused(1);
    assert!(line.contains("sizes from 1 to 8"), "{line}");
    let line = nnc(["bench", &compiled, "--dim", "rows=2"]).refused(1);
    assert!(line.contains("--dim rows") && line.contains("it has batch"), "{line}");

    // An image, half of which is taken away again and again: 224 divides by 16, and by name or place it is a side.
    let image = model(
        vec![value("x", 1, "? 3 height ?")],
        vec![node("Relu", "x -> y")],
        vec![value("y", 1, "? 3 height ?")],
        vec![],
    );
    let case = Case::new(&image);
    let picked = report(&[&text(&case.model())]);
    assert_eq!(picked["shapes"]["x"], "f32 [1, 3, 224, 224]");
}

#[test]
fn sizes_that_a_run_refuses_are_followed_by_others() {
    // The sum of 0 and 1, of which there are as many as the sequence is long, is an index into 20 rows.
    let axis = onnx_protobuf::TensorProto { data_type: 7, raw_data: vec![0; 8], ..common::floats("a", &[], &[]) };
    let nodes = vec![node("CumSum", "x a -> s"), node("Gather", "t s -> y")];
    let table = common::floats("t", &[20], &[1.0; 20]);
    let case = Case::new(&model(vec![value("x", 7, "seq")], nodes, vec![value("y", 1, "seq")], vec![axis, table]));
    let report = last_line(&nnc(["bench", &text(&case.model()), "--runs", "1", "--json"]).ok());
    assert!(report["picked"]["seq"].as_i64().is_some_and(|n| (1..128).contains(&n)), "{report}");
    let line = nnc(["bench", &text(&case.model()), "--dim", "seq=128"]).refused(1);
    assert!(line.contains("make_y") && line.contains("index"), "{line}");
}

#[test]
fn a_past_and_what_follows_make_the_total() {
    let inputs = vec![value("ids", 1, "batch seq"), value("k", 1, "batch past"), value("mask", 1, "batch total")];
    let nodes = vec![with_axis(node("Concat", "k ids -> c")), node("Add", "c mask -> y")];
    let case = Case::new(&model(inputs, nodes, vec![value("y", 1, "batch total")], vec![]));
    let report = |dims: &[&str]| {
        last_line(&nnc([&["bench", &text(&case.model()), "--runs", "1", "--json"], dims].concat()).ok())["shapes"]
            .clone()
    };
    assert_eq!(report(&[])["mask"], "f32 [1, 129]");
    assert_eq!(report(&["--dim", "past=7"])["mask"], "f32 [1, 8]");
}

fn with_axis(mut node: onnx_protobuf::NodeProto) -> onnx_protobuf::NodeProto {
    let kind = onnx_protobuf::attribute_proto::AttributeType::INT.into();
    let axis = onnx_protobuf::AttributeProto { name: "axis".to_owned(), type_: kind, i: 1, ..Default::default() };
    node.attribute.push(axis);
    node
}

#[test]
fn the_end_of_a_compilation_is_a_line() {
    let case = Case::new(&dense());
    let line = case.compile(&[]).ok();
    assert!(line.contains("out.so: ") && line.contains(" s, code ") && line.lines().count() == 1, "{line}");
    assert!(line.ends_with(" bytes, outputs y f32 [batch, 2]\n") && line.contains("weights "), "{line}");
    let verbose = case.compile(&["-v"]);
    assert_eq!(verbose.stdout.lines().count(), 1);
    for stage in ["import ", "lower ", "codegen ", "write ", "all "] {
        assert!(verbose.stderr.lines().any(|line| line.starts_with(stage)), "{stage}: {verbose:?}");
    }
    let nodes = vec![node("Sin", "x -> s"), node("CumSum", "s a -> y")];
    let axis = common::floats("f", &[], &[0.0]);
    let axis = onnx_protobuf::TensorProto { name: "a".to_owned(), data_type: 7, raw_data: vec![0; 8], ..axis };
    let case = Case::new(&model(vec![value("x", 11, "256")], nodes, vec![value("y", 11, "256")], vec![axis]));
    let slow = case.compile(&["--target", "x86_64-avx2", "-v"]).stderr;
    assert!(slow.contains("slow: ") && slow.contains("make_s") && slow.contains("f64 arithmetic"), "{slow}");
}

#[test]
fn the_version_is_one_line() {
    let line = nnc(["--version"]).ok();
    assert!(line.starts_with(concat!("nnc ", env!("CARGO_PKG_VERSION"))) && line.lines().count() == 1, "{line}");
}

/// A Python that behaves as one with ONNX Runtime would, or as one without.
fn python(case: &Case, script: &str) -> String {
    use std::os::unix::fs::PermissionsExt;
    let path = case.path("python");
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("a script");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("it is there");
    text(&path)
}

#[test]
fn checks() {
    let case = Case::new(&dense());
    let model = text(&case.model());
    let inputs = text(&case.npz("in.npz", &[("x", TensorRef::new(&[2, 3], &X))]));
    let check = |python: &str, more: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_nnc"));
        command.env("NNC_PYTHON", python).args([&["check", &model], more].concat());
        common::outcome(&mut command)
    };
    let without = python(&case, "echo \"ModuleNotFoundError: No module named 'onnxruntime'\" >&2; exit 1");
    let lines = check(&without, &["--inputs", &inputs]).ok();
    assert!(lines.contains("not compared with ONNX Runtime: ") && lines.contains("NNC_PYTHON"), "{lines}");
    assert!(lines.contains("y: f32 [2, 2]: ok: interpreter ") && lines.ends_with("0 of 1 wrong\n"), "{lines}");
    let made_up = check("absent/python", &["--dim", "batch=1..4"]).ok();
    assert!(made_up.contains("inputs: x f32 [1, 3]; picked: batch=1"), "{made_up}");

    // Here the script is `-c TEXT MODEL IN OUT`.
    let answers = |values: &[f32]| {
        let found = case.npz("found.npz", &[("0", TensorRef::new(&[2, 2], values))]);
        python(&case, &format!("cp {} \"$5\"", text(&found)))
    };
    let right = check(&answers(&Y), &["--inputs", &inputs]).ok();
    assert!(right.contains("ok: interpreter 0.0e0, ONNX Runtime 0.0e0"), "{right}");
    let wrong = check(&answers(&[1.5, 0.0, 0.0, 1.0]), &["--inputs", &inputs]);
    assert_eq!(wrong.code, Some(1), "{wrong:?}");
    assert!(wrong.stdout.contains("WRONG") && wrong.stdout.contains("the first at 3: 1.25, expected 1"), "{wrong:?}");
    let shorter = case.npz("found.npz", &[("0", TensorRef::new(&[2], &[1.5f32, 0.0]))]);
    let other = check(&python(&case, &format!("cp {} \"$5\"", text(&shorter))), &["--inputs", &inputs]);
    assert!(other.code == Some(1) && other.stdout.contains("expected f32 [2]"), "{other:?}");
}

#[test]
fn stages_as_text() {
    let case = Case::new(&dense());
    let path = text(&case.model());
    for (stage, word) in
        [("graph", "graph @m"), ("kernels", "kernel @"), ("plan", "program m"), ("clif", "function"), ("asm", "ret")]
    {
        let printed = nnc(["compile", &path, "--emit", stage]).ok();
        assert!(printed.contains(word), "{stage}: {printed}");
        case.compile_to("text", &["--emit", stage, "--name", "m"]).ok();
        assert!(std::fs::read_to_string(case.path("text")).expect("text").contains(word));
    }
    case.compile_to("object", &["--emit", "obj"]).ok();
    assert!(std::fs::read(case.path("object")).expect("an object").starts_with(b"\x7fELF"));
    let dumped = nnc(["compile", &path, "--dump-ir", "after:translate", "--stop-after", "translate"]).ok();
    assert!(dumped.contains("graph @m") && !dumped.contains("kernel"), "{dumped}");
    assert_eq!(case.files(), ["m.onnx", "object", "text"]);
}

#[test]
fn explains() {
    let case = Case::new(&dense());
    let path = text(&case.model());
    let lines = nnc(["compile", &path, "--target", "x86_64-avx2", "--explain", "--stop-after", "lower"]).ok();
    for part in ["contraction -> f32[", "MatMul", "ends here: it is an output", " ways:\n", " us panels tile "] {
        assert!(lines.contains(part), "{part}: {lines}");
    }
    let printed = nnc(["compile", &path, "--explain=json", "--stop-after", "lower"]).ok();
    let value: serde_json::Value = serde_json::from_str(&printed).expect("JSON");
    let ways = &value["regions"][0]["contractions"][0];
    assert!(ways["candidates"][0]["microseconds"].as_f64().is_some_and(|cost| cost > 0.0), "{printed}");
    assert!(ways["compared"].as_u64().is_some_and(|n| n > 4), "{printed}");
}

#[test]
fn products_are_done_as_a_file_says() {
    let case = Case::new(&dense());
    let (path, file) = (text(&case.model()), text(&case.path("choices")));
    let choose = ["compile", &path, "--stop-after", "choose", "--dump-ir", "after:choose"];
    let cheapest = nnc(choose).ok();
    let printed = nnc(["compile", &path, "--explain=json", "--stop-after", "lower"]).ok();
    let explained: Value = serde_json::from_str(&printed).expect("JSON");
    let other = explained["regions"][0]["contractions"][0]["candidates"][1]["algorithm"].as_str().expect("a way");
    assert!(!cheapest.contains(other), "{cheapest}");
    std::fs::write(&file, format!("; by hand\n0.0 {other}\n")).expect("a file");
    let chosen = nnc([&choose[..], &["--choices", &file]].concat()).ok();
    assert!(chosen.contains(other), "{chosen}");
    for (wrong, word) in [("7.0 depthwise", "region 7"), ("0.0 depthwise", "depthwise"), ("0.0 by magic", "line 1")] {
        std::fs::write(&file, wrong).expect("a file");
        let refused = nnc([&choose[..], &["--choices", &file]].concat()).refused(1);
        assert!(refused.contains(word), "{refused}");
    }
}

#[test]
fn measured_choices_can_be_kept() {
    let case = Case::new(&dense());
    let inputs = case.npz("in.npz", &[("x", TensorRef::new(&[2, 3], &X))]);
    let unknown = case.compile(&["--target", "native", "--tune"]);
    assert!(unknown.code == Some(0) && unknown.stderr.contains("see --dim"), "{unknown:?}");
    let fixed = ["--target", "native", "--dim", "batch=2"];
    let measured = case.compile(&[&fixed[..], &["--tune", "--dump-ir", "after:choose"]].concat());
    assert!(measured.code == Some(0) && measured.stderr.contains("1 different products measured"), "{measured:?}");
    let tuned = std::fs::read(case.path("out.so")).expect("an artifact");
    let outputs = text(&case.path("res.npz"));
    nnc(["run", &text(&case.path("out.so")), "--inputs", &text(&inputs), "--outputs", &outputs]).ok();
    check_outputs(Path::new(&outputs));
    let file = text(&case.path("choices"));
    std::fs::write(&file, measured.stdout).expect("a file");
    case.compile(&[&fixed[..], &["--choices", &file]].concat()).ok();
    assert!(std::fs::read(case.path("out.so")).expect("an artifact") == tuned);
    let bare = case.compile(&[&fixed[..], &["--tune", "-O0"]].concat());
    assert!(bare.code == Some(0) && bare.stderr.contains("different products measured"), "{bare:?}");
}

#[test]
fn explains_what_rules_touched_and_what_is_narrow() {
    let nodes = vec![node("Neg", "x -> n"), node("Neg", "n -> m"), node("Sin", "m -> y")];
    let case = Case::new(&model(vec![value("x", 11, "256")], nodes, vec![value("y", 11, "256")], vec![]));
    let (path, object) = (text(&case.model()), text(&case.path("m.o")));
    let compile = ["compile", &path, "--target", "x86_64-avx2", "--explain", "-o", &object];
    let lines = nnc(compile).stdout;
    for part in ["Neg \"make_m\", touched by negate-twice", "map_0 has 128-bit vectors: f64 arithmetic"] {
        assert!(lines.contains(part), "{part}: {lines}");
    }
    let facts = nnc(["inspect", &object]).ok();
    assert!(facts.contains("vectors    1 kernel runs with 128-bit vectors: f64 arithmetic"), "{facts}");
}

#[test]
fn levels_and_disabled_rules() {
    let nodes = vec![node("Neg", "x -> n"), node("Neg", "n -> m"), node("Tanh", "m -> y")];
    let case = Case::new(&model(vec![value("x", 1, "256")], nodes, vec![value("y", 1, "256")], vec![]));
    let path = text(&case.model());
    let runs = |more: &[&str]| {
        let plan = nnc([&["compile", &path, "--emit", "plan"], more].concat()).ok();
        plan.lines().filter(|line| line.trim_start().starts_with("run ")).count()
    };
    assert_eq!((runs(&["-O0"]), runs(&["-O2"]), runs(&[])), (3, 1, 1));
    let graph = |more: &[&str]| nnc([&["compile", &path, "--emit", "graph"], more].concat()).ok();
    assert!(!graph(&[]).contains("neg"));
    assert!(graph(&["--disable-rule", "algebra", "--disable-rule", "identity"]).contains("neg"));
    let refused = nnc(["compile", &path, "--emit", "graph", "--disable-rule", "sorcery"]);
    assert!(refused.code == Some(1) && refused.stderr.contains("identity: "), "{refused:?}");
}

#[test]
fn blames() {
    let case = Case::new(&dense());
    let inputs = text(&case.npz("in.npz", &[("x", TensorRef::new(&[2, 3], &X))]));
    let line = nnc(["blame", &text(&case.model()), "--inputs", &inputs]).ok();
    assert!(line.contains("nothing is wrong"), "{line}");

    // With no tolerance at all the first function that rounds otherwise than the interpreter does is to blame.
    let nodes = vec![node("Relu", "x -> r"), node("Tanh", "r -> t"), node("Neg", "t -> y")];
    let case = Case::new(&model(vec![value("x", 1, "256")], nodes, vec![value("y", 1, "256")], vec![]));
    let numbers: Vec<f32> = (0..256).map(|i| i as f32 / 99.0).collect();
    let inputs = text(&case.npz("in.npz", &[("x", TensorRef::new(&[256], &numbers))]));
    let outcome = nnc(["blame", &text(&case.model()), "--inputs", &inputs, "--tolerance", "0"]);
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    assert!(outcome.stdout.contains("the code of Tanh") && outcome.stdout.contains("elements of"), "{outcome:?}");
}

#[test]
fn inputs_that_do_not_fit() {
    let case = Case::new(&dense());
    case.compile(&[]).ok();
    let model = text(&case.path("out.so"));
    let five = [0f32; 5];
    let integers = [0i64; 6];
    let archives = [
        case.npz("1.npz", &[("z", TensorRef::new(&[2, 3], &X))]),
        case.npz("2.npz", &[("x", TensorRef::new(&[1, 5], &five))]),
        case.npz("3.npz", &[("x", TensorRef::new(&[6], &X))]),
        case.npz("4.npz", &[("x", TensorRef::new(&[2, 3], &integers))]),
        case.npz("5.npz", &[]),
    ];
    let before = case.files();
    for inputs in archives {
        let inputs = text(&inputs);
        let outputs = text(&case.path("res.npz"));
        let line = nnc(["run", &model, "--inputs", &inputs, "--outputs", &outputs]).refused(1);
        assert!(line.contains(&inputs) && line.contains("`x`") && line.contains("f32 [batch, 3]"), "{line}");
        nnc(["bench", &model, "--inputs", &inputs]).refused(1);
    }
    assert_eq!(case.files(), before);
    for inputs in [text(&case.model()), text(&case.path("absent.npz"))] {
        let line = nnc(["bench", &model, "--inputs", &inputs]).refused(1);
        assert!(line.contains(&inputs), "{line}");
    }
}

#[test]
fn libraries_that_cannot_run_here() {
    let case = Case::new(&dense());
    let other = if cfg!(target_arch = "x86_64") { "aarch64" } else { "x86_64" };
    case.compile(&["--target", other]).ok();
    std::fs::write(case.path("text.so"), "no library").expect("a file");
    std::fs::write(case.path("elf.so"), b"\x7fELF and no more").expect("a file");
    for (file, word) in [("out.so", other), ("text.so", ""), ("elf.so", ""), ("absent.so", "")] {
        let path = text(&case.path(file));
        for command in ["bench", "inspect"] {
            // What an artifact for another processor takes can be shown here.
            if (file, command) == ("out.so", "inspect") {
                assert!(nnc([command, &path]).ok().contains(other));
                continue;
            }
            let line = nnc([command, &path]).refused(1);
            assert!(line.contains(&path) && line.contains(word), "{line}");
        }
    }
}

#[test]
fn tests_cases() {
    let root = tempfile::tempdir().expect("a folder");
    let add = |name: &str, bytes: &[u8], y: &[f32]| {
        let set = root.path().join(name).join("test_data_set_0");
        std::fs::create_dir_all(&set).expect("a folder");
        std::fs::write(root.path().join(name).join("model.onnx"), bytes).expect("a model");
        let tensors = [("input_0.pb", [2, 3], &X[..]), ("output_0.pb", [2, 2], y)];
        for (file, dims, values) in tensors {
            let tensor = common::floats("", &dims, values).write_to_bytes().expect("it encodes");
            std::fs::write(set.join(file), tensor).expect("a tensor");
        }
    };
    let whole = dense().write_to_bytes().expect("it encodes");
    let unknown =
        model(vec![value("x", 1, "2 3")], vec![node("Frobnicate", "x -> y")], vec![value("y", 1, "2 2")], vec![]);
    add("a_right", &whole, &Y);
    add("b_wrong", &whole, &[1.5, 0.0, 0.0, 9.0]);
    add("c_broken", &whole[..50], &Y);
    add("d_unknown", &unknown.write_to_bytes().expect("it encodes"), &Y);
    let folder = |name: &str| text(&root.path().join(name));
    let all = nnc(["test", &text(root.path()), "--json"]);
    assert_eq!(all.code, Some(1), "{all:?}");
    let lines: Vec<&str> = all.stdout.lines().collect();
    assert_eq!(lines[0], format!("{}: ok", folder("a_right")));
    let failed = format!("{}: FAILED output `y`: 1 of 4 elements differ", folder("b_wrong"));
    assert!(lines[1].starts_with(&failed), "{}", lines[1]);
    assert!(lines[2].starts_with(&format!("{}: FAILED ", folder("c_broken"))), "{}", lines[2]);
    assert!(lines[3].starts_with(&format!("{}: unsupported ", folder("d_unknown"))), "{}", lines[3]);
    let counts = serde_json::json!({"passed": 1, "failed": 3, "unsupported": 1, "total": 4});
    assert_eq!(last_line(&all.stdout), counts);
    let one = nnc(["test", &folder("a_right")]).ok();
    assert!(one.ends_with("1 of 1 passed, 0 failed (0 of them unsupported)\n"), "{one}");
    // Nothing is wrong with a model that nnc lacks an operator of.
    assert_eq!(nnc(["test", &folder("d_unknown")]).code, Some(2));
    assert_eq!(nnc(["test", &folder("c_broken")]).code, Some(1));
    nnc(["test", &folder("absent")]).refused(1);
    nnc(["test", &folder("a_right/test_data_set_0")]).refused(1);
}

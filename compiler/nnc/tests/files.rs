//! The files of a compilation: which are written, with what permissions, and what their header holds.

mod common;

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use common::{Case, dense, external, model, nnc, node, text, value};
use nnc_runtime::TensorRef;

/// The permissions of a file.
fn mode(path: &std::path::Path) -> u32 {
    path.metadata().expect("it is there").permissions().mode() & 0o777
}

#[test]
fn the_umask_decides_who_may_read() {
    for (umask, forbidden) in [("077", 0o077), ("027", 0o027), ("022", 0o022)] {
        let case = Case::new(&dense());
        for extension in ["so", "o", "a"] {
            let output = case.path(&format!("out.{extension}"));
            let script = format!("umask {umask}; exec \"$0\" \"$@\"");
            let mut shell = Command::new("sh");
            shell.args(["-c", &script, env!("CARGO_BIN_EXE_nnc"), "compile"]).arg(case.model()).arg("-o").arg(&output);
            assert!(shell.status().expect("a shell").success());
            for path in [&output, &case.path("out.h")] {
                assert_eq!(mode(path) & forbidden, 0, "{}: {:o}", path.display(), mode(path));
                assert_eq!(mode(path) & 0o600, 0o600);
            }
        }
    }
}

#[test]
fn no_output_replaces_an_input() {
    let case = Case::new(&dense());
    let bytes = std::fs::read(case.model()).expect("the model");
    std::fs::rename(case.model(), case.path("m.h")).expect("it is there");
    std::fs::hard_link(case.path("m.h"), case.path("hard.so")).expect("a link");
    std::os::unix::fs::symlink("m.h", case.path("soft.o")).expect("a link");
    let model = text(&case.path("m.h"));
    for output in ["m.so", "m.h", "hard.so", "soft.o"] {
        let output = text(&case.path(output));
        let line = nnc(["compile", &model, "-o", &output]).refused(1);
        assert!(line.contains("would replace"), "{line}");
        nnc(["compile", &model, "-o", &output, "--emit", "graph"]);
        assert!(std::fs::read(case.path("m.h")).expect("the model") == bytes, "{output}");
    }
    // Weights beside the model.
    let weights = self::model(
        vec![value("x", 1, "2")],
        vec![node("Add", "x w -> y")],
        vec![value("y", 1, "2")],
        vec![external("w", &[2], "w.h")],
    );
    let case = Case::new(&weights);
    std::fs::write(case.path("w.h"), [0; 8]).expect("weights");
    let line = case.compile_to("w.so", &[]).refused(1);
    assert!(line.contains("would replace") && case.path("w.h").metadata().is_ok_and(|m| m.len() == 8), "{line}");
    case.compile_to("out.so", &[]).ok();
    let inputs = text(&case.npz("in.npz", &[("x", TensorRef::new(&[2], &[1f32, 2.0]))]));
    let line = nnc(["run", &text(&case.path("out.so")), "--inputs", &inputs, "--outputs", &inputs]).refused(1);
    assert!(line.contains("would replace"), "{line}");
}

#[test]
fn weights_may_lie_beside() {
    let case = Case::new(&dense());
    case.compile_to("out.so", &["--weights-file"]).ok();
    assert_eq!(case.files(), ["m.onnx", "out.h", "out.so", "out.weights"]);
    let so = text(&case.path("out.so"));
    assert!(nnc(["inspect", &so]).ok().contains(" in out.weights"));
    nnc(["verify", &so]).ok();
    let mut bytes = std::fs::read(case.path("out.weights")).expect("weights");
    bytes[0] ^= 1;
    std::fs::write(case.path("out.weights"), bytes).expect("a file");
    let line = nnc(["verify", &so]).refused(1);
    assert!(line.contains("out.weights: the weights are damaged"), "{line}");
    std::fs::remove_file(case.path("out.weights")).expect("it is there");
    let line = nnc(["verify", &so]).refused(1);
    assert!(line.contains("out.weights: weights of the model: No such file"), "{line}");
    // Neither a model nor its external data is replaced.
    std::fs::hard_link(case.model(), case.path("out.weights")).expect("a link");
    let line = case.compile_to("out.so", &["--weights-file"]).refused(1);
    assert!(line.contains("would replace"), "{line}");
    case.compile_to("out.so", &[]).ok();
}

/// Compiles a file that includes the header alone, with every warning, if there is such a compiler.
fn accepts_header(case: &Case, compiler: &[&str]) {
    let source = case.path(if compiler[1] == "-std=c99" { "t.c" } else { "t.cpp" });
    std::fs::write(&source, "#include \"out.h\"\n#include \"out.h\"\nint main(void) { return 0; }\n").expect("a file");
    let mut command = Command::new(compiler[0]);
    command.args(&compiler[1..]).args(["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only"]).arg(&source);
    match command.output() {
        Ok(output) => {
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{compiler:?}: {errors}");
        }
        Err(_) => eprintln!("no {}: skipped", compiler[0]),
    }
}

#[test]
fn headers_compile_whatever_the_names() {
    let names =
        ["a.b", "a_b", "a_b_0", "A.B", "a_b_rank", "input_a_b", "*/ int x; /*", "\u{202e}??/\n#error\\", "é", "s"];
    for shape in ["batch 3", "2 3", "2 batch"] {
        let inputs = names.iter().map(|name| value(name, 1, shape)).collect();
        let mut nodes: Vec<_> = names
            .iter()
            .map(|name| {
                let mut relu = node("Relu", "x -> y");
                (relu.input[0], relu.output[0]) = ((*name).to_owned(), format!("{name}.out"));
                relu
            })
            .collect();
        nodes.push(node("Neg", "s -> S"));
        let mut outputs: Vec<_> = names.iter().map(|name| value(&format!("{name}.out"), 1, shape)).collect();
        outputs.push(value("S", 1, shape));
        let case = Case::new(&model(inputs, nodes, outputs, vec![]));
        case.compile(&[]).ok();
        let header = std::fs::read_to_string(case.path("out.h")).expect("a header");
        assert!(header.chars().all(|c| c == '\n' || nnc_abi::is_plain(c)), "{header}");
        for compiler in
            [&["cc", "-std=c99"][..], &["c++", "-std=c++11"], &["clang", "-std=c99"], &["clang++", "-std=c++20"]]
        {
            accepts_header(&case, compiler);
        }
        let lines = nnc(["inspect", &text(&case.path("out.so"))]).ok();
        assert!(lines.chars().all(|c| c == '\n' || nnc_abi::is_plain(c)), "{lines}");
    }
}

#[test]
fn verifies() {
    let case = Case::new(&dense());
    for extension in ["so", "o", "a"] {
        let path = case.path(&format!("out.{extension}"));
        case.compile_to(&format!("out.{extension}"), &[]).ok();
        let line = nnc(["verify", &text(&path)]).ok();
        assert!(line.contains(": ok: "), "{line}");
        let mut bytes = std::fs::read(&path).expect("an artifact");
        let code = bytes.windows(8).position(|w| w == b"NNCMODEL").expect("a descriptor") + 160;
        bytes[code] ^= 1;
        std::fs::write(&path, bytes).expect("a file");
        let line = nnc(["verify", &text(&path)]).refused(1);
        assert!(line.contains("damaged"), "{line}");
    }
    assert!(nnc(["verify", &text(&case.model())]).refused(1).contains("not an ELF file"));
}

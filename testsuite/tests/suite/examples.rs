//! The programs of `docs/examples`, built and run as their first lines say.

use std::process::Command;

use crate::common::{CNN_RIGHT, Digits, NNC, TRANSFORMER_RIGHT, cc, compile, example, feed, folder, run};

#[test]
fn c_program_with_a_shared_library() {
    let (digits, folder) = (Digits::read(), folder("example-classify"));
    compile("digits_cnn.onnx", &folder.join("digits_cnn.so"), &["--dim", "batch=1"]);
    let program = cc(&folder, "classify.c", &["digits_cnn.so", "-Wl,-rpath,$ORIGIN"]);
    // The library is found beside the program, from wherever it is started.
    let images = std::fs::File::open(digits.write(&folder)).expect("the images");
    let printed = run(Command::new(program).current_dir("/").stdin(images));
    assert_eq!(digits.right(printed.lines()), CNN_RIGHT);
}

#[test]
fn c_program_that_brings_the_weights() {
    let (digits, folder) = (Digits::read(), folder("example-weights-file"));
    compile("digits_cnn.onnx", &folder.join("digits_cnn.a"), &["--dim", "batch=1", "--weights-file"]);
    let program = cc(&folder, "weights_file.c", &["digits_cnn.a"]);
    let weights = folder.join("digits_cnn.weights");
    let printed = feed(program, &[weights.to_str().expect("UTF-8")], &digits.write(&folder));
    assert_eq!(digits.right(printed.lines()), CNN_RIGHT);
}

#[test]
fn c_program_with_columns_of_text() {
    let folder = folder("example-passengers");
    compile("passengers.onnx", &folder.join("passengers.so"), &[]);
    let program = cc(&folder, "passengers.c", &["passengers.so", "-Wl,-rpath,$ORIGIN"]);
    let lines = folder.join("passengers.txt");
    std::fs::write(&lines, "29.5 7.25 m c\n41 36 f a\n18 12.5 unknown b\n60 30 f b\n").expect("the lines");
    // What ONNX Runtime says.
    assert_eq!(feed(program, &[], &lines), "0 0.787\n1 0.605\n0 0.735\n0 0.540\n");
}

#[test]
fn c_program_with_two_models() {
    let (digits, folder) = (Digits::read(), folder("example-two-models"));
    compile("digits_cnn.onnx", &folder.join("digits_cnn.o"), &["--dim", "batch=1"]);
    compile("digits_transformer.onnx", &folder.join("digits_transformer.a"), &["--dim", "batch=1"]);
    let program = cc(&folder, "two_models.c", &["digits_cnn.o", "digits_transformer.a"]);
    let printed = feed(program, &[], &digits.write(&folder));
    let pairs: Vec<(&str, &str)> = printed.lines().map(|l| l.split_once(' ').expect("two answers")).collect();
    assert_eq!(digits.right(pairs.iter().map(|p| p.0)), CNN_RIGHT);
    assert_eq!(digits.right(pairs.iter().map(|p| p.1)), TRANSFORMER_RIGHT);
}

#[test]
fn c_program_with_its_own_threads() {
    let (digits, folder) = (Digits::read(), folder("example-own-threads"));
    compile("digits_cnn.onnx", &folder.join("digits_cnn.a"), &[]);
    let program = cc(&folder, "own_threads.c", &["digits_cnn.a"]);
    let images = digits.write(&folder);
    let answers = ["1", "3", "8"].map(|threads| feed(&program, &[threads], &images));
    assert_eq!(digits.right(answers[0].lines()), CNN_RIGHT);
    assert!(answers.iter().all(|a| *a == answers[0]), "the number of threads changes answers");
}

#[test]
fn rust_program_with_an_archive() {
    let (digits, folder) = (Digits::read(), folder("example-rust"));
    let target = folder.join("target");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(example("rust")).env("NNC", NNC).env("CARGO_TARGET_DIR", &target);
    run(cargo.args(["build", "--quiet", "--offline", "--locked"]));
    let printed = feed(target.join("debug/classify"), &[], &digits.write(&folder));
    assert_eq!(digits.right(printed.lines()), CNN_RIGHT);
}

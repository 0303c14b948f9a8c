//! Repository chores: `cargo xtask demo`, `cargo xtask test`, `cargo xtask bench`, `cargo xtask zoo`, `cargo xtask fuzz`,
//! `cargo xtask ablation`, `cargo xtask machine`, `cargo xtask emulate`, `cargo xtask mutants`, `cargo xtask same-code`,
//! `cargo xtask large`, `cargo xtask tidy`.
//!
//! The first two are the two commands of README.md. They need a Rust toolchain, and `test` Python 3 with `venv` as well.

mod cases;
mod demo;
mod emulate;
mod machine;
mod mutants;
mod same_code;
mod sanitize;
mod shell;
mod test;

use std::process::ExitCode;

const USAGE: &str = "\
cargo xtask COMMAND
  demo       builds nnc, compiles a model, runs it over its test images: accuracy and latency
  test       the whole test suite, the comparisons with ONNX Runtime included
  bench      measures the benchmark models beside ONNX Runtime and OpenVINO
  zoo        runs the models of a FOLDER beside ONNX Runtime and writes docs/src/zoo.md; by name, some of them
  machine    the tests and figures that depend on the processor, and one summary of them
  emulate    the test cases on processors that are not here, by qemu
  ablation   what optimising, and each family of rules, is worth on the benchmark models; by name, on some; --levels
  calibrate  measures the rates of the cost model, by default of the native target
  fuzz       compiles random models in many ways and compares what they compute; `cargo xtask fuzz --help`
  large      a model of 3 GiB: its results, and the memory that compiling takes; needs 10 GB of disk
  mutants    defects planted in every stage, and whether the tests find them; by name, some of them
  same-code  whether the code of the benchmark models is what `cargo xtask same-code record` kept
  miri       undefined behaviour, in the crates that Miri can run
  sanitize   memory errors, by valgrind and AddressSanitizer, in the runtime's tests and the C examples
  tidy       formats every file";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments.as_slice() {
        ["demo"] => demo::demo(),
        ["test"] => test::test(),
        ["bench"] => test::bench(),
        ["zoo", folder, names @ ..] => test::zoo(folder, names),
        ["fuzz", arguments @ ..] => test::fuzz(arguments),
        ["ablation", arguments @ ..] => test::ablation(arguments),
        ["calibrate", target @ ..] => test::calibrate(target),
        ["machine"] => machine::machine(),
        ["emulate"] => emulate::emulate(),
        ["large", arguments @ ..] => test::large(arguments),
        ["mutants", names @ ..] => mutants::mutants(names),
        ["same-code", "record"] => same_code::record(),
        ["same-code"] => same_code::compare(),
        ["miri"] => sanitize::miri(),
        ["sanitize"] => sanitize::sanitize(),
        ["tidy"] => test::format(false),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

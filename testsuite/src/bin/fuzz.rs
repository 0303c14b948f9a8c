//! The fuzzer's command, which `cargo xtask fuzz` starts, and its worker process.
//!
//! For family `import` it is also the command that is fuzzed: `fuzz nnc ...` is `nnc ...`, and `fuzz tensor FILE` reads a
//! tensor as test cases have it.

use std::process::ExitCode;

use clap::Parser;
use nnc::errors::Failure;
use nnc_testsuite::fuzz::{self, Arguments};

#[global_allocator]
static ALLOCATOR: nnc::memory::Counted = nnc::memory::Counted;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next() {
        Some(word) if word == "nnc" => return nnc::cli::main(std::iter::once(word).chain(arguments)),
        Some(word) if word == "tensor" => return tensor(std::path::Path::new(&arguments.next().unwrap_or_default())),
        _ => {}
    }
    // Deep graphs recurse as in the `nnc` command.
    let run = || fuzz::main(&Arguments::parse());
    let thread = std::thread::Builder::new().stack_size(256 << 20).spawn(run);
    match thread.map(std::thread::JoinHandle::join) {
        Ok(Ok(Ok(true))) => ExitCode::SUCCESS,
        Ok(Ok(Ok(false))) => ExitCode::FAILURE,
        Ok(Ok(Err(failure))) => {
            eprintln!("error: {failure}");
            ExitCode::from(failure.exit_code())
        }
        _ => ExitCode::from(101),
    }
}

/// Reads a tensor file.
fn tensor(path: &std::path::Path) -> ExitCode {
    match nnc_onnx::load_tensor(path) {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            let failure = Failure::from(error);
            eprintln!("error: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}

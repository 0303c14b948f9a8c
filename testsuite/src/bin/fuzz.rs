//! The fuzzer's command, which `cargo xtask fuzz` starts, and its worker process.

use std::process::ExitCode;

use clap::Parser;
use nnc_testsuite::fuzz::{self, Arguments};

fn main() -> ExitCode {
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

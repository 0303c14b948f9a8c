//! The `nnc` command.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: nnc::memory::Counted = nnc::memory::Counted;

fn main() -> ExitCode {
    nnc::cli::main(std::env::args_os())
}

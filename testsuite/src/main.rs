//! The `nnc` command as built for this crate's tests, which run it as a user does.
//!
//! The tests are in `tests/suite`: what holds for the repository as a whole, and what only a linked program shows.
//! Cargo hands a package's own programs to its tests, always up to date, but not those of other packages; hence this
//! double, whose whole content is `nnc::cli`.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: nnc::memory::Counted = nnc::memory::Counted;

fn main() -> ExitCode {
    nnc::cli::main(std::env::args_os())
}

//! The `nnc` command as built for this crate's tests, which run it as a user does.
//!
//! The tests are in `tests/suite`: what holds for the repository as a whole, and what only a linked program shows.
//! Cargo hands a package's own programs to its tests, always up to date, but not those of other packages; hence this
//! double, whose whole content is `nnc::commands`.

use std::process::ExitCode;

use clap::Parser;
use nnc::commands::{self, Cli};

fn main() -> ExitCode {
    match commands::run(Cli::parse().command) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}

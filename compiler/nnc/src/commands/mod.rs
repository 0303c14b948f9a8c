//! The command line: one file per subcommand, each with its arguments and `run`.
//!
//! Standard output carries results, standard error one line when something fails. With `--json` the last line of
//! standard output is one JSON object.

pub mod bench;
pub mod blame;
pub mod check;
pub mod compile;
pub mod inspect;
pub mod load;
pub mod run;
pub mod test;
pub mod verify;
pub mod worker;

use clap::{Parser, Subcommand};

use crate::errors::Result;

/// The version, and the commit where it is known.
const VERSION: &str = env!("NNC_VERSION");

/// Compiles ONNX models, ahead of time, into native code.
#[derive(Debug, Parser)]
#[command(about = "Compiles ONNX models, ahead of time, into native code")]
#[command(name = "nnc", version = VERSION, disable_help_flag = true, disable_help_subcommand = true)]
pub struct Cli {
    /// Print help
    #[arg(short, long, global = true, action = clap::ArgAction::HelpShort)]
    help: Option<bool>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Compile a model to a shared library, an object or an archive, and a C header
    Compile(compile::Arguments),
    /// Show what a compiled model or an ONNX file takes, gives and needs
    Inspect(inspect::Arguments),
    /// Compare a compiled model's code and weights with the hashes it carries
    Verify(verify::Arguments),
    /// Run a model once on arrays from an npz file
    Run(run::Arguments),
    /// Measure how long a model takes
    Bench(bench::Arguments),
    /// Run a model once and compare its outputs with the reference interpreter and ONNX Runtime
    Check(check::Arguments),
    /// Run test cases in the format of ONNX's backend tests
    Test(test::Arguments),
    /// Name the rewrite, or the node, that makes a model's results wrong
    Blame(blame::Arguments),
    /// Run test cases named on standard input (started by `test`)
    #[command(hide = true)]
    TestWorker(worker::Arguments),
}

/// Runs a command; answers the exit code of one that did what it was asked to.
///
/// # Errors
/// Why it did not.
pub fn run(command: Command) -> Result<u8> {
    match command {
        Command::Compile(arguments) => compile::run(&arguments).map(|()| 0),
        Command::Inspect(arguments) => inspect::run(&arguments).map(|()| 0),
        Command::Verify(arguments) => verify::run(&arguments).map(|()| 0),
        Command::Run(arguments) => run::run(&arguments).map(|()| 0),
        Command::Bench(arguments) => bench::run(&arguments).map(|()| 0),
        Command::Check(arguments) => check::run(&arguments),
        Command::Test(arguments) => test::run(&arguments),
        Command::Blame(arguments) => blame::run(&arguments),
        Command::TestWorker(arguments) => worker::run(&arguments).map(|()| 0),
    }
}

//! The `nnc` command from its arguments to its exit code: runs the subcommand, prints a failure as one line.

use std::ffi::OsString;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use crate::commands::{self, Cli};
use crate::errors::{Failure, Result};
use crate::{panics, progress};

/// Enough for the deepest expressions that the limits on models allow; pages are used only when touched.
const STACK_BYTES: usize = 256 << 20;

/// Runs the command with these arguments, the first of which is its name.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let thread = std::thread::Builder::new().name("nnc".into()).stack_size(STACK_BYTES);
    let outcome = match thread.spawn(|| guarded(arguments)) {
        Ok(thread) => thread.join().unwrap_or_else(|_| Err(Failure::internal("panicked"))),
        Err(error) => Err(Failure::user(format!("no thread can be started: {error}"))),
    };
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            // There is nobody left to tell when standard error is closed.
            let _ = writeln!(std::io::stderr(), "error: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}

/// A panic is a defect, yet still one line and an exit code.
fn guarded(arguments: Vec<OsString>) -> Result<u8> {
    panics::remember();
    let body = AssertUnwindSafe(|| run(arguments));
    catch_unwind(body).unwrap_or_else(|_| Err(Failure::internal(panics::last())))
}

fn run(arguments: Vec<OsString>) -> Result<u8> {
    match Cli::try_parse_from(arguments) {
        Ok(cli) => commands::run(cli.command),
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            progress::print(None, &error.render().to_string())?;
            Ok(0)
        }
        Err(error) if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            Err(Failure::user("no command was given; see nnc --help"))
        }
        Err(error) => Err(usage(&error.render().to_string())),
    }
}

/// The complaint of clap in one line, without the usage that follows it.
fn usage(text: &str) -> Failure {
    let lines = text.lines().map(str::trim).take_while(|line| !line.starts_with("Usage:"));
    let words: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
    let complaint = words.join(" ");
    let complaint = complaint.strip_prefix("error: ").unwrap_or(&complaint);
    Failure::user(format!("{complaint}; see nnc --help"))
}

//! The `nnc` command: reads the arguments, runs the subcommand, prints a failure as one line.

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;
use nnc::commands::{self, Cli};
use nnc::errors::{Failure, Result};

#[global_allocator]
static ALLOCATOR: nnc::memory::Counted = nnc::memory::Counted;

/// Enough for the deepest expressions that the limits on models allow; pages are used only when touched.
const STACK_BYTES: usize = 256 << 20;

fn main() -> ExitCode {
    let thread = std::thread::Builder::new().name("nnc".into()).stack_size(STACK_BYTES);
    let outcome = match thread.spawn(guarded) {
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
fn guarded() -> Result<u8> {
    nnc::panics::remember();
    let body = AssertUnwindSafe(arguments);
    catch_unwind(body).unwrap_or_else(|_| Err(Failure::internal(nnc::panics::last())))
}

fn arguments() -> Result<u8> {
    match Cli::try_parse() {
        Ok(cli) => commands::run(cli.command),
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            nnc::progress::print(None, &error.render().to_string())?;
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

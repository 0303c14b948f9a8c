//! Progress on a terminal; nothing on a pipe.

use std::io::{self, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::errors::{Failure, Result};

/// A bar of `length` steps on standard error.
pub fn bar(length: u64, what: &str) -> ProgressBar {
    styled(Some(length), what, "{prefix} {wide_bar} {pos}/{len} {msg}")
}

/// A spinner on standard error for work of unknown length; the message says what is done at the moment.
pub fn spinner(what: &str) -> ProgressBar {
    let spinner = styled(None, what, "{spinner} {prefix}: {msg} {elapsed}");
    if !spinner.is_hidden() {
        spinner.enable_steady_tick(Duration::from_millis(100));
    }
    spinner
}

fn styled(length: Option<u64>, what: &str, template: &str) -> ProgressBar {
    // The target hides itself when standard error is not a terminal.
    let bar = ProgressBar::with_draw_target(length, ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.with_style(style).with_prefix(what.to_owned())
}

/// Prints text on standard output, above a bar if one is drawn.
///
/// # Errors
/// When standard output is closed or full.
pub fn print(bar: Option<&ProgressBar>, text: &str) -> Result<()> {
    let write = || {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    };
    let result = match bar {
        Some(bar) => bar.suspend(write),
        None => write(),
    };
    result.map_err(|e| Failure::user(format!("standard output: {e}")))
}

/// Prints a line on standard output.
///
/// # Errors
/// As [`print()`].
pub fn line(text: impl std::fmt::Display) -> Result<()> {
    print(None, &format!("{text}\n"))
}

//! `nnc inspect`: facts about a compiled model or an ONNX file.

use std::path::PathBuf;

use super::load;
use crate::errors::Result;
use crate::{inspect, progress};

/// Arguments of `nnc inspect`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Compiled model (.so, .o, .a, for any processor) or ONNX file; no code of it runs
    model: PathBuf,
    /// Print one line of JSON instead
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// When the file is neither.
pub fn run(arguments: &Arguments) -> Result<()> {
    let path = &arguments.model;
    let report = if load::is_source(path) { inspect::source(path)? } else { inspect::compiled(path)? };
    if arguments.json { progress::line(report.json) } else { progress::print(None, &report.text) }
}

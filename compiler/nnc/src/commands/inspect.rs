//! `nnc inspect`: facts about a compiled model or an ONNX file, or which operators there are.

use std::path::PathBuf;

use super::load;
use crate::errors::{Failure, Result};
use crate::{dims, inspect, progress};

/// Arguments of `nnc inspect`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Compiled model (.so, .o, .a, for any processor) or ONNX file; no code of it runs. Without one, the operators that
    /// nnc has are listed
    model: Option<PathBuf>,
    /// Fix a symbolic dimension of an ONNX file, or bound it, as for `compile`
    #[arg(long = "dim", value_name = "NAME=SIZE", requires = "model")]
    dims: Vec<String>,
    /// Print one line of JSON instead
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// When the file is neither.
pub fn run(arguments: &Arguments) -> Result<()> {
    let report = match &arguments.model {
        None => inspect::supported(),
        Some(path) if load::is_source(path) => {
            let dims = dims::parse(&arguments.dims)?;
            let spinner = progress::spinner("inspecting");
            let report = inspect::source(path, &dims);
            spinner.finish_and_clear();
            report?
        }
        Some(path) if arguments.dims.is_empty() => inspect::compiled(path)?,
        Some(path) => return Err(Failure::user(format!("{}: --dim is for ONNX files", path.display()))),
    };
    if arguments.json { progress::line(report.json) } else { progress::print(None, &report.text) }
}

//! `nnc verify`: whether a compiled model is as it was written.

use std::path::PathBuf;

use nnc_runtime::Artifact;

use crate::errors::Result;
use crate::progress;

/// Arguments of `nnc verify`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Compiled model: .so, .o or .a, for any processor
    model: PathBuf,
}

/// Runs the command.
///
/// # Errors
/// When the file is no compiled model, or differs from its hashes.
pub fn run(arguments: &Arguments) -> Result<()> {
    let artifact = Artifact::open(&arguments.model)?;
    artifact.verify()?;
    let signature = artifact.signature();
    progress::line(format!(
        "{}: ok: {} bytes of code, {} bytes of weights, for {}",
        arguments.model.display(),
        signature.code_bytes,
        signature.weights_bytes,
        signature.target
    ))
}

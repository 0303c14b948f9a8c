//! `nnc run`: one run on arrays from an npz file, outputs to another.

use std::collections::BTreeMap;
use std::path::PathBuf;

use nnc_runtime::{Runner, TensorRef};

use super::load::{self, ThreadArguments};
use crate::errors::{Failure, Result};
use crate::{inputs, npz, output};

/// Arguments of `nnc run`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Compiled model (.so), or ONNX file, which is compiled in memory
    model: PathBuf,
    /// Inputs: arrays named as the model's inputs
    #[arg(long, value_name = "IN.npz")]
    inputs: PathBuf,
    /// Where the outputs go, named as the model's outputs
    #[arg(long, value_name = "OUT.npz")]
    outputs: PathBuf,
    /// Seed of random numbers that have none of their own
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    threads: ThreadArguments,
}

/// Runs the command.
///
/// # Errors
/// When the model cannot be loaded, an input does not fit, or the outputs cannot be written.
pub fn run(arguments: &Arguments) -> Result<()> {
    output::check_apart(&arguments.outputs, [arguments.model.as_path(), &arguments.inputs])?;
    output::check_writable(&arguments.outputs)?;
    let model = load::load(&arguments.model, &BTreeMap::new())?;
    let arrays = inputs::from_npz(&arguments.inputs, model.signature())?;
    let views: Vec<TensorRef<'_>> = arrays.iter().map(|a| a.view()).collect();
    let names: Vec<String> = model.signature().outputs.iter().map(|o| o.name.clone()).collect();
    let mut runner = Runner::new(model, arguments.threads.threads());
    runner.set_seed(arguments.seed);
    runner.run(&views).map_err(|e| Failure::of_run(&arguments.model, e))?;
    let outputs: Vec<(&str, TensorRef<'_>)> =
        names.iter().enumerate().map(|(i, name)| (name.as_str(), runner.output(i))).collect();
    output::write(&arguments.outputs, |file| {
        npz::write(file.as_file_mut(), &outputs).map_err(|e| Failure::io(&arguments.outputs, "cannot be written", &e))
    })
}

//! The process that `nnc test` runs cases in, so that a crash of one does not end the run.
//!
//! Protocol: each line of standard input is a case's folder as a JSON string, each line of standard output the
//! [`Verdict`] on it, in order. The end of the input ends the worker.

use std::io::{BufRead, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use nnc_desc::Target;
use nnc_runtime::{Model, TensorRef, Threads};
use serde::{Deserialize, Serialize};

use crate::array::Array;
use crate::cases::{Case, DataSet};
use crate::driver::{Compilation, OptLevel, Options, Unwatched};
use crate::errors::{Blame, Failure, Result};
use crate::{compare, guard, panics, sequences};

/// Arguments of the worker.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub struct Arguments {
    /// Processor to compile for: one that this machine can run
    #[arg(long, default_value = "native")]
    pub target: String,
    /// How much is done for speed
    #[arg(short = 'O', long, value_enum, default_value_t)]
    pub opt_level: OptLevel,
    /// Run in memory of exactly the sizes asked for, between pages that no access survives; models with free dimensions
    /// also at further sizes
    #[arg(long)]
    pub guard: bool,
}

impl Arguments {
    /// The words of a command line that say the same.
    pub fn words(&self) -> Vec<String> {
        let level = self.opt_level.to_possible_value();
        let level = level.map(|value| format!("-O{}", value.get_name()));
        let guard = self.guard.then(|| "--guard".to_owned());
        [format!("--target={}", self.target)].into_iter().chain(level).chain(guard).collect()
    }
}

/// What became of a case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Every output was as expected.
    Ok,
    /// One was not, or something broke; why.
    Failed(String),
    /// nnc cannot compile the model; why.
    Unsupported(String),
}

/// Runs the command.
///
/// # Errors
/// When the pipes to the parent break.
pub fn run(arguments: &Arguments) -> Result<()> {
    let options =
        Options { target: Target::parse(&arguments.target)?, opt_level: arguments.opt_level, ..Options::native("")? };
    let pipe = |e: std::io::Error| Failure::user(format!("the worker's pipe: {e}"));
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let folder: PathBuf = serde_json::from_str(&line.map_err(pipe)?)
            .map_err(|e| Failure::user(format!("the worker's input: {e}")))?;
        let verdict = serde_json::to_string(&verdict(&folder, &options, arguments.guard))
            .map_err(|e| Failure::internal(format!("the worker's output: {e}")))?;
        writeln!(out, "{verdict}").and_then(|()| out.flush()).map_err(pipe)?;
    }
    Ok(())
}

/// Runs a case, come what may short of a crash.
fn verdict(folder: &Path, options: &Options, guarded: bool) -> Verdict {
    match catch_unwind(AssertUnwindSafe(|| run_case(folder, options, guarded))) {
        Ok(Ok(None)) => Verdict::Ok,
        Ok(Ok(Some(difference))) => Verdict::Failed(difference),
        Ok(Err(failure)) if failure.blame() == Blame::Compiler => Verdict::Unsupported(failure.to_string()),
        Ok(Err(failure)) => Verdict::Failed(failure.to_string()),
        Err(_) => Verdict::Failed(panics::last()),
    }
}

/// How the outputs of a case differ from the expected ones, if they do.
fn run_case(folder: &Path, options: &Options, guarded: bool) -> Result<Option<String>> {
    let case = Case::open(folder)?;
    let options = Options { name: crate::name::from_path(&case.model()), ..options.clone() };
    let mut watch = Unwatched;
    let mut compilation = Compilation::new(&options, &mut watch)?;
    let mut source = compilation.import(&case.model())?;
    if let Some(set) = case.sets.first() {
        sequences::state_ranks(&mut source, &set.inputs)?;
    }
    let model = compilation.load(&source)?;
    for set in &case.sets {
        let inputs = inputs(set, &source, &model)?;
        let views: Vec<TensorRef<'_>> = inputs.iter().map(|a| a.view()).collect();
        let run = if guarded { guard::run(&model, &views) } else { plain(&model, &views) };
        let outputs = match run.map_err(|e| e.in_file(set.folder.display()))? {
            Ok(outputs) => outputs,
            Err(problem) => return Ok(Some(problem)),
        };
        for (position, file) in &set.outputs {
            let output = source.graph.outputs.get(*position);
            let name = output.map(|output| output.name.as_str());
            let first = model.signature().outputs.iter().position(|info| Some(info.name.as_str()) == name);
            let (Some(name), Some(first)) = (name, first) else {
                return Ok(Some(format!("there is no output {position}")));
            };
            let wanted = sequences::arrays(file, output.and_then(|output| output.ty.as_ref()))?;
            for (want, got) in wanted.to_compare(&outputs[first..]) {
                if let Err(difference) = compare::compare(got.view(), want.view(), case.tolerance) {
                    return Ok(Some(format!("output `{name}`: {difference}")));
                }
            }
        }
    }
    if guarded { guard::sizes(&model) } else { Ok(None) }
}

/// One run in memory of the runtime's.
fn plain(model: &Model, inputs: &[TensorRef<'_>]) -> Result<guard::Outcome> {
    let outputs = model.run_with(inputs, &Threads::Serial)?;
    outputs.iter().map(|t| Array::from_bytes(t.dtype(), t.dims().to_vec(), t.data())).collect::<Result<_>>().map(Ok)
}

/// The inputs that the compiled model takes, from a data set's files, which count the inputs of the source.
///
/// A file for an input with a default value is passed over: the value is part of the compiled model.
fn inputs(set: &DataSet, source: &nnc_onnx::Model, model: &Model) -> Result<Vec<Array>> {
    let mut arrays: Vec<Array> = vec![];
    // Strings, sequences and optionals are several inputs and one file.
    while let Some(info) = model.signature().inputs.get(arrays.len()) {
        let position = |name: &str| source.graph.inputs.iter().position(|i| i.name == name);
        let own = position(&info.name);
        let ty = own.and_then(|own| source.graph.inputs[own].ty.as_ref());
        let file = set.inputs.iter().find(|f| Some(f.0) == own).map(|f| f.1.clone());
        let keys = || position(info.name.strip_suffix(".keys")?).map(|n| set.folder.join(format!("input_{n}.keys.pb")));
        let file = file.or_else(keys);
        let file =
            file.ok_or_else(|| Failure::user(format!("{}: no file for input `{}`", set.folder.display(), info.name)))?;
        // Of a map the file has the values.
        let ty = ty.filter(|ty| !matches!(ty, nnc_onnx::TypeInfo::Map { .. }));
        arrays.extend(sequences::arrays(&file, ty)?.all);
    }
    Ok(arrays)
}

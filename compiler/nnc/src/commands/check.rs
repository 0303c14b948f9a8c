//! `nnc check`: compiles a model, runs it once, and compares every output with what it should be.
//!
//! There are two references: the interpreter of the core operations on the graph as the model says it, which finds what is
//! wrong behind translation, and ONNX Runtime, which finds what is wrong in it as well. Either may be unable to run the
//! model; without both there is nothing to say.

use std::collections::BTreeMap;
use std::path::PathBuf;

use nnc_desc::Target;
use nnc_ir::Tensor;
use nnc_runtime::{DType, Runner, Signature};

use super::load;
use crate::driver::{Compilation, Halt, OptLevel, Options, Unwatched};
use crate::errors::{Failure, OneLine, Result};
use crate::inputs::Given;
use crate::{compare, dims, name, progress, reference};

/// How far an element may be off by default, as a part of its output's greatest magnitude.
const TOLERANCE: f64 = 1e-3;
/// The same of outputs in 16-bit floats, which have 8 or 11 binary digits.
const TOLERANCE_OF_HALF: f64 = 2e-2;

/// Arguments of `nnc check`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// ONNX file
    model: PathBuf,
    /// Inputs: arrays named as the model's inputs; by default made-up ones of usual sizes
    #[arg(long, value_name = "IN.npz")]
    inputs: Option<PathBuf>,
    /// Processor to compile for: one that this machine can run
    #[arg(long, default_value = "native")]
    target: String,
    /// Fix a symbolic dimension, or bound it, as for `compile`
    #[arg(long = "dim", value_name = "NAME=SIZE")]
    dims: Vec<String>,
    /// How much is done for speed
    #[arg(short = 'O', long, value_enum, default_value_t)]
    opt_level: OptLevel,
    /// Threads
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: u16,
    /// How far a number may be off, as a part of its output's greatest magnitude; by default 1e-3, of 16-bit floats 2e-2
    #[arg(long, value_name = "PART", value_parser = compare::part)]
    tolerance: Option<f64>,
}

/// What a reference computed, or why nothing.
struct Reference {
    name: &'static str,
    outputs: std::result::Result<Vec<Tensor>, String>,
}

/// Runs the command; the exit code is 1 if an output is not as it should be.
///
/// # Errors
/// When the model cannot be compiled or run, or there is nothing to compare with.
pub fn run(arguments: &Arguments) -> Result<u8> {
    let spinner = progress::spinner("checking");
    let report = check(arguments);
    spinner.finish_and_clear();
    let (lines, wrong) = report?;
    let lines: Vec<String> = lines.iter().map(|line| format!("{}\n", OneLine(line))).collect();
    progress::print(None, &lines.concat())?;
    Ok(u8::from(wrong > 0))
}

/// Lines on references, inputs and outputs, and how many outputs are wrong.
fn check(arguments: &Arguments) -> Result<(Vec<String>, usize)> {
    let options = Options {
        target: Target::parse(&arguments.target)?,
        dims: dims::parse(&arguments.dims)?,
        opt_level: arguments.opt_level,
        ..Options::native(name::from_path(&arguments.model))?
    };
    let mut watch = Unwatched;
    let mut compilation = Compilation::new(&options, &mut watch)?;
    let source = compilation.import(&arguments.model)?;
    let graph = compilation.translated(&source).map_err(Halt::into_failure)?;
    let model = compilation.load_graph(graph.clone(), &source.file)?;
    let signature = model.signature().clone();
    let mut runner = Runner::new(model, load::threads(arguments.threads));
    // What the model was compiled for is no free dimension any more, or the bounds of one.
    let given = Given::run(&mut runner, &arguments.model, arguments.inputs.as_deref(), &BTreeMap::new())?;
    let found = reference::outputs(&runner)?;

    let tensors = given.arrays.iter().map(|array| reference::tensor(&array.view()));
    let tensors: Vec<Tensor> = tensors.collect::<Result<_>>()?;
    let interpreted = reference::interpret(&graph, &tensors, &source.file).map_err(|e| e.to_string());
    let runtime = reference::onnx_runtime(&arguments.model, &signature, &given.arrays)?;
    let references =
        [Reference { name: "interpreter", outputs: interpreted }, Reference { name: "ONNX Runtime", outputs: runtime }];
    let mut lines: Vec<String> = references.iter().filter_map(Reference::note).collect();
    if lines.len() == references.len() {
        return Err(Failure::user(format!("there is nothing to compare with: {}", lines.join("; "))));
    }
    let inputs = given.shapes(&runner).into_iter().take(given.arrays.len());
    let inputs: Vec<String> = inputs.map(|(name, shape)| format!("{name} {shape}")).collect();
    lines.push(format!("inputs: {}{}", inputs.join(", "), given.note()));
    let verdicts = verdicts(arguments, &signature, &found, &references);
    let wrong = verdicts.iter().filter(|(_, right)| !right).count();
    lines.extend(verdicts.into_iter().map(|(line, _)| line));
    lines.push(match wrong {
        0 => format!("0 of {} wrong", found.len()),
        wrong => format!("{wrong} of {} wrong; `nnc blame` looks for what makes them so", found.len()),
    });
    Ok((lines, wrong))
}

impl Reference {
    /// Why it is missing, if it is.
    fn note(&self) -> Option<String> {
        self.outputs.as_ref().err().map(|why| format!("not compared with {}: {why}", self.name))
    }
}

/// A line on each output, and whether it is right by all references.
fn verdicts(
    arguments: &Arguments,
    signature: &Signature,
    found: &[Tensor],
    references: &[Reference],
) -> Vec<(String, bool)> {
    let outputs = signature.outputs.iter().zip(found).enumerate();
    let verdict = |(i, (info, found)): (usize, (&nnc_runtime::TensorInfo, &Tensor))| {
        let half = matches!(info.dtype, DType::F16 | DType::BF16);
        let tolerance = arguments.tolerance.unwrap_or(if half { TOLERANCE_OF_HALF } else { TOLERANCE });
        let mut right = true;
        let mut says = vec![];
        for reference in references {
            let Ok(outputs) = &reference.outputs else { continue };
            let name = reference.name;
            let judged = outputs.get(i).map(|expected| compare::deviation(found, expected, tolerance));
            match judged {
                Some(Ok(deviation)) => {
                    right &= deviation.wrong == 0;
                    says.push(format!("{name} {:.1e}", deviation.largest));
                    says.extend(deviation.first.map(|(at, is, should)| {
                        let (wrong, all) = (deviation.wrong, found.len());
                        format!("{wrong} of {all} differ, the first at {at}: {is}, expected {should}")
                    }));
                }
                Some(Err(other)) => {
                    right = false;
                    says.push(format!("{name}: {other}"));
                }
                None => {
                    right = false;
                    says.push(format!("{name} has no such output"));
                }
            }
        }
        let word = if right { "ok" } else { "WRONG" };
        (format!("{}: {} {:?}: {word}: {}", info.name, info.dtype, found.shape, says.join(", ")), right)
    };
    outputs.map(verdict).collect()
}

//! `nnc compile`: a model file to an artifact and its header, or to the text form of a stage.

use std::fmt::Display;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use indicatif::ProgressBar;
use nnc_cpu::WeightsPlace;
use nnc_desc::Target;
use nnc_ir::Graph;
use nnc_passes::choose::{self, Taken};
use nnc_passes::lower::Lowered;
use nnc_passes::pipeline;
use nnc_passes::rules::saturate::Report;

use crate::driver::{self, Compilation, Halt, OptLevel, Options, Watch};
use crate::errors::{Failure, OneLine, Result};
use crate::summary::{self, Summary};
use crate::{dims, explain, name, progress, states, tune};

mod files;

use files::{check_apart, check_outputs, emit, weights_place, write};

/// Arguments of `nnc compile`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// ONNX file
    model: PathBuf,
    /// Artifact: .so, .o or .a; its header goes beside it as .h
    #[arg(short, long, value_name = "FILE", required_unless_present_any = ["emit", "stop_after"])]
    output: Option<PathBuf>,
    /// x86_64, x86_64-avx2, x86_64-avx512, aarch64 or native, then +feature and -feature
    #[arg(long, default_value = "native")]
    target: String,
    /// Fix a symbolic dimension, or bound it: batch=8, batch=1..64
    #[arg(long = "dim", value_name = "NAME=SIZE")]
    dims: Vec<String>,
    /// Keep an output as an input of the next run, in memory of the caller's: past=present, or past_*=present_* for all
    #[arg(long = "state", value_name = "INPUT=OUTPUT")]
    states: Vec<String>,
    /// How far results may be from the model's arithmetic taken literally
    #[arg(long, value_enum, default_value_t)]
    numerics: Numerics,
    /// Most rewrites and graph passes to apply: bisecting over N finds the one that breaks a model
    #[arg(long, value_name = "N", hide = true)]
    opt_fuel: Option<usize>,
    /// How much is done for speed
    #[arg(short = 'O', long, value_enum, default_value_t)]
    opt_level: OptLevel,
    /// Leave out a rewrite rule, a family of rules or a pass, as `nnc blame` names them; may be repeated
    #[arg(long, value_name = "NAME")]
    disable_rule: Vec<String>,
    /// Do products as this file says, not as costs least; `--dump-ir after:choose` prints what is done
    #[arg(long, value_name = "FILE")]
    choices: Option<PathBuf>,
    /// Measure the ways to do products here and do them as is fastest; the target must run on this machine
    #[arg(long, conflicts_with = "choices")]
    tune: bool,
    /// Memory that compiling may take; by default 2048 and four times the model
    #[arg(long, value_name = "MIB")]
    max_memory: Option<u32>,
    /// Write the weights to a file beside the artifact, .weights, however small; large ones always go there
    #[arg(long, conflicts_with = "emit")]
    weights_file: bool,
    /// Name in C; by default the artifact's
    #[arg(long, value_name = "IDENT")]
    name: Option<String>,
    /// Print what a pass yields
    #[arg(long, value_name = "after:PASS")]
    dump_ir: Vec<String>,
    /// Stop after a pass, without an artifact
    #[arg(long, value_name = "PASS")]
    stop_after: Option<String>,
    /// Print what each node became: kernels, why they are not larger, ways to do contractions with their costs
    #[arg(long, value_enum, value_name = "FORMAT", num_args = 0..=1, require_equals = true, default_missing_value = "text")]
    explain: Option<explain::Format>,
    /// Write the text of a stage, or the object, instead of the artifact
    #[arg(long, value_enum)]
    emit: Option<Emit>,
    /// Print on standard error how long each stage took, and what is slower than it might be and why
    #[arg(short, long)]
    verbose: bool,
}

/// The values of `--numerics`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Numerics {
    /// Sums are reassociated and constants merged, within bounds
    #[default]
    Default,
    /// No rewrite that changes a value
    Strict,
}

/// What `--emit` writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Emit {
    /// The graph after all passes
    Graph,
    /// The kernels
    Kernels,
    /// The host plan: buffers and steps
    Plan,
    /// Cranelift's intermediate form
    Clif,
    /// Assembly
    Asm,
    /// The object file
    Obj,
}

/// Runs the command.
///
/// # Errors
/// When the arguments are wrong, the model cannot be compiled, or the output cannot be written.
pub fn run(arguments: &Arguments) -> Result<()> {
    let begin = Instant::now();
    let options = options(arguments)?;
    let mut watch = Terminal {
        spinner: progress::spinner("compiling"),
        dumps: dumps(&arguments.dump_ir)?,
        explain: arguments.explain.is_some() || arguments.verbose,
        nodes: vec![],
        touched: explain::Touched::new(),
        explanation: None,
    };
    let weights = weights_place(arguments, &options);
    check_outputs(arguments, &weights)?;
    let done = compile(arguments, &options, weights, &mut watch);
    watch.spinner.finish_and_clear();
    let summary = match done {
        Ok(summary) => summary,
        Err(Halt::Stopped) => None,
        Err(Halt::Failed(failure)) => return Err(failure),
    };
    match (watch.explanation, arguments.explain, summary) {
        (Some(explanation), Some(explain::Format::Text), _) => progress::print(None, &explanation.text()),
        (Some(explanation), Some(explain::Format::Json), _) => {
            progress::print(None, &serde_json::to_string(&explanation).unwrap_or_default())
        }
        // Where standard output has a text that was asked for, it has nothing else.
        (_, None, Some(summary)) if arguments.dump_ir.is_empty() && arguments.emit.is_none() => {
            let file = arguments.output.as_deref().unwrap_or(Path::new("")).display();
            progress::line(OneLine(&format!("{file}: {}", summary.line(begin.elapsed()))))
        }
        _ => Ok(()),
    }
}

fn options(arguments: &Arguments) -> Result<Options> {
    let name = match (&arguments.name, &arguments.output) {
        (Some(name), _) => {
            name::check(name)?;
            name.clone()
        }
        (None, Some(path)) => name::from_path(path),
        (None, None) => name::from_path(&arguments.model),
    };
    Ok(Options {
        target: Target::parse(&arguments.target)?,
        dims: dims::parse(&arguments.dims)?,
        numerics: match arguments.numerics {
            Numerics::Default => pipeline::Numerics::Default,
            Numerics::Strict => pipeline::Numerics::Strict,
        },
        name,
        stop_after: arguments.stop_after.clone(),
        opt_level: arguments.opt_level,
        disabled: arguments.disable_rule.clone(),
        taken: arguments.choices.as_deref().map_or_else(|| Ok(vec![]), choices)?,
        fuel: arguments.opt_fuel,
        states: states::parse(&arguments.states)?,
        memory: arguments.max_memory.map(|mib| u64::from(mib) << 20),
    })
}

/// The choices that a file names.
fn choices(path: &Path) -> Result<Vec<Taken>> {
    let named = |problem: &dyn Display| Failure::user(format!("{}: {problem}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|e| named(&e))?;
    choose::parse(&text).map_err(|e| named(&e))
}

/// The passes that `--dump-ir` names.
fn dumps(texts: &[String]) -> Result<Vec<String>> {
    let pass = |text: &String| {
        let pass = text.strip_prefix("after:").ok_or_else(|| {
            Failure::user(format!("--dump-ir {text}: not after:PASS; write after:lower, for example"))
        })?;
        driver::check_stage("--dump-ir after:", pass)?;
        Ok(pass.to_owned())
    };
    texts.iter().map(pass).collect()
}

/// Compiles, and writes what is asked for; of an artifact, its figures.
fn compile(
    arguments: &Arguments,
    options: &Options,
    weights: WeightsPlace,
    watch: &mut Terminal,
) -> Result<Option<Summary>, Halt> {
    let mut compilation = Compilation::new(options, watch)?;
    let model = compilation.import(&arguments.model)?;
    check_apart(arguments, &model.external, None)?;
    let graph = compilation.graph(&model)?;
    if arguments.emit == Some(Emit::Graph) {
        emit(arguments, nnc_ir::print::graph(&graph).as_bytes())?;
        return Ok(None);
    }
    let tuned = if arguments.tune { Some(tune::tune(&graph, options, &model.file)?) } else { None };
    if let Some(tuned) = &tuned {
        compilation.taken.clone_from(&tuned.taken);
    }
    let program = compilation.program(graph, &model.file)?;
    let refused = |e| Failure::from(e).in_file(&model.file);
    let text = match arguments.emit {
        Some(Emit::Kernels) => {
            let kernels: Vec<String> = program.kernels.iter().map(nnc_kernels::print::kernel).collect();
            kernels.join("\n")
        }
        Some(Emit::Plan) => nnc_kernels::print::program(&program),
        Some(Emit::Clif) => nnc_cpu::emit_clif(&program, &options.target).map_err(refused)?,
        Some(Emit::Asm) => nnc_cpu::emit_asm(&program, &options.target).map_err(refused)?,
        Some(Emit::Graph | Emit::Obj) | None => {
            let mut artifact = compilation.artifact(&program, &model, weights)?;
            check_apart(arguments, &model.external, artifact.weights_file())?;
            let mut timings = std::mem::take(&mut compilation.timings);
            let summary = Summary::new(&program, &artifact);
            // What the artifact no longer needs is not to add to the memory that linking takes.
            drop((program, model));
            if let Some(explanation) = &mut watch.explanation {
                explanation.add_widths(&artifact.kernels);
            }
            let start = Instant::now();
            write(arguments, &mut artifact)?;
            timings.push(("write".to_owned(), start.elapsed()));
            let mut lines = vec![];
            if arguments.verbose {
                lines.extend(summary::stages(&timings));
            }
            lines.extend(tuned.map(|tuned| format!("note: {tuned}")));
            match &watch.explanation {
                Some(explanation) if arguments.verbose => lines.extend(explanation.slow_paths(&artifact.kernels)),
                _ => lines.extend(nnc_cpu::notes(&artifact.kernels).into_iter().map(|note| format!("note: {note}"))),
            }
            watch.tell(&lines);
            return Ok(Some(summary));
        }
    };
    emit(arguments, text.as_bytes())?;
    Ok(None)
}

/// Shows stages on a spinner, and prints those that `--dump-ir` names.
struct Terminal {
    spinner: ProgressBar,
    dumps: Vec<String>,
    explain: bool,
    /// The nodes of the model, where they are to be explained.
    nodes: Vec<String>,
    /// The rules that found something at each.
    touched: explain::Touched,
    /// What became of them, for the end.
    explanation: Option<explain::Explanation>,
}

impl Terminal {
    /// Prints lines on standard error, above the spinner.
    fn tell(&self, lines: &[String]) {
        // There is nobody left to tell when standard error is closed.
        let write = || lines.iter().try_for_each(|line| writeln!(std::io::stderr(), "{}", OneLine(line)));
        let _ = self.spinner.suspend(write);
    }

    fn dump(&self, stage: &str, text: impl FnOnce() -> String) -> Result<()> {
        if self.dumps.iter().any(|d| d == stage) {
            progress::print(Some(&self.spinner), &format!("; after {stage}\n{}", text()))?;
        }
        Ok(())
    }
}

impl Watch for Terminal {
    fn begin(&mut self, stage: &str) {
        self.spinner.set_message(stage.to_owned());
    }

    fn graph(&mut self, stage: &str, graph: &Graph) -> Result<()> {
        if stage == "translate" && self.explain {
            self.nodes = graph.nodes.iter().map(|node| node.origin.clone()).collect();
        }
        self.dump(stage, || nnc_ir::print::graph(graph))
    }

    fn rewritten(&mut self, report: &Report) {
        for (node, rules) in &report.nodes {
            self.touched.entry(node.clone()).or_default().extend(rules);
        }
    }

    fn planned(&mut self, stage: &str, text: &dyn Fn() -> String) -> Result<()> {
        self.dump(stage, text)
    }

    fn program(&mut self, stage: &str, graph: &Graph, lowered: &Lowered) -> Result<()> {
        self.dump(stage, || nnc_kernels::print::program(&lowered.program))?;
        if self.explain {
            self.explanation = Some(explain::explain(graph, lowered, &self.nodes, &self.touched));
        }
        Ok(())
    }
}

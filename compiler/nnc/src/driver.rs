//! The pipeline: a model file becomes a graph, a program of kernels, and machine code.
//!
//! ```text
//! import ─▶ translate ─▶ (the passes of nnc-passes) ─▶ codegen ─▶ file, or memory of this process
//! ```
//!
//! What each stage yields is verified before the next one sees it, shown to a [`Watch`], and timed. A failed check is a
//! defect of nnc and is reported as such, never as wrong code.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

pub use nnc_cpu::WeightsPlace;
use nnc_cpu::{Artifact, Jit};
use nnc_desc::Target;
use nnc_ir::Graph;
use nnc_kernels::Program;
use nnc_ops::DimRange;
use nnc_passes::choose::{self, Taken};
use nnc_passes::lower::Lowered;
use nnc_passes::pipeline::{self, Event, Numerics, PASSES, PassError, PipelineOptions, Yield};
use nnc_passes::rules::saturate::Report;
use nnc_passes::{layout, regions};

use crate::errors::{Failure, Result};
use crate::memory::{self, Budget};
use crate::states;

/// How much is done for speed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum OptLevel {
    /// Nothing: every operation of the model by itself, in a kernel of its own
    #[value(name = "0")]
    None,
    /// All there is
    #[default]
    #[value(name = "2")]
    Full,
}

/// What the user decides about a compilation.
#[derive(Clone, Debug)]
pub struct Options {
    /// The processor.
    pub target: Target,
    /// Sizes or ranges of symbolic dimensions.
    pub dims: BTreeMap<String, DimRange>,
    /// Freedom of rewrites.
    pub numerics: Numerics,
    /// The model's name, a C identifier.
    pub name: String,
    /// The stage after which to stop.
    pub stop_after: Option<String>,
    /// How much is done for speed.
    pub opt_level: OptLevel,
    /// Rules, families of rules and passes to leave out.
    pub disabled: Vec<String>,
    /// Ways to do products that are taken instead of the cheapest.
    pub taken: Vec<Taken>,
    /// The most rewrites and graph passes to apply, for finding the one that breaks a model.
    pub fuel: Option<usize>,
    /// Outputs that are kept as inputs of the next run, by name; see [`states::resolve`].
    pub states: Vec<states::Tie>,
    /// Bytes of memory that compiling may take; by default what [`memory::allowance`] says.
    pub memory: Option<u64>,
}

impl Options {
    /// The defaults, for the processor of this machine.
    ///
    /// # Errors
    /// When nnc does not know this processor.
    pub fn native(name: impl Into<String>) -> Result<Options> {
        Ok(Options {
            target: Target::parse("native")?,
            dims: BTreeMap::new(),
            numerics: Numerics::Default,
            name: name.into(),
            stop_after: None,
            opt_level: OptLevel::Full,
            disabled: vec![],
            taken: vec![],
            fuel: None,
            states: vec![],
            memory: None,
        })
    }

    /// Rules, families of rules and passes that are left out: those named, and those that the optimisation level excludes.
    pub fn left_out(&self) -> Vec<String> {
        let excluded = if self.opt_level == OptLevel::None { pipeline::for_speed() } else { vec![] };
        self.disabled.iter().cloned().chain(excluded.into_iter().map(str::to_owned)).collect()
    }
}

/// Looks on at a compilation.
pub trait Watch {
    /// A stage begins.
    fn begin(&mut self, _stage: &str) {}

    /// A stage has yielded a graph.
    ///
    /// # Errors
    /// What goes wrong in showing it.
    fn graph(&mut self, _stage: &str, _graph: &Graph) -> Result<()> {
        Ok(())
    }

    /// A pass has applied rules.
    fn rewritten(&mut self, _report: &Report) {}

    /// A stage has yielded what has a text: regions, a layout, choices.
    ///
    /// # Errors
    /// What goes wrong in showing it.
    fn planned(&mut self, _stage: &str, _text: &dyn Fn() -> String) -> Result<()> {
        Ok(())
    }

    /// A stage has yielded a program of the graph.
    ///
    /// # Errors
    /// What goes wrong in showing it.
    fn program(&mut self, _stage: &str, _graph: &Graph, _lowered: &Lowered) -> Result<()> {
        Ok(())
    }
}

/// A [`Watch`] that looks away.
pub struct Unwatched;

impl Watch for Unwatched {}

/// Why a compilation ended early.
#[derive(Debug)]
pub enum Halt {
    /// It failed.
    Failed(Failure),
    /// The stage of [`Options::stop_after`] is done.
    Stopped,
}

impl From<Failure> for Halt {
    fn from(failure: Failure) -> Halt {
        Halt::Failed(failure)
    }
}

/// What would be refused of a model.
#[derive(Debug)]
pub struct Refusals {
    /// The node, what is wrong and what to do.
    pub refused: Vec<String>,
    /// Nodes of which nothing can be told, for they read what others would yield that are missing or refused.
    pub unknown: Vec<String>,
    /// Of a model that is not refused, what a run asks its caller for: a line for each size without a bound.
    pub allocated: Vec<String>,
}

impl Halt {
    /// The failure, for a compilation that was not asked to stop.
    pub fn into_failure(self) -> Failure {
        match self {
            Halt::Failed(failure) => failure,
            Halt::Stopped => Failure::user("stopped before there was code"),
        }
    }
}

/// The stages that yield a graph, its regions or a program, in order.
pub fn stages() -> Vec<&'static str> {
    ["translate"].into_iter().chain(pipeline::names()).collect()
}

/// A compilation in progress.
pub struct Compilation<'a> {
    options: &'a Options,
    watch: &'a mut dyn Watch,
    /// Held for as long as there is work.
    budget: Option<Budget>,
    /// Fuel that the graph passes left.
    fuel: Option<usize>,
    /// Ways to do products that are taken instead of the cheapest.
    pub taken: Vec<Taken>,
    /// How long each stage took.
    pub timings: Vec<(String, Duration)>,
}

impl<'a> Compilation<'a> {
    /// A compilation that has not begun.
    ///
    /// # Errors
    /// When the options name a stage that does not exist.
    pub fn new(options: &'a Options, watch: &'a mut dyn Watch) -> Result<Compilation<'a>> {
        if let Some(stage) = &options.stop_after {
            check_stage("--stop-after", stage)?;
        }
        Ok(Compilation {
            fuel: options.fuel,
            taken: options.taken.clone(),
            options,
            watch,
            budget: None,
            timings: vec![],
        })
    }

    /// Runs a stage.
    fn stage<T>(&mut self, name: &str, body: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.watch.begin(name);
        let start = Instant::now();
        let result = body(self);
        self.timings.push((name.to_owned(), start.elapsed()));
        result
    }

    fn after_graph(&mut self, stage: &str, file: &str, graph: &Graph) -> Result<(), Halt> {
        nnc_ir::verify::verify(graph).map_err(|e| Failure::internal(format!("{file}: after {stage}: {e}")))?;
        self.watch.graph(stage, graph)?;
        self.stop(stage)
    }

    fn stop(&self, stage: &str) -> Result<(), Halt> {
        if self.options.stop_after.as_deref() == Some(stage) { Err(Halt::Stopped) } else { Ok(()) }
    }

    /// Reads a model file.
    ///
    /// # Errors
    /// When it cannot be read or breaks ONNX's rules.
    pub fn import(&mut self, path: &Path) -> Result<nnc_onnx::Model> {
        let memory = self.options.memory;
        let allowed = |bytes| memory.unwrap_or_else(|| memory::allowance(bytes));
        let budget = Budget::new(allowed(path.metadata().map_or(0, |m| m.len())));
        let model = self.stage("import", |_| Ok(nnc_onnx::Model::load(path)?))?;
        // The model is larger than its file when there is external data.
        budget.set(allowed(bytes_of(&model)));
        self.budget = Some(budget);
        Ok(model)
    }

    /// The optimised graph of a model.
    ///
    /// # Errors
    /// When the model cannot be translated, or does not fit the options.
    pub fn graph(&mut self, model: &nnc_onnx::Model) -> Result<Graph, Halt> {
        let graph = self.translated(model)?;
        self.optimize(graph, &model.file)
    }

    /// The graph of a model as it was written.
    ///
    /// # Errors
    /// When the model cannot be translated, or does not fit the options.
    pub fn translated(&mut self, model: &nnc_onnx::Model) -> Result<Graph, Halt> {
        let options = nnc_ops::Options { dims: self.options.dims.clone() };
        let mut graph = self.stage("translate", |_| Ok(nnc_ops::translate(model, &options)?))?;
        graph.name.clone_from(&self.options.name);
        self.after_graph("translate", &model.file, &graph)?;
        // Said of the model as it was written.
        states::resolve(&self.options.states, &graph).map_err(|e| e.in_file(&model.file))?;
        Ok(graph)
    }

    /// All that would be refused of a model, a line each: what translation refuses, and if that is nothing and no operator
    /// is `missing`, what the later stages do.
    pub fn refusals(&mut self, model: &nnc_onnx::Model, missing: bool) -> Refusals {
        let options = nnc_ops::Options { dims: self.options.dims.clone() };
        let survey = nnc_ops::survey(model, &options);
        let line = |error: nnc_ops::TranslateError| match error.node {
            Some(node) => format!("{node}: {}", error.message),
            None => error.message,
        };
        let mut refused: Vec<String> = survey.refused.into_iter().map(line).collect();
        let mut allocated = vec![];
        if refused.is_empty() && !missing {
            let compiled = self.graph(model).and_then(|graph| self.program(graph, &model.file));
            let compiled = compiled.map_err(Halt::into_failure).and_then(|program| {
                allocated = crate::allocated::lines(&program);
                let weights = WeightsPlace::BesideIfLarge(format!("{}.weights", self.options.name));
                self.artifact(&program, model, weights)
            });
            refused.extend(compiled.err().map(|failure| failure.to_string()));
        }
        Refusals { refused, unknown: survey.unknown, allocated }
    }

    /// Runs the graph passes.
    ///
    /// # Errors
    /// When a pass breaks the graph.
    pub fn optimize(&mut self, graph: Graph, file: &str) -> Result<Graph, Halt> {
        self.watch.begin("optimize");
        let target = &self.options.target;
        let graph = self.run_passes(file, vec![], |options| pipeline::optimize(graph, target, options))?;
        let stop = self.options.stop_after.as_deref();
        let stops = PASSES.iter().any(|pass| pass.yields_graph() && Some(pass.name) == stop);
        if stops { Err(Halt::Stopped) } else { Ok(graph) }
    }

    /// The program of a graph; `file` is for messages.
    ///
    /// # Errors
    /// When an operation has no lowering.
    pub fn program(&mut self, graph: Graph, file: &str) -> Result<Program, Halt> {
        self.watch.begin("lower");
        let target = &self.options.target;
        let states = states::resolve(&self.options.states, &graph).map_err(|e| e.in_file(file))?;
        let lowered = self.run_passes(file, states, |options| pipeline::program(&graph, target, options))?;
        lowered.map(|lowered| lowered.program).ok_or(Halt::Stopped)
    }

    /// Runs a part of the pipeline, shows and times what its passes yield.
    fn run_passes<T>(
        &mut self,
        file: &str,
        states: Vec<(usize, usize)>,
        run: impl FnOnce(&PipelineOptions<'_>) -> std::result::Result<T, PassError>,
    ) -> Result<T> {
        let known = |stage: &String| pipeline::names().contains(&stage.as_str());
        let (fuel, taken) = (self.fuel, self.taken.clone());
        // The pipeline's observer is shared and answers nothing; what it says here is kept until the end.
        let seen = RefCell::new((&mut *self.watch, &mut self.timings, &mut self.fuel, Ok(())));
        let observer = |event: &Event<'_>| {
            let (watch, timings, left, outcome) = &mut *seen.borrow_mut();
            timings.push((event.pass.to_owned(), event.elapsed));
            **left = event.fuel.left();
            event.report.into_iter().for_each(|report| watch.rewritten(report));
            if outcome.is_ok() {
                *outcome = match event.yields {
                    Yield::Graph(graph) => watch.graph(event.pass, graph),
                    Yield::Regions(regions) => watch.planned(event.pass, &|| regions::print(&regions.list)),
                    Yield::Layout(graph, layout) => watch.planned(event.pass, &|| layout::print(graph, layout)),
                    Yield::Choices(decisions) => watch.planned(event.pass, &|| choose::print(decisions)),
                    Yield::Program(graph, lowered) => watch.program(event.pass, graph, lowered),
                };
            }
        };
        let options = PipelineOptions {
            numerics: self.options.numerics,
            dump_after: None,
            stop_after: self.options.stop_after.clone().filter(known),
            fuel,
            disabled: self.options.left_out(),
            taken,
            states,
            observer: Some(&observer),
        };
        let result = run(&options);
        seen.into_inner().3?;
        result.map_err(|error| match error {
            PassError::UnknownPass(_) | PassError::UnknownRule(_) => Failure::user(error.to_string()),
            PassError::UnknownChoice(_) => {
                Failure::user(format!("--choices: {error}; --dump-ir after:choose prints what is done"))
            }
            PassError::Unsupported(_) => Failure::unsupported(format!("{file}: {error}")),
            PassError::Broken { .. } => Failure::internal(format!("{file}: {error}")),
        })
    }

    /// The machine code of a program, ready to be written.
    ///
    /// # Errors
    /// When code generation refuses it.
    pub fn artifact(&mut self, program: &Program, model: &nnc_onnx::Model, weights: WeightsPlace) -> Result<Artifact> {
        let options = nnc_cpu::Options { source_hash: source_hash(model), weights, ..nnc_cpu::Options::default() };
        self.stage("codegen", |this| {
            nnc_cpu::compile(program, &this.options.target, &options).map_err(|e| Failure::from(e).in_file(&model.file))
        })
    }

    /// Compiles a model into the memory of this process.
    ///
    /// # Errors
    /// When it cannot be compiled.
    pub fn load(&mut self, model: &nnc_onnx::Model) -> Result<nnc_runtime::Model> {
        let graph = self.graph(model).map_err(Halt::into_failure)?;
        self.load_optimized(graph, &model.file)
    }

    /// Compiles a graph in core operations, passes included, into the memory of this process; `file` is for messages.
    ///
    /// # Errors
    /// When it cannot be compiled.
    pub fn load_graph(&mut self, graph: Graph, file: &str) -> Result<nnc_runtime::Model> {
        let graph = self.optimize(graph, file).map_err(Halt::into_failure)?;
        self.load_optimized(graph, file)
    }

    /// Compiles a graph as it is into the memory of this process.
    ///
    /// # Errors
    /// When it cannot be compiled.
    pub fn load_optimized(&mut self, graph: Graph, file: &str) -> Result<nnc_runtime::Model> {
        let program = self.program(graph, file).map_err(Halt::into_failure)?;
        let code = self.stage("codegen", |this| {
            Jit::compile(&program, &this.options.target).map_err(|e| Failure::from(e).in_file(file))
        })?;
        let descriptor: *const _ = code.descriptor();
        // SAFETY: nnc made the descriptor, and the code that owns it goes along.
        let loaded = unsafe { nnc_runtime::Model::from_descriptor_owned(descriptor, Box::new(code)) };
        // That it runs here was checked when it was compiled.
        loaded.map_err(|e| Failure::internal(e).in_file(file))
    }
}

/// Bytes of a model's file and of those that its tensors lie in, as far as they do.
fn bytes_of(model: &nnc_onnx::Model) -> u64 {
    let ranges = model.graph.initializers.iter().map(|constant| constant.tensor.bytes().as_ptr_range());
    let mut ranges: Vec<_> = ranges.chain([model.source.as_ptr_range()]).collect();
    ranges.sort_unstable_by_key(|range| (range.start, range.end));
    let mut end = std::ptr::null();
    let mut sum = 0;
    // Tensors may share bytes.
    for range in ranges {
        let start = range.start.max(end);
        end = range.end.max(end);
        sum += (end as usize).saturating_sub(start as usize) as u64;
    }
    sum
}

/// BLAKE3 of the model's file and of the tensors it keeps in others.
fn source_hash(model: &nnc_onnx::Model) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&model.source);
    let file = model.source.as_ptr_range();
    for constant in &model.graph.initializers {
        let bytes = constant.tensor.bytes();
        if !file.contains(&bytes.as_ptr()) {
            hasher.update(bytes);
        }
    }
    hasher.finalize().into()
}

/// Compiles a model file into the memory of this process.
///
/// # Errors
/// When it cannot be read or compiled.
pub fn load(path: &Path, options: &Options) -> Result<nnc_runtime::Model> {
    let mut watch = Unwatched;
    let mut compilation = Compilation::new(options, &mut watch)?;
    let model = compilation.import(path)?;
    compilation.load(&model)
}

/// Checks that a stage of that name exists; `option` is for the message.
///
/// # Errors
/// When there is none.
pub fn check_stage(option: &str, stage: &str) -> Result<()> {
    let stages = stages();
    if stages.contains(&stage) {
        return Ok(());
    }
    let known = stages.join(", ");
    Err(Failure::user(format!("{option} {stage}: no such pass; there are {known}")))
}

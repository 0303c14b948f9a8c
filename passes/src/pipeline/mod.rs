//! The way from a graph to a planned program: all passes in order, and the driver that runs them.
//!
//! [`PASSES`] is the one list: a row is a name, a stage and a function. Every graph pass is optional for correctness: a
//! graph may leave the pipeline after any of them. What one needs of another is written beside its row.
//!
//! The driver verifies what each pass yields, tells an observer of it, stops where it is told, and spends [`crate::fuel`].

mod names;

use self::names::optional;
pub use self::names::{for_speed, names};
use crate::LowerError;
use crate::allocate::allocate;
use crate::choose::{self, ChoiceError, Decision, Taken};
use crate::dead_code::{remove_dead, sweep};
use crate::fold_constants::{fold_constants, fold_weights};
use crate::fuel::Fuel;
use crate::hand_in_constants::hand_in_constants;
use crate::keep_narrow::keep_narrow;
use crate::layout::{self, Around, Layout};
use crate::lower::{Lowered, Plan};
use crate::merge_contracts::merge_contracts;
use crate::regions::{self, RegionError, Regions};
use crate::rules::family::{self, Family, enabled};
use crate::rules::saturate::Report;
use crate::rules::{EXACT, ROUNDING, Rule, SIGNS, rewrite};
use crate::{lower, memory, memory_check, schedule};
use nnc_desc::Target;
use nnc_ir::Graph;
use nnc_ir::verify::{VerifyError, verify};
use std::time::{Duration, Instant};

/// How far results may differ from the model's arithmetic, done in its order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Numerics {
    /// Sums may be reassociated and constants merged; every such rewrite has a bound.
    #[default]
    Default,
    /// No rewrite that changes a value.
    Strict,
}

/// What a pass is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Before rewriting: less to rewrite.
    Prepare,
    /// Equality saturation.
    Rewrite,
    /// After rewriting: what needs the whole graph, and cleaning up.
    Finish,
    /// From a graph to a program.
    Lower,
    /// How the program is laid onto the machine.
    Schedule,
}

/// What a pass is given beside the graph.
struct Context<'a> {
    /// The name of the pass.
    pass: &'static str,
    target: &'a Target,
    numerics: Numerics,
    fuel: Fuel,
    report: Option<Report>,
    /// Whether the graph stands inside another.
    inside: bool,
    /// Rules and families that are left out.
    disabled: &'a [String],
    /// Rules that tests add.
    planted: &'a [Rule],
}

/// A row of [`PASSES`].
pub struct Pass {
    /// A verb.
    pub name: &'static str,
    /// Where it belongs.
    pub stage: Stage,
    run: Run,
}

impl Pass {
    /// Whether it rewrites graphs.
    pub const fn yields_graph(&self) -> bool {
        matches!(self.run, Run::Graph(_))
    }

    /// Whether a program comes out right without it; without `fuse`, every operation is a region of its own.
    const fn is_optional(&self) -> bool {
        matches!(self.run, Run::Graph(_) | Run::Fuse | Run::OptionalProgram(_))
    }
}

/// What a pass does.
#[derive(Clone, Copy)]
enum Run {
    /// Rewrites a graph.
    Graph(fn(Graph, &mut Context) -> Graph),
    /// Divides the graph into regions.
    Fuse,
    /// Says where values lie.
    LayOut,
    /// Says how regions are computed.
    Choose,
    /// Makes a program of them.
    Lower,
    /// Changes the program.
    Program(fn(&mut Lowered, &Target)),
    /// Changes the program, or finds that it cannot be done.
    TryProgram(fn(&mut Lowered) -> Result<(), crate::LowerError>),
    /// Changes the program, which is right without it.
    OptionalProgram(fn(&mut Lowered, &Target)),
}

/// The passes in order.
pub const PASSES: &[Pass] = &[
    Pass {
        name: "remove_dead",
        stage: Stage::Prepare,
        run: Run::Graph(|graph, context| spend(graph, context, remove_dead)),
    },
    // Before the e-graph, which then has fewer terms and knows the values of scalars.
    Pass {
        name: "fold_constants",
        stage: Stage::Prepare,
        run: Run::Graph(|graph, context| spend(graph, context, fold_constants)),
    },
    Pass { name: "simplify", stage: Stage::Rewrite, run: Run::Graph(simplify) },
    // After `simplify`: scales stand next to their products only when the transposes between them are gone
    // (tests: `batch_norm_meets_conv`).
    Pass { name: "fold_scales", stage: Stage::Rewrite, run: Run::Graph(fold_scales) },
    // After the rewrites, and before weights are folded into more bits.
    Pass {
        name: "keep_narrow",
        stage: Stage::Finish,
        run: Run::Graph(|graph, context| spend(graph, context, keep_narrow)),
    },
    // After the rewrites, which leave arithmetic on weights as operations.
    Pass {
        name: "fold_weights",
        stage: Stage::Finish,
        run: Run::Graph(|graph, context| spend(graph, context, fold_weights)),
    },
    // After `fold_weights`: only constant weights are joined.
    Pass {
        name: "merge_contracts",
        stage: Stage::Finish,
        run: Run::Graph(|graph, context| spend(graph, context, merge_contracts)),
    },
    Pass { name: "sweep", stage: Stage::Finish, run: Run::Graph(|graph, context| spend(graph, context, sweep)) },
    // After everything that makes constants. It is no rewrite and costs no fuel: weights in branches must be constants.
    Pass { name: "hand_in_constants", stage: Stage::Finish, run: Run::Graph(|graph, _| hand_in_constants(graph)) },
    Pass { name: "fuse", stage: Stage::Lower, run: Run::Fuse },
    Pass { name: "lay_out", stage: Stage::Lower, run: Run::LayOut },
    // After `lay_out`: how a product is best done depends on how its operands lie.
    Pass { name: "choose", stage: Stage::Lower, run: Run::Choose },
    Pass { name: "lower", stage: Stage::Lower, run: Run::Lower },
    Pass { name: "collapse", stage: Stage::Schedule, run: Run::OptionalProgram(schedule::collapse) },
    // After `collapse`: one loop over all elements is shared better than the outermost of several.
    Pass { name: "parallelise", stage: Stage::Schedule, run: Run::OptionalProgram(schedule::parallelise) },
    // After both: what they leave in lanes is all that there is to split.
    Pass { name: "split", stage: Stage::Schedule, run: Run::OptionalProgram(schedule::split) },
    // After those, which would otherwise meet every loop twice.
    Pass { name: "unswitch", stage: Stage::Schedule, run: Run::Program(schedule::unswitch) },
    Pass { name: "count_work", stage: Stage::Schedule, run: Run::Program(schedule::count_work) },
    // After `count_work`, by which both decide.
    Pass { name: "chain", stage: Stage::Schedule, run: Run::OptionalProgram(schedule::chain) },
    Pass { name: "join", stage: Stage::Schedule, run: Run::OptionalProgram(schedule::join) },
    Pass { name: "share", stage: Stage::Schedule, run: Run::Program(schedule::share) },
    // `share` comes after everything that changes kernels, `allocate` after what moves steps.
    Pass { name: "allocate", stage: Stage::Schedule, run: Run::TryProgram(|lowered| allocate(&mut lowered.program)) },
    Pass {
        name: "plan_memory",
        stage: Stage::Schedule,
        run: Run::Program(|lowered, _| memory::plan(&mut lowered.program)),
    },
];

/// What a pass has yielded.
#[derive(Clone, Copy)]
pub enum Yield<'a> {
    /// A graph.
    Graph(&'a Graph),
    /// The regions of the last graph.
    Regions(&'a Regions),
    /// Where the values of a graph lie.
    Layout(&'a Graph, &'a Layout),
    /// What is chosen for each region.
    Choices(&'a [Decision]),
    /// The program of the graph.
    Program(&'a Graph, &'a Lowered),
}

/// Told of every pass that ran.
pub struct Event<'a> {
    /// The pass.
    pub pass: &'static str,
    /// What it has yielded.
    pub yields: Yield<'a>,
    /// Time it took.
    pub elapsed: Duration,
    /// What saturation did, where the pass is a rewrite.
    pub report: Option<&'a Report>,
    /// Whether a dump was asked for here.
    pub dump: bool,
    /// What has been spent so far.
    pub fuel: &'a Fuel,
}

/// What to run.
#[derive(Clone, Default)]
pub struct PipelineOptions<'a> {
    /// Which rewrites are allowed.
    pub numerics: Numerics,
    /// The pass after which [`Event::dump`] is set.
    pub dump_after: Option<String>,
    /// The last pass to run.
    pub stop_after: Option<String>,
    /// Rewrites and passes that may be applied; no limit when `None`.
    pub fuel: Option<usize>,
    /// Rules, families of rules and passes to leave out.
    pub disabled: Vec<String>,
    /// Ways to do products that are taken instead of the cheapest.
    pub taken: Vec<Taken>,
    /// Inputs and the outputs that are kept as them, by position.
    pub states: Vec<(usize, usize)>,
    /// Told of every pass that ran.
    pub observer: Option<&'a dyn Fn(&Event<'_>)>,
    /// Wrong rules, to see that they are found.
    #[cfg(test)]
    pub(crate) planted: &'a [Rule],
}

impl PipelineOptions<'_> {
    fn is_disabled(&self, pass: &str) -> bool {
        self.disabled.iter().any(|name| name == pass)
    }

    #[cfg(test)]
    fn planted(&self) -> &[Rule] {
        self.planted
    }

    #[cfg(not(test))]
    fn planted(&self) -> &[Rule] {
        &[]
    }
}

/// Why the pipeline failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PassError {
    /// An option names no pass.
    #[error("there is no pass {0:?}: there are {known}", known = names().join(", "))]
    UnknownPass(String),
    /// An option names nothing that can be left out.
    #[error("there is no rule, family of rules or pass to leave out named {0:?}: there are the passes {passes}, and the \
             families{rules}", passes = optional().join(", "), rules = family::listing())]
    UnknownRule(String),
    /// A choice is for a product that there is not.
    #[error(transparent)]
    UnknownChoice(#[from] ChoiceError),
    /// The graph has an operation that cannot be lowered.
    #[error(transparent)]
    Unsupported(#[from] LowerError),
    /// A pass yields what its verifier rejects: a mistake of the compiler.
    #[error("after {pass}: {error}")]
    Broken {
        /// The pass.
        pass: &'static str,
        /// The rule it broke.
        error: Defect,
    },
}

/// A rule that a pass broke.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Defect {
    /// Of graphs.
    #[error(transparent)]
    Graph(#[from] VerifyError),
    /// Of regions.
    #[error(transparent)]
    Regions(#[from] RegionError),
    /// Of layouts.
    #[error(transparent)]
    Layout(#[from] layout::LayoutError),
    /// Of programs.
    #[error(transparent)]
    Program(#[from] nnc_kernels::verify::VerifyError),
    /// Of places in the workspace.
    #[error(transparent)]
    Memory(#[from] memory_check::MemoryError),
}

/// Runs the graph passes over a graph, subgraphs included.
///
/// # Errors
/// When an option names no pass, or a pass leaves a graph that does not verify.
pub fn optimize(graph: Graph, target: &Target, options: &PipelineOptions) -> Result<Graph, PassError> {
    let mut driver = Driver::new(target, options)?;
    let mut graph = graph;
    for pass in PASSES {
        let Run::Graph(run) = pass.run else { break };
        let start = Instant::now();
        driver.context.pass = pass.name;
        if !options.is_disabled(pass.name) {
            graph = nested(graph, &mut driver.context, run);
        }
        let elapsed = start.elapsed();
        verify(&graph).map_err(|e| driver.broken(e))?;
        driver.tell(Yield::Graph(&graph), elapsed);
        if driver.stops() {
            break;
        }
    }
    Ok(graph)
}

/// Makes the planned program of a graph. `None` when it was to stop before.
///
/// # Errors
/// When an option names no pass, an operation has no lowering, or a pass yields what its verifier rejects.
pub fn program(graph: &Graph, target: &Target, options: &PipelineOptions) -> Result<Option<Lowered>, PassError> {
    let mut driver = Driver::new(target, options)?;
    let Some(mut lowered) = driver.plan_and_lower(graph)? else { return Ok(None) };
    for pass in PASSES.iter().filter(|pass| pass.stage == Stage::Schedule) {
        let start = Instant::now();
        driver.context.pass = pass.name;
        match pass.run {
            Run::OptionalProgram(_) if driver.context.fuel.is_empty() || options.is_disabled(pass.name) => {}
            Run::OptionalProgram(run) => {
                driver.context.fuel.spend(pass.name);
                run(&mut lowered, target);
            }
            Run::Program(run) => run(&mut lowered, target),
            Run::TryProgram(run) => run(&mut lowered)?,
            Run::Graph(_) | Run::Fuse | Run::LayOut | Run::Choose | Run::Lower => continue,
        }
        let last = PASSES.last().is_some_and(|row| row.name == pass.name);
        driver.check(&lowered, last)?;
        driver.tell(Yield::Program(graph, &lowered), start.elapsed());
        if driver.stops() {
            return Ok(None);
        }
    }
    Ok(Some(lowered))
}

/// What runs a part of the list.
struct Driver<'a> {
    options: &'a PipelineOptions<'a>,
    context: Context<'a>,
}

impl<'a> Driver<'a> {
    fn new(target: &'a Target, options: &'a PipelineOptions<'a>) -> Result<Driver<'a>, PassError> {
        for name in options.dump_after.iter().chain(&options.stop_after) {
            if !PASSES.iter().any(|pass| pass.name == name) {
                return Err(PassError::UnknownPass(name.clone()));
            }
        }
        let is_known = |name: &String| family::is_known(name) || optional().contains(&name.as_str());
        if let Some(name) = options.disabled.iter().find(|name| !is_known(name)) {
            return Err(PassError::UnknownRule(name.clone()));
        }
        let context = Context {
            pass: "",
            target,
            numerics: options.numerics,
            fuel: Fuel::new(options.fuel),
            report: None,
            inside: false,
            disabled: &options.disabled,
            planted: options.planted(),
        };
        Ok(Driver { options, context })
    }

    /// Runs the rows of [`Stage::Lower`], each of which takes what the ones before it yield. `None` when it was to stop.
    fn plan_and_lower(&mut self, graph: &Graph) -> Result<Option<Lowered>, PassError> {
        let (mut regions, mut layout, mut decisions) = (None, None, vec![]);
        let mut buffers = vec![];
        for pass in PASSES.iter().filter(|pass| pass.stage == Stage::Lower) {
            let start = Instant::now();
            self.context.pass = pass.name;
            let target = self.context.target;
            match (pass.run, &regions, &layout) {
                (Run::Fuse, ..) => {
                    let disabled = self.options.is_disabled(pass.name);
                    let found = if disabled { regions::apart(graph) } else { regions::fuse(graph) };
                    found.verify(graph).map_err(|e| self.broken(e))?;
                    self.tell(Yield::Regions(&found), start.elapsed());
                    regions = Some(found);
                }
                (Run::LayOut, Some(regions), _) => {
                    let around = Around::Model { states: &self.options.states };
                    let found = layout::lay_out(graph, regions, &around, &mut buffers)?;
                    found.verify(graph, regions, &buffers).map_err(|e| self.broken(e))?;
                    self.tell(Yield::Layout(graph, &found), start.elapsed());
                    layout = Some(found);
                }
                (Run::Choose, Some(regions), Some(layout)) => {
                    decisions = choose::choose(graph, regions, layout, target)?;
                    choose::take(&mut decisions, &self.options.taken)?;
                    self.tell(Yield::Choices(&decisions), start.elapsed());
                }
                (Run::Lower, Some(regions), Some(layout)) => {
                    let plan = Plan { graph, target, regions, layout, decisions: &decisions };
                    let lowered = lower::lower(plan, std::mem::take(&mut buffers))?;
                    self.check(&lowered, false)?;
                    self.tell(Yield::Program(graph, &lowered), start.elapsed());
                    return Ok((!self.stops()).then_some(lowered));
                }
                _ => {}
            }
            if self.stops() {
                break;
            }
        }
        Ok(None)
    }

    fn broken(&self, error: impl Into<Defect>) -> PassError {
        PassError::Broken { pass: self.context.pass, error: error.into() }
    }

    /// Checks a program: at the end, and in debug builds after each pass.
    fn check(&self, lowered: &Lowered, last: bool) -> Result<(), PassError> {
        let program = &lowered.program;
        if last {
            memory_check::check(program).map_err(|e| self.broken(e))?;
            nnc_kernels::verify::program(program).map_err(|e| self.broken(e))?;
        } else if cfg!(debug_assertions) {
            // Buffers have no places yet.
            program.kernels.iter().try_for_each(nnc_kernels::verify::kernel).map_err(|e| self.broken(e))?;
        }
        Ok(())
    }

    fn tell(&mut self, yields: Yield<'_>, elapsed: Duration) {
        let (pass, report) = (self.context.pass, self.context.report.take());
        if let Some(observer) = self.options.observer {
            let dump = self.options.dump_after.as_deref() == Some(pass);
            observer(&Event { pass, yields, elapsed, report: report.as_ref(), dump, fuel: &self.context.fuel });
        }
    }

    fn stops(&self) -> bool {
        self.options.stop_after.as_deref() == Some(self.context.pass)
    }
}

/// Runs a pass over the subgraphs and then the graph.
fn nested(mut graph: Graph, context: &mut Context, run: fn(Graph, &mut Context) -> Graph) -> Graph {
    let inside = std::mem::replace(&mut context.inside, true);
    for node in &mut graph.nodes {
        for inner in node.op.subgraphs_mut() {
            *inner = nested(std::mem::take(inner), context, run);
        }
    }
    context.inside = inside;
    run(graph, context)
}

/// Runs a pass that costs one unit of fuel.
fn spend(graph: Graph, context: &mut Context, run: fn(Graph) -> Graph) -> Graph {
    if context.fuel.is_empty() {
        return graph;
    }
    context.fuel.spend(context.pass);
    run(graph)
}

fn rewrite_with(graph: Graph, context: &mut Context, families: &[&[Family]]) -> Graph {
    if context.fuel.is_empty() {
        return graph;
    }
    let mut rules: Vec<&Rule> = enabled(families.iter().copied().flatten(), context.disabled);
    rules.extend(context.planted);
    let (graph, report) = rewrite(graph, context.inside, &rules, context.target, &mut context.fuel);
    context.report.get_or_insert_default().add(report);
    graph
}

fn simplify(graph: Graph, context: &mut Context) -> Graph {
    let signs: &[Family] = if context.numerics == Numerics::Strict { &[] } else { &[SIGNS] };
    rewrite_with(graph, context, &[EXACT, signs])
}

fn fold_scales(graph: Graph, context: &mut Context) -> Graph {
    if context.numerics == Numerics::Strict {
        return graph;
    }
    rewrite_with(graph, context, &[EXACT, &[SIGNS], ROUNDING])
}

#[cfg(test)]
mod tests;

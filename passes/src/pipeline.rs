//! The graph passes, in order, and the driver that runs them.
//!
//! [`PASSES`] is the one list: a row is a name, a stage and a function. Every pass is optional for correctness: a graph
//! may leave the pipeline after any of them. What one needs of another is written beside its row.
//!
//! The driver verifies the graph after each pass in debug builds, tells an observer what happened, stops where it is
//! told, and spends [`crate::fuel`].

use crate::dead_code::{remove_dead, sweep};
use crate::fold_constants::{fold_constants, fold_weights};
use crate::fuel::Fuel;
use crate::merge_contracts::merge_contracts;
use crate::rules::saturate::Report;
use crate::rules::{EXACT, Rule, approx, rewrite};
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
    /// Rules that tests add.
    planted: &'a [Rule],
}

/// A row of [`PASSES`].
pub struct Pass {
    /// A verb.
    pub name: &'static str,
    /// Where it belongs.
    pub stage: Stage,
    run: fn(Graph, &mut Context) -> Graph,
}

/// The passes in order.
pub const PASSES: &[Pass] = &[
    Pass { name: "remove_dead", stage: Stage::Prepare, run: |graph, context| spend(graph, context, remove_dead) },
    // Before the e-graph, which then has fewer terms and knows the values of scalars.
    Pass { name: "fold_constants", stage: Stage::Prepare, run: |graph, context| spend(graph, context, fold_constants) },
    Pass { name: "simplify", stage: Stage::Rewrite, run: simplify },
    // After `simplify`: scales stand next to their products only when the transposes between them are gone, and the
    // guard "used once" reads the graph as it is then (tests: `batch_norm_meets_conv`).
    Pass { name: "fold_scales", stage: Stage::Rewrite, run: fold_scales },
    // After the rewrites, which leave arithmetic on weights as operations.
    Pass { name: "fold_weights", stage: Stage::Finish, run: |graph, context| spend(graph, context, fold_weights) },
    // After `fold_weights`: only constant weights are joined.
    Pass {
        name: "merge_contracts",
        stage: Stage::Finish,
        run: |graph, context| spend(graph, context, merge_contracts),
    },
    Pass { name: "sweep", stage: Stage::Finish, run: |graph, context| spend(graph, context, sweep) },
];

/// The names of the passes, in order.
pub fn names() -> Vec<&'static str> {
    PASSES.iter().map(|pass| pass.name).collect()
}

/// Told of every pass that ran.
pub struct Event<'a> {
    /// The pass.
    pub pass: &'static str,
    /// The graph after it.
    pub graph: &'a Graph,
    /// Time it took.
    pub elapsed: Duration,
    /// What saturation did, where the pass is a rewrite.
    pub report: Option<&'a Report>,
    /// Whether a dump of the graph was asked for here.
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
    /// Told of every pass that ran.
    pub observer: Option<&'a dyn Fn(&Event<'_>)>,
    /// Wrong rules, to see that they are found.
    #[cfg(test)]
    pub(crate) planted: &'a [Rule],
}

impl PipelineOptions<'_> {
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
    /// A pass broke the graph: a mistake of the compiler.
    #[error("the pass {pass} broke the graph: {error}")]
    Broken {
        /// The pass.
        pass: &'static str,
        /// The rule it broke.
        error: VerifyError,
    },
}

/// Runs the passes over a graph, subgraphs included.
///
/// # Errors
/// When an option names no pass, or a pass leaves a graph that does not verify.
pub fn optimize(graph: Graph, target: &Target, options: &PipelineOptions) -> Result<Graph, PassError> {
    for name in options.dump_after.iter().chain(&options.stop_after) {
        if !PASSES.iter().any(|pass| pass.name == name) {
            return Err(PassError::UnknownPass(name.clone()));
        }
    }
    let mut context = Context {
        pass: "",
        target,
        numerics: options.numerics,
        fuel: Fuel::new(options.fuel),
        report: None,
        inside: false,
        planted: options.planted(),
    };
    let mut graph = graph;
    for pass in PASSES {
        let start = Instant::now();
        context.pass = pass.name;
        graph = nested(graph, &mut context, pass.run);
        let elapsed = start.elapsed();
        verify(&graph).map_err(|error| PassError::Broken { pass: pass.name, error })?;
        let report = context.report.take();
        if let Some(observer) = options.observer {
            let dump = options.dump_after.as_deref() == Some(pass.name);
            observer(&Event {
                pass: pass.name,
                graph: &graph,
                elapsed,
                report: report.as_ref(),
                dump,
                fuel: &context.fuel,
            });
        }
        if options.stop_after.as_deref() == Some(pass.name) {
            break;
        }
    }
    Ok(graph)
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

fn rewrite_with(graph: Graph, context: &mut Context, tables: &[&[Rule]]) -> Graph {
    if context.fuel.is_empty() {
        return graph;
    }
    let (graph, report) = rewrite(graph, context.inside, tables, context.target, &mut context.fuel);
    context.report = Some(report);
    graph
}

fn simplify(graph: Graph, context: &mut Context) -> Graph {
    let signs: &[&[Rule]] = if context.numerics == Numerics::Strict { &[] } else { &[approx::SIGNS] };
    let tables: Vec<&[Rule]> = EXACT.iter().chain(signs).copied().chain([context.planted]).collect();
    rewrite_with(graph, context, &tables)
}

fn fold_scales(graph: Graph, context: &mut Context) -> Graph {
    if context.numerics == Numerics::Strict {
        return graph;
    }
    let tables: Vec<&[Rule]> = EXACT.iter().copied().chain([approx::SIGNS, approx::RULES, approx::AFFINE]).collect();
    rewrite_with(graph, context, &tables)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    const TEXT: &str = "graph @g(%0 x: f32[2, 3]) -> (y: %5) {
  %1 = neg %0 : f32[2, 3]
  %2 = neg %1 : f32[2, 3]
  %3 = transpose %2 perm=[1, 0] : f32[3, 2]
  %4 = exp %3 : f32[3, 2]
  %5 = transpose %4 perm=[1, 0] : f32[2, 3]
}
";

    fn run(options: &PipelineOptions) -> Result<Vec<&'static str>, PassError> {
        let graph = nnc_ir::parse::graph(TEXT).unwrap();
        let graph = optimize(graph, &Target::parse("x86_64").unwrap(), options)?;
        Ok(graph.nodes.iter().map(|node| node.op.name()).collect())
    }

    #[test]
    fn everything() {
        assert_eq!(run(&PipelineOptions::default()), Ok(vec!["exp"]));
    }

    #[test]
    fn fuel_limits_rewrites() {
        let with = |fuel| run(&PipelineOptions { fuel: Some(fuel), ..PipelineOptions::default() }).unwrap().len();
        assert_eq!(with(0), 5);
        // Two units go to the passes before the rewriting.
        let sizes: Vec<usize> = (2..12).map(with).collect();
        assert_eq!((sizes.first(), sizes.last()), (Some(&5), Some(&1)));
        assert!(sizes.is_sorted_by(|a, b| a >= b), "{sizes:?}");
    }

    #[test]
    fn stops_and_dumps() {
        let seen = RefCell::new(vec![]);
        let observe = |event: &Event| seen.borrow_mut().push((event.pass, event.dump));
        let options = PipelineOptions {
            stop_after: Some("simplify".into()),
            dump_after: Some("fold_constants".into()),
            observer: Some(&observe),
            ..PipelineOptions::default()
        };
        run(&options).unwrap();
        let expected = [("remove_dead", false), ("fold_constants", true), ("simplify", false)];
        assert_eq!(*seen.borrow(), expected);
    }

    #[test]
    fn unknown_pass() {
        let options = PipelineOptions { stop_after: Some("tidy".into()), ..PipelineOptions::default() };
        let message = run(&options).unwrap_err().to_string();
        assert_eq!(
            message,
            "there is no pass \"tidy\": there are remove_dead, fold_constants, simplify, fold_scales, fold_weights, \
             merge_contracts, sweep"
        );
    }

    #[test]
    fn subgraphs_are_rewritten() {
        let text = "graph @g(%0 c: bool[], %1 x: f32[2]) -> (y: %2) {
  %2 = if %0, %1 varying=[] sizes=[] then=graph @t(%0: f32[2]) -> (r: %2) {
    %1 = neg %0 : f32[2]
    %2 = neg %1 : f32[2]
  } otherwise=graph @e(%0: f32[2]) -> (r: %0) {
  } : f32[2]
}
";
        let graph = nnc_ir::parse::graph(text).unwrap();
        let graph = optimize(graph, &Target::parse("x86_64").unwrap(), &PipelineOptions::default()).unwrap();
        let [then, _] = graph.nodes[0].op.subgraphs()[..] else { panic!("{graph:?}") };
        assert!(then.nodes.is_empty());
    }
}

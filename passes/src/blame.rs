//! Blame: which rewrite or pass is the first that makes a graph compute something else.
//!
//! Every unit of fuel is one rewrite or pass, always the same ones in the same order, so bisection finds the first unit
//! after which the results are wrong. It may be a later one that is wrong, if a wrong result comes and goes with fuel;
//! what is found is always a unit with right results before it and wrong ones after it.
//!
//! Source: bisection over fuel is Whalley, "Automatic Isolation of Compiler Errors", TOPLAS 1994.

use crate::fuel::{Applied, Fuel};
use crate::pipeline::{Event, PassError, PipelineOptions, optimize};
use nnc_desc::Target;
use nnc_ir::Graph;
use std::cell::RefCell;

/// What is to blame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blame {
    /// The pass that ran.
    pub pass: &'static str,
    /// The rule, or the pass itself, and the node.
    pub applied: Applied,
    /// How much fuel leads there (`--opt-fuel`).
    pub fuel: usize,
}

/// Looks for the first rewrite or pass after which `agrees` says no of the graph; `None` when it never does, or already
/// does of the graph as it is. The options' fuel and observer are not used.
///
/// # Errors
/// When a pass leaves a graph that does not verify.
pub fn blame(
    graph: &Graph,
    target: &Target,
    options: &PipelineOptions<'_>,
    agrees: &mut dyn FnMut(&Graph) -> bool,
) -> Result<Option<Blame>, PassError> {
    let run = |fuel| optimized(graph, target, options, fuel);
    let whole = run(None)?;
    if agrees(&whole.graph) || !agrees(graph) {
        return Ok(None);
    }
    let (mut right, mut wrong) = (0, whole.fuel.spent());
    while wrong - right > 1 {
        let middle = right + (wrong - right) / 2;
        if agrees(&run(Some(middle))?.graph) {
            right = middle;
        } else {
            wrong = middle;
        }
    }
    let at = run(Some(wrong))?;
    let applied = at.fuel.last().cloned().unwrap_or_default();
    Ok(Some(Blame { pass: at.pass, applied, fuel: wrong }))
}

/// A graph after so much fuel.
struct Optimized {
    graph: Graph,
    fuel: Fuel,
    /// The pass that the last unit was spent in.
    pass: &'static str,
}

fn optimized(
    graph: &Graph,
    target: &Target,
    options: &PipelineOptions<'_>,
    fuel: Option<usize>,
) -> Result<Optimized, PassError> {
    let seen: RefCell<(Fuel, &'static str)> = RefCell::default();
    let observer = |event: &Event<'_>| {
        let mut seen = seen.borrow_mut();
        if event.fuel.spent() > seen.0.spent() {
            *seen = (event.fuel.clone(), event.pass);
        }
    };
    let options =
        PipelineOptions { fuel, observer: Some(&observer), stop_after: None, dump_after: None, ..options.clone() };
    let graph = optimize(graph.clone(), target, &options)?;
    let (fuel, pass) = seen.into_inner();
    Ok(Optimized { graph, fuel, pass })
}

#[cfg(test)]
mod tests;

//! Extraction: the cheapest terms of what is needed, when what is shared is paid for once.
//!
//! egg's own extractor adds up trees, which counts a value once for each path to it: exponential in the number of
//! residual connections. Here the choice of one term for each class is a graph without cycles, and costs what its members
//! cost together. To find the cheapest is NP-hard; `greedy` makes a choice class by class, from the leaves up, and
//! `improve` decides again, class by class, given what else is chosen. Tests compare that with the optimum (`exact`).
//!
//! Invariants: a class has one term, so nothing is computed twice; the choice has no cycle; equal inputs give equal choices
//! (costs are integers, ties go to the first).

#[cfg(test)]
pub mod exact;
mod greedy;
mod improve;
mod problem;
#[cfg(test)]
mod tests;

use super::cost::Costs;
use super::language::Head;
use super::net::Net;
use egg::Id;
pub use problem::{Candidate, Problem};
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// The chosen term of each class that has one.
pub type Choice = FxHashMap<Id, (Arc<Head>, Box<[Id]>)>;

/// For each class of a [`Problem`] the number of a candidate; `None` where all need themselves.
pub type Selection = Vec<Option<usize>>;

impl Problem {
    /// A cheap selection; `None` when there is none without a cycle.
    pub fn solve(&self) -> Option<Selection> {
        let selection = greedy::select(self)?;
        Some(improve::improve(self, selection))
    }
}

/// Chooses terms for what `roots` need; `None` when there is no choice without a cycle.
pub fn extract(net: &Net, roots: &[Id], costs: &Costs<'_>) -> Option<Choice> {
    let problem = Problem::new(net, roots, costs)?;
    let selection = problem.solve()?;
    let mut choice = Choice::default();
    let mut order = problem.order(&selection)?;
    // Classes of the e-graph stand before those of values in memory, which may have chosen another term of the class: then
    // one that reads the class itself, or the class would have been read from memory.
    order.sort_unstable();
    for class in order {
        let candidate = &problem.classes[class][selection[class]?];
        if let Some((head, args)) = &candidate.term {
            let head = net.egraph.analysis.heads.get(*head);
            choice.entry(problem.ids[class]).or_insert_with(|| (head.clone(), args.clone()));
        }
    }
    Some(choice)
}

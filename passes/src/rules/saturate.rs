//! Saturation: applies rules until nothing changes.
//!
//! Classes are visited in order of creation, and a rule sees what was found earlier in the same round, so that a
//! transpose sinks through a whole chain of operations in one round. After the first round only classes above a
//! change are visited again. Limits count rounds, terms and rewrites, never time, so results do not depend on the
//! machine.
//!
//! Source: Willsey et al., "egg: Fast and Extensible Equality Saturation" (POPL 2021, arXiv:2004.03082), whose e-graph
//! this uses. Its `Runner` searches all rules before it applies any; rules here are functions that match and build, so
//! the loop is our own, and each rewrite can be counted (`fuel`) when a wrong one is looked for by bisection.

use super::discrete::{Role, role};
use super::language::Head;
use super::net::Net;
use super::rule::{Ready, Rule};
use crate::fuel::Fuel;
use egg::Id;
use nnc_ir::Graph;
use nnc_ir::op::Op;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Where saturation stops, whatever is left to do.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Rounds over the graph.
    pub rounds: usize,
    /// Terms per term of the graph at the beginning.
    pub growth: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { rounds: 64, growth: 8 }
    }
}

/// Why saturation stopped, from the best to the worst.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    /// No rule has anything new to say.
    #[default]
    Saturated,
    /// [`Limits::rounds`].
    Rounds,
    /// [`Limits::growth`].
    Terms,
    /// The rewrites allowed are used up.
    Fuel,
    /// A rule equated two types; the result is not used.
    Conflict,
}

/// What saturation did.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Why it stopped.
    pub stop: Stop,
    /// Rounds begun.
    pub rounds: usize,
    /// Terms at the end.
    pub terms: usize,
    /// Rewrites by rule.
    pub applied: BTreeMap<&'static str, usize>,
    /// The node, by its place in the graph, that the last rewrite was found at.
    pub last: Option<u32>,
    /// The rules that found something at each node, by its place in the graph.
    touched: BTreeMap<u32, BTreeSet<&'static str>>,
    /// The same by the node's origin, after [`Report::name_nodes`].
    pub nodes: BTreeMap<String, BTreeSet<&'static str>>,
}

impl Report {
    /// Adds what was done in another part of the graph.
    pub fn add(&mut self, other: Report) {
        self.stop = self.stop.max(other.stop);
        self.rounds = self.rounds.max(other.rounds);
        self.terms += other.terms;
        for (rule, count) in other.applied {
            *self.applied.entry(rule).or_default() += count;
        }
        for (node, rules) in other.nodes {
            self.nodes.entry(node).or_default().extend(rules);
        }
    }

    /// Puts the origins of a graph's nodes in the place of their numbers.
    pub fn name_nodes(&mut self, graph: &Graph) {
        for (position, rules) in std::mem::take(&mut self.touched) {
            if let Some(node) = graph.nodes.get(position as usize) {
                self.nodes.entry(node.origin.clone()).or_default().extend(rules);
            }
        }
    }
}

/// A term that rules may rewrite.
pub struct Site<'a> {
    /// Its class.
    pub class: Id,
    /// Its operation.
    pub op: &'a Op,
    /// Its operands.
    pub args: &'a [Id],
}

/// Applies `rules`; each rewrite that changed something takes a unit of fuel.
pub fn saturate(net: &mut Net, rules: &[&Rule], limits: Limits, fuel: &mut Fuel) -> Report {
    let mut report = Report { stop: Stop::Rounds, ..Report::default() };
    let rules: Vec<Ready> = rules.iter().map(|rule| Ready::new(rule)).collect();
    // A change may enable a rule as far above it as rules look down.
    let depth = rules.iter().map(Ready::depth).max().unwrap_or(0);
    let most = net.egraph.total_size().saturating_mul(limits.growth).max(1000);
    net.egraph.rebuild();
    net.egraph.analysis.changed.clear();
    let mut work: BTreeSet<Id> = net.egraph.classes().map(|class| class.id).collect();
    for round in 0..limits.rounds {
        report.rounds = round + 1;
        for id in work {
            if let Some(stop) = visit(net, id, &rules, most, fuel, &mut report) {
                report.stop = stop;
                break;
            }
        }
        net.egraph.rebuild();
        if net.egraph.analysis.conflict {
            report.stop = Stop::Conflict;
        }
        work = above(net, depth);
        if report.stop == Stop::Rounds && work.is_empty() {
            report.stop = Stop::Saturated;
        }
        if report.stop != Stop::Rounds {
            break;
        }
    }
    report.terms = net.egraph.total_size();
    report
}

/// Applies every rule to every term of a class, until there are more than `most` terms. One class may make very many:
/// that of the products of a constant of zeros holds a term for every constant.
fn visit(net: &mut Net, id: Id, rules: &[Ready], most: usize, fuel: &mut Fuel, report: &mut Report) -> Option<Stop> {
    let class = net.egraph.find(id);
    let heads = &net.egraph.analysis.heads;
    let terms: Vec<(Arc<Head>, Box<[Id]>)> =
        net.egraph[class].iter().map(|t| (heads.get(t.head).clone(), t.args.clone())).collect();
    for (head, args) in &terms {
        let Head::Op(op) = &**head else { continue };
        let jumps = {
            let types: Vec<_> = args.iter().map(|&arg| net.ty(arg)).collect();
            let types: Vec<_> = types.iter().map(|ty| &**ty).collect();
            role(op, &types, &net.egraph.analysis.dims) == Role::Jumps
        };
        for ready in rules {
            let rule = ready.rule;
            if net.egraph.total_size() > most {
                return Some(Stop::Terms);
            }
            let rounds = rule.effect.touches_single();
            if rounds && net.facts(class).discrete {
                continue;
            }
            let origin = net.facts(class).origin;
            net.egraph.analysis.origin = origin;
            // What is made here is made for this class, or for operands of this operation.
            net.egraph.analysis.discrete = jumps || net.facts(class).discrete;
            let site = Site { class: net.egraph.find(class), op, args };
            for found in ready.apply(net, &site) {
                if fuel.is_empty() {
                    return Some(Stop::Fuel);
                }
                if net.facts(found).ty != net.facts(class).ty {
                    return Some(Stop::Conflict);
                }
                if rounds && net.facts(found).discrete {
                    continue;
                }
                if net.egraph.union(class, found) {
                    if rounds {
                        net.egraph.analysis.rounded.push(class);
                    }
                    *report.applied.entry(rule.name).or_default() += 1;
                    fuel.spend(rule.name);
                    report.last = origin;
                    if let Some(position) = origin {
                        report.touched.entry(position).or_default().insert(rule.name);
                    }
                }
            }
        }
    }
    None
}

/// The classes that changed since the last call, and those a few operations above.
fn above(net: &mut Net, depth: usize) -> BTreeSet<Id> {
    let changed = std::mem::take(&mut net.egraph.analysis.changed);
    let mut found: BTreeSet<Id> = changed.into_iter().map(|id| net.egraph.find(id)).collect();
    let mut frontier: Vec<Id> = found.iter().copied().collect();
    for _ in 0..depth {
        let mut next = vec![];
        for id in frontier {
            for parent in net.egraph[id].parents() {
                let parent = net.egraph.find(parent);
                if found.insert(parent) {
                    next.push(parent);
                }
            }
        }
        frontier = next;
    }
    found
}

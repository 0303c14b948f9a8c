//! Rewriting by equality saturation over the core ops.
//!
//! A rule is one named row of a table: a pattern and what it is equal to ([`pattern`]), or a function that looks at a term
//! and the classes below it and answers with classes equal to the term. It states its effect on values ([`rule`]). Tables
//! by topic: [`identity`], [`algebra`], [`logic`], [`mask`], [`parts`], [`broadcast`], [`reshape`], [`transpose`], [`gather`],
//! [`products`], [`reduce`], [`pad`]; [`approx`] lists every rule that may change a value, which `--numerics strict` leaves out.
//!
//! Invariants:
//! - a guard answers no when it does not know;
//! - a rule proposes terms through [`net::Net::add`], which refuses what does not fit, and equates classes of one type;
//! - every rule has an example in the tests, where the reference interpreter evaluates all terms of all classes and
//!   finds them equal.
//!
//! The stages: [`load`] makes an e-graph of a graph, [`saturate`] applies rules, [`extract`] chooses the cheapest terms
//! by [`cost`], [`emit`] makes a graph of them.

pub mod algebra;
pub mod approx;
pub mod batch_norm;
pub mod broadcast;
pub mod cost;
pub mod count;
pub mod discrete;
pub mod emit;
pub mod extract;
pub mod facts;
pub mod family;
pub mod gather;
pub mod groups;
pub mod identity;
pub mod language;
pub mod load;
pub mod logic;
pub mod mask;
pub mod net;
pub mod pad;
pub mod parts;
pub mod pattern;
pub mod products;
pub mod range;
pub mod reduce;
mod repeats;
pub mod reshape;
pub mod rule;
pub mod saturate;
#[cfg(test)]
mod tests;
pub mod transpose;
mod transpose_shape;
pub mod windows;

use crate::fuel::Fuel;
use cost::Costs;
use egg::Id;
pub use family::Family;
use nnc_desc::Target;
use nnc_ir::Graph;
pub use rule::Rule;
use saturate::{Limits, Report, Stop};

/// The rules that keep every value as it is.
pub const EXACT: &[Family] = &[
    Family { name: "identity", rules: identity::RULES },
    Family { name: "algebra", rules: algebra::RULES },
    Family { name: "logic", rules: logic::RULES },
    Family { name: "mask", rules: mask::RULES },
    Family { name: "parts", rules: parts::RULES },
    Family { name: "broadcast", rules: broadcast::RULES },
    Family { name: "reshape", rules: reshape::RULES },
    Family { name: "transpose", rules: transpose::RULES },
    Family { name: "gather", rules: gather::RULES },
    Family { name: "products", rules: products::RULES },
    Family { name: "reduce", rules: reduce::RULES },
    Family { name: "pad", rules: pad::RULES },
];

/// The rules that may change the sign of a zero.
pub const SIGNS: Family = Family { name: "signs", rules: approx::SIGNS };

/// The rules that round differently.
pub const ROUNDING: &[Family] =
    &[Family { name: "rounding", rules: approx::RULES }, Family { name: "affine", rules: approx::AFFINE }];

/// The result of a rule that finds at most one equal class.
fn one(found: Option<Id>) -> Vec<Id> {
    found.into_iter().collect()
}

/// Rewrites a graph, which may stand `inside` another. What cannot be represented stays as it is.
pub fn rewrite(graph: Graph, inside: bool, rules: &[&Rule], target: &Target, fuel: &mut Fuel) -> (Graph, Report) {
    let mut report = Report::default();
    let mut one = |part: Graph, inside: bool| {
        let (part, found) = rewrite_part(part, inside, rules, target, fuel);
        report.add(found);
        part
    };
    let graph = if graph.nodes.len() > windows::MOST_NODES {
        // What other windows do with a value is not known.
        windows::in_windows(graph, windows::MOST_NODES, |part| one(part, true))
    } else {
        one(graph, inside)
    };
    (graph, report)
}

fn rewrite_part(graph: Graph, inside: bool, rules: &[&Rule], target: &Target, fuel: &mut Fuel) -> (Graph, Report) {
    let mut loaded = load::load(&graph, inside);
    let mut report = saturate::saturate(&mut loaded.net, rules, Limits::default(), fuel);
    report.name_nodes(&graph);
    if let Some(node) = report.last.and_then(|position| graph.nodes.get(position as usize)) {
        fuel.locate(&node.origin);
    }
    if report.stop == Stop::Conflict {
        debug_assert!(false, "a rule equated different types: {report:?}");
        return (graph, report);
    }
    if discrete::rounded_in_vain(&loaded.net) {
        return (graph, report);
    }
    let fixed = (0..graph.nodes.len()).filter(|&i| emit::is_fixed(&loaded, &graph, i));
    let needed = fixed.flat_map(|i| &graph.nodes[i].inputs).chain(graph.outputs.iter().map(|(_, v)| v));
    let roots: Vec<Id> = needed.filter_map(|v| loaded.classes[v.index()]).collect();
    let rewritten = extract::extract(&loaded.net, &roots, &Costs::new(target, &graph.dims))
        .and_then(|choice| emit::emit(&graph, &loaded, &choice));
    (rewritten.unwrap_or(graph), report)
}

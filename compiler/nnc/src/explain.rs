//! `nnc compile --explain`: what each node of the model became.
//!
//! One entry for each region, in the order in which they run: its ONNX nodes, its kernels, why it ends where it does,
//! and for its contractions the ways to do them with what the cost model says of each. Then the nodes that are in no
//! region: computed when compiling, merged into others, or without use.

use std::collections::BTreeSet;

use nnc_ir::{Graph, NodeId, ValueId};
use nnc_kernels::plan::Step;
use nnc_passes::choose::{Algorithm, Candidate};
use nnc_passes::lower::{Lowered, LoweredRegion};
use serde::Serialize;

/// How explanations are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// To read.
    Text,
    /// One JSON object.
    Json,
}

/// What a model became.
#[derive(Debug, Serialize)]
pub struct Explanation {
    /// Its regions, in the order in which they run.
    pub regions: Vec<Entry>,
    /// Nodes without steps.
    pub without_steps: Vec<String>,
}

/// What a region became.
#[derive(Debug, Serialize)]
pub struct Entry {
    /// The ONNX nodes computed in it.
    pub nodes: Vec<String>,
    /// What its loops are built around: rows, contraction, window, sequential.
    pub anchor: &'static str,
    /// Types of its results.
    pub results: Vec<String>,
    /// The kernels of its steps.
    pub kernels: Vec<String>,
    /// Why it ends where it does, rather than in what reads it.
    pub ends_as: Option<String>,
    /// Its contractions.
    pub contractions: Vec<Contraction>,
}

/// How a contraction is done.
#[derive(Debug, Serialize)]
pub struct Contraction {
    /// Sizes.
    pub sizes: String,
    /// The cheapest way with each register tile, and those without; the first was taken.
    pub candidates: Vec<Way>,
    /// How many ways were compared.
    pub compared: usize,
}

/// A way to do a contraction.
#[derive(Debug, Serialize)]
pub struct Way {
    /// What is done.
    pub algorithm: String,
    /// What the cost model says, on one core.
    pub microseconds: f64,
}

impl Way {
    fn of(candidate: &Candidate) -> Way {
        Way { algorithm: candidate.algorithm.to_string(), microseconds: candidate.cost as f64 / 1e6 }
    }
}

/// Explains a program; `nodes` are those of the model.
pub fn explain(graph: &Graph, lowered: &Lowered, nodes: &[String]) -> Explanation {
    let definitions = graph.definitions();
    let regions: Vec<Entry> =
        lowered.regions.iter().map(|region| entry(graph, &definitions, lowered, region)).collect();
    let seen: BTreeSet<&String> = regions.iter().flat_map(|entry| &entry.nodes).collect();
    let mut listed = BTreeSet::new();
    let without = nodes.iter().filter(|&node| !seen.contains(node) && listed.insert(node));
    Explanation { without_steps: without.cloned().collect(), regions }
}

fn entry(graph: &Graph, definitions: &[Option<NodeId>], lowered: &Lowered, of: &LoweredRegion) -> Entry {
    let values = of.region.inlined.iter().chain(&of.region.results);
    let mut ids: Vec<_> = values.filter_map(|v| definitions[v.index()]).chain(of.region.anchor.node()).collect();
    ids.sort_unstable();
    ids.dedup();
    let mut nodes: Vec<String> = vec![];
    for id in ids {
        let origin = &graph.nodes[id.index()].origin;
        if !nodes.contains(origin) {
            nodes.push(origin.clone());
        }
    }
    let kernel = |step: &Step| match step {
        Step::Run { kernel, .. } => Some(lowered.program.kernels[kernel.0 as usize].name.clone()),
        _ => None,
    };
    Entry {
        nodes,
        anchor: of.region.anchor.name(),
        results: of.region.results.iter().map(|&v| type_of(graph, v)).collect(),
        kernels: lowered.program.steps[of.steps.clone()].iter().filter_map(kernel).collect(),
        ends_as: of.reason.map(|reason| reason.to_string()),
        contractions: of
            .choices
            .iter()
            .map(|(shape, candidates)| Contraction {
                sizes: shape.display(&graph.dims),
                candidates: ways(candidates),
                compared: candidates.len(),
            })
            .collect(),
    }
}

/// The cheapest candidate with each register tile, and those without one.
fn ways(candidates: &[Candidate]) -> Vec<Way> {
    let mut tiles = vec![];
    let mut is_new = |candidate: &&Candidate| match &candidate.algorithm {
        Algorithm::Panels(panels) if tiles.contains(&panels.tile) => false,
        Algorithm::Panels(panels) => {
            tiles.push(panels.tile);
            true
        }
        Algorithm::Depthwise => true,
    };
    candidates.iter().filter(|candidate| is_new(candidate)).map(Way::of).collect()
}

/// A value's type, sizes by their names.
fn type_of(graph: &Graph, value: ValueId) -> String {
    let sizes: Vec<String> = graph.shape(value).iter().map(|dim| graph.dims.display(dim).to_string()).collect();
    format!("{}[{}]", graph.ty(value).dtype, sizes.join(", "))
}

impl Explanation {
    /// As text.
    pub fn text(&self) -> String {
        let mut lines = vec![];
        for entry in &self.regions {
            lines.push(match &entry.kernels[..] {
                [] => "no kernel".to_owned(),
                kernels => kernels.join(", "),
            });
            lines.push(format!("  {} -> {}", entry.anchor, entry.results.join(", ")));
            lines.extend(entry.nodes.iter().map(|node| format!("    {node}")));
            lines.extend(entry.ends_as.iter().map(|reason| format!("  ends here: {reason}")));
            for contraction in &entry.contractions {
                lines.push(format!("  {}, {} ways:", contraction.sizes, contraction.compared));
                let way = |way: &Way| format!("    {:.1} us {}", way.microseconds, way.algorithm);
                lines.extend(contraction.candidates.iter().map(way));
            }
        }
        if !self.without_steps.is_empty() {
            lines.push("computed when compiling, merged into others, or without use:".to_owned());
            lines.extend(self.without_steps.iter().map(|node| format!("  {node}")));
        }
        lines.join("\n") + "\n"
    }
}

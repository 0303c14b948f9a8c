//! `nnc compile --explain`: what each node of the model became.
//!
//! One entry for each region, in the order in which they run: its ONNX nodes with the rules that found something at each,
//! its kernels, with what keeps one from the target's full vectors, why it ends where it does, and for its contractions
//! the ways to do them with what the cost model says of each. Then the nodes that are in no region: computed when
//! compiling, merged into others, or without use.

use std::collections::{BTreeMap, BTreeSet};

use nnc_cpu::KernelCode;
use nnc_ir::{Graph, NodeId, ValueId};
use nnc_kernels::plan::Step;
use nnc_passes::choose::{Algorithm, Candidate};
use nnc_passes::lower::{Lowered, LoweredRegion};
use nnc_passes::regions::Anchor;
use serde::Serialize;

/// How explanations are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// To read.
    Text,
    /// One JSON object.
    Json,
}

/// Most nodes that a line on a kernel names.
const NAMED: usize = 3;

/// What a model became.
#[derive(Debug, Serialize)]
pub struct Explanation {
    /// Its regions, in the order in which they run.
    pub regions: Vec<Entry>,
    /// Nodes without steps.
    pub without_steps: Vec<Node>,
}

/// A node of the model.
#[derive(Clone, Debug, Serialize)]
pub struct Node {
    /// Its operator and name.
    pub name: String,
    /// The rules that found something equal at it or at what came of it; not all of it was taken.
    pub rules: Vec<&'static str>,
}

/// A kernel of a region.
#[derive(Clone, Debug, Serialize)]
pub struct Kernel {
    /// Its name.
    pub name: String,
    /// Why it does not use the target's full vectors; empty if it does, or if there is no code yet.
    pub narrow: Vec<String>,
}

/// The rules that found something at each node.
pub type Touched = BTreeMap<String, BTreeSet<&'static str>>;

/// What a region became.
#[derive(Debug, Serialize)]
pub struct Entry {
    /// The ONNX nodes computed in it.
    pub nodes: Vec<Node>,
    /// What its loops are built around: rows, contraction, window, sequential.
    pub anchor: &'static str,
    /// Types of its results.
    pub results: Vec<String>,
    /// The kernels of its steps.
    pub kernels: Vec<Kernel>,
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
pub fn explain(graph: &Graph, lowered: &Lowered, nodes: &[String], touched: &Touched) -> Explanation {
    let node = |name: &String| {
        let rules = touched.get(name).map_or_else(Vec::new, |rules| rules.iter().copied().collect());
        Node { name: name.clone(), rules }
    };
    let definitions = graph.definitions();
    let regions = lowered.regions.iter().map(|region| entry(graph, &definitions, lowered, region, &node));
    let regions: Vec<Entry> = regions.collect();
    let seen: BTreeSet<&String> = regions.iter().flat_map(|entry| &entry.nodes).map(|node| &node.name).collect();
    let mut listed = BTreeSet::new();
    let without = nodes.iter().filter(|&node| !seen.contains(node) && listed.insert(node));
    Explanation { without_steps: without.map(node).collect(), regions }
}

fn entry(
    graph: &Graph,
    definitions: &[Option<NodeId>],
    lowered: &Lowered,
    of: &LoweredRegion,
    node: &dyn Fn(&String) -> Node,
) -> Entry {
    let values = of.region.inlined.iter().chain(&of.region.results);
    let mut ids: Vec<_> = values.filter_map(|v| definitions[v.index()]).chain(of.region.anchor.node()).collect();
    ids.sort_unstable();
    ids.dedup();
    let mut names: Vec<&String> = vec![];
    for id in ids {
        let origin = &graph.nodes[id.index()].origin;
        if !names.contains(&origin) {
            names.push(origin);
        }
    }
    let kernel = |step: &Step| match step {
        Step::Run { kernel, .. } => {
            Some(Kernel { name: lowered.program.kernels[kernel.0 as usize].name.clone(), narrow: vec![] })
        }
        _ => None,
    };
    Entry {
        nodes: names.into_iter().map(node).collect(),
        anchor: of.region.anchor.name(),
        results: of.region.results.iter().map(|&v| type_of(graph, v)).collect(),
        kernels: lowered.program.steps[of.steps.clone()].iter().filter_map(kernel).collect(),
        ends_as: of.reason.map(|reason| reason.to_string()),
        contractions: of
            .choices
            .iter()
            .map(|choice| Contraction {
                sizes: choice.shape.display(&graph.dims),
                candidates: ways(&choice.candidates),
                compared: choice.candidates.len(),
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

impl Node {
    /// A line.
    fn text(&self) -> String {
        if self.rules.is_empty() {
            self.name.clone()
        } else {
            format!("{}, touched by {}", self.name, self.rules.join(", "))
        }
    }
}

impl Explanation {
    /// Says which kernels do not use the target's full vectors, and why.
    pub fn add_widths(&mut self, code: &[KernelCode]) {
        let code: BTreeMap<&str, &KernelCode> = code.iter().map(|kernel| (kernel.name.as_str(), kernel)).collect();
        for kernel in self.regions.iter_mut().flat_map(|entry| &mut entry.kernels) {
            kernel.narrow = code.get(kernel.name.as_str()).map_or_else(Vec::new, |code| code.width.reasons());
        }
    }

    /// What is slower than it might be and why, a line each: kernels without the target's full vectors, with nodes that they
    /// compute, and operations that run in steps of their own.
    pub fn slow_paths(&self, code: &[KernelCode]) -> Vec<String> {
        let has = |entry: &&Entry, name: &str| entry.kernels.iter().any(|kernel| kernel.name == name);
        let mut lines = vec![];
        for kernel in code {
            let nodes = self.regions.iter().filter(|entry| has(entry, &kernel.name)).flat_map(|entry| &entry.nodes);
            let mut names: Vec<&str> = nodes.map(|node| node.name.as_str()).collect();
            let all = names.len();
            names.truncate(NAMED);
            let more = if all > NAMED { ", ..." } else { "" };
            let of = if names.is_empty() { String::new() } else { format!(" ({}{more})", names.join(", ")) };
            lines.extend(kernel.width.reasons().into_iter().map(|why| format!("slow: {}{of} has {why}", kernel.name)));
        }
        let sequential = self.regions.iter().filter(|entry| entry.anchor == Anchor::SEQUENTIAL);
        let names =
            sequential.map(|entry| entry.nodes.iter().map(|node| node.name.as_str()).collect::<Vec<_>>().join(", "));
        lines.extend(names.map(|names| format!("slow: {names} runs in steps of its own, fused with nothing")));
        lines
    }

    /// As text.
    pub fn text(&self) -> String {
        let mut lines = vec![];
        for entry in &self.regions {
            let kernels: Vec<&str> = entry.kernels.iter().map(|kernel| kernel.name.as_str()).collect();
            lines.push(if kernels.is_empty() { "no kernel".to_owned() } else { kernels.join(", ") });
            lines.push(format!("  {} -> {}", entry.anchor, entry.results.join(", ")));
            lines.extend(entry.nodes.iter().map(|node| format!("    {}", node.text())));
            let narrow =
                |kernel: &Kernel| (!kernel.narrow.is_empty()).then(|| (kernel.name.clone(), kernel.narrow.join("; ")));
            lines.extend(entry.kernels.iter().filter_map(narrow).map(|(name, why)| format!("  {name} has {why}")));
            lines.extend(entry.ends_as.iter().map(|reason| format!("  ends here: {reason}")));
            for contraction in &entry.contractions {
                lines.push(format!("  {}, {} ways:", contraction.sizes, contraction.compared));
                let way = |way: &Way| format!("    {:.1} us {}", way.microseconds, way.algorithm);
                lines.extend(contraction.candidates.iter().map(way));
            }
        }
        if !self.without_steps.is_empty() {
            lines.push("computed when compiling, merged into others, or without use:".to_owned());
            lines.extend(self.without_steps.iter().map(|node| format!("  {}", node.text())));
        }
        lines.join("\n") + "\n"
    }
}

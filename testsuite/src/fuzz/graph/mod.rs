//! Families `rules`, `lower` and `memory`: random graphs in core operations, where shapes are richest.
//!
//! A graph grows by operations drawn from a family's mix (`steps`); what does not fit is refused by type inference and
//! drawn again. Ranges are those of ONNX models ([`super::onnx::range`]).

mod body;
mod builder;
mod cells;
mod elementwise;
mod movement;
mod nested;
mod reduction;
mod simplify;
mod sizes;
mod steps;
mod sums;

use nnc::errors::Result;
use nnc_ir::{Dim, Graph, Symbol, SymbolOrigin, Tensor};

use self::builder::Builder;
use self::steps::Step;
use super::case::{Case, Source};
use super::check::{Config, Verdict, targets};
use super::onnx::gen_state::fill;
use super::onnx::range::Range;
use super::random::Random;
use super::session::{Outcome, Session, some_configs};
use super::shrink::shrink;
use super::special::{self, Special};

/// Sizes that symbols take in runs, as far as their bounds allow.
const SIZES: &[i64] = &[0, 1, 1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 33];
/// The most elements of one value in a run.
const MOST_ELEMENTS: i64 = 60_000;

/// A graph and the sizes of its runs.
#[derive(Clone, Debug)]
struct Specimen {
    graph: Graph,
    /// The range of each input.
    ranges: Vec<Range>,
    runs: Vec<Vec<i64>>,
    data: u64,
    /// What else is among the inputs' elements.
    special: &'static [Special],
}

/// Graphs full of what rewrite rules match, rewritten with and without limits.
///
/// # Errors
/// When a helper process cannot be started.
pub fn rules(session: &mut Session, seed: u64) -> Result<Outcome> {
    run(session, "rules", seed, steps::RULES, 14, |random| some_configs(random, 3))
}

/// Graphs of every core operation, not rewritten.
///
/// # Errors
/// When a helper process cannot be started.
pub fn lower(session: &mut Session, seed: u64) -> Result<Outcome> {
    run(session, "lower", seed, steps::LOWER, 8, |random| plain(random, 3))
}

/// Graphs with many values alive at once, not rewritten.
///
/// # Errors
/// When a helper process cannot be started.
pub fn memory(session: &mut Session, seed: u64) -> Result<Outcome> {
    run(session, "memory", seed, steps::MEMORY, 24, |random| plain(random, 2))
}

/// Configurations without rewriting.
fn plain(random: &mut Random, count: usize) -> Vec<Config> {
    let targets = targets();
    let config = |fixed| Config {
        target: (*random.of(&targets)).to_owned(),
        strict: false,
        plain: false,
        fuel: Some(0),
        fixed,
        threads: vec![1, 2, 8],
    };
    std::iter::repeat_n(false, count).map(config).collect()
}

fn run(
    session: &mut Session,
    family: &str,
    seed: u64,
    mix: &[Step],
    most: usize,
    configs: impl Fn(&mut Random) -> Vec<Config>,
) -> Result<Outcome> {
    let mut random = Random::new(seed ^ 0xb5ad_4ece_da1c_e2a9);
    let specimen = specimen(random.fork(), mix, most);
    let configs = configs(&mut random);
    session.differential(&format!("{family}-{seed}"), &specimen.case(), &configs, |session, verdict, configs| {
        let Verdict::Wrong { fault, .. } = verdict else { return Ok(specimen.case()) };
        let small = shrink(specimen.clone(), |s: &Specimen| session.shows(&s.case(), configs, fault))?;
        Ok(small.case())
    })
}

/// A random graph with the sizes of its runs.
fn specimen(mut random: Random, mix: &[Step], most: usize) -> Specimen {
    let mut b = Builder::new(random.fork());
    let wanted = 2 + random.below(most);
    for _ in 0..10 * wanted {
        let step = *b.random.of(mix);
        let _ = step(&mut b);
        if b.graph.nodes.len() >= wanted {
            break;
        }
    }
    let Builder { mut graph, ranges, sizes, .. } = b;
    let uses = graph.uses();
    let made: Vec<_> = graph.nodes.iter().flat_map(|n| n.outputs.clone()).collect();
    let loose = made.into_iter().filter(|v| uses[v.index()].is_empty() || random.percent(10));
    graph.outputs = loose.enumerate().map(|(i, v)| (format!("y{i}"), v)).collect();
    let mut specimen = Specimen {
        ranges: graph.inputs.iter().map(|v| ranges[v.index()]).collect(),
        runs: vec![sizes],
        data: random.bits(),
        special: special::draw(&mut random),
        graph,
    };
    reduction::prune(&mut specimen);
    let first = specimen.runs[0].clone();
    for _ in 0..12 {
        let mut sizes = first.clone();
        for (symbol, info) in specimen.graph.dims.iter().filter(|(_, info)| info.origin == SymbolOrigin::Input) {
            sizes[symbol.0 as usize] = (*random.of(SIZES)).clamp(info.min, info.max);
        }
        specimen.greatest(&mut sizes);
        if specimen.runs.len() < 4 && !specimen.runs.contains(&sizes) && specimen.small(&sizes) {
            specimen.runs.push(sizes);
        }
    }
    specimen
}

impl Specimen {
    /// Sets the sizes that nodes define to the greatest that they can be; those without a bound stay.
    fn greatest(&self, sizes: &mut [i64]) {
        for (symbol, info) in self.graph.dims.iter() {
            let size = |s: Symbol| sizes.get(s.0 as usize).copied();
            if let Some(most) = info.upper.as_ref().and_then(|upper| upper.eval(&size)) {
                sizes[symbol.0 as usize] = most;
            }
        }
    }

    fn small(&self, sizes: &[i64]) -> bool {
        let size = |d: &Dim| d.eval(&|s: Symbol| sizes.get(s.0 as usize).copied());
        let count = |dims: &[Dim]| dims.iter().try_fold(1i64, |n, d| n.checked_mul(size(d)?.max(0)));
        self.graph.values.iter().all(|v| count(&v.ty.shape).is_some_and(|n| n <= MOST_ELEMENTS))
    }

    fn case(&self) -> Case {
        let sets = self.runs.iter().enumerate().map(|(i, sizes)| self.inputs(i as u64, sizes)).collect();
        Case { source: Source::Graph(nnc_ir::print::graph(&self.graph)), sets, lone: true }
    }

    /// The inputs of a run; an input's elements depend on its name alone.
    fn inputs(&self, run: u64, sizes: &[i64]) -> Vec<Tensor> {
        let size = |d: &Dim| d.eval(&|s: Symbol| sizes.get(s.0 as usize).copied()).unwrap_or(0).max(0) as usize;
        let input = |(value, range): (&nnc_ir::ValueId, &Range)| {
            let info = &self.graph.values[value.index()];
            let name = info.name.bytes().fold(7u64, |h, b| h.wrapping_mul(31).wrapping_add(u64::from(b)));
            let mut random = Random::new(self.data ^ name.rotate_left(20) ^ run);
            let shape: Vec<usize> = info.ty.shape.iter().map(size).collect();
            let tensor = fill(&mut random, info.ty.dtype, &shape, *range);
            special::sprinkle(tensor, self.special, &mut random)
        };
        self.graph.inputs.iter().zip(&self.ranges).map(input).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn count(graph: &Graph, counts: &mut BTreeMap<&'static str, usize>) {
        for node in &graph.nodes {
            *counts.entry(node.op.name()).or_default() += 1;
            node.op.subgraphs().into_iter().for_each(|inner| count(inner, counts));
        }
    }

    /// What is hard to draw is drawn, and the text of every graph reads back.
    #[test]
    fn operations_that_are_drawn() {
        let mut counts = BTreeMap::new();
        for seed in 0..200 {
            let specimen = specimen(Random::new(seed), steps::LOWER, 8);
            count(&specimen.graph, &mut counts);
            let text = nnc_ir::print::graph(&specimen.graph);
            let graph = nnc_ir::parse::graph(&text).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
            nnc_ir::verify::verify(&graph).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        }
        for name in ["if", "loop", "recurrent", "non_zero", "unique", "non_max_suppression", "bind_dims", "scatter_nd"]
        {
            assert!(counts.contains_key(name), "{name}: {counts:?}");
        }
    }
}

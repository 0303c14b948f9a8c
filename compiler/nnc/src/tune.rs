//! `nnc compile --tune`: the ways to do sums of products, measured on this machine.
//!
//! Each sum of products of a model, with what is computed of it on the way to memory, becomes a model of its own; the ways
//! that the cost model thinks good are run in turn, and the fastest is taken where it gains more than measurements vary.
//! Equal sums are measured once. Between runs the caches are filled with other data, as the rest of a model would.
//!
//! Sums whose size only a run knows keep what costs least: which size to measure nobody knows.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::hint::black_box;
use std::time::{Duration, Instant};

use nnc_ir::{Graph, Op, ValueId};
use nnc_passes::choose::{Candidate, Choice, Decision, Taken};
use nnc_passes::dead_code::sweep;
use nnc_passes::pipeline::{self, Event, PipelineOptions, Yield};
use nnc_passes::regions::Region;
use nnc_runtime::{Runner, TensorRef, Threads};

use crate::driver::{Compilation, Options, Unwatched};
use crate::errors::{Failure, Result};
use crate::{inputs, sizes};

/// Most ways that are measured of one sum.
const WAYS: usize = 6;
/// How much more than the cheapest a way may cost by the model, in per cent.
const DEARER: u64 = 30;
/// Rounds in which the ways are run in turn.
const ROUNDS: usize = 5;
/// How much faster a way must be than the cheapest, in per cent.
const GAIN: u128 = 3;
/// What is written between runs: more than the second-level caches of processors in use.
const EVICT_BYTES: usize = 8 << 20;

/// What tuning found.
#[derive(Clone, Debug, Default)]
pub struct Tuned {
    /// What to take instead of the cheapest.
    pub taken: Vec<Taken>,
    /// Different sums that were measured.
    pub measured: usize,
    /// Those of them for which another way was faster.
    pub faster: usize,
}

impl fmt::Display for Tuned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Tuned { measured: 0, .. } => {
                f.write_str("nothing to tune: no product has sizes known when compiling; see --dim")
            }
            Tuned { measured, faster, .. } => {
                write!(
                    f,
                    "{measured} different products measured; for {faster} another way is faster than the cheapest"
                )
            }
        }
    }
}

/// Measures the ways to do the sums of products of an optimised graph; `file` is for messages.
///
/// # Errors
/// When this machine cannot run code for the target, or a sum cannot be compiled by itself.
pub fn tune(graph: &Graph, options: &Options, file: &str) -> Result<Tuned> {
    let (regions, decisions) = plan(graph, options, file)?;
    let mut known: Vec<(&Choice, Option<usize>)> = vec![];
    let mut tuned = Tuned::default();
    for (number, (region, decision)) in regions.iter().zip(&decisions).enumerate() {
        let [choice] = &decision.choices[..] else { continue };
        let ways = worth_trying(choice);
        if decision.problem.is_none() || ways.len() < 2 || !choice.shape.is_known() {
            continue;
        }
        let fastest = match known.iter().find(|(known, _)| *known == choice) {
            Some((_, fastest)) => *fastest,
            None => {
                let fastest = fastest(&cut(graph, region), &ways, options, file)?;
                tuned.measured += 1;
                tuned.faster += usize::from(fastest.is_some());
                known.push((choice, fastest));
                fastest
            }
        };
        tuned.taken.extend(fastest.map(|way| (number, 0, ways[way].algorithm.clone())));
    }
    Ok(tuned)
}

/// The regions of a graph and what is decided for them.
fn plan(graph: &Graph, options: &Options, file: &str) -> Result<(Vec<Region>, Vec<Decision>)> {
    let found = RefCell::new((vec![], vec![]));
    let observer = |event: &Event<'_>| match event.yields {
        Yield::Regions(regions) => found.borrow_mut().0.clone_from(&regions.list),
        Yield::Choices(decisions) => found.borrow_mut().1 = decisions.to_vec(),
        _ => {}
    };
    let until = PipelineOptions {
        stop_after: Some("choose".into()),
        disabled: options.left_out(),
        observer: Some(&observer),
        ..PipelineOptions::default()
    };
    pipeline::program(graph, &options.target, &until).map_err(|e| Failure::unsupported(format!("{file}: {e}")))?;
    Ok(found.into_inner())
}

/// The cheapest ways, none of which does almost the same as one before.
fn worth_trying(choice: &Choice) -> Vec<&Candidate> {
    let most = choice.candidates.first().map_or(0, |cheapest| cheapest.cost / 100 * (100 + DEARER));
    choice.candidates.iter().take_while(|way| way.cost <= most).take(WAYS).collect()
}

/// A region as a graph of its own: what it reads is an input, or a constant.
fn cut(graph: &Graph, region: &Region) -> Graph {
    let computed = |value: &ValueId| region.inlined.contains(value) || region.results.contains(value);
    let is_constant = |op: &Op| matches!(op, Op::Constant(_));
    let mut part = graph.clone();
    part.nodes.retain(|node| is_constant(&node.op) || node.outputs.iter().any(computed));
    let constants: Vec<_> = part.nodes.iter().filter(|n| is_constant(&n.op)).flat_map(|n| &n.outputs).collect();
    part.inputs = region.reads.iter().copied().filter(|value| !constants.contains(&value)).collect();
    for (number, value) in part.inputs.iter().enumerate() {
        part.values[value.index()].name = format!("x{number}");
    }
    part.outputs = region.results.iter().map(|&value| ("y".to_owned(), value)).collect();
    sweep(part)
}

/// The way that is faster than the first by more than chance, if one is.
fn fastest(part: &Graph, ways: &[&Candidate], options: &Options, file: &str) -> Result<Option<usize>> {
    let (_, decisions) = plan(part, options, file)?;
    let Some(number) = decisions.iter().position(|decision| decision.problem.is_some()) else { return Ok(None) };
    let mut runs = vec![];
    for (way, candidate) in ways.iter().enumerate() {
        // By itself the operands may lie otherwise, so that a way is none there.
        let is_way = |known: &Candidate| known.algorithm == candidate.algorithm;
        if decisions[number].choices.iter().any(|choice| choice.candidates.iter().any(is_way)) {
            let taken = vec![(number, 0, candidate.algorithm.clone())];
            let options = Options { taken, stop_after: None, ..options.clone() };
            let mut watch = Unwatched;
            let model = Compilation::new(&options, &mut watch)?.load_optimized(part.clone(), file)?;
            runs.push((way, Runner::new(model, Threads::Serial), Duration::MAX));
        }
    }
    let Some((_, first, _)) = runs.first() else { return Ok(None) };
    let Some(sizes) = sizes::pick(first.model(), &BTreeMap::new())?.into_iter().next() else { return Ok(None) };
    let arrays = inputs::random_at(first.model().signature(), sizes.inputs)?;
    let views: Vec<TensorRef<'_>> = arrays.iter().map(|array| array.view()).collect();
    let mut other = vec![0u8; EVICT_BYTES];
    for round in 0..=ROUNDS {
        for (_, runner, least) in &mut runs {
            other.iter_mut().step_by(64).for_each(|byte| *byte = byte.wrapping_add(1));
            black_box(&other);
            let start = Instant::now();
            runner.run(&views).map_err(|e| Failure::internal(format!("{file}: a part of it: {e}")))?;
            // The first round brings code and weights in.
            if round > 0 {
                *least = start.elapsed().min(*least);
            }
        }
    }
    let Some(&(first, _, modelled)) = runs.first().filter(|(way, ..)| *way == 0) else { return Ok(None) };
    let best = runs.iter().min_by_key(|(_, _, least)| *least);
    let gains = |least: Duration| least.as_nanos() * 100 < modelled.as_nanos() * (100 - GAIN);
    Ok(best.filter(|(way, _, least)| *way != first && gains(*least)).map(|(way, ..)| *way))
}

//! `nnc bench`: how long a model takes, loads, and how much memory the process came to use.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nnc_runtime::{Runner, TensorRef};

use super::load;
use crate::errors::{Failure, OneLine, Result};
use crate::inputs::Given;
use crate::statistics::{Times, ms};
use crate::{dims, progress};

/// Runs before measuring: caches, page tables and clock rates settle.
const WARM_UP_RUNS: usize = 3;
/// How long to measure unless the number of runs is given.
const BUDGET: Duration = Duration::from_secs(1);
/// The fewest runs measured in that time, and the most.
const RUNS: (usize, usize) = (5, 100_000);

/// Arguments of `nnc bench`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Compiled model (.so), or ONNX file, which is compiled in memory
    model: PathBuf,
    /// Inputs: arrays named as the model's inputs; by default random ones of usual sizes
    #[arg(long, value_name = "IN.npz")]
    inputs: Option<PathBuf>,
    /// Size of a symbolic dimension; an ONNX file is compiled for it, as `compile` does
    #[arg(long = "dim", value_name = "NAME=SIZE")]
    dims: Vec<String>,
    /// Threads
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: u16,
    /// Runs to measure; by default as many as fit a second
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    runs: Option<u32>,
    /// End with one line of JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// When the model cannot be loaded or run.
pub fn run(arguments: &Arguments) -> Result<()> {
    let dims = dims::parse(&arguments.dims)?;
    let model = load::load(&arguments.model, &dims)?;
    let load_ms = ms(model.load_time());
    // What a source was compiled for is no free dimension any more, or the bounds of one.
    let free = if load::is_source(&arguments.model) { BTreeMap::new() } else { dims };
    let mut runner = Runner::new(model, load::threads(arguments.threads));
    let given = Given::run(&mut runner, &arguments.model, arguments.inputs.as_deref(), &free)?;
    let views: Vec<TensorRef<'_>> = given.arrays.iter().map(|a| a.view()).collect();
    let times = measure(arguments, &mut runner, &views).map_err(|e| Failure::of_run(&arguments.model, e))?;
    let times = times.ok_or_else(|| Failure::user("no run was measured"))?;
    report(arguments, &times, load_ms, &given, &runner)
}

fn measure(arguments: &Arguments, runner: &mut Runner, inputs: &[TensorRef<'_>]) -> nnc_runtime::Result<Option<Times>> {
    let (least, most) = arguments.runs.map_or(RUNS, |n| (n as usize, n as usize));
    let bar = progress::bar(arguments.runs.map_or(BUDGET.as_millis() as u64, u64::from), "measuring");
    for _ in 0..WARM_UP_RUNS {
        runner.run(inputs)?;
    }
    let mut times = Vec::with_capacity(least.max(1024));
    let begin = Instant::now();
    while times.len() < least || (times.len() < most && begin.elapsed() < BUDGET) {
        let start = Instant::now();
        runner.run(inputs)?;
        times.push(start.elapsed());
        // Drawing happens between the measured runs, and rarely.
        bar.set_position(arguments.runs.map_or(begin.elapsed().as_millis() as u64, |_| times.len() as u64));
    }
    bar.finish_and_clear();
    Ok(Times::new(times))
}

fn report(arguments: &Arguments, times: &Times, load_ms: f64, given: &Given, runner: &Runner) -> Result<()> {
    let peak_rss_mb = peak_rss_mb();
    let (median, p90, p99) = (ms(times.median()), ms(times.percentile(90)), ms(times.percentile(99)));
    let (threads, runs) = (arguments.threads, times.count());
    let shapes = given.shapes(runner);
    if arguments.json {
        return progress::line(serde_json::json!({
            "model": arguments.model.display().to_string(),
            "threads": threads,
            "runs": runs,
            "min_ms": ms(times.min()),
            "median_ms": median,
            "p90_ms": p90,
            "p99_ms": p99,
            "throughput": times.throughput(),
            "load_ms": load_ms,
            "peak_rss_mb": peak_rss_mb,
            "shapes": shapes.into_iter().collect::<BTreeMap<_, _>>(),
            "picked": given.picked.iter().cloned().collect::<BTreeMap<_, _>>(),
        }));
    }
    let rss = peak_rss_mb.map_or_else(|| "unknown".to_owned(), |mb| format!("{mb:.1} MB"));
    progress::line(format!(
        "median {median:.4} ms, p90 {p90:.4} ms, p99 {p99:.4} ms, {:.1} runs/s ({runs} runs, threads: {threads})\n\
         load {load_ms:.3} ms, peak memory {rss}\n\
         {}{}",
        times.throughput(),
        shapes.iter().map(|(name, shape)| format!("{} {shape}", OneLine(name))).collect::<Vec<_>>().join(", "),
        given.note()
    ))
}

/// The most memory this process has had resident, in megabytes of 2^20 bytes.
fn peak_rss_mb() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024.0)
}

//! `cargo xtask machine`: what nnc does on this processor, in one summary.
//!
//! The tests run here, in release builds: kernels of both code generators, compiled programs and all others; and models
//! beside ONNX Runtime for every target that the processor runs. Then the figures: the GEMM tiles beside
//! a loop of register multiply-adds, and the times of the models. docs/src/machines.md says what a new machine must show.

use std::fs;
use std::thread::available_parallelism;

use anyhow::{Context, Result, bail};
use nnc_desc::Target;

use crate::shell::{cargo, command, nnc, output, run, target};
use crate::test::{SMALL_MODELS, Step, perform, python, script, targets};

const STEPS: &[Step] = &[
    // The whole workspace at once: its parts would be built with other features each.
    ("tests", || run(&mut cargo(["test", "--release", "--quiet", "--workspace", "--no-fail-fast"]))),
    ("python", python),
    ("models against ONNX Runtime", models),
];

/// Runs the command.
///
/// # Errors
/// When a step fails.
pub fn machine() -> Result<()> {
    let (mut lines, failed) = perform(STEPS);
    let figures = [tiles as fn() -> Result<Vec<String>>, times];
    for figure in figures {
        lines.extend(figure().unwrap_or_else(|error| vec![format!("no figures: {error:#}")]));
    }
    println!("\n==== summary\n{}\n{}", processor()?.join("\n"), lines.join("\n"));
    if !failed.is_empty() {
        bail!("{} of {} steps failed: {}", failed.len(), STEPS.len(), failed.join(", "));
    }
    Ok(())
}

/// The processor's names for itself, and what nnc makes of it.
fn processor() -> Result<Vec<String>> {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |names: &[&str]| {
        let fields = info.lines().filter_map(|line| line.split_once(':'));
        let found: Vec<&str> = names
            .iter()
            .filter_map(|name| fields.clone().find(|(key, _)| key.trim() == *name).map(|(_, value)| value.trim()))
            .collect();
        found.join(" ")
    };
    let native = Target::parse("native").context("nnc knows no target for this processor")?;
    let features: Vec<&str> = native.features.iter().map(|f| f.name()).collect();
    let threads = available_parallelism().map_or(1, usize::from);
    Ok(vec![
        format!("processor  {}, {threads} threads", field(&["model name", "CPU implementer", "CPU part"])),
        format!(
            "identity   {}",
            field(&["vendor_id", "cpu family", "model", "stepping", "CPU variant", "CPU revision"])
        ),
        format!("target     {}: {}", native.name, features.join(" ")),
        format!("also runs  {}", targets()),
    ])
}

/// Small models, each for every target; the last target compiled is `native`, which `times` measures.
fn models() -> Result<()> {
    let mut compare = script("compare_models.py")?;
    compare.arg(nnc("release")).arg(target().join("models")).args(SMALL_MODELS);
    run(compare.args(["--targets", &targets()]))
}

/// Per target: the rate of register multiply-adds, and what share of it the GEMM tiles reach.
fn tiles() -> Result<Vec<String>> {
    let mut rates = cargo(["test", "--release", "--quiet", "--workspace", "--lib", "rates"]);
    let text = output(rates.args(["--", "--ignored", "--nocapture", "--test-threads", "1"]))?;
    let mut lines: Vec<(String, Vec<f64>)> = vec![];
    for line in text.lines() {
        if line.contains(": registers only ") {
            lines.push((line.trim().to_owned(), vec![]));
        } else if let (Some((_, shares)), Some(share)) = (lines.last_mut(), line.trim().strip_suffix('%')) {
            shares.extend(share.rsplit(' ').next().and_then(|n| n.parse::<f64>().ok()));
        }
    }
    if lines.is_empty() {
        bail!("the tiles were not measured");
    }
    Ok(lines
        .into_iter()
        .map(|(target, shares)| {
            let low = shares.iter().copied().fold(f64::INFINITY, f64::min);
            let high = shares.iter().copied().fold(0.0, f64::max);
            format!("tiles      {target}; {} tiles reach {low:.0} to {high:.0} % of it", shares.len())
        })
        .collect())
}

/// The times of the models for `native`, on one thread and on all.
fn times() -> Result<Vec<String>> {
    let mut lines = vec![];
    let all = available_parallelism().map_or(1, usize::from).to_string();
    for name in SMALL_MODELS {
        let file = |ending: &str| target().join("models").join(format!("{name}.{ending}"));
        let median = |threads: &str| -> Result<f64> {
            let mut bench = command(nnc("release"));
            bench.arg("bench").arg(file("so")).arg("--inputs").arg(file("in.npz"));
            let text = output(bench.args(["--threads", threads, "--json"]))?;
            let result: serde_json::Value = serde_json::from_str(text.lines().last().unwrap_or_default())?;
            result["median_ms"].as_f64().context("nnc bench told no median")
        };
        let (one, several) = (median("1")?, median(&all)?);
        lines.push(format!("model      {name}: {one:.3} ms on 1 thread, {several:.3} ms on {all}"));
    }
    Ok(lines)
}

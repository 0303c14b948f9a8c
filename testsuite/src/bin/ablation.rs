//! What the parts of the compiler are worth, which `cargo xtask ablation` starts: launches and run time of models without
//! each family of rules, without single passes, and with nothing done for speed, beside everything.
//!
//! Both sides run in turn in one process on one thread, and the median of the rounds' ratios is printed: machines that
//! other work shares drift, so only times taken side by side are divided. A model whose program a part leaves as it is
//! is not measured. The exit code is 1 where optimising is worth less than [`LEAST_GAIN`] in the geometric mean, or
//! makes a model clearly slower.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use nnc::array::Array;
use nnc::driver::{Compilation, OptLevel, Options, Watch};
use nnc::errors::{Failure, Result};
use nnc::{inputs, sizes};
use nnc_ir::Graph;
use nnc_passes::lower::Lowered;
use nnc_passes::rules::family::families;
use nnc_runtime::{Runner, TensorRef, Threads};

#[global_allocator]
static ALLOCATOR: nnc::memory::Counted = nnc::memory::Counted;

/// What optimising is worth at least, in the geometric mean over the models.
const LEAST_GAIN: f64 = 1.5;
/// Below this share of the time a model is slower for being optimised; what is nearer to 1 is noise.
const SLOWER: f64 = 0.95;
/// Symbols whose names contain the word get the size; others their least, and 1 at least.
const SIZES: &[(&str, i64)] = &[("seq", 128), ("past", 128)];
/// A side of a round runs so long.
const SIDE_SECONDS: f64 = 0.05;

/// Measures the parts of the compiler.
#[derive(Parser)]
struct Arguments {
    /// Models
    #[arg(required = true)]
    models: Vec<PathBuf>,
    /// Pairs of measurements
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Measure the levels alone, without the families of rules
    #[arg(long)]
    levels: bool,
}

/// What became of one model without one part.
struct Cell {
    /// Launches of a run.
    steps: u64,
    /// Time without the part over time with it.
    ratio: f64,
}

/// A column of a table.
struct Part {
    name: &'static str,
    opt_level: OptLevel,
    disabled: Vec<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // Deep graphs recurse as in the `nnc` command.
    let run = move || report(&arguments);
    match std::thread::Builder::new().stack_size(256 << 20).spawn(run).map(std::thread::JoinHandle::join) {
        Ok(Ok(Ok(true))) => ExitCode::SUCCESS,
        Ok(Ok(Ok(false))) => ExitCode::FAILURE,
        Ok(Ok(Err(failure))) => {
            eprintln!("error: {failure}");
            ExitCode::from(failure.exit_code())
        }
        _ => ExitCode::from(101),
    }
}

/// Measures and prints; whether optimising is worth what it must be.
fn report(arguments: &Arguments) -> Result<bool> {
    let parts = parts(arguments.levels);
    let names: Vec<&str> = parts.iter().map(|part| part.name).collect();
    println!("| model | steps | {} |\n|---|---|{}", names.join(" | "), "---|".repeat(names.len()));
    let mut gains = vec![];
    let mut slower = vec![];
    for path in &arguments.models {
        let (steps, cells) = measure(path, &parts, arguments.rounds)?;
        let name = path.file_stem().unwrap_or_default().display();
        let mut line = format!("| {name} | {steps} |");
        for cell in &cells {
            let _ = match cell {
                Some(cell) => write!(line, " {:+}, {:.2} |", cell.steps as i64 - steps as i64, cell.ratio),
                None => write!(line, " |"),
            };
        }
        println!("{line}");
        let gain = cells[0].as_ref().map_or(1.0, |cell| cell.ratio);
        if gain < SLOWER {
            slower.push(format!("{name} is slower for being optimised: {gain:.2}"));
        }
        gains.push(gain);
    }
    let mean = (gains.iter().map(|gain| gain.ln()).sum::<f64>() / gains.len() as f64).exp();
    println!("\nOptimising makes {} models {mean:.2} times as fast in the geometric mean.", gains.len());
    slower.iter().for_each(|line| println!("{line}"));
    Ok(mean >= LEAST_GAIN && slower.is_empty())
}

/// What is left out, the whole first.
fn parts(levels: bool) -> Vec<Part> {
    let without = |name, disabled: &[&str]| {
        let disabled = disabled.iter().map(|&pass| pass.to_owned()).collect();
        Part { name, opt_level: OptLevel::Full, disabled }
    };
    let mut parts = vec![
        Part { name: "-O0", opt_level: OptLevel::None, disabled: vec![] },
        without("all rules", &["simplify", "fold_scales"]),
    ];
    if !levels {
        let family = |name: &'static str| without(name, &[name]);
        parts.extend(families().map(|of| family(of.name)));
        parts.extend(["fuse", "chain", "join"].map(family));
    }
    parts
}

/// The launches of a model, and what it is without each part; `None` where that changes nothing.
fn measure(path: &Path, parts: &[Part], rounds: u32) -> Result<(u64, Vec<Option<Cell>>)> {
    let options = Options::native("model")?;
    let (mut full, text) = Side::compile(path, &options)?;
    let mut cells = vec![];
    for part in parts {
        let options = Options { opt_level: part.opt_level, disabled: part.disabled.clone(), ..options.clone() };
        let (mut without, other) = Side::compile(path, &options)?;
        cells.push(if other == text { None } else { Some(compare(&mut full, &mut without, rounds)?) });
    }
    Ok((full.steps, cells))
}

fn compare(full: &mut Side, without: &mut Side, rounds: u32) -> Result<Cell> {
    // Caches and page tables settle.
    full.seconds()?;
    without.seconds()?;
    let mut ratios = vec![];
    for round in 0..rounds {
        // Whoever is first does not stay so.
        let (slow, fast) = if round % 2 == 0 {
            let fast = full.seconds()?;
            (without.seconds()?, fast)
        } else {
            (without.seconds()?, full.seconds()?)
        };
        ratios.push(slow / fast);
    }
    ratios.sort_by(f64::total_cmp);
    Ok(Cell { steps: without.steps, ratio: ratios[ratios.len() / 2] })
}

/// Keeps the text of the last program.
#[derive(Default)]
struct LastProgram {
    text: String,
}

impl Watch for LastProgram {
    fn program(&mut self, _: &str, _: &Graph, lowered: &Lowered) -> Result<()> {
        self.text = nnc_kernels::print::program(&lowered.program);
        Ok(())
    }
}

/// A compiled model and its inputs.
struct Side {
    runner: Runner,
    inputs: Vec<Array>,
    steps: u64,
}

impl Side {
    /// Compiles a model; yields the text of its program as well.
    fn compile(path: &Path, options: &Options) -> Result<(Side, String)> {
        let mut watch = LastProgram::default();
        let mut compilation = Compilation::new(options, &mut watch)?;
        let model = compilation.import(path)?;
        let model = compilation.load(&model)?;
        let signature = model.signature();
        let size = |name: &str, least: i64| SIZES.iter().find(|s| name.contains(s.0)).map_or(least.max(1), |s| s.1);
        let symbols: Vec<i64> = signature.symbols.iter().map(|s| size(&s.name, s.min)).collect();
        let inputs = inputs::random_at(signature, sizes::input_dims(signature, &symbols)?)?;
        let steps = signature.steps;
        Ok((Side { runner: Runner::new(model, Threads::Serial), inputs, steps }, watch.text))
    }

    /// How long a run takes.
    fn seconds(&mut self) -> Result<f64> {
        let views: Vec<TensorRef<'_>> = self.inputs.iter().map(Array::view).collect();
        let mut runs = 0;
        let start = Instant::now();
        while runs == 0 || start.elapsed().as_secs_f64() < SIDE_SECONDS {
            self.runner.run(&views).map_err(Failure::from)?;
            runs += 1;
        }
        Ok(start.elapsed().as_secs_f64() / f64::from(runs))
    }
}

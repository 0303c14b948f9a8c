//! `cargo xtask test`: every check there is, and at the end what failed.
//!
//! All steps run, whichever fail, so that one run tells everything. What is downloaded and generated stays in the target
//! folder for the next run.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

use nnc_desc::Target;

use crate::cases::{node_tests, ort_tests};
use crate::shell::{cargo, command, nnc, quiet, root, run, target};

/// A named piece of work.
pub type Step = (&'static str, fn() -> Result<()>);

/// The steps, cheapest first; the comparisons use the `nnc` that the tests have built.
const STEPS: &[Step] = &[
    ("format", || format(true)),
    ("lints", lints),
    ("documentation", documentation),
    ("tests", tests),
    ("python", python),
    ("ONNX node tests", node_tests),
    ("operators against ONNX Runtime", ort_tests),
    ("digits against ONNX Runtime", digits),
    ("models against ONNX Runtime", models),
    ("generated text against ONNX Runtime", generation),
];

/// The benchmark models small enough for every run; `cargo xtask bench` takes all.
pub const SMALL_MODELS: &[&str] =
    &["gru_vad", "lstm_tagger", "mlp_mnist", "mobilenet_v2", "mobilenet_v3_small", "squeezenet1_1", "ssdlite320"];

/// Runs the command.
///
/// # Errors
/// When a step fails.
pub fn test() -> Result<()> {
    let (lines, failed) = perform(STEPS);
    println!("\n==== summary\n{}", lines.join("\n"));
    if !failed.is_empty() {
        bail!("{} of {} steps failed: {}", failed.len(), STEPS.len(), failed.join(", "));
    }
    Ok(())
}

/// Runs all steps: a line on each, and the names of those that failed.
pub fn perform(steps: &[Step]) -> (Vec<String>, Vec<&'static str>) {
    let mut failed = vec![];
    let mut lines = vec![];
    for (name, step) in steps {
        println!("\n==== {name}");
        let start = Instant::now();
        let outcome = step();
        let seconds = start.elapsed().as_secs_f64();
        let line = match outcome {
            Ok(()) => format!("ok      {name} ({seconds:.0} s)"),
            Err(error) => {
                failed.push(*name);
                format!("FAILED  {name} ({seconds:.0} s): {error:#}")
            }
        };
        // Here too: a run that is cut off tells where its time went.
        println!("{line}");
        lines.push(line);
    }
    (lines, failed)
}

/// Formats every Rust file, or checks that all are.
///
/// # Errors
/// When one is not, or rustfmt fails.
pub fn format(check: bool) -> Result<()> {
    // With `-l`, the names of the files that differ; not the differences.
    let check: &[&str] = if check { &["--check", "-l"] } else { &[] };
    let members = run(cargo(["fmt", "--all", "--"]).args(check));
    // Files that cargo fmt does not see: modules declared by the macro of the operator table, and the example.
    let mut files = vec![];
    for folder in ["compiler/ops/src", "docs/examples/rust", "docs/examples/rust/src"] {
        for entry in fs::read_dir(root().join(folder))? {
            let path = entry?.path();
            if path.extension().is_some_and(|e| e == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    println!("$ rustfmt of {} files that cargo fmt does not see", files.len());
    let mut rustfmt = command("rustfmt");
    let others = rustfmt.args(["--edition", "2024"]).args(check).args(&files).status().context("rustfmt")?;
    members?;
    ensure!(others.success(), "some files are not formatted; run `cargo xtask tidy`");
    Ok(())
}

fn lints() -> Result<()> {
    run(&mut cargo(["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"]))
}

fn documentation() -> Result<()> {
    run(cargo(["doc", "--quiet", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))
}

fn tests() -> Result<()> {
    run(&mut cargo(["test", "--quiet", "--workspace", "--no-fail-fast"]))
}

fn venv() -> PathBuf {
    target().join("venv")
}

/// Compares small real models with ONNX Runtime for every x86-64 target that this machine runs.
fn models() -> Result<()> {
    let nnc = built()?;
    let mut compare = script("compare_models.py")?;
    compare.arg(nnc).arg(target().join("models")).args(SMALL_MODELS);
    run(compare.args(["--targets", &targets()]))
}

/// Generates text by a C program and a model with states.
fn generation() -> Result<()> {
    let nnc = built()?;
    run(script("generate.py")?.arg(nnc).arg(target().join("models")).args(["--targets", &targets()]))
}

/// The targets of the table that this machine's processor runs, `native` last, as `compare_models.py` takes them.
pub fn targets() -> String {
    let Ok(native) = Target::parse("native") else { return "native".to_owned() };
    let runs = |name: &&str| {
        let target = Target::parse(name);
        // The one that `native` starts from is measured as `native`.
        let other = native.name != format!("{name}+native");
        other && target.is_ok_and(|t| t.arch == native.arch && t.features.iter().all(|f| native.features.has(f)))
    };
    let names = ["x86_64", "x86_64-avx2", "x86_64-avx512", "aarch64"].into_iter().filter(runs).chain(["native"]);
    names.collect::<Vec<_>>().join(",")
}

/// Measures every benchmark model beside its peers, on one thread.
///
/// # Errors
/// When a step fails or a result is wrong.
pub fn bench() -> Result<()> {
    run(&mut cargo(["build", "--release", "--package", "nnc"]))?;
    python()?;
    let mut pip = command(in_venv("python"));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"]);
    quiet(pip.arg("testsuite/python/requirements-bench.txt"))?;
    let mut compare = script("compare_models.py")?;
    run(compare.arg(nnc("release")).arg(target().join("models")).args(["--speed", "3"]))
}

/// Runs the models of a folder, or some of them, beside ONNX Runtime, and writes the page on them.
///
/// # Errors
/// When a step fails or a result is wrong.
pub fn zoo(folder: &str, names: &[&str]) -> Result<()> {
    run(&mut cargo(["build", "--release", "--package", "nnc"]))?;
    python()?;
    let mut zoo = script("zoo.py")?;
    zoo.arg(nnc("release")).arg(std::path::absolute(folder)?).args(names);
    run(zoo.args(["--targets", &targets(), "--page", "docs/src/zoo.md"]))
}

/// Compiles a model of several gigabytes, with these arguments; compares its results, and the memory that compiling takes.
///
/// # Errors
/// When a step fails, a result is wrong or it takes too much.
pub fn large(arguments: &[&str]) -> Result<()> {
    run(&mut cargo(["build", "--release", "--package", "nnc"]))?;
    python()?;
    run(script("large_model.py")?.arg(nnc("release")).arg(target().join("large")).args(arguments))
}

/// Runs the fuzzer with these arguments.
///
/// # Errors
/// When it cannot be built, or finds something.
pub fn fuzz(arguments: &[&str]) -> Result<()> {
    if let Err(error) = python() {
        println!("without ONNX Runtime: {error:#}");
    }
    let fuzzer = ["run", "--quiet", "--package", "nnc-testsuite", "--bin", "fuzz", "--"];
    run(cargo(fuzzer).args(arguments))
}

/// Measures the rates of the cost model.
pub fn calibrate(target: &[&str]) -> Result<()> {
    let calibrate = ["run", "--release", "--quiet", "--package", "nnc-testsuite", "--bin", "calibrate", "--"];
    run(cargo(calibrate).args(target))
}

/// Measures what optimising and each family of rules are worth; words without dashes are names of models.
///
/// # Errors
/// When it cannot be built, or optimising is worth too little.
pub fn ablation(arguments: &[&str]) -> Result<()> {
    python()?;
    let (options, names): (Vec<&str>, Vec<&str>) = arguments.iter().partition(|word| word.starts_with('-'));
    let models = target().join("models");
    run(script("fill_models.py")?.arg(&models).args(&names))?;
    let names: Vec<String> =
        if names.is_empty() { all_models()? } else { names.into_iter().map(str::to_owned).collect() };
    let ablation = ["run", "--release", "--quiet", "--package", "nnc-testsuite", "--bin", "ablation", "--"];
    let files = names.iter().map(|name| models.join(format!("{name}.onnx")));
    run(cargo(ablation).args(options).args(files))
}

/// The names of the benchmark models.
///
/// # Errors
/// When their folder cannot be read.
pub fn all_models() -> Result<Vec<String>> {
    let mut names: Vec<String> = fs::read_dir(root().join("testsuite/models"))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "onnx"))
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    Ok(names)
}

/// A command of the virtual environment.
fn in_venv(program: &str) -> PathBuf {
    venv().join("bin").join(program)
}

/// Makes the virtual environment, unless the one there has what is asked for.
///
/// # Errors
/// When a package cannot be installed.
pub fn python() -> Result<()> {
    let wanted = root().join("testsuite/python/requirements.txt");
    let stamp = venv().join("requirements.txt");
    if fs::read(&stamp).ok() == Some(fs::read(&wanted)?) {
        println!("{} is up to date", venv().display());
        return Ok(());
    }
    quiet(command("python3").args(["-m", "venv", "--clear"]).arg(venv()))?;
    let mut pip = command(in_venv("python"));
    quiet(pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"]).arg(&wanted))?;
    fs::copy(&wanted, &stamp)?;
    Ok(())
}

/// A Python program of the test suite.
///
/// # Errors
/// When its environment is not there.
pub fn script(name: &str) -> Result<std::process::Command> {
    let python = in_venv("python");
    ensure!(venv().join("requirements.txt").exists(), "there is no Python environment; see the step `python`");
    let mut script = command(python);
    script.arg(Path::new("testsuite/python").join(name));
    Ok(script)
}

/// The `nnc` that the tests have built.
///
/// # Errors
/// When they have not.
pub fn built() -> Result<PathBuf> {
    let nnc = nnc("debug");
    ensure!(nnc.exists(), "nnc is not built; see the step `tests`");
    Ok(nnc)
}

/// The digit models against ONNX Runtime, image for image.
fn digits() -> Result<()> {
    let nnc = built()?;
    run(script("compare_digits.py")?.arg(nnc).arg("docs/examples").arg(target().join("compare_digits")))
}

//! `cargo xtask mutants`: does the suite find defects? A list of planted ones, and for each the test that must find it.
//!
//! `testsuite/mutants.txt` names a place in the code, what stands there and what a mistaken author might have written
//! instead. All of them are built at once, as *schemata*: in a copy of the repository each original text becomes
//!
//! ```text
//! (if mutant is selected { replacement } else { original })
//! ```
//!
//! and the environment variable `NNC_MUTANT` selects one when a test runs. So there is one build for all, and the
//! production sources know nothing of it. (Untch, Offutt, Harrold, "Mutation analysis using mutant schemata", 1993; there
//! one procedure serves each kind of change, here each change is written out.)
//!
//! Texts are expressions therefore, complete ones: `a + b` within `a + b * c` is one, within `c * a + b` it is not. What is
//! `const`, a pattern, or a part of `nnc-abi` (which has no `std`) cannot be switched.
//!
//! Every test is run without a mutant first and must pass. A mutant is found when its test fails, crashes or takes too
//! long. Tests that draw their cases at random are no good here: the answer has to be the same each time.

mod build;
mod list;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::shell::target;
use build::Programs;
use list::Mutant;

/// Runs the mutants of these names, or all.
///
/// # Errors
/// When one is not found, or the list is wrong.
pub fn mutants(names: &[&str]) -> Result<()> {
    let all = list::read()?;
    let stale: Vec<&str> = all.iter().filter(|m| m.position().is_err()).map(|m| m.name.as_str()).collect();
    ensure!(stale.is_empty(), "stale: {}: their text is not in their file, or more than once", stale.join(", "));
    if let Some(unknown) = names.iter().find(|name| all.iter().all(|m| m.name != **name)) {
        bail!("there is no mutant {unknown}");
    }
    let folder = target().join("mutants");
    let programs = build::build(&folder, &all)?;
    let chosen: Vec<&Mutant> = all.iter().filter(|m| names.is_empty() || names.contains(&m.name.as_str())).collect();
    let start = Instant::now();

    println!("\n==== the tests without a mutant");
    // How long each takes; `None` for one that fails, which judges nothing.
    let mut durations: BTreeMap<&str, Option<Duration>> = BTreeMap::new();
    for mutant in &chosen {
        if durations.contains_key(mutant.found_by.as_str()) {
            continue;
        }
        let outcome = perform(&programs, &folder, mutant, None)?;
        ensure!(!outcome.said.contains("running 0 tests\n"), "`{}` is no test", mutant.found_by);
        let failure = outcome.found.as_deref().map_or(String::new(), |found| format!(": FAILS: {found}"));
        println!("{:6.1} s  {}{failure}", outcome.duration.as_secs_f64(), mutant.found_by);
        durations.insert(&mutant.found_by, outcome.found.is_none().then_some(outcome.duration));
    }

    println!("\n==== the mutants");
    let mut missed = vec![];
    for mutant in &chosen {
        let Some(usual) = durations.get(mutant.found_by.as_str()).copied().flatten() else {
            println!("          {}: not run", mutant.name);
            missed.push(format!("  {}: `{}` fails without it", mutant.name, mutant.found_by));
            continue;
        };
        let outcome = perform(&programs, &folder, mutant, Some(usual * 5 + Duration::from_secs(30)))?;
        let verdict = outcome.found.as_deref().unwrap_or("NOT FOUND");
        println!("{:6.1} s  {}: {verdict}", outcome.duration.as_secs_f64(), mutant.name);
        if outcome.found.is_none() {
            missed.push(format!("  {} ({}), by `{}`", mutant.name, mutant.defect, mutant.found_by));
        }
    }
    let found = chosen.len() - missed.len();
    println!("\n{found} of {} mutants found ({:.0} s)", chosen.len(), start.elapsed().as_secs_f64());
    ensure!(missed.is_empty(), "not found:\n{}", missed.join("\n"));
    Ok(())
}

/// How a test went.
struct Outcome {
    /// What shows the defect, if something does.
    found: Option<String>,
    duration: Duration,
    /// What the test printed.
    said: String,
}

/// Runs the test of a mutant: with the mutant and for so long at most, or without either.
fn perform(programs: &Programs, folder: &Path, mutant: &Mutant, limit: Option<Duration>) -> Result<Outcome> {
    let mut words = mutant.found_by.split_whitespace();
    let name = words.next().unwrap_or_default();
    let program = programs.get(name).with_context(|| format!("{}: no test program {name}", mutant.name))?;
    let mut command = Command::new(&program.path);
    command.args(words).current_dir(&program.folder).env("CARGO_MANIFEST_DIR", &program.folder);
    if name == "fuzz" {
        command.args(["--failures", "1", "--no-shrink", "--out"]).arg(folder.join("fuzz"));
    }
    match limit {
        Some(_) => command.env("NNC_MUTANT", &mutant.name),
        None => command.env_remove("NNC_MUTANT"),
    };
    let log = folder.join("logs").join(if limit.is_some() { &mutant.name } else { "none" }).with_extension("txt");
    fs::create_dir_all(folder.join("logs"))?;
    let output = fs::File::create(&log)?;
    command.stdin(Stdio::null()).stderr(output.try_clone()?).stdout(output);
    let start = Instant::now();
    let status = wait(command.process_group(0), limit).with_context(|| program.path.display().to_string())?;
    let duration = start.elapsed();
    let said = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
    Ok(Outcome { found: verdict(status, &said), duration, said })
}

/// Runs a command; `None` when it takes longer than it may. It leads a process group, which ends with it.
fn wait(command: &mut Command, limit: Option<Duration>) -> Result<Option<ExitStatus>> {
    let start = Instant::now();
    let mut child = command.spawn()?;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if limit.is_some_and(|limit| start.elapsed() > limit) {
            Command::new("kill").args(["-KILL", "--", &format!("-{}", child.id())]).status()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// What shows a defect, if something does: the first test that failed, or how the process ended.
fn verdict(status: Option<ExitStatus>, said: &str) -> Option<String> {
    let Some(status) = status else { return Some("takes too long".to_owned()) };
    if status.success() {
        return None;
    }
    let failed = |line: &str| line.strip_prefix("test ")?.strip_suffix(" ... FAILED").map(str::to_owned);
    let wrong = |line: &str| line.strip_prefix("WRONG ").map(|text| text.chars().take(100).collect());
    let line = said.lines().find_map(|line| failed(line).or_else(|| wrong(line)));
    Some(match (status.signal(), line) {
        (Some(signal), _) => format!("crash, signal {signal}"),
        (None, Some(line)) => line,
        (None, None) => status.to_string(),
    })
}

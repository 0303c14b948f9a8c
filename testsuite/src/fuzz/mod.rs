//! The differential fuzzer: random valid models, compiled in many ways, against the interpreter and ONNX Runtime.
//!
//! [`FAMILIES`] is the list of what can be fuzzed; a family turns a seed into an [`Outcome`], and the same seed gives the
//! same case on every machine. Most are generators of cases ([`onnx`], [`graph`]) that [`Session::differential`] checks
//! in a [`worker`] process, where a crash is a verdict, and a failure is made small by [`shrink`] and written as a case
//! ([`mod@case`]) that fits into `testsuite/cases`; [`import`] damages models and runs the command on them, [`artifact`]
//! damages compiled models and loads them.

pub mod artifact;
pub mod case;
pub mod check;
pub mod graph;
pub mod import;
pub mod onnx;
pub mod oracle;
pub mod random;
mod session;
pub mod shrink;
pub mod special;
pub mod tolerance;
pub mod worker;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use nnc::errors::{Failure, Result};

pub use session::{Outcome, Session};

/// Something to fuzz.
pub struct Family {
    /// The name for `--family`.
    pub name: &'static str,
    /// What it is, for `--help`.
    pub about: &'static str,
    /// Makes the case of a seed and checks it.
    pub run: fn(&mut Session, u64) -> Result<Outcome>,
}

/// The families.
pub const FAMILIES: &[Family] = &[
    Family { name: "onnx", about: "ONNX models, whole compiler", run: onnx::run },
    Family { name: "rules", about: "graphs full of what rewrite rules match", run: graph::rules },
    Family { name: "lower", about: "graphs of every core operation, not rewritten", run: graph::lower },
    Family { name: "memory", about: "graphs with many values alive at once", run: graph::memory },
    Family { name: "import", about: "damaged and hostile files, given to the command", run: import::run },
    Family { name: "artifact", about: "compiled models with changed bytes", run: artifact::run },
];

/// Arguments of the fuzzer.
#[derive(Debug, clap::Parser)]
#[command(about = "Compiles random models in many ways and compares what they compute")]
pub struct Arguments {
    /// Seconds to run for
    #[arg(long, default_value_t = 60)]
    pub seconds: u64,
    /// First seed; by default a random one
    #[arg(long)]
    pub seed: Option<u64>,
    /// Number of seeds, whatever the time
    #[arg(long)]
    pub count: Option<u64>,
    /// Family to fuzz; by default all in turn: onnx, rules, lower, memory, import, artifact
    #[arg(long)]
    pub family: Option<String>,
    /// Folder for failing cases
    #[arg(long, default_value = "target/fuzz")]
    pub out: PathBuf,
    /// Failures to find before stopping
    #[arg(long, default_value_t = 10)]
    pub failures: usize,
    /// Leave failing cases as they were found
    #[arg(long)]
    pub no_shrink: bool,
    /// Say what each seed came to
    #[arg(long)]
    pub verbose: bool,
    /// Check all cases in this folder (as in testsuite/cases) instead
    #[arg(long)]
    pub cases: Option<PathBuf>,
    /// Serve as a worker process
    #[arg(long, hide = true)]
    pub worker: bool,
}

/// Runs the fuzzer; whether nothing was found.
///
/// # Errors
/// When the arguments are wrong, or no worker can be started.
pub fn main(arguments: &Arguments) -> Result<bool> {
    if arguments.worker {
        return worker::serve().map(|()| true);
    }
    let program = std::env::current_exe().map_err(|e| Failure::user(e.to_string()))?;
    let mut session = Session::new(&program, arguments)?;
    if let Some(folder) = &arguments.cases {
        return session.cases(folder);
    }
    let families: Vec<&Family> =
        FAMILIES.iter().filter(|f| arguments.family.as_ref().is_none_or(|name| name == f.name)).collect();
    if families.is_empty() {
        let names: Vec<&str> = FAMILIES.iter().map(|f| f.name).collect();
        return Err(Failure::user(format!("there is no such family; there are {}", names.join(", "))));
    }
    let first = arguments.seed.unwrap_or_else(clock);
    let end = Instant::now() + Duration::from_secs(arguments.seconds);
    println!("seeds from {first}; ONNX Runtime is {}", if session.has_oracle() { "there" } else { "not there" });
    let mut failures = 0;
    for i in 0.. {
        let over = arguments.count.map_or_else(|| Instant::now() >= end, |count| i >= count);
        if over || failures >= arguments.failures {
            break;
        }
        let family = families[(i % families.len() as u64) as usize];
        let seed = first.wrapping_add(i / families.len() as u64);
        let outcome = (family.run)(&mut session, seed)?;
        if arguments.verbose {
            println!("{} {seed}: {outcome:?}", family.name);
        }
        if let Outcome::Wrong(text) = &outcome {
            failures += 1;
            println!("WRONG {} --seed {seed}: {text}", family.name);
        }
        session.count(family.name, &outcome);
    }
    session.report();
    Ok(failures == 0)
}

/// A seed for a run that was given none: the one place where chance enters, and it is printed.
fn clock() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(1, |t| t.as_millis() as u64 % 1_000_000_000)
}

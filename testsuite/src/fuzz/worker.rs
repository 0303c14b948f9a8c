//! The process that cases are checked in, so that a crash is one verdict among others.
//!
//! Protocol: each line of standard input is a [`Job`], each line of standard output its [`Verdict`].

use std::io::{BufRead, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nnc::errors::{Failure, Result};
use nnc::guard::fault::EXIT_CODE;
use nnc::helper::{Answer, Helper};
use serde::{Deserialize, Serialize};

use super::check::{Config, Fault, Verdict, check};

/// The longest a case may take.
const LIMIT: Duration = Duration::from_secs(120);

/// A case to check.
#[derive(Debug, Serialize, Deserialize)]
pub struct Job {
    /// Its folder.
    pub folder: PathBuf,
    /// How to compile and run it.
    pub configs: Vec<Config>,
    /// The factor by which floats may be further off than usual.
    pub factor: f64,
}

/// The worker as its parent sees it.
pub struct Worker(Helper);

impl Worker {
    /// A worker, run by the fuzzer's program.
    pub fn new(program: &Path) -> Worker {
        let mut command = Command::new(program);
        command.arg("--worker");
        Worker(Helper::new(command, LIMIT))
    }

    /// Checks a case.
    ///
    /// # Errors
    /// When no worker can be started.
    pub fn check(&mut self, folder: &Path, configs: &[Config], factor: f64) -> Result<Verdict> {
        let job = Job { folder: folder.to_owned(), configs: configs.to_vec(), factor };
        let line = serde_json::to_string(&job).map_err(Failure::internal)?;
        // A worker names the configuration before it begins with it.
        let begun = |said: &[String]| {
            said.iter().rev().find_map(|line| configs.iter().find(|c| c.to_string() == *line)).cloned()
        };
        match self.0.ask(&line)? {
            Answer::Line(reply) => serde_json::from_str(&reply).map_err(Failure::internal),
            Answer::Crashed(end) if end.code == Some(EXIT_CODE) => {
                Ok(Verdict::Wrong { fault: Fault::Fence, config: begun(&end.said), detail: end.last().to_owned() })
            }
            Answer::Crashed(end) => {
                Ok(Verdict::Wrong { fault: Fault::Crash, config: begun(&end.said), detail: end.to_string() })
            }
            Answer::Silent => {
                let detail = format!("took longer than {} s", LIMIT.as_secs());
                Ok(Verdict::Wrong { fault: Fault::Silence, config: None, detail })
            }
        }
    }
}

/// Serves jobs until the input ends.
///
/// # Errors
/// When the pipes to the parent break.
pub fn serve() -> Result<()> {
    nnc::panics::remember();
    let pipe = |e: std::io::Error| Failure::user(format!("the worker's pipe: {e}"));
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let job: Job = serde_json::from_str(&line.map_err(pipe)?).map_err(Failure::internal)?;
        let verdict = catch_unwind(AssertUnwindSafe(|| check(&job.folder, &job.configs, job.factor)));
        let verdict = verdict.unwrap_or_else(|_| Verdict::Wrong {
            fault: Fault::Crash,
            config: None,
            detail: nnc::panics::last(),
        });
        let text = serde_json::to_string(&verdict).map_err(Failure::internal)?;
        writeln!(out, "{text}").and_then(|()| out.flush()).map_err(pipe)?;
    }
    Ok(())
}

//! A worker process of `nnc test`.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::commands::worker::{Arguments, Verdict};
use crate::errors::{Failure, Result};
use crate::guard::fault;
use crate::helper::{Answer, Helper};

/// The longest a case may take.
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// A worker that may be dead.
pub(super) struct Child(Helper);

impl Child {
    /// A worker with these arguments: this program, or what `worker` says, words between blanks.
    ///
    /// # Errors
    /// When this program does not know where it lies.
    pub(super) fn new(worker: Option<&str>, arguments: &Arguments) -> Result<Child> {
        let mut words = worker.unwrap_or_default().split_whitespace();
        let mut command = match words.next() {
            Some(program) => Command::new(program),
            None => {
                let program = std::env::current_exe();
                Command::new(program.map_err(|e| Failure::user(format!("starting a worker: {e}")))?)
            }
        };
        command.args(words);
        command.arg("test-worker").args(arguments.words());
        Ok(Child(Helper::new(command, TIME_LIMIT)))
    }

    /// Runs a case in the worker.
    ///
    /// # Errors
    /// When no worker can be started.
    pub(super) fn run(&mut self, case: &Path) -> Result<Verdict> {
        let Ok(line) = serde_json::to_string(case) else {
            return Ok(Verdict::Failed("the folder's name is not UTF-8".to_owned()));
        };
        match self.0.ask(&line)? {
            Answer::Line(reply) => {
                serde_json::from_str(&reply).map_err(|e| Failure::internal(format!("a worker's reply: {e}")))
            }
            Answer::Crashed(end) if end.code == Some(fault::EXIT_CODE) => Ok(Verdict::Failed(end.last().to_owned())),
            Answer::Crashed(end) => Ok(Verdict::Failed(format!("crashed: {end}"))),
            Answer::Silent => Ok(Verdict::Failed(format!("took longer than {} s", TIME_LIMIT.as_secs()))),
        }
    }
}

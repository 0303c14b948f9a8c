//! A worker process, started when first needed and again after each crash.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use crate::commands::worker::Verdict;
use crate::errors::{Failure, Result};
use crate::guard::fault;

/// The longest a case may take.
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// A worker that may be dead.
pub(super) struct Child {
    target: String,
    guard: bool,
    alive: Option<Alive>,
}

struct Alive {
    process: std::process::Child,
    stdin: ChildStdin,
    /// The lines of its standard output; closed when it has ended.
    replies: mpsc::Receiver<String>,
    /// What it says on standard error, looked at after a crash.
    stderr: File,
}

impl Child {
    pub(super) fn new(target: &str, guard: bool) -> Child {
        Child { target: target.to_owned(), guard, alive: None }
    }

    /// Runs a case in the worker.
    ///
    /// # Errors
    /// When no worker can be started.
    pub(super) fn run(&mut self, case: &Path) -> Result<Verdict> {
        let mut alive = match self.alive.take() {
            Some(alive) => alive,
            None => {
                Alive::start(&self.target, self.guard).map_err(|e| Failure::user(format!("starting a worker: {e}")))?
            }
        };
        let Ok(line) = serde_json::to_string(case) else {
            self.alive = Some(alive);
            return Ok(Verdict::Failed("the folder's name is not UTF-8".to_owned()));
        };
        // A worker that died is found out by its silence.
        let _ = writeln!(alive.stdin, "{line}");
        match alive.replies.recv_timeout(TIME_LIMIT) {
            Ok(reply) => {
                self.alive = Some(alive);
                let bad = |e| Failure::internal(format!("a worker's reply: {e}"));
                serde_json::from_str(&reply).map_err(bad)
            }
            Err(RecvTimeoutError::Timeout) => {
                let seconds = TIME_LIMIT.as_secs();
                Ok(Verdict::Failed(format!("took longer than {seconds} s")))
            }
            Err(RecvTimeoutError::Disconnected) => Ok(Verdict::Failed(alive.crash())),
        }
    }
}

impl Alive {
    fn start(target: &str, guard: bool) -> std::io::Result<Alive> {
        let stderr = tempfile::tempfile()?;
        let mut process = Command::new(std::env::current_exe()?)
            .args(["test-worker", "--target", target])
            .args(guard.then_some("--guard"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(stderr.try_clone()?)
            .spawn()?;
        let missing = || std::io::Error::other("it has no pipes");
        let stdin = process.stdin.take().ok_or_else(missing)?;
        let stdout = process.stdout.take().ok_or_else(missing)?;
        let (sender, replies) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Alive { process, stdin, replies, stderr })
    }

    /// Why the process ended.
    fn crash(mut self) -> String {
        let ended = self.process.wait();
        let at_a_fence = ended.as_ref().is_ok_and(|status| status.code() == Some(fault::EXIT_CODE));
        let how = match ended {
            Ok(status) => describe(status),
            Err(error) => error.to_string(),
        };
        let mut text = vec![];
        let read = self.stderr.rewind().and_then(|()| self.stderr.read_to_end(&mut text));
        let text = String::from_utf8_lossy(&text);
        match text.lines().map(str::trim).rfind(|line| !line.is_empty()).filter(|_| read.is_ok()) {
            Some(line) if at_a_fence => line.to_owned(),
            Some(line) => format!("crashed: {how}: {line}"),
            None => format!("crashed: {how}"),
        }
    }
}

impl Drop for Alive {
    /// Idle or stuck, a worker has nothing to lose.
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn describe(status: ExitStatus) -> String {
    let name = |signal| match signal {
        4 => "SIGILL".to_owned(),
        6 => "SIGABRT".to_owned(),
        7 => "SIGBUS".to_owned(),
        8 => "SIGFPE".to_owned(),
        9 => "SIGKILL".to_owned(),
        11 => "SIGSEGV".to_owned(),
        other => format!("signal {other}"),
    };
    match (status.signal(), status.code()) {
        (Some(signal), _) => name(signal),
        (None, Some(code)) => format!("exit code {code}"),
        (None, None) => "it ended".to_owned(),
    }
}

//! A helper process that answers lines: started when first needed, and again after each crash.
//!
//! What may crash or hang runs in such a process, so that its end is an answer like others and not the end of the run.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use crate::errors::{Failure, Result};

/// What a helper made of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Its answer.
    Line(String),
    /// It ended.
    Crashed(End),
    /// It said nothing for as long as it may; it was ended.
    Silent,
}

/// How a helper ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// Its exit code, unless a signal ended it.
    pub code: Option<i32>,
    /// The signal or the code, in words.
    pub how: String,
    /// The last lines that it wrote to standard error.
    pub said: Vec<String>,
}

impl End {
    /// The last thing it said; how it ended, if it said nothing.
    pub fn last(&self) -> &str {
        self.said.last().unwrap_or(&self.how)
    }
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.how)?;
        self.said.last().map_or(Ok(()), |said| write!(f, ": {said}"))
    }
}

/// The lines of standard error that are kept of a helper that ended.
const KEPT_LINES: usize = 5;

/// A helper process that may be dead.
pub struct Helper {
    command: Command,
    limit: Duration,
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

impl Helper {
    /// A helper that is started by this command and may take so long for an answer.
    pub fn new(command: Command, limit: Duration) -> Helper {
        Helper { command, limit, alive: None }
    }

    /// Sends a line and waits for the answer.
    ///
    /// # Errors
    /// When no helper can be started.
    pub fn ask(&mut self, line: &str) -> Result<Answer> {
        let mut alive = match self.alive.take() {
            Some(alive) => alive,
            None => Alive::start(&mut self.command).map_err(|e| Failure::user(format!("starting a worker: {e}")))?,
        };
        // A helper that died is found out by its silence.
        let _ = writeln!(alive.stdin, "{line}");
        Ok(match alive.replies.recv_timeout(self.limit) {
            Ok(reply) => {
                self.alive = Some(alive);
                Answer::Line(reply)
            }
            Err(RecvTimeoutError::Timeout) => Answer::Silent,
            Err(RecvTimeoutError::Disconnected) => Answer::Crashed(alive.crash()),
        })
    }
}

impl Alive {
    fn start(command: &mut Command) -> std::io::Result<Alive> {
        let stderr = tempfile::tempfile()?;
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(stderr.try_clone()?).spawn()?;
        let missing = || std::io::Error::other("it has no pipes");
        let stdin = process.stdin.take().ok_or_else(missing)?;
        let stdout = process.stdout.take().ok_or_else(missing)?;
        let (sender, replies) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(std::result::Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Alive { process, stdin, replies, stderr })
    }

    /// Why the process ended.
    fn crash(mut self) -> End {
        let ended = self.process.wait();
        let code = ended.as_ref().ok().and_then(ExitStatus::code);
        let how = match ended {
            Ok(status) => describe(status),
            Err(error) => error.to_string(),
        };
        let mut text = vec![];
        // What cannot be read was not said.
        let _ = self.stderr.rewind().and_then(|()| self.stderr.read_to_end(&mut text));
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let first = lines.len().saturating_sub(KEPT_LINES);
        End { code, how, said: lines[first..].iter().map(|line| (*line).to_owned()).collect() }
    }
}

impl Drop for Alive {
    /// Idle or stuck, a helper has nothing to lose.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Helper {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Helper::new(command, Duration::from_millis(500))
    }

    #[test]
    fn answers_crashes_and_silence() {
        let mut helper = shell(
            "while read line; do case $line in die) echo why >&2; kill -9 $$;; hang) sleep 9;; *) echo \"got $line\";; \
             esac; done",
        );
        let line = |text: &str| Answer::Line(text.to_owned());
        assert_eq!(helper.ask("a").unwrap(), line("got a"));
        let end = End { code: None, how: "SIGKILL".to_owned(), said: vec!["why".to_owned()] };
        assert_eq!(helper.ask("die").unwrap(), Answer::Crashed(end));
        assert_eq!(helper.ask("b").unwrap(), line("got b"));
        assert_eq!(helper.ask("hang").unwrap(), Answer::Silent);
        assert_eq!(helper.ask("c").unwrap(), line("got c"));
    }
}

//! What the command does with a file, and whether it may.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nnc::errors::{Failure, Result};

/// What a file is given to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// `nnc compile`.
    Model,
    /// `nnc run`, as its inputs.
    Arrays,
    /// The reader of tensors in test cases.
    Tensor,
}

/// Time that any file may take. Work is bounded by counting, so this is far above what a busy machine needs.
const MOST_SECONDS: u64 = 60;
/// Memory beyond what the command itself counts: code, stacks, mapped files.
const MORE_BYTES: u64 = 512 << 20;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was taken.
    Taken,
    /// It was refused in one line.
    Refused(String),
    /// Something that must not be.
    Wrong(String),
}

/// Gives a file to the command in a folder of its own, in which `model` is for [`Subject::Arrays`].
///
/// # Errors
/// When the folder cannot be written or the command not started.
pub fn judge(program: &Path, scratch: &Path, subject: Subject, bytes: &[u8], model: &Path) -> Result<Verdict> {
    let io = |e: std::io::Error| Failure::io(scratch, "cannot be used", &e);
    let folder = tempfile::tempdir_in(scratch).map_err(io)?;
    let given = folder.path().join("given");
    fs::write(&given, bytes).map_err(io)?;
    let mut command = Command::new(program);
    match subject {
        Subject::Model => command.args(["nnc", "compile", "given", "-o", "out.so", "--target", "x86_64-avx2"]),
        Subject::Arrays => command.args(["nnc", "run"]).arg(model).args(["--inputs", "given", "--outputs", "out.npz"]),
        Subject::Tensor => command.args(["tensor", "given"]),
    };
    command.current_dir(folder.path()).env_remove("RUST_BACKTRACE");
    let errors = folder.path().join("errors");
    let stderr = fs::File::create(&errors).map_err(io)?;
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr).spawn().map_err(io)?;
    let allowed = nnc::memory::allowance(bytes.len() as u64) + MORE_BYTES;
    let end = match wait(&mut child, allowed).map_err(io)? {
        Ok(status) => status,
        Err(what) => return Ok(Verdict::Wrong(what)),
    };
    let text = fs::read_to_string(&errors).unwrap_or_else(|_| "not UTF-8".to_owned());
    let mut left: Vec<String> = vec![];
    for entry in fs::read_dir(folder.path()).map_err(io)? {
        let name = entry.map_err(io)?.file_name().to_string_lossy().into_owned();
        if name != "given" && name != "errors" {
            left.push(name);
        }
    }
    left.sort();
    Ok(verdict(subject, end, &text, &left))
}

fn verdict(subject: Subject, end: ExitStatus, text: &str, left: &[String]) -> Verdict {
    let line = text.strip_suffix('\n').unwrap_or(text);
    let expected: &[&str] = match (end.code(), subject) {
        (Some(0), Subject::Model) => &["out.h", "out.so"],
        (Some(0), Subject::Arrays) => &["out.npz"],
        _ => &[],
    };
    match end.code() {
        None => Verdict::Wrong(format!("ended by a signal: {end}; {line}")),
        Some(0..=2) if left != expected => Verdict::Wrong(format!("left {} behind", left.join(", "))),
        Some(0) => Verdict::Taken,
        Some(1 | 2) if line.contains("defect of nnc") || line.contains("no memory left") => {
            Verdict::Wrong(line.to_owned())
        }
        Some(1 | 2) if line.starts_with("error: ") && line.lines().count() == 1 => Verdict::Refused(line.to_owned()),
        Some(code) => Verdict::Wrong(format!("exit code {code}: {line}")),
    }
}

/// Waits for a process; what it took too much of, if it did.
fn wait(child: &mut Child, allowed: u64) -> std::io::Result<std::result::Result<ExitStatus, String>> {
    let start = Instant::now();
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Ok(status));
        }
        let too_long = start.elapsed().as_secs() >= MOST_SECONDS;
        let too_large = peak(child.id()).is_some_and(|bytes| bytes > allowed);
        if too_long || too_large {
            child.kill()?;
            child.wait()?;
            let what =
                if too_long { format!("took over {MOST_SECONDS} s") } else { format!("took over {allowed} bytes") };
            return Ok(Err(what));
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// The most memory that a process has had, where the system tells.
fn peak(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

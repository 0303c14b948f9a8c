//! Places in the repository, and commands run there.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// The root of the repository.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}

/// The folder that cargo builds in.
pub fn target() -> PathBuf {
    let folder = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    root().join(folder)
}

/// The `nnc` command of a profile: `debug` or `release`.
pub fn nnc(profile: &str) -> PathBuf {
    target().join(profile).join("nnc")
}

/// A program to run in the root; arguments are added to it.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root()).stdin(Stdio::null());
    command
}

/// `cargo` with arguments.
pub fn cargo<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments);
    command
}

/// Shows a command as it would be typed in the root.
pub fn show(command: &Command) -> String {
    let root = format!("{}/", root().display());
    let program = Path::new(command.get_program());
    // The toolchain's own cargo stands behind the one that is typed.
    let program = if program.ends_with("cargo") { OsStr::new("cargo") } else { program.as_os_str() };
    let words = std::iter::once(program).chain(command.get_args());
    let words: Vec<String> = words.map(|w| w.to_string_lossy().replace(&root, "")).collect();
    words.join(" ")
}

/// Runs a command that prints for itself.
///
/// # Errors
/// When it cannot be started, or fails.
pub fn run(command: &mut Command) -> Result<()> {
    println!("$ {}", show(command));
    let status = command.status().with_context(|| format!("`{}` cannot be started", show(command)))?;
    if !status.success() {
        bail!("`{}` failed: {status}", show(command));
    }
    Ok(())
}

/// Runs a command quietly: what it printed on standard output, whatever its exit code says.
///
/// # Errors
/// When it cannot be started, or prints what is not UTF-8.
pub fn output(command: &mut Command) -> Result<String> {
    println!("$ {}", show(command));
    let output = command.stderr(Stdio::inherit()).output();
    let output = output.with_context(|| format!("`{}` cannot be started", show(command)))?;
    Ok(String::from_utf8(output.stdout)?)
}

/// Runs a command quietly; its last line of complaint is the error.
///
/// # Errors
/// When it cannot be started, or fails.
pub fn quiet(command: &mut Command) -> Result<()> {
    println!("$ {}", show(command));
    let output = command.output().with_context(|| format!("`{}` cannot be started", show(command)))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        let lines = text.lines().map(str::trim).filter(|l| !l.is_empty());
        // pip ends with hints; the reason is in the first line that is an error.
        let reason = lines.clone().find(|l| l.starts_with("ERROR")).or(lines.clone().next_back());
        bail!("`{}` failed: {}", show(command), reason.unwrap_or("no message"));
    }
    Ok(())
}

/// Whether a program is installed.
pub fn is_there(program: &str) -> bool {
    command(program).arg("--version").output().is_ok_and(|o| o.status.success())
}

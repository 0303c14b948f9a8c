//! The text of `nnc --version`: the version, and of optimised builds the commit they were made of.
//!
//! The commit is that of the git repository whose root is nnc's, or what the environment variable `NNC_COMMIT` says where
//! there is none, such as in an archive of the sources; without either there is no commit in the text. Nothing else of the
//! machine or the time gets into it, so that the same sources give the same program. Builds for development do without,
//! for they would be made anew after every commit.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=NNC_COMMIT");
    let version = std::env::var("CARGO_PKG_VERSION").unwrap_or_default();
    let given = std::env::var("NNC_COMMIT").ok().filter(|commit| !commit.is_empty());
    let text = match given.or_else(commit) {
        Some(commit) => format!("{version} ({commit})"),
        None => version,
    };
    println!("cargo::rustc-env=NNC_VERSION={text}");
}

/// The commit of the repository, if this is an optimised build in one.
fn commit() -> Option<String> {
    let optimised = std::env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let root = Path::new(&std::env::var_os("CARGO_MANIFEST_DIR")?).join("../..").canonicalize().ok()?;
    // A repository around that of nnc has commits of something else.
    if !optimised || Path::new(&git(&root, &["rev-parse", "--show-toplevel"])?).canonicalize().ok()? != root {
        return None;
    }
    // The log of what HEAD was changes with every commit and checkout.
    let log = root.join(git(&root, &["rev-parse", "--git-path", "logs/HEAD"])?);
    if log.exists() {
        println!("cargo::rerun-if-changed={}", log.display());
    }
    git(&root, &["rev-parse", "--short=12", "HEAD"])
}

/// What git answers, in one line; nothing where there is no git, or no repository.
fn git(folder: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").arg("-C").arg(folder).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}

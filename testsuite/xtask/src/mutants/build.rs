//! Builds all mutants at once, in a copy of the repository.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::list::Mutant;
use crate::shell::{cargo, command, root, show};

/// A test program, or the fuzzer.
pub struct Program {
    /// The executable.
    pub path: PathBuf,
    /// The folder that it runs in, as by `cargo test`.
    pub folder: PathBuf,
}

/// By name: a library's, an integration test's, or `fuzz`.
pub type Programs = BTreeMap<String, Program>;

/// Copies the repository to `tree` in this folder, with every mutant in it, and builds the tests and the fuzzer there.
/// Only files that differ are written, so that what was built before is used again.
///
/// # Errors
/// When a file cannot be written, mutants overlap, or the build fails.
pub fn build(folder: &Path, mutants: &[Mutant]) -> Result<Programs> {
    let tree = folder.join("tree");
    let files = files()?;
    for path in &files {
        let bytes = fs::read(root().join(path)).with_context(|| path.clone())?;
        let here: Vec<&Mutant> = mutants.iter().filter(|m| m.file == *path).collect();
        let bytes = if here.is_empty() { bytes } else { plant(&String::from_utf8(bytes)?, &here)?.into_bytes() };
        let copy = tree.join(path);
        if fs::read(&copy).ok().as_ref() != Some(&bytes) {
            fs::create_dir_all(copy.parent().unwrap_or(&tree))?;
            fs::write(&copy, bytes).with_context(|| copy.display().to_string())?;
        }
    }
    remove_others(&tree, &tree, &files)?;

    let mut build = cargo(["test", "--workspace", "--no-run", "--message-format=json"]);
    build.current_dir(&tree).env("CARGO_TARGET_DIR", folder.join("target"));
    println!("$ {}  (in {})", show(&build), tree.display());
    let output = build.stderr(Stdio::inherit()).output().context("cargo")?;
    let text = String::from_utf8(output.stdout)?;
    let messages = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut programs = Programs::new();
    for message in messages {
        if message["message"]["level"] == "error" {
            eprintln!("{}", message["message"]["rendered"].as_str().unwrap_or_default());
        }
        programs.extend(program(&message, &tree));
    }
    ensure!(output.status.success(), "the mutants cannot be built");
    Ok(programs)
}

/// The files of the repository: those that git has or would take.
fn files() -> Result<BTreeSet<String>> {
    let list = command("git").args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).output();
    let list = list.context("git")?;
    ensure!(list.status.success(), "git does not list the files");
    let names = String::from_utf8(list.stdout)?;
    let names = names.split('\0').filter(|n| !n.is_empty() && root().join(n).is_file());
    Ok(names.map(str::to_owned).collect())
}

/// Removes files of an earlier copy that the repository no longer has.
fn remove_others(folder: &Path, tree: &Path, files: &BTreeSet<String>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            remove_others(&path, tree, files)?;
        } else if !files.contains(&path.strip_prefix(tree)?.display().to_string()) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// A file's text with its mutants in it.
fn plant(text: &str, mutants: &[&Mutant]) -> Result<String> {
    let mut places: Vec<(Range<usize>, &Mutant)> = vec![];
    for mutant in mutants {
        places.push((mutant.position()?, mutant));
    }
    places.sort_by_key(|(range, _)| range.start);
    let mut planted = String::new();
    let mut end = 0;
    for (range, mutant) in places {
        if range.start < end {
            bail!("{} overlaps another mutant", mutant.name);
        }
        planted += &text[end..range.start];
        planted += &switch(mutant);
        end = range.end;
    }
    Ok(planted + &text[end..])
}

/// The original text, unless this mutant is selected.
fn switch(mutant: &Mutant) -> String {
    let Mutant { name, original, replacement, .. } = mutant;
    let selected = format!(
        "{{ static ON: ::std::sync::OnceLock<bool> = ::std::sync::OnceLock::new(); \
         *ON.get_or_init(|| ::std::env::var_os(\"NNC_MUTANT\").is_some_and(|m| m == \"{name}\")) }}"
    );
    format!("(if {selected} {{ {replacement} }} else {{ {original} }})")
}

/// The program that a message of cargo tells of.
fn program(message: &Value, tree: &Path) -> Option<(String, Program)> {
    let path = PathBuf::from(message["executable"].as_str()?);
    let name = message["target"]["name"].as_str()?;
    let kind = message["target"]["kind"][0].as_str()?;
    let test = message["profile"]["test"].as_bool()?;
    let package = Path::new(message["manifest_path"].as_str()?).parent()?;
    match (kind, test) {
        ("bin", false) if name == "fuzz" => Some((name.to_owned(), Program { path, folder: tree.to_owned() })),
        ("bin" | "example", _) | (_, false) => None,
        _ => Some((name.to_owned(), Program { path, folder: package.to_owned() })),
    }
}

//! Where a scalar function and a core operation stand, against the lists that the book gives of those files.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::common::root;

const PAGE: &str = "docs/src/core_operation.md";
/// Where what every function and operation needs is written; translations and generators of tests use those they like.
const FOLDERS: [&str; 6] = [
    "compiler/ir/src",
    "compiler/eval/src",
    "compiler/kernels/src",
    "passes/src",
    "targets/cpu/src",
    "targets/desc/src",
];
const APART: [&str; 3] = ["tests", "tests.rs", "generate"];

/// The files of a section of the page: each line `- `path`: ...`.
fn listed(section: &str) -> BTreeSet<String> {
    let page = fs::read_to_string(root().join(PAGE)).expect("the page");
    let lines = page.lines().skip_while(|line| *line != format!("## {section}")).skip(1);
    let lines = lines.take_while(|line| !line.starts_with('#'));
    lines.filter_map(|line| Some(line.strip_prefix("- `")?.split_once("`:")?.0.to_owned())).collect()
}

/// Adds the sources in a folder one of whose lines of code is wanted.
fn search(folder: &Path, wanted: &dyn Fn(&str) -> bool, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        if APART.contains(&name) {
            continue;
        }
        if path.is_dir() {
            search(&path, wanted, found);
        } else if name.ends_with(".rs") {
            let text = fs::read_to_string(&path).expect("text");
            if text.lines().map(str::trim_start).any(|line| !line.starts_with("//") && wanted(line)) {
                found.insert(path.strip_prefix(root()).expect("it is below").display().to_string());
            }
        }
    }
}

fn check(section: &str, most: usize, wanted: impl Fn(&str) -> bool) {
    let mut found = BTreeSet::new();
    FOLDERS.iter().for_each(|folder| search(&root().join(folder), &wanted, &mut found));
    assert_eq!(found, listed(section), "the files found, and those that {PAGE} lists under `{section}`");
    assert!(found.len() <= most, "{section}: {} files; a table should say once what they repeat", found.len());
}

fn has_word(line: &str, word: &str) -> bool {
    line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|w| w.eq_ignore_ascii_case(word))
}

#[test]
fn a_scalar_function_stands_in_few_files() {
    check("A scalar function", 4, |line| has_word(line, "asinh"));
}

#[test]
fn a_core_operation_stands_in_few_files() {
    check("A core operation", 7, |line| line.contains("Op::NonZero") || line.starts_with("NonZero = "));
}

//! How large files and functions may become, and that folders of the passes import one another one way only.

use std::collections::{BTreeMap, BTreeSet};

use crate::tidy::{check, files};

/// Source files are split at this many lines.
const MOST_LINES: usize = 500;
/// Half of the source files have at most so many.
const MEDIAN_LINES: usize = 140;
/// Functions of the passes are split at this many lines.
const MOST_FUNCTION_LINES: usize = 80;
/// Where functions are held to that.
const PASSES: &str = "passes/src/";

#[test]
fn files_are_short() {
    check("rs", |_, text| {
        let lines = text.lines().count();
        (lines > MOST_LINES).then(|| format!("{lines} lines; split it, {MOST_LINES} is the most"))
    });
}

#[test]
fn most_files_are_about_one_thing() {
    let mut lines: Vec<usize> = sources().map(|(_, text)| text.lines().count()).collect();
    lines.sort_unstable();
    let median = lines[lines.len() / 2];
    assert!(median <= MEDIAN_LINES, "the median file has {median} lines, {MEDIAN_LINES} is the most");
}

#[test]
fn functions_of_the_passes_are_short() {
    check("rs", |path, text| {
        let long = functions(text).find(|(_, lines)| *lines > MOST_FUNCTION_LINES);
        let complaint = |(name, lines)| format!("`{name}` has {lines} lines, {MOST_FUNCTION_LINES} is the most");
        long.filter(|_| path.starts_with(PASSES)).map(complaint)
    });
}

#[test]
fn folders_of_the_passes_import_one_way() {
    let mut imports: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (path, text) in sources() {
        let Some(path) = path.strip_prefix(PASSES).filter(|path| !path.contains("tests")) else { continue };
        let from = path.split('/').next().unwrap_or(path).trim_end_matches(".rs").to_owned();
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let to = code.lines().filter(|line| !line.trim_start().starts_with("//")).flat_map(imported);
        let to: Vec<String> = to.filter(|to| *to != from).collect();
        imports.entry(from).or_default().extend(to);
    }
    assert!(imports.len() > 10, "the passes are elsewhere");
    // Whoever imports nothing that is left is taken away; a circle stays.
    while let Some(free) = imports.iter().find(|(_, to)| to.iter().all(|to| !imports.contains_key(to))) {
        let free = free.0.clone();
        imports.remove(&free);
    }
    assert!(imports.is_empty(), "modules import one another in a circle: {imports:?}");
}

fn sources() -> impl Iterator<Item = (String, String)> {
    files().into_iter().filter(|(path, _)| path.ends_with(".rs"))
}

/// The modules that a line names from the root of its crate.
fn imported(line: &str) -> Vec<String> {
    let name = |rest: &str| rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
    line.split("crate::").skip(1).map(name).filter(|name: &String| !name.is_empty()).collect()
}

/// Functions with their lines: formatted code ends one with a brace below its beginning.
fn functions(text: &str) -> impl Iterator<Item = (String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let indent = |line: &str| line.len() - line.trim_start().len();
    let function = move |start: usize| {
        let line = lines[start];
        let is_modifier = |word: &&str| word.starts_with("pub") || ["const", "unsafe"].contains(word);
        let mut words = line.trim_start().split(' ').skip_while(is_modifier);
        let name = (words.next() == Some("fn")).then(|| words.next()).flatten()?;
        let is_end = |end: &str| indent(end) == indent(line) && end.trim_start() == "}";
        let length = lines[start..].iter().position(|end| is_end(end)).map_or(0, |end| end + 1);
        Some((name.split(['(', '<']).next().unwrap_or(name).to_owned(), length))
    };
    (0..text.lines().count()).filter_map(function).collect::<Vec<_>>().into_iter()
}

#[test]
fn functions_are_found() {
    let text =
        "pub(crate) const fn one() {\n}\nimpl X {\n    fn two<T>(\n    ) {\n        if x {\n        }\n    }\n}\n";
    assert_eq!(functions(text).collect::<Vec<_>>(), [("one".to_owned(), 2), ("two".to_owned(), 5)]);
}

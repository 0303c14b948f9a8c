//! What every file of the repository keeps to.

use std::fs;
use std::path::{Path, PathBuf};

use crate::common::root;

/// Folders that are built, not written.
const SKIPPED: &[&str] = &["target", ".git", ".venv", "__pycache__", "proptest-regressions"];
/// Names of text files end so.
const TEXT: &[&str] = &["rs", "toml", "md", "py", "c", "h", "nnc", "txt", "yml"];

/// The text files below a folder, as paths from the root, with their contents.
pub fn files() -> Vec<(String, String)> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
            if path.is_dir() && !SKIPPED.contains(&name) {
                walk(&path, found);
            } else if path.extension().and_then(|e| e.to_str()).is_some_and(|e| TEXT.contains(&e)) && path.is_file() {
                found.push(path);
            }
        }
    }
    let root = root();
    let mut found = vec![];
    walk(&root, &mut found);
    found.sort();
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        (path.strip_prefix(&root).expect("it is below").display().to_string(), text)
    };
    found.into_iter().map(read).collect()
}

/// Applies `rule` to each file whose name ends in `.extension` ("" for all), and fails with what it says.
pub fn check(extension: &str, rule: impl Fn(&str, &str) -> Option<String>) {
    let files = files();
    let wrong: Vec<String> = files
        .iter()
        .filter(|(path, _)| extension.is_empty() || Path::new(path).extension().is_some_and(|e| e == extension))
        .filter_map(|(path, text)| rule(path, text).map(|complaint| format!("{path}: {complaint}")))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The number of the first line that `wrong` says is wrong.
fn first(text: &str, wrong: impl Fn(&str) -> bool) -> Option<usize> {
    text.lines().position(wrong).map(|i| i + 1)
}

#[test]
fn modules_say_what_they_are() {
    check("rs", |_, text| (!text.starts_with("//! ")).then(|| "does not open with `//!` and its purpose".to_owned()));
}

#[test]
fn lines_are_clean() {
    check("", |_, text| {
        let space = first(text, |l| l.ends_with([' ', '\t', '\r']));
        let space = space.map(|line| format!("line {line} ends in white space"));
        space.or_else(|| (!text.is_empty() && !text.ends_with('\n')).then(|| "does not end in a newline".to_owned()))
    });
}

#[test]
fn nothing_is_left_to_do() {
    let macros = ["todo", "unimplemented", "dbg"].map(|name| format!("{name}!("));
    check("rs", |_, text| {
        let found = first(text, |l| macros.iter().any(|m| l.contains(m)));
        found.map(|line| format!("line {line} has a macro meant for drafts"))
    });
}

#[test]
fn no_path_of_a_machine() {
    // Written so that this file passes.
    let paths = ["work", "tmp/w", "home", "root"].map(|name| format!("/{name}/"));
    let is_path = |line: &str, path: &str| {
        line.match_indices(path)
            .any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || "_.-}".contains(c)))
    };
    check("", |_, text| {
        let found = first(text, |l| paths.iter().any(|p| is_path(l, p)));
        found.map(|line| format!("line {line} names a folder of somebody's machine"))
    });
}

/// The words between back quotes of a Markdown text, outside its code blocks.
fn quoted(text: &str) -> Vec<&str> {
    let mut code = false;
    let lines = text.lines().filter(|line| {
        let fence = line.trim_start().starts_with("```");
        code ^= fence;
        !code && !fence
    });
    lines.flat_map(|line| line.split('`').skip(1).step_by(2)).collect()
}

#[test]
fn paths_in_documents_exist() {
    let root = root();
    let folders: Vec<String> = fs::read_dir(&root)
        .expect("the root")
        .filter_map(|e| e.ok().filter(|e| e.path().is_dir())?.file_name().into_string().ok())
        .filter(|name| !SKIPPED.contains(&name.as_str()))
        .collect();
    check("md", |path, text| {
        let folder = root.join(path);
        let folder = folder.parent().expect("a folder");
        // A quoted word is taken for a path if it begins with a folder of the root and has no placeholder.
        let is_path = |word: &&str| {
            let plain = word.chars().all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c));
            plain && word.split_once('/').is_some_and(|(top, _)| folders.iter().any(|f| f == top))
        };
        let missing = quoted(text).into_iter().filter(is_path).find(|word| !root.join(word).exists());
        let links = text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
        let broken = links.filter(|l| !l.is_empty() && !l.contains("://")).find(|l| !folder.join(l).exists());
        let complaint = |what: &str| format!("`{what}` does not exist");
        missing.map(complaint).or_else(|| broken.map(complaint))
    });
}

#[test]
fn every_chapter_is_in_the_summary() {
    let summary = fs::read_to_string(root().join("docs/src/SUMMARY.md")).expect("the summary");
    check("md", |path, _| {
        let chapter = path.strip_prefix("docs/src/").filter(|c| *c != "SUMMARY.md")?;
        (!summary.contains(&format!("]({chapter})"))).then(|| "is not in SUMMARY.md".to_owned())
    });
}

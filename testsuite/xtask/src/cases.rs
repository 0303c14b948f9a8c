//! Cases that Python programs write: the node tests of the onnx package, and operators against ONNX Runtime.
//!
//! All pass but those that `testsuite/onnx_left_out.txt` names, each under the reason why it does not.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::shell::{command, output, root, run, target};
use crate::test::{built, script, targets};

/// The list of cases that are left out.
const LEFT_OUT: &str = "testsuite/onnx_left_out.txt";

/// Why cases are left out, by their names.
type Reasons = BTreeMap<String, String>;

/// Runs the node tests of the onnx package.
///
/// # Errors
/// When a case fails that is not left out.
pub fn node_tests() -> Result<()> {
    let reasons = parse(&fs::read_to_string(root().join(LEFT_OUT))?)?;
    let needless = pass(&node_cases()?, &reasons)?;
    if !needless.is_empty() {
        println!("take off {LEFT_OUT}, they pass or are no more: {}", needless.join(", "));
    }
    Ok(())
}

/// Runs operators of which the onnx package has no cases.
///
/// # Errors
/// When a case fails.
pub fn ort_tests() -> Result<()> {
    pass(&generated("ort_cases")?, &Reasons::new()).map(drop)
}

/// Reads names, indented, under the reasons, which end in a colon. Lines that begin with `#` are comments.
fn parse(text: &str) -> Result<Reasons> {
    let mut reasons = Reasons::new();
    let mut reason = None;
    for line in text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix("  ") {
            let reason = reason.with_context(|| format!("{LEFT_OUT}: `{name}` stands under no reason"))?;
            let before = reasons.insert(name.trim_end().to_owned(), String::from(reason));
            ensure!(before.is_none(), "{LEFT_OUT}: `{name}` stands there twice");
        } else {
            let text =
                line.strip_suffix(':').with_context(|| format!("{LEFT_OUT}: `{line}` does not end in a colon"))?;
            reason = Some(text);
        }
    }
    Ok(reasons)
}

/// Runs cases between fences, for every target that this machine runs: all pass but those that are left out, none crashes,
/// and none touches memory that is not its own. Yields which of those left out pass for every target, or are not there.
fn pass(cases: &Path, left_out: &Reasons) -> Result<Vec<String>> {
    let nnc = built()?;
    let what = cases.file_name().unwrap_or_default().to_string_lossy();
    let mut failing = BTreeSet::new();
    for target_name in targets().split(',') {
        let report = output(command(&nnc).args(["test", "--guard", "--json", "--target", target_name]).arg(cases))?;
        fs::write(target().join(format!("{what}-{target_name}.log")), &report)?;
        const NEVER: [&str; 3] = [": FAILED crashed: ", ": FAILED panic ", " at a fence)"];
        if let Some(line) = report.lines().find(|line| NEVER.iter().any(|text| line.contains(text))) {
            bail!("{target_name}: {line}");
        }
        let total = total(&report)?;
        let failed = failed(&report);
        println!(
            "{target_name}: {} of {total} passed; verdicts: {what}-{target_name}.log in the target folder",
            total.saturating_sub(failed.len() as u64)
        );
        let unexpected: Vec<&str> =
            failed.iter().filter(|(name, _)| !left_out.contains_key(**name)).map(|(_, line)| *line).collect();
        ensure!(
            unexpected.is_empty(),
            "{target_name}: {} cases of {what} fail that should pass:\n{}",
            unexpected.len(),
            unexpected.join("\n")
        );
        failing.extend(failed.into_keys().map(str::to_owned));
    }
    Ok(left_out.keys().filter(|name| !failing.contains(*name)).cloned().collect())
}

/// How many cases a report is about.
fn total(report: &str) -> Result<u64> {
    let last = report.lines().last().unwrap_or_default();
    let counts: serde_json::Value = serde_json::from_str(last).with_context(|| format!("nnc test said {last:?}"))?;
    counts["total"].as_u64().context("no count of `total`")
}

/// The lines on cases that do not pass, by the cases' names.
fn failed(report: &str) -> BTreeMap<&str, &str> {
    let named = report.lines().filter_map(|line| {
        let (path, verdict) = line.split_once(": ")?;
        let failed = verdict.starts_with("FAILED ") || verdict.starts_with("unsupported ");
        failed.then(|| (path.rsplit('/').next().unwrap_or(path), line))
    });
    named.collect()
}

/// Writes the node tests of the onnx package; yields their folder.
///
/// # Errors
/// When the Python environment is not there.
pub fn node_cases() -> Result<PathBuf> {
    generated("onnx_cases")
}

/// The folder of cases that a Python program writes.
fn generated(program: &str) -> Result<PathBuf> {
    let cases = target().join(program);
    if cases.exists() {
        fs::remove_dir_all(&cases)?;
    }
    run(script(&format!("{program}.py"))?.arg(&cases))?;
    Ok(cases)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_reports() {
        let reasons = parse("# words\n\nRandom: numpy's:\n  test_a\n  test_b\n\nOther:\n  test_c\n").unwrap();
        let reason = |name: &str| reasons.get(name).map(String::as_str);
        assert_eq!((reason("test_b"), reason("test_c")), (Some("Random: numpy's"), Some("Other")));
        for wrong in ["  test_a\n", "Why\n  test_a\n", "Why:\n  test_a\n  test_a\n"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        let report = "x/test_a: ok\nx/test_b: FAILED output `y`: other\nx/test_c: unsupported it\n{\"total\": 3}\n";
        assert_eq!(failed(report).into_keys().collect::<Vec<_>>(), ["test_b", "test_c"]);
        assert_eq!(total(report).unwrap(), 3);
    }

    #[test]
    fn the_list_can_be_read() {
        assert!(!parse(&fs::read_to_string(root().join(LEFT_OUT)).unwrap()).unwrap().is_empty());
    }
}

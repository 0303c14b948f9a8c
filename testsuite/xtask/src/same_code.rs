//! `cargo xtask same-code`: whether a change of the compiler left the code of the benchmark models as it was.
//!
//! `cargo xtask same-code record` compiles every benchmark model for every target and keeps a hash of each function and of
//! each artifact, weights included, in the target folder; `cargo xtask same-code` does the same again and says what
//! differs. A change that is meant to move code about must differ in nothing; where costs change, the functions that
//! differ are those to look at.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::shell::{cargo, command, nnc, quiet, run, target};
use crate::test::{all_models, python, script};

const TARGETS: [&str; 4] = ["x86_64", "x86_64-avx2", "x86_64-avx512", "aarch64"];

/// Hashes by `MODEL TARGET PART`; a part is a function, or the whole artifact.
type Hashes = BTreeMap<String, String>;

/// Keeps what the compiler yields now.
///
/// # Errors
/// When a model does not compile.
pub fn record() -> Result<()> {
    let hashes = hashes()?;
    let lines = hashes.iter().fold(String::new(), |mut text, (part, hash)| {
        let _ = writeln!(text, "{part} {hash}");
        text
    });
    fs::write(target().join("same-code.txt"), lines)?;
    println!("{} functions and artifacts kept", hashes.len());
    Ok(())
}

/// Compares what the compiler yields now with what was kept.
///
/// # Errors
/// When something differs, or nothing was kept.
pub fn compare() -> Result<()> {
    let kept =
        fs::read_to_string(target().join("same-code.txt")).context("run `cargo xtask same-code record` first")?;
    let kept: Hashes =
        kept.lines().filter_map(|l| l.rsplit_once(' ')).map(|(part, hash)| (part.into(), hash.into())).collect();
    let hashes = hashes()?;
    let mut parts: Vec<&String> = kept.keys().chain(hashes.keys()).collect();
    parts.sort_unstable();
    parts.dedup();
    parts.retain(|part| kept.get(*part) != hashes.get(*part));
    for part in &parts {
        let state = match (kept.get(*part), hashes.get(*part)) {
            (Some(_), Some(_)) => "differs",
            (None, _) => "is new",
            _ => "is gone",
        };
        println!("{part} {state}");
    }
    if !parts.is_empty() {
        bail!("{} of {} functions and artifacts are not as they were", parts.len(), hashes.len());
    }
    println!("all {} functions and artifacts are as they were", hashes.len());
    Ok(())
}

fn hashes() -> Result<Hashes> {
    python()?;
    run(&mut cargo(["build", "--release", "--package", "nnc"]))?;
    let models = target().join("models");
    run(script("fill_models.py")?.arg(&models))?;
    let scratch = target().join("same-code");
    fs::create_dir_all(&scratch)?;
    let names = all_models()?;
    let mut hashes = Hashes::new();
    for name in names {
        let model = models.join(format!("{name}.onnx"));
        for target in TARGETS {
            // The listing names what differs; weights and tables are in the artifact alone.
            let (text, artifact) = (scratch.join("model.s"), scratch.join("model.a"));
            compile(&model, target, &["--emit", "asm"], &text)?;
            compile(&model, target, &[], &artifact)?;
            for (function, hash) in functions(&fs::read_to_string(&text)?) {
                hashes.insert(format!("{name} {target} {function}"), hash);
            }
            hashes.insert(format!("{name} {target} artifact"), hash(&fs::read(&artifact)?));
        }
    }
    fs::remove_dir_all(&scratch)?;
    Ok(hashes)
}

fn compile(model: &Path, target: &str, more: &[&str], out: &Path) -> Result<()> {
    let mut nnc = command(nnc("release"));
    nnc.arg("compile").arg(model).args(["--target", target, "--name", "model"]).args(more).arg("-o").arg(out);
    quiet(&mut nnc)
}

/// The functions of a listing, each with the hash of its instructions.
fn functions(listing: &str) -> Vec<(String, String)> {
    let mut functions: Vec<(String, String)> = vec![];
    let mut body = String::new();
    for line in listing.lines().chain(["model.:"]) {
        // Other labels are those of blocks.
        match line.strip_suffix(':').filter(|_| line.starts_with("model.")) {
            Some(name) => {
                if let Some(last) = functions.last_mut() {
                    last.1 = hash(body.as_bytes());
                }
                functions.push((name.to_owned(), String::new()));
                body.clear();
            }
            None => body.push_str(line),
        }
    }
    functions.pop();
    functions
}

fn hash(bytes: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

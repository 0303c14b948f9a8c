//! `cargo xtask emulate`: the test cases on processors that are not here, by qemu's user emulators.
//!
//! Every case of `testsuite/cases` and every node test of the onnx package is compiled and run by an `nnc` that runs on
//! the emulated processor as a whole. What passes here must pass there. Fences around memory are left to `cargo xtask
//! test`: the emulators have no room for them. What is not installed (an emulator, Rust's library or a linker for
//! aarch64) is said and left out.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, bail};

use crate::cases::node_cases;
use crate::shell::{cargo, command, is_there, nnc, output, root, run, target};
use crate::test::python;

/// Processors of x86-64, each with the targets that it runs: Intel's and AMD's, the oldest and the newest qemu has.
const X86_64: &[(&str, &[&str])] = &[
    ("qemu64", &["x86_64"]),
    ("Nehalem", &["x86_64"]),
    ("Opteron_G3", &["x86_64"]),
    ("Haswell", &["x86_64-avx2"]),
    ("EPYC", &["x86_64", "x86_64-avx2"]),
];

/// Core models of aarch64.
const AARCH64: &[&str] = &["cortex-a57", "neoverse-n1"];

const LINKER: &str = "aarch64-linux-gnu-gcc";
const TRIPLE: &str = "aarch64-unknown-linux-gnu";

/// Runs the command.
///
/// # Errors
/// When a case that passes here fails on one of the processors, or something cannot be built.
pub fn emulate() -> Result<()> {
    python()?;
    let cases = [node_cases()?, root().join("testsuite/cases")];
    run(&mut cargo(["build", "--release", "--package", "nnc"]))?;
    let here = verdicts(&cases, &[])?;
    let mut lines = vec![];
    let mut failed = false;
    let mut compare = |name: &str, worker: &str, target: &str| -> Result<()> {
        let there = verdicts(&cases, &["--worker", worker, "--target", target])?;
        let passed = there.values().filter(|verdict| *verdict == "ok").count();
        let other: Vec<_> = here.iter().filter(|(case, v)| *v == "ok" && there.get(*case) != Some(v)).collect();
        lines.push(format!("{target} on {name}: {passed} of {} passed, {} only here", there.len(), other.len()));
        for (case, _) in other {
            failed = true;
            lines.push(format!("  {case}: {}", there.get(case).map_or("no verdict", String::as_str)));
        }
        Ok(())
    };
    if is_there("qemu-x86_64") && cfg!(target_arch = "x86_64") {
        for (cpu, targets) in X86_64 {
            let worker = format!("qemu-x86_64 -cpu {cpu} {}", nnc("release").display());
            for target in *targets {
                compare(cpu, &worker, target)?;
            }
        }
    } else {
        println!("skipped: no qemu-x86_64");
    }
    match cross_built()? {
        Some(nnc) => {
            for cpu in AARCH64 {
                let worker = format!("qemu-aarch64 -cpu {cpu} -L /usr/aarch64-linux-gnu {}", nnc.display());
                compare(cpu, &worker, "aarch64")?;
            }
        }
        None => println!("skipped: aarch64 needs qemu-aarch64, {LINKER} and `rustup target add {TRIPLE}`"),
    }
    println!("\n==== summary\n{}", lines.join("\n"));
    if failed {
        bail!("cases that pass here fail on other processors");
    }
    Ok(())
}

/// What `nnc test` says of each case.
fn verdicts(cases: &[impl AsRef<Path>], more: &[&str]) -> Result<BTreeMap<String, String>> {
    let mut test = command(nnc("release"));
    test.arg("test").args(more).args(cases.iter().map(AsRef::as_ref));
    let report = output(&mut test)?;
    let verdicts = report.lines().filter_map(|line| line.split_once(": "));
    Ok(verdicts.map(|(case, verdict)| (case.to_owned(), verdict.to_owned())).collect())
}

/// An `nnc` for aarch64, if this machine can make and run one.
fn cross_built() -> Result<Option<std::path::PathBuf>> {
    let installed = command("rustup").args(["target", "list", "--installed"]).output();
    let has_library = installed.is_ok_and(|o| String::from_utf8_lossy(&o.stdout).contains(TRIPLE));
    if !has_library || !is_there("qemu-aarch64") || !is_there(LINKER) {
        return Ok(None);
    }
    let mut build = cargo(["build", "--release", "--package", "nnc", "--target", TRIPLE]);
    // Some dependencies compile C.
    build.env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", LINKER).env("CC_aarch64_unknown_linux_gnu", LINKER);
    run(&mut build)?;
    Ok(Some(target().join(TRIPLE).join("release/nnc")))
}

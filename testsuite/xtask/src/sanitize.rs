//! `cargo xtask miri` and `cargo xtask sanitize`: undefined behaviour and memory errors, looked for by tools that may be
//! missing; what is missing is said, and no failure.
//!
//! Miri interprets what needs neither files mapped nor machine code: the interface, the runtime on a model written in
//! Rust, its thread pool under many schedules, and the kernel interpreters. valgrind and AddressSanitizer watch the
//! rest: the runtime's tests with real artifacts, and the C examples.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::shell::{cargo, command, is_there, nnc, output, root, run, target};

/// Tests of the runtime that Miri leaves out: a million loops, and thousands of runs on threads.
const TOO_LONG: &[&str] = &[
    "many_short_loops",
    "many_callers_at_once",
    "sixteen_threads_run_one_model",
    "each_iteration",
    "loops_inside_loops",
];

/// Schedules that Miri tries on the pool's beginning and end.
const SCHEDULES: &str = "-Zmiri-many-seeds=0..32";

/// Runs Miri on the crates that it can run.
///
/// # Errors
/// When it finds something.
pub fn miri() -> Result<()> {
    let found = command("cargo").args(["+nightly", "miri", "--version"]).output();
    if !found.is_ok_and(|o| o.status.success()) {
        println!("skipped: no Miri; `rustup +nightly component add miri` installs it");
        return Ok(());
    }
    // The host is asked for processors and time; addresses travel through integers in a descriptor.
    let flags = "-Zmiri-disable-isolation -Zmiri-permissive-provenance";
    let miri = |flags: &str, arguments: &[&str]| {
        let mut cargo = command("cargo");
        cargo.env("MIRIFLAGS", flags).args(["+nightly", "miri", "test", "--quiet", "--target-dir"]);
        run(cargo.arg(target().join("miri")).args(arguments))
    };
    miri(flags, &["-p", "nnc-abi"])?;
    let skipped = TOO_LONG.iter().flat_map(|name| ["--skip", *name]);
    let arguments: Vec<&str> = ["-p", "nnc-runtime", "--lib", "--"].into_iter().chain(skipped).collect();
    miri(flags, &arguments)?;
    miri(&format!("{flags} {SCHEDULES}"), &["-p", "nnc-runtime", "--lib", "--", "a_pool_ends"])?;
    miri(flags, &["-p", "nnc-kernels", "--lib", "--", "interpret"])
}

/// Runs the runtime's tests and the C examples under valgrind, and the C examples with AddressSanitizer.
///
/// # Errors
/// When one of them finds something.
pub fn sanitize() -> Result<()> {
    let folder = target().join("sanitize");
    fs::create_dir_all(&folder)?;
    // The whole workspace: a part of it would be built with other features, and once more.
    run(&mut cargo(["test", "--quiet", "--workspace", "--no-run"]))?;
    let valgrind = is_there("valgrind");
    if valgrind {
        for test in runtime_tests()? {
            // Its threads take turns, so that the longest loops would take minutes; and its processor is one of its own.
            let skipped = ["many_short_loops", "damaged_files", "agrees_with_proc_cpuinfo"];
            run(memcheck().arg(test).args(skipped.iter().flat_map(|name| ["--skip", name])))?;
        }
    } else {
        println!("skipped: no valgrind");
    }
    // valgrind knows AVX2 but not AVX-512.
    let target = if cfg!(target_arch = "x86_64") { "x86_64-avx2" } else { "native" };
    let examples = root().join("docs/examples");
    let compile = |model: &str, output: &str, more: &[&str]| {
        let mut nnc = command(nnc("debug"));
        nnc.arg("compile").arg(examples.join(model)).arg("-o").arg(folder.join(output)).args(["--target", target]);
        run(nnc.args(more))
    };
    compile("digits_cnn.onnx", "digits_cnn.a", &["--dim", "batch=1"])?;
    compile("digits_transformer.onnx", "digits_transformer.a", &["--dim", "batch=1"])?;
    let images = folder.join("images.f32");
    let bytes: Vec<u8> = (0..64 * 8).flat_map(|i| ((i % 17) as f32).to_le_bytes()).collect();
    fs::write(&images, bytes)?;
    example(&folder, "classify.c", &["digits_cnn.a"], &images, valgrind)?;
    example(&folder, "two_models.c", &["digits_cnn.a", "digits_transformer.a"], &images, valgrind)?;
    compile("digits_cnn.onnx", "digits_cnn.a", &[])?;
    example(&folder, "own_threads.c", &["digits_cnn.a"], &images, valgrind)
}

/// Builds an example plainly, for valgrind, and with AddressSanitizer, and runs both.
fn example(folder: &Path, source: &str, models: &[&str], images: &Path, valgrind: bool) -> Result<()> {
    let build = |program: &str, flags: &[&str]| {
        let mut cc = Command::new("cc");
        cc.current_dir(folder).args(["-g", "-O1", "-pthread", "-I."]).args(flags);
        cc.arg(root().join("docs/examples/c").join(source)).args(models).args(["-o", program]);
        cc
    };
    let feed = |command: &mut Command| -> Result<()> {
        let stdin = fs::File::open(images).context("the images")?;
        run(command.stdin(stdin).stdout(Stdio::null()))
    };
    if valgrind {
        run(&mut build("plain", &[]))?;
        feed(memcheck().arg(folder.join("plain")))?;
    }
    let mut sanitized = build("sanitized", &["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]);
    if !sanitized.output().is_ok_and(|o| o.status.success()) {
        println!("skipped: the C compiler has no AddressSanitizer");
        return Ok(());
    }
    feed(&mut command(folder.join("sanitized")))
}

/// valgrind, failing on any error and on memory that is lost.
fn memcheck() -> Command {
    let mut valgrind = command("valgrind");
    valgrind.args(["--quiet", "--error-exitcode=9", "--leak-check=full", "--errors-for-leak-kinds=definite"]);
    valgrind.arg("--fair-sched=yes");
    valgrind
}

/// The executables of the runtime's tests.
fn runtime_tests() -> Result<Vec<String>> {
    let build = ["test", "--workspace", "--no-run", "--message-format=json"];
    let mut executables = vec![];
    for line in output(&mut cargo(build))?.lines() {
        let message: serde_json::Value = serde_json::from_str(line).context("a message of cargo")?;
        let of_runtime = message["package_id"].as_str().is_some_and(|id| id.contains("nnc-runtime@"));
        executables.extend(message["executable"].as_str().filter(|_| of_runtime).map(str::to_owned));
    }
    Ok(executables)
}

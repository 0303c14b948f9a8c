//! Compiles the model and links it as a static library. `NNC` names the command, `nnc` by default.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The model, from the folder of `Cargo.toml`; elsewhere, change it and the path of `nnc-abi` there.
const MODEL: &str = "../digits_cnn.onnx";

fn main() {
    println!("cargo::rerun-if-env-changed=NNC");
    println!("cargo::rerun-if-changed={MODEL}");
    // One line that says what to do, where a panic would hide it behind its own.
    if let Err(problem) = compile() {
        println!("cargo::error={problem}");
    }
}

fn compile() -> Result<(), String> {
    let nnc = std::env::var_os("NNC").unwrap_or_else(|| "nnc".into());
    let folder = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("cargo did not set OUT_DIR")?);
    if !Path::new(MODEL).exists() {
        return Err(format!("{MODEL} is not there; change MODEL in build.rs"));
    }
    let mut compile = Command::new(&nnc);
    compile.args(["compile", MODEL, "--name", "digits_cnn", "--dim", "batch=1", "-o"]);
    let done = compile.arg(folder.join("libdigits_cnn.a")).output();
    let done = done.map_err(|e| {
        let nnc = nnc.display();
        format!(
            "{nnc}: {e}; install nnc with `cargo install --path compiler/nnc`, or name it: NNC=path/to/nnc cargo build"
        )
    })?;
    if !done.status.success() {
        return Err(format!("{}: {}", nnc.display(), String::from_utf8_lossy(&done.stderr).trim()));
    }
    println!("cargo::rustc-link-search=native={}", folder.display());
    println!("cargo::rustc-link-lib=static=digits_cnn");
    Ok(())
}

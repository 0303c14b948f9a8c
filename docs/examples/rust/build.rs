//! Compiles the model and links it as a static library. `NNC` names the command, `nnc` by default.

use std::path::PathBuf;
use std::process::Command;

fn main() {
    let nnc = std::env::var_os("NNC").unwrap_or_else(|| "nnc".into());
    let folder = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets it"));
    let model = "../digits_cnn.onnx";
    let mut compile = Command::new(&nnc);
    compile.args(["compile", model, "--name", "digits_cnn", "--dim", "batch=1", "-o"]);
    let status = compile.arg(folder.join("libdigits_cnn.a")).status();
    assert!(status.is_ok_and(|s| s.success()), "{} cannot compile {model}", nnc.display());
    println!("cargo::rerun-if-env-changed=NNC");
    println!("cargo::rerun-if-changed={model}");
    println!("cargo::rustc-link-search=native={}", folder.display());
    println!("cargo::rustc-link-lib=static=digits_cnn");
}

//! What the integration tests share: the system's C compiler and a folder for what it makes.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A fresh folder for one test.
pub fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Runs `cc`, failing with its messages; `false` when there is none, so that tests need no compiler to pass.
pub fn cc(arguments: &[&str]) -> bool {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let command = Command::new("cc")
        .current_dir(crate_folder)
        .args(["-O1", "-Wall", "-Wextra", "-Werror", "-pthread", "-Iinclude"])
        .args(arguments)
        .output();
    let Ok(output) = command else {
        eprintln!("no C compiler: skipped");
        return false;
    };
    assert!(output.status.success(), "cc {arguments:?}:\n{}", String::from_utf8_lossy(&output.stderr));
    true
}

/// Compiles `tests/c/model.c` as a model is linked: no libc, nothing undefined.
#[allow(dead_code)] // Each test crate uses what it needs.
pub fn model(path: &Path, defines: &[&str]) -> bool {
    let path = path.to_str().unwrap();
    let fixed = ["-shared", "-fPIC", "-nostdlib", "-Wl,--no-undefined", "tests/c/model.c", "-o", path];
    cc(&[&fixed[..], defines].concat())
}

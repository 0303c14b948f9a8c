//! The arrows between crates: who may depend on whom, and which outside crate is known to one crate only.
//!
//! Tests may know more: dependencies for development are not looked at.

use std::collections::BTreeMap;
use std::process::Command;

use crate::common::{root, run};

/// The crates of the workspace that a crate may depend on. Those not listed may depend on all that are.
const ALLOWED: &[(&str, &[&str])] = &[
    ("nnc-abi", &[]),
    ("nnc-desc", &["nnc-ir"]),
    ("nnc-ir", &[]),
    ("nnc-onnx", &[]),
    ("nnc-kernels", &["nnc-ir", "nnc-desc"]),
    ("nnc-eval", &["nnc-ir"]),
    ("nnc-ops", &["nnc-ir", "nnc-eval", "nnc-onnx"]),
    // The reference interpreter folds constants; status codes of checks come from the ABI.
    ("nnc-passes", &["nnc-ir", "nnc-eval", "nnc-kernels", "nnc-desc", "nnc-abi"]),
    ("nnc-cpu", &["nnc-kernels", "nnc-desc", "nnc-abi", "nnc-ir"]),
    ("nnc-runtime", &["nnc-abi"]),
];

/// The crates nobody may depend on, but for `nnc-testsuite`, whose subject is `nnc`.
const TOPS: &[&str] = &["nnc", "nnc-testsuite", "xtask"];

/// Outside crates, by the beginning of their name, and the one crate that may know each. The test suite may as well: its
/// fuzzer writes models.
const KEPT_IN: &[(&str, &str)] = &[
    ("egg", "nnc-passes"),
    ("cranelift-", "nnc-cpu"),
    ("iced-x86", "nnc-cpu"),
    ("regalloc2", "nnc-cpu"),
    ("libwild", "nnc-cpu"),
    ("onnx-protobuf", "nnc-onnx"),
    ("protobuf", "nnc-onnx"),
];

/// The dependencies of each crate of the workspace, those for development left out.
fn dependencies() -> BTreeMap<String, Vec<String>> {
    let mut cargo = Command::new(env!("CARGO"));
    let text = run(cargo.current_dir(root()).args(["metadata", "--no-deps", "--offline", "--format-version", "1"]));
    let metadata: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let list = |value: &serde_json::Value| value.as_array().expect("a list").clone();
    let name = |value: &serde_json::Value| value["name"].as_str().expect("a name").to_owned();
    let used = |package| {
        let all = list(&package).into_iter();
        all.filter(|d| d["kind"] != "dev").map(|d| name(&d)).collect()
    };
    list(&metadata["packages"]).into_iter().map(|p| (name(&p), used(p["dependencies"].clone()))).collect()
}

#[test]
fn arrows_point_one_way() {
    let dependencies = dependencies();
    let mut wrong = vec![];
    for (package, used) in &dependencies {
        let allowed = ALLOWED.iter().find(|a| a.0 == package).map(|a| a.1);
        for other in used {
            let inside = dependencies.contains_key(other);
            let above = TOPS.contains(&other.as_str()) && (package, other.as_str()) != (&"nnc-testsuite".into(), "nnc");
            if inside && (above || allowed.is_some_and(|a| !a.contains(&other.as_str()))) {
                wrong.push(format!("{package} depends on {other}"));
            }
            let keeper = KEPT_IN.iter().find(|k| other.starts_with(k.0));
            if let Some((_, keeper)) = keeper.filter(|k| k.1 != package && package != "nnc-testsuite") {
                wrong.push(format!("{package} depends on {other}, which belongs to {keeper} alone"));
            }
        }
    }
    for (package, _) in ALLOWED {
        assert!(dependencies.contains_key(*package), "{package} is gone: remove it here");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

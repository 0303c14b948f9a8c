//! Tests of lists of planted defects.

use super::*;

/// Folders of the compiler's stages, the runtime and the command.
const STAGES: &[&str] = &[
    "compiler/ir/",
    "compiler/onnx/",
    "compiler/eval/",
    "compiler/ops/",
    "passes/src/rules/",
    "passes/src/lower/",
    "passes/src/memory",
    "passes/src/regions/",
    "compiler/kernels/",
    "targets/cpu/src/x86/",
    "targets/cpu/src/cranelift/",
    "targets/cpu/src/check/",
    "targets/cpu/src/host/",
    "compiler/kernels/src/math/",
    "targets/cpu/src/object/",
    "runtime/",
    "compiler/nnc/",
];

#[test]
fn every_mutant_has_its_place() {
    let mutants = read().unwrap();
    let errors: Vec<String> = mutants.iter().filter_map(|m| Some(m.position().err()?.to_string())).collect();
    assert!(errors.is_empty(), "stale, see {PATH}:\n{}", errors.join("\n"));
    for (i, mutant) in mutants.iter().enumerate() {
        assert!(mutants[..i].iter().all(|m| m.name != mutant.name), "two are called {}", mutant.name);
        let texts = [&mutant.original, &mutant.replacement];
        assert!(!texts.iter().any(|text| text.ends_with(';')), "{}: an expression, without `;`", mutant.name);
    }
}

#[test]
fn every_stage_has_mutants() {
    let mutants = read().unwrap();
    assert!(mutants.len() >= 40, "{}", mutants.len());
    for stage in STAGES {
        assert!(mutants.iter().any(|m| m.file.starts_with(stage)), "none in {stage}");
    }
}

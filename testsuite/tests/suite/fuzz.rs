//! The cases of `testsuite/cases` on every target, and a little fuzzing.

use std::collections::BTreeSet;
use std::process::Command;

use nnc_testsuite::fuzz::FAMILIES;
use nnc_testsuite::fuzz::onnx::ops;

use crate::common::{folder, root, run};

const FUZZ: &str = env!("CARGO_BIN_EXE_fuzz");

/// Every case, for every target that this machine runs, default and strict numerics, one thread and two.
#[test]
fn cases_on_all_targets() {
    let mut fuzz = Command::new(FUZZ);
    let output = fuzz.arg("--cases").arg(root().join("testsuite/cases")).output().expect("it starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// Random cases of every family, the same ones on every machine; `cargo xtask fuzz` goes on from other seeds.
#[test]
fn random_cases() {
    let mut fuzz = Command::new(FUZZ);
    fuzz.current_dir(root())
        .args(["--seed", "10000", "--count", "400", "--failures", "1", "--out"])
        .arg(folder("fuzz"));
    println!("{}", run(&mut fuzz));
}

/// A minute of graphs that nobody has seen; the output says from which seeds on, so that a failure can be repeated. What
/// is wrong with one is nnc's fault: no other implementation has a say.
#[test]
fn unseen_graphs() {
    for family in ["rules", "lower", "memory"] {
        let mut fuzz = Command::new(FUZZ);
        fuzz.current_dir(root()).args(["--family", family, "--seconds", "20", "--failures", "1", "--out"]);
        let output = fuzz.arg(folder(&format!("fuzz-{family}"))).output().expect("it starts");
        let said = String::from_utf8_lossy(&output.stdout);
        println!("{said}");
        assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// The same seed gives the same case.
#[test]
fn seeds_repeat() {
    use nnc_testsuite::fuzz::{onnx, random::Random};
    for seed in 0..50 {
        let bytes = || onnx::specimen(Random::new(seed)).net.bytes();
        assert_eq!(bytes(), bytes(), "seed {seed}");
    }
}

/// Operators without a generator, and why.
const WITHOUT: &[(&str, &str)] = &[
    ("FlexAttention LinearAttention TensorScatter CausalConvWithState", "newer than ONNX Runtime, rare; node tests"),
    (
        "Bernoulli Multinomial RandomNormal RandomNormalLike RandomUniform RandomUniformLike",
        "no reference to compare with",
    ),
    (
        "RegexFullMatch StringConcat StringNormalizer StringSplit TfIdfVectorizer",
        "strings; `ort_strings.py` and node tests",
    ),
    ("Adagrad Adam Momentum", "training; node tests"),
    ("BitCast SwiGLU", "newer than the opsets of ONNX Runtime"),
    ("NegativeLogLikelihoodLoss SoftmaxCrossEntropyLoss", "training; node tests"),
    ("Scatter Upsample", "old names of ScatterElements and Resize"),
    ("SimplifiedLayerNormalization", "ONNX Runtime's older name of RMSNormalization; `ort_cases.py`"),
    ("Optional OptionalGetElement OptionalHasElement SequenceMap", "rare, taken apart at import; node tests"),
];

/// Every operator has a generator, or a reason.
#[test]
fn operators_without_a_generator() {
    let made: BTreeSet<&str> = ops::rows().flat_map(|row| row.names).copied().collect();
    let without: BTreeSet<&str> = WITHOUT.iter().flat_map(|w| w.0.split_whitespace()).collect();
    // Those of other domains: `testsuite/python/ort_cases.py`.
    let others = ["com.microsoft", "ai.onnx.ml"];
    let standard = nnc_ops::registry::operators().iter().filter(|o| !others.contains(&o.domain));
    let all: BTreeSet<&str> = standard.map(|o| o.name).collect();
    let missing: Vec<_> = all.difference(&made).filter(|name| !without.contains(*name)).collect();
    assert!(missing.is_empty(), "write a generator or a reason: {missing:?}");
    let stale: Vec<_> = without.intersection(&made).chain(without.difference(&all)).collect();
    assert!(stale.is_empty(), "no longer without: {stale:?}");
    let unknown: Vec<_> = made.difference(&all).collect();
    assert!(unknown.is_empty(), "no operators: {unknown:?}");
}

/// The help names every family.
#[test]
fn families_are_named() {
    let help = run(Command::new(FUZZ).arg("--help"));
    for family in FAMILIES {
        assert!(help.contains(family.name), "{}", family.name);
    }
}

//! Random kernels against the interpreter.

use std::collections::BTreeMap;

use nnc_kernels::{generate, interpret};

use super::host::{Function, targets};
use crate::x86::{Reason, compile};

/// Number of random kernels; `NNC_X86_CASES` asks for more.
fn cases() -> u64 {
    std::env::var("NNC_X86_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(600)
}

#[test]
fn random_kernels_match_the_interpreter() {
    let first: u64 = std::env::var("NNC_X86_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(0);
    let trace = std::env::var_os("NNC_X86_TRACE").is_some();
    for target in targets() {
        let mut compiled = 0;
        let mut refused: BTreeMap<Reason, u32> = BTreeMap::new();
        let mut failures = vec![];
        for seed in first..first + cases() {
            let case = generate::kernel(seed);
            if trace {
                eprintln!("{} seed {seed}", target.name);
            }
            let code = match compile(&crate::math::expand(&case.kernel), &target) {
                Ok(Ok(code)) => code,
                Ok(Err(reason)) => {
                    *refused.entry(reason).or_insert(0) += 1;
                    continue;
                }
                Err(error) => {
                    failures.push(format!("seed {seed}: {error}"));
                    continue;
                }
            };
            compiled += 1;
            let mut expected = case.buffers.clone();
            let status = interpret::run_kernel(&case.kernel, &mut expected, &case.params, 0, case.extent)
                .unwrap_or_else(|e| panic!("seed {seed}: {e}"));
            let mut actual = case.buffers.clone();
            let got = Function::new(&code).run(&case.kernel, &mut actual, &case.params, 0, case.extent);
            assert_eq!(status, got, "seed {seed}");
            if let Err(message) = generate::compare(&case.kernel, &expected, &actual) {
                failures.push(format!("seed {seed}: {message}"));
            }
        }
        println!("{}: {compiled} of {} kernels compiled; refused: {refused:?}", target.name, cases());
        assert!(failures.is_empty(), "{}: {} failures:\n{}", target.name, failures.len(), failures.join("\n"));
        // The generator draws types and statements that are Cranelift's; a drop below this means lost coverage.
        assert!(compiled * 5 > cases(), "{}: only {compiled} kernels compiled", target.name);
    }
}

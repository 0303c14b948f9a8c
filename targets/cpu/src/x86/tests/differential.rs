//! Random kernels against the interpreter.

use std::collections::BTreeMap;

use nnc_ir::DType;
use nnc_ir::op::ReduceOp;
use nnc_kernels::kernel::{Access, Accumulator, AxisKind};
use nnc_kernels::{Expr, Index, Kernel, Loop, Stmt, generate, interpret};

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
            let code = match compile(&nnc_kernels::math::expand(&case.kernel), &target) {
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

/// The sum of `count` elements of a type.
fn sum(dtype: DType, count: i64) -> Kernel {
    let mut kernel = Kernel::new("sum");
    let x = kernel.add_buffer("x", dtype, Access::Read);
    let y = kernel.add_buffer("y", DType::I32, Access::Write);
    let i = kernel.add_var("i", DType::I64, 0, count - 1);
    let total = kernel.add_var("total", DType::I32, i64::MIN, i64::MAX);
    let value = Expr::convert(DType::I32, dtype, Expr::Load(x, i.index()));
    let header = Loop { var: i, extent: Index::from(count), axis: AxisKind::Vector };
    let init = Expr::constant(DType::I32, 100.0);
    kernel.body = vec![
        Stmt::Reduce(header, vec![], vec![Accumulator { var: total, op: ReduceOp::Sum, init, value }]),
        Stmt::Store(y, kernel.parallel.0.index(), Expr::Var(total)),
    ];
    kernel
}

/// AVX2 has no masks for elements of less than 32 bits: what is left of them is added one by one.
#[test]
fn narrow_sums_of_every_length() {
    for target in targets() {
        for (dtype, count) in
            [DType::I8, DType::U8, DType::I16, DType::U16].iter().flat_map(|t| (1..70).map(move |n| (*t, n)))
        {
            let kernel = sum(dtype, count);
            let code = compile(&nnc_kernels::math::expand(&kernel), &target).unwrap().unwrap();
            let x = (0..count as usize * dtype.size()).map(|i| (i * 37 % 251) as u8).collect();
            let mut expected = vec![x, vec![0; 4]];
            let mut actual = expected.clone();
            interpret::run_kernel(&kernel, &mut expected, &[], 0, 1).unwrap();
            assert_eq!(Function::new(&code).run(&kernel, &mut actual, &[], 0, 1), 0);
            assert_eq!(actual, expected, "{}: {count} of {dtype}", target.name);
        }
    }
}

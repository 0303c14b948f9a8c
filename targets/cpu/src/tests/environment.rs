//! The floating-point environment of the caller and of helper threads changes no result, and is left as it was.
#![cfg(target_arch = "x86_64")]

use super::program::{call, program};
use crate::Jit;
use nnc_abi::{ParallelBody, RunContext};
use nnc_desc::Target;
use std::arch::asm;
use std::ffi::c_void;

/// Round upwards, subnormal numbers are zero.
const ODD: u32 = 0x1F80 | 0x4000 | 0x8000 | 0x40;
/// Round downwards, invalid operations trap.
const ODDER: u32 = 0x1F80 & !0x80 | 0x2000;

fn mxcsr() -> u32 {
    let mut value = 0u32;
    // SAFETY: writes four bytes to `value`.
    unsafe { asm!("stmxcsr [{}]", in(reg) &mut value) };
    value
}

/// Runs `f` with these settings; answers the settings after it.
fn with_mxcsr(value: u32, f: impl FnOnce()) -> u32 {
    let old = mxcsr();
    // SAFETY: reads four bytes; what runs until the old value is back computes with integers, but for the model.
    unsafe { asm!("ldmxcsr [{}]", in(reg) &value) };
    f();
    let after = mxcsr();
    // SAFETY: as above.
    unsafe { asm!("ldmxcsr [{}]", in(reg) &old) };
    after
}

/// Halves of the range on two fresh threads with an environment of their own.
unsafe extern "C" fn odd_helpers(_: *mut c_void, count: i64, _: i64, body: ParallelBody, data: *mut c_void) {
    let data = data as usize;
    std::thread::scope(|scope| {
        for (value, begin, end) in [(ODD, 0, count / 2), (ODDER, count / 2, count)] {
            scope.spawn(move || {
                // SAFETY: the ranges are disjoint and cover the loop; `data` outlives the scope.
                let after = with_mxcsr(value, || unsafe { body(data as *mut c_void, begin, end) });
                assert_eq!(after, value);
            });
        }
    });
}

#[test]
fn settings_of_threads_change_no_result() {
    let model = Jit::compile(&program(), &Target::parse("native").unwrap()).unwrap();
    let x: Vec<f32> = (0..256).map(|i| i as f32 * 0.37 + 1e-3).collect();
    let (status, expected) = call(model.descriptor(), &x, None);
    assert_eq!(status, 0);
    let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    let helpers = RunContext {
        parallel_for: Some(odd_helpers),
        pool: std::ptr::null_mut(),
        threads: 2,
        flags: 0,
        seed: 0,
        reserved: [0; 2],
    };
    for context in [None, Some(&helpers)] {
        for value in [0x1F80, ODD, ODDER] {
            let mut actual = vec![];
            let after = with_mxcsr(value, || actual = call(model.descriptor(), &x, context).1);
            assert_eq!(bits(&actual), bits(&expected), "MXCSR {value:#x}");
            // Exception flags accumulate where nothing had to change.
            let kept = if value == 0x1F80 { !0x3F } else { !0 };
            assert_eq!(after & kept, value & kept, "MXCSR {value:#x} is {after:#x} after the run");
        }
    }
}

//! The guard against a model written by hand, which misuses its memory in the way that the first input asks for.
//!
//! What touches a fence ends its process, so each way is tried in a process of its own: this test program again, with the
//! way in an environment variable.

use std::ffi::c_void;

use nnc_runtime::abi::*;
use nnc_runtime::{Model, TensorRef};

const WAY: &str = "NNC_TEST_GUARD_WAY";

/// Ways to use memory, and what the guard says to them.
const WAYS: [(i32, &str); 9] = [
    (0, "fine"),
    (1, "reads byte 16 of input `x`, which has 16 bytes"),
    (2, "reads byte -4 of input `x`, which has 16 bytes"),
    (3, "writes byte 0 of input `x`, which has 16 bytes"),
    (4, "writes byte 16 of output `y`, which has 16 bytes"),
    (5, "writes byte 68 of the workspace, which has 68 bytes"),
    (6, "output `y` depends on what memory held before"),
    (7, "output `y` depends on what memory held before"),
    (8, "writes byte 0 of the weights, which has 4 bytes"),
];

static DIMS: [DimDescriptor; 1] =
    [DimDescriptor { kind: DimKind::Constant as u32, symbol: 0, value: 4, text: c"4".as_ptr() }];
static X: [TensorDescriptor; 1] = [tensor(c"x")];
static Y: [TensorDescriptor; 1] = [tensor(c"y")];

#[repr(align(64))]
struct Weights(#[allow(dead_code, reason = "only its address is read")] u32);
static WEIGHTS: Weights = Weights(7);

const fn tensor(name: &'static std::ffi::CStr) -> TensorDescriptor {
    TensorDescriptor {
        name: name.as_ptr(),
        dims: DIMS.as_ptr(),
        dtype: DType::I32 as u32,
        rank: 1,
        flags: 0,
        reserved: 0,
    }
}

static MODEL: ModelDescriptor = ModelDescriptor {
    name: c"wayward".as_ptr(),
    n_inputs: 1,
    n_outputs: 1,
    inputs: (&raw const X).cast(),
    outputs: (&raw const Y).cast(),
    n_kernels: 1,
    input_dims_len: 1,
    output_dims_len: 1,
    workspace_bytes: 68,
    weights: (&raw const WEIGHTS).cast(),
    weights_bytes: 4,
    code_bytes: 100,
    run: Some(run),
    ..ModelDescriptor::NOTHING
};

unsafe extern "C" fn run(args: *const RunArgs) -> i32 {
    // SAFETY: within the memory that the guard gives, but for what is being tested.
    unsafe {
        let args = &*args;
        let (x, y) = ((*args.inputs).cast::<i32>(), (*args.outputs).cast::<i32>());
        let (workspace, weights) = (args.workspace.cast::<i32>(), args.weights.cast::<i32>());
        let way = x.read_unaligned();
        let value = match way {
            1 => x.add(4).read_unaligned(),
            2 => x.sub(1).read_unaligned(),
            6 => workspace.read(),
            _ => weights.read(),
        };
        for i in 0..if way == 7 { 3 } else { 4 } {
            y.add(i).write_unaligned(value);
        }
        let beside = match way {
            3 => x.cast_mut(),
            4 => y.add(4),
            5 => workspace.add(17),
            8 => weights.cast_mut(),
            _ => y,
        };
        beside.write_unaligned(value);
        args.output_dims.write(4);
    }
    Status::Ok as i32
}

#[test]
fn every_way_to_misuse_memory_is_found() {
    let program = std::env::current_exe().unwrap();
    for (way, expected) in WAYS {
        let child = std::process::Command::new(&program)
            .args(["--exact", "guard::tests::one_way", "--nocapture"])
            .env(WAY, way.to_string())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&child.stderr);
        assert!(said.contains(expected), "{way}: {said}");
        let faults = matches!(way, 1..=4 | 8);
        assert_eq!(child.status.code(), Some(if faults { super::fault::EXIT_CODE } else { 0 }), "{way}: {said}");
    }
}

#[test]
fn one_way() {
    let Some(way) = std::env::var(WAY).ok().and_then(|way| way.parse::<i32>().ok()) else { return };
    // SAFETY: a descriptor as nnc makes them; that its code breaks the contract is what is tested.
    let model = unsafe { Model::from_descriptor(&MODEL) }.unwrap();
    let outcome = super::run(&model, &[TensorRef::new(&[4], &[way, 0, 0, 0])]).unwrap();
    match outcome {
        Ok(outputs) => eprintln!("fine: {outputs:?}"),
        Err(problem) => eprintln!("{problem}"),
    }
}

#[test]
fn loops_are_cut_into_all_their_parts() {
    unsafe extern "C" fn note(data: *mut c_void, begin: i64, end: i64) {
        // SAFETY: the vector below.
        unsafe { &mut *data.cast::<Vec<(i64, i64)>>() }.push((begin, end));
    }
    for (count, grain, expected) in
        [(0, 1, vec![]), (5, 2, vec![(4, 5), (2, 4), (0, 2)]), (2, 9, vec![(0, 2)]), (2, 0, vec![(1, 2), (0, 1)])]
    {
        let mut seen: Vec<(i64, i64)> = vec![];
        // SAFETY: the data is what `note` takes it for.
        unsafe { super::last_first(std::ptr::null_mut(), count, grain, note, (&raw mut seen).cast()) };
        assert_eq!(seen, expected);
    }
}

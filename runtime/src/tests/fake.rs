//! A model written by hand, as the compiler would write it.
//!
//! Inputs `x` and `y`: f32 [batch, 3], `z`: i64 [batch + 1]; batch is 1 to 1000. Outputs `sum`: f32 [batch, 3], x + y +
//! the weight; `positive`: i64 [found], the flat indices of x that are above 0. The workspace is 64 bytes per row, and
//! each parallel chunk writes to its rows of it. An x of NaN makes the run fail with `BadIndex`.

use std::ffi::{c_char, c_void};

use nnc_abi::*;

const fn dim(kind: DimKind, value: i64, text: &'static std::ffi::CStr) -> DimDescriptor {
    DimDescriptor { kind: kind as u32, symbol: 0, value, text: text.as_ptr() }
}

const fn tensor<const N: usize>(
    name: *const c_char,
    dtype: DType,
    dims: &'static [DimDescriptor; N],
) -> TensorDescriptor {
    TensorDescriptor { name, dims: dims.as_ptr(), dtype: dtype as u32, rank: N as u32, flags: 0, reserved: 0 }
}

static ROWS: [DimDescriptor; 2] = [dim(DimKind::Symbol, -1, c"batch"), dim(DimKind::Constant, 3, c"3")];
static MORE: [DimDescriptor; 1] = [dim(DimKind::Expression, -1, c"batch + 1")];
static FOUND: [DimDescriptor; 1] = [dim(DimKind::Data, -1, c"found")];
static INPUTS: [TensorDescriptor; 3] = [
    tensor(c"x".as_ptr(), DType::F32, &ROWS),
    tensor(c"y".as_ptr(), DType::F32, &ROWS),
    tensor(c"z".as_ptr(), DType::I64, &MORE),
];
static OUTPUTS: [TensorDescriptor; 2] =
    [tensor(c"sum".as_ptr(), DType::F32, &ROWS), tensor(c"positive".as_ptr(), DType::I64, &FOUND)];
static SYMBOLS: [SymbolDescriptor; 1] = [SymbolDescriptor { name: c"batch".as_ptr(), min: 1, max: 1000 }];

#[repr(align(64))]
struct Weights(#[allow(dead_code, reason = "only its address is read")] f32);
static WEIGHTS: Weights = Weights(0.5);

/// The model; tests copy and damage it.
pub(super) const FAKE: ModelDescriptor = ModelDescriptor {
    name: c"fake".as_ptr(),
    n_inputs: 3,
    n_outputs: 2,
    inputs: (&raw const INPUTS).cast(),
    outputs: (&raw const OUTPUTS).cast(),
    n_symbols: 1,
    n_kernels: 1,
    n_steps: 4,
    symbols: (&raw const SYMBOLS).cast(),
    input_dims_len: 5,
    output_dims_len: 3,
    workspace_bytes: -1,
    weights: (&raw const WEIGHTS).cast(),
    weights_bytes: 4,
    code_bytes: 100,
    source_hash: [1; 32],
    weights_hash: [2; 32],
    plan: Some(plan),
    run: Some(run),
    workspace_text: c"64*batch".as_ptr(),
    width_text: c"one\ntwo".as_ptr(),
    ..ModelDescriptor::NOTHING
};

unsafe extern "C" fn plan(input_dims: *const i64, out: *mut PlanResult) -> i32 {
    // SAFETY: the ABI's contract.
    let (dims, out) = unsafe { (std::slice::from_raw_parts(input_dims, 5), &mut *out) };
    let batch = dims[0];
    if !(1..=1000).contains(&batch) {
        return Status::DimOutOfBounds as i32;
    }
    for (at, expected) in [(1, 3), (2, batch), (3, 3), (4, batch + 1)] {
        if dims[at] != expected {
            (out.fault_dim, out.fault_expected) = (at as i64, expected);
            return Status::BadShape as i32;
        }
    }
    if !out.out_dims.is_null() {
        // SAFETY: the ABI's contract.
        unsafe { std::slice::from_raw_parts_mut(out.out_dims, 3) }.copy_from_slice(&[batch, 3, batch * 3]);
    }
    out.workspace_bytes = batch as u64 * 64;
    Status::Ok as i32
}

unsafe extern "C" fn row(data: *mut c_void, begin: i64, end: i64) {
    // SAFETY: the run below passes its arguments, whose memory has the planned size; each row is written once.
    unsafe {
        let args = &*data.cast::<RunArgs>();
        let (x, y) = ((*args.inputs).cast::<f32>(), (*args.inputs.add(1)).cast::<f32>());
        for i in (begin * 3) as usize..(end * 3) as usize {
            let scratch = args.workspace.cast::<f32>().add(i / 3 * 16 + i % 3);
            scratch.write(x.add(i).read_unaligned() + y.add(i).read_unaligned());
            (*args.outputs).cast::<f32>().add(i).write_unaligned(scratch.read() + WEIGHTS.0);
        }
    }
}

unsafe extern "C" fn run(args: *const RunArgs) -> i32 {
    // SAFETY: the ABI's contract.
    unsafe {
        let a = &*args;
        let mut sizes = PlanResult {
            out_dims: std::ptr::null_mut(),
            workspace_bytes: 0,
            fault_dim: -1,
            fault_expected: -1,
            fault: Fault::NONE,
        };
        let status = plan(a.input_dims, &mut sizes);
        if status != 0 {
            return status;
        }
        if a.workspace_bytes < sizes.workspace_bytes {
            return Status::WorkspaceTooSmall as i32;
        }
        if !(a.workspace as usize).is_multiple_of(ALIGNMENT) {
            return Status::Misaligned as i32;
        }
        let batch = *a.input_dims;
        match a.context.as_ref().and_then(|c| Some((c.pool, c.parallel_for?))) {
            Some((pool, parallel_for)) => parallel_for(pool, batch, 1, row, args.cast_mut().cast()),
            None => row(args.cast_mut().cast(), 0, batch),
        }
        let (x, found) = ((*a.inputs).cast::<f32>(), (*a.outputs.add(1)).cast::<i64>());
        let mut count = 0;
        for i in 0..batch as usize * 3 {
            let x = x.add(i).read_unaligned();
            if x.is_nan() {
                return Status::BadIndex as i32;
            }
            if x > 0.0 {
                found.add(count).write_unaligned(i as i64);
                count += 1;
            }
        }
        std::slice::from_raw_parts_mut(a.output_dims, 3).copy_from_slice(&[batch, 3, count as i64]);
        Status::Ok as i32
    }
}

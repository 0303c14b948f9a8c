//! A model that asks for memory: what is lent, used again, given back, and handed to the caller.

use std::ffi::c_void;

use nnc_abi::*;

use crate::{Model, Runner, TensorRef, Threads};

static SIZE: [DimDescriptor; 1] =
    [DimDescriptor { kind: DimKind::Constant as u32, symbol: 0, value: 1, text: c"1".as_ptr() }];
static FOUND: [DimDescriptor; 1] =
    [DimDescriptor { kind: DimKind::Data as u32, symbol: 0, value: -1, text: c"n".as_ptr() }];
static INPUT: TensorDescriptor = TensorDescriptor {
    name: c"n".as_ptr(),
    dims: SIZE.as_ptr(),
    dtype: DType::I64 as u32,
    rank: 1,
    flags: 0,
    reserved: 0,
};
static OUTPUT: TensorDescriptor = TensorDescriptor {
    name: c"y".as_ptr(),
    dims: FOUND.as_ptr(),
    dtype: DType::I64 as u32,
    rank: 1,
    flags: TENSOR_ALLOCATED,
    reserved: 0,
};

/// Input `n`: i64 [1]; output `y`: i64 [n], the numbers below n, by way of memory of its own.
const COUNTING: ModelDescriptor = ModelDescriptor {
    name: c"counting".as_ptr(),
    flags: FLAG_ALLOCATES,
    n_inputs: 1,
    n_outputs: 1,
    inputs: &raw const INPUT,
    outputs: &raw const OUTPUT,
    input_dims_len: 1,
    output_dims_len: 1,
    plan: Some(plan),
    run: Some(run),
    ..ModelDescriptor::NOTHING
};

unsafe extern "C" fn plan(_: *const i64, out: *mut PlanResult) -> i32 {
    // SAFETY: the ABI's contract.
    unsafe {
        (*out).workspace_bytes = 0;
        if let Some(dims) = (*out).out_dims.as_mut() {
            *dims = -1;
        }
    }
    Status::Ok as i32
}

unsafe extern "C" fn run(args: *const RunArgs) -> i32 {
    // SAFETY: the ABI's contract.
    unsafe {
        let args = &*args;
        let Some(context) = args.context.as_ref() else { return Status::NoAllocator as i32 };
        let Some(allocator) = context.allocator.as_ref() else { return Status::NoAllocator as i32 };
        let n = (*args.inputs).cast::<i64>().read_unaligned();
        let bytes = (n as u64).saturating_mul(8);
        let ask = |output| (allocator.allocate)(allocator.state, bytes, output).cast::<i64>();
        let own = ask(-1);
        if own.is_null() {
            return Status::OutOfMemory as i32;
        }
        (0..n).for_each(|i| own.add(i as usize).write(i));
        let given = ask(0);
        if !given.is_null() {
            (0..n).for_each(|i| given.add(i as usize).write_unaligned(own.add(i as usize).read()));
        }
        (allocator.release)(allocator.state, own.cast(), bytes);
        if given.is_null() {
            return Status::OutOfMemory as i32;
        }
        args.output_dims.write(n);
        Status::Ok as i32
    }
}

fn model() -> Model {
    static DESCRIPTOR: ModelDescriptor = COUNTING;
    // SAFETY: written above, and static.
    unsafe { Model::from_descriptor(&DESCRIPTOR) }.unwrap()
}

#[test]
fn outputs_are_as_large_as_they_turn_out_to_be() {
    let model = model();
    assert!(model.signature().allocates);
    let plan = model.plan(&[&[1]]).unwrap();
    assert_eq!((plan.output_dims, plan.output_bytes), (vec![vec![-1]], vec![None]));
    let mut runner = Runner::new(model.clone(), Threads::Serial);
    for n in [5i64, 1, 1000, 3, 3] {
        let expected: Vec<i64> = (0..n).collect();
        runner.run(&[TensorRef::new(&[1], &[n])]).unwrap();
        assert_eq!(runner.output(0).dims, [n]);
        assert_eq!(runner.output(0).as_slice::<i64>(), Some(&expected[..]));
        let outputs = model.run_with(&[TensorRef::new(&[1], &[n])], &Threads::Serial).unwrap();
        assert_eq!(outputs[0].as_slice::<i64>(), Some(&expected[..]));
    }
}

#[test]
fn outputs_go_to_the_callers_memory_if_there_is_room() {
    let mut runner = Runner::new(model(), Threads::Serial);
    let mut room = [0xFFu8; 32];
    runner.run_into(&[TensorRef::new(&[1], &[4i64])], &mut [&mut room]).unwrap();
    assert_eq!(runner.output_dims(0), [4]);
    assert_eq!(room[24], 3);
    let error = runner.run_into(&[TensorRef::new(&[1], &[5i64])], &mut [&mut room]).unwrap_err();
    assert_eq!(error.status(), Status::OutOfMemory);
    assert_eq!(error.to_string(), "model `counting`: no 40 bytes of memory for output `y`");
}

#[test]
#[cfg_attr(miri, ignore = "Miri ends where memory does")]
fn what_cannot_be_had_is_an_error() {
    let error = model().run_with(&[TensorRef::new(&[1], &[i64::MAX])], &Threads::Serial).unwrap_err();
    assert_eq!(error.status(), Status::OutOfMemory);
}

#[test]
fn results_of_the_c_interface() {
    use crate::capi::*;
    let model = model();
    let n = [3i64];
    let inputs = [n.as_ptr().cast::<c_void>()];
    let mut results = std::ptr::null_mut();
    // SAFETY: arrays have the model's lengths, and handles are used as the interface says.
    unsafe {
        let run = |results| {
            let (pool, state) = (std::ptr::null(), std::ptr::null_mut());
            nnc_run_results(&model, pool, state, inputs.as_ptr(), [1i64].as_ptr(), results)
        };
        assert_eq!(run(&mut results), 0);
        let mut dims = [0i64];
        assert_eq!(nnc_results_dims(results, 0, dims.as_mut_ptr()), 0);
        assert_eq!(dims, [3]);
        assert_eq!(nnc_results_data(results, 0).cast::<i64>().add(2).read(), 2);
        assert_eq!(nnc_results_dims(results, 1, dims.as_mut_ptr()), Status::BadArgument as i32);
        assert!(nnc_results_data(results, 1).is_null());
        nnc_results_free(results);
        nnc_results_free(std::ptr::null_mut());
        let mut room = [0i64; 3];
        let outputs = [room.as_mut_ptr().cast::<c_void>()];
        let (pool, none) = (std::ptr::null(), std::ptr::null_mut());
        let status =
            nnc_run(&model, pool, inputs.as_ptr(), [1i64].as_ptr(), outputs.as_ptr(), dims.as_mut_ptr(), none, 0);
        assert_eq!(status, Status::BadArgument as i32);
    }
}

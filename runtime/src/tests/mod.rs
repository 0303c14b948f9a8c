//! The runtime against a model written by hand, in one process.

mod allocated;
mod capi;
mod fake;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fake::FAKE;
use nnc_abi::{DimKind, ModelDescriptor, Status};

use crate::{DType, Model, Pool, Result, TensorRef, Threads};

fn load(descriptor: ModelDescriptor) -> Result<Model> {
    let descriptor = Arc::new(descriptor);
    // SAFETY: a descriptor as the ABI defines it, or one that is refused for a field that is read safely; its owner
    // is the model.
    unsafe { Model::from_descriptor_owned(Arc::as_ptr(&descriptor), Box::new(descriptor)) }
}

fn model() -> Model {
    load(FAKE).unwrap()
}

/// Inputs of `batch` rows: x is positive at every index that is a multiple of 4.
fn inputs(batch: usize) -> (Vec<f32>, Vec<f32>, Vec<i64>) {
    let x = (0..batch * 3).map(|i| if i % 4 == 0 { i as f32 + 1.0 } else { -1.0 });
    (x.collect(), (0..batch * 3).map(|i| i as f32).collect(), vec![0; batch + 1])
}

/// Calls `body` with tensors of `batch` rows.
fn with_inputs<T>(batch: usize, body: impl FnOnce(&[TensorRef<'_>]) -> T) -> T {
    let (x, y, z) = inputs(batch);
    let rows = [batch as i64, 3];
    let more = [batch as i64 + 1];
    body(&[TensorRef::new(&rows, &x), TensorRef::new(&rows, &y), TensorRef::new(&more, &z)])
}

fn check_outputs(batch: usize, sum: TensorRef<'_>, positive: TensorRef<'_>) {
    let (x, y, _) = inputs(batch);
    let expected: Vec<f32> = x.iter().zip(&y).map(|(x, y)| x + y + 0.5).collect();
    assert_eq!(sum.dims, [batch as i64, 3]);
    assert_eq!(sum.as_slice::<f32>().unwrap(), expected);
    let expected: Vec<i64> = (0..batch as i64 * 3).step_by(4).collect();
    assert_eq!(positive.dims, [expected.len() as i64]);
    assert_eq!(positive.as_slice::<i64>().unwrap(), expected);
}

#[test]
fn the_signature_is_read() {
    let model = model();
    let s = model.signature();
    assert_eq!((s.name.as_str(), s.target.as_str(), s.compiler.as_str()), ("fake", "host", "by hand"));
    assert_eq!(
        s.inputs.iter().map(|t| t.to_string()).collect::<Vec<_>>(),
        ["f32 [batch, 3]", "f32 [batch, 3]", "i64 [batch + 1]"]
    );
    assert_eq!(s.outputs[1].dims[0].kind, DimKind::Data);
    assert_eq!((s.symbols[0].min, s.symbols[0].max, s.workspace_bytes), (1, 1000, None));
    assert_eq!((s.input_dims_len(), s.output_dims_len(), s.kernels, s.steps), (5, 3, 1, 4));
    assert_eq!(s.width_notes, ["one", "two"]);
}

#[test]
fn runs_and_truncates_data_dependent_outputs() {
    let model = model();
    for threads in [Threads::Serial, Threads::Shared, Threads::Pool(Pool::new(3))] {
        for batch in [1, 2, 7, 1000] {
            let outputs = with_inputs(batch, |inputs| model.run_with(inputs, &threads)).unwrap();
            check_outputs(batch, outputs[0].view(), outputs[1].view());
            assert_eq!(outputs[0].data().as_ptr() as usize % 64, 0);
        }
    }
}

#[test]
fn a_runner_keeps_its_buffers() {
    let mut runner = model().runner();
    with_inputs(100, |inputs| {
        runner.run(inputs).unwrap();
        let first = runner.output(0).data.as_ptr();
        for _ in 0..10 {
            runner.run(inputs).unwrap();
            assert_eq!(runner.output(0).data.as_ptr(), first);
            check_outputs(100, runner.output(0), runner.output(1));
        }
    });
    // Smaller and larger dimensions after that.
    for batch in [3, 200, 3] {
        with_inputs(batch, |inputs| runner.run(inputs)).unwrap();
        check_outputs(batch, runner.output(0), runner.output(1));
    }
    let taken = runner.take_outputs();
    with_inputs(5, |inputs| runner.run(inputs)).unwrap();
    check_outputs(3, taken[0].view(), taken[1].view());
    check_outputs(5, runner.output(0), runner.output(1));
}

#[test]
fn runs_into_the_callers_memory() {
    let mut runner = model().runner();
    let (mut sum, mut positive) = (vec![0f32; 6], [0u8; 48]);
    with_inputs(2, |inputs| {
        // SAFETY: plain numbers as bytes.
        let (_, bytes, _) = unsafe { sum.align_to_mut::<u8>() };
        let error = runner.run_into(inputs, &mut [bytes, &mut positive[..47]]).unwrap_err();
        assert_eq!(error.to_string(), "output `positive`: 48 bytes needed, 47 given");
        runner.run_into(inputs, &mut [bytes, &mut positive]).unwrap();
    });
    assert_eq!(runner.output_dims(1), [2]);
    assert_eq!(sum, [1.5, 0.5, 1.5, 2.5, 9.5, 4.5]);
    assert_eq!(&positive[8..16], 4i64.to_le_bytes());
}

/// The memory of a burst is not kept, and what is kept can be freed.
#[test]
fn idle_memory_is_bounded() {
    let model = model();
    assert_eq!(model.trim(), 0);
    let processors = std::thread::available_parallelism().unwrap().get();
    let burst = processors * 3 + 5;
    // Calls that are all inside at once.
    fn nest(model: &Model, depth: usize) {
        model.inner.with_buffers(|buffers| {
            with_inputs(10, |inputs| buffers.run(&model.inner, inputs, None, &Threads::Serial)).unwrap();
            if depth > 1 {
                nest(model, depth - 1);
            }
        });
    }
    nest(&model, burst);
    let workspace = 640 + 120 + 240;
    let freed = model.trim();
    assert_eq!(freed, processors as u64 * workspace);
    assert_eq!(model.trim(), 0);
    with_inputs(10, |inputs| model.run(inputs)).unwrap();
    assert_eq!(model.trim(), 640, "its outputs went to the caller");
}

#[test]
fn sixteen_threads_run_one_model() {
    let model = model();
    std::thread::scope(|scope| {
        for thread in 0..16 {
            let model = &model;
            scope.spawn(move || {
                let mut runner = model.runner();
                for i in 0..200 {
                    let batch = 1 + (thread * 31 + i * 7) % 60;
                    let outputs = with_inputs(batch, |inputs| model.run(inputs)).unwrap();
                    check_outputs(batch, outputs[0].view(), outputs[1].view());
                    with_inputs(batch, |inputs| runner.run(inputs)).unwrap();
                    check_outputs(batch, runner.output(0), runner.output(1));
                }
            });
        }
    });
}

#[test]
fn plans() {
    let plan = model().plan(&[&[10, 3], &[10, 3], &[11]]).unwrap();
    assert_eq!(plan.workspace_bytes, 640);
    assert_eq!(plan.output_dims, [vec![10, 3], vec![30]]);
    assert_eq!(plan.output_bytes, [Some(120), Some(240)]);
    assert_eq!(model().plan(&[&[10, 3], &[10, 3]]).unwrap_err().status(), Status::BadRank);
}

/// Each bad input is refused with a line that says where and why.
#[test]
fn input_errors() {
    let model = model();
    let f = [0f32; 6004];
    let i = [0i64; 2000];
    let check = |x: TensorRef<'_>, y: TensorRef<'_>, z: TensorRef<'_>, status: Status, text: &str| {
        let error = model.run(&[x, y, z]).unwrap_err();
        assert_eq!((error.status(), error.to_string().as_str()), (status, text));
    };
    let x = TensorRef::new(&[2, 3], &f[..6]);
    let z = TensorRef::new(&[3], &i[..3]);
    check(
        TensorRef::new(&[2, 3], &i[..6]),
        x,
        z,
        Status::BadDType,
        "input `x`: expected f32 [batch, 3], got i64 [2, 3]",
    );
    check(x, TensorRef::new(&[6], &f[..6]), z, Status::BadRank, "input `y`: expected f32 [batch, 3], got f32 [6]");
    check(
        TensorRef::new(&[2, 4], &f[..8]),
        x,
        z,
        Status::BadShape,
        "input `x`: expected f32 [batch, 3], got f32 [2, 4]: dimension 1 is 4, must be 3",
    );
    check(
        x,
        TensorRef::new(&[3, 3], &f[..9]),
        z,
        Status::BadShape,
        "input `y`: expected f32 [batch, 3], got f32 [3, 3]: dimension 0 is 3, but `batch` is 2 already",
    );
    check(
        x,
        x,
        TensorRef::new(&[5], &i[..5]),
        Status::BadShape,
        "input `z`: expected i64 [batch + 1], got i64 [5]: dimension 0 is 5, must be batch + 1 = 3",
    );
    check(
        TensorRef::new(&[2001, 3], &f[..6003]),
        x,
        z,
        Status::DimOutOfBounds,
        "input `x`: expected f32 [batch, 3], got f32 [2001, 3]: dimension 0 is 2001, but the model was compiled for \
         `batch` of 1 to 1000",
    );
    check(
        TensorRef::new(&[-2, 3], &f[..6]),
        x,
        z,
        Status::BadShape,
        "input `x`: expected f32 [batch, 3], got f32 [-2, 3]: dimension 0 is -2, which is negative",
    );
    check(
        x,
        TensorRef::new(&[2, 3], &f[..5]),
        z,
        Status::BufferTooSmall,
        "input `y`: f32 [2, 3] has 24 bytes, 20 were given",
    );
    let huge = model.run(&[TensorRef::new(&[i64::MAX, 3], &f[..6]), x, z]).unwrap_err();
    assert_eq!(huge.status(), Status::SizeOverflow);
    let few = model.run(&[x]).unwrap_err();
    assert_eq!(few.to_string(), "the model takes 3 inputs (x, y, z), 1 were given");
}

#[test]
fn a_failed_run_is_an_error_and_the_next_one_works() {
    let model = model();
    let (mut x, y, z) = inputs(2);
    x[3] = f32::NAN;
    let mut runner = model.runner();
    let bad = [TensorRef::new(&[2, 3], &x), TensorRef::new(&[2, 3], &y), TensorRef::new(&[3], &z)];
    let error = runner.run(&bad).unwrap_err();
    assert_eq!(error.status(), Status::BadIndex);
    assert_eq!(error.to_string(), "model `fake`: an index computed from the inputs is out of range (status 8)");
    with_inputs(2, |inputs| runner.run(inputs)).unwrap();
    check_outputs(2, runner.output(0), runner.output(1));
}

#[test]
fn bad_descriptors_are_refused() {
    let refused = |change: fn(&mut ModelDescriptor), status: Status, text: &str| {
        let mut descriptor = FAKE;
        change(&mut descriptor);
        let error = load(descriptor).unwrap_err();
        assert_eq!(error.status(), status, "{error}");
        assert!(error.to_string().contains(text), "{error}");
    };
    refused(|d| d.magic += 1, Status::NotAModel, "magic");
    refused(|d| d.abi_version = 7, Status::AbiMismatch, "built for ABI version 7, this runtime has 1");
    refused(|d| d.abi_version = 0, Status::AbiMismatch, "built for ABI version 0, this runtime has 1");
    refused(|d| d.struct_bytes = 8, Status::AbiMismatch, "recompile");
    refused(|d| d.arch = 3 - d.arch, Status::WrongArch, "this machine is");
    refused(|d| d.features = 1 << 63, Status::UnsupportedCpu, "lacks unknown bits");
    refused(|d| d.flags = 1 << 9, Status::AbiMismatch, "flags");
    refused(|d| d.name = std::ptr::null(), Status::NotAModel, "name");
    refused(|d| d.inputs = std::ptr::null(), Status::NotAModel, "inputs");
    refused(|d| d.run = None, Status::NotAModel, "run is null");
    refused(|d| d.plan = None, Status::NotAModel, "plan is null");
    refused(|d| d.input_dims_len = 4, Status::NotAModel, "input_dims_len");
    refused(|d| d.n_symbols = 0, Status::NotAModel, "inputs");
    refused(|d| (d.flags, d.weights_file) = (1, c"w.bin".as_ptr()), Status::BadArgument, "load it by path");
    refused(|d| (d.flags, d.weights_file) = (1, c"../w".as_ptr()), Status::NotAModel, "weights_file");
}

/// A feature this processor has is not asked for in vain, one it lacks is named.
#[cfg(target_arch = "x86_64")]
#[test]
fn a_missing_feature_is_named() {
    let lacking = nnc_abi::x86_64::ALL.iter().find(|(_, bit)| crate::host_features() & bit == 0);
    let Some(&(name, bit)) = lacking else { return };
    let mut descriptor = FAKE;
    descriptor.features = bit;
    let error = load(descriptor).unwrap_err();
    assert_eq!(error.status(), Status::UnsupportedCpu);
    assert_eq!(error.to_string(), format!("model: compiled for host, but this processor lacks {name}"));
}

#[test]
fn an_owner_lives_as_long_as_the_model() {
    struct Owner(Arc<AtomicBool>, #[allow(dead_code, reason = "held for the model")] Arc<ModelDescriptor>);
    impl Drop for Owner {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let dropped = Arc::new(AtomicBool::new(false));
    // Not a box: moving one ends what borrows from it.
    let descriptor = Arc::new(FAKE);
    let pointer = Arc::as_ptr(&descriptor);
    let owner = Box::new(Owner(dropped.clone(), descriptor));
    // SAFETY: the owner keeps the descriptor.
    let model = unsafe { Model::from_descriptor_owned(pointer, owner) }.unwrap();
    let runner = model.runner();
    drop(model);
    assert!(!dropped.load(Ordering::SeqCst));
    drop(runner);
    assert!(dropped.load(Ordering::SeqCst));
}

#[test]
fn booleans_read_as_bytes() {
    let tensor = TensorRef::from_bytes(DType::Bool, &[2], &[0, 1]);
    assert_eq!(tensor.as_slice::<u8>(), Some(&[0, 1][..]));
    assert_eq!(tensor.as_slice::<i8>(), None);
}

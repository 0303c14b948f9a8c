//! `--state`: runs on states give what runs on whole tensors give, by every way to run.

mod common;

use std::ffi::c_void;
use std::ptr::{null, null_mut};

use common::{Case, floats, model, nnc, node, text, value, with_int};
use nnc::guard;
use nnc_runtime::capi::{nnc_run_with_state, nnc_state_create, nnc_state_dims, nnc_state_free, nnc_state_truncate};
use nnc_runtime::{Model, Runner, State, Status, Tensor, TensorRef, Threads};

const F32: i32 = 1;

/// A cache that a run adds a position to, a sum over it, and a state of fixed shape.
fn recurrent() -> Case {
    let inputs =
        vec![value("x", F32, "batch 2 1 4"), value("past", F32, "batch 2 past 4"), value("h", F32, "batch 2 1 4")];
    let mut axes = floats("axes", &[1], &[]);
    (axes.data_type, axes.raw_data) = (7, 2i64.to_le_bytes().to_vec());
    let nodes = vec![
        node("Tanh", "x -> new"),
        with_int(node("Concat", "past new -> present"), "axis", 2),
        node("ReduceSum", "present axes -> sum"),
        node("Add", "sum h -> y"),
        node("Mul", "y new -> h_new"),
    ];
    let outputs =
        vec![value("y", F32, "batch 2 1 4"), value("present", F32, "batch 2 ? 4"), value("h_new", F32, "batch 2 1 4")];
    Case::new(&model(inputs, nodes, outputs, vec![axes]))
}

/// The model with states and without.
fn both(case: &Case) -> (Model, Model) {
    let dims = ["--dim", "past=0..7"];
    case.compile_to("plain.so", &dims).ok();
    case.compile_to("kept.so", &[&dims[..], &["--state", "past=present", "--state", "h=h_new"]].concat()).ok();
    (Model::load(case.path("plain.so")).expect("it loads"), Model::load(case.path("kept.so")).expect("it loads"))
}

/// The input of a step.
fn step(number: usize, batch: usize) -> Vec<f32> {
    (0..8 * batch).map(|i| ((i * 7 + number * 3) % 11) as f32 / 5.0 - 1.0).collect()
}

fn floats_of(tensor: &Tensor) -> &[f32] {
    tensor.as_slice().expect("floats")
}

#[test]
fn a_sequence_of_runs_is_that_of_whole_tensors() {
    let case = recurrent();
    let (plain, kept) = both(&case);
    for batch in [1, 3] {
        let dims = [batch as i64, 2, 1, 4];
        let empty = [batch as i64, 2, 0, 4];
        let mut state = State::new(&kept, &[&empty, &dims]).expect("memory");
        assert_eq!(state.bytes(), (batch * 2 * 8 * 4 + batch * 8) as u64 * 4);
        let mut runner = Runner::new(kept.clone(), Threads::Serial);
        let mut cache = (empty.to_vec(), vec![]);
        let mut h = vec![0.0; 8 * batch];
        for number in 0..8 {
            let x = step(number, batch);
            let x = TensorRef::new(&dims, &x);
            let whole = [x, TensorRef::new(&cache.0, &cache.1), TensorRef::new(&dims, &h)];
            let want = plain.run(&whole).expect("it runs");
            // Whole tensors go in and out of blocks of the runtime's.
            let got = kept.run(&whole).expect("it runs");
            for (got, want) in got.iter().zip(&want) {
                assert_eq!((got.dims(), floats_of(got)), (want.dims(), floats_of(want)));
            }
            let guarded = guard::run(&kept, &whole).expect("a run").expect("it keeps to its memory");
            assert!(guarded.iter().zip(&want).all(|(got, want)| got.view().data == want.data()));
            runner.run_with_state(&[x], &mut state).expect("it runs");
            assert_eq!(runner.output(0).as_slice::<f32>(), want[0].as_slice());
            for (index, want) in want[1..].iter().enumerate() {
                assert_eq!(state.dims(index), want.dims());
                assert_eq!(floats_of(&state.read(index).expect("memory")), floats_of(want));
            }
            cache = (want[1].dims().to_vec(), floats_of(&want[1]).to_vec());
            h = floats_of(&want[2]).to_vec();
        }
        let full = runner.run_with_state(&[TensorRef::new(&dims, &step(9, batch))], &mut state).unwrap_err();
        assert_eq!(full.status(), Status::DimOutOfBounds, "{full}");
        // Back to the third position: what follows is what followed then.
        let third: Vec<f32> = floats_of(&state.read(0).expect("memory")).to_vec();
        state.truncate(0, 3).expect("there are more");
        assert_eq!(state.dims(0), [batch as i64, 2, 3, 4]);
        let shorter = state.read(0).expect("memory");
        assert!((0..batch * 2).all(|row| floats_of(&shorter)[row * 12..][..12] == third[row * 32..][..12]));
        assert_eq!(state.truncate(0, 4).unwrap_err().status(), Status::BadArgument);
        assert_eq!(state.truncate(1, 0).unwrap_err().status(), Status::BadArgument);
        state.write(0, TensorRef::new(&cache.0, &cache.1)).expect("it fits");
        assert_eq!(floats_of(&state.read(0).expect("memory")), cache.1);
        let outer = [2 * batch as i64, 2, 1, 4];
        assert_eq!(state.write(0, TensorRef::new(&outer, &step(0, 2 * batch))).unwrap_err().status(), Status::BadShape);
        assert!(state.write(2, TensorRef::new(&dims, &h)).is_err());
    }
    assert_eq!(guard::sizes(&kept).expect("runs"), None);
}

#[test]
fn wrong_states_are_refused() {
    let case = recurrent();
    let (plain, kept) = both(&case);
    let dims = [1, 2, 1, 4];
    for (dims, status) in [
        (&[&dims[..]][..], Status::BadArgument),
        (&[&dims[..3], &dims], Status::BadRank),
        (&[&[1, 2, 9, 4], &dims], Status::SizeOverflow),
        (&[&[1, 2, -1, 4], &dims], Status::SizeOverflow),
        (&[&[i64::MAX, 2, 1, 4], &dims], Status::SizeOverflow),
    ] {
        assert_eq!(State::new(&kept, dims).unwrap_err().status(), status, "{dims:?}");
    }
    assert!(State::new(&plain, &[]).is_ok());
    let mut state = State::new(&kept, &[&dims, &dims]).expect("memory");
    let x = step(0, 1);
    let x = TensorRef::new(&dims, &x);
    let error = Runner::new(plain, Threads::Serial).run_with_state(&[x], &mut state).unwrap_err();
    assert!(error.status() == Status::BadArgument && error.to_string().contains("another model"), "{error}");
    let mut runner = Runner::new(kept, Threads::Serial);
    let error = runner.run_with_state(&[x, x, x], &mut state).unwrap_err();
    assert!(error.to_string().contains("takes 1 inputs (x), 3 were given"), "{error}");
    // A state of two rows where the input has one.
    let mut state = State::new(runner.model(), &[&[2, 2, 1, 4], &dims]).expect("memory");
    assert_eq!(runner.run_with_state(&[x], &mut state).unwrap_err().status(), Status::BadShape);
}

#[test]
fn the_c_api_knows_states() {
    let case = recurrent();
    let (plain, kept) = both(&case);
    let kept = &raw const kept;
    let mut state = null_mut();
    let begin = [1, 2, 0, 4, 1, 2, 1, 4];
    let (mut cache, mut h) = (vec![], vec![0f32; 8]);
    // SAFETY: all arrays have the model's lengths; tensors of states are not looked at.
    unsafe {
        assert_eq!(nnc_state_create(kept, begin.as_ptr(), &mut state), 0);
        for number in 0..3 {
            let x = step(number, 1);
            let past = [1, 2, number as i64, 4];
            let whole = [(&[1, 2, 1, 4], &x), (&past, &cache), (&[1, 2, 1, 4], &h)];
            let want = plain.run(&whole.map(|(dims, data)| TensorRef::new(dims, data))).expect("it runs");
            let mut y = [0f32; 8];
            let inputs: [*const c_void; 3] = [x.as_ptr().cast(), null(), null()];
            let outputs: [*mut c_void; 3] = [y.as_mut_ptr().cast(), null_mut(), null_mut()];
            let input_dims = [1, 2, 1, 4, -1, -1, -1, -1, -1, -1, -1, -1];
            let mut output_dims = [0; 12];
            let (inputs, outputs) = (inputs.as_ptr(), outputs.as_ptr());
            let given = output_dims.as_mut_ptr();
            let code =
                nnc_run_with_state(kept, null(), state, inputs, input_dims.as_ptr(), outputs, given, null_mut(), 0);
            assert_eq!((code, &y[..]), (0, floats_of(&want[0])));
            assert_eq!(output_dims[4..8], [1, 2, number as i64 + 1, 4]);
            (cache, h) = (floats_of(&want[1]).to_vec(), floats_of(&want[2]).to_vec());
        }
        let mut dims = [0; 4];
        assert_eq!((nnc_state_dims(state, 0, dims.as_mut_ptr()), dims), (0, [1, 2, 3, 4]));
        assert_eq!(nnc_state_truncate(state, 0, 1), 0);
        assert_eq!((nnc_state_dims(state, 0, dims.as_mut_ptr()), dims), (0, [1, 2, 1, 4]));
        assert_eq!(nnc_state_dims(state, 2, dims.as_mut_ptr()), Status::BadArgument as i32);
        assert_eq!(nnc_state_truncate(null_mut(), 0, 1), Status::NullArgument as i32);
        assert_eq!(nnc_state_dims(null(), 0, dims.as_mut_ptr()), Status::NullArgument as i32);
        nnc_state_free(state);
        nnc_state_free(null_mut());
    }
}

#[test]
fn commands_know_states() {
    let case = recurrent();
    both(&case);
    let kept = text(&case.path("kept.so"));
    let lines = nnc(["inspect", &kept]).ok();
    assert!(lines.contains("present is kept as past, up to 8 along axis 2"), "{lines}");
    assert!(lines.contains("h_new is kept as h\n"), "{lines}");
    nnc(["verify", &kept]).ok();
    let (x, past, h) = (step(0, 1), step(1, 1), step(2, 1));
    let dims = [1, 2, 1, 4];
    let arrays = [("x", &x), ("past", &past), ("h", &h)].map(|(name, data)| (name, TensorRef::new(&dims, data)));
    let inputs = text(&case.npz("in.npz", &arrays));
    let outputs = ["plain", "kept"].map(|name| {
        let output = text(&case.path(&format!("{name}.npz")));
        nnc(["run", &text(&case.path(&format!("{name}.so"))), "--inputs", &inputs, "--outputs", &output]).ok();
        std::fs::read(output).expect("arrays")
    });
    assert!(outputs[0] == outputs[1]);
    for (arguments, words) in [
        (&["--state", "past=present"][..], "has no bound; bound what it is made of with --dim"),
        (&["--dim", "past=0..7", "--state", "past"], "not INPUT=OUTPUT"),
        (&["--dim", "past=0..7", "--state", "past=future"], "there is no output \"future\""),
        (&["--dim", "past=0..7", "--state", "x=present"], "already"),
    ] {
        let arguments =
            if words == "already" { [arguments, &["--state", "past=present"]].concat() } else { arguments.to_vec() };
        let line = case.compile(&arguments).refused(1);
        assert!(line.contains(words), "{line}");
    }
}

//! Random numbers by the seed of a run: of every way to run, on any number of threads.

mod common;

use std::ffi::c_void;
use std::ptr::{null, null_mut};

use common::{Case, model, nnc, node, text, value, with_int};
use nnc_runtime::capi::{nnc_run, nnc_run_with_seed};
use nnc_runtime::{Model, Pool, Runner, TensorRef, Threads};
use onnx_protobuf::{AttributeProto, NodeProto};

const COUNT: usize = 20_000;

fn with_seed(mut node: NodeProto, seed: f32) -> NodeProto {
    let kind = onnx_protobuf::attribute_proto::AttributeType::FLOAT.into();
    let attribute = AttributeProto { name: "seed".into(), f: seed, type_: kind, ..AttributeProto::default() };
    node.attribute.push(attribute);
    node
}

/// Numbers without a seed, with one, and by a sum of draws.
fn drawing() -> Case {
    let inputs = vec![value("x", 1, "n")];
    let like = |name: &str| with_int(node("RandomNormalLike", &format!("x -> {name}")), "dtype", 1);
    let nodes = vec![like("free"), with_seed(like("fixed"), 3.0), like("more"), node("Add", "free more -> sum")];
    let outputs = ["free", "fixed", "sum"].map(|name| value(name, 1, "n")).to_vec();
    Case::new(&model(inputs, nodes, outputs, vec![]))
}

fn outputs(runner: &Runner) -> [Vec<f32>; 3] {
    [0, 1, 2].map(|i| runner.output(i).as_slice::<f32>().expect("floats").to_vec())
}

#[test]
fn runs_draw_by_their_seeds() {
    let case = drawing();
    case.compile_to("model.so", &[]).ok();
    let model = Model::load(case.path("model.so")).expect("it loads");
    let x = vec![0f32; COUNT];
    let dims = [COUNT as i64];
    let inputs = [TensorRef::new(&dims, &x)];
    let mut by_threads = vec![];
    for threads in [Threads::Serial, Threads::Pool(Pool::new(2)), Threads::Pool(Pool::new(5))] {
        let mut runner = Runner::new(model.clone(), threads);
        let runs = [0, 1, 1, 1 << 62].map(|seed| {
            runner.set_seed(seed);
            runner.run(&inputs).expect("it runs");
            outputs(&runner)
        });
        assert_eq!(runs[1], runs[2]);
        for (a, b) in [(0, 1), (0, 3), (1, 3)] {
            assert!(runs[a][0] != runs[b][0] && runs[a][2] != runs[b][2] && runs[a][1] == runs[b][1]);
        }
        by_threads.push(runs);
    }
    assert!(by_threads.windows(2).all(|pair| pair[0] == pair[1]));
    // A run that says nothing of a seed has the seed 0, whatever the last one had.
    let plain = model.run(&inputs).expect("it runs");
    assert_eq!(plain[0].as_slice::<f32>(), Some(&by_threads[0][0][0][..]));

    let call = |seed: Option<u64>| {
        let mut results = [(); 3].map(|()| vec![0f32; COUNT]);
        let given: [*const c_void; 1] = [x.as_ptr().cast()];
        let taken: [*mut c_void; 3] = results.each_mut().map(|r| r.as_mut_ptr().cast());
        let (given, sizes, taken, model) = (given.as_ptr(), dims.as_ptr(), taken.as_ptr(), &raw const model);
        // SAFETY: all arrays have the model's lengths.
        let code = unsafe {
            match seed {
                Some(seed) => {
                    nnc_run_with_seed(model, null(), seed, null_mut(), given, sizes, taken, null_mut(), null_mut(), 0)
                }
                None => nnc_run(model, null(), given, sizes, taken, null_mut(), null_mut(), 0),
            }
        };
        assert_eq!(code, 0);
        results
    };
    assert_eq!(call(Some(1)), by_threads[0][1]);
    assert_eq!(call(None), by_threads[0][0]);
    assert_eq!(call(Some(1 << 62)), by_threads[0][3]);
}

#[test]
fn the_command_takes_a_seed() {
    let case = drawing();
    case.compile_to("model.so", &[]).ok();
    let x = vec![0f32; 5];
    let given = text(&case.npz("in.npz", &[("x", TensorRef::new(&[5], &x))]));
    let run = |seed: &[&str]| {
        let output = text(&case.path("out.npz"));
        let model = text(&case.path("model.so"));
        nnc([&["run", model.as_str(), "--inputs", &given, "--outputs", &output], seed].concat()).ok();
        std::fs::read(output).expect("arrays")
    };
    let (none, zero, one) = (run(&[]), run(&["--seed", "0"]), run(&["--seed", "1"]));
    assert_eq!(none, zero);
    assert_ne!(none, one);
    assert_eq!(one, run(&["--seed", "1"]));
}

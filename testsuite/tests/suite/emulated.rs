//! Compiled programs on emulated processors, where there are emulators and compilers (Debian: qemu-user, gcc,
//! gcc-aarch64-linux-gnu).
//!
//! qemu reads instructions where vendors differ as AMD does, and refuses those that the processor it plays does not have.

use std::process::Command;

use nnc_runtime::{Model, Threads};

use crate::common::{Digits, build_with, compile, feed, folder, run};
use crate::digits::{MODELS, answers, logits};

/// Whether a program can be started.
fn exists(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|o| o.status.success())
}

/// How many of the images are shown: emulation takes its time.
const IMAGES: usize = 30;

/// A C program with both digit models, for a target: it says on each of these processors what `native` says here.
fn check(target: &str, gcc: &str, qemu: &str, processors: &[&str]) {
    if let Some(missing) = [gcc, qemu].into_iter().find(|program| !exists(program)) {
        eprintln!("{target}: skipped, since {missing} is not installed");
        return;
    }
    let (digits, folder) = (Digits::read(), folder(&format!("emulated-{target}")));
    let options = ["--target", target, "--dim", "batch=1"];
    compile("digits_cnn.onnx", &folder.join("digits_cnn.o"), &options);
    compile("digits_transformer.onnx", &folder.join("digits_transformer.a"), &options);
    let arguments = ["-static", "digits_cnn.o", "digits_transformer.a"];
    let program = build_with(gcc, &folder, "two_models.c", &arguments).display().to_string();
    let shown = Digits { images: digits.images[..64 * IMAGES].to_vec(), labels: vec![] };
    let images = shown.write(&folder);
    let expected = MODELS.map(|(name, dims, _)| {
        let path = folder.join(format!("{name}.so"));
        compile(&format!("{name}.onnx"), &path, &["--target", "native"]);
        let model = Model::load(&path).expect("it loads");
        answers(&logits(&model, dims, &shown.images, &Threads::Serial))
    });
    let expected: Vec<String> = (0..IMAGES).map(|i| format!("{} {}", expected[0][i], expected[1][i])).collect();
    for processor in processors {
        let printed = feed(qemu, &["-cpu", processor, &program], &images);
        assert_eq!(printed.lines().collect::<Vec<_>>(), expected, "{target} on {processor}");
    }
}

#[test]
fn c_program_for_x86_64_processors() {
    check("x86_64", "x86_64-linux-gnu-gcc", "qemu-x86_64", &["Nehalem", "EPYC"]);
}

#[test]
fn c_program_for_x86_64_processors_with_avx2() {
    check("x86_64-avx2", "x86_64-linux-gnu-gcc", "qemu-x86_64", &["Haswell", "EPYC"]);
}

#[test]
fn c_program_for_aarch64_processors() {
    check("aarch64", "aarch64-linux-gnu-gcc", "qemu-aarch64", &["cortex-a57", "neoverse-n1"]);
}

/// The artifact of README.md's first command, loaded by the runtime as the command does.
#[test]
fn the_demo_on_another_processor() {
    let qemu = "qemu-x86_64";
    if !cfg!(target_arch = "x86_64") || !exists(qemu) {
        eprintln!("skipped, since {qemu} is not installed or this is another architecture");
        return;
    }
    let folder = folder("emulated-demo");
    let artifact = folder.join("digits_cnn.so");
    compile("digits_cnn.onnx", &artifact, &["--target", "x86_64-avx2"]);
    let inputs = folder.join("in.npz");
    let images = Digits::read().images;
    let mut file = std::fs::File::create(&inputs).expect("a file");
    let array = nnc_runtime::TensorRef::new(&[500, 1, 8, 8], &images);
    nnc::npz::write(&mut file, &[("image", array)]).expect("it is written");
    drop(file);
    let outputs = |name: &str| folder.join(name);
    let arguments = |out: &str| {
        let words =
            ["run".into(), artifact.clone(), "--inputs".into(), inputs.clone(), "--outputs".into(), outputs(out)];
        words.map(|p| p.display().to_string())
    };
    run(Command::new(crate::common::NNC).args(arguments("here.npz")));
    run(Command::new(qemu).args(["-cpu", "EPYC", crate::common::NNC]).args(arguments("there.npz")));
    let logits = |name: &str| {
        let mut archive = nnc::npz::Reader::open(&outputs(name)).expect("an archive");
        let array =
            archive.array("logits", nnc_runtime::DType::F32, |_| Ok(())).expect("an array").expect("it is there");
        array.view().as_slice::<f32>().expect("floats").to_vec()
    };
    assert_eq!(logits("here.npz"), logits("there.npz"), "code for AVX2 gives the same bits on every processor");
}

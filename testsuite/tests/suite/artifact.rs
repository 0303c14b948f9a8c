//! What holds for the files that the compiler writes: their symbols keep to themselves, their hashes cover every bit, and
//! every form of a model describes itself alike.

use std::fs;
use std::process::Command;

use nnc_runtime::{Artifact, Kind, Model, Status, TensorRef};

use crate::common::{Digits, compile, folder, root, run};

/// The typed functions of a header with free sizes answer sizes, and refuse buffers without room.
#[test]
fn rooms_are_checked() {
    let folder = folder("rooms");
    compile("digits_cnn.onnx", &folder.join("digits_cnn.a"), &[]);
    for (compiler, arguments) in [("cc", &["-std=c11"][..]), ("c++", &["-std=c++20"])] {
        let program = folder.join(compiler);
        let source = root().join("testsuite/c/rooms.c");
        // C++ spells the alignment otherwise.
        let text = std::fs::read_to_string(source).expect("it is there");
        let text = if compiler == "c++" { text.replace("_Alignas", "alignas") } else { text };
        let source = folder.join(if compiler == "c++" { "rooms.cpp" } else { "rooms.c" });
        std::fs::write(&source, text).expect("a file");
        let mut build = Command::new(compiler);
        build.current_dir(&folder).args(["-O1", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-I."]).args(arguments);
        run(build.arg(&source).args(["digits_cnn.a", "-o"]).arg(&program));
        assert_eq!(
            run(&mut Command::new(&program)),
            "negative: 4\nplan: 0\nlogits: 3 10\nexact: 0\nimage: 105\nlogits: 105\nworkspace: 6\nran: 3 10\n"
        );
    }
}

/// Two models under one name, in one program: each keeps its own tables, whether the program copies the descriptor (as
/// linkers do for programs that are not position-independent) or not, and also when the library is replaced later.
#[test]
fn equal_names_do_not_mix() {
    let folder = folder("interpose");
    for (place, model) in [("v1", "digits_cnn.onnx"), ("v2", "digits_transformer.onnx")] {
        fs::create_dir(folder.join(place)).expect("a folder");
        compile(model, &folder.join(place).join("digits.so"), &[]);
    }
    let said =
        |linked, loaded| format!("linked: digits, {linked} dims of image\nloaded: digits, {loaded} dims of image\n");
    for position in [&["-fPIE", "-pie"][..], &["-fno-pie", "-no-pie"]] {
        let program = folder.join("program");
        let mut cc = Command::new("cc");
        cc.current_dir(&folder).args(["-O1", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-Iv1"]).args(position);
        cc.arg(root().join("testsuite/c/interpose.c")).args(["v1/digits.so", "-Wl,-rpath,$ORIGIN/v1", "-ldl"]);
        run(cc.arg("-o").arg(&program));
        // The path it was linked with is not recorded: it runs from any folder.
        let printed = run(Command::new(&program).current_dir("/").arg(folder.join("v2/digits.so")));
        assert_eq!(printed, said(4, 3));
        // Another build in place of the one that was linked.
        fs::rename(folder.join("v1/digits.so"), folder.join("kept.so")).expect("it is there");
        fs::copy(folder.join("v2/digits.so"), folder.join("v1/digits.so")).expect("it is there");
        let printed = run(Command::new(&program).current_dir("/").arg(folder.join("kept.so")));
        assert_eq!(printed, said(3, 4));
        fs::rename(folder.join("kept.so"), folder.join("v1/digits.so")).expect("it is there");
    }
}

#[test]
fn every_form_describes_itself_alike() {
    let folder = folder("forms");
    for target in ["x86_64", "x86_64-avx2", "x86_64-avx512", "aarch64"] {
        let mut said = vec![];
        for (extension, kind) in [("so", Kind::Library), ("o", Kind::Object), ("a", Kind::Archive)] {
            let path = folder.join(format!("digits.{extension}"));
            compile("digits_cnn.onnx", &path, &["--target", target, "--dim", "batch=1..9"]);
            let artifact = Artifact::open(&path).expect("an artifact");
            assert_eq!(artifact.kind(), kind);
            artifact.verify().expect("it is as it was written");
            let signature = artifact.signature();
            assert!(signature.workspace_text.as_ref().is_some_and(|text| text.contains("batch")));
            let hash = signature.artifact_hash;
            assert_ne!(hash, [0; 32]);
            let mut signature = signature.clone();
            signature.artifact_hash = [0; 32];
            said.push(format!("{signature:?}"));
        }
        assert!(said.iter().all(|s| *s == said[0]), "{target}: {said:?}");
    }
}

/// No bit of an artifact changes unnoticed.
#[test]
fn every_bit_is_verified() {
    let folder = folder("bits");
    for extension in ["so", "o", "a"] {
        let path = folder.join(format!("digits.{extension}"));
        compile("digits_cnn.onnx", &path, &["--dim", "batch=1"]);
        let whole = fs::read(&path).expect("an artifact");
        // An archive's own headers are no part of the model.
        let start = whole.windows(4).position(|w| w == b"\x7fELF").expect("an ELF file");
        let places = (start..whole.len()).enumerate().filter(|(i, _)| *i < 600 || i % 61 == 0);
        for (i, at) in places {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << (i % 8);
            let verdict = Artifact::from_bytes(bytes, "changed").and_then(|artifact| artifact.verify());
            assert!(verdict.is_err(), ".{extension}: byte {at} of {}", whole.len());
        }
    }
    let path = folder.join("digits.so");
    let model = Model::load(&path).expect("it loads");
    model.verify().expect("it is as it was written");
    let mut bytes = fs::read(&path).expect("an artifact");
    *bytes.last_mut().expect("weights") ^= 1;
    fs::write(folder.join("changed.so"), bytes).expect("a file");
    // Loading reads no weights; verifying does.
    let changed = Model::load(folder.join("changed.so")).expect("it loads");
    let error = changed.verify().unwrap_err();
    assert_eq!(error.status(), Status::Damaged);
    assert!(error.to_string().contains("weights are damaged"), "{error}");
}

/// Weights in a file of their own: every form finds them, and answers as with them embedded; whatever is wrong with the
/// file is said.
#[test]
fn weights_beside_the_artifact() {
    let folder = folder("beside");
    let (within, beside) = (folder.join("within.so"), folder.join("digits.so"));
    compile("digits_cnn.onnx", &within, &["--name", "digits"]);
    compile("digits_cnn.onnx", &beside, &["--weights-file"]);
    let (within, model) = (Model::load(&within).expect("it loads"), Model::load(&beside).expect("it loads"));
    assert_eq!(model.signature().weights_file.as_deref(), Some("digits.weights"));
    assert_eq!(model.weights(), within.weights());
    let images = &Digits::read().images[..64 * 5];
    let said = |model: &Model| model.run(&[TensorRef::new(&[5, 1, 8, 8], images)]).expect("it runs")[0].data().to_vec();
    assert_eq!(said(&model), said(&within));
    model.verify().expect("it is as it was written");
    let views = [TensorRef::new(&[5, 1, 8, 8], images)];
    nnc::guard::run(&model, &views).expect("a run").expect("it keeps to its memory");
    // Through a link the file is looked for where the link leads.
    std::os::unix::fs::symlink("../beside/digits.so", folder.join("link.so")).expect("a link");
    Model::load(folder.join("link.so")).expect("it loads");
    for extension in ["o", "a"] {
        let path = folder.join(format!("digits.{extension}"));
        compile("digits_cnn.onnx", &path, &["--weights-file"]);
        Artifact::open(&path).expect("an artifact").verify().expect("it is as it was written");
    }
    let file = folder.join("digits.weights");
    let whole = fs::read(&file).expect("weights");
    for at in [0, whole.len() / 2, whole.len() - 65] {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fs::write(&file, bytes).expect("a file");
        let error = Model::load(&beside).expect("it loads").verify().unwrap_err();
        assert_eq!(error.status(), Status::Damaged, "{error}");
        let error = Artifact::open(&beside).expect("an artifact").verify().unwrap_err();
        assert!(error.status() == Status::Damaged && error.to_string().contains("digits.weights"), "{error}");
    }
    let trailer = whole.len() - 64;
    for bytes in [&whole[..trailer], &whole[..63], &[], &whole[1..], &[&whole[..], &[0; 64]].concat()] {
        fs::write(&file, bytes).expect("a file");
        let error = Model::load(&beside).unwrap_err();
        assert_eq!(error.status(), Status::NotAModel, "{error}");
    }
    for at in [trailer, trailer + 8, trailer + 32, trailer + 63] {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fs::write(&file, bytes).expect("a file");
        assert_eq!(Model::load(&beside).unwrap_err().status(), Status::NotAModel, "{at}");
    }
    fs::remove_file(&file).expect("it is there");
    let error = Model::load(&beside).unwrap_err();
    assert!(error.status() == Status::NotFound && error.to_string().contains("digits.weights"), "{error}");
    fs::create_dir(&file).expect("a folder");
    assert_eq!(Model::load(&beside).unwrap_err().status(), Status::NotFound);
}

/// Artifacts of nnc, changed at random, are refused or described, in bounded time and memory; nothing of them runs.
#[test]
fn changed_artifacts_have_an_answer() {
    let folder = folder("changed");
    let mut state = 7u64;
    let mut next = move || {
        // Marsaglia, "Xorshift RNGs", 2003.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as usize
    };
    for (extension, target) in [("so", "x86_64-avx2"), ("so", "aarch64"), ("o", "x86_64"), ("a", "aarch64")] {
        let path = folder.join(format!("digits.{extension}"));
        compile("digits_cnn.onnx", &path, &["--target", target]);
        let whole = fs::read(&path).expect("an artifact");
        for round in 0..1500 {
            let mut bytes = whole.clone();
            for _ in 0..1 + next() % 6 {
                let within = if next() % 3 == 0 { bytes.len() } else { 2048 };
                let (at, width) = (next() % within, 1 << (next() % 4));
                let value = [0, 1, u64::MAX, 1 << 31, 0x7fff_ffff_ffff_ffff, next() as u64][next() % 6].to_le_bytes();
                for (byte, value) in bytes[at..].iter_mut().zip(&value[..width]) {
                    *byte = *value;
                }
            }
            if let Ok(artifact) = Artifact::from_bytes(bytes.clone(), "changed") {
                let _ = artifact.verify();
            }
            if extension == "so" && round % 10 == 0 {
                fs::write(folder.join("changed.so"), &bytes).expect("a file");
                let _ = Model::load(folder.join("changed.so"));
            }
        }
    }
}

//! Loading files: a real shared object, and everything that is not one.

mod common;

use std::process::Command;

use nnc_runtime::{Model, Status, TensorRef};

#[test]
fn loads_and_runs_a_shared_object() {
    let path = common::folder("loads").join("twice.so");
    if !common::model(&path, &[]) {
        return;
    }
    let model = Model::load(&path).unwrap();
    let again = Model::load(&path).unwrap();
    drop(again);
    let outputs = model.run(&[TensorRef::new(&[3], &[1f32, 2.0, 3.0])]).unwrap();
    assert_eq!(outputs[0].as_slice::<f32>(), Some(&[2f32, 4.0, 6.0][..]));
    let none = model.run(&[TensorRef::new::<f32>(&[0], &[])]).unwrap();
    assert_eq!((none[0].dims(), none[0].data().len()), (&[0][..], 0));
}

/// An empty or missing name must not make the loader search its path.
#[test]
fn paths_without_a_slash_are_files() {
    assert_eq!(Model::load("libc.so.6").unwrap_err().status(), Status::NotFound);
    assert_eq!(Model::load("").unwrap_err().status(), Status::NotFound);
}

#[test]
fn weights_are_not_read() {
    let path = common::folder("weights").join("big.so");
    if !common::model(&path, &["-DWEIGHTS_MB=\"64\""]) {
        return;
    }
    let resident = || -> u64 {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
        statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
    };
    let before = resident();
    let model = Model::load(&path).unwrap();
    assert!(resident() < before + (16 << 20), "loading made the weights resident");
    // Generous, for a busy machine; usually well under a millisecond.
    assert!(model.load_time().as_millis() < 100, "{:?}", model.load_time());
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn other_files_are_refused() {
    let folder = common::folder("refused");
    let refused = |name: &str, content: &[u8], status: Status, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, content).unwrap();
        let error = Model::load(&path).unwrap_err();
        assert_eq!(error.status(), status, "{error}");
        let message = error.to_string();
        assert!(message.starts_with(path.to_str().unwrap()), "{message}");
        assert!(message.contains(text) && !message.contains('\n'), "{message}");
    };
    refused("empty.so", b"", Status::NotAModel, "the file is empty");
    refused("text.so", b"not a model\n", Status::NotAModel, "not an ELF file");
    refused("header.so", b"\x7fELF\x02\x01", Status::NotAModel, "truncated");
    let executable = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    let mut foreign = executable[..4096].to_vec();
    foreign[18] = 8;
    refused("mips.so", &foreign, Status::WrongArch, "ELF machine 8");
    refused("cut.so", &executable[..4096], Status::NotAModel, "");
    refused("program.so", &executable, Status::NotAModel, "no `nnc_model`");
    assert!(Model::load(&folder).unwrap_err().to_string().contains("not a regular file"));
    assert_eq!(Model::load(folder.join("missing.so")).unwrap_err().status(), Status::NotFound);
}

#[test]
fn other_shared_objects_are_refused() {
    let folder = common::folder("shared");
    let path = folder.join("model.so");
    let refused = |defines: &[&str], status: Status, text: &str| {
        let error = Model::load(&path).unwrap_err();
        assert_eq!(error.status(), status, "{defines:?}: {error}");
        assert!(error.to_string().contains(text), "{error}");
    };
    let build = |defines: &[&str]| {
        // A new file each time: the dynamic loader knows files by their inode.
        let _ = std::fs::remove_file(&path);
        common::model(&path, defines)
    };
    if !build(&["-DVERSION=9"]) {
        return;
    }
    refused(&["-DVERSION=9"], Status::AbiMismatch, "ABI version 9");
    let lacks = "-DFEATURES=UINT64_C(0x8000000000000000)";
    build(&[lacks]);
    refused(&[lacks], Status::UnsupportedCpu, "lacks");
    build(&["-Dnnc_model=other"]);
    refused(&[], Status::NotAModel, "no `nnc_model`");
    // Cut anywhere, the file is refused or, where only its end is missing, still a model; it never crashes.
    build(&[]);
    let whole = std::fs::read(&path).unwrap();
    for cut in (0..whole.len()).step_by(97) {
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, &whole[..cut]).unwrap();
        match Model::load(&path) {
            Err(error) => assert_eq!(error.status(), Status::NotAModel, "cut at {cut}: {error}"),
            Ok(_) => assert!(cut > whole.len() / 2, "cut at {cut} of {}", whole.len()),
        }
    }
}

#[test]
fn a_c_program_uses_the_c_api() {
    // Cargo puts the shared library of the crate under test beside the test executables.
    let library = std::env::current_exe().unwrap().parent().unwrap().to_owned();
    if !library.join("libnnc_runtime.so").exists() {
        eprintln!("libnnc_runtime.so was not built: skipped");
        return;
    }
    let folder = common::folder("c_api");
    let (model, program) = (folder.join("twice.so"), folder.join("program"));
    let link = format!("-L{}", library.display());
    let arguments = ["-std=c99", "tests/c/program.c", "-o", program.to_str().unwrap(), &link, "-lnnc_runtime"];
    if !common::model(&model, &[]) || !common::cc(&arguments) {
        return;
    }
    // The variable, as cargo sets it to other folders, where an older library may lie, and it overrides a run path.
    let output = Command::new(&program).arg(&model).env("LD_LIBRARY_PATH", &library).output().unwrap();
    let out = String::from_utf8_lossy(&output.stdout);
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && out.starts_with("ok "), "{out}{err}");
}

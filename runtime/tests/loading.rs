//! Loading files: a real shared object, and everything that is not one.

mod common;

use std::process::Command;

use nnc_runtime::{Artifact, Model, Status, TensorRef};

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

/// Whatever a dynamic loader would run is refused; what it would run ends the process.
#[test]
fn nothing_runs_on_loading() {
    let folder = common::folder("hostile");
    let path = folder.join("model.so");
    let cases = [
        ("-DCONSTRUCTOR", "runs code when it is loaded"),
        ("-DDESTRUCTOR", "runs code when it is unloaded"),
        ("-DUNDEFINED", "needs the symbol `boo`"),
        ("-DIFUNC", "found by running code"),
        ("-DHIDDEN_IFUNC", "other files or code decide"),
        ("-DTHREAD_LOCAL", "thread-local"),
        ("-DWRITABLE_CODE", "writable and executable"),
        ("-DINTERPOSED", "other files or code decide"),
        ("-Wl,-z,execstack", "executable stack"),
        ("-Wl,--no-as-needed,-lc", "another library"),
        ("-DFUNCTION -Wl,-init,boo", "runs code when it is loaded"),
        ("-DFUNCTION -Wl,-fini,boo", "runs code when it is unloaded"),
    ];
    for (define, text) in cases {
        let _ = std::fs::remove_file(&path);
        let fixed = ["-shared", "-fPIC", "-nostdlib", "tests/c/hostile.c", "-o", path.to_str().unwrap()];
        if !common::cc(&fixed.into_iter().chain(define.split(' ')).collect::<Vec<_>>()) {
            return;
        }
        for error in [Model::load(&path).unwrap_err(), Artifact::open(&path).unwrap_err()] {
            assert_eq!(error.status(), Status::NotAModel, "{define}: {error}");
            assert!(error.to_string().contains(text), "{define}: {error}");
        }
    }
}

/// A number of an ELF file.
fn number(file: &[u8], at: usize) -> usize {
    u64::from_le_bytes(file[at..at + 8].try_into().unwrap()) as usize
}

/// Where in an ELF file the headers of segments of a type are.
fn segments(file: &[u8], kind: u8) -> Vec<usize> {
    let count = usize::from(u16::from_le_bytes([file[56], file[57]]));
    (0..count).map(|i| number(file, 32) + 56 * i).filter(|&at| file[at..at + 4] == [kind, 0, 0, 0]).collect()
}

/// What a file says of its memory must be so that nothing outside of it is read or mapped over.
#[test]
fn impossible_memory_is_refused() {
    let path = common::folder("memory").join("model.so");
    if !common::model(&path, &[]) {
        return;
    }
    let whole = std::fs::read(&path).unwrap();
    Artifact::from_bytes(whole.clone(), "whole").unwrap();
    let refused = |changes: &[(usize, usize)], text: &str| {
        let mut file = whole.clone();
        for &(at, value) in changes {
            file[at..at + 8].copy_from_slice(&(value as u64).to_le_bytes());
        }
        let error = Artifact::from_bytes(file, "changed").unwrap_err();
        assert!(error.to_string().contains(text), "{error}");
    };
    let loads = segments(&whole, 1);
    // On a system with larger pages the second segment would begin in a page of the first; those behind it go.
    let mut changes = vec![(loads[1] + 48, number(&whole, loads[1] + 48) * 16)];
    changes.extend(loads[2..].iter().map(|&at| (at, 0)));
    refused(&changes, "overlap or are out of order");
    // The descriptor would lie behind what the file has of its segment.
    let written = loads.iter().find(|&&at| whole[at + 4] & 2 != 0).unwrap();
    refused(&[(written + 32, 8)], "not a compiled model");
    // The word that the first relocation sets would hold an address far outside.
    let dynamic = number(&whole, segments(&whole, 2)[0] + 8);
    let rela = (dynamic..).step_by(16).find(|&at| number(&whole, at) == 7).map(|at| number(&whole, at + 8)).unwrap();
    let within = |at: &&usize| (number(&whole, **at + 16)..).take(number(&whole, **at + 32)).any(|a| a == rela);
    let home = loads.iter().find(within).unwrap();
    let table = rela - number(&whole, home + 16) + number(&whole, home + 8);
    refused(&[(table + 16, 1 << 40)], "a relocation leads out of it");
}

/// A step of the generator splitmix64 (Steele, Lea and Flood, 2014).
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Whatever a file says, reading and mapping it ends in an answer.
#[test]
fn damaged_files_have_an_answer() {
    let folder = common::folder("damaged");
    let path = folder.join("model.so");
    if !common::model(&path, &[]) {
        return;
    }
    let whole = std::fs::read(&path).unwrap();
    let origin = "damaged";
    let mut state = 1;
    let (mut refused, mut loaded) = (0, 0);
    for round in 0..6000 {
        let mut file = whole.clone();
        for _ in 0..1 + next(&mut state) % 4 {
            // Half of the damage goes to the headers, where it matters most.
            let within = if next(&mut state).is_multiple_of(2) { 1024.min(file.len()) } else { file.len() };
            let at = next(&mut state) as usize % within;
            let interesting = [0, 1, 7, 8, 0x7f, 0x80, 0xff, next(&mut state) as u8];
            file[at] = interesting[next(&mut state) as usize % 8];
        }
        if next(&mut state).is_multiple_of(16) {
            file.truncate(next(&mut state) as usize % file.len());
        }
        // Each tenth is mapped too; that runs nothing.
        if round % 10 == 0 {
            std::fs::write(&path, &file).unwrap();
            loaded += usize::from(Model::load(&path).is_ok());
        }
        refused += usize::from(Artifact::from_bytes(file, origin).is_err());
    }
    assert!(refused > 500 && loaded > 10, "{refused} refused, {loaded} loaded");
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

//! Family `import`: files that were cut, damaged or built to do harm.
//!
//! A seed takes a model of the repository's cases or a random valid one, or arrays or a tensor in a file, and changes
//! bytes of it or its structure. The command has to take or refuse it: one line, exit code 0, 1 or 2, in bounded time
//! and memory, and no file left behind. Whether the result computes the right thing is the other families' concern.

mod archive;
mod judge;
mod mutate;
mod wire;

use std::fs;
use std::path::{Path, PathBuf};

use nnc::errors::{Failure, Result};
use nnc_runtime::{DType, TensorRef};

use self::judge::{Subject, Verdict};
use self::wire::Kind;
use super::random::Random;
use super::session::{Outcome, Session};

/// The most tries at making a failing file smaller.
const MOST_TRIES: usize = 200;

/// Makes and checks the file of a seed.
///
/// # Errors
/// When the command cannot be started or a file not be written.
pub fn run(session: &mut Session, seed: u64) -> Result<Outcome> {
    let mut random = Random::new(seed);
    let program = std::env::current_exe().map_err(|e| Failure::user(e.to_string()))?;
    let models = models()?;
    let model = random.of::<PathBuf>(&models).clone();
    let subject = match random.below(10) {
        0 => Subject::Arrays,
        1 => Subject::Tensor,
        _ => Subject::Model,
    };
    let bytes = specimen(&mut random, subject, &model, &models)?;
    let scratch = session.scratch().to_owned();
    let judge = |bytes: &[u8]| judge::judge(&program, &scratch, subject, bytes, &model);
    let fault = match judge(&bytes)? {
        Verdict::Taken => return Ok(Outcome::Passed { runs: 1, notes: vec![] }),
        Verdict::Refused(line) => return Ok(Outcome::Refused(super::session::class(&line))),
        Verdict::Wrong(fault) => fault,
    };
    let same = |bytes: &[u8]| Ok(matches!(judge(bytes)?, Verdict::Wrong(other) if class(&other) == class(&fault)));
    // A file that takes too long does so at every try.
    let shrinks = session.shrinks() && !fault.starts_with("took ");
    let small = if shrinks { smaller(bytes, same)? } else { bytes };
    let file = session.out().join(format!("import-{seed}.{}", extension(subject)));
    let io = |e: std::io::Error| Failure::io(&file, "cannot be written", &e);
    fs::create_dir_all(session.out()).map_err(io)?;
    fs::write(&file, &small).map_err(io)?;
    Ok(Outcome::Wrong(format!("{fault}; see {}", file.display())))
}

fn extension(subject: Subject) -> &'static str {
    match subject {
        Subject::Model => "onnx",
        Subject::Arrays => "npz",
        Subject::Tensor => "pb",
    }
}

/// The models of the repository's cases.
fn models() -> Result<Vec<PathBuf>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    let io = |e: std::io::Error| Failure::io(&folder, "cannot be read", &e);
    let mut found = vec![];
    for entry in fs::read_dir(&folder).map_err(io)? {
        found.push(entry.map_err(io)?.path().join("model.onnx"));
    }
    found.retain(|path| path.is_file());
    found.sort();
    if found.is_empty() { Err(Failure::user(format!("{}: no cases in it", folder.display()))) } else { Ok(found) }
}

/// A file that is not quite right.
fn specimen(random: &mut Random, subject: Subject, model: &Path, models: &[PathBuf]) -> Result<Vec<u8>> {
    let read = |path: &Path| fs::read(path).map_err(|e| Failure::io(path, "cannot be read", &e));
    let other = read(random.of::<PathBuf>(models))?;
    Ok(match subject {
        Subject::Model => {
            let bytes =
                if random.percent(30) { read(model)? } else { super::onnx::specimen(random.fork()).net.bytes() };
            match random.below(10) {
                0..=7 => mutate::structure(random, &bytes, Kind::Model),
                8 => {
                    let changed = mutate::structure(random, &bytes, Kind::Model);
                    mutate::bytes(random, changed, &other)
                }
                _ => mutate::bytes(random, bytes, &other),
            }
        }
        Subject::Tensor => {
            let set = model.with_file_name("test_data_set_0").join("input_0.pb");
            let bytes = if set.is_file() { read(&set)? } else { vec![0x08, 0x01, 0x10, 0x01, 0x4a, 0x04, 0, 0, 0, 0] };
            match random.percent(60) {
                true => mutate::structure(random, &bytes, Kind::Tensor),
                false => mutate::bytes(random, bytes, &other),
            }
        }
        Subject::Arrays if random.percent(70) => archive::change(random, &arrays(model)?),
        Subject::Arrays => mutate::bytes(random, arrays(model)?, &other),
    })
}

/// An archive with an array for each input of a case's model.
fn arrays(model: &Path) -> Result<Vec<u8>> {
    let names = nnc_onnx::Model::load(model)?.graph.inputs.into_iter().map(|input| input.name);
    let set = model.with_file_name("test_data_set_0");
    let mut arrays = vec![];
    for (i, name) in names.enumerate() {
        let file = set.join(format!("input_{i}.pb"));
        if !file.is_file() {
            continue;
        }
        let tensor = nnc_onnx::load_tensor(file)?.tensor;
        let dtype = u32::try_from(tensor.elem_type.number()).ok().and_then(DType::from_code);
        let dims: Vec<i64> = tensor.dims.iter().map(|&d| d as i64).collect();
        arrays.extend(dtype.map(|dtype| (name, dtype, dims, tensor)));
    }
    let views = arrays
        .iter()
        .map(|(name, dtype, dims, tensor)| (name.as_str(), TensorRef::from_bytes(*dtype, dims, tensor.bytes())));
    let mut file = tempfile::tempfile().map_err(|e| Failure::user(e.to_string()))?;
    let mut out = vec![];
    let io = |e: std::io::Error| Failure::user(format!("a temporary file: {e}"));
    nnc::npz::write(&mut file, &views.collect::<Vec<_>>()).map_err(io)?;
    std::io::Seek::rewind(&mut file).map_err(io)?;
    std::io::Read::read_to_end(&mut file, &mut out).map_err(io)?;
    Ok(out)
}

/// A fault without the numbers that differ from file to file.
fn class(fault: &str) -> String {
    fault.chars().filter(|c| !c.is_ascii_digit()).take(60).collect()
}

/// The file with as many pieces left out as the fault allows, large pieces first.
fn smaller(mut bytes: Vec<u8>, mut same: impl FnMut(&[u8]) -> Result<bool>) -> Result<Vec<u8>> {
    let mut tries = 0;
    let mut piece = bytes.len() / 2;
    while piece > 0 {
        let mut at = 0;
        while at < bytes.len() {
            tries += 1;
            if tries > MOST_TRIES {
                return Ok(bytes);
            }
            let mut candidate = bytes.clone();
            candidate.drain(at..(at + piece).min(bytes.len()));
            match same(&candidate)? {
                true => bytes = candidate,
                false => at += piece,
            }
        }
        piece /= 2;
    }
    Ok(bytes)
}

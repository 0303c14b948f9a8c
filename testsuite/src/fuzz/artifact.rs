//! Artifacts with changed bytes: reading, verifying and mapping them ends in an answer, and no change goes unnoticed.
//!
//! Nothing of a changed artifact runs, so a crash here is one of the reader or of the mapping; the file that made it is
//! `changed` in the folder for temporary files.

use std::path::{Path, PathBuf};

use nnc::driver::{Compilation, Halt, Options, Unwatched, WeightsPlace};
use nnc::errors::{Failure, Result};
use nnc_desc::Target;
use nnc_runtime::{Artifact, Model};

use super::random::Random;
use super::session::{Outcome, Session};

/// What is changed: targets and forms.
const FORMS: &[(&str, &str)] =
    &[("x86_64-avx2", "so"), ("aarch64", "so"), ("x86_64", "o"), ("aarch64", "o"), ("x86_64-avx2", "a")];

/// Changes an artifact by a seed and looks at what becomes of it.
///
/// # Errors
/// When no artifact can be made, or no file written.
pub fn run(session: &mut Session, seed: u64) -> Result<Outcome> {
    let mut random = Random::new(seed);
    let &(target, extension) = random.of(FORMS);
    let whole = genuine(session.scratch(), target, extension)?;
    let bytes = change(&whole, &mut random);
    let path = session.scratch().join("changed");
    std::fs::write(&path, &bytes).map_err(|e| Failure::io(&path, "cannot be written", &e))?;
    // Mapped as well, where this machine takes the target; refused otherwise.
    let _ = Model::load(&path);
    let equal = bytes == whole;
    match Artifact::from_bytes(bytes, "changed").and_then(|artifact| artifact.verify()) {
        Err(error) if equal => Ok(Outcome::Wrong(format!("an unchanged .{extension} is refused: {error}"))),
        Err(error) => Ok(Outcome::Refused(error.status().to_string())),
        // The headers of an archive are no part of the model.
        Ok(()) if equal || extension == "a" => Ok(Outcome::Passed { runs: 0, notes: vec![] }),
        Ok(()) => Ok(Outcome::Wrong(format!("a changed .{extension} for {target} verifies"))),
    }
}

/// Changes bytes, words, the length, or the order of parts.
fn change(whole: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    for _ in 0..1 + random.below(6) {
        // Headers and tables are at both ends.
        let within = if random.percent(60) { bytes.len().min(2048) } else { bytes.len() };
        let at = random.below(within);
        let at = if random.percent(30) { bytes.len() - 1 - at } else { at };
        let values = [0, 1, u64::MAX, 1 << 31, u64::MAX >> 1, bytes.len() as u64, random.bits()];
        let value = random.of(&values).to_le_bytes();
        let width = 1 << random.below(4);
        for (byte, value) in bytes[at..].iter_mut().zip(&value[..width]) {
            *byte = *value;
        }
    }
    if random.percent(5) {
        bytes.truncate(1 + random.below(bytes.len()));
    }
    if random.percent(5) {
        let (from, to) = (random.below(bytes.len()), random.below(bytes.len()));
        let length = random.below(256).min(bytes.len() - from.max(to));
        bytes.copy_within(from..from + length, to);
    }
    bytes
}

/// An artifact as the compiler writes it, made on first use.
fn genuine(folder: &Path, target: &str, extension: &str) -> Result<Vec<u8>> {
    let path = folder.join(format!("genuine-{target}.{extension}"));
    if !path.exists() {
        compile(&path, target, extension)?;
    }
    std::fs::read(&path).map_err(|e| Failure::io(&path, "cannot be read", &e))
}

fn compile(path: &Path, target: &str, extension: &str) -> Result<()> {
    let model = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/examples/digits_cnn.onnx"));
    let options = Options { target: Target::parse(target)?, ..Options::native("digits")? };
    let mut watch = Unwatched;
    let mut compilation = Compilation::new(&options, &mut watch)?;
    let model = compilation.import(&model)?;
    let graph = compilation.graph(&model).map_err(Halt::into_failure)?;
    let program = compilation.program(graph, &model.file).map_err(Halt::into_failure)?;
    let artifact = compilation.artifact(&program, &model, WeightsPlace::Within)?;
    match extension {
        "so" => artifact.write_so(path, "digits.so")?,
        "a" => artifact.write_archive(path)?,
        _ => artifact.write_object(path)?,
    }
    Ok(())
}

//! The files that `nnc compile` writes: checked before the work, whole before any gets its name.

use std::io::Write;
use std::path::{Path, PathBuf};

use nnc_cpu::{Artifact, WeightsPlace};

use super::{Arguments, Emit};
use crate::driver::Options;
use crate::errors::{Failure, Result};
use crate::output;

/// What the output's name asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Library,
    Object,
    Archive,
}

impl Format {
    fn of(path: &Path) -> Option<Format> {
        match path.extension()?.to_str()? {
            "so" => Some(Format::Library),
            "o" => Some(Format::Object),
            "a" => Some(Format::Archive),
            _ => None,
        }
    }
}

/// Finds out before the work whether its results can be kept.
pub(super) fn check_outputs(arguments: &Arguments, weights: &WeightsPlace) -> Result<()> {
    let Some(path) = &arguments.output else {
        return match arguments.emit {
            Some(Emit::Obj) => Err(Failure::user("--emit obj: an object is not text; give --output")),
            _ => Ok(()),
        };
    };
    // One that is written only if the weights are large is looked at when that is known.
    let weights = if let WeightsPlace::Beside(name) = weights { Some(name.as_str()) } else { None };
    check_apart(arguments, &[], weights)?;
    output::check_writable(path)?;
    if arguments.emit.is_none() && arguments.stop_after.is_none() {
        if Format::of(path).is_none() {
            let message = format!("{}: the output's name must end in .so, .o or .a", path.display());
            return Err(Failure::user(message));
        }
        output::check_writable(&path.with_extension("h"))?;
        weights.map_or(Ok(()), |name| output::check_writable(&path.with_file_name(name)))?;
    }
    Ok(())
}

/// Checks that no file to be written is the model or its external data. `weights`: the file of the weights, if there will
/// be one.
pub(super) fn check_apart(arguments: &Arguments, external: &[PathBuf], weights: Option<&str>) -> Result<()> {
    let Some(path) = &arguments.output else { return Ok(()) };
    let header = arguments.emit.is_none().then(|| path.with_extension("h"));
    let weights = weights.map(|name| path.with_file_name(name));
    for written in [path].into_iter().chain(&header).chain(&weights) {
        let read = [arguments.model.as_path()].into_iter().chain(external.iter().map(PathBuf::as_path));
        output::check_apart(written, read)?;
    }
    Ok(())
}

/// Where the weights go.
pub(super) fn weights_place(arguments: &Arguments, options: &Options) -> WeightsPlace {
    let Some(path) = &arguments.output else { return WeightsPlace::Within };
    let file = path.with_extension("weights");
    // A name that is no text cannot stand in the descriptor.
    let name = file.file_name().and_then(|name| name.to_str());
    let name = name.map_or_else(|| format!("{}.weights", options.name), str::to_owned);
    if arguments.weights_file { WeightsPlace::Beside(name) } else { WeightsPlace::BesideIfLarge(name) }
}

/// Writes the artifact with its weights and its header, or without that for `--emit obj`.
pub(super) fn write(arguments: &Arguments, artifact: &mut Artifact) -> Result<()> {
    let Some(path) = &arguments.output else { return Ok(()) };
    let weights = artifact.weights_file().map(|name| path.with_file_name(name));
    let weights = weights.map(|weights| {
        output::stage(&weights, |file| {
            let written = artifact.write_weights(file.as_file());
            written.map_err(|e| Failure::io(&weights, "cannot be written", &e))
        })
    });
    let mut staged: Vec<output::Staged> = weights.into_iter().collect::<Result<_>>()?;
    let format = if arguments.emit.is_some() { Some(Format::Object) } else { Format::of(path) };
    let binary = output::stage(path, |file| {
        let to = file.path();
        Ok(match format {
            Some(Format::Library) => artifact.write_so(to, &soname(path, artifact)),
            Some(Format::Archive) => artifact.write_archive(to),
            Some(Format::Object) | None => artifact.write_object(to),
        }?)
    })?;
    if arguments.emit.is_none() {
        let header = path.with_extension("h");
        staged.push(output::stage(&header, |file| {
            file.write_all(artifact.header().as_bytes()).map_err(|e| Failure::io(&header, "cannot be written", &e))
        })?);
    }
    // All are whole before any gets its name.
    staged.push(binary);
    staged.into_iter().try_for_each(output::Staged::commit)
}

/// The name that programs linked with a library look for: its file's.
fn soname(path: &Path, artifact: &Artifact) -> String {
    let file = path.file_name().and_then(|name| name.to_str());
    // A name that is no text, as far as a linker goes, gets that of the model.
    file.map_or_else(|| format!("{}.so", artifact.name()), str::to_owned)
}

/// Writes what `--emit` asks for to the output, or to standard output if there is none.
pub(super) fn emit(arguments: &Arguments, bytes: &[u8]) -> Result<()> {
    let Some(path) = &arguments.output else {
        return std::io::stdout().write_all(bytes).map_err(|e| Failure::user(format!("standard output: {e}")));
    };
    output::write(path, |file| file.write_all(bytes).map_err(|e| Failure::io(path, "cannot be written", &e)))
}

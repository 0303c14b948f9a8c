//! Output files that appear whole or not at all.
//!
//! A file is written under a temporary name in the same folder and renamed at the end, so that a failure leaves nothing
//! behind, a program that has the old file mapped keeps it, and no reader sees half of it.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::errors::{Failure, Result};
use crate::memory;

/// Checks that a file can be written, before long work whose result goes there.
///
/// # Errors
/// When it cannot.
pub fn check_writable(path: &Path) -> Result<()> {
    temporary(path).map(drop)
}

/// Checks that a file about to be written is none of those that are read, whatever names and links lead to it.
///
/// # Errors
/// When it is one of them.
pub fn check_apart<'a>(path: &Path, read: impl IntoIterator<Item = &'a Path>) -> Result<()> {
    let identity = |path: &Path| path.metadata().ok().map(|m| (m.dev(), m.ino()));
    let Some(written) = identity(path) else { return Ok(()) };
    match read.into_iter().find(|read| identity(read) == Some(written)) {
        None => Ok(()),
        Some(read) => {
            let (path, read) = (path.display(), read.display());
            Err(Failure::user(format!("{path}: writing it would replace {read}, which is read; choose another name")))
        }
    }
}

/// Writes a file with `body`, which is given the temporary file's path.
///
/// # Errors
/// What `body` says, or when the file cannot be written.
pub fn write(path: &Path, body: impl FnOnce(&mut NamedTempFile) -> Result<()>) -> Result<()> {
    stage(path, body)?.commit()
}

/// A written file that does not have its name yet.
#[derive(Debug)]
pub struct Staged {
    temporary: NamedTempFile,
    path: PathBuf,
    registered: memory::Staged,
}

/// Writes a file with `body` under a temporary name.
///
/// # Errors
/// What `body` says, or when the file cannot be written.
pub fn stage(path: &Path, body: impl FnOnce(&mut NamedTempFile) -> Result<()>) -> Result<Staged> {
    let (mut temporary, registered) = temporary(path)?;
    body(&mut temporary)?;
    Ok(Staged { temporary, path: path.to_owned(), registered })
}

impl Staged {
    /// Gives the file its name.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn commit(self) -> Result<()> {
        let Staged { temporary, path, registered } = self;
        let done = temporary.persist(&path).map(drop).map_err(|e| refuse(&path, &e.error));
        drop(registered);
        done
    }
}

/// A file of a temporary name beside `path`, which goes when memory runs out.
fn temporary(path: &Path) -> Result<(NamedTempFile, memory::Staged)> {
    // Renaming would replace a device, such as /dev/null, by a file.
    if path.metadata().is_ok_and(|m| !m.is_file()) {
        return Err(refuse(path, &io::Error::other("it is there and not a regular file")));
    }
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut registered = None;
    let mut builder = tempfile::Builder::new();
    // The umask takes away what the user does not want.
    let made = builder.prefix(".nnc-").make_in(folder, |name| {
        registered = Some(memory::Staged::new(name));
        OpenOptions::new().read(true).write(true).create_new(true).mode(0o666).open(name)
    });
    let made = made.map_err(|e| refuse(path, system_error(&e)))?;
    let registered = registered.unwrap_or_else(|| memory::Staged::new(made.path()));
    Ok((made, registered))
}

/// What the system said, without the name of the temporary file, which means nothing to the user.
fn system_error(error: &io::Error) -> &io::Error {
    let inner = error.get_ref().and_then(|e| e.source()).and_then(|e| e.downcast_ref());
    inner.unwrap_or(error)
}

fn refuse(path: &Path, error: &io::Error) -> Failure {
    Failure::io(path, "cannot be written", error)
}

#[cfg(test)]
mod tests;

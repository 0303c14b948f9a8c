//! From a path to a descriptor: checks first, then the dynamic loader, then the side file.
//!
//! Nothing here reads the weights, so loading takes the same time however large they are.

use std::fs::File;
use std::path::Path;

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use memmap2::Mmap;
use nnc_abi::{Arch, MODEL_SYMBOL, ModelDescriptor, Status};

use crate::signature::Signature;
use crate::{Error, Result, elf, weights};

/// What keeps a loaded file's descriptor valid.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) descriptor: *const ModelDescriptor,
    pub(crate) signature: Signature,
    pub(crate) weights: Option<Mmap>,
    pub(crate) library: Library,
}

/// Loads the shared object at `path`.
pub(crate) fn load(path: &Path) -> Result<Loaded> {
    let origin = path.display().to_string();
    let unreadable = |e: std::io::Error| Error::new(Status::NotFound, format!("{origin}: {e}"));
    let not_a_model = |why: &str| Error::new(Status::NotAModel, format!("{origin}: not a compiled model: {why}"));

    // Asked before opening: opening a pipe would wait for its writer.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(not_a_model("not a regular file"));
    }
    // dlopen searches for a name without a slash, so it is given an absolute path.
    let absolute = path.canonicalize().map_err(unreadable)?;
    check_file(&absolute, &origin)?;

    // SAFETY: the file is a shared object that exports a model; those have no constructors. Whoever loads a file that
    // was made to look like one, and is not, runs its code: as with any library.
    let library = unsafe { Library::open(Some(&absolute), RTLD_NOW | RTLD_LOCAL) }
        .map_err(|e| not_a_model(&format!("the dynamic loader refuses it: {}", one_line(&e.to_string()))))?;
    // SAFETY: the symbol is data, of which only the address is taken.
    let descriptor = unsafe { library.get::<*const ModelDescriptor>(MODEL_SYMBOL) }
        .map_err(|_| not_a_model("no descriptor"))?
        .into_raw()
        .cast::<ModelDescriptor>()
        .cast_const();
    // SAFETY: the exported symbol of an nnc artifact is a descriptor; `read` looks at its magic number first.
    let signature = unsafe { Signature::read(descriptor, &origin) }?;
    let weights = match &signature.weights_file {
        Some(name) => {
            let side = absolute.with_file_name(name);
            Some(weights::map(&side, signature.weights_bytes, &signature.weights_hash)?)
        }
        None => None,
    };
    Ok(Loaded { descriptor, signature, weights, library })
}

/// Looks at the file before the dynamic loader does.
fn check_file(path: &Path, origin: &str) -> Result<()> {
    let unreadable = |e: std::io::Error| Error::new(Status::NotFound, format!("{origin}: {e}"));
    let file = File::open(path).map_err(unreadable)?;
    let refusal = if file.metadata().map_err(unreadable)?.len() == 0 {
        elf::Refusal::NotAModel("the file is empty")
    } else {
        // SAFETY: a private read-only mapping, dropped on return.
        let map = unsafe { Mmap::map(&file) }.map_err(unreadable)?;
        let Some(host) = Arch::HOST else {
            return Err(Error::new(Status::WrongArch, format!("{origin}: nnc does not know this machine's processor")));
        };
        match elf::check(&map, host, MODEL_SYMBOL) {
            Ok(()) => return Ok(()),
            Err(refusal) => refusal,
        }
    };
    Err(match refusal {
        elf::Refusal::NotAModel(why) => Error::new(Status::NotAModel, format!("{origin}: not a compiled model: {why}")),
        elf::Refusal::WrongArch(found) => {
            let host = Arch::HOST.map_or("another", Arch::name);
            Error::new(Status::WrongArch, format!("{origin}: compiled for {found}, this machine is {host}"))
        }
    })
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

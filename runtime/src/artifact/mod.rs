//! Artifacts as files: what one is, checked and read without running or loading any of it.
//!
//! ```text
//! file ──archive──▶ ELF ──library or object_file──▶ Image ──signature──▶ Signature
//! ```
//!
//! An artifact may come from anywhere and be for any processor. Everything is read within bounds, and a file is refused
//! whose loading could run code; so what passes can be described, verified and mapped without trusting it. That its
//! code does what a model's code does, nobody can check: running an artifact is trusting it.
//!
//! Modules: `library` and `object_file` check the two kinds of ELF file, `image` is what both amount to, `verify`
//! compares hashes.

pub(crate) mod image;
mod library;
mod object_file;
mod refusal;
mod verify;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use nnc_abi::{Arch, Status, layout::model};
use object::LittleEndian as Le;
use object::elf::{self, FileHeader64};
use object::read::archive::ArchiveFile;
use object::read::elf::FileHeader as _;

use crate::signature::Signature;
use crate::{Error, Result, weights};
use image::{Image, View};
use refusal::{Refusal, damaged, not_a_model};
pub(crate) use verify::weights_differ;

/// The kinds of files that the compiler writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A shared object, `.so`.
    Library,
    /// A relocatable object, `.o`.
    Object,
    /// A static library, `.a`.
    Archive,
}

/// An artifact's file, which has been checked and not loaded.
#[derive(Debug)]
pub struct Artifact {
    contents: Contents,
    /// What messages call it.
    origin: String,
    /// The file beside it that holds its weights, if one does and its place is known.
    side: Option<PathBuf>,
    kind: Kind,
    /// The ELF file within the contents.
    elf: std::ops::Range<usize>,
    image: Image,
    signature: Signature,
}

#[derive(Debug)]
enum Contents {
    Mapped(Mmap),
    Owned(Vec<u8>),
}

impl std::ops::Deref for Contents {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Contents::Mapped(map) => map,
            Contents::Owned(bytes) => bytes,
        }
    }
}

impl Artifact {
    /// Reads a `.so`, `.o` or `.a` for any processor. No code of it runs.
    pub fn open(path: impl AsRef<Path>) -> Result<Artifact> {
        let path = path.as_ref();
        let origin = path.display().to_string();
        let file = open(path, &origin)?;
        let artifact = Artifact::of_file(&file, origin)?;
        let side = weights::beside(path, &artifact.signature)?;
        Ok(Artifact { side, ..artifact })
    }

    /// Reads an artifact that lies in memory; `origin` names it in messages. Of one with its weights in a file, that is not
    /// looked for.
    pub fn from_bytes(bytes: Vec<u8>, origin: &str) -> Result<Artifact> {
        Artifact::new(Contents::Owned(bytes), origin.to_owned())
    }

    pub(crate) fn of_file(file: &File, origin: String) -> Result<Artifact> {
        let unreadable = |e: io::Error| Error::new(Status::NotFound, format!("{origin}: {e}"));
        let contents = if file.metadata().map_err(unreadable)?.len() == 0 {
            Contents::Owned(vec![])
        } else {
            // SAFETY: a private read-only mapping. As with any library, whoever changes the file while it is in use
            // breaks the program; that is stated in the guide.
            Contents::Mapped(unsafe { Mmap::map(file) }.map_err(unreadable)?)
        };
        Artifact::new(contents, origin)
    }

    fn new(contents: Contents, origin: String) -> Result<Artifact> {
        let (kind, elf, image) = parse(&contents).map_err(|refusal| match refusal {
            Refusal::NotAModel(why) => Error::new(Status::NotAModel, format!("{origin}: not a compiled model: {why}")),
            Refusal::WrongArch(found) => {
                Error::new(Status::WrongArch, format!("{origin}: for {found}, which nnc does not know"))
            }
        })?;
        let view = View::new(&image, &contents);
        let signature = Signature::read(&view, image.descriptor, &origin)?;
        if signature.arch != image.arch {
            let message = format!("{origin}: not a compiled model: its code and its descriptor name two processors");
            return Err(Error::new(Status::NotAModel, message));
        }
        Ok(Artifact { contents, origin, side: None, kind, elf, image, signature })
    }

    /// What kind of file it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What the model takes, gives and needs.
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    pub(crate) fn image(&self) -> &Image {
        &self.image
    }

    pub(crate) fn contents(&self) -> &[u8] {
        &self.contents
    }

    /// Compares code, descriptor and weights with the hashes that the compiler left; reads the whole file, and that of the
    /// weights.
    ///
    /// That they agree shows that nothing was damaged since the file was written. It does not show who wrote it.
    pub fn verify(&self) -> Result<()> {
        let at = self.image.file_range(self.image.descriptor + model::ARTIFACT_HASH as u64, 32);
        let weights = self.image.weights(self.signature.weights_bytes);
        let damaged = |why| Error::new(Status::Damaged, format!("{}: {why}", self.origin));
        verify::artifact(&self.contents, &self.elf, at, weights, &self.signature).map_err(damaged)?;
        if let Some(side) = &self.side {
            let map = weights::map(side, &self.signature)?;
            let why = weights_differ(&map[..self.signature.weights_bytes as usize], &self.signature.weights_hash);
            let damaged = |why| Error::new(Status::Damaged, format!("{}: {why}", side.display()));
            why.map_or(Ok(()), |why| Err(damaged(why)))?;
        }
        Ok(())
    }
}

/// Opens a regular file.
pub(crate) fn open(path: &Path, origin: &str) -> Result<File> {
    let unreadable = |e: io::Error| Error::new(Status::NotFound, format!("{origin}: {e}"));
    // Asked before opening: opening a pipe would wait for its writer.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        let message = format!("{origin}: not a compiled model: not a regular file");
        return Err(Error::new(Status::NotAModel, message));
    }
    File::open(path).map_err(unreadable)
}

/// Kind and image of a file, and where in it the ELF file is.
fn parse(file: &[u8]) -> Result<(Kind, std::ops::Range<usize>, Image), Refusal> {
    if file.is_empty() {
        return Err(not_a_model("the file is empty"));
    }
    if !file.starts_with(b"!<arch>\n") {
        let (kind, image) = parse_elf(file, 0)?;
        return Ok((kind, 0..file.len(), image));
    }
    let archive = ArchiveFile::parse(file).map_err(|_| not_a_model("the archive is damaged"))?;
    let mut found = None;
    for member in archive.members() {
        let member = member.map_err(|_| not_a_model("the archive is damaged"))?;
        let (start, len) = member.file_range();
        let range = usize::try_from(start).ok().zip(start.checked_add(len).and_then(|end| usize::try_from(end).ok()));
        let range = range.map(|(start, end)| start..end);
        let Some((range, bytes)) = range.and_then(|r| Some((r.clone(), file.get(r)?))) else {
            return Err(not_a_model("the archive is damaged"));
        };
        if !bytes.starts_with(b"\x7fELF") {
            continue;
        }
        if found.is_some() {
            return Err(not_a_model("an archive of several files; take out the one in question with `ar x`"));
        }
        found = Some((parse_elf(bytes, range.start)?.1, range));
    }
    let (image, range) = found.ok_or_else(|| not_a_model("an archive without an object file"))?;
    Ok((Kind::Archive, range, image))
}

/// Kind and image of an ELF file that begins at `start` of a larger one.
fn parse_elf(file: &[u8], start: usize) -> Result<(Kind, Image), Refusal> {
    if !file.starts_with(b"\x7fELF") {
        return Err(not_a_model("not an ELF file"));
    }
    if file.get(4..6).is_some_and(|class| class != [2, 1]) {
        return Err(Refusal::WrongArch("a 32-bit or big-endian processor".to_owned()));
    }
    let header = FileHeader64::<Le>::parse(file).map_err(damaged)?;
    let machine = header.e_machine(Le).0;
    let arch = Arch::ALL.into_iter().find(|a| a.elf_machine() == machine);
    let arch = arch.ok_or_else(|| Refusal::WrongArch(format!("ELF machine {machine}")))?;
    match header.e_type(Le) {
        elf::ET_DYN if start == 0 => Ok((Kind::Library, library::image(file, header, arch)?)),
        elf::ET_REL => Ok((Kind::Object, object_file::image(file, header, arch, start)?)),
        _ => Err(not_a_model("an ELF file, but neither a shared object nor a relocatable one")),
    }
}

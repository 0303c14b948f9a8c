//! Artifacts on disk: shared library, object, archive.
//!
//! Every file is written beside its destination and renamed when complete, so that a failure leaves nothing behind.
//! Linking is done in this process by libwild; no tool of the machine takes part. The linker never sees the weights, only
//! room for them; [`splice`] puts them in.

mod splice;

use crate::error::CodegenError;
use crate::object::Object;
use nnc_desc::Arch;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// The folder a file lies in.
fn folder(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Writes a file through a temporary one.
fn replace(path: &Path, write: impl FnOnce(&mut BufWriter<&File>) -> std::io::Result<()>) -> Result<(), CodegenError> {
    let fail = |e| CodegenError::io(path, e);
    let mut builder = tempfile::Builder::new();
    ordinary(&mut builder);
    let temporary = builder.tempfile_in(folder(path)).map_err(fail)?;
    let mut out = BufWriter::with_capacity(1 << 20, temporary.as_file());
    write(&mut out).and_then(|()| out.flush()).map_err(fail)?;
    drop(out);
    temporary.persist(path).map_err(|e| fail(e.error))?;
    Ok(())
}

/// Gives temporary files the permissions of ordinary ones, from which the umask takes away what the user does not want.
fn ordinary<'a, 'b>(builder: &mut tempfile::Builder<'a, 'b>) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    #[cfg(not(unix))]
    let _ = builder;
}

/// `-o x.o`.
pub(crate) fn write_object(object: &Object, path: &Path) -> Result<(), CodegenError> {
    object.check_complete()?;
    replace(path, |out| object.write_to(out))
}

/// `-o x.a`: an archive with the object as its only member and an index of its symbols.
pub(crate) fn write_archive(
    object: &Object,
    symbols: &[String],
    member: &str,
    path: &Path,
) -> Result<(), CodegenError> {
    object.check_complete()?;
    replace(path, |out| {
        out.write_all(b"!<arch>\n")?;
        // The System V index: count and offsets, big-endian, then names.
        let names: Vec<u8> = symbols.iter().flat_map(|s| s.bytes().chain([0])).collect();
        let index_bytes = (4 + 4 * symbols.len() + names.len()).next_multiple_of(2);
        let long_names = format!("{member}/\n");
        let long_bytes = long_names.len().next_multiple_of(2);
        let header = |name: &str, size: u64| format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{size:<10}`\n", 0, 0, 0, 644);
        // Offset of the member's header: magic, two headers of 60 bytes, and what they hold.
        let mut at = 8 + 60 + index_bytes + 60 + long_bytes;
        // The member's contents begin at a multiple of 8, as linkers like them.
        let padding = (8 - (at + 60) % 8) % 8;
        at += padding;
        out.write_all(header("/", index_bytes as u64).as_bytes())?;
        out.write_all(&(symbols.len() as u32).to_be_bytes())?;
        for _ in symbols {
            out.write_all(&(at as u32).to_be_bytes())?;
        }
        out.write_all(&names)?;
        out.write_all(&[0; 2][..index_bytes - (4 + 4 * symbols.len() + names.len())])?;
        out.write_all(header("//", (long_bytes + padding) as u64).as_bytes())?;
        out.write_all(long_names.as_bytes())?;
        out.write_all(&[b'\n'; 16][..long_bytes + padding - long_names.len()])?;
        out.write_all(header("/0", object.len()).as_bytes())?;
        object.write_to(out)?;
        if object.len() % 2 == 1 {
            out.write_all(b"\n")?;
        }
        Ok(())
    })
}

/// `-o x.so`.
///
/// `soname` is what programs linked with the library will ask for.
pub(crate) fn write_so(
    object: &Object,
    arch: Arch,
    symbol: &str,
    soname: &str,
    path: &Path,
) -> Result<(), CodegenError> {
    object.check_complete()?;
    let fail = |e| CodegenError::io(path, e);
    let folder = tempfile::Builder::new().prefix(".nnc-").tempdir_in(folder(path)).map_err(fail)?;
    let input = folder.path().join("model.o");
    let output = folder.path().join("model.so");
    std::fs::write(&input, object.with_room()).map_err(fail)?;
    let linked = link(arch, soname, &input, &output).and_then(|()| splice::splice(object, symbol, &output));
    linked.map_err(|message| CodegenError::Link { path: path.to_owned(), message })?;
    std::fs::rename(&output, path).map_err(fail)
}

fn link(arch: Arch, soname: &str, input: &Path, output: &Path) -> Result<(), String> {
    let emulation = match arch {
        Arch::X86_64 => "elf_x86_64",
        Arch::Aarch64 => "aarch64linux",
    };
    let text = |p: &Path| p.to_str().map(str::to_owned).ok_or_else(|| format!("{} is not UTF-8", p.display()));
    let (input, output) = (text(input)?, text(output)?);
    let words = [
        "ld.wild",
        // With several threads the linker waits for one of its own jobs in a way that its pool does not know of: should the
        // other thread fall asleep at that moment, it waits for ever. And a few kilobytes link faster on one.
        "--no-threads",
        "-shared",
        "-m",
        emulation,
        "-soname",
        soname,
        "--build-id=none",
        "-z",
        "noexecstack",
        "-o",
        &output,
        &input,
    ];
    let mut arguments = libwild::Args::new(|| words.iter()).map_err(|e| e.to_string())?;
    arguments.parse(|| words.iter()).map_err(|e| e.to_string())?;
    libwild::run(arguments).map_err(|e| e.to_string())
}

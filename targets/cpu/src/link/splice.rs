//! Putting the weights into a linked library.
//!
//! The linker lays out uninitialised room for the weights, which comes last and, being aligned to the largest page size,
//! gets a segment of its own. Here that segment becomes read-only and file-backed, by the weights at the end of the
//! file. So the linker handles a few kilobytes whatever the model's size, and no copy of the weights lies in memory.

use crate::object::Object;
use nnc_abi::layout::model;
use object::elf::{FileHeader64, ProgramHeader64, SectionHeader64};
use object::read::elf::{FileHeader as _, ProgramHeader as _, SectionHeader as _, Sym as _};
use object::{LittleEndian as Le, elf};
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::Path;

/// The section's name in the library; as long as the `.bss` it replaces.
const NAME: &[u8; 4] = b".nnc";

/// Where things are in the linked file.
struct Found {
    segment: u64,
    section: u64,
    name: u64,
    align: u64,
    hash: u64,
}

/// Adds the weights of `object` to the library linked from it.
pub(super) fn splice(object: &Object, symbol: &str, library: &Path) -> Result<(), String> {
    if object.weights_bytes() == 0 {
        return Ok(());
    }
    let bytes = std::fs::read(library).map_err(|e| e.to_string())?;
    let found = find(&bytes, symbol).map_err(|e| e.to_string())?.ok_or("the linker laid the weights out otherwise")?;
    let file = OpenOptions::new().write(true).open(library).map_err(|e| e.to_string())?;
    write(object, &found, bytes.len() as u64, &file).map_err(|e| e.to_string())
}

fn find(bytes: &[u8], symbol: &str) -> Result<Option<Found>, object::Error> {
    let header = FileHeader64::<Le>::parse(bytes)?;
    let endian = header.endian()?;
    let sections = header.sections(endian, bytes)?;
    let Some((index, section)) = sections.section_by_name(endian, b".bss") else { return Ok(None) };
    let names = sections.section(object::SectionIndex(usize::from(header.e_shstrndx(endian).0)))?;
    let segments = header.program_headers(endian, bytes)?;
    // Alone in the last segment, from its beginning.
    let last = segments.iter().enumerate().rfind(|(_, s)| s.p_type(endian) == elf::PT_LOAD);
    let Some((k, segment)) = last.filter(|(_, s)| {
        s.p_vaddr(endian) == section.sh_addr(endian)
            && s.p_filesz(endian) == 0
            && s.p_memsz(endian) == section.sh_size(endian)
    }) else {
        return Ok(None);
    };
    let symbols = sections.symbols(endian, bytes, elf::SHT_DYNSYM)?;
    let mut hash = None;
    for found in symbols.iter() {
        if found.name(endian, symbols.strings())? == symbol.as_bytes() {
            let address = found.st_value(endian);
            let home = segments.iter().find(|s| {
                let start = s.p_vaddr(endian);
                s.p_type(endian) == elf::PT_LOAD && (start..start + s.p_filesz(endian)).contains(&address)
            });
            hash = home.map(|s| address - s.p_vaddr(endian) + s.p_offset(endian) + model::WEIGHTS_HASH as u64);
        }
    }
    let table = |start: u64, i: usize, size: usize| start + (i * size) as u64;
    Ok(hash.map(|hash| Found {
        segment: table(header.e_phoff(endian), k, size_of::<ProgramHeader64<Le>>()),
        section: table(header.e_shoff(endian), index.0, size_of::<SectionHeader64<Le>>()),
        name: names.sh_offset(endian) + u64::from(section.sh_name(endian)),
        align: segment.p_align(endian).max(1),
        hash,
    }))
}

fn write(object: &Object, found: &Found, end: u64, file: &File) -> std::io::Result<()> {
    let start = end.next_multiple_of(found.align);
    let length = object.weights_bytes();
    let mut out = BufWriter::with_capacity(1 << 20, file);
    out.seek(SeekFrom::Start(start))?;
    let hash = object.write_weights(&mut out)?;
    // p_flags, p_offset; p_filesz, p_memsz.
    let words: [(u64, &[u8]); 9] = [
        (found.segment + 4, &elf::PF_R.0.to_le_bytes()),
        (found.segment + 8, &start.to_le_bytes()),
        (found.segment + 32, &length.to_le_bytes()),
        (found.segment + 40, &length.to_le_bytes()),
        // sh_type, sh_flags; sh_offset, sh_size.
        (found.section + 4, &elf::SHT_PROGBITS.0.to_le_bytes()),
        (found.section + 8, &elf::SHF_ALLOC.0.to_le_bytes()),
        (found.section + 24, &start.to_le_bytes()),
        (found.section + 32, &length.to_le_bytes()),
        (found.name, NAME),
    ];
    for (at, bytes) in words.into_iter().chain([(found.hash, hash.as_slice())]) {
        out.seek(SeekFrom::Start(at))?;
        out.write_all(bytes)?;
    }
    out.flush()
}

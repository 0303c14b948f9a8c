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
    /// Where the descriptor is.
    descriptor: u64,
    /// Where the room for the weights is described, if there is any.
    room: Option<Room>,
}

struct Room {
    segment: u64,
    section: u64,
    name: u64,
    align: u64,
}

/// Adds the weights of `object` to the library linked from it, and the hashes to its descriptor.
pub(super) fn splice(object: &Object, symbol: &str, library: &Path) -> Result<(), String> {
    let mut bytes = std::fs::read(library).map_err(|e| e.to_string())?;
    let found = find(&bytes, symbol).map_err(|e| e.to_string())?;
    let found = found.filter(|f| f.room.is_some() == (object.embedded_bytes() > 0));
    let found = found.ok_or("the linker laid the weights out otherwise")?;
    let file = OpenOptions::new().write(true).open(library).map_err(|e| e.to_string())?;
    write(object, &found, &mut bytes, &file).map_err(|e| e.to_string())
}

fn find(bytes: &[u8], symbol: &str) -> Result<Option<Found>, object::Error> {
    let header = FileHeader64::<Le>::parse(bytes)?;
    let endian = header.endian()?;
    let sections = header.sections(endian, bytes)?;
    let segments = header.program_headers(endian, bytes)?;
    let symbols = sections.symbols(endian, bytes, elf::SHT_DYNSYM)?;
    let mut descriptor = None;
    for found in symbols.iter() {
        if found.name(endian, symbols.strings())? == symbol.as_bytes() {
            let address = found.st_value(endian);
            let home = segments.iter().find(|s| {
                let start = s.p_vaddr(endian);
                s.p_type(endian) == elf::PT_LOAD && (start..start + s.p_filesz(endian)).contains(&address)
            });
            descriptor = home.map(|s| address - s.p_vaddr(endian) + s.p_offset(endian));
        }
    }
    let Some(descriptor) = descriptor else { return Ok(None) };
    let Some((index, section)) = sections.section_by_name(endian, b".bss") else {
        return Ok(Some(Found { descriptor, room: None }));
    };
    let names = sections.section(object::SectionIndex(usize::from(header.e_shstrndx(endian).0)))?;
    // Alone in the last segment, from its beginning.
    let last = segments.iter().enumerate().rfind(|(_, s)| s.p_type(endian) == elf::PT_LOAD);
    let Some((k, segment)) = last.filter(|(_, s)| {
        s.p_vaddr(endian) == section.sh_addr(endian)
            && s.p_filesz(endian) == 0
            && s.p_memsz(endian) == section.sh_size(endian)
    }) else {
        return Ok(None);
    };
    let table = |start: u64, i: usize, size: usize| start + (i * size) as u64;
    let room = Room {
        segment: table(header.e_phoff(endian), k, size_of::<ProgramHeader64<Le>>()),
        section: table(header.e_shoff(endian), index.0, size_of::<SectionHeader64<Le>>()),
        name: names.sh_offset(endian) + u64::from(section.sh_name(endian)),
        align: segment.p_align(endian).max(1),
    };
    Ok(Some(Found { descriptor, room: Some(room) }))
}

/// Writes the weights behind the linked `head`, and the head again, changed where it describes them.
fn write(object: &Object, found: &Found, head: &mut Vec<u8>, file: &File) -> std::io::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 20, file);
    if let Some(room) = &found.room {
        let start = (head.len() as u64).next_multiple_of(room.align);
        let length = object.embedded_bytes();
        head.resize(start as usize, 0);
        out.seek(SeekFrom::Start(start))?;
        let hash = object.write_weights(&mut out)?;
        // p_flags, p_offset; p_filesz, p_memsz.
        let words: [(u64, &[u8]); 9] = [
            (room.segment + 4, &elf::PF_R.0.to_le_bytes()),
            (room.segment + 8, &start.to_le_bytes()),
            (room.segment + 32, &length.to_le_bytes()),
            (room.segment + 40, &length.to_le_bytes()),
            // sh_type, sh_flags; sh_offset, sh_size.
            (room.section + 4, &elf::SHT_PROGBITS.0.to_le_bytes()),
            (room.section + 8, &elf::SHF_ALLOC.0.to_le_bytes()),
            (room.section + 24, &start.to_le_bytes()),
            (room.section + 32, &length.to_le_bytes()),
            (room.name, NAME),
        ];
        for (at, bytes) in words.into_iter().chain([(found.descriptor + model::WEIGHTS_HASH as u64, hash.as_slice())]) {
            patch(head, at, bytes)?;
        }
    }
    // The field itself is zero so far, as the definition of the hash has it.
    let hash = blake3::hash(head);
    patch(head, found.descriptor + model::ARTIFACT_HASH as u64, hash.as_bytes())?;
    out.seek(SeekFrom::Start(0))?;
    out.write_all(head)?;
    out.flush()
}

fn patch(head: &mut [u8], at: u64, bytes: &[u8]) -> std::io::Result<()> {
    let slot = head.get_mut(at as usize..).and_then(|rest| rest.get_mut(..bytes.len()));
    slot.ok_or(std::io::ErrorKind::UnexpectedEof)?.copy_from_slice(bytes);
    Ok(())
}

//! A shared object, checked before anything of it is mapped.
//!
//! What nnc writes is a small part of what ELF allows, and nothing else is taken: read-only data, code, data that is
//! read-only once its relative relocations are applied, and the table of exported symbols. No other library is needed,
//! no symbol is undefined, nothing runs when the file is loaded, no memory is both writable and executable. All tables
//! lie within the file.
//!
//! Source: System V ABI, "Object Files" and "Program Loading and Dynamic Linking", and the supplements for the two
//! architectures.

use nnc_abi::{Arch, MODEL_SYMBOL};
use object::LittleEndian as Le;
use object::elf::{self, Dyn64, FileHeader64, ProgramHeader64, Rela64};
use object::read::elf::{Dyn as _, FileHeader as _, ProgramHeader as _, Rela as _, Sym as _};

use super::image::{Access, Image, Piece};
use super::refusal::{Refusal, damaged, not_a_model};

/// The least alignment of a segment, the size of a page; and the greatest.
const ALIGN: std::ops::RangeInclusive<u64> = 4 << 10..=2 << 20;

/// Entries of the dynamic section that only say where tables are, how long, and what the library is called.
const PLAIN: &[elf::DynamicTag] = &[
    elf::DT_HASH,
    elf::DT_GNU_HASH,
    elf::DT_STRTAB,
    elf::DT_STRSZ,
    elf::DT_SYMTAB,
    elf::DT_SYMENT,
    elf::DT_RELA,
    elf::DT_RELASZ,
    elf::DT_RELAENT,
    elf::DT_RELACOUNT,
    elf::DT_PLTGOT,
    elf::DT_SONAME,
    elf::DT_SYMBOLIC,
    elf::DT_BIND_NOW,
];

/// The image of the shared object in `file`.
pub(super) fn image(file: &[u8], header: &FileHeader64<Le>, arch: Arch) -> Result<Image, Refusal> {
    // First, as it is what most other libraries lack.
    let descriptor = exported(file, header)?;
    let mut image = Image { arch, align: ALIGN, pieces: vec![], pointers: vec![], descriptor };
    let segments = header.program_headers(Le, file).map_err(damaged)?;
    pieces(segments, file, &mut image)?;
    // An artifact of another version may have a shorter descriptor than this one; its first words say so.
    if image.piece(descriptor, 16).is_none_or(|p| p.access == Access::Execute) {
        return Err(not_a_model("its descriptor is not in its data"));
    }
    image.pointers = pointers(file, dynamic_entries(segments, file)?, &image)?;
    Ok(image)
}

/// Finds the loadable segments.
fn pieces(segments: &[ProgramHeader64<Le>], file: &[u8], image: &mut Image) -> Result<(), Refusal> {
    let (mut least, mut most, mut reached) = (*ALIGN.end(), *ALIGN.start(), 0);
    for segment in segments {
        let flags = segment.p_flags(Le);
        match segment.p_type(Le) {
            elf::PT_LOAD => {}
            elf::PT_TLS => return Err(not_a_model("it has thread-local data")),
            elf::PT_INTERP => return Err(not_a_model("it is a program")),
            elf::PT_GNU_STACK if flags.contains(elf::PF_X) => {
                return Err(not_a_model("it asks for an executable stack"));
            }
            _ => continue,
        }
        let access = match (flags.contains(elf::PF_W), flags.contains(elf::PF_X)) {
            (true, true) => return Err(not_a_model("it has memory that is writable and executable")),
            (true, false) => Access::Relocate,
            (false, true) => Access::Execute,
            (false, false) => Access::Read,
        };
        let (address, memory, bytes) = (segment.p_vaddr(Le), segment.p_memsz(Le), segment.p_filesz(Le));
        let (offset, align) = (segment.p_offset(Le), segment.p_align(Le));
        let start = usize::try_from(offset).ok();
        let end = offset.checked_add(bytes).and_then(|end| usize::try_from(end).ok()).filter(|e| *e <= file.len());
        let (Some(start), Some(end)) = (start, end) else { return Err(truncated()) };
        // Zeros that are not in the file only pad what is made read-only after relocation.
        let padding = if access == Access::Relocate { *ALIGN.end() } else { 0 };
        let aligned = align.is_power_of_two() && ALIGN.contains(&align) && address % align == offset % align;
        let last = address.checked_add(memory).filter(|last| *last < 1 << 47);
        let Some(last) = last.filter(|_| aligned && (bytes..=bytes + padding).contains(&memory)) else {
            return Err(not_a_model("a segment's place or size cannot be"));
        };
        if address / align * align < reached {
            return Err(not_a_model("its segments overlap or are out of order"));
        }
        // Segments share no page, whatever the size of pages up to their alignment.
        reached = last.next_multiple_of(align);
        (least, most) = (least.min(align), most.max(align));
        image.pieces.push(Piece { address, memory, file: start..end, access });
    }
    image.align = least..=most;
    Ok(())
}

/// The address of the descriptor; no other symbol may need anything.
fn exported(file: &[u8], header: &FileHeader64<Le>) -> Result<u64, Refusal> {
    let sections = header.sections(Le, file).map_err(damaged)?;
    let symbols = sections.symbols(Le, file, elf::SHT_DYNSYM).map_err(damaged)?;
    let (mut found, mut objection) = (None, None);
    for symbol in symbols.iter().skip(1) {
        let name = symbol.name(Le, symbols.strings()).map_err(damaged)?;
        if symbol.is_undefined(Le) {
            objection = Some(format!("it needs the symbol `{}`", String::from_utf8_lossy(name)));
        } else if symbol.st_type() == elf::STT_GNU_IFUNC {
            objection = Some("it has a symbol that is found by running code".to_owned());
        } else if name == MODEL_SYMBOL.as_bytes() {
            found = Some(symbol.st_value(Le));
        }
    }
    let found = found.ok_or_else(|| not_a_model("a shared object, but it exports no `nnc_model`"))?;
    objection.map_or(Ok(found), |why| Err(not_a_model(why)))
}

/// The entries of the dynamic section up to its end.
fn dynamic_entries<'a>(segments: &[ProgramHeader64<Le>], file: &'a [u8]) -> Result<&'a [Dyn64<Le>], Refusal> {
    let mut tables = segments.iter().filter(|s| s.p_type(Le) == elf::PT_DYNAMIC);
    let (Some(table), None) = (tables.next(), tables.next()) else {
        return Err(not_a_model("a shared object without a dynamic section"));
    };
    let entries = table.dynamic(Le, file).map_err(damaged)?.unwrap_or_default();
    let end = entries.iter().position(|e| e.d_tag(Le) == elf::DT_NULL).ok_or_else(truncated)?;
    Ok(&entries[..end])
}

/// The relocations: words that hold an address within the library.
fn pointers(file: &[u8], entries: &[Dyn64<Le>], image: &Image) -> Result<Vec<(u64, u64)>, Refusal> {
    let (mut table, mut bytes) = (None, 0);
    for entry in entries {
        let (tag, value) = (entry.d_tag(Le), entry.d_val(Le));
        match tag {
            elf::DT_RELA => table = Some(value),
            elf::DT_RELASZ => bytes = value,
            elf::DT_RELAENT if value != size_of::<Rela64<Le>>() as u64 => return Err(truncated()),
            elf::DT_FLAGS if value & !(elf::DF_BIND_NOW.0 | elf::DF_SYMBOLIC.0) == 0 => {}
            elf::DT_FLAGS_1 if value & !elf::DF_1_NOW.0 == 0 => {}
            tag if PLAIN.contains(&tag) => {}
            tag => return Err(not_a_model(objection(tag))),
        }
    }
    let Some(table) = table.filter(|_| bytes > 0) else { return Ok(vec![]) };
    let range = image.file_range(table, bytes).ok_or_else(truncated)?;
    let count = range.len() / size_of::<Rela64<Le>>();
    let (relocations, _) =
        object::pod::slice_from_bytes::<Rela64<Le>>(&file[range], count).map_err(|()| truncated())?;
    let relative = match image.arch {
        Arch::X86_64 => elf::R_X86_64_RELATIVE,
        Arch::Aarch64 => elf::R_AARCH64_RELATIVE,
    };
    let mut pointers = Vec::with_capacity(count);
    for relocation in relocations {
        if relocation.r_type(Le, false) != relative || relocation.r_sym(Le, false) != 0 {
            return Err(not_a_model("it has addresses that other files or code decide; recompile it with this nnc"));
        }
        let (at, to) = (relocation.r_offset(Le), relocation.r_addend(Le) as u64);
        let word = image.piece(at, 8).filter(|p| p.access == Access::Relocate && at.is_multiple_of(8));
        if word.is_none() || image.file_range(at, 8).is_none() || image.piece(to, 0).is_none() {
            return Err(not_a_model("a relocation leads out of it"));
        }
        pointers.push((at, to));
    }
    pointers.sort_unstable();
    if pointers.windows(2).any(|p| p[0].0 == p[1].0) {
        return Err(not_a_model("a word is relocated twice"));
    }
    Ok(pointers)
}

/// What is wrong with an entry of the dynamic section.
fn objection(tag: elf::DynamicTag) -> String {
    match tag {
        elf::DT_NEEDED | elf::DT_AUXILIARY | elf::DT_FILTER => "it needs another library".to_owned(),
        elf::DT_INIT | elf::DT_INIT_ARRAY | elf::DT_INIT_ARRAYSZ | elf::DT_PREINIT_ARRAY | elf::DT_PREINIT_ARRAYSZ => {
            "it runs code when it is loaded".to_owned()
        }
        elf::DT_FINI | elf::DT_FINI_ARRAY | elf::DT_FINI_ARRAYSZ => "it runs code when it is unloaded".to_owned(),
        elf::DT_TEXTREL => "its code has to be changed when it is loaded".to_owned(),
        tag => format!("its dynamic section has an entry of type {:#x}, which nnc does not write", tag.0),
    }
}

fn truncated() -> Refusal {
    not_a_model("the ELF file is truncated or damaged")
}

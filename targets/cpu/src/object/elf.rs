//! Adding a weights section to a finished ELF object: with the weights, or as room for them.
//!
//! The file becomes: the old contents up to its section table, the weights, the old section names with one more, and a
//! new section table. Three places inside the old contents change: the symbol of the weights, undefined before, and the
//! hashes in the descriptor: that of the weights, known only when they have been written, and that of all the rest.

use nnc_abi::ALIGNMENT;
use nnc_abi::layout::model;
use object::LittleEndian as Le;
use object::elf::{self, FileHeader64, SectionHeader64, Sym64};
use object::pod::bytes_of;
use object::read::elf::{FileHeader as _, SectionHeader as _, Sym as _};
use object::{U32, U64};
use std::io::{self, Seek, SeekFrom, Write};

/// The section the weights go to: read-only data, so that linkers put it beside the rest of it.
const SECTION: &[u8] = b".rodata.nnc_weights";

/// Its name as long as it is only room; not longer than [`SECTION`].
const ROOM: &[u8] = b".bss.nnc_weights";
/// The largest page size of the targets.
pub(super) const ROOM_ALIGN: u64 = 64 << 10;

/// A finished object and where to change it.
pub(super) struct Template {
    bytes: Vec<u8>,
    /// Where in the file the descriptor is.
    descriptor: u64,
    /// With weights: the old section headers, and the old section names.
    tables: Option<Tables>,
}

struct Tables {
    sections: Vec<SectionHeader64<Le>>,
    names: Vec<u8>,
    names_index: usize,
    symbol_at: usize,
    symbol: Sym64<Le>,
}

impl Template {
    /// The template of an object; `None` if it lacks the symbol of its descriptor.
    pub(super) fn new(
        bytes: Vec<u8>,
        descriptor: &str,
        weights: Option<&str>,
    ) -> Result<Option<Template>, object::Error> {
        let header = FileHeader64::<Le>::parse(&*bytes)?;
        let endian = header.endian()?;
        let sections = header.sections(endian, &*bytes)?;
        let symbols = sections.symbols(endian, &*bytes, elf::SHT_SYMTAB)?;
        let table = sections.section(symbols.section())?;
        let find = |name: &str| {
            let mut found = None;
            for (i, symbol) in symbols.iter().enumerate() {
                if symbol.name(endian, symbols.strings())? == name.as_bytes() {
                    found = Some((i, *symbol));
                }
            }
            Ok::<_, object::Error>(found)
        };
        let Some((_, described)) = find(descriptor)? else { return Ok(None) };
        let home = sections.section(object::SectionIndex(usize::from(described.st_shndx(endian).0)))?;
        let place = home.sh_offset(endian) + described.st_value(endian);
        let mut tables = None;
        if let Some((i, symbol)) = weights.map(find).transpose()?.flatten() {
            let names_index = usize::from(header.e_shstrndx(endian).0);
            let names = sections.section(object::SectionIndex(names_index))?;
            tables = Some(Tables {
                sections: sections.iter().copied().collect(),
                names: names.data(endian, &*bytes)?.to_vec(),
                names_index,
                symbol_at: table.sh_offset(endian) as usize + i * size_of::<Sym64<Le>>(),
                symbol,
            });
        }
        Ok(Some(Template { bytes, descriptor: place, tables }))
    }

    /// Sets the hash of weights that are in no section.
    pub(super) fn set_weights_hash(&mut self, hash: &[u8; 32]) {
        patch(&mut self.bytes, self.descriptor as usize + model::WEIGHTS_HASH, hash);
    }

    fn places(&self, weights_bytes: u64) -> Option<Places<'_>> {
        let tables = self.tables.as_ref()?;
        let weights = (self.bytes.len() as u64).next_multiple_of(ALIGNMENT as u64);
        let names = weights + weights_bytes;
        let names_bytes = (tables.names.len() + SECTION.len() + 1) as u64;
        let sections = (names + names_bytes).next_multiple_of(8);
        let end = sections + ((tables.sections.len() + 1) * size_of::<SectionHeader64<Le>>()) as u64;
        Some(Places { tables, weights, names, names_bytes, sections, end })
    }

    pub(super) fn len(&self, weights_bytes: u64) -> u64 {
        self.places(weights_bytes).map_or(self.bytes.len() as u64, |p| p.end)
    }

    /// The object with uninitialised room for the weights in place of them, for the linker to lay out.
    ///
    /// The room is aligned to [`ROOM_ALIGN`] and, being uninitialised, comes last in memory.
    pub(super) fn with_room(&self, weights_bytes: u64) -> Vec<u8> {
        let mut out = vec![];
        let Some(places) = self.places(0) else { return self.bytes.clone() };
        let section = self.section(&places, weights_bytes, true);
        out.extend(self.head(&places, weights_bytes));
        out.resize(places.names as usize, 0);
        out.extend(self.tail(&places, section));
        out
    }

    /// Writes the object; `stream` writes the weights and answers their hash.
    pub(super) fn write<W: Write + Seek>(
        &self,
        out: &mut W,
        weights_bytes: u64,
        stream: impl FnOnce(&mut dyn Write) -> io::Result<[u8; 32]>,
    ) -> io::Result<()> {
        let start = out.stream_position()?;
        let (mut head, tail);
        match self.places(weights_bytes) {
            None => {
                (head, tail) = (self.bytes.clone(), vec![]);
                out.write_all(&head)?;
            }
            Some(places) => {
                head = self.head(&places, weights_bytes);
                head.resize(places.weights as usize, 0);
                tail = self.tail(&places, self.section(&places, weights_bytes, false));
                out.write_all(&head)?;
                let hash = stream(out)?;
                patch(&mut head, self.descriptor as usize + model::WEIGHTS_HASH, &hash);
                out.write_all(&tail)?;
            }
        }
        let end = out.stream_position()?;
        // The field itself is zero so far, as the definition of the hash has it.
        let hash = blake3::Hasher::new().update(&head).update(&tail).finalize();
        patch(&mut head, self.descriptor as usize + model::ARTIFACT_HASH, hash.as_bytes());
        let descriptor = head.get(self.descriptor as usize..).and_then(|d| d.get(..model::SIZE)).unwrap_or_default();
        out.seek(SeekFrom::Start(start + self.descriptor))?;
        out.write_all(descriptor)?;
        out.seek(SeekFrom::Start(end))?;
        Ok(())
    }

    /// The old contents, with the symbol of the weights defined.
    fn head(&self, places: &Places<'_>, weights_bytes: u64) -> Vec<u8> {
        let tables = places.tables;
        let mut contents = self.bytes.clone();
        let index = tables.sections.len();
        // The symbol keeps its name; it becomes global, hidden, an object: the section from its start.
        let mut symbol = [0; size_of::<Sym64<Le>>()];
        symbol[..4].copy_from_slice(&bytes_of(&tables.symbol)[..4]);
        symbol[4] = elf::STB_GLOBAL.0 << 4 | elf::STT_OBJECT.0;
        symbol[5] = elf::STV_HIDDEN.0;
        symbol[6..8].copy_from_slice(&(index as u16).to_le_bytes());
        symbol[16..24].copy_from_slice(&weights_bytes.to_le_bytes());
        patch(&mut contents, tables.symbol_at, &symbol);
        // e_shoff and e_shnum.
        patch(&mut contents, 40, &places.sections.to_le_bytes());
        patch(&mut contents, 60, &((index + 1) as u16).to_le_bytes());
        contents
    }

    /// The header of the weights section.
    fn section(&self, places: &Places<'_>, weights_bytes: u64, room: bool) -> SectionHeader64<Le> {
        let (kind, flags, align) = if room {
            (elf::SHT_NOBITS, elf::SHF_ALLOC | elf::SHF_WRITE, ROOM_ALIGN)
        } else {
            (elf::SHT_PROGBITS, elf::SHF_ALLOC, ALIGNMENT as u64)
        };
        SectionHeader64::<Le> {
            sh_name: U32::new(Le, places.tables.names.len() as u32),
            sh_type: U32::new(Le, kind),
            sh_flags: U64::new(Le, flags),
            sh_addr: U64::new(Le, 0),
            sh_offset: U64::new(Le, places.weights),
            sh_size: U64::new(Le, weights_bytes),
            sh_link: U32::new(Le, 0),
            sh_info: U32::new(Le, 0),
            sh_addralign: U64::new(Le, align),
            sh_entsize: U64::new(Le, 0),
        }
    }

    /// What follows the weights: section names and section table.
    fn tail(&self, places: &Places<'_>, weights: SectionHeader64<Le>) -> Vec<u8> {
        let tables = places.tables;
        // Linkers sort uninitialised data by this name.
        let name = if weights.sh_type.get(Le) == elf::SHT_NOBITS { ROOM } else { SECTION };
        let mut out = tables.names.clone();
        out.extend(name);
        out.resize((places.sections - places.names) as usize, 0);
        for (i, section) in tables.sections.iter().enumerate() {
            let mut section = *section;
            if i == tables.names_index {
                section.sh_offset = U64::new(Le, places.names);
                section.sh_size = U64::new(Le, places.names_bytes);
            }
            out.extend(bytes_of(&section));
        }
        out.extend(bytes_of(&weights));
        out
    }
}

/// Offsets in the file.
struct Places<'a> {
    tables: &'a Tables,
    weights: u64,
    names: u64,
    names_bytes: u64,
    sections: u64,
    end: u64,
}

fn patch(contents: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(slot) = contents.get_mut(at..at + bytes.len()) {
        slot.copy_from_slice(bytes);
    }
}

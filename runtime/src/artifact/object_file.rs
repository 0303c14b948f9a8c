//! A relocatable object, alone or as a member of a static library.
//!
//! It has no addresses yet. Its sections get some here, one behind the other, so that its descriptor can be read.

use nnc_abi::{Arch, MODEL_SYMBOL};
use object::LittleEndian as Le;
use object::elf::{self, FileHeader64, SectionHeader64};
use object::read::elf::{FileHeader as _, Rela as _, SectionHeader as _, SectionTable, Sym as _, SymbolTable};

use super::image::{Access, Image, Piece};
use super::refusal::{Refusal, damaged, not_a_model};

/// Where the first section goes: not at null.
const FIRST: u64 = 4096;
/// The greatest alignment of a section.
const MOST_ALIGN: u64 = 2 << 20;

type Sections<'a> = SectionTable<'a, FileHeader64<Le>>;
type Symbols<'a> = SymbolTable<'a, FileHeader64<Le>>;

/// The image of the object in `file`, whose places in a larger file begin at `start`.
pub(super) fn image(file: &[u8], header: &FileHeader64<Le>, arch: Arch, start: usize) -> Result<Image, Refusal> {
    let sections = header.sections(Le, file).map_err(damaged)?;
    let symbols = sections.symbols(Le, file, elf::SHT_SYMTAB).map_err(damaged)?;
    let mut pieces = vec![];
    let mut addresses = vec![None; sections.len()];
    let mut at = FIRST;
    for (i, section) in sections.iter().enumerate() {
        let Some((access, own)) = access(section)? else { continue };
        let (offset, bytes) = section.file_range(Le).ok_or_else(|| not_a_model("it has uninitialised data"))?;
        let range = usize::try_from(offset).ok().zip(offset.checked_add(bytes).and_then(|e| usize::try_from(e).ok()));
        let (from, to) = range.filter(|r| r.1 <= file.len()).ok_or_else(truncated)?;
        at = at.next_multiple_of(own);
        addresses[i] = Some(at);
        pieces.push(Piece { address: at, memory: bytes, file: start + from..start + to, access });
        // Apart, so that no address belongs to two.
        at += bytes + 1;
    }
    let mut image = Image { arch, align: 1..=MOST_ALIGN, pieces, pointers: vec![], descriptor: 0 };
    image.descriptor = descriptor(&symbols, &addresses, &image)?;
    image.pointers = pointers(file, &sections, &symbols, &addresses, &image)?;
    Ok(image)
}

/// How a section's memory is used, with its alignment; `None` if it has none.
fn access(section: &SectionHeader64<Le>) -> Result<Option<(Access, u64)>, Refusal> {
    let (flags, kind) = (section.sh_flags(Le), section.sh_type(Le));
    if [elf::SHT_INIT_ARRAY, elf::SHT_FINI_ARRAY, elf::SHT_PREINIT_ARRAY].contains(&kind) {
        return Err(not_a_model("it runs code when it is loaded or unloaded"));
    }
    if !flags.contains(elf::SHF_ALLOC) {
        return Ok(None);
    }
    if flags.contains(elf::SHF_TLS) {
        return Err(not_a_model("it has thread-local data"));
    }
    let access = match (flags.contains(elf::SHF_WRITE), flags.contains(elf::SHF_EXECINSTR)) {
        (true, true) => return Err(not_a_model("it has memory that is writable and executable")),
        (true, false) => Access::Relocate,
        (false, true) => Access::Execute,
        (false, false) => Access::Read,
    };
    let align = section.sh_addralign(Le).max(1);
    if !align.is_power_of_two() || align > MOST_ALIGN {
        return Err(truncated());
    }
    Ok(Some((access, align)))
}

/// The address of a symbol; `None` if it is not in a section of the image.
fn address(symbols: &Symbols<'_>, index: u32, addresses: &[Option<u64>]) -> Option<u64> {
    let symbol = symbols.symbol(object::SymbolIndex(index as usize)).ok()?;
    let section = usize::from(symbol.st_shndx(Le).0);
    addresses.get(section).copied().flatten()?.checked_add(symbol.st_value(Le))
}

/// The address of the descriptor.
fn descriptor(symbols: &Symbols<'_>, addresses: &[Option<u64>], image: &Image) -> Result<u64, Refusal> {
    let mut found = None;
    for (i, symbol) in symbols.iter().enumerate().skip(1) {
        let name = symbol.name(Le, symbols.strings()).map_err(damaged)?;
        if symbol.is_undefined(Le) {
            return Err(not_a_model(format!("it needs the symbol `{}`", String::from_utf8_lossy(name))));
        }
        if name == MODEL_SYMBOL.as_bytes() {
            found = Some(i as u32);
        }
    }
    let found = found.ok_or_else(|| not_a_model("an object file without `nnc_model`"))?;
    let at = address(symbols, found, addresses).filter(|at| image.piece(*at, 16).is_some());
    at.ok_or_else(|| not_a_model("its descriptor is not in its data"))
}

/// The relocations of data: words that hold an address.
fn pointers(
    file: &[u8],
    sections: &Sections<'_>,
    symbols: &Symbols<'_>,
    addresses: &[Option<u64>],
    image: &Image,
) -> Result<Vec<(u64, u64)>, Refusal> {
    let absolute = match image.arch {
        Arch::X86_64 => elf::R_X86_64_64,
        Arch::Aarch64 => elf::R_AARCH64_ABS64,
    };
    let mut pointers = vec![];
    for section in sections.iter() {
        let Some((relocations, _)) = section.rela(Le, file).map_err(damaged)? else { continue };
        let target = section.sh_info(Le) as usize;
        let Some(base) = addresses.get(target).copied().flatten() else { continue };
        if image.piece(base, 0).is_none_or(|p| p.access == Access::Execute) {
            continue;
        }
        for relocation in relocations {
            let at = base.checked_add(relocation.r_offset(Le)).ok_or_else(truncated)?;
            let to = address(symbols, relocation.r_sym(Le, false), addresses)
                .and_then(|symbol| symbol.checked_add_signed(relocation.r_addend(Le)));
            let plain = relocation.r_type(Le, false) == absolute && image.piece(at, 8).is_some();
            let Some(to) = to.filter(|to| plain && image.piece(*to, 0).is_some()) else {
                return Err(not_a_model("a relocation leads out of it"));
            };
            pointers.push((at, to));
        }
    }
    pointers.sort_unstable();
    Ok(pointers)
}

fn truncated() -> Refusal {
    not_a_model("the ELF file is truncated or damaged")
}

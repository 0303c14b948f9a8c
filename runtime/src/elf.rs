//! A look at a file before the dynamic loader gets it.
//!
//! `dlopen` runs constructors and trusts the file's sizes (a truncated one ends in SIGBUS), so a file is handed to it only
//! when it is a shared object for this machine, complete, and exports a model. Only headers and the dynamic symbol table
//! are read. All reads are bounds-checked: the file is untrusted.
//!
//! Source: System V ABI, "Object Files", and its supplements for the two architectures.

use nnc_abi::Arch;

/// Why a file is not a model for this machine.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Not an artifact; the text says what is wrong.
    NotAModel(&'static str),
    /// An artifact for another machine.
    WrongArch(String),
}

const TYPE_SHARED: u16 = 3;
const SEGMENT_LOAD: u32 = 1;
const SECTION_DYNSYM: u32 = 11;

/// Checks that `file` can be loaded on `host` and exports `symbol`.
pub(crate) fn check(file: &[u8], host: Arch, symbol: &str) -> Result<(), Refusal> {
    use Refusal::NotAModel;
    if file.get(..4) != Some(b"\x7fELF") {
        return Err(NotAModel(if file.is_empty() { "the file is empty" } else { "not an ELF file" }));
    }
    if file.get(4..6) != Some(&[2, 1]) {
        return Err(Refusal::WrongArch("a 32-bit or big-endian processor".into()));
    }
    const TRUNCATED: Refusal = NotAModel("the ELF file is truncated or damaged");
    let machine = u16_at(file, 18).ok_or(TRUNCATED)?;
    if machine != host.elf_machine() {
        let known = Arch::ALL.into_iter().find(|a| a.elf_machine() == machine);
        return Err(Refusal::WrongArch(known.map_or(format!("ELF machine {machine}"), |a| a.name().into())));
    }
    if u16_at(file, 16) != Some(TYPE_SHARED) {
        return Err(NotAModel("an ELF file, but not a shared object"));
    }
    if !segments_complete(file).ok_or(TRUNCATED)? {
        return Err(TRUNCATED);
    }
    match exports(file, symbol) {
        Some(true) => Ok(()),
        Some(false) => Err(NotAModel("a shared object, but it exports no `nnc_model`")),
        None => Err(TRUNCATED),
    }
}

/// Whether every loadable segment lies within the file; `None` when the headers do not.
fn segments_complete(file: &[u8]) -> Option<bool> {
    let (table, entry, count) = (u64_at(file, 32)?, u16_at(file, 54)?, u16_at(file, 56)?);
    for i in 0..u64::from(count) {
        let at = offset(table, i, entry.into())?;
        if u32_at(file, at)? == SEGMENT_LOAD {
            let end = u64_at(file, at.checked_add(8)?)?.checked_add(u64_at(file, at.checked_add(32)?)?)?;
            if end > file.len() as u64 {
                return Some(false);
            }
        }
    }
    Some(count > 0)
}

/// Whether the dynamic symbol table defines `symbol`; `None` when it does not lie within the file.
fn exports(file: &[u8], symbol: &str) -> Option<bool> {
    let (table, entry, count) = (u64_at(file, 40)?, u16_at(file, 58)?, u16_at(file, 60)?);
    let section = |i: u64| -> Option<(u32, &[u8], u32)> {
        let at = offset(table, i, entry.into())?;
        let field = |delta: u64| u64_at(file, at.checked_add(delta)?);
        let (start, size) = (field(24)?, field(32)?);
        let link = u32_at(file, at.checked_add(40)?)?;
        let kind = u32_at(file, at.checked_add(4)?)?;
        let bytes = if kind == SECTION_DYNSYM || kind == 3 { slice(file, start, size)? } else { &[] };
        Some((kind, bytes, link))
    };
    for i in 0..u64::from(count) {
        let (kind, symbols, link) = section(i)?;
        if kind != SECTION_DYNSYM {
            continue;
        }
        let (_, names, _) = section(link.into())?;
        return Some(symbols.chunks_exact(24).any(|entry| {
            let name = u32_at(entry, 0).and_then(|at| names.get(at as usize..)).unwrap_or(&[]);
            let name = name.split(|&b| b == 0).next().unwrap_or(&[]);
            // Section 0 is "undefined".
            name == symbol.as_bytes() && u16_at(entry, 6) != Some(0)
        }));
    }
    Some(false)
}

fn offset(table: u64, index: u64, entry: u64) -> Option<u64> {
    table.checked_add(index.checked_mul(entry)?)
}

fn slice(file: &[u8], at: u64, len: u64) -> Option<&[u8]> {
    file.get(usize::try_from(at).ok()?..usize::try_from(at.checked_add(len)?).ok()?)
}

fn u16_at(file: &[u8], at: u64) -> Option<u16> {
    Some(u16::from_le_bytes(slice(file, at, 2)?.try_into().ok()?))
}

fn u32_at(file: &[u8], at: u64) -> Option<u32> {
    Some(u32::from_le_bytes(slice(file, at, 4)?.try_into().ok()?))
}

fn u64_at(file: &[u8], at: u64) -> Option<u64> {
    Some(u64::from_le_bytes(slice(file, at, 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(machine: u16) -> Vec<u8> {
        let mut file = vec![0u8; 64];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        file[16..18].copy_from_slice(&TYPE_SHARED.to_le_bytes());
        file[18..20].copy_from_slice(&machine.to_le_bytes());
        file
    }

    #[test]
    fn junk_is_refused() {
        let refused = |file: &[u8]| check(file, Arch::X86_64, "nnc_model").unwrap_err();
        assert_eq!(refused(b""), Refusal::NotAModel("the file is empty"));
        assert_eq!(refused(b"hello, world"), Refusal::NotAModel("not an ELF file"));
        assert_eq!(refused(&header(183)), Refusal::WrongArch("aarch64".into()));
        assert_eq!(refused(&header(8)), Refusal::WrongArch("ELF machine 8".into()));
        assert!(matches!(refused(&header(62)), Refusal::NotAModel(_)));
    }

    #[test]
    fn damage_never_panics() {
        // The test's own executable is a real ELF file; damage its headers in every byte.
        let original = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        for cut in [0, 5, 17, 40, 63, 64, 100, 1000] {
            assert!(check(&original[..cut], Arch::HOST.unwrap(), "nnc_model").is_err());
        }
        let mut file = original[..original.len().min(4096)].to_vec();
        for at in 0..64 {
            for value in [0, 1, 0x7f, 0xff] {
                let kept = std::mem::replace(&mut file[at], value);
                assert!(check(&file, Arch::HOST.unwrap(), "nnc_model").is_err());
                file[at] = kept;
            }
        }
    }
}

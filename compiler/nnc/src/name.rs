//! The name a model has in C: part of the exported symbol and of the names in its header.

use std::path::Path;

use nnc_abi::RESERVED_MODEL_NAMES;

use crate::errors::{Failure, Result};

/// The longest name made from a file's; a linker takes longer ones, people do not.
const LONGEST: usize = 64;

/// The name for an artifact or model file: its stem as a C identifier.
pub fn from_path(path: &Path) -> String {
    let stem = path.file_stem().map(|s| s.to_string_lossy());
    let letter = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let mut name: String = stem.unwrap_or_default().chars().take(LONGEST).map(letter).collect();
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        name.insert_str(0, "model_");
    }
    if reserved(&name) {
        name.push_str("_model");
    }
    name
}

/// Checks a name that the user chose.
pub fn check(name: &str) -> Result<()> {
    let head = |c: char| c.is_ascii_alphabetic() || c == '_';
    let tail = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if !name.starts_with(head) || !name.chars().all(tail) {
        let message = format!("--name {name}: not a C identifier; use letters, digits and `_`");
        return Err(Failure::user(message));
    }
    if reserved(name) {
        let message = format!("--name {name}: the C API of nnc uses that name; choose another");
        return Err(Failure::user(message));
    }
    Ok(())
}

fn reserved(name: &str) -> bool {
    RESERVED_MODEL_NAMES.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stems_become_identifiers() {
        let name = |path: &str| from_path(Path::new(path));
        assert_eq!(name("a/resnet50.so"), "resnet50");
        assert_eq!(name("mobile-net.v2.so"), "mobile_net_v2");
        assert_eq!(name("50.so"), "model_50");
        assert_eq!(name("load.so"), "load_model");
        assert_eq!(name("é.so"), "_");
        for path in ["x.so", "1.o", "input.a", ".so", "…", "free"] {
            assert!(check(&name(path)).is_ok(), "{path}");
        }
    }

    #[test]
    fn refuses_what_c_does_not_take() {
        for name in ["", "1a", "a-b", "é", "load"] {
            assert!(check(name).is_err(), "{name}");
        }
    }
}

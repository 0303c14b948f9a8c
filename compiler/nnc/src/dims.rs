//! `--dim NAME=SIZE` and `--dim NAME=LEAST..MOST`.

use std::collections::BTreeMap;

use nnc_ops::DimRange;

use crate::errors::{Failure, Result};

/// Reads the arguments of all `--dim` options.
///
/// # Errors
/// When one is malformed, empty, or names a dimension twice.
pub fn parse(texts: &[String]) -> Result<BTreeMap<String, DimRange>> {
    let mut dims = BTreeMap::new();
    for text in texts {
        let (name, range) = one(text).ok_or_else(|| {
            Failure::user(format!(
                "--dim {text}: not NAME=SIZE or NAME=LEAST..MOST with sizes from 0 on; write batch=8 or batch=1..64"
            ))
        })?;
        if dims.insert(name.to_owned(), range).is_some() {
            return Err(Failure::user(format!("--dim {name}: given twice; give it once")));
        }
    }
    Ok(dims)
}

fn one(text: &str) -> Option<(&str, DimRange)> {
    // The name may be an expression with a `=` in it, the sizes not.
    let (name, sizes) = text.rsplit_once('=')?;
    let (min, max) = sizes.split_once("..").unwrap_or((sizes, sizes));
    let range = DimRange { min: size(min)?, max: size(max)? };
    (!name.is_empty() && range.min <= range.max).then_some((name, range))
}

fn size(text: &str) -> Option<i64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    // The greatest value means "unbounded".
    text.parse().ok().filter(|&n| digits && n < i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_ranges() {
        let dims = parse(&["batch=1..64".into(), "seq=128".into()]).unwrap();
        assert_eq!(dims["batch"], DimRange { min: 1, max: 64 });
        assert_eq!(dims["seq"], DimRange { min: 128, max: 128 });
    }

    #[test]
    fn malformed_ones() {
        for text in ["", "x", "x=", "=1", "x=-1", "x=2..1", "x=1..", "x=+1", "x=a", "x=9223372036854775807", "x=1e3"] {
            assert!(parse(&[text.to_owned()]).is_err(), "{text}");
        }
        assert!(parse(&["x=1".into(), "x=1".into()]).is_err());
    }
}

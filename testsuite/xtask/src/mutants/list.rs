//! The list of planted defects, `testsuite/mutants.txt`.
//!
//! An entry is a line `mutant NAME` and lines of two words or more below it, in this order:
//!
//! ```text
//! mutant floor-toward-zero
//!   defect    rounding: the quotient of a negative number is rounded toward zero
//!   file      compiler/ir/src/dim/ops.rs
//!   found-by  nnc_ir dim::tests
//!   - the original text
//!   + what is planted
//! ```
//!
//! A test is the name of a test program with the arguments it takes: a library's (`nnc_ir`), an integration test's
//! (`lowering`), or `fuzz`. Texts of several lines have several lines with `-` or `+`; what follows the sign and a space
//! counts, indentation too. Lines that begin with `#` say something.

use std::fs;
use std::ops::Range;

use anyhow::{Context, Result, bail, ensure};

use crate::shell::root;

/// The file, from the root.
pub const PATH: &str = "testsuite/mutants.txt";

/// A planted defect.
#[derive(Clone, Debug, Default)]
pub struct Mutant {
    /// What `NNC_MUTANT` selects it by.
    pub name: String,
    /// Its kind, and what is wrong.
    pub defect: String,
    /// From the root.
    pub file: String,
    /// The test program and its arguments.
    pub found_by: String,
    /// An expression of the file.
    pub original: String,
    /// An expression in its place.
    pub replacement: String,
}

impl Mutant {
    /// Where the original text is in its file.
    ///
    /// # Errors
    /// When it is not there, or several times.
    pub fn position(&self) -> Result<Range<usize>> {
        let path = root().join(&self.file);
        let text = fs::read_to_string(&path).with_context(|| format!("{}: {}", self.name, self.file))?;
        let mut places = text.match_indices(&self.original);
        match (places.next(), places.next()) {
            (Some((start, found)), None) => Ok(start..start + found.len()),
            (None, _) => bail!("{}: its text is not in {}", self.name, self.file),
            (Some(_), Some(_)) => bail!("{}: its text is in {} more than once", self.name, self.file),
        }
    }
}

/// Reads the list.
///
/// # Errors
/// When it cannot be read.
pub fn read() -> Result<Vec<Mutant>> {
    parse(&fs::read_to_string(root().join(PATH)).context(PATH)?)
}

fn parse(text: &str) -> Result<Vec<Mutant>> {
    let mut mutants: Vec<Mutant> = vec![];
    for (number, line) in text.lines().enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = || format!("{PATH}, line {}: `{line}`", number + 1);
        if let Some(name) = line.strip_prefix("mutant ") {
            mutants.push(Mutant { name: name.to_owned(), ..Mutant::default() });
            continue;
        }
        let mutant = mutants.last_mut().with_context(wrong)?;
        let (key, value) = line.trim_start().split_once(' ').with_context(wrong)?;
        let (slot, several) = match key {
            "defect" => (&mut mutant.defect, false),
            "file" => (&mut mutant.file, false),
            "found-by" => (&mut mutant.found_by, false),
            "-" => (&mut mutant.original, true),
            "+" => (&mut mutant.replacement, true),
            _ => bail!(wrong()),
        };
        ensure!(several || slot.is_empty(), wrong());
        if several && !slot.is_empty() {
            slot.push('\n');
        }
        slot.push_str(if several { value } else { value.trim() });
    }
    for mutant in &mutants {
        let fields = [&mutant.defect, &mutant.file, &mutant.found_by, &mutant.original, &mutant.replacement];
        ensure!(fields.iter().all(|f| !f.is_empty()), "{PATH}: {} lacks a line", mutant.name);
    }
    Ok(mutants)
}

#[cfg(test)]
mod tests;

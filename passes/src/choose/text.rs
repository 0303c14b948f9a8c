//! Choices as text: what is taken for each sum of products, one a line.
//!
//! ```text
//! 4.0 panels tile 6 x 16 block 42 outside panels fetch next
//! ```
//!
//! This is the first product of region 4. Parsing what was printed gives the same choices.

use super::{Algorithm, Candidate, Decision, Fetch, Panels, Shape};
use nnc_desc::tiles::Tile;
use nnc_ir::{Dim, DimTable};
use std::fmt::{self, Write};

/// What is taken for a sum of products: the number of its region, its number there, and the way.
pub type Taken = (usize, usize, Algorithm);

/// Why a text holds no choices, or none for these regions.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ChoiceError(String);

/// Prints what is taken.
pub fn print(decisions: &[Decision]) -> String {
    let mut text = String::new();
    for (region, decision) in decisions.iter().enumerate() {
        for (number, choice) in decision.choices.iter().enumerate() {
            if let Some(taken) = choice.candidates.first() {
                let _ = writeln!(text, "{region}.{number} {}", taken.algorithm);
            }
        }
    }
    text
}

/// Reads what [`print()`] prints; empty lines and comments (`;`) are skipped.
///
/// # Errors
/// The first line that names no way.
pub fn parse(text: &str) -> Result<Vec<Taken>, ChoiceError> {
    let taken = |line: &str| {
        let (place, way) = line.split_once(' ')?;
        let (region, number) = place.split_once('.')?;
        Some((region.parse().ok()?, number.parse().ok()?, algorithm(way)?))
    };
    let lines = text.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with(';'));
    lines
        .map(|(n, line)| taken(line).ok_or_else(|| ChoiceError(format!("line {}: {line:?} is no choice", n + 1))))
        .collect()
}

/// Takes what is named instead of the cheapest.
///
/// # Errors
/// When there is no such product, or no such way to do it.
pub fn take(decisions: &mut [Decision], taken: &[Taken]) -> Result<(), ChoiceError> {
    for (region, number, algorithm) in taken {
        let choice = decisions.get_mut(*region).and_then(|decision| decision.choices.get_mut(*number));
        let choice = choice.ok_or_else(|| ChoiceError(format!("region {region} has no product {number}")))?;
        let found = choice.candidates.iter().position(|candidate| candidate.algorithm == *algorithm);
        let found = found
            .ok_or_else(|| ChoiceError(format!("product {number} of region {region} is not done by {algorithm}")))?;
        choice.candidates[..=found].rotate_right(1);
    }
    Ok(())
}

fn algorithm(text: &str) -> Option<Algorithm> {
    let words: Vec<&str> = text.split(' ').collect();
    let ["panels", "tile", rows, "x", width, "block", block, "outside", outside, fetch @ ..] = &words[..] else {
        return (text == "depthwise").then_some(Algorithm::Depthwise);
    };
    Some(Algorithm::Panels(Panels {
        tile: Tile { rows: rows.parse().ok()?, width: width.parse().ok()? },
        block: Dim::from(block.parse::<i64>().ok()?),
        panels_outside: match *outside {
            "panels" => true,
            "rows" => false,
            _ => return None,
        },
        fetch: match fetch {
            [] => Fetch::Nothing,
            ["fetch", "ahead"] => Fetch::Ahead,
            ["fetch", "next"] => Fetch::Next,
            _ => return None,
        },
    }))
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Algorithm::Panels(panels) => panels.fmt(f),
            Algorithm::Depthwise => f.write_str("depthwise"),
        }
    }
}

impl fmt::Display for Panels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outside = if self.panels_outside { "panels" } else { "rows" };
        write!(f, "panels tile {} x {} block {} outside {outside}", self.tile.rows, self.tile.width, self.block)?;
        match self.fetch {
            Fetch::Nothing => Ok(()),
            Fetch::Ahead => f.write_str(" fetch ahead"),
            Fetch::Next => f.write_str(" fetch next"),
        }
    }
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} us: {}", self.cost as f64 / 1e6, self.algorithm)
    }
}

impl Shape {
    /// The sizes, with the names of a table.
    pub fn display(&self, dims: &DimTable) -> String {
        let sizes = [
            ("batch", &self.batch),
            ("outer", &self.outer),
            ("rows", &self.rows),
            ("columns", &self.columns),
            ("depth", &self.depth),
            ("runs", &self.runs),
        ];
        let named = |(name, size): (&str, &Dim)| format!("{name} {}", dims.display(size));
        // What is one in most products is not worth a word.
        let told =
            sizes.into_iter().filter(|(name, size)| matches!(*name, "rows" | "columns" | "depth") || !size.is_const(1));
        let mut told: Vec<String> = told.map(named).collect();
        if self.stored.bits() != 8 * self.element_bytes {
            let block = self.stored.block.map_or(String::new(), |block| format!(" in blocks of {block}"));
            told.push(format!("weights of {} bits{block}", self.stored.bits()));
        }
        told.join(", ")
    }
}

//! Choices as text, for explanations and golden files.

use super::{Algorithm, Candidate, Fetch, Panels, Shape};
use nnc_ir::{Dim, DimTable};
use std::fmt;

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
        told.map(named).collect::<Vec<String>>().join(", ")
    }
}

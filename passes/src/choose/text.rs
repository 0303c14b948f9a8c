//! Choices as text, for explanations and golden files.

use super::{Algorithm, Candidate, Fetch, Panels, Shape};
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
        write!(f, "panels tile {} x {} block {:?} outside {outside}", self.tile.rows, self.tile.width, self.block)?;
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

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "batch {:?} outer {:?} rows {:?}", self.batch, self.outer, self.rows)?;
        write!(f, " columns {:?} depth {:?} in {:?} runs", self.columns, self.depth, self.runs)
    }
}

//! The generators of operators: a row names operators and the function that appends a valid node of one of them.
//!
//! A generator picks operands from the pool or makes new ones, draws attributes, and says what shape and range the result
//! has. It answers `None` when nothing it drew fits; the caller tries another.

mod attention;
mod boxes;
mod control;
mod elementwise;
mod index;
mod movement;
mod norms;
mod products;
mod quantize;
mod reduce;
mod sampling;
mod sequences;
mod shapes;
mod spectra;
mod windows;

use super::gen_state::Gen;

/// Appends a node of the named operator.
pub type Make = fn(&mut Gen, &str) -> Option<()>;

/// A row of a family's table.
pub struct Row {
    /// The operators.
    pub names: &'static [&'static str],
    /// The first opset whose form of them is generated.
    pub since: i64,
    /// Appends a node of the operator.
    pub make: Make,
}

const fn row(names: &'static [&'static str], since: i64, make: Make) -> Row {
    Row { names, since, make }
}

/// Every row.
pub fn rows() -> impl Iterator<Item = &'static Row> {
    [
        elementwise::ROWS,
        movement::ROWS,
        shapes::ROWS,
        reduce::ROWS,
        products::ROWS,
        windows::ROWS,
        index::ROWS,
        norms::ROWS,
        quantize::ROWS,
        control::ROWS,
        attention::ROWS,
        boxes::ROWS,
        sampling::ROWS,
        sequences::ROWS,
        spectra::ROWS,
    ]
    .into_iter()
    .flatten()
}

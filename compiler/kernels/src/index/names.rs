//! The text form of indices: that of dimensions, with the names of variables.

use super::Index;
use crate::kernel::Var;
use nnc_ir::dim::DimParseError;
use nnc_ir::{DimTable, SymbolInfo};
use std::fmt;

/// The names of variables, by their numbers.
#[derive(Clone, Debug, Default)]
pub struct Names(DimTable);

impl Names {
    /// Names the next variable; a number is appended to a name that is taken.
    pub fn add(&mut self, name: &str) -> Var {
        Var(self.0.new_symbol(SymbolInfo::input(name)).0)
    }

    /// The variable of this name.
    pub fn find(&self, name: &str) -> Option<Var> {
        self.0.find(name).map(|symbol| Var(symbol.0))
    }

    /// The index with these names.
    pub fn display<'a>(&'a self, index: &'a Index) -> impl fmt::Display + 'a {
        self.0.display(&index.0)
    }

    /// Reads an index over these variables.
    ///
    /// # Errors
    /// When the syntax is wrong or a name is unknown.
    pub fn parse(&self, text: &str) -> Result<Index, DimParseError> {
        self.0.parse(text).map(Index)
    }
}

//! The ranges of a kernel's variables, to bound indices over them.

use super::Index;
use crate::kernel::{Kernel, Var};
use nnc_ir::{DimTable, Symbol, SymbolInfo, SymbolOrigin};

/// What is known of the values of variables, by their numbers.
#[derive(Clone, Debug, Default)]
pub struct Ranges(DimTable);

impl Ranges {
    /// From what the kernel declares of its variables.
    pub fn new(kernel: &Kernel) -> Ranges {
        let mut ranges = Ranges::default();
        for info in &kernel.vars {
            ranges.add(&info.name, info.min, info.max, None);
        }
        ranges
    }

    /// Adds the next variable; `upper` is a bound in terms of those before.
    pub fn add(&mut self, name: &str, min: i64, max: i64, upper: Option<Index>) {
        let (name, upper) = (name.to_owned(), upper.map(|index| index.0));
        self.0.new_symbol(SymbolInfo { name, min, max, upper, origin: SymbolOrigin::Input });
    }

    /// Narrows the range of a variable; one that was not added is ignored.
    pub fn set(&mut self, var: Var, min: i64, max: i64) {
        self.0.set_bounds(Symbol(var.0), min, max);
    }

    pub(super) fn table(&self) -> &DimTable {
        &self.0
    }
}

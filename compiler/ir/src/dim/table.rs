//! The symbols that dimensions mention, with their names and bounds.

use super::{Dim, Symbol};
use rustc_hash::FxHashMap;
use std::hash::{Hash, Hasher};

/// Who gives a symbol its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SymbolOrigin {
    /// The shapes of the model's inputs.
    Input,
    /// A node, from data (`NonZero`, `Loop`, `BindDims`, ...).
    Node,
    /// Who runs the model: the seed of random numbers. No size depends on it.
    Run,
}

/// What is known of a symbol.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SymbolInfo {
    /// Unique in its table.
    pub name: String,
    /// Least value.
    pub min: i64,
    /// Greatest value.
    pub max: i64,
    /// A bound in terms of symbols defined before, e.g. `n*m` for the count of nonzero elements.
    pub upper: Option<Dim>,
    /// Who defines it.
    pub origin: SymbolOrigin,
}

impl SymbolInfo {
    /// An input dimension of any size, 0 included.
    pub fn input(name: impl Into<String>) -> SymbolInfo {
        SymbolInfo { name: name.into(), min: 0, max: i64::MAX, upper: None, origin: SymbolOrigin::Input }
    }
}

/// Every symbol of a graph. Names are unique.
#[derive(Clone, Debug, Default)]
pub struct DimTable {
    symbols: Vec<SymbolInfo>,
    by_name: FxHashMap<String, Symbol>,
    /// By prefix the first number that no symbol named after it may have, so that finding one takes no search.
    numbers: FxHashMap<String, usize>,
}

impl PartialEq for DimTable {
    /// The rest follows from the symbols, or is only a hint.
    fn eq(&self, other: &DimTable) -> bool {
        self.symbols == other.symbols
    }
}

impl Eq for DimTable {}

impl Hash for DimTable {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.symbols.hash(state);
    }
}

impl DimTable {
    /// Adds a symbol. When its name is taken, a number is appended.
    pub fn new_symbol(&mut self, mut info: SymbolInfo) -> Symbol {
        if info.name.is_empty() || self.by_name.contains_key(&info.name) {
            info.name = self.unused_name(&info.name);
        }
        let symbol = Symbol(self.symbols.len() as u32);
        self.by_name.insert(info.name.clone(), symbol);
        self.symbols.push(info);
        symbol
    }

    /// Adds a symbol that a node defines, named after `prefix`.
    pub fn fresh(&mut self, prefix: &str, min: i64, max: i64, upper: Option<Dim>) -> Symbol {
        let name = self.unused_name(prefix);
        self.new_symbol(SymbolInfo { name, min, max, upper, origin: SymbolOrigin::Node })
    }

    /// The symbol of the seed that a run is given, added where there is none.
    pub fn seed(&mut self) -> Symbol {
        let found = self.iter().find(|(_, info)| info.origin == SymbolOrigin::Run).map(|(symbol, _)| symbol);
        found.unwrap_or_else(|| {
            let info = SymbolInfo { origin: SymbolOrigin::Run, ..SymbolInfo::input("seed") };
            self.new_symbol(info)
        })
    }

    fn unused_name(&mut self, prefix: &str) -> String {
        let prefix = if prefix.is_empty() { "dim" } else { prefix };
        let mut number = self.numbers.get(prefix).copied().unwrap_or(0);
        loop {
            let name = format!("{prefix}_{number}");
            number += 1;
            if !self.by_name.contains_key(&name) {
                self.numbers.insert(prefix.to_owned(), number);
                return name;
            }
        }
    }

    /// What is known of a symbol; `None` when it is not of this table.
    pub fn lookup(&self, symbol: Symbol) -> Option<&SymbolInfo> {
        self.symbols.get(symbol.0 as usize)
    }

    /// What is known of a symbol of this table.
    ///
    /// # Panics
    /// When the symbol is not of this table; [`crate::verify`] uses [`DimTable::lookup`] instead.
    pub fn get(&self, symbol: Symbol) -> &SymbolInfo {
        &self.symbols[symbol.0 as usize]
    }

    /// Narrows what is known of a symbol, e.g. after `--dim batch=1..8`. Symbols of other tables are ignored.
    pub fn set_bounds(&mut self, symbol: Symbol, min: i64, max: i64) {
        if let Some(info) = self.symbols.get_mut(symbol.0 as usize) {
            (info.min, info.max) = (min, max);
        }
    }

    /// Says what a symbol is at most, over symbols before it. Symbols of other tables are ignored.
    pub fn set_upper(&mut self, symbol: Symbol, upper: Dim) {
        let max = upper.bounds(self).1;
        if let Some(info) = self.symbols.get_mut(symbol.0 as usize) {
            info.max = info.max.min(max).max(info.min);
            info.upper = Some(upper);
        }
    }

    /// The table where these symbols are as good as given, so that bounds are expressions over them.
    pub fn with_given(&self, symbols: &[Symbol]) -> DimTable {
        let mut table = self.clone();
        for symbol in symbols {
            if let Some(info) = table.symbols.get_mut(symbol.0 as usize) {
                info.origin = SymbolOrigin::Input;
            }
        }
        table
    }

    /// Puts the size of each input symbol that has one only into the bounds of others: nothing else mentions it any more.
    pub fn settle_bounds(&mut self) {
        let fixed: Vec<Option<Dim>> = self
            .symbols
            .iter()
            .map(|i| (i.min == i.max && i.origin == SymbolOrigin::Input).then(|| i.min.into()))
            .collect();
        for info in &mut self.symbols {
            if let Some(upper) = &mut info.upper {
                *upper = upper.substitute(&|s: Symbol| fixed.get(s.0 as usize)?.clone());
            }
        }
    }

    /// The symbol called `name`.
    pub fn find(&self, name: &str) -> Option<Symbol> {
        self.by_name.get(name).copied()
    }

    /// How many symbols there are.
    pub fn len(&self) -> usize {
        self.symbols.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.symbols.is_empty()
    }

    /// All symbols in order of definition.
    pub fn iter(&self) -> impl Iterator<Item = (Symbol, &SymbolInfo)> {
        self.symbols.iter().enumerate().map(|(i, info)| (Symbol(i as u32), info))
    }
}

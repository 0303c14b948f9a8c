//! Values of dimension symbols during a run.

use crate::error::{Cause, Eval};
use crate::values::MAX_COUNT;
use nnc_ir::dim::Atom;
use nnc_ir::{Dim, DimTable, Symbol, SymbolOrigin, Tensor};
use rustc_hash::FxHashMap;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

/// Subgraphs that may be nested; bounds the interpreter's own recursion.
const MAX_DEPTH: u32 = 64;

/// What symbols stand for. Operations that determine symbols from data define them here.
#[derive(Clone, Debug, Default)]
pub struct Env {
    values: FxHashMap<Symbol, i64>,
    table: Arc<DimTable>,
    depth: u32,
    /// What subgraphs compute, where that is asked for.
    pub(super) inside: Option<Rc<RefCell<Vec<Tensor>>>>,
}

impl Env {
    /// No symbol has a value, and none has bounds.
    pub fn new() -> Env {
        Env::default()
    }

    /// No symbol has a value; definitions are checked against the bounds in `table`.
    pub fn with_table(table: &DimTable) -> Env {
        Env { table: Arc::new(table.clone()), ..Env::default() }
    }

    /// Gives the symbol of the run's seed, if there is one, the seed's lower 63 bits.
    pub fn seed(&mut self, seed: u64) {
        let found = self.table.iter().find(|(_, info)| info.origin == SymbolOrigin::Run).map(|(symbol, _)| symbol);
        if let Some(symbol) = found {
            self.values.insert(symbol, (seed & i64::MAX as u64) as i64);
        }
    }

    /// The value of a symbol, if it has one.
    pub fn get(&self, symbol: Symbol) -> Option<i64> {
        self.values.get(&symbol).copied()
    }

    /// Gives a symbol a value, in place of the one it may have.
    ///
    /// # Errors
    /// When the value is outside the symbol's bounds.
    pub fn define(&mut self, symbol: Symbol, value: i64) -> Result<(), Cause> {
        if let Some(info) = self.table.lookup(symbol) {
            let upper = info.upper.as_ref().and_then(|d| d.eval(&|s| self.get(s))).unwrap_or(i64::MAX);
            let max = info.max.min(upper);
            if value < info.min || value > max {
                return Err(Cause::OutOfBounds { symbol: info.name.clone(), value, min: info.min, max });
            }
        }
        self.values.insert(symbol, value);
        Ok(())
    }

    /// The value of a dimension.
    ///
    /// # Errors
    /// When a symbol has no value, a division is by zero, or `i64` overflows.
    pub fn dim(&self, dim: &Dim) -> Result<i64, Cause> {
        if let Some(value) = dim.eval(&|s| self.get(s)) {
            return Ok(value);
        }
        let text = self.display(dim);
        Err(match dim.symbols().into_iter().find(|&s| self.get(s).is_none()) {
            Some(symbol) => Cause::UnboundSymbol { dim: text, symbol },
            None => Cause::Undefined { dim: text },
        })
    }

    /// The value of a dimension that is a size.
    ///
    /// # Errors
    /// As [`Env::dim`], and when the value is negative or no tensor could be that large.
    pub fn size(&self, dim: &Dim) -> Result<usize, Cause> {
        let value = self.dim(dim)?;
        match usize::try_from(value) {
            Ok(size) if size <= MAX_COUNT => Ok(size),
            Ok(size) => Err(Cause::TooLarge { shape: vec![size] }),
            Err(_) => Err(Cause::NegativeSize { dim: self.display(dim), value }),
        }
    }

    /// The value of a shape.
    ///
    /// # Errors
    /// As [`Env::size`].
    pub fn shape(&self, shape: &[Dim]) -> Result<Vec<usize>, Cause> {
        shape.iter().map(|d| self.size(d)).collect()
    }

    /// Gives the symbol of every dimension of `shape` that is one symbol without a value, perhaps so many times and with a
    /// number added to it, the value that makes the size found.
    pub(super) fn bind_symbols(&mut self, shape: &[Dim], found: &[usize]) -> Eval<()> {
        for (dim, &size) in shape.iter().zip(found) {
            let size = i64::try_from(size).unwrap_or(i64::MAX);
            let view = dim.view();
            let [(factor, atoms)] = &view.terms[..] else { continue };
            let [Atom::Sym(symbol)] = atoms[..] else { continue };
            let rest = size.checked_sub(view.constant).filter(|rest| rest.checked_rem(*factor) == Some(0));
            let value = rest.and_then(|rest| rest.checked_div(*factor));
            if let (Some(value), None) = (value, self.get(*symbol)) {
                self.define(*symbol, value)?;
            }
        }
        Ok(())
    }

    /// A dimension with its symbols' names, for messages.
    pub(super) fn display(&self, dim: &Dim) -> String {
        self.table.display(dim).to_string()
    }

    /// For one evaluation of a subgraph: what it defines is forgotten afterwards.
    pub(super) fn nested(&self, table: &Arc<DimTable>) -> Eval<Env> {
        if self.depth >= MAX_DEPTH {
            return Err(Cause::TooDeep);
        }
        Ok(Env {
            values: self.values.clone(),
            table: Arc::clone(table),
            depth: self.depth + 1,
            inside: self.inside.clone(),
        })
    }
}

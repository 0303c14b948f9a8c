//! The run's frame: what every step needs, on the stack of `run`.
//!
//! Fields are 8 bytes each; the values of symbols follow, by their number, then the slots of `allocation`.

use crate::cranelift::index::Values;
use cranelift_codegen::ir::{InstBuilder, MemFlagsData, Value, types};
use cranelift_frontend::FunctionBuilder;
use nnc_ir::{Dim, DimTable, Symbol};

/// The caller's `RunArgs`.
pub(super) const ARGS: i32 = 0;
/// Address of the weights.
pub(super) const WEIGHTS: i32 = 8;
/// Address of the workspace.
pub(super) const WORKSPACE: i32 = 16;
/// The caller's `RunContext` if it has a `parallel_for`, else null.
pub(super) const CONTEXT: i32 = 24;
/// First failure of a parallel loop: `begin << 8 | status`, all ones for none.
pub(super) const FAILURE: i32 = 32;
/// The context's allocator, if the run needs one.
pub(super) const ALLOCATOR: i32 = 40;
/// The symbols.
pub(super) const SYMBOLS: i32 = 48;

/// Accesses to memory of our own or of the caller's structures.
pub(super) const FLAGS: MemFlagsData = MemFlagsData::trusted();

/// Values of symbols in memory.
pub(super) struct Table<'a> {
    pub(super) dims: &'a DimTable,
    /// Address of symbol 0.
    pub(super) base: Value,
}

impl Values<Dim> for Table<'_> {
    fn value(&mut self, b: &mut FunctionBuilder<'_>, symbol: Symbol) -> Value {
        match i32::try_from(symbol.0).ok().and_then(|s| s.checked_mul(8)) {
            Some(offset) => b.ins().load(types::I64, FLAGS, self.base, offset),
            None => b.ins().iconst(types::I64, 0),
        }
    }

    fn depth(&self, _: Symbol) -> u32 {
        0
    }

    fn not_negative(&self, dim: &Dim) -> bool {
        dim.symbols().iter().all(|s| self.dims.lookup(*s).is_some()) && dim.bounds(self.dims).0 >= 0
    }
}

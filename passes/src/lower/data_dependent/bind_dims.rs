//! Symbols defined from data: the host plan reads them where they lie.

use super::super::Lowering;
use super::Lowered;
use nnc_ir::{Dim, Node, Symbol};
use nnc_kernels::plan::Argument;

impl Lowering<'_> {
    pub(super) fn lower_bind_dims(&mut self, node: &Node, symbols: &[Symbol]) -> Lowered {
        let sizes = self.materialise(node.inputs[0])?;
        for (i, &symbol) in symbols.iter().enumerate() {
            // A scalar has no stride, and one symbol.
            let step = sizes.strides.first().cloned().unwrap_or(Dim::ZERO);
            let offset = &sizes.offset + &(step * Dim::from(i as i64));
            self.bind(symbol, Argument { buffer: sizes.buffer, offset });
        }
        Ok(())
    }
}

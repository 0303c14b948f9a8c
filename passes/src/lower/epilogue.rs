//! The end of a region with an anchor: what is computed of a sum, and its store.

use super::LowerError;
use super::builder::KernelBuilder;
use super::emit::compute_type;
use crate::layout::Storage;
use nnc_ir::{TensorType, ValueId};
use nnc_kernels::Var;
use nnc_kernels::kernel::{Expr, Index, Stmt};

impl KernelBuilder<'_, '_> {
    /// Stores one element of an anchor's region in the scope that is open.
    pub fn finish_anchor(
        &mut self,
        anchor: ValueId,
        root: ValueId,
        sum: Var,
        index: &[Index],
        ty: &TensorType,
        storage: &Storage,
    ) -> Result<(), LowerError> {
        let anchor_type = self.cx.graph.ty(anchor).dtype;
        let raw = Expr::convert(compute_type(anchor_type), self.kernel.var_dtype(sum), Expr::Var(sum));
        self.bound.insert(anchor, raw.clone());
        let value = if anchor == root { raw } else { self.emit_definition(root, index)? };
        let stored = Expr::convert(ty.dtype, compute_type(ty.dtype), value);
        let target = self.buffer(storage.buffer, &storage.offset, true);
        let element = self.element(&storage.strides, index);
        self.push(Stmt::Store(target, element, stored));
        Ok(())
    }
}

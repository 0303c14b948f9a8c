//! Copies of values, computed on the way where they have no memory.

use super::builder::KernelBuilder;
use super::emit::compute_type;
use super::{LowerError, Lowering};
use crate::layout::Storage;
use nnc_ir::{DType, Dim, ValueId};
use nnc_kernels::kernel::{AxisKind, Expr, Index, Stmt};

impl<'g> Lowering<'g> {
    /// Copies a value (computing it, if it is inlined) into storage, looping over its axes in `order`.
    pub(super) fn copy_into(
        &mut self,
        value: ValueId,
        order: &[usize],
        dtype: DType,
        storage: &Storage,
    ) -> Result<(), LowerError> {
        self.copying(value, order, dtype, storage)?.finish()
    }

    /// The kernel of [`Lowering::copy_into`].
    pub(super) fn copying<'a>(
        &'a mut self,
        value: ValueId,
        order: &[usize],
        dtype: DType,
        storage: &Storage,
    ) -> Result<KernelBuilder<'a, 'g>, LowerError> {
        let ty = self.graph.ty(value).clone();
        let mut b = KernelBuilder::new(self, "copy");
        let extents: Vec<Dim> = order.iter().map(|&a| ty.shape[a].clone()).collect();
        let (ordered, opened) = b.open_loops(&extents, AxisKind::Vector);
        let mut index = vec![Index::ZERO; ty.rank()];
        for (&axis, i) in order.iter().zip(&ordered) {
            index[axis] = i.clone();
        }
        let value_expr = b.emit(value, &index)?;
        let stored = Expr::convert(dtype, compute_type(ty.dtype), value_expr);
        let target = b.buffer(storage.buffer, &storage.offset, true);
        let element = b.element(&storage.strides, &index);
        b.push(Stmt::Store(target, element, stored));
        for _ in 0..opened {
            b.close_loop();
        }
        Ok(b)
    }
}

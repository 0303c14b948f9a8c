//! Coordinates of the nonzero elements, written one after the other.

use super::super::Lowering;
use super::super::builder::KernelBuilder;
use super::{Lowered, binary};
use nnc_ir::op::BinaryOp;
use nnc_ir::{DType, Dim, Node, Symbol};
use nnc_kernels::kernel::{Expr, Index, Stmt};
use nnc_kernels::plan::Argument;

impl Lowering<'_> {
    pub(super) fn lower_non_zero(&mut self, node: &Node, count: Symbol) -> Lowered {
        let (x, result) = (node.inputs[0], node.outputs[0]);
        let storage = self.storage(result)?;
        let ty = self.graph.ty(x).clone();
        let capacity = self.capacity(count, &ty.count())?;
        let cell = self.cell("count", DType::I64)?;

        let mut b = KernelBuilder::new(self, "non_zero");
        let target = b.buffer(storage.buffer, &storage.offset, true);
        let found = b.counter("found", Index::ZERO);
        b.nest(&ty.shape, |b, index| {
            let value = b.emit(x, index)?;
            let zero = Expr::constant(b.kernel.dtype(&value), 0.0);
            b.when(binary(BinaryOp::Ne, value, zero), |b| {
                b.check_capacity(found, capacity.as_ref());
                for (axis, i) in index.iter().enumerate() {
                    let element = b.element(&storage.strides, &[found.index(), Index::from(axis as i64)]);
                    b.push(Stmt::Store(target, element, Expr::Index(i.clone())));
                }
                b.increment(found);
                Ok(())
            })
        })?;
        b.store_cell(cell, Expr::Var(found));
        b.finish()?;
        self.bind(count, Argument { buffer: cell, offset: Dim::ZERO });
        Ok(())
    }
}

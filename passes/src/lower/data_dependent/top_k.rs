//! The largest or smallest elements along an axis: a heap of the best so far, then sorted in place.
//!
//! The heap's root is the worst element kept, so that most elements are refused by one comparison. It lies where the
//! indices are wanted; the values are gathered at the end.

use super::super::builder::KernelBuilder;
use super::super::emit::compute_type;
use super::super::{LowerError, Lowering};
use super::heap::{Heap, Order, before};
use super::{BOUND_EXCEEDED, Lowered, less, product, with, without};
use nnc_ir::{Dim, Node};
use nnc_kernels::kernel::{AxisKind, Expr, Index, Stmt};

impl Lowering<'_> {
    pub(super) fn lower_top_k(&mut self, node: &Node, axis: usize, k: &Dim, largest: bool) -> Lowered {
        let (x, [values, indices]) = (node.inputs[0], [node.outputs[0], node.outputs[1]]);
        let (value_storage, index_storage) = (self.storage(values)?, self.storage(indices)?);
        let ty = self.graph.ty(x).clone();
        let outer = without(&ty.shape, axis);
        if product(&outer).is_const(0) || k.is_const(0) {
            return Ok(());
        }
        let size = &ty.shape[axis];
        let fits = size.provably_ge(k, &self.graph.dims);
        let order = if largest { Order::Descending } else { Order::Ascending };

        let mut b = KernelBuilder::new(self, "top_k");
        let row = b.parallel_over(&outer);
        let (n, k) = (b.import(size), b.import(k));
        if !fits {
            b.push(Stmt::If(less(&n, &k), vec![Stmt::Fail(BOUND_EXCEEDED)], vec![]));
        }
        // The root is the element that comes last.
        let after = |b: &mut KernelBuilder<'_, '_>, i: &Index, j: &Index| -> Result<Expr, LowerError> {
            let (at_i, at_j) = (b.emit(x, &with(&row, axis, i))?, b.emit(x, &with(&row, axis, j))?);
            Ok(before(b, order, (j, at_j), (i, at_i)))
        };
        let buffer = b.buffer(index_storage.buffer, &index_storage.offset, true);
        let base = b.element(&without(&index_storage.strides, axis), &row);
        let stride = b.import(&index_storage.strides[axis]);
        let heap = Heap { buffer, base, stride, bound: n.clone(), above: &after };
        // Where nothing is kept there is no root to compare with.
        b.when(less(&Index::ZERO, &k), |b| {
            b.each(&k, AxisKind::Serial, |b, i| {
                heap.write(b, i, i);
                Ok(())
            })?;
            heap.build(b, &k)?;
            b.each(&(&n - &k), AxisKind::Serial, |b, i| {
                let i = b.freeze("next", Expr::Index(&k + i), &n);
                let root = heap.read(b, &Index::ZERO);
                let better = (heap.above)(b, &root, &i)?;
                b.when(better, |b| heap.sift(b, &Index::ZERO, &k, &i))
            })?;
            heap.sort(b, &k)
        })?;
        let target = b.buffer(value_storage.buffer, &value_storage.offset, true);
        b.each(&k, AxisKind::Serial, |b, i| {
            let held = heap.read(b, i);
            let value = b.emit(x, &with(&row, axis, &held))?;
            let element = b.element(&value_storage.strides, &with(&row, axis, i));
            b.push(Stmt::Store(target, element, Expr::convert(ty.dtype, compute_type(ty.dtype), value)));
            Ok(())
        })?;
        b.finish()
    }
}

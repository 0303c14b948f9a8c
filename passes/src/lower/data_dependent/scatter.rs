//! Scatters: the operand is copied, then updates are applied in their order.
//!
//! Updates of one element must not change places: slices are applied one after the other (their own elements in
//! vector lanes), elements are applied in order along the axis, and other axes run in parallel.

use super::super::builder::KernelBuilder;
use super::super::emit::compute_type;
use super::super::{LowerError, Lowering};
use super::{Lowered, binary, product, with, without};
use nnc_ir::op::{BinaryOp, ScatterOp};
use nnc_ir::{Dim, Node, ValueId};
use nnc_kernels::kernel::{AxisKind, BufferRef, Expr, Index, Stmt};

/// How an update is combined; `None`: it replaces.
fn combination(op: ScatterOp) -> Option<BinaryOp> {
    match op {
        ScatterOp::Replace => None,
        ScatterOp::Add => Some(BinaryOp::Add),
        ScatterOp::Mul => Some(BinaryOp::Mul),
        ScatterOp::Max => Some(BinaryOp::Max),
        ScatterOp::Min => Some(BinaryOp::Min),
    }
}

impl Lowering<'_> {
    pub(super) fn lower_scatter_nd(&mut self, node: &Node, op: ScatterOp) -> Lowered {
        let [x, indices, updates] = [node.inputs[0], node.inputs[1], node.inputs[2]];
        let output = node.outputs[0];
        let shape = self.graph.shape(x).to_vec();
        let coordinates = self.graph.shape(indices).to_vec();
        let (depth, leading) =
            coordinates.split_last().map_or((0, &[][..]), |(last, leading)| (dim_size(last), leading));
        self.check_range(indices, &shape[..depth], true)?;
        self.copy_operand_into(x, output)?;
        let count = self.graph.ty(updates).count();
        if count.is_const(0) {
            return Ok(());
        }
        let storage = self.storage(output)?;

        let mut b = KernelBuilder::new(self, "scatter");
        let target = b.buffer(storage.buffer, &storage.offset, true);
        b.nest(leading, |b, outer| {
            let mut at = vec![];
            for (k, size) in shape[..depth].iter().enumerate() {
                let place = with(outer, outer.len(), &Index::from(k as i64));
                let position = b.emit(indices, &place)?;
                let size = b.import(size);
                at.push(b.freeze("at", position, &size));
            }
            let (inner, opened) = b.open_loops(&shape[depth..], AxisKind::Vector);
            at.extend(inner.iter().cloned());
            let element = b.element(&storage.strides, &at);
            b.apply_update(updates, &[outer, &inner].concat(), op, target, element)?;
            for _ in 0..opened {
                b.close_loop();
            }
            Ok(())
        })?;
        b.finish()
    }

    pub(super) fn lower_scatter_elements(&mut self, node: &Node, axis: usize, op: ScatterOp) -> Lowered {
        let [x, indices, updates] = [node.inputs[0], node.inputs[1], node.inputs[2]];
        let output = node.outputs[0];
        let size = self.graph.shape(x)[axis].clone();
        self.check_range(indices, std::slice::from_ref(&size), false)?;
        self.copy_operand_into(x, output)?;
        let reach = self.graph.shape(indices).to_vec();
        let outer = without(&reach, axis);
        let count = product(&reach);
        if count.is_const(0) {
            return Ok(());
        }
        let storage = self.storage(output)?;

        let mut b = KernelBuilder::new(self, "scatter");
        let target = b.buffer(storage.buffer, &storage.offset, true);
        let row = b.parallel_over(&outer);
        let (size, extent) = (b.import(&size), b.import(&reach[axis]));
        b.each(&extent, AxisKind::Serial, |b, i| {
            let place = with(&row, axis, i);
            let position = b.emit(indices, &place)?;
            let position = b.freeze("at", position, &size);
            let element = b.element(&storage.strides, &with(&row, axis, &position));
            b.apply_update(updates, &place, op, target, element)
        })?;
        b.finish()
    }

    fn copy_operand_into(&mut self, x: ValueId, output: ValueId) -> Lowered {
        let storage = self.storage(output)?;
        let ty = self.graph.ty(x).clone();
        let order: Vec<usize> = (0..ty.rank()).collect();
        self.copy_into(x, &order, ty.dtype, &storage)
    }
}

/// A constant size; the verifier has seen to it that it is one.
fn dim_size(dim: &Dim) -> usize {
    dim.as_const().and_then(|n| usize::try_from(n).ok()).unwrap_or(0)
}

impl KernelBuilder<'_, '_> {
    /// Combines one update with the element there.
    fn apply_update(
        &mut self,
        updates: ValueId,
        place: &[Index],
        op: ScatterOp,
        target: BufferRef,
        element: Index,
    ) -> Result<(), LowerError> {
        let dtype = self.kernel.buffers[target.0 as usize].dtype;
        let wide = compute_type(dtype);
        let mut value = self.emit(updates, place)?;
        if let Some(function) = combination(op) {
            // Not hoisted: an earlier update may have changed the element.
            let old = Expr::convert(wide, dtype, Expr::Load(target, element.clone()));
            let old = Expr::Var(self.define_here("old", old));
            value = binary(function, old, value);
        }
        self.push(Stmt::Store(target, element, Expr::convert(dtype, wide, value)));
        Ok(())
    }
}

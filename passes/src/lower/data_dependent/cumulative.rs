//! Running sums, products and extremes: serial along the axis, rows in parallel.
//!
//! Along the last axis a row keeps its running value in a variable. Along another axis the rows lie side by side and
//! run in vector lanes; there the running value is the element written before, so its type must be one that is
//! computed in.

use super::super::Lowering;
use super::super::builder::KernelBuilder;
use super::super::emit::{compute_type, identity};
use super::{Lowered, binary, product, with, without};
use nnc_ir::Node;
use nnc_ir::op::ReduceOp;
use nnc_kernels::kernel::{AxisKind, Expr, Index, Stmt};
use nnc_kernels::ops::reduce_function;

impl Lowering<'_> {
    pub(super) fn lower_cumulative(
        &mut self,
        node: &Node,
        op: ReduceOp,
        axis: usize,
        exclusive: bool,
        reverse: bool,
    ) -> Lowered {
        let (x, result) = (node.inputs[0], node.outputs[0]);
        let storage = self.storage(result)?;
        let ty = self.graph.ty(x).clone();
        if ty.count().is_const(0) {
            return Ok(());
        }
        let wide = compute_type(ty.dtype);
        let function = reduce_function(op);
        let inner = product(&ty.shape[axis + 1..]);
        let side_by_side = wide == ty.dtype && !inner.is_const(1) && axis + 1 < ty.rank();
        let serial = if side_by_side { ty.shape[..axis].to_vec() } else { without(&ty.shape, axis) };

        let mut b = KernelBuilder::new(self, "cumulative");
        let row = b.parallel_over(&serial);
        let n = b.import(&ty.shape[axis]);
        let target = b.buffer(storage.buffer, &storage.offset, true);
        let place = |step: &Index| if reverse { &n - 1 - step } else { step.clone() };
        if !side_by_side {
            let running = b.mutable("running", identity(op, wide));
            b.each(&n, AxisKind::Serial, |b, step| {
                let at = with(&row, axis, &place(step));
                let value = b.emit(x, &at)?;
                let element = b.element(&storage.strides, &at);
                let next = Expr::Var(b.define_here("next", binary(function, Expr::Var(running), value)));
                let now = if exclusive { Expr::Var(running) } else { next.clone() };
                b.push(Stmt::Store(target, element, Expr::convert(ty.dtype, wide, now)));
                b.assign(running, next);
                Ok(())
            })?;
            return b.finish();
        }
        let inner = &ty.shape[axis + 1..];
        let at = |step: &Index, lanes: &[Index]| {
            let mut index = with(&row, axis, &place(step));
            index.extend_from_slice(lanes);
            index
        };
        // The first element stands for itself, as far as there is one.
        b.each(&n.min(&Index::ONE), AxisKind::Serial, |b, step| {
            let (lanes, opened) = b.open_loops(inner, AxisKind::Vector);
            let index = at(step, &lanes);
            let value = if exclusive { identity(op, wide) } else { b.emit(x, &index)? };
            let element = b.element(&storage.strides, &index);
            b.push(Stmt::Store(target, element, value));
            (0..opened).for_each(|_| b.close_loop());
            Ok(())
        })?;
        b.each(&(&n - 1), AxisKind::Serial, |b, step| {
            let next = step + 1;
            let (lanes, opened) = b.open_loops(inner, AxisKind::Vector);
            let (before, index) = (at(step, &lanes), at(&next, &lanes));
            let value = b.emit(x, if exclusive { &before } else { &index })?;
            let before = b.element(&storage.strides, &before);
            let element = b.element(&storage.strides, &index);
            b.push(Stmt::Store(target, element, binary(function, Expr::Load(target, before), value)));
            (0..opened).for_each(|_| b.close_loop());
            Ok(())
        })?;
        b.finish()
    }
}

//! Maps, reductions and row pipelines: regions without an anchor.

use super::builder::KernelBuilder;
use super::emit::compute_type;
use super::{LowerError, Lowering};
use nnc_ir::op::{Op, UnaryOp};
use nnc_ir::{Dim, ValueId};
use nnc_kernels::kernel::{AxisKind, Expr, Stmt};

impl Lowering<'_> {
    /// One kernel that computes every element of `root`.
    pub(super) fn lower_map(&mut self, root: ValueId) -> Result<(), LowerError> {
        let storage = self.storage_to_write(root)?;
        let ty = self.graph.ty(root).clone();
        let name = self.definition(root).map_or("map", |n| match n.op {
            Op::Reduce { .. } | Op::ArgReduce { .. } => "reduce",
            Op::Gather { .. } | Op::GatherElements { .. } | Op::GatherNd { .. } => "gather",
            Op::Transpose { .. } | Op::Slice { .. } | Op::Pad { .. } | Op::Reshape { .. } => "copy",
            _ => "map",
        });
        let work = self.map_work(root, &ty.count());
        let last = if self.row_reduction_inside(root) { AxisKind::Serial } else { AxisKind::Vector };
        let mut builder = KernelBuilder::new(self, name);
        builder.root = Some(root);
        let (index, opened) = builder.open_loops(&ty.shape, last);
        let value = builder.emit_definition(root, &index)?;
        let stored = Expr::convert(ty.dtype, compute_type(ty.dtype), value);
        let target = builder.buffer(storage.buffer, &storage.offset, true);
        let element = builder.element(&storage.strides, &index);
        builder.push(Stmt::Store(target, element, stored));
        for _ in 0..opened {
            builder.close_loop();
        }
        builder.finish(work)
    }

    /// Whether computing one element of `root` reduces over an operand's last axis: then lanes go along that axis.
    fn row_reduction_inside(&self, root: ValueId) -> bool {
        let rank = self.graph.ty(root).rank();
        let mut pending = vec![(root, true)];
        let mut steps = 0;
        while let Some((value, first)) = pending.pop() {
            steps += 1;
            if steps > 4096 || (!first && self.storage[value.index()].is_some()) {
                continue;
            }
            let Some(node) = self.definition(value) else { continue };
            let last_axis = match &node.op {
                Op::Reduce { axes, .. } => axes.last().copied(),
                Op::ArgReduce { axis, .. } => Some(*axis),
                _ => None,
            };
            if let Some(axis) = last_axis {
                let operand = node.inputs[0];
                // A row pipeline's reductions stand outside the loop over the row, which keeps its lanes.
                if axis + 1 == self.graph.ty(operand).rank() && self.graph.ty(value).rank() == rank {
                    return true;
                }
            }
            if !self.regions.is_stored(value) || first {
                pending.extend(node.inputs.iter().map(|&v| (v, false)));
            }
        }
        false
    }

    /// Estimated nanoseconds on one core: a quarter per element, more for transcendental functions and reductions.
    fn map_work(&self, root: ValueId, elements: &Dim) -> Dim {
        let mut weight = 1;
        let mut elements = elements.clone();
        let mut pending = vec![root];
        let mut first = true;
        let mut steps = 0;
        while let Some(value) = pending.pop() {
            steps += 1;
            if steps > 64 || (!first && self.regions.is_stored(value)) {
                continue;
            }
            first = false;
            let Some(node) = self.definition(value) else { continue };
            match &node.op {
                Op::Unary(UnaryOp::Exp | UnaryOp::Expm1 | UnaryOp::Tanh | UnaryOp::Erf | UnaryOp::Sigmoid) => {
                    weight += 4
                }
                Op::Unary(UnaryOp::Log | UnaryOp::Log1p) => weight += 4,
                Op::Reduce { .. } | Op::ArgReduce { .. } => {
                    let operand = self.graph.ty(node.inputs[0]).count();
                    if operand.as_const().unwrap_or(i64::MAX) > elements.as_const().unwrap_or(0) {
                        elements = operand;
                    }
                }
                _ => weight += 1,
            }
            pending.extend(node.inputs.iter().copied());
        }
        elements * Dim::from(weight.min(40)).floor_div(&Dim::from(4)).max(&Dim::from(1))
    }
}

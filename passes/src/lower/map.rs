//! Maps, reductions and row pipelines: regions without an anchor.

use super::builder::KernelBuilder;
use super::emit::compute_type;
use super::{LowerError, Lowering};
use nnc_ir::ValueId;
use nnc_ir::op::Op;
use nnc_kernels::kernel::{AxisKind, Expr, Stmt};

impl Lowering<'_> {
    /// One kernel that computes every element of `root`.
    pub(super) fn lower_map(&mut self, root: ValueId) -> Result<(), LowerError> {
        let storage = self.storage(root)?;
        let ty = self.graph.ty(root).clone();
        let name = self.definition(root).map_or("map", |n| match n.op {
            Op::Reduce { .. } | Op::ArgReduce { .. } => "reduce",
            Op::Gather { .. } | Op::GatherElements { .. } | Op::GatherNd { .. } => "gather",
            Op::Transpose { .. } | Op::Slice { .. } | Op::Pad { .. } | Op::Reshape { .. } => "copy",
            _ => "map",
        });
        let last = if self.row_reduction_inside(root) { AxisKind::Free } else { AxisKind::Vector };
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
        builder.finish_apart()
    }

    /// Whether computing one element of `root` reduces over an operand's last axis: then lanes go along that axis.
    fn row_reduction_inside(&self, root: ValueId) -> bool {
        let rank = self.graph.ty(root).rank();
        let mut pending = vec![(root, true)];
        let mut steps = 0;
        while let Some((value, first)) = pending.pop() {
            steps += 1;
            if steps > 4096 || (!first && self.plan.layout.storage(value).is_some()) {
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
            if !self.plan.regions.is_stored(value) || first {
                pending.extend(node.inputs.iter().map(|&v| (v, false)));
            }
        }
        false
    }
}

//! Index checks: a step that proves a gather's indices in range before any kernel uses them as addresses.

use super::builder::KernelBuilder;
use super::{LowerError, Lowering};
use nnc_ir::op::{BinaryOp, Op};
use nnc_ir::{Dim, ValueId};
use nnc_kernels::kernel::{AxisKind, Expr, Index, Stmt};

/// The status of `nnc-abi` for an index out of range.
const BAD_INDEX: i32 = nnc_abi::Status::BadIndex as i32;

impl Lowering<'_> {
    /// Adds checks for every gather inlined into the region of `root`.
    pub(super) fn check_indices(&mut self, root: ValueId) -> Result<(), LowerError> {
        let mut pending = vec![(root, true)];
        let mut seen = rustc_hash::FxHashSet::default();
        while let Some((value, first)) = pending.pop() {
            if !seen.insert(value) || (!first && self.storage[value.index()].is_some()) {
                continue;
            }
            let Some(id) = self.definitions[value.index()] else { continue };
            let node = &self.graph.nodes[id.index()];
            pending.extend(node.inputs.iter().map(|&v| (v, false)));
            let data = || self.graph.shape(node.inputs[0]);
            let sizes: Vec<Dim> = match &node.op {
                Op::Gather { axis, .. } | Op::GatherElements { axis } => vec![data()[*axis].clone()],
                Op::GatherNd { batch } => {
                    let indices = self.graph.ty(node.inputs[1]);
                    let depth = indices.shape.last().and_then(Dim::as_const).unwrap_or(0) as usize;
                    data()[*batch..batch + depth].to_vec()
                }
                _ => continue,
            };
            let last_holds_coordinates = matches!(node.op, Op::GatherNd { .. });
            self.check_range(node.inputs[1], &sizes, last_holds_coordinates)?;
        }
        Ok(())
    }

    /// Fails the run when an element of `indices` is outside its axis. With `coordinates` the last axis of `indices`
    /// goes with `sizes`, otherwise every element has the one size.
    pub(super) fn check_range(&mut self, indices: ValueId, sizes: &[Dim], coordinates: bool) -> Result<(), LowerError> {
        if !self.checked.insert((indices, sizes.to_vec())) || self.constant_in_range(indices, sizes, coordinates) {
            return Ok(());
        }
        let ty = self.graph.ty(indices).clone();
        let outer = if coordinates { ty.rank() - 1 } else { ty.rank() };
        let mut b = KernelBuilder::new(self, "check");
        let (index, opened) = b.open_loops(&ty.shape[..outer], AxisKind::Free);
        for (k, size) in sizes.iter().enumerate() {
            let mut at = index.clone();
            if coordinates {
                at.push(Index::from(k as i64));
            }
            let value = b.emit(indices, &at)?;
            let value = match value {
                Expr::Var(_) => value,
                other => Expr::Var(b.define("at", other)),
            };
            let size = b.import(size);
            let low = Expr::binary(BinaryOp::Lt, value.clone(), Expr::Index(Index::ZERO));
            let high = Expr::binary(BinaryOp::Ge, value, Expr::Index(size));
            let outside = Expr::binary(BinaryOp::Or, low, high);
            b.push(Stmt::If(outside, vec![Stmt::Fail(BAD_INDEX)], vec![]));
        }
        for _ in 0..opened {
            b.close_loop();
        }
        b.finish()
    }

    /// Whether a constant index tensor is known to be in range.
    fn constant_in_range(&self, indices: ValueId, sizes: &[Dim], coordinates: bool) -> bool {
        let Some(node) = self.definition(indices) else { return false };
        match &node.op {
            Op::Constant(id) => {
                let Some(values) = self.graph.consts.get(*id).to_i64s() else { return false };
                values.iter().enumerate().all(|(i, &v)| {
                    let size = if coordinates { &sizes[i % sizes.len().max(1)] } else { &sizes[0] };
                    v >= 0 && size.bounds(&self.graph.dims).0 > v
                })
            }
            Op::Iota { shape, axis, .. } => !coordinates && sizes[0] == shape[*axis],
            Op::Broadcast { .. } | Op::Reshape { .. } | Op::Transpose { .. } | Op::Slice { .. } if !coordinates => {
                self.constant_in_range(node.inputs[0], sizes, coordinates)
            }
            _ => false,
        }
    }
}

//! Non-maximum suppression: per batch and class the boxes by falling score, but none that overlaps a better one.
//!
//! Three kernels: corners and areas of all boxes; in parallel over batches and classes the selection; and the
//! selections one after the other. Candidates are taken from a heap, so that a class is sorted only as far as it is
//! looked at. What is selected lies behind the heap, in slots that taking candidates out of it has freed. Which of the
//! boxes kept so far a candidate may overlap is for `stripes` to say.
//!
//! Areas and overlaps are computed in `f32`, operation by operation as ONNX Runtime and the reference interpreter do:
//! all decide alike.
//!
//! Source: ONNX NonMaxSuppression, <https://onnx.ai/onnx/operators/onnx__NonMaxSuppression.html>.

use super::super::builder::KernelBuilder;
use super::super::{LowerError, Lowering};
use super::heap::{Heap, Order, before};
use super::stripes::{BLOCK, PARTS, Stripes, most_blocks};
use super::{Lowered, binary, boolean, less, product};
use nnc_ir::op::BinaryOp;
use nnc_ir::{DType, Dim, Node, Op, Symbol, ValueId};
use nnc_kernels::kernel::{AxisKind, Expr, Index, Stmt};
use nnc_kernels::plan::{Argument, BufferId};

/// Memory that the kernels share.
struct Lists {
    /// `f32[batch, PARTS, n]`.
    boxes: BufferId,
    /// `i64[batch, class, n]`: heaps, and selections from the end.
    slots: BufferId,
    /// `i64[batch, class]`: sizes of the selections.
    counts: BufferId,
    /// `f32[batch, class, blocks, PARTS, BLOCK]`: the boxes kept.
    kept: BufferId,
    /// `i64[batch, class, blocks]`: for each block the one that its stripe goes on with.
    next: BufferId,
    /// The most blocks of a list.
    blocks: Dim,
    /// Sizes of the scores: batches, classes, boxes.
    shape: Vec<Dim>,
}

impl Lowering<'_> {
    pub(super) fn lower_non_max_suppression(&mut self, node: &Node, center: bool, count: Symbol) -> Lowered {
        let [boxes, scores] = [node.inputs[0], node.inputs[1]];
        let result = node.outputs[0];
        let storage = self.storage(result)?;
        let shape = self.graph.shape(scores).to_vec();
        let capacity = self.capacity(count, &product(&shape))?;
        let all_boxes = [shape[0].clone(), shape[2].clone()];
        let blocks = most_blocks(&self.most_kept(node.inputs[2], &shape[2]));
        let all_blocks = product(&shape[..2]) * &blocks;
        let lists = Lists {
            boxes: self.add_workspace(format!("{boxes}_corners"), DType::F32, &(product(&all_boxes) * PARTS))?,
            slots: self.add_workspace(format!("{result}_lists"), DType::I64, &product(&shape))?,
            counts: self.add_workspace(format!("{result}_counts"), DType::I64, &product(&shape[..2]))?,
            kept: self.add_workspace(format!("{result}_kept"), DType::F32, &(&all_blocks * (PARTS * BLOCK)))?,
            next: self.add_workspace(format!("{result}_next"), DType::I64, &all_blocks)?,
            blocks,
            shape,
        };
        let cell = self.cell("count", DType::I64)?;
        // Without a box or class there is nothing to index; the counts of empty lists are written all the same.
        if !product(&all_boxes).is_const(0) {
            self.find_corners(boxes, center, &all_boxes, lists.boxes)?;
        }
        if !product(&lists.shape[..2]).is_const(0) {
            self.select_boxes(node, &lists)?;
        }

        let mut b = KernelBuilder::new(self, "join_selections");
        let (slots, counts) = (b.buffer(lists.slots, &Dim::ZERO, false), b.buffer(lists.counts, &Dim::ZERO, false));
        let target = b.buffer(storage.buffer, &storage.offset, true);
        let [classes, n] = [b.import(&lists.shape[1]), b.import(&lists.shape[2])];
        let found = b.counter("found", Index::ZERO);
        b.nest(&lists.shape[..2], |b, at| {
            let list = &at[0] * &classes + &at[1];
            let size = b.freeze("size", Expr::Load(counts, list.clone()), &(&n + 1));
            b.each(&size, AxisKind::Serial, |b, i| {
                b.check_capacity(found, capacity.as_ref());
                let slot = &list * &n + &n - 1 - i;
                let picked = Expr::Load(slots, slot);
                let row = [Expr::Index(at[0].clone()), Expr::Index(at[1].clone()), picked];
                for (column, value) in row.into_iter().enumerate() {
                    let element = b.element(&storage.strides, &[found.index(), Index::from(column as i64)]);
                    b.push(Stmt::Store(target, element, value));
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

    /// How many boxes of a class are kept at most, of `n`.
    fn most_kept(&self, limit: ValueId, n: &Dim) -> Dim {
        let constant = match self.definition(limit).map(|node| &node.op) {
            Some(Op::Constant(id)) => self.graph.consts.get(*id).to_i64s(),
            _ => None,
        };
        match constant.as_deref() {
            Some(&[limit]) => n.min(&Dim::from(limit.max(0))),
            _ => n.clone(),
        }
    }

    /// Corners and areas of all boxes.
    fn find_corners(&mut self, boxes: ValueId, center: bool, shape: &[Dim], corners: BufferId) -> Lowered {
        let mut b = KernelBuilder::new(self, "box_corners");
        let at = b.parallel_over(shape);
        let n = b.import(&shape[1]);
        let mut numbers = vec![];
        for i in 0..4 {
            let number = b.emit(boxes, &[at[0].clone(), at[1].clone(), Index::from(i)])?;
            numbers.push(Expr::Var(b.define_here("corner", number)));
        }
        let pair = |first: &Expr, second: &Expr| {
            if center {
                let half = binary(BinaryOp::Div, second.clone(), Expr::constant(DType::F32, 2.0));
                let low = binary(BinaryOp::Sub, first.clone(), half.clone());
                (low, binary(BinaryOp::Add, first.clone(), half))
            } else {
                let low = binary(BinaryOp::Min, first.clone(), second.clone());
                (low, binary(BinaryOp::Max, first.clone(), second.clone()))
            }
        };
        // Corners come as (y, x, y, x), centers as (x, y) before (width, height).
        let (y, x) = if center {
            (pair(&numbers[1], &numbers[3]), pair(&numbers[0], &numbers[2]))
        } else {
            (pair(&numbers[0], &numbers[2]), pair(&numbers[1], &numbers[3]))
        };
        let parts = [y.0, x.0, y.1, x.1].map(|part| Expr::Var(b.define_here("part", part)));
        let side = |high: usize, low: usize| binary(BinaryOp::Sub, parts[high].clone(), parts[low].clone());
        let area = binary(BinaryOp::Mul, side(2, 0), side(3, 1));
        let target = b.buffer(corners, &Dim::ZERO, true);
        for (i, part) in parts.into_iter().chain([area]).enumerate() {
            b.push(Stmt::Store(target, (&at[0] * PARTS + i as i64) * &n + &at[1], part));
        }
        b.finish()
    }

    /// Selects boxes of each batch and class.
    fn select_boxes(&mut self, node: &Node, lists: &Lists) -> Lowered {
        let &[_, scores, limit, overlap, threshold] = node.inputs.as_slice() else {
            return Err(self.error("suppression takes five operands"));
        };
        let mut b = KernelBuilder::new(self, "suppress");
        let at = b.parallel_over(&lists.shape[..2]);
        let [classes, n] = [b.import(&lists.shape[1]), b.import(&lists.shape[2])];
        // Named once: as an expression of many symbols it would be computed for every pair of boxes.
        let n = b.freeze("boxes", Expr::Index(n.clone()), &(&n + 1));
        let list = &at[0] * &classes + &at[1];
        let limit = b.emit(limit, &[])?;
        let limit = Expr::Var(b.define_here("limit", limit));
        let overlap = b.emit(overlap, &[])?;
        let overlap = Expr::Var(b.define_here("overlap", overlap));
        let threshold = b.emit(threshold, &[])?;
        let threshold = Expr::Var(b.define_here("threshold", threshold));
        let corners = b.buffer(lists.boxes, &Dim::ZERO, false);
        let slots = b.buffer(lists.slots, &Dim::ZERO, true);
        let score =
            |b: &mut KernelBuilder<'_, '_>, i: &Index| b.emit(scores, &[at[0].clone(), at[1].clone(), i.clone()]);
        // The root is the best candidate left.
        let better = |b: &mut KernelBuilder<'_, '_>, i: &Index, j: &Index| -> Result<Expr, LowerError> {
            let (at_i, at_j) = (score(b, i)?, score(b, j)?);
            Ok(before(b, Order::Descending, (i, at_i), (j, at_j)))
        };
        let base = &list * &n;
        let heap = Heap { buffer: slots, base, stride: Index::ONE, bound: n.clone(), above: &better };
        let candidates = b.counter("candidates", Index::ZERO);
        b.each(&n, AxisKind::Serial, |b, i| {
            let score = score(b, i)?;
            b.when(binary(BinaryOp::Gt, score, threshold), |b| {
                heap.write(b, &candidates.index(), i);
                b.increment(candidates);
                Ok(())
            })
        })?;
        let past = &n + 1;
        let size = b.freeze("size", Expr::Var(candidates), &past);
        heap.build(&mut b, &size)?;
        let blocks = b.import(&lists.blocks);
        let blocks = b.freeze("blocks", Expr::Index(blocks.clone()), &(&blocks + 1));
        let lefts = |i: &Index| Expr::Load(corners, (&at[0] * PARTS + 1) * &n + i);
        let buffers = [b.buffer(lists.kept, &Dim::ZERO, true), b.buffer(lists.next, &Dim::ZERO, true)];
        let stripes = Stripes::new(&mut b, buffers, &list * &blocks, &blocks, (&n, &lefts));
        let kept = b.counter("kept", Index::ZERO);
        let some = less(&Index::ZERO, &candidates.index());
        let more = binary(BinaryOp::And, some, binary(BinaryOp::Lt, Expr::Var(kept), limit));
        b.repeat(more, |b| {
            let best = heap.read(b, &Index::ZERO);
            let left = b.freeze("left", Expr::Index(candidates.index() - 1), &n);
            b.assign(candidates, Expr::Index(left.clone()));
            let last = heap.read(b, &left);
            heap.sift(b, &Index::ZERO, &left, &last)?;
            let own = (0..PARTS).map(|part| Expr::Load(corners, (&at[0] * PARTS + part) * &n + &best));
            let own: Vec<Expr> = own.map(|part| Expr::Var(b.define_here("part", part))).collect();
            let free = b.mutable("free", boolean(true));
            // Boxes without area overlap nothing.
            let solid = binary(BinaryOp::Gt, own[4].clone(), Expr::constant(DType::F32, 0.0));
            b.when(solid.clone(), |b| stripes.search(b, &own, &overlap, free))?;
            b.when(Expr::Var(free), |b| {
                heap.write(b, &(&n - 1 - &kept.index()), &best);
                b.increment(kept);
                b.when(solid, |b| stripes.add(b, &own))
            })
        })?;
        let counts = b.buffer(lists.counts, &Dim::ZERO, true);
        b.push(Stmt::Store(counts, list, Expr::Var(kept)));
        b.finish()
    }
}

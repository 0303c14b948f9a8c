//! Taps of a dilated window that read nothing but border are left out of the sum.
//!
//! A window whose elements are far apart reads mostly border where the image is small, as in the pyramids of DeepLab: of
//! three rows of taps one is left where the dilation is as large as the image. Which taps a block of rows needs is
//! found from its position by comparisons, a contraction standing for each answer; what the sizes decide is decided when
//! the model is compiled.
//!
//! Invariant: a tap that is left out would have added products of zeros with finite weights.

use super::LowerError;
use super::block::Block;
use super::builder::KernelBuilder;
use super::problem::At;
use crate::choose::problem::{Problem, Reach};
use nnc_ir::op::BinaryOp;
use nnc_kernels::contraction::RightLayout;
use nnc_kernels::kernel::{Expr, Index, Stmt};

/// What a tap axis reads of an image in one block of rows.
pub(super) struct Seen {
    /// Where the first and the last row of the block are, in the image's elements.
    first: Index,
    last: Index,
    /// Elements between taps.
    dilation: i64,
    /// Elements of border before the image.
    border: i64,
    /// Elements of the image, and of the border before it.
    end: Index,
    /// The tap that is always in the image.
    center: i64,
}

impl Seen {
    /// Whether all that taps up to `tap` read lies before the image.
    fn before(&self, tap: i64) -> [Index; 2] {
        [&self.last + (tap * self.dilation + 1), Index::from(self.border)]
    }

    /// Whether all that taps from `tap` on read lies behind the image.
    fn behind(&self, tap: i64) -> [Index; 2] {
        [self.end.clone(), &self.first + tap * self.dilation]
    }
}

/// Makes the contraction of a block.
type Emit<'a> = dyn FnMut(&mut KernelBuilder<'_, '_>, &Block) -> Result<(), LowerError> + 'a;

impl KernelBuilder<'_, '_> {
    /// What each tap axis of a problem reads in one block: rows in all, the number of the block, and rows in one.
    pub(super) fn seen(&mut self, problem: &Problem, at: &At, rows: &(Index, Index, Index)) -> Vec<Option<Seen>> {
        let seen = |reach: &Reach| {
            let (total, block, size) = rows;
            let [first, last] = match reach.outer {
                Some(axis) => [at.outer[axis].clone(), at.outer[axis].clone()],
                None => [block * size, ((block + 1) * size).min(total) - 1],
            };
            let end = self.import(&reach.size) + reach.border;
            let (first, last) = (first * reach.step, last * reach.step);
            Seen { first, last, dilation: reach.dilation, border: reach.border, end, center: reach.center }
        };
        let mut seen = seen;
        problem.reaches.iter().map(|reach| reach.as_ref().map(&mut seen)).collect()
    }

    /// Emits a block's contraction over the taps from `axis` inwards, and further out only over one of each.
    pub(super) fn near_taps(
        &mut self,
        seen: &[Option<Seen>],
        axis: usize,
        block: Block,
        emit: &mut Emit<'_>,
    ) -> Result<(), LowerError> {
        // Where each tap of a panel has zero points or scales of its own, they are found by its number.
        let by_number = block.right.grid.as_ref().is_some_and(|grid| grid.per_tap);
        let whole = block.right.layout == RightLayout::Panel && !by_number;
        let Some(Some(reach)) = seen.get(axis).filter(|_| whole) else {
            return emit(self, &block);
        };
        self.without_first(seen, axis, (reach, reach.center), &block, emit)
    }

    /// Leaves out the taps before `from`, if they read nothing but border, or else fewer.
    fn without_first(
        &mut self,
        seen: &[Option<Seen>],
        axis: usize,
        (reach, from): (&Seen, i64),
        block: &Block,
        emit: &mut Emit<'_>,
    ) -> Result<(), LowerError> {
        let count = block.taps[0].count as i64;
        if from == 0 {
            return self.without_last(seen, axis, (reach, 0, reach.center + 1), block, emit);
        }
        self.at_most(reach.before(from - 1), &mut |b, left_out| match left_out {
            true => b.without_last(seen, axis, (reach, from, (reach.center + 1).min(count)), block, emit),
            false => b.without_first(seen, axis, (reach, from - 1), block, emit),
        })
    }

    /// Leaves out the taps from `to` on, if they read nothing but border, or else fewer.
    fn without_last(
        &mut self,
        seen: &[Option<Seen>],
        axis: usize,
        (reach, from, to): (&Seen, i64, i64),
        block: &Block,
        emit: &mut Emit<'_>,
    ) -> Result<(), LowerError> {
        if to < block.taps[0].count as i64 {
            return self.at_most(reach.behind(to), &mut |b, left_out| match left_out {
                true => b.with_taps(seen, axis, (from, to), block, emit),
                false => b.without_last(seen, axis, (reach, from, to + 1), block, emit),
            });
        }
        self.with_taps(seen, axis, (from, to), block, emit)
    }

    /// Emits a block over some of its outermost taps.
    fn with_taps(
        &mut self,
        seen: &[Option<Seen>],
        axis: usize,
        (from, to): (i64, i64),
        block: &Block,
        emit: &mut Emit<'_>,
    ) -> Result<(), LowerError> {
        let mut part = block.clone();
        let inner = block.taps[1..].iter().fold(block.k.clone(), |n, tap| n * tap.count as i64);
        part.right.offset = &block.right.offset + &(inner * (from * block.tile.width as i64));
        part.left.offset = &block.left.offset + &(&block.taps[0].stride * from);
        if to - from == 1 {
            part.taps.remove(0);
            return self.near_taps(seen, axis + 1, part, emit);
        }
        part.taps[0].count = (to - from) as usize;
        emit(self, &part)
    }

    /// A body for `low <= high` and one for the opposite; only one where that is known.
    fn at_most(
        &mut self,
        [low, high]: [Index; 2],
        body: &mut dyn FnMut(&mut Self, bool) -> Result<(), LowerError>,
    ) -> Result<(), LowerError> {
        if high.provably_ge(&low, &self.ranges) {
            return body(self, true);
        }
        if low.provably_ge(&(&high + 1), &self.ranges) {
            return body(self, false);
        }
        self.open_scope(false);
        body(self, true)?;
        let then = self.close_scope();
        self.open_scope(false);
        body(self, false)?;
        let otherwise = self.close_scope();
        let holds = Expr::binary(BinaryOp::Le, Expr::Index(low), Expr::Index(high));
        self.push(Stmt::If(holds, then, otherwise));
        Ok(())
    }
}

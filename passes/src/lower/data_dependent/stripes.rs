//! Boxes kept by a suppression, so arranged that a candidate is compared with those near it.
//!
//! The extent of the boxes' left sides is cut into stripes, and of each stripe it is known what rectangle its kept boxes
//! lie in. A candidate looks at the stripes whose rectangle meets it; vector lanes test many stripes at once, and then
//! many boxes. The boxes of a stripe lie in blocks, chained from the youngest to the oldest; what a block does
//! not use yet are boxes that meet nothing.
//!
//! That a stripe is left out never changes a result: a box that overlaps another has a point inside of both. A box whose
//! area is not positive overlaps none; such boxes do not come here, and so none with a coordinate that is NaN. Whichever
//! stripe a box comes to is right, so an overflow on the way there merely makes a stripe longer.
//!
//! Source: the idea of a grid of cells with their bounds, e.g. J. L. Bentley and J. H. Friedman, "Data Structures for
//! Range Searching", Computing Surveys 11(4), 1979.

use super::super::builder::KernelBuilder;
use super::{Lowered, binary, boolean, less};
use nnc_ir::op::{BinaryOp, ReduceOp, UnaryOp};
use nnc_ir::{DType, Dim};
use nnc_kernels::Var;
use nnc_kernels::kernel::{Accumulator, AxisKind, BufferRef, Expr, Index, Stmt};

/// Numbers kept of each box: low y, low x, high y, high x, area.
pub(super) const PARTS: i64 = 5;

/// Boxes in a block.
pub(super) const BLOCK: i64 = 16;

/// Stripes of a list.
const STRIPES: i64 = 128;

/// Stripes tested at once.
const GROUP: i64 = 16;

/// The most blocks that `most` boxes take: each stripe that is used has one block that is not full.
pub(super) fn most_blocks(most: &Dim) -> Dim {
    most.floor_div(&Dim::from(BLOCK)) + most.min(&Dim::from(STRIPES))
}

/// The boxes kept of one list.
pub(super) struct Stripes {
    /// `f32[blocks, PARTS, BLOCK]` from `first * PARTS * BLOCK` on.
    boxes: BufferRef,
    /// `i64[blocks]` from `first` on: the older block of the same stripe.
    next: BufferRef,
    /// The first block of the list.
    first: Index,
    /// Blocks are below this.
    bound: Index,
    /// `f32[4, STRIPES]`: the rectangle around each stripe's boxes: low y, low x, high y, high x.
    around: BufferRef,
    /// `i64[STRIPES]`: the youngest block of each stripe.
    head: BufferRef,
    /// `i64[STRIPES]`: boxes in each stripe.
    sizes: BufferRef,
    /// Blocks in use.
    used: Var,
    /// Where the first stripe begins.
    left: Expr,
    /// Stripes in a unit of length.
    scale: Expr,
}

fn constant(value: f64) -> Expr {
    Expr::constant(DType::F32, value)
}

fn all(conditions: impl IntoIterator<Item = Expr>) -> Expr {
    conditions.into_iter().reduce(|x, y| binary(BinaryOp::And, x, y)).unwrap_or_else(|| boolean(true))
}

/// What nothing meets: low coordinates above all others, high ones below.
fn nowhere(part: i64) -> Expr {
    constant([f64::INFINITY, f64::INFINITY, f64::NEG_INFINITY, f64::NEG_INFINITY, 0.0][part as usize])
}

impl Stripes {
    /// No boxes yet. `boxes` and `next` are the memory for them; `candidates` are how many boxes there are, and the left
    /// side of each.
    pub fn new(
        b: &mut KernelBuilder<'_, '_>,
        [boxes, next]: [BufferRef; 2],
        first: Index,
        bound: &Index,
        (count, lefts): (&Index, &dyn Fn(&Index) -> Expr),
    ) -> Stripes {
        let [left, right] = b.extremes(count, lefts);
        let width = binary(BinaryOp::Sub, right, left.clone());
        let scale = b.define_here("scale", binary(BinaryOp::Div, constant(STRIPES as f64), width));
        let stripes = STRIPES as usize;
        let around = b.scratch(DType::F32, 4 * stripes);
        let [head, sizes] = [(); 2].map(|()| b.scratch(DType::I64, stripes));
        let i = b.open_loop("stripe", &Index::from(STRIPES), AxisKind::Vector);
        for part in 0..4 {
            b.push(Stmt::Store(around, &i + part * STRIPES, nowhere(part)));
        }
        b.close_loop();
        let i = b.open_loop("stripe", &Index::from(STRIPES), AxisKind::Vector);
        for buffer in [head, sizes] {
            b.push(Stmt::Store(buffer, i.clone(), Expr::constant(DType::I64, 0.0)));
        }
        b.close_loop();
        let used = b.counter("used", Index::ZERO);
        let (bound, scale) = (bound.clone(), Expr::Var(scale));
        Stripes { boxes, next, first, bound, around, head, sizes, used, left, scale }
    }

    /// Makes `free` false if a kept box overlaps the one with these parts, whose area is positive, by more than `limit`.
    pub fn search(&self, b: &mut KernelBuilder<'_, '_>, own: &[Expr], limit: &Expr, free: Var) -> Lowered {
        let group = b.counter("group", Index::ZERO);
        let searching = all([Expr::Var(free), less(&group.index(), &Index::from(STRIPES / GROUP))]);
        b.repeat(searching, |b| {
            let first = b.freeze("first", Expr::Index(group.index() * GROUP), &Index::from(STRIPES - GROUP + 1));
            b.increment(group);
            let some = b.any_lane(GROUP, |_, i| self.meets(&(&first + i), own));
            b.when(some, |b| {
                let member = b.counter("member", Index::ZERO);
                let searching = all([Expr::Var(free), less(&member.index(), &Index::from(GROUP))]);
                b.repeat(searching, |b| {
                    let stripe = b.freeze("stripe", Expr::Index(&first + member.index()), &Index::from(STRIPES));
                    b.increment(member);
                    b.when(self.meets(&stripe, own), |b| self.search_stripe(b, &stripe, own, limit, free))
                })
            })
        })
    }

    /// Whether the rectangle around a stripe's boxes has a point inside of a box.
    fn meets(&self, stripe: &Index, own: &[Expr]) -> Expr {
        let side = |part: i64| Expr::Load(self.around, stripe + part * STRIPES);
        all((0..2).flat_map(|axis| {
            let below = binary(BinaryOp::Lt, side(axis), own[axis as usize + 2].clone());
            [below, binary(BinaryOp::Gt, side(axis + 2), own[axis as usize].clone())]
        }))
    }

    fn search_stripe(
        &self,
        b: &mut KernelBuilder<'_, '_>,
        stripe: &Index,
        own: &[Expr],
        limit: &Expr,
        free: Var,
    ) -> Lowered {
        let block = b.counter("block", Index::ZERO);
        b.assign(block, Expr::Load(self.head, stripe.clone()));
        let left = b.counter("left", Index::ZERO);
        let size = b.freeze("size", Expr::Load(self.sizes, stripe.clone()), &Index::from(super::UNBOUNDED - BLOCK));
        b.assign(left, Expr::Index((size + (BLOCK - 1)).floor_div(&Index::from(BLOCK))));
        let searching = all([Expr::Var(free), less(&Index::ZERO, &left.index())]);
        b.repeat(searching, |b| {
            let here = b.freeze("here", Expr::Var(block), &self.bound);
            b.assign(left, Expr::Index(left.index() - 1));
            b.assign(block, Expr::Load(self.next, &self.first + &here));
            let some = b.any_lane(BLOCK, |b, lane| {
                let parts = (0..PARTS).map(|part| self.part(&here, part, lane));
                let parts: Vec<Expr> = parts.map(|part| Expr::Var(b.define_here("part", part))).collect();
                b.overlaps(own, &parts, limit)
            });
            b.assign(free, Expr::unary(UnaryOp::Not, some));
            Ok(())
        })
    }

    fn part_at(&self, block: &Index, part: i64, lane: &Index) -> Index {
        ((&self.first + block) * PARTS + part) * BLOCK + lane
    }

    fn part(&self, block: &Index, part: i64, lane: &Index) -> Expr {
        Expr::Load(self.boxes, self.part_at(block, part, lane))
    }

    /// Adds a box whose area is positive.
    pub fn add(&self, b: &mut KernelBuilder<'_, '_>, own: &[Expr]) -> Lowered {
        let distance = binary(BinaryOp::Sub, own[1].clone(), self.left.clone());
        let stripe = Expr::Convert(DType::I64, Box::new(binary(BinaryOp::Mul, distance, self.scale.clone())));
        let stripe = binary(BinaryOp::Min, stripe, Expr::constant(DType::I64, (STRIPES - 1) as f64));
        let stripe = binary(BinaryOp::Max, stripe, Expr::constant(DType::I64, 0.0));
        let stripe = b.freeze("stripe", stripe, &Index::from(STRIPES));
        let size = Expr::Load(self.sizes, stripe.clone());
        let size = b.freeze("size", size, &Index::from(super::UNBOUNDED - BLOCK));
        let lane = &size - size.floor_div(&Index::from(BLOCK)) * BLOCK;
        let lane = b.freeze("lane", Expr::Index(lane), &Index::from(BLOCK));
        let full = binary(BinaryOp::Eq, Expr::Index(lane.clone()), Expr::Index(Index::ZERO));
        b.when(full, |b| {
            self.open_block(b, &stripe);
            Ok(())
        })?;
        let block = b.freeze("block", Expr::Load(self.head, stripe.clone()), &self.bound);
        for (part, value) in own.iter().enumerate() {
            b.push(Stmt::Store(self.boxes, self.part_at(&block, part as i64, &lane), value.clone()));
        }
        b.push(Stmt::Store(self.sizes, stripe.clone(), Expr::Index(size + 1)));
        for (part, value) in own[..4].iter().enumerate() {
            let at = &stripe + part as i64 * STRIPES;
            let old = Expr::Var(b.define_here("old", Expr::Load(self.around, at.clone())));
            let wider = binary(if part < 2 { BinaryOp::Lt } else { BinaryOp::Gt }, value.clone(), old.clone());
            b.push(Stmt::Store(self.around, at, Expr::select(wider, value.clone(), old)));
        }
        Ok(())
    }

    /// Puts an empty block before the others of a stripe.
    fn open_block(&self, b: &mut KernelBuilder<'_, '_>, stripe: &Index) {
        let block = b.freeze("block", Expr::Var(self.used), &self.bound);
        b.increment(self.used);
        b.push(Stmt::Store(self.next, &self.first + &block, Expr::Load(self.head, stripe.clone())));
        b.push(Stmt::Store(self.head, stripe.clone(), Expr::Index(block.clone())));
        let lane = b.open_loop("lane", &Index::from(BLOCK), AxisKind::Vector);
        for part in 0..PARTS {
            b.push(Stmt::Store(self.boxes, self.part_at(&block, part, &lane), nowhere(part)));
        }
        b.close_loop();
    }
}

impl KernelBuilder<'_, '_> {
    /// The least and the greatest of `count` numbers.
    fn extremes(&mut self, count: &Index, number: &dyn Fn(&Index) -> Expr) -> [Expr; 2] {
        let i = self.open_loop("i", count, AxisKind::Vector);
        let value = Expr::Var(self.define_here("value", number(&i)));
        let level = self.level() - 1;
        let ops = [(ReduceOp::Min, f64::INFINITY), (ReduceOp::Max, f64::NEG_INFINITY)];
        let accumulators = ops.map(|(op, init)| {
            let var = self.accumulator(DType::F32, level);
            Accumulator { var, op, init: constant(init), value: value.clone() }
        });
        let results = [&accumulators[0], &accumulators[1]].map(|a| Expr::Var(a.var));
        self.close_reduce(accumulators.into());
        results
    }

    /// Whether a condition holds in any of some lanes.
    fn any_lane(&mut self, lanes: i64, condition: impl FnOnce(&mut Self, &Index) -> Expr) -> Expr {
        let lane = self.open_loop("lane", &Index::from(lanes), AxisKind::Vector);
        let value = condition(self, &lane);
        let level = self.level() - 1;
        let var = self.accumulator(DType::Bool, level);
        self.close_reduce(vec![Accumulator { var, op: ReduceOp::Max, init: boolean(false), value }]);
        Expr::Var(var)
    }

    /// Whether intersection over union exceeds the limit, of boxes with area.
    fn overlaps(&mut self, x: &[Expr], y: &[Expr], limit: &Expr) -> Expr {
        // No NaN is among them, so that one comparison chooses.
        let choose = |x: &Expr, y: &Expr, [if_less, otherwise]: [&Expr; 2]| {
            Expr::select(binary(BinaryOp::Lt, x.clone(), y.clone()), if_less.clone(), otherwise.clone())
        };
        let [height, width] = [0, 1].map(|axis| {
            let (x_low, y_low, x_high, y_high) = (&x[axis], &y[axis], &x[axis + 2], &y[axis + 2]);
            let high = choose(x_high, y_high, [x_high, y_high]);
            let low = choose(x_low, y_low, [y_low, x_low]);
            Expr::Var(self.define_here("side", binary(BinaryOp::Sub, high, low)))
        });
        let common = binary(BinaryOp::Mul, height.clone(), width.clone());
        let common = Expr::Var(self.define_here("common", common));
        let both = binary(BinaryOp::Add, x[4].clone(), y[4].clone());
        let union = Expr::Var(self.define_here("union", binary(BinaryOp::Sub, both, common.clone())));
        let exceeds = binary(BinaryOp::Gt, binary(BinaryOp::Div, common, union.clone()), limit.clone());
        let positive = |x: &Expr| binary(BinaryOp::Gt, x.clone(), constant(0.0));
        all([exceeds].into_iter().chain([&height, &width, &union].map(positive)))
    }
}

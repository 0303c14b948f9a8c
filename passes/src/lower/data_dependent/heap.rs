//! Heaps of indices, in memory: the one sorting algorithm of the kernels.
//!
//! A heap holds indices of elements; a comparison that never calls two indices equal (ties go by index) makes every
//! result unique, so that heap order loses nothing to a stable sort. Selecting `k` of `n` takes O(n log k) steps, a
//! full sort O(n log n), both without memory besides the result.
//!
//! Order of elements: NaNs are equal and above everything, and -0 equals 0.
//!
//! Source: J. W. J. Williams, "Algorithm 232: Heapsort", CACM 7(6), 1964; bottom-up construction by R. W. Floyd,
//! "Algorithm 245: Treesort 3", CACM 7(12), 1964.

use super::super::LowerError;
use super::super::builder::KernelBuilder;
use super::{Lowered, binary, boolean, less};
use nnc_ir::op::{BinaryOp, UnaryOp};
use nnc_kernels::kernel::{AxisKind, BufferRef, Expr, Index, Stmt};

/// A comparison of two elements by their indices: whether the first belongs nearer to the root.
pub(super) type Above<'f> = &'f dyn Fn(&mut KernelBuilder<'_, '_>, &Index, &Index) -> Result<Expr, LowerError>;

/// A heap.
#[derive(Clone)]
pub(super) struct Heap<'f> {
    /// Where its slots are.
    pub buffer: BufferRef,
    /// Element of slot 0.
    pub base: Index,
    /// Elements between slots.
    pub stride: Index,
    /// The indices it holds are below this.
    pub bound: Index,
    /// The order.
    pub above: Above<'f>,
}

/// Which element comes first, of those that two indices name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Ascending,
    Descending,
}

/// Whether `x` is less than `y`.
pub(super) fn below(b: &KernelBuilder<'_, '_>, x: &Expr, y: &Expr) -> Expr {
    let plain = binary(BinaryOp::Lt, x.clone(), y.clone());
    if !b.kernel.dtype(x).is_float() {
        return plain;
    }
    let is_nan = |e: &Expr| Expr::unary(UnaryOp::IsNan, e.clone());
    let number = Expr::unary(UnaryOp::Not, is_nan(x));
    binary(BinaryOp::Or, plain, binary(BinaryOp::And, is_nan(y), number))
}

/// Whether element `i` of value `x` comes before element `j` of value `y`; ties go by index.
pub(super) fn before(b: &mut KernelBuilder<'_, '_>, order: Order, i: (&Index, Expr), j: (&Index, Expr)) -> Expr {
    // Named, for each is compared several times.
    let (x, y) = (Expr::Var(b.define_here("x", i.1)), Expr::Var(b.define_here("y", j.1)));
    let (low, high) = match order {
        Order::Ascending => (&x, &y),
        Order::Descending => (&y, &x),
    };
    let tie = Expr::unary(UnaryOp::Not, below(b, high, low));
    binary(BinaryOp::Or, below(b, low, high), binary(BinaryOp::And, tie, less(i.0, j.0)))
}

impl Heap<'_> {
    /// The element of a slot.
    pub fn slot(&self, position: &Index) -> Index {
        &self.base + &(position * &self.stride)
    }

    /// Names the index that a slot holds now.
    pub fn read(&self, b: &mut KernelBuilder<'_, '_>, position: &Index) -> Index {
        b.freeze("held", Expr::Load(self.buffer, self.slot(position)), &self.bound)
    }

    /// Stores an index to a slot.
    pub fn write(&self, b: &mut KernelBuilder<'_, '_>, position: &Index, held: &Index) {
        b.push(Stmt::Store(self.buffer, self.slot(position), Expr::Index(held.clone())));
    }

    /// Puts `held` into a heap of `size` slots whose slot `start` is free, everything below being in order.
    pub fn sift(&self, b: &mut KernelBuilder<'_, '_>, start: &Index, size: &Index, held: &Index) -> Lowered {
        let hole = b.counter("hole", start.clone());
        let moving = b.mutable("moving", boolean(true));
        let first_child = hole.index() * 2 + 1;
        let more = binary(BinaryOp::And, Expr::Var(moving), less(&first_child, size));
        b.repeat(more, |b| {
            let left = b.freeze("left", Expr::Index(first_child.clone()), size);
            let right = &left + 1;
            let child = b.counter("child", left.clone());
            let from_left = self.read(b, &left);
            let upper = b.counter("upper", from_left.clone());
            b.when(less(&right, size), |b| {
                let from_right = self.read(b, &right);
                let right_wins = (self.above)(b, &from_right, &from_left)?;
                b.when(right_wins, |b| {
                    b.assign(child, Expr::Index(right.clone()));
                    b.assign(upper, Expr::Index(from_right.clone()));
                    Ok(())
                })
            })?;
            let upper = b.freeze("rising", Expr::Var(upper), &self.bound);
            let rises = (self.above)(b, &upper, held)?;
            b.choose(
                rises,
                |b| {
                    self.write(b, &hole.index(), &upper);
                    b.assign(hole, Expr::Var(child));
                    Ok(())
                },
                |b| {
                    b.assign(moving, boolean(false));
                    Ok(())
                },
            )
        })?;
        self.write(b, &hole.index(), held);
        Ok(())
    }

    /// Makes a heap of the first `size` slots.
    pub fn build(&self, b: &mut KernelBuilder<'_, '_>, size: &Index) -> Lowered {
        let inner = size.floor_div(&Index::from(2));
        b.each(&inner, AxisKind::Serial, |b, i| {
            let start = &inner - 1 - i;
            let held = self.read(b, &start);
            self.sift(b, &start, size, &held)
        })
    }

    /// Turns a heap of `size` slots into the sequence from the index farthest from the root to the root's.
    pub fn sort(&self, b: &mut KernelBuilder<'_, '_>, size: &Index) -> Lowered {
        b.each(&(size - 1), AxisKind::Serial, |b, i| {
            let last = size - 1 - i;
            let held = self.read(b, &last);
            let root = self.read(b, &Index::ZERO);
            self.write(b, &last, &root);
            self.sift(b, &Index::ZERO, &last, &held)
        })
    }
}

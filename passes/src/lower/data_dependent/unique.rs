//! Distinct values: indices sorted by value, then one walk that numbers the groups of equal neighbours.
//!
//! Ties are sorted by index, so a group's first index is its first occurrence. For the order of first occurrence each
//! element is first given its group's first index as its number; walking up, that one has its final number already.

use super::super::builder::KernelBuilder;
use super::super::emit::compute_type;
use super::super::{LowerError, Lowering};
use super::heap::{Heap, Order, before, below};
use super::{Lowered, binary};
use crate::layout::Storage;
use nnc_ir::op::BinaryOp;
use nnc_ir::{DType, Dim, Node, Symbol, ValueId};
use nnc_kernels::kernel::{AxisKind, BufferRef, Expr, Index, Stmt, Var};
use nnc_kernels::plan::Argument;

/// The results being written.
struct Groups<'s> {
    x: ValueId,
    dtype: DType,
    /// Values, first occurrences, numbers, counts.
    buffers: [BufferRef; 4],
    storages: &'s [Storage],
    /// Groups found so far.
    found: Var,
    /// How many there is memory for, where that is not known to be enough.
    capacity: Option<Dim>,
}

impl Lowering<'_> {
    pub(super) fn lower_unique(&mut self, node: &Node, sorted: bool, count: Symbol) -> Lowered {
        let x = node.inputs[0];
        let mut storages = vec![];
        for &output in &node.outputs {
            storages.push(self.storage(output)?);
        }
        let ty = self.graph.ty(x).clone();
        let size = &ty.shape[0];
        let capacity = self.capacity(count, size)?;
        let order = self.add_workspace(format!("{x}_order"), DType::I64, size)?;
        let cell = self.cell("count", DType::I64)?;

        let mut b = KernelBuilder::new(self, "unique");
        let n = b.import(size);
        let after = |b: &mut KernelBuilder<'_, '_>, i: &Index, j: &Index| -> Result<Expr, LowerError> {
            let (at_i, at_j) = (b.emit(x, std::slice::from_ref(i))?, b.emit(x, std::slice::from_ref(j))?);
            Ok(before(b, Order::Ascending, (j, at_j), (i, at_i)))
        };
        let buffer = b.buffer(order, &Dim::ZERO, true);
        let heap = Heap { buffer, base: Index::ZERO, stride: Index::ONE, bound: n.clone(), above: &after };
        b.each(&n, AxisKind::Serial, |b, i| {
            heap.write(b, i, i);
            Ok(())
        })?;
        heap.build(&mut b, &n)?;
        heap.sort(&mut b, &n)?;

        let buffers = [0, 1, 2, 3].map(|i| b.buffer(storages[i].buffer, &storages[i].offset, true));
        let found = b.counter("found", Index::ZERO);
        let groups = Groups { x, dtype: ty.dtype, buffers, storages: &storages, found, capacity };
        let leader = b.counter("leader", Index::ZERO);
        b.each(&n, AxisKind::Serial, |b, i| {
            let at = heap.read(b, i);
            let first = b.freeze("first", Expr::Var(leader), &n);
            // The first one of all is compared with an element too, but opens a group whatever comes out.
            let (old, new) = (b.emit(x, std::slice::from_ref(&first))?, b.emit(x, std::slice::from_ref(&at))?);
            let (old, new) = (Expr::Var(b.define_here("old", old)), Expr::Var(b.define_here("new", new)));
            let start = binary(BinaryOp::Eq, Expr::Index(i.clone()), Expr::Index(Index::ZERO));
            let opens = binary(BinaryOp::Or, start, below(b, &old, &new));
            b.when(opens, |b| {
                b.assign(leader, Expr::Index(at.clone()));
                if sorted { groups.open(b, &at) } else { Ok(()) }
            })?;
            if sorted {
                let last = b.freeze("group", Expr::Index(found.index() - 1), &n);
                groups.join(b, &at, &last);
            } else {
                groups.number(b, &at, &leader.index());
            }
            Ok(())
        })?;
        if !sorted {
            b.each(&n, AxisKind::Serial, |b, i| {
                let first = groups.number_of(b, i, &n);
                let opens = binary(BinaryOp::Eq, Expr::Index(first.clone()), Expr::Index(i.clone()));
                b.choose(
                    opens,
                    |b| {
                        let group = b.freeze("group", Expr::Var(found), &n);
                        groups.open(b, i)?;
                        groups.join(b, i, &group);
                        Ok(())
                    },
                    |b| {
                        let group = groups.number_of(b, &first, &n);
                        groups.join(b, i, &group);
                        Ok(())
                    },
                )
            })?;
        }
        b.store_cell(cell, Expr::Var(found));
        b.finish()?;
        self.bind(count, Argument { buffer: cell, offset: Dim::ZERO });
        Ok(())
    }
}

impl Groups<'_> {
    fn element(&self, b: &mut KernelBuilder<'_, '_>, result: usize, i: &Index) -> Index {
        b.element(&self.storages[result].strides, std::slice::from_ref(i))
    }

    /// Begins the next group with element `at`, which is its first occurrence; nothing has joined it yet.
    fn open(&self, b: &mut KernelBuilder<'_, '_>, at: &Index) -> Lowered {
        b.check_capacity(self.found, self.capacity.as_ref());
        let group = self.found.index();
        let value = b.emit(self.x, std::slice::from_ref(at))?;
        let value = Expr::convert(self.dtype, compute_type(self.dtype), value);
        let count = Expr::Index(Index::ZERO);
        for (result, content) in [(0, value), (1, Expr::Index(at.clone())), (3, count)] {
            let element = self.element(b, result, &group);
            b.push(Stmt::Store(self.buffers[result], element, content));
        }
        b.increment(self.found);
        Ok(())
    }

    /// Gives element `at` a number.
    fn number(&self, b: &mut KernelBuilder<'_, '_>, at: &Index, number: &Index) {
        let element = self.element(b, 2, at);
        b.push(Stmt::Store(self.buffers[2], element, Expr::Index(number.clone())));
    }

    fn number_of(&self, b: &mut KernelBuilder<'_, '_>, at: &Index, n: &Index) -> Index {
        let element = self.element(b, 2, at);
        b.freeze("number", Expr::Load(self.buffers[2], element), n)
    }

    /// Counts element `at` among those of a group.
    fn join(&self, b: &mut KernelBuilder<'_, '_>, at: &Index, group: &Index) {
        self.number(b, at, group);
        let element = self.element(b, 3, group);
        let more = binary(BinaryOp::Add, Expr::Load(self.buffers[3], element.clone()), Expr::Index(Index::ONE));
        b.push(Stmt::Store(self.buffers[3], element, more));
    }
}

//! The order of strings of one table, byte by byte.

use super::super::Lowering;
use super::super::builder::KernelBuilder;
use super::super::indices::fail_outside;
use super::strings::int;
use super::{Lowered, binary};
use nnc_ir::Node;
use nnc_ir::op::BinaryOp;
use nnc_kernels::kernel::{Expr, Index};

impl Lowering<'_> {
    pub(super) fn lower_compare_strings(&mut self, node: &Node) -> Lowered {
        let &[offsets, bytes, left, right] = &node.inputs[..] else {
            return Err(self.error("malformed strings"));
        };
        let storage = self.storage(node.outputs[0])?;
        let shape = self.graph.shape(left).to_vec();
        let (marks, size) = (self.graph.shape(offsets)[0].clone(), self.graph.shape(bytes)[0].clone());

        let mut b = KernelBuilder::new(self, "compare_strings");
        let index = b.parallel_over(&shape);
        let (count, size) = (b.import(&marks) - 1, b.import(&size));
        let mut sides = vec![];
        for numbers in [left, right] {
            let number = b.emit(numbers, &index)?;
            let number = Expr::Var(b.define_here("number", number));
            b.push(fail_outside(&number, count.clone()));
            let number = b.freeze("which", number, &count);
            sides.push(b.span(offsets, &number, &size)?);
        }
        let [one, other] = &sides[..] else { return Err(b.cx.error("malformed strings")) };
        let difference = |b: Expr, a: Expr| {
            let [less, more] = [binary(BinaryOp::Lt, b.clone(), a.clone()), binary(BinaryOp::Gt, b, a)];
            Expr::select(less, int(-1), Expr::select(more, int(1), int(0)))
        };
        let lengths = difference(Expr::Index(one.length.clone()), Expr::Index(other.length.clone()));
        let (found, step) = (b.mutable("found", int(0)), b.counter("step", Index::ZERO));
        let shorter = Expr::Index(one.length.min(&other.length));
        let alike = binary(BinaryOp::Eq, Expr::Var(found), int(0));
        let more = binary(BinaryOp::And, alike.clone(), binary(BinaryOp::Lt, Expr::Var(step), shorter));
        b.repeat(more, |b| {
            let i = b.freeze("i", Expr::Var(step), &size);
            let (mine, theirs) = (b.byte(bytes, &one.begin + &i)?, b.byte(bytes, &other.begin + &i)?);
            let mine = Expr::Var(b.define_here("mine", mine));
            let theirs = Expr::Var(b.define_here("theirs", theirs));
            b.assign(found, difference(mine, theirs));
            b.increment(step);
            Ok(())
        })?;
        b.store_at(&storage, &index, Expr::select(alike, lengths, Expr::Var(found)));
        b.finish()
    }
}

//! Positions among ascending keys, by bisection.
//!
//! Keys that do not ascend, or that NaN is among, lead to some position; none is read outside of the keys.

use super::super::Lowering;
use super::super::builder::KernelBuilder;
use super::{Lowered, binary};
use nnc_ir::Node;
use nnc_ir::op::BinaryOp;
use nnc_kernels::kernel::{Expr, Index};

impl Lowering<'_> {
    pub(super) fn lower_lower_bound(&mut self, node: &Node) -> Lowered {
        let (x, keys, result) = (node.inputs[0], node.inputs[1], node.outputs[0]);
        let storage = self.storage(result)?;
        let shape = self.graph.shape(x).to_vec();
        let count = self.graph.shape(keys)[0].clone();

        let mut b = KernelBuilder::new(self, "lower_bound");
        let index = b.parallel_over(&shape);
        let count = b.import(&count);
        let value = b.emit(x, &index)?;
        let value = Expr::Var(b.define_here("value", value));
        let (low, left) = (b.counter("low", Index::ZERO), b.counter("left", count.clone()));
        let more = binary(BinaryOp::Gt, Expr::Var(left), Expr::Index(Index::ZERO));
        b.repeat(more, |b| {
            let half = binary(BinaryOp::Div, Expr::Var(left), Expr::Index(Index::from(2)));
            let half = b.freeze("half", half, &count);
            let middle = b.freeze("middle", Expr::Index(low.index() + &half), &count);
            let key = b.emit(keys, std::slice::from_ref(&middle))?;
            b.choose(
                binary(BinaryOp::Lt, key, value.clone()),
                |b| {
                    b.assign(low, Expr::Index(&middle + 1));
                    b.assign(left, Expr::Index(left.index() - &half - 1));
                    Ok(())
                },
                |b| {
                    b.assign(left, Expr::Index(half.clone()));
                    Ok(())
                },
            )
        })?;
        b.store_at(&storage, &index, Expr::Var(low));
        b.finish()
    }
}

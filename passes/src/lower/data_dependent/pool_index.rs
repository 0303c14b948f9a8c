//! Where each window's first largest element lies, as a row-major index over the operand's spatial axes.
//!
//! NaN is larger than every number and the first NaN stays. A window wholly in the border yields 0.

use super::super::Lowering;
use super::super::builder::KernelBuilder;
use super::super::emit::compute_type;
use super::{Lowered, binary, boolean, less};
use nnc_ir::op::{BinaryOp, UnaryOp, Window};
use nnc_ir::{Dim, Node};
use nnc_kernels::kernel::Expr;
use nnc_kernels::kernel::Index;

impl Lowering<'_> {
    pub(super) fn lower_pool_index(&mut self, node: &Node, window: &Window) -> Lowered {
        let (x, result) = (node.inputs[0], node.outputs[0]);
        let storage = self.storage(result)?;
        let ty = self.graph.ty(x).clone();
        let shape = self.graph.shape(result).to_vec();
        let spatial = window.size.len();
        let taps: Vec<Dim> = window.size.iter().map(|&s| Dim::from(s as i64)).collect();
        let results = super::product(&shape);
        if results.is_const(0) {
            return Ok(());
        }

        let mut b = KernelBuilder::new(self, "pool_index");
        let at = b.parallel_over(&shape);
        let sizes: Vec<Index> = ty.shape.iter().map(|d| b.import(d)).collect();
        let best = b.mutable("best", Expr::constant(compute_type(ty.dtype), 0.0));
        let (place, found) = (b.counter("place", Index::ZERO), b.mutable("found", boolean(false)));
        b.nest(&taps, |b, tap| {
            let mut index = vec![at[0].clone()];
            let mut inside = boolean(true);
            for axis in 0..spatial {
                let scale = |i: &Index, by: usize| i * &Index::from(by as i64);
                let i = scale(&at[axis + 1], window.strides[axis]) + scale(&tap[axis], window.dilations[axis])
                    - Index::from(window.pad_low[axis] as i64);
                let bounds = binary(BinaryOp::And, less(&Index::from(-1), &i), less(&i, &sizes[axis + 1]));
                inside = binary(BinaryOp::And, inside, bounds);
                index.push(i);
            }
            index.push(at[spatial + 1].clone());
            b.when(inside, |b| {
                // Named in here, so that no load leaves the operand.
                for axis in 1..=spatial {
                    let i = std::mem::replace(&mut index[axis], Index::ZERO);
                    index[axis] = b.freeze("at", Expr::Index(i), &sizes[axis]);
                }
                let value = b.emit(x, &index)?;
                let value = Expr::Var(b.define_here("value", value));
                let mut larger = binary(BinaryOp::Gt, value.clone(), Expr::Var(best));
                if ty.dtype.is_float() {
                    let is_nan = |e: Expr| Expr::unary(UnaryOp::IsNan, e);
                    let had_number = Expr::unary(UnaryOp::Not, is_nan(Expr::Var(best)));
                    let first_nan = binary(BinaryOp::And, is_nan(value.clone()), had_number);
                    larger = binary(BinaryOp::Or, larger, first_nan);
                }
                let none_yet = Expr::unary(UnaryOp::Not, Expr::Var(found));
                b.when(binary(BinaryOp::Or, none_yet, larger), |b| {
                    let flat = (1..=spatial).fold(Index::ZERO, |flat, a| flat * &sizes[a] + &index[a]);
                    b.assign(best, value);
                    b.assign(place, Expr::Index(flat));
                    b.assign(found, boolean(true));
                    Ok(())
                })
            })
        })?;
        b.store_at(&storage, &at, Expr::Var(place));
        b.finish()
    }
}

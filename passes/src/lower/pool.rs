//! Pooling, channels last: lanes over channels, the window in serial loops.
//!
//! Maxima and minima clamp the positions of a dense window to the input (reading an element twice changes nothing);
//! otherwise positions outside are skipped. A border that changes no result is not there, see `regions::pooled`. An input that may
//! be empty is read under a guard, see `empty`.

use super::builder::KernelBuilder;
use super::emit::{compute_type, identity};
use super::{LowerError, Lowering};
use crate::regions::pooled::{Inside, inside_of};
use nnc_ir::op::{BinaryOp, Op, ReduceOp};
use nnc_ir::{Node, ValueId};
use nnc_kernels::kernel::{Accumulator, AxisKind, Expr, Index};

/// Most elements of a window that are written out.
const MOST_WRITTEN_OUT: usize = 16;

impl<'g> Lowering<'g> {
    /// What a pooling reads: its operand, or what that has a border around.
    fn inside_of_pool(&self, pool: &Node) -> Inside<'g> {
        let x = pool.inputs[0];
        let bare = || inside_of(self.graph, pool, |value| self.definition(value));
        let inside = if self.plan.regions.is_stored(x) { None } else { bare() };
        inside.unwrap_or(Inside { value: x, low: &[] })
    }

    pub(super) fn lower_pool(&mut self, anchor: &Node, root: ValueId) -> Result<(), LowerError> {
        let Op::Pool { op, window } = &anchor.op else { return Err(self.error("not a pooling")) };
        let Inside { value: x, low } = self.inside_of_pool(anchor);
        let x_type = self.graph.ty(x).clone();
        let anchor_shape = self.graph.shape(anchor.outputs[0]).to_vec();
        let storage = self.storage(root)?;
        let ty = self.graph.ty(root).clone();
        let spatial = window.size.len();
        let mut b = KernelBuilder::new(self, "pool");
        b.root = Some(root);
        let (index, opened) = b.open_loops(&anchor_shape, AxisKind::Vector);
        let mut at: Vec<Index> = index.clone();
        let mut inside: Option<Expr> = None;
        let mut loops = 0;
        let mut sizes = vec![];
        for a in 0..spatial {
            let size = b.import(&x_type.shape[a + 1]);
            let tap = if window.size[a] == 1 {
                Index::ZERO
            } else {
                loops += 1;
                // Written out, a small window's positions are found once for all channels.
                let taps: usize = window.size[a..].iter().product();
                let kind = if taps <= MOST_WRITTEN_OUT { AxisKind::Unrolled } else { AxisKind::Serial };
                b.open_loop("t", &Index::from(window.size[a] as i64), kind)
            };
            let position = &index[a + 1] * &Index::from(window.strides[a] as i64)
                + &tap * &Index::from(window.dilations[a] as i64)
                - Index::from(window.pad_low[a] as i64)
                - &low.get(a + 1).map_or(Index::ZERO, |low| b.import(low));
            let last = &size - 1;
            let low_ok = position.provably_ge(&Index::ZERO, &b.ranges);
            let high_ok = last.provably_ge(&position, &b.ranges);
            let mut clamped = position.clone();
            for (ok, op, bound) in [(low_ok, BinaryOp::Ge, Index::ZERO), (high_ok, BinaryOp::Le, last)] {
                if ok {
                    continue;
                }
                clamped = if op == BinaryOp::Ge { clamped.max(&bound) } else { clamped.min(&bound) };
                let condition = Expr::binary(op, Expr::Index(position.clone()), Expr::Index(bound));
                inside = Some(match inside {
                    None => condition,
                    Some(rest) => Expr::binary(BinaryOp::And, rest, condition),
                });
            }
            if clamped != position {
                sizes.push(size);
            }
            at[a + 1] = clamped;
        }
        let (mut value, not_empty) = b.guarded(&sizes, |b| b.emit(x, &at))?;
        let dtype = compute_type(x_type.dtype);
        // With dilation the nearest element need not belong to the window; nor when all of the window is border.
        let dense = (0..spatial).all(|a| {
            let border = window.pad_low[a].max(window.pad_high[a]);
            window.dilations[a] == 1 && border < window.size[a]
        });
        let clamped_is_right = matches!(op, ReduceOp::Max | ReduceOp::Min) && dense;
        if let Some(condition) = inside.filter(|_| !clamped_is_right) {
            value = Expr::select(condition, value, identity(*op, dtype));
        }
        if let Some(condition) = not_empty.filter(|_| clamped_is_right) {
            value = Expr::select(condition, value, identity(*op, dtype));
        }
        for _ in 0..loops {
            let level = b.level() - 1;
            let var = b.accumulator(dtype, level);
            b.close_reduce(vec![Accumulator { var, op: *op, init: identity(*op, dtype), value }]);
            value = Expr::Var(var);
        }
        let sum = match value {
            Expr::Var(var) => var,
            other => b.define("sum", other),
        };
        b.finish_anchor(anchor.outputs[0], root, sum, &index, &ty, &storage)?;
        for _ in 0..opened {
            b.close_loop();
        }
        b.finish_apart()
    }
}

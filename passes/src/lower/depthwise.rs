//! Depthwise convolutions: lanes over channels, kernel elements written out, weights in registers along each row of outputs.

use super::builder::KernelBuilder;
use super::emit::{compute_type, identity};
use super::{LowerError, Lowering};
use crate::choose::problem::Problem;
use crate::choose::window::Geometry;
use nnc_ir::op::{BinaryOp, Op, ReduceOp};
use nnc_ir::{Dim, Node};
use nnc_kernels::kernel::{AxisKind, Expr, Index};

impl Lowering<'_> {
    /// Lowers a convolution of each channel by itself.
    pub(super) fn lower_depthwise(&mut self, anchor: &Node, problem: &Problem) -> Result<(), LowerError> {
        let Op::Conv { window, .. } = &anchor.op else { return Err(self.error("not a convolution")) };
        let (root, acc) = (problem.root, problem.accumulator);
        let input = self.left_operand(&problem.left)?;
        let w = anchor.inputs[1];
        let spatial = window.size.len();
        let geometry = Geometry::new(window, &input.strides, self.graph.shape(anchor.outputs[0]));
        let Geometry { sizes, steps, taps: tap_strides } = geometry;
        let channels = self.graph.shape(w)[spatial + 1].clone();
        let taps: usize = window.size.iter().product();
        let storage = self.storage(root)?;
        let ty = self.graph.ty(root).clone();
        let batch = self.graph.shape(anchor.inputs[0])[0].clone();
        let weight_type = self.graph.ty(w).dtype;

        let mut b = KernelBuilder::new(self, "depthwise");
        b.root = Some(root);
        let mut outer: Vec<Dim> = vec![batch];
        outer.extend(sizes[..spatial - 1].iter().cloned());
        let (mut index, opened) = b.open_loops(&outer, AxisKind::Free);
        let imported_channels = b.import(&channels);
        let c = b.open_loop("c", &imported_channels, AxisKind::Vector);
        let mut weights = Vec::with_capacity(taps);
        let kernel_dims: Vec<Index> = window.size.iter().map(|&n| Index::from(n as i64)).collect();
        for tap in 0..taps {
            let mut at = b.unflatten(&Index::from(tap as i64), &kernel_dims);
            at.extend([Index::ZERO, c.clone()]);
            let value = b.emit(w, &at)?;
            let value = Expr::convert(acc, compute_type(weight_type), value);
            weights.push(Expr::Var(b.define("w", value)));
        }
        let width = b.import(&sizes[spatial - 1]);
        let column = b.open_loop("ox", &width, AxisKind::Free);
        index.push(column);
        let x = b.buffer(input.buffer, &input.offset, false);
        let x_type = b.cx.program.buffers[input.buffer.0 as usize].dtype;
        let mut base = &index[0] * &b.import(&input.strides[0]) + &c * &b.import(&input.strides[spatial + 1]);
        for a in 0..spatial {
            base = base + &index[a + 1] * &b.import(&steps[a]);
        }
        let mut sum = identity(ReduceOp::Sum, acc);
        for (tap, weight) in weights.into_iter().enumerate() {
            let at = b.unflatten(&Index::from(tap as i64), &kernel_dims);
            let mut element = base.clone();
            for (a, i) in at.iter().enumerate() {
                element = element + i * &b.import(&tap_strides[a]);
            }
            let loaded = Expr::convert(acc, x_type, Expr::Load(x, element));
            sum = match (acc.is_float(), tap) {
                (true, 0) => Expr::binary(BinaryOp::Mul, loaded, weight),
                (true, _) => Expr::MulAdd(Box::new(loaded), Box::new(weight), Box::new(sum)),
                (false, _) => {
                    let product = Expr::binary(BinaryOp::Mul, loaded, weight);
                    Expr::binary(BinaryOp::Add, sum, product)
                }
            };
        }
        index.push(c);
        let sum = b.define("sum", sum);
        b.finish_anchor(anchor.outputs[0], root, sum, &index, &ty, &storage)?;
        for _ in 0..opened + 2 {
            b.close_loop();
        }
        b.finish_apart()
    }
}

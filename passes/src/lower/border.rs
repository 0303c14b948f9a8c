//! Zeroes around what is written inside of a border.

use super::builder::KernelBuilder;
use super::{LowerError, Lowering};
use crate::layout::{Border, dense_strides};
use nnc_ir::Dim;
use nnc_kernels::BufferId;
use nnc_kernels::kernel::{AxisKind, Expr, Stmt};

impl Lowering<'_> {
    /// Zeroes the border in a buffer, if it still waits for what is written inside of it.
    pub(super) fn zero_border_of(&mut self, buffer: BufferId) -> Result<(), LowerError> {
        match self.borders.remove(&buffer) {
            Some(border) => self.zero_border(buffer, &border),
            None => Ok(()),
        }
    }

    /// Writes zeros to every element outside the inside: slabs of whole hyperplanes, axis by axis.
    fn zero_border(&mut self, buffer: BufferId, border: &Border) -> Result<(), LowerError> {
        let Border { inside, padded, halo } = border;
        let strides = dense_strides(padded);
        let dtype = self.program.buffers[buffer.0 as usize].dtype;
        for (axis, &(low, high)) in halo.iter().enumerate() {
            for (start, count) in [(Dim::from(0), low), (&inside[axis] + &Dim::from(low as i64), high)] {
                if count == 0 {
                    continue;
                }
                // Axes before this one run over the inside alone: their borders are written already.
                let extents: Vec<Dim> = (0..padded.len())
                    .map(|a| match a.cmp(&axis) {
                        std::cmp::Ordering::Less => inside[a].clone(),
                        std::cmp::Ordering::Equal => Dim::from(count as i64),
                        std::cmp::Ordering::Greater => padded[a].clone(),
                    })
                    .collect();
                let mut origin = &start * &strides[axis];
                for a in 0..axis {
                    origin = origin + &strides[a] * &Dim::from(halo[a].0 as i64);
                }
                let mut b = KernelBuilder::new(self, "zero");
                let (index, opened) = b.open_loops(&extents, AxisKind::Vector);
                let target = b.buffer(buffer, &origin, true);
                let element = b.element(&strides, &index);
                b.push(Stmt::Store(target, element, Expr::constant(dtype, 0.0)));
                for _ in 0..opened {
                    b.close_loop();
                }
                b.finish_apart()?;
            }
        }
        Ok(())
    }
}

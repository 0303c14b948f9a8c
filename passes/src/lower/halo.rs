//! Halos: convolution borders kept in memory around a value, so that kernels read them like any other element.
//!
//! The producer writes the inside; steps right before it write zeros around. A value whose readers want different
//! borders gets the largest. Some channels of a value have the border that all of them have: what is split along the
//! channels is not copied.

use super::builder::KernelBuilder;
use super::storage::{Storage, dense_strides};
use super::{LowerError, Lowering};
use nnc_ir::op::{Op, Window};
use nnc_ir::{Dim, ValueId};
use nnc_kernels::BufferId;
use nnc_kernels::kernel::{AxisKind, Expr, Stmt};

/// Border per axis of `[N, spatial.., C]` that a window needs: (low, high).
pub(crate) fn border(window: &Window) -> Vec<(usize, usize)> {
    let spatial = window.pad_low.iter().copied().zip(window.pad_high.iter().copied());
    std::iter::once((0, 0)).chain(spatial).chain(std::iter::once((0, 0))).collect()
}

/// Memory around a value: sizes without and with it, and how wide it is before and after each axis.
pub(super) struct Border {
    inside: Vec<Dim>,
    padded: Vec<Dim>,
    halo: Vec<(usize, usize)>,
}

impl Lowering<'_> {
    /// The value of which another is some of the channels, side by side, at every position; else the value itself.
    pub(super) fn of_all_channels(&self, value: ValueId) -> ValueId {
        let mut found = value;
        while !self.regions.is_stored(found)
            && let Some(node) = self.definition(found)
            && let (Op::Slice { starts, sizes, steps }, &[whole]) = (&node.op, node.inputs.as_slice())
            && let Some((_, positions)) = self.graph.shape(whole).split_last()
            && let Some((step, _)) = steps.split_last()
            && *step == 1
            && (0..positions.len()).all(|a| starts[a].is_const(0) && sizes[a] == positions[a] && steps[a] == 1)
        {
            found = whole;
        }
        found
    }

    /// Finds the values that convolutions read directly and remembers the borders they want.
    pub(super) fn request_halos(&mut self) {
        for node in &self.graph.nodes {
            let Op::Conv { window, .. } = &node.op else { continue };
            let input = self.of_all_channels(node.inputs[0]);
            let border = border(window);
            let wanted = border.iter().any(|&(low, high)| low + high > 0);
            let own_memory = self.regions.is_stored(input)
                && self.storage[input.index()].is_none()
                && self.definition(input).is_some_and(|n| !matches!(n.op, Op::Constant(_)));
            if !wanted || !own_memory {
                continue;
            }
            let halo = self.halo.entry(input).or_insert_with(|| vec![(0, 0); border.len()]);
            for (have, want) in halo.iter_mut().zip(border) {
                *have = (have.0.max(want.0), have.1.max(want.1));
            }
        }
    }

    /// Memory for a value inside a zeroed border.
    pub(super) fn storage_with_halo(&mut self, value: ValueId, halo: &[(usize, usize)]) -> Result<Storage, LowerError> {
        let ty = self.graph.ty(value).clone();
        let padded: Vec<Dim> =
            ty.shape.iter().zip(halo).map(|(d, &(low, high))| d + &Dim::from((low + high) as i64)).collect();
        self.scratch_with_halo(value, ty.dtype, &ty.shape, &padded, halo)
    }

    /// Workspace memory of shape `padded` with a zeroed border, seen from its inside.
    pub(super) fn scratch_with_halo(
        &mut self,
        value: ValueId,
        dtype: nnc_ir::DType,
        inside: &[Dim],
        padded: &[Dim],
        halo: &[(usize, usize)],
    ) -> Result<Storage, LowerError> {
        let elements = padded.iter().fold(Dim::from(1), |a, d| &a * d);
        let strides = dense_strides(padded);
        let offset =
            strides.iter().zip(halo).fold(Dim::from(0), |sum, (s, &(low, _))| sum + s * &Dim::from(low as i64));
        let buffer = self.add_workspace(format!("{value}"), dtype, &elements)?;
        let border = Border { inside: inside.to_vec(), padded: padded.to_vec(), halo: halo.to_vec() };
        self.borders.insert(buffer, border);
        Ok(Storage { buffer, offset, strides })
    }

    /// Zeroes the borders that wait for what is written inside of them.
    pub(super) fn zero_borders(&mut self) -> Result<(), LowerError> {
        let mut borders: Vec<_> = std::mem::take(&mut self.borders).into_iter().collect();
        borders.sort_unstable_by_key(|(buffer, _)| *buffer);
        borders.iter().try_for_each(|(buffer, border)| self.zero_border(*buffer, border))
    }

    /// Writes zeros to every element outside the inside: slabs of whole hyperplanes, axis by axis.
    pub(super) fn zero_border(&mut self, buffer: BufferId, border: &Border) -> Result<(), LowerError> {
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

//! Borders: the zeros around a convolution's input kept in memory, so that kernels read them like any other element.
//!
//! The producer writes the inside; steps right before it write zeros around. A value whose readers want different
//! borders gets the largest. Some channels of a value have the border that all of them have: what is split along the
//! channels is not copied.

use super::storage::dense_strides;
use super::{LayOut, Storage};
use crate::error::LowerError;
use crate::regions::Regions;
use nnc_ir::op::{Op, Window};
use nnc_ir::{Dim, Graph, ValueId};
use nnc_kernels::BufferId;

/// Border per axis of `[N, spatial.., C]` that a window needs: (low, high).
pub(crate) fn border(window: &Window) -> Vec<(usize, usize)> {
    let spatial = window.pad_low.iter().copied().zip(window.pad_high.iter().copied());
    std::iter::once((0, 0)).chain(spatial).chain(std::iter::once((0, 0))).collect()
}

/// Memory around a value: sizes without and with it, and how wide it is before and after each axis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Border {
    pub inside: Vec<Dim>,
    pub padded: Vec<Dim>,
    pub halo: Vec<(usize, usize)>,
}

impl Border {
    /// A border around memory of some shape.
    pub fn around(inside: &[Dim], halo: &[(usize, usize)]) -> Border {
        let wider = |(size, &(low, high)): (&Dim, &(usize, usize))| size + &Dim::from((low + high) as i64);
        Border { inside: inside.to_vec(), padded: inside.iter().zip(halo).map(wider).collect(), halo: halo.to_vec() }
    }

    /// Elements, the border's among them.
    pub fn count(&self) -> Dim {
        self.padded.iter().fold(Dim::ONE, |n, size| &n * size)
    }

    /// The inside, in a buffer that holds nothing else.
    pub fn inside_of(&self, buffer: BufferId) -> Storage {
        let strides = dense_strides(&self.padded);
        let lows = strides.iter().zip(&self.halo);
        let offset = lows.fold(Dim::ZERO, |sum, (stride, &(low, _))| sum + stride * &Dim::from(low as i64));
        Storage { buffer, offset, strides }
    }
}

/// The value of which another is some of the channels, side by side, at every position; else the value itself.
pub(crate) fn of_all_channels(graph: &Graph, regions: &Regions, value: ValueId) -> ValueId {
    let mut found = value;
    while !regions.is_stored(found)
        && let Some(node) = regions.definition(graph, found)
        && let (Op::Slice { starts, sizes, steps }, &[whole]) = (&node.op, node.inputs.as_slice())
        && let Some((_, positions)) = graph.shape(whole).split_last()
        && let Some((step, _)) = steps.split_last()
        && *step == 1
        && (0..positions.len()).all(|a| starts[a].is_const(0) && sizes[a] == positions[a] && steps[a] == 1)
    {
        found = whole;
    }
    found
}

impl LayOut<'_> {
    /// Finds the values that convolutions read directly and remembers the borders they want.
    pub(super) fn request_borders(&mut self) {
        for node in &self.graph.nodes {
            let Op::Conv { window, .. } = &node.op else { continue };
            let input = of_all_channels(self.graph, self.regions, node.inputs[0]);
            let border = border(window);
            let wanted = border.iter().any(|&(low, high)| low + high > 0);
            // A border around memory whose size is not known yet could not be written.
            let own_memory = self.regions.is_stored(input) && self.is_free(input) && !self.is_sized_by_run(input);
            if !wanted || !own_memory || self.definition(input).is_none() {
                continue;
            }
            let halo = self.layout.halo.entry(input).or_insert_with(|| vec![(0, 0); border.len()]);
            for (have, want) in halo.iter_mut().zip(border) {
                *have = (have.0.max(want.0), have.1.max(want.1));
            }
        }
    }

    /// Memory for a value inside a zeroed border.
    pub(super) fn storage_within_border(
        &mut self,
        value: ValueId,
        halo: &[(usize, usize)],
    ) -> Result<Storage, LowerError> {
        let border = Border::around(self.graph.shape(value), halo);
        let buffer = self.add_workspace(value, &border.count())?;
        let storage = border.inside_of(buffer);
        self.layout.borders.insert(buffer, border);
        Ok(storage)
    }
}

//! Weights: constants in the layout that kernels read.
//!
//! Packing is described as data and done while the artifact is written, so that the packed copy of a large model
//! never lies in memory whole.

use nnc_ir::{DType, Tensor};
use std::io;

/// An index of [`crate::Program::weights`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WeightId(pub u32);

/// How a constant's elements are laid out.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Pack {
    /// As they are.
    Plain,
    /// Column panels for [`crate::Contraction`]: for each batch, for each panel of `width` columns, for each summed index
    /// (row-major over `sum`), `width` elements; columns past `columns` are zero.
    Panels {
        /// (count, elements of the source per step) of the outer loops that are kept apart, outermost first.
        batch: Vec<(usize, usize)>,
        /// Likewise of the summed loops.
        sum: Vec<(usize, usize)>,
        /// Number of columns.
        columns: usize,
        /// Elements of the source between columns.
        column_stride: usize,
        /// Panel width.
        width: usize,
        /// Whether two successive summed elements are the halves of a byte, the first the lower: their number is even, and
        /// they are `u8` below 16.
        halves: bool,
    },
}

/// A weight of the artifact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weight {
    /// Elements as the model has them.
    pub source: Tensor,
    /// Layout.
    pub pack: Pack,
}

impl Weight {
    /// Elements of the packed form; `usize::MAX` where they are more than memory can hold, which the verifier refuses.
    pub fn packed_len(&self) -> usize {
        match &self.pack {
            Pack::Plain => self.source.len(),
            Pack::Panels { batch, sum, columns, width, halves, .. } => {
                let loops = batch.iter().chain(sum).map(|l| l.0);
                let elements = loops.chain([columns.div_ceil((*width).max(1)), *width]).fold(1, usize::saturating_mul);
                if *halves { elements / 2 } else { elements }
            }
        }
    }

    /// Bytes of the packed form; `usize::MAX` likewise.
    pub fn packed_bytes(&self) -> usize {
        self.packed_len().saturating_mul(self.source.dtype.size())
    }

    /// Number of elements of the source, from its first on, that the layout reads; `None` when that overflows or the
    /// layout makes no sense.
    pub fn source_reach(&self) -> Option<usize> {
        let Pack::Panels { batch, sum, columns, column_stride, width, halves } = &self.pack else {
            return Some(self.source.len());
        };
        let summed = sum.iter().fold(1usize, |n, l| n.wrapping_mul(l.0));
        if *width == 0 || *halves && (summed % 2 == 1 || self.source.dtype != DType::U8) {
            return None;
        }
        let mut last = 0usize;
        for &(count, stride) in batch.iter().chain(sum).chain([&(*columns, *column_stride)]) {
            let Some(steps) = count.checked_sub(1) else { return Some(0) };
            last = last.checked_add(steps.checked_mul(stride)?)?;
        }
        last.checked_add(1)
    }

    /// Writes the packed form.
    ///
    /// # Errors
    /// Those of the writer, and `InvalidInput` when the layout reads beyond the source.
    pub fn write_to(&self, out: &mut dyn io::Write) -> io::Result<()> {
        if self.source_reach().is_none_or(|n| n > self.source.len()) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the layout reads beyond the weight's elements"));
        }
        let bytes = self.source.data.bytes();
        let size = self.source.dtype.size();
        let Pack::Panels { batch, sum, columns, column_stride, width, halves } = &self.pack else {
            return out.write_all(bytes);
        };
        let mut row = vec![0u8; width * size];
        let mut lower: Option<Vec<u8>> = None;
        for base in offsets(batch) {
            for panel in 0..columns.div_ceil(*width) {
                let used = (*columns - panel * width).min(*width);
                row[used * size..].fill(0);
                for inner in offsets(sum) {
                    let start = base + inner + panel * width * column_stride;
                    if *column_stride == 1 {
                        row[..used * size].copy_from_slice(&bytes[start * size..(start + used) * size]);
                    } else {
                        for (c, cell) in row[..used * size].chunks_exact_mut(size).enumerate() {
                            let from = (start + c * column_stride) * size;
                            cell.copy_from_slice(&bytes[from..from + size]);
                        }
                    }
                    match lower.take() {
                        None if *halves => lower = Some(row.clone()),
                        None => out.write_all(&row)?,
                        Some(mut pair) => {
                            pair.iter_mut().zip(&row).for_each(|(low, high)| *low = *low & 15 | *high << 4);
                            out.write_all(&pair)?;
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

/// Every offset that nested loops of (count, stride) reach, row-major.
pub fn offsets(loops: &[(usize, usize)]) -> impl Iterator<Item = usize> + '_ {
    let total: usize = loops.iter().map(|l| l.0).product();
    (0..total).map(move |flat| {
        let mut rest = flat;
        let mut offset = 0;
        for &(count, stride) in loops.iter().rev() {
            offset += rest % count * stride;
            rest /= count;
        }
        offset
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(weight: &Weight) -> Vec<f32> {
        let mut bytes = vec![];
        weight.write_to(&mut bytes).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(bytes.len(), weight.packed_bytes());
        bytemuck::pod_collect_to_vec(&bytes)
    }

    fn counting(shape: &[usize]) -> Tensor {
        let elements: Vec<f32> = (0..shape.iter().product::<usize>()).map(|i| i as f32).collect();
        Tensor::from_slice(shape, &elements)
    }

    #[test]
    fn panels_of_a_matrix() {
        // [2, 5] into panels of 4 columns: the second holds one and is padded.
        let pack =
            Pack::Panels { batch: vec![], sum: vec![(2, 5)], columns: 5, column_stride: 1, width: 4, halves: false };
        let weight = Weight { source: counting(&[2, 5]), pack };
        assert_eq!(packed(&weight), [0., 1., 2., 3., 5., 6., 7., 8., 4., 0., 0., 0., 9., 0., 0., 0.]);
    }

    #[test]
    fn panels_of_a_transposed_batch() {
        // [2 batches, 3 columns, 2 rows]: the summed axis is the innermost.
        let pack = Pack::Panels {
            batch: vec![(2, 6)],
            sum: vec![(2, 1)],
            columns: 3,
            column_stride: 2,
            width: 2,
            halves: false,
        };
        let weight = Weight { source: counting(&[2, 3, 2]), pack };
        assert_eq!(packed(&weight), [0., 2., 1., 3., 4., 0., 5., 0., 6., 8., 7., 9., 10., 0., 11., 0.]);
    }

    #[test]
    fn panels_of_halves() {
        let source = Tensor::from_slice(&[4, 3], &[1u8, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 15]);
        let pack = |rows| Pack::Panels {
            batch: vec![],
            sum: vec![(rows, 3)],
            columns: 3,
            column_stride: 1,
            width: 2,
            halves: true,
        };
        let mut bytes = vec![];
        let weight = Weight { source: source.clone(), pack: pack(4) };
        weight.write_to(&mut bytes).unwrap();
        assert_eq!(bytes, [0x41, 0x52, 0xa7, 0xb8, 0x63, 0, 0xf9, 0]);
        assert_eq!(weight.packed_bytes(), 8);
        assert!(Weight { source, pack: pack(3) }.write_to(&mut vec![]).is_err());
    }

    #[test]
    fn a_layout_beyond_the_source_is_refused() {
        let pack =
            Pack::Panels { batch: vec![], sum: vec![(3, 5)], columns: 5, column_stride: 1, width: 4, halves: false };
        let weight = Weight { source: counting(&[2, 5]), pack };
        assert_eq!(weight.source_reach(), Some(15));
        assert!(weight.write_to(&mut Vec::new()).is_err());
        assert_eq!(packed(&Weight { source: counting(&[3]), pack: Pack::Plain }), [0., 1., 2.]);
    }
}

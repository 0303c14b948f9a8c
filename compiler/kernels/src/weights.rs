//! Weights: constants in the layout that kernels read.
//!
//! Packing is described as data and done while the artifact is written, so that the packed copy of a large model
//! never lies in memory whole.

use nnc_ir::Tensor;
use std::io;

/// An index of [`crate::Program::weights`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WeightId(pub u32);

/// How a constant's elements are laid out.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Pack {
    /// As they are.
    Plain,
    /// Column panels for [`crate::Gemm`]: for each batch, for each panel of `width` columns, for each summed index
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
    },
}

/// A weight of the artifact.
#[derive(Clone, Debug)]
pub struct Weight {
    /// Elements as the model has them.
    pub source: Tensor,
    /// Layout.
    pub pack: Pack,
}

impl Weight {
    /// Elements of the packed form.
    pub fn packed_len(&self) -> usize {
        match &self.pack {
            Pack::Plain => self.source.len(),
            Pack::Panels { batch, sum, columns, width, .. } => {
                let product = |loops: &[(usize, usize)]| loops.iter().map(|l| l.0).product::<usize>();
                product(batch) * product(sum) * columns.div_ceil((*width).max(1)) * width
            }
        }
    }

    /// Bytes of the packed form.
    pub fn packed_bytes(&self) -> usize {
        self.packed_len() * self.source.dtype.size()
    }

    /// Number of elements of the source, from its first on, that the layout reads; `None` when that overflows or the
    /// layout makes no sense.
    pub fn source_reach(&self) -> Option<usize> {
        let Pack::Panels { batch, sum, columns, column_stride, width } = &self.pack else {
            return Some(self.source.len());
        };
        if *width == 0 {
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
        let Pack::Panels { batch, sum, columns, column_stride, width } = &self.pack else {
            return out.write_all(bytes);
        };
        let mut row = vec![0u8; width * size];
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
                    out.write_all(&row)?;
                }
            }
        }
        Ok(())
    }
}

/// Every offset that nested loops of (count, stride) reach, row-major.
fn offsets(loops: &[(usize, usize)]) -> impl Iterator<Item = usize> + '_ {
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

//! Blocks: how the tensor of a state lies in memory that has room for more.

use nnc_abi::DType;

/// An output that is kept as an input of the next run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateInfo {
    /// The input, by its position in the signature.
    pub input: usize,
    /// The output, by its position.
    pub output: usize,
    /// The axis that grows, and how far; `None` where input and output have the same shape.
    pub growth: Option<(usize, i64)>,
}

impl StateInfo {
    /// Bytes of the block for tensors of these dimensions; `None` if they do not fit any.
    pub fn block_bytes(&self, dtype: DType, dims: &[i64]) -> Option<usize> {
        Rows::of(self, dtype, dims).map(Rows::block_bytes)
    }

    /// Copies a dense tensor into a block; `None` if it does not fit.
    pub fn bring_in(&self, dtype: DType, dims: &[i64], tensor: &[u8], block: &mut [u8]) -> Option<()> {
        let rows = Rows::of(self, dtype, dims)?;
        let fits = tensor.len() == rows.count * rows.used && block.len() >= rows.block_bytes();
        // SAFETY: both are as large as asked for.
        fits.then(|| unsafe { rows.bring_in(tensor.as_ptr(), block.as_mut_ptr()) })
    }

    /// Copies a dense tensor out of a block; `None` if there is no such in it.
    pub fn bring_out(&self, dtype: DType, dims: &[i64], block: &[u8], tensor: &mut [u8]) -> Option<()> {
        let rows = Rows::of(self, dtype, dims)?;
        let fits = tensor.len() == rows.count * rows.used && block.len() >= rows.block_bytes();
        // SAFETY: as above.
        fits.then(|| unsafe { rows.bring_out(block.as_ptr(), tensor.as_mut_ptr()) })
    }
}

/// How a tensor lies in a block, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rows {
    /// How many rows there are: indices of the axes outside of the one that grows.
    pub(super) count: usize,
    /// Bytes of each that the tensor has.
    pub(super) used: usize,
    /// Bytes from one to the next.
    stride: usize,
}

impl Rows {
    /// The rows of a tensor; `None` if it has more along the axis than fits, or a size overflows.
    pub(crate) fn of(info: &StateInfo, dtype: DType, dims: &[i64]) -> Option<Rows> {
        let product = |dims: &[i64]| {
            let mut sizes = dims.iter().map(|&d| usize::try_from(d));
            sizes.try_fold(1usize, |n, d| n.checked_mul(d.ok()?))
        };
        let element = usize::try_from(dtype.bytes_for(1)?).ok()?;
        let (axis, capacity) = info.growth.unwrap_or((0, dims.first().copied().unwrap_or(1)));
        let inner = product(dims.get(axis + 1..).unwrap_or_default())?.checked_mul(element)?;
        let used = dims.get(axis).copied().unwrap_or(1);
        let bytes = |size: i64| usize::try_from(size).ok()?.checked_mul(inner);
        let rows = Rows { count: product(dims.get(..axis)?)?, used: bytes(used)?, stride: bytes(capacity)? };
        rows.count.checked_mul(rows.stride).filter(|&all| isize::try_from(all).is_ok() && used <= capacity)?;
        Some(rows)
    }

    /// Bytes of the whole block.
    pub(crate) fn block_bytes(self) -> usize {
        self.count * self.stride
    }

    /// Copies a dense tensor into a block.
    ///
    /// # Safety
    ///
    /// Tensor and block have their sizes and do not overlap.
    pub(crate) unsafe fn bring_in(self, tensor: *const u8, block: *mut u8) {
        for row in 0..if self.used == 0 { 0 } else { self.count } {
            // SAFETY: the caller's promise.
            unsafe {
                let to = block.add(row * self.stride);
                to.copy_from_nonoverlapping(tensor.add(row * self.used), self.used);
            }
        }
    }

    /// Copies a tensor out of its block.
    ///
    /// # Safety
    ///
    /// As [`Self::bring_in`].
    pub(crate) unsafe fn bring_out(self, block: *const u8, tensor: *mut u8) {
        for row in 0..if self.used == 0 { 0 } else { self.count } {
            // SAFETY: the caller's promise.
            unsafe {
                let to = tensor.add(row * self.used);
                to.copy_from_nonoverlapping(block.add(row * self.stride), self.used);
            }
        }
    }
}

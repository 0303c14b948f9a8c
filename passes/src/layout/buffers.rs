//! Buffers, and the most that one may take.

use nnc_ir::{DType, Dim, DimTable};
use nnc_kernels::plan::{Buffer, BufferId, Place};

/// Most bytes of one buffer, 1 TiB. Sums over any number of buffers then stay within `i64`.
pub const MOST_BUFFER_BYTES: i64 = 1 << 40;

/// Whether a buffer exceeds [`MOST_BUFFER_BYTES`] for every size, or for every size but 0 of one that it is a multiple of.
fn is_too_large(bytes: &Dim, dims: &DimTable) -> bool {
    let steep = || bytes.view().terms.iter().any(|(coefficient, _)| *coefficient > MOST_BUFFER_BYTES);
    bytes.bounds(dims).0 > MOST_BUFFER_BYTES || steep()
}

/// Adds a buffer: name, type, elements, place.
///
/// # Errors
/// When it is too large.
pub fn add_buffer(
    buffers: &mut Vec<Buffer>,
    dims: &DimTable,
    (name, dtype, elements, place): (String, DType, &Dim, Place),
) -> Result<BufferId, String> {
    let bytes = elements * &Dim::from(dtype.size() as i64);
    if is_too_large(&bytes, dims) {
        return Err(format!(
            "`{name}` would take more than {MOST_BUFFER_BYTES} bytes, the most for one tensor; make it smaller"
        ));
    }
    buffers.push(Buffer { name, dtype, bytes, place });
    Ok(BufferId(buffers.len() as u32 - 1))
}

/// Adds a buffer for what the run computes: name, type, elements. The number of elements may mention data-dependent symbols:
/// where they have upper bounds, it lies in the workspace, at an offset that the memory planner will assign, else in memory
/// that [`crate::allocate`] has a step ask for.
///
/// # Errors
/// When it is too large.
pub fn add_workspace(
    buffers: &mut Vec<Buffer>,
    dims: &DimTable,
    (name, dtype, elements): (String, DType, &Dim),
) -> Result<BufferId, String> {
    let Some(mut elements) = elements.greatest(dims) else {
        let number = buffers.iter().filter(|buffer| matches!(buffer.place, Place::Allocated(_))).count();
        return add_buffer(buffers, dims, (name, dtype, elements, Place::Allocated(number)));
    };
    // A branch that is not taken may have sizes that make no sense; they take no memory either.
    if !elements.provably_ge(&Dim::ZERO, dims) {
        elements = elements.max(&Dim::ZERO);
    }
    add_buffer(buffers, dims, (name, dtype, &elements, Place::Workspace { offset: Dim::from(0) }))
}

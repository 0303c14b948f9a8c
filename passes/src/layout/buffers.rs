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

/// Adds a workspace buffer, whose offset the memory planner will assign: name, type, elements. The number of elements may
/// mention data-dependent symbols; their upper bounds are taken.
///
/// # Errors
/// When it is too large, or has no bound.
pub fn add_workspace(
    buffers: &mut Vec<Buffer>,
    dims: &DimTable,
    (name, dtype, elements): (String, DType, &Dim),
) -> Result<BufferId, String> {
    let mut elements = upper_bound(elements, dims)?;
    // A branch that is not taken may have sizes that make no sense; they take no memory either.
    if !elements.provably_ge(&Dim::ZERO, dims) {
        elements = elements.max(&Dim::ZERO);
    }
    add_buffer(buffers, dims, (name, dtype, &elements, Place::Workspace { offset: Dim::from(0) }))
}

/// An upper bound over symbols that are known before the run.
pub(crate) fn upper_bound(dim: &Dim, dims: &DimTable) -> Result<Dim, String> {
    dim.greatest(dims).ok_or_else(|| {
        let open = dim.symbols().into_iter().find(|s| Dim::sym(*s).greatest(dims).is_none());
        match open.and_then(|s| dims.lookup(s)) {
            Some(info) => format!(
                "the size {} depends on data and has no bound: bound it with --dim {}=0..N",
                info.name, info.name
            ),
            None => format!("the size {} has no bound", dims.display(dim)),
        }
    })
}

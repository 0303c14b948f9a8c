//! A step that runs a kernel, taken apart: what launches are made of.

use crate::choose;
use nnc_desc::Target;
use nnc_ir::{Dim, DimTable};
use nnc_kernels::kernel::{Access, Kernel};
use nnc_kernels::plan::{Argument, KernelId, Step};

/// A step that runs a kernel, taken apart.
#[derive(Clone)]
pub(super) struct Part {
    pub kernel: KernelId,
    pub arguments: Vec<Argument>,
    pub params: Vec<Dim>,
    pub extent: Dim,
    pub work: Dim,
    pub apart: bool,
    pub origin: String,
    /// Nanoseconds and items at the sizes that the cost model assumes.
    pub nanoseconds: u64,
    pub items: u64,
}

impl Part {
    pub(super) fn of(step: &Step, dims: &DimTable) -> Option<Part> {
        let Step::Run { kernel, arguments, params, extent, work, apart, origin } = step else { return None };
        let assumed = |dim: &Dim| choose::assumed(dim, dims, choose::MANY);
        Some(Part {
            kernel: *kernel,
            arguments: arguments.clone(),
            params: params.clone(),
            extent: extent.clone(),
            work: work.clone(),
            apart: *apart,
            origin: origin.clone(),
            nanoseconds: assumed(work),
            items: assumed(extent).max(1),
        })
    }

    /// Whether it is not worth sharing out.
    pub(super) fn is_small(&self, target: &Target) -> bool {
        self.nanoseconds <= target.rates.fork / 1000
    }

    pub(super) fn into_step(self) -> Step {
        let Part { kernel, arguments, params, extent, work, apart, origin, .. } = self;
        Step::Run { kernel, arguments, params, extent, work, apart, origin }
    }
}

/// Bytes of a kernel's scratch memory.
pub(super) fn scratch_bytes(kernel: &Kernel) -> usize {
    let bytes = |b: &nnc_kernels::BufferDecl| match b.access {
        Access::Scratch { elements } => elements * b.dtype.size(),
        Access::Read | Access::Write => 0,
    };
    kernel.buffers.iter().map(bytes).sum()
}

/// Whether no part reads or writes what the other writes.
pub(super) fn independent((x, x_kernel): (&Part, &Kernel), (y, y_kernel): (&Part, &Kernel)) -> bool {
    // Parameters come first, in the order of the arguments.
    x.arguments.iter().zip(&x_kernel.buffers).all(|(a, a_decl)| {
        y.arguments.iter().zip(&y_kernel.buffers).filter(|(b, _)| a.buffer == b.buffer).all(|(_, b_decl)| {
            match (a_decl.access, b_decl.access) {
                (Access::Read, Access::Read) => true,
                (Access::Write, Access::Write) => x.apart || y.apart,
                _ => false,
            }
        })
    })
}

//! Scratch buffers of a finished kernel.

use nnc_kernels::kernel::{Access, BufferDecl, BufferRef, Kernel};
use nnc_kernels::walk::{Mention, walk};

/// Orders a kernel's buffers as its declaration demands: parameters first, then scratch memory.
pub(crate) fn scratch_last(kernel: &mut Kernel) {
    let scratch = |b: &BufferDecl| matches!(b.access, Access::Scratch { .. });
    let (last, first): (Vec<usize>, Vec<usize>) = (0..kernel.buffers.len()).partition(|&i| scratch(&kernel.buffers[i]));
    let order = [first, last].concat();
    let mut moved = vec![BufferRef(0); order.len()];
    for (to, &from) in order.iter().enumerate() {
        moved[from] = BufferRef(to as u32);
    }
    kernel.buffers = order.iter().map(|&i| kernel.buffers[i].clone()).collect();
    walk(&mut kernel.body, &mut |mention| {
        if let Mention::Buffer(buffer) = mention {
            *buffer = moved[buffer.0 as usize];
        }
    });
}

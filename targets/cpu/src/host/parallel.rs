//! Running a kernel's range through the caller's `parallel_for`.
//!
//! A task is four words on the stack of the step: the kernel, its buffers, its parameters, and the cell for the first
//! failure. The cell takes the minimum of `begin << 8 | status` over failing ranges: the range that begins first wins,
//! and within it the kernel stopped at its first failure, so the answer is the serial one.

use super::Host;
use super::frame::FLAGS;
use crate::error::CodegenError;
use cranelift_codegen::ir::{AtomicRmwOp, InstBuilder, types};
use cranelift_module::{FuncId, Module};

pub(super) const FUNCTION: i32 = 0;
pub(super) const BUFFERS: i32 = 8;
pub(super) const PARAMS: i32 = 16;
pub(super) const CELL: i32 = 24;
pub(super) const TASK_BYTES: u32 = 32;

impl<M: Module> Host<'_, M> {
    /// Nanoseconds of work that a range should have at least. A step of less than two ranges stays on its thread.
    pub(super) fn range_work(&self) -> i64 {
        (self.target.rates.fork / 1000).clamp(1, i64::MAX as u64 / 2) as i64
    }

    /// `ParallelBody` of the binary interface: `fn(task, begin, end)`.
    pub(super) fn trampoline(&mut self) -> Result<FuncId, CodegenError> {
        let mut signature = self.signature(3);
        signature.returns.clear();
        let kernel = self.signature(4);
        self.function("range", signature, |host, b, params| {
            let (task, begin, end) = (params[0], params[1], params[2]);
            let [function, buffers, arguments, cell] =
                [FUNCTION, BUFFERS, PARAMS, CELL].map(|at| b.ins().load(types::I64, FLAGS, task, at));
            let signature = b.import_signature(kernel);
            let status = host.in_environment(b, |_, b| {
                let call = b.ins().call_indirect(signature, function, &[buffers, arguments, begin, end]);
                Ok(b.inst_results(call)[0])
            })?;
            let (fail, done) = (b.create_block(), b.create_block());
            b.ins().brif(status, fail, &[], done, &[]);
            b.switch_to_block(fail);
            let eight = b.ins().iconst(types::I64, 8);
            let order = b.ins().ishl(begin, eight);
            let mask = b.ins().iconst(types::I32, 0xff);
            let status = b.ins().band(status, mask);
            let status = b.ins().uextend(types::I64, status);
            let failure = b.ins().bor(order, status);
            b.ins().atomic_rmw(types::I64, FLAGS, AtomicRmwOp::Umin, cell, failure);
            b.ins().jump(done, &[]);
            b.switch_to_block(done);
            b.ins().return_(&[]);
            Ok(())
        })
    }
}

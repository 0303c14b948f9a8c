//! The steps of the host plan as functions over the frame: `fn(frame) -> status`.

use super::dims::check_sizes;
use super::frame::{ARGS, CONTEXT, FAILURE, FLAGS, SYMBOLS, Table, WEIGHTS, WORKSPACE};
use super::parallel::{BUFFERS, CELL, FUNCTION, PARAMS, TASK_BYTES};
use super::{Host, answer, compare, pass_on};
use crate::cranelift::index;
use crate::error::CodegenError;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{AbiParam, InstBuilder, Signature, StackSlot, StackSlotData, StackSlotKind, Value, types};
use cranelift_frontend::FunctionBuilder;
use cranelift_module::{FuncId, Module};
use nnc_abi::{Status, layout};
use nnc_kernels::{Argument, Place, Step};

/// Steps in one function: register allocation is not linear in a function's size.
const STEPS_PER_FUNCTION: usize = 48;

/// The stack of a function of steps, reused from step to step.
struct Scratch {
    buffers: StackSlot,
    params: StackSlot,
    task: StackSlot,
}

/// Where a function of steps stands.
pub(super) struct At<'t> {
    pub(super) frame: Value,
    pub(super) table: Table<'t>,
    scratch: Scratch,
}

impl<M: Module> Host<'_, M> {
    /// The function that runs these steps.
    pub(super) fn steps(&mut self, steps: &[Step]) -> Result<FuncId, CodegenError> {
        if steps.len() > STEPS_PER_FUNCTION {
            let mut parts = vec![];
            for part in steps.chunks(STEPS_PER_FUNCTION) {
                parts.push(self.steps(part)?);
            }
            return self.sequence(&parts);
        }
        // Functions of nested steps come first.
        let mut nested = vec![];
        for step in steps {
            nested.push(match step {
                Step::If { then, otherwise, .. } => vec![self.steps(then)?, self.steps(otherwise)?],
                Step::While { body, .. } => vec![self.steps(body)?],
                Step::Run { .. }
                | Step::Bind { .. }
                | Step::Check(_)
                | Step::Allocate { .. }
                | Step::Release { .. } => vec![],
            });
        }
        let (name, signature) = (self.next_name("steps"), self.signature(1));
        self.function(&name, signature, |host, b, params| {
            let frame = params[0];
            let offset = b.ins().iconst(types::I64, i64::from(SYMBOLS));
            let base = b.ins().iadd(frame, offset);
            let most = |count: fn(&Step) -> usize| steps.iter().map(count).max().unwrap_or(0).max(1) as u32;
            let mut slot = |bytes| b.create_sized_stack_slot(StackSlotData::new(StackSlotKind::ExplicitSlot, bytes, 4));
            let scratch = Scratch {
                buffers: slot(8 * most(|s| if let Step::Run { arguments, .. } = s { arguments.len() } else { 0 })),
                params: slot(8 * most(|s| if let Step::Run { params, .. } = s { params.len() } else { 0 })),
                task: slot(TASK_BYTES),
            };
            let program = host.program;
            let mut at = At { frame, table: Table { dims: &program.dims, base }, scratch };
            for (step, nested) in steps.iter().zip(&nested) {
                host.step(b, &mut at, step, nested)?;
            }
            answer(b, Status::Ok);
            Ok(())
        })
    }

    /// A function that calls functions of steps one after the other.
    fn sequence(&mut self, parts: &[FuncId]) -> Result<FuncId, CodegenError> {
        if parts.len() > STEPS_PER_FUNCTION {
            let mut groups = vec![];
            for group in parts.chunks(STEPS_PER_FUNCTION) {
                groups.push(self.sequence(group)?);
            }
            return self.sequence(&groups);
        }
        let (name, signature) = (self.next_name("steps"), self.signature(1));
        self.function(&name, signature, |host, b, params| {
            for part in parts {
                host.call_steps(b, *part, params[0]);
            }
            answer(b, Status::Ok);
            Ok(())
        })
    }

    /// Calls a function of steps, passing its failure on.
    pub(super) fn call_steps(&mut self, b: &mut FunctionBuilder<'_>, steps: FuncId, frame: Value) {
        let callee = self.module.declare_func_in_func(steps, b.func);
        let call = b.ins().call(callee, &[frame]);
        let status = b.inst_results(call)[0];
        pass_on(b, status);
    }

    fn step(
        &mut self,
        b: &mut FunctionBuilder<'_>,
        at: &mut At<'_>,
        step: &Step,
        nested: &[FuncId],
    ) -> Result<(), CodegenError> {
        match (step, nested) {
            (Step::Run { .. }, _) => self.run_kernel(b, at, step),
            (Step::Bind { symbol, source, min, max, .. }, _) => {
                let address = self.element(b, at, source)?;
                let value = b.ins().load(types::I64, FLAGS, address, 0);
                for (dim, cc, status) in [
                    (min, IntCC::SignedGreaterThanOrEqual, Status::CheckFailed),
                    (max, IntCC::SignedLessThanOrEqual, Status::BoundExceeded),
                ] {
                    let limit = index::value(b, &mut at.table, dim);
                    let within = b.ins().icmp(cc, value, limit);
                    self.require_of(b, at.frame, step, (within, status), [value, limit]);
                }
                b.ins().store(FLAGS, value, at.table.base, 8 * symbol.0 as i32);
                Ok(())
            }
            (Step::Check(check), _) => {
                let (holds, sizes) = check_sizes(b, &mut at.table, check);
                self.require_of(b, at.frame, step, (holds, Status::CheckFailed), sizes);
                Ok(())
            }
            (Step::Allocate { .. }, _) => self.allocate(b, at, step),
            (Step::Release { buffer }, _) => {
                let program = self.program;
                self.release(b, at.frame, &program.buffers[buffer.0 as usize].place)
            }
            (Step::If { condition, .. }, &[then, otherwise]) => {
                let holds = self.flag(b, at, condition)?;
                let [yes, no, after] = [(); 3].map(|()| b.create_block());
                b.ins().brif(holds, yes, &[], no, &[]);
                for (block, steps) in [(yes, then), (no, otherwise)] {
                    b.switch_to_block(block);
                    self.call_steps(b, steps, at.frame);
                    b.ins().jump(after, &[]);
                }
                b.switch_to_block(after);
                Ok(())
            }
            (Step::While { condition, .. }, &[body]) => {
                let [header, inside, after] = [(); 3].map(|()| b.create_block());
                b.ins().jump(header, &[]);
                b.switch_to_block(header);
                let holds = self.flag(b, at, condition)?;
                b.ins().brif(holds, inside, &[], after, &[]);
                b.switch_to_block(inside);
                self.call_steps(b, body, at.frame);
                b.ins().jump(header, &[]);
                b.switch_to_block(after);
                Ok(())
            }
            (Step::If { .. } | Step::While { .. }, _) => {
                Err(CodegenError::Program("a nested step has no function".to_owned()))
            }
        }
    }

    /// A bool element.
    fn flag(&self, b: &mut FunctionBuilder<'_>, at: &mut At<'_>, source: &Argument) -> Result<Value, CodegenError> {
        let address = self.element(b, at, source)?;
        Ok(b.ins().load(types::I8, FLAGS, address, 0))
    }

    /// Address of an argument's first element.
    fn element(
        &self,
        b: &mut FunctionBuilder<'_>,
        at: &mut At<'_>,
        argument: &Argument,
    ) -> Result<Value, CodegenError> {
        let buffer = self
            .program
            .buffers
            .get(argument.buffer.0 as usize)
            .ok_or_else(|| CodegenError::Program(format!("buffer {} does not exist", argument.buffer.0)))?;
        let mut offset = &argument.offset * buffer.dtype.size() as i64;
        let load = |b: &mut FunctionBuilder<'_>, from, field| b.ins().load(types::I64, FLAGS, from, field);
        let base = match &buffer.place {
            place if let Some(slot) = self.slot_of(place) => load(b, at.frame, slot),
            Place::Input(i) => {
                let args = load(b, at.frame, ARGS);
                let array = load(b, args, layout::run_args::INPUTS as i32);
                load(b, array, 8 * *i as i32)
            }
            Place::Output(i) => {
                let args = load(b, at.frame, ARGS);
                let array = load(b, args, layout::run_args::OUTPUTS as i32);
                load(b, array, 8 * *i as i32)
            }
            Place::State(i) => {
                let args = load(b, at.frame, ARGS);
                let array = load(b, args, layout::run_args::STATES as i32);
                load(b, array, 8 * *i as i32)
            }
            Place::Weight(id) => {
                let start = self.offsets.get(id.0 as usize).copied().unwrap_or(0);
                offset = offset + start as i64;
                load(b, at.frame, WEIGHTS)
            }
            Place::Workspace { offset: start } => {
                offset = &offset + start;
                load(b, at.frame, WORKSPACE)
            }
            Place::Allocated(number) => {
                return Err(CodegenError::Program(format!("allocation {number} is beyond the frame")));
            }
        };
        if offset.is_const(0) {
            return Ok(base);
        }
        let offset = index::value(b, &mut at.table, &offset);
        Ok(b.ins().iadd(base, offset))
    }

    fn run_kernel(&mut self, b: &mut FunctionBuilder<'_>, at: &mut At<'_>, step: &Step) -> Result<(), CodegenError> {
        let Step::Run { kernel, arguments, params, extent, work, .. } = step else { return Ok(()) };
        let (Some(&function), Some(&fails)) = (self.kernels.get(kernel.0 as usize), self.fails.get(kernel.0 as usize))
        else {
            return Err(CodegenError::Program(format!("kernel {} does not exist", kernel.0)));
        };
        if extent.as_const().is_some_and(|n| n <= 0) {
            return Ok(());
        }
        for (i, argument) in arguments.iter().enumerate() {
            let address = self.element(b, at, argument)?;
            b.ins().stack_store(types::I64, address, at.scratch.buffers, 8 * i as i32);
        }
        for (i, param) in params.iter().enumerate() {
            let value = index::value(b, &mut at.table, param);
            b.ins().stack_store(types::I64, value, at.scratch.params, 8 * i as i32);
        }
        let buffers = b.ins().stack_addr(types::I64, at.scratch.buffers, 0);
        let params = b.ins().stack_addr(types::I64, at.scratch.params, 0);
        let count = index::value(b, &mut at.table, extent);
        let callee = self.module.declare_func_in_func(function, b.func);
        let least = 2 * self.range_work();
        let alone = extent.is_const(1) || work.as_const().is_some_and(|w| w < least);
        let after = b.create_block();
        if !alone {
            let work = index::value(b, &mut at.table, work);
            let context = b.ins().load(types::I64, FLAGS, at.frame, CONTEXT);
            let threads = compare(b, IntCC::NotEqual, context, 0);
            let enough = compare(b, IntCC::SignedGreaterThanOrEqual, work, least);
            let several = compare(b, IntCC::SignedGreaterThan, count, 1);
            let both = b.ins().band(threads, enough);
            let all = b.ins().band(both, several);
            let (parallel, serial) = (b.create_block(), b.create_block());
            b.ins().brif(all, parallel, &[], serial, &[]);
            b.switch_to_block(parallel);
            let entry = b.ins().func_addr(types::I64, callee);
            for (field, value) in [(FUNCTION, entry), (BUFFERS, buffers), (PARAMS, params)] {
                b.ins().stack_store(types::I64, value, at.scratch.task, field);
            }
            self.call_parallel(b, at, [context, count, work], fails.then_some(step))?;
            b.ins().jump(after, &[]);
            b.switch_to_block(serial);
        }
        let zero = b.ins().iconst(types::I64, 0);
        let call = b.ins().call(callee, &[buffers, params, zero, count]);
        if fails {
            let status = b.inst_results(call)[0];
            let (fine, fail) = (b.create_block(), b.create_block());
            b.ins().brif(status, fail, &[], fine, &[]);
            b.switch_to_block(fail);
            b.set_cold_block(fail);
            self.tell(b, at.frame, step, None);
            b.ins().return_(&[status]);
            b.switch_to_block(fine);
        }
        b.ins().jump(after, &[]);
        b.switch_to_block(after);
        Ok(())
    }

    /// Runs the task through the context's `parallel_for`.
    fn call_parallel(
        &mut self,
        b: &mut FunctionBuilder<'_>,
        at: &mut At<'_>,
        [context, count, work]: [Value; 3],
        may_fail: Option<&Step>,
    ) -> Result<(), CodegenError> {
        let cell = b.ins().iconst(types::I64, i64::from(FAILURE));
        let cell = b.ins().iadd(at.frame, cell);
        b.ins().stack_store(types::I64, cell, at.scratch.task, CELL);
        let none = b.ins().iconst(types::I64, -1);
        b.ins().store(FLAGS, none, cell, 0);
        // `work` is positive here.
        let (least, one) = (b.ins().iconst(types::I64, self.range_work()), b.ins().iconst(types::I64, 1));
        let total = b.ins().imul(count, least);
        let divisor = b.ins().smax(work, one);
        let grain = b.ins().udiv(total, divisor);
        let grain = b.ins().smax(grain, one);
        let trampoline =
            self.trampoline.ok_or_else(|| CodegenError::Program("the trampoline comes before the steps".to_owned()))?;
        let trampoline = self.module.declare_func_in_func(trampoline, b.func);
        let body = b.ins().func_addr(types::I64, trampoline);
        let task = b.ins().stack_addr(types::I64, at.scratch.task, 0);
        let parallel_for = b.ins().load(types::I64, FLAGS, context, layout::run_context::PARALLEL_FOR as i32);
        let pool = b.ins().load(types::I64, FLAGS, context, layout::run_context::POOL as i32);
        let mut signature = Signature::new(self.module.isa().default_call_conv());
        signature.params = vec![AbiParam::new(types::I64); 5];
        let signature = b.import_signature(signature);
        b.ins().call_indirect(signature, parallel_for, &[pool, count, grain, body, task]);
        if let Some(step) = may_fail {
            let failure = b.ins().load(types::I64, FLAGS, cell, 0);
            let fine = compare(b, IntCC::Equal, failure, -1);
            let (bad, good) = (b.create_block(), b.create_block());
            b.ins().brif(fine, good, &[], bad, &[]);
            b.switch_to_block(bad);
            let status = b.ins().ireduce(types::I32, failure);
            let mask = b.ins().iconst(types::I32, 0xff);
            let status = b.ins().band(status, mask);
            self.tell(b, at.frame, step, None);
            b.ins().return_(&[status]);
            b.switch_to_block(good);
        }
        Ok(())
    }
}

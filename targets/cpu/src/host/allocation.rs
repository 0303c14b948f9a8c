//! Memory that the run asks its caller for: a slot of the frame for each allocated buffer, and for each output.
//!
//! A slot is the address and the bytes asked for, both 0 while there is nothing. Whatever a run answers, it has released
//! what lies in the slots that are not outputs': `run` does so when its steps have ended, in whatever way.

use super::dims::checked;
use super::frame::{ALLOCATOR, FLAGS, SYMBOLS};
use super::steps::At;
use super::{Host, answer, compare, not_null, require};
use crate::error::CodegenError;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{AbiParam, InstBuilder, Signature, Value, types};
use cranelift_frontend::FunctionBuilder;
use cranelift_module::{FuncId, Module};
use nnc_abi::{Status, layout::allocator};
use nnc_kernels::{Place, Step};

/// Bytes of a slot.
const SLOT: u32 = 16;
/// Where it has the bytes.
const BYTES: i32 = 8;

impl<M: Module> Host<'_, M> {
    /// How many slots the frame has.
    fn slots(&self) -> usize {
        if self.program.allocates() { self.program.allocations() + self.program.outputs.len() } else { 0 }
    }

    /// Bytes of all slots, which lie behind the symbols.
    pub(super) fn slot_bytes(&self) -> u32 {
        self.slots() as u32 * SLOT
    }

    /// Where the frame has the slot of a buffer, if steps ask for its memory.
    pub(super) fn slot_of(&self, place: &Place) -> Option<i32> {
        let number = match place {
            Place::Allocated(number) => *number,
            Place::Output(output) if self.program.is_allocated_output(*output) => self.program.allocations() + output,
            _ => return None,
        };
        i32::try_from(SYMBOLS as usize + self.table_bytes() as usize + number * SLOT as usize).ok()
    }

    /// Empties all slots; to be done before the steps.
    pub(super) fn clear_slots(&self, b: &mut FunctionBuilder<'_>, frame: Value) {
        let (first, count) = (SYMBOLS + self.table_bytes() as i32, self.slot_bytes() / 8);
        let zero = b.ins().iconst(types::I64, 0);
        for word in 0..count as i32 {
            b.ins().store(FLAGS, zero, frame, first + 8 * word);
        }
    }

    /// The step that asks for memory, in place of what the buffer has.
    pub(super) fn allocate(
        &mut self,
        b: &mut FunctionBuilder<'_>,
        at: &mut At<'_>,
        step: &Step,
    ) -> Result<(), CodegenError> {
        let Step::Allocate { buffer, bytes, .. } = step else { return Ok(()) };
        let place = &self.program.buffers[buffer.0 as usize].place;
        let output = if let Place::Output(output) = place { *output as i64 } else { -1 };
        let slot = self.slot(b, at.frame, place)?;
        self.release_slot(b, at.frame, slot);
        let mut overflow = b.ins().iconst(types::I8, 0);
        let value = checked(b, &mut at.table, bytes, &mut overflow);
        let one = b.ins().iconst(types::I8, 1);
        let fits = b.ins().bxor(overflow, one);
        let limit = b.ins().iconst(types::I64, i64::MAX);
        self.require_of(b, at.frame, step, (fits, Status::SizeOverflow), [value, limit]);
        let zero = b.ins().iconst(types::I64, 0);
        let value = b.ins().smax(value, zero);
        let from = b.ins().load(types::I64, FLAGS, at.frame, ALLOCATOR);
        let [function, state] =
            [allocator::ALLOCATE, allocator::STATE].map(|field| b.ins().load(types::I64, FLAGS, from, field as i32));
        let mut signature = Signature::new(self.module.isa().default_call_conv());
        signature.params = vec![AbiParam::new(types::I64); 3];
        signature.returns = vec![AbiParam::new(types::I64)];
        let signature = b.import_signature(signature);
        let output = b.ins().iconst(types::I64, output);
        let call = b.ins().call_indirect(signature, function, &[state, value, output]);
        let memory = b.inst_results(call)[0];
        let (there, empty) = (not_null(b, memory), compare(b, IntCC::Equal, value, 0));
        let fine = b.ins().bor(there, empty);
        self.require_of(b, at.frame, step, (fine, Status::OutOfMemory), [value, limit]);
        b.ins().store(FLAGS, memory, slot, 0);
        b.ins().store(FLAGS, value, slot, BYTES);
        Ok(())
    }

    /// The step that gives memory back.
    pub(super) fn release(
        &mut self,
        b: &mut FunctionBuilder<'_>,
        frame: Value,
        place: &Place,
    ) -> Result<(), CodegenError> {
        let slot = self.slot(b, frame, place)?;
        self.release_slot(b, frame, slot);
        Ok(())
    }

    /// The address of a slot.
    fn slot(&self, b: &mut FunctionBuilder<'_>, frame: Value, place: &Place) -> Result<Value, CodegenError> {
        let none = || CodegenError::Program("a buffer that no step allocates is allocated".to_owned());
        let offset = b.ins().iconst(types::I64, i64::from(self.slot_of(place).ok_or_else(none)?));
        Ok(b.ins().iadd(frame, offset))
    }

    /// Calls [`Host::releaser`].
    fn release_slot(&mut self, b: &mut FunctionBuilder<'_>, frame: Value, slot: Value) {
        if let Some(release) = self.releaser {
            let callee = self.module.declare_func_in_func(release, b.func);
            b.ins().call(callee, &[frame, slot]);
        }
    }

    /// `fn(frame, slot) -> 0`: releases what a slot has and empties it.
    pub(super) fn releaser(&mut self) -> Result<FuncId, CodegenError> {
        let signature = self.signature(2);
        self.function("release", signature, |host, b, params| {
            let (frame, slot) = (params[0], params[1]);
            let [memory, bytes] = [0, BYTES].map(|field| b.ins().load(types::I64, FLAGS, slot, field));
            let (give, done) = (b.create_block(), b.create_block());
            let there = not_null(b, memory);
            b.ins().brif(there, give, &[], done, &[]);
            b.switch_to_block(give);
            let from = b.ins().load(types::I64, FLAGS, frame, ALLOCATOR);
            let [function, state] =
                [allocator::RELEASE, allocator::STATE].map(|field| b.ins().load(types::I64, FLAGS, from, field as i32));
            let mut signature = Signature::new(host.module.isa().default_call_conv());
            signature.params = vec![AbiParam::new(types::I64); 3];
            let signature = b.import_signature(signature);
            b.ins().call_indirect(signature, function, &[state, memory, bytes]);
            let zero = b.ins().iconst(types::I64, 0);
            b.ins().store(FLAGS, zero, slot, 0);
            b.ins().store(FLAGS, zero, slot, BYTES);
            b.ins().jump(done, &[]);
            b.switch_to_block(done);
            answer(b, Status::Ok);
            Ok(())
        })
    }

    /// Releases everything but outputs.
    pub(super) fn release_all(&mut self, b: &mut FunctionBuilder<'_>, frame: Value) {
        for number in 0..self.program.allocations() {
            if let Ok(slot) = self.slot(b, frame, &Place::Allocated(number)) {
                self.release_slot(b, frame, slot);
            }
        }
    }

    /// Keeps the context's allocator in the frame, which a run must have that asks for memory.
    pub(super) fn bind_allocator(&self, b: &mut FunctionBuilder<'_>, frame: Value, context: Value) {
        if !self.program.allocates() {
            return;
        }
        let present = not_null(b, context);
        require(b, present, Status::NoAllocator);
        let field = nnc_abi::layout::run_context::ALLOCATOR;
        let allocator = b.ins().load(types::I64, FLAGS, context, field as i32);
        let present = not_null(b, allocator);
        require(b, present, Status::NoAllocator);
        b.ins().store(FLAGS, allocator, frame, ALLOCATOR);
    }
}

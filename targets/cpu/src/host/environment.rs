//! The floating-point environment: model code always runs with the default one, whatever its threads were set to.
//!
//! A thread may flush subnormal numbers to zero, round upwards or trap on overflow; helpers of a pool may be set otherwise
//! than the caller. Then the number of threads would change results. So `run`, and each range on whatever thread it
//! lands, call [`Environment::enter`] first and [`Environment::leave`] last, with a cell of eight bytes on their stack.
//! Where the environment is the default one already, which is nearly always, nothing is written: a few nanoseconds, and
//! the exception flags accumulate as in any code. Otherwise the caller's environment is restored, flags included.
//!
//! Neither can be said in Cranelift's IR, so these are the only functions written by hand.

use super::Host;
use crate::check::Kind;
use crate::error::CodegenError;
use crate::x86::assembler::{Arg, Assembler};
use cranelift_codegen::ir::{AbiParam, InstBuilder, Signature, StackSlotData, StackSlotKind, Value, types};
use cranelift_frontend::FunctionBuilder;
use cranelift_module::{FuncId, Linkage, Module};
use iced_x86::{Mnemonic as M, Register};
use nnc_desc::Arch;

/// The functions that change the environment, `fn(cell)`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Environment {
    enter: FuncId,
    leave: FuncId,
}

/// MXCSR at the start of a process: all exceptions masked, round to nearest, subnormal numbers as they are.
const MXCSR: i64 = 0x1F80;
/// What of MXCSR is setting rather than exception flag.
const SETTINGS: i64 = !0x3F;

impl<M: Module> Host<'_, M> {
    /// Defines the functions.
    pub(super) fn environment(&mut self) -> Result<Environment, CodegenError> {
        Ok(Environment { enter: self.leaf("enter", true)?, leave: self.leaf("leave", false)? })
    }

    fn leaf(&mut self, name: &str, enter: bool) -> Result<FuncId, CodegenError> {
        let name = format!("{}.{name}", self.program.name);
        let mut signature = Signature::new(self.module.isa().default_call_conv());
        signature.params = vec![AbiParam::new(types::I64)];
        let id = self
            .module
            .declare_function(&name, Linkage::Local, &signature)
            .map_err(|e| CodegenError::backend(&name, e))?;
        let bytes = match self.listing.arch {
            Arch::X86_64 => x86_64(enter).map_err(|fault| CodegenError::backend(&name, fault.0))?,
            Arch::Aarch64 => aarch64(enter).iter().flat_map(|word| word.to_le_bytes()).collect(),
        };
        self.listing.define_bytes(self.module, id, &name, Kind::Environment, 16, &bytes)?;
        Ok(id)
    }

    /// Code between the two calls runs in the default environment; it must not return from the function.
    pub(super) fn in_environment<T>(
        &mut self,
        b: &mut FunctionBuilder<'_>,
        inside: impl FnOnce(&mut Self, &mut FunctionBuilder<'_>) -> Result<T, CodegenError>,
    ) -> Result<T, CodegenError> {
        let missing = || CodegenError::Program("the environment comes before what runs in it".to_owned());
        let Environment { enter, leave } = self.environment.ok_or_else(missing)?;
        let slot = b.create_sized_stack_slot(StackSlotData::new(StackSlotKind::ExplicitSlot, 8, 3));
        let call = |host: &mut Self, b: &mut FunctionBuilder<'_>, function: FuncId| {
            let callee = host.module.declare_func_in_func(function, b.func);
            let cell: Value = b.ins().stack_addr(types::I64, slot, 0);
            b.ins().call(callee, &[cell]);
        };
        call(self, b, enter);
        let result = inside(self, b)?;
        call(self, b, leave);
        Ok(result)
    }
}

/// The cell is in rdi: MXCSR as it was, and room for the default.
fn x86_64(enter: bool) -> Result<Vec<u8>, crate::x86::Fault> {
    let mut asm = Assembler::new(false);
    let done = asm.label();
    let eax = Arg::Reg(Register::EAX);
    let cell = |bytes| Arg::Mem(Register::RDI, None, bytes);
    if enter {
        asm.op(M::Stmxcsr, &[cell(0)])?;
    }
    asm.op(M::Mov, &[eax, cell(0)])?;
    asm.op(M::And, &[eax, Arg::Imm(SETTINGS)])?;
    asm.op(M::Cmp, &[eax, Arg::Imm(MXCSR)])?;
    asm.op(M::Je, &[Arg::To(done)])?;
    if enter {
        asm.op(M::Mov, &[eax, Arg::Imm(MXCSR)])?;
        asm.op(M::Mov, &[cell(4), eax])?;
        asm.op(M::Ldmxcsr, &[cell(4)])?;
    } else {
        asm.op(M::Ldmxcsr, &[cell(0)])?;
    }
    asm.bind(done);
    asm.op(M::Ret, &[])?;
    asm.finish(&[])
}

/// The cell is in x0: FPCR as it was, whose default is 0.
fn aarch64(enter: bool) -> Vec<u32> {
    const MRS_X9_FPCR: u32 = 0xD53B_4409;
    const STR_X9: u32 = 0xF900_0009;
    const LDR_X9: u32 = 0xF940_0009;
    const CBZ_X9_OVER_ONE: u32 = 0xB400_0049;
    const MSR_FPCR_XZR: u32 = 0xD51B_441F;
    const MSR_FPCR_X9: u32 = 0xD51B_4409;
    const RET: u32 = 0xD65F_03C0;
    if enter {
        vec![MRS_X9_FPCR, STR_X9, CBZ_X9_OVER_ONE, MSR_FPCR_XZR, RET]
    } else {
        vec![LDR_X9, CBZ_X9_OVER_ONE, MSR_FPCR_X9, RET]
    }
}

//! The model's entry points, from the host plan.
//!
//! `run` checks its arguments and fills a [`frame`] on its stack; the plan's steps are functions over that frame, split
//! so that none grows with the size of the model. `plan` shares the checking of dimensions with `run`.
//!
//! Invariants: nothing is allocated but by the caller's allocator; there is no mutable global; kernels run either serially or through the caller's
//! `parallel_for`, with the same iterations, the same floating-point environment and the same answer: of several failing
//! ranges the first in order counts.

mod allocation;
mod dims;
mod environment;
mod faults;
mod frame;
mod parallel;
mod run;
mod steps;

pub(crate) use faults::Faults;

use crate::check::Kind;
use crate::emit::Listing;
use crate::error::CodegenError;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{AbiParam, InstBuilder, Signature, UserFuncName, Value, types};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use cranelift_module::{DataId, FuncId, Linkage, Module};
use nnc_abi::Status;
use nnc_desc::Target;
use nnc_kernels::Program;

/// What the entry points are made from.
pub(crate) struct Host<'a, M: Module> {
    pub(crate) module: &'a mut M,
    pub(crate) program: &'a Program,
    pub(crate) target: &'a Target,
    /// The function of each kernel.
    pub(crate) kernels: &'a [FuncId],
    /// Whether each kernel may fail.
    pub(crate) fails: &'a [bool],
    /// The embedded weights, if there are any.
    pub(crate) weights: Option<DataId>,
    /// Whether every run brings the weights.
    pub(crate) beside: bool,
    /// Where each weight begins.
    pub(crate) offsets: &'a [u64],
    /// Whether data is near code, so that addresses are relative.
    pub(crate) near: bool,
    pub(crate) listing: &'a mut Listing,
    pub(crate) environment: Option<environment::Environment>,
    pub(crate) trampoline: Option<FuncId>,
    /// What may stop a run.
    pub(crate) faults: &'a Faults,
    pub(crate) report: Option<FuncId>,
    pub(crate) releaser: Option<FuncId>,
    pub(crate) functions: u32,
}

/// The functions a descriptor points to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entries {
    pub(crate) plan: FuncId,
    pub(crate) run: FuncId,
}

impl<M: Module> Host<'_, M> {
    /// Generates all of it.
    pub(crate) fn entries(&mut self) -> Result<Entries, CodegenError> {
        let dims = self.dims()?;
        let plan = self.plan(dims)?;
        self.environment = Some(self.environment()?);
        self.trampoline = Some(self.trampoline()?);
        self.report = Some(self.report()?);
        if self.program.allocates() {
            self.releaser = Some(self.releaser()?);
        }
        let program = self.program;
        let steps = self.steps(&program.steps)?;
        let run = self.run(dims, steps)?;
        Ok(Entries { plan, run })
    }

    /// A signature of `n` pointers or numbers, answering a status.
    fn signature(&self, n: usize) -> Signature {
        let mut signature = self.module.make_signature();
        signature.params = vec![AbiParam::new(types::I64); n];
        signature.returns = vec![AbiParam::new(types::I32)];
        signature
    }

    /// Defines a local function; `build` fills it from its entry block on.
    fn function(
        &mut self,
        name: &str,
        signature: Signature,
        build: impl FnOnce(&mut Self, &mut FunctionBuilder<'_>, &[Value]) -> Result<(), CodegenError>,
    ) -> Result<FuncId, CodegenError> {
        let name = format!("{}.{name}", self.program.name);
        let id = self
            .module
            .declare_function(&name, Linkage::Local, &signature)
            .map_err(|e| CodegenError::backend(&name, e))?;
        let mut context = self.module.make_context();
        context.func.signature = signature;
        context.func.name = UserFuncName::user(0, id.as_u32());
        let mut builder_context = FunctionBuilderContext::new();
        let mut b = FunctionBuilder::new(&mut context.func, &mut builder_context);
        let entry = b.create_block();
        b.append_block_params_for_function_params(entry);
        b.switch_to_block(entry);
        let params = b.block_params(entry).to_vec();
        build(self, &mut b, &params)?;
        b.seal_all_blocks();
        b.finalize(self.module.isa().frontend_config());
        self.listing.define(self.module, id, &name, Kind::Host, &mut context)?;
        Ok(id)
    }

    /// A name for the next function of a kind.
    fn next_name(&mut self, kind: &str) -> String {
        self.functions += 1;
        format!("{kind}_{}", self.functions)
    }
}

/// Returns `status` unless the condition holds.
fn require(b: &mut FunctionBuilder<'_>, condition: Value, status: Status) {
    require_or(b, condition, status, |_| {});
}

/// Does what `before` does and returns `status` unless the condition holds.
fn require_or(
    b: &mut FunctionBuilder<'_>,
    condition: Value,
    status: Status,
    before: impl FnOnce(&mut FunctionBuilder<'_>),
) {
    let (fine, fail) = (b.create_block(), b.create_block());
    b.ins().brif(condition, fine, &[], fail, &[]);
    b.switch_to_block(fail);
    b.set_cold_block(fail);
    before(b);
    answer(b, status);
    b.switch_to_block(fine);
}

/// Returns the callee's status unless it is 0.
fn pass_on(b: &mut FunctionBuilder<'_>, status: Value) {
    let (fine, fail) = (b.create_block(), b.create_block());
    b.ins().brif(status, fail, &[], fine, &[]);
    b.switch_to_block(fail);
    b.set_cold_block(fail);
    b.ins().return_(&[status]);
    b.switch_to_block(fine);
}

fn answer(b: &mut FunctionBuilder<'_>, status: Status) {
    let status = b.ins().iconst(types::I32, status as i64);
    b.ins().return_(&[status]);
}

fn not_null(b: &mut FunctionBuilder<'_>, pointer: Value) -> Value {
    compare(b, IntCC::NotEqual, pointer, 0)
}

fn compare(b: &mut FunctionBuilder<'_>, cc: IntCC, x: Value, constant: i64) -> Value {
    let constant = b.ins().iconst(types::I64, constant);
    b.ins().icmp(cc, x, constant)
}

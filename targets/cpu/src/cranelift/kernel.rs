//! The frame of a kernel's function: parameters, buffers, variables.

use super::index::{self, Values};
use super::isa::Abilities;
use crate::error::CodegenError;
use cranelift_codegen::ir::{
    AbiParam, Function, InstBuilder, MemFlagsData, Signature, StackSlotData, StackSlotKind, Type, Value, types,
};
use cranelift_codegen::isa::{CallConv, TargetIsa};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext, Variable};
use nnc_ir::DType;
use nnc_kernels::affine::Varying;
use nnc_kernels::index::Ranges;
use nnc_kernels::kernel::{Access, Index};
use nnc_kernels::{BufferRef, Kernel, Var};

/// Accesses that cannot trap; their addresses may be unaligned.
pub(super) const MEMORY: MemFlagsData = MemFlagsData::new().with_notrap();

/// The signature of every kernel: `(buffers, params, begin, end) -> status`.
pub(crate) fn signature(call_conv: CallConv) -> Signature {
    let mut signature = Signature::new(call_conv);
    signature.params = vec![AbiParam::new(types::I64); 4];
    signature.returns = vec![AbiParam::new(types::I32)];
    signature
}

/// What a variable stands for at this point of the function.
#[derive(Clone, Copy, Debug)]
pub(super) enum Binding {
    /// A value, the same in all lanes.
    Uniform(Value),
    /// A value per lane.
    Lanes(Value),
    /// A mutable variable.
    Mutable(Variable),
}

/// The lowering of one kernel.
pub(super) struct Lower<'a, 'f> {
    pub(super) kernel: &'a Kernel,
    pub(super) abilities: Abilities,
    pub(super) b: FunctionBuilder<'f>,
    pub(super) env: Env<'a>,
    /// Base address per buffer declaration.
    pub(super) buffers: Vec<Value>,
    /// What varies between lanes, inside a vector loop.
    pub(super) varying: Option<Varying>,
}

/// The variables, as far as indices are concerned.
pub(super) struct Env<'a> {
    kernel: &'a Kernel,
    bindings: Vec<Option<(Binding, u32)>>,
    /// Loops around the current point.
    pub(super) depth: u32,
    ranges: &'a Ranges,
}

impl Env<'_> {
    pub(super) fn bind(&mut self, var: Var, binding: Binding) {
        if let Some(slot) = self.bindings.get_mut(var.0 as usize) {
            *slot = Some((binding, self.depth));
        }
    }

    pub(super) fn get(&self, var: Var) -> Option<Binding> {
        self.bindings.get(var.0 as usize).copied().flatten().map(|b| b.0)
    }
}

impl Values<Index> for Env<'_> {
    fn value(&mut self, b: &mut FunctionBuilder<'_>, var: Var) -> Value {
        match self.get(var) {
            Some(Binding::Uniform(value)) => value,
            Some(Binding::Mutable(variable)) => b.use_var(variable),
            // Verified kernels index by neither; 0 is a value like any other.
            Some(Binding::Lanes(_)) | None => b.ins().iconst(types::I64, 0),
        }
    }

    fn depth(&self, var: Var) -> u32 {
        match self.bindings.get(var.0 as usize).copied().flatten() {
            Some((Binding::Mutable(_), _)) | None => u32::MAX,
            Some((_, depth)) => depth,
        }
    }

    fn not_negative(&self, index: &Index) -> bool {
        let known = index.vars().iter().all(|v| (v.0 as usize) < self.kernel.vars.len());
        known && index.bounds(self.ranges).0 >= 0
    }
}

/// The scalar type that holds values of a type.
pub(super) fn scalar_type(dtype: DType) -> Type {
    match dtype {
        DType::Bool | DType::U8 | DType::I8 => types::I8,
        DType::U16 | DType::I16 | DType::F16 | DType::BF16 => types::I16,
        DType::U32 | DType::I32 => types::I32,
        DType::U64 | DType::I64 => types::I64,
        DType::F32 => types::F32,
        DType::F64 => types::F64,
    }
}

/// Fills `func`, whose signature is [`signature`]'s, with an expanded kernel.
pub(crate) fn lower(
    kernel: &Kernel,
    isa: &dyn TargetIsa,
    abilities: Abilities,
    func: &mut Function,
    context: &mut FunctionBuilderContext,
) -> Result<(), CodegenError> {
    let mut b = FunctionBuilder::new(func, context);
    let entry = b.create_block();
    b.append_block_params_for_function_params(entry);
    b.switch_to_block(entry);
    let &[pointers, params, begin, end] = b.block_params(entry) else {
        return Err(CodegenError::kernel(&kernel.name, "wrong signature"));
    };
    let ranges = Ranges::new(kernel);
    let env = Env { kernel, bindings: vec![None; kernel.vars.len()], depth: 0, ranges: &ranges };
    let mut lower = Lower { kernel, abilities, b, env, buffers: vec![], varying: None };
    let mut position = 0;
    for decl in &kernel.buffers {
        let base = match decl.access {
            Access::Read | Access::Write => {
                let at = position * 8;
                position += 1;
                lower.b.ins().load(types::I64, MEMORY.with_aligned(), pointers, at)
            }
            Access::Scratch { elements } => {
                let bytes = elements.checked_mul(decl.dtype.size()).filter(|bytes| *bytes <= 1 << 20);
                let Some(bytes) = bytes else {
                    return Err(CodegenError::kernel(&kernel.name, format!("scratch {} is too large", decl.name)));
                };
                let slot = StackSlotData::new(StackSlotKind::ExplicitSlot, bytes.max(1) as u32, 4);
                let slot = lower.b.create_sized_stack_slot(slot);
                lower.b.ins().stack_addr(types::I64, slot, 0)
            }
        };
        lower.buffers.push(base);
    }
    for (i, var) in kernel.params.iter().enumerate() {
        let value = lower.b.ins().load(types::I64, MEMORY.with_aligned(), params, 8 * i as i32);
        lower.env.bind(*var, Binding::Uniform(value));
    }
    lower.count(begin, end, 1, |lower, p| {
        lower.env.bind(kernel.parallel.0, Binding::Uniform(p));
        lower.block(&kernel.body)
    })?;
    let ok = lower.b.ins().iconst(types::I32, 0);
    lower.b.ins().return_(&[ok]);
    lower.b.seal_all_blocks();
    lower.b.finalize(isa.frontend_config());
    Ok(())
}

impl Lower<'_, '_> {
    pub(super) fn refuse<T>(&self, what: impl Into<String>) -> Result<T, CodegenError> {
        Err(CodegenError::kernel(&self.kernel.name, what))
    }

    pub(super) fn i64(&mut self, value: i64) -> Value {
        self.b.ins().iconst(types::I64, value)
    }

    /// The value of an index.
    pub(super) fn index(&mut self, index: &Index) -> Value {
        index::value(&mut self.b, &mut self.env, index)
    }

    /// Address of an element, and a further constant number of bytes.
    pub(super) fn address(&mut self, buffer: BufferRef, index: &Index) -> (Value, i32) {
        let size = self.kernel.buffers[buffer.0 as usize].dtype.size() as i64;
        let base = self.buffers[buffer.0 as usize];
        let (sum, constant) = index::scaled(&mut self.b, &mut self.env, index, size);
        let address = match sum {
            Some(sum) => self.b.ins().iadd(base, sum),
            None => base,
        };
        match i32::try_from(constant) {
            Ok(constant) => (address, constant),
            Err(_) => {
                let constant = self.i64(constant);
                (self.b.ins().iadd(address, constant), 0)
            }
        }
    }
}

//! Reading and checking the dimensions of the inputs, and `plan`.

use super::faults;
use super::frame::{FLAGS, Table};
use super::{Host, answer, compare, not_null, pass_on, require, require_or};
use crate::cranelift::index;
use crate::error::CodegenError;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, StackSlotData, StackSlotKind, Value, types};
use cranelift_frontend::FunctionBuilder;
use cranelift_module::{FuncId, Module};
use nnc_abi::{Status, layout};
use nnc_ir::dim::Atom;
use nnc_ir::op::Relation;
use nnc_ir::{Dim, DimTable, Symbol, SymbolOrigin};
use nnc_kernels::SizeCheck;
use rustc_hash::FxHashSet;
use std::collections::BTreeMap;

impl<M: Module> Host<'_, M> {
    /// Bytes of a table of all symbols.
    pub(super) fn table_bytes(&self) -> u32 {
        (self.program.dims.len().max(1) * 8) as u32
    }

    /// `fn(input_dims, symbols: *mut i64, fault: *mut PlanResult or null) -> status`: binds the symbols of the inputs
    /// and checks everything that is known of dimensions.
    pub(super) fn dims(&mut self) -> Result<FuncId, CodegenError> {
        let (program, signature) = (self.program, self.signature(3));
        let dims: Vec<&Dim> = program.inputs.iter().flat_map(|p| &p.shape).collect();
        // The first dimension that is just the symbol gives its value.
        let mut binders: BTreeMap<Symbol, usize> = BTreeMap::new();
        for (at, dim) in dims.iter().enumerate() {
            if let Some(symbol) = dim.as_symbol() {
                binders.entry(symbol).or_insert(at);
            }
        }
        let sizes = sizes(program);
        for symbol in dims.iter().copied().chain(&sizes).flat_map(Dim::symbols) {
            let info = program.dims.lookup(symbol);
            let bound = info.is_some_and(|i| i.origin == SymbolOrigin::Input && i.min == i.max);
            if !bound && !binders.contains_key(&symbol) {
                let name = info.map_or("?", |i| i.name.as_str());
                return Err(CodegenError::Program(format!(
                    "the dimension `{name}` cannot be read off any input: no input has it as a whole dimension"
                )));
            }
        }
        self.function("dims", signature, |host, b, params| {
            let (given, symbols, fault) = (params[0], params[1], params[2]);
            let mut table = Table { dims: &host.program.dims, base: symbols };
            let constant = dims.iter().all(|d| d.as_const().is_some());
            if !dims.is_empty() {
                // All constant: the caller need not say them.
                let present = not_null(b, given);
                if constant {
                    let (check, done) = (b.create_block(), b.create_block());
                    b.ins().brif(present, check, &[], done, &[]);
                    b.switch_to_block(done);
                    answer(b, Status::Ok);
                    b.switch_to_block(check);
                } else {
                    require(b, present, Status::NullArgument);
                }
            }
            for (symbol, info) in host.program.dims.iter() {
                if info.origin == SymbolOrigin::Input && info.min == info.max && !binders.contains_key(&symbol) {
                    let value = b.ins().iconst(types::I64, info.min);
                    b.ins().store(FLAGS, value, symbols, 8 * symbol.0 as i32);
                }
            }
            let load = |b: &mut FunctionBuilder<'_>, at: usize| b.ins().load(types::I64, FLAGS, given, 8 * at as i32);
            for (symbol, at) in &binders {
                let value = load(b, *at);
                let (min, max) = host.program.dims.lookup(*symbol).map_or((0, i64::MAX), |i| (i.min.max(0), i.max));
                let low = compare(b, IntCC::SignedGreaterThanOrEqual, value, min);
                let high = compare(b, IntCC::SignedLessThanOrEqual, value, max);
                let within = b.ins().band(low, high);
                refuse_unless(b, within, Status::DimOutOfBounds, fault, |b| tell_dim(b, fault, *at, None));
                b.ins().store(FLAGS, value, symbols, 8 * symbol.0 as i32);
            }
            for (at, dim) in dims.iter().enumerate() {
                if dim.as_symbol().is_some_and(|s| binders.get(&s) == Some(&at)) {
                    continue;
                }
                let value = load(b, at);
                let expected = index::value(b, &mut table, dim);
                let equal = b.ins().icmp(IntCC::Equal, value, expected);
                refuse_unless(b, equal, Status::BadShape, fault, |b| tell_dim(b, fault, at, Some(expected)));
            }
            let mut overflow = b.ins().iconst(types::I8, 0);
            for size in &sizes {
                if !bounded(size, &host.program.dims) {
                    checked(b, &mut table, size, &mut overflow);
                }
            }
            let one = b.ins().iconst(types::I8, 1);
            let fine = b.ins().bxor(overflow, one);
            require(b, fine, Status::SizeOverflow);
            for (number, check) in host.program.checks.iter().enumerate() {
                let (holds, [left, right]) = check_sizes(b, &mut table, check);
                refuse_unless(b, holds, Status::CheckFailed, fault, |b| {
                    let number = b.ins().iconst(types::I64, number as i64);
                    faults::store(b, fault, layout::plan_result::FAULT as i32, [number, left, right]);
                });
            }
            answer(b, Status::Ok);
            Ok(())
        })
    }

    /// `plan` of the binary interface.
    pub(super) fn plan(&mut self, dims: FuncId) -> Result<FuncId, CodegenError> {
        let signature = self.signature(2);
        self.function("plan", signature, |host, b, params| {
            let (given, out) = (params[0], params[1]);
            let present = not_null(b, out);
            require(b, present, Status::NullArgument);
            let slot = StackSlotData::new(StackSlotKind::ExplicitSlot, host.table_bytes(), 4);
            let slot = b.create_sized_stack_slot(slot);
            let symbols = b.ins().stack_addr(types::I64, slot, 0);
            let callee = host.module.declare_func_in_func(dims, b.func);
            let call = b.ins().call(callee, &[given, symbols, out]);
            let status = b.inst_results(call)[0];
            pass_on(b, status);
            let program = host.program;
            let mut table = Table { dims: &program.dims, base: symbols };
            let bytes = index::value(b, &mut table, &program.workspace_bytes);
            b.ins().store(FLAGS, bytes, out, layout::plan_result::WORKSPACE_BYTES as i32);
            let wanted = b.ins().load(types::I64, FLAGS, out, layout::plan_result::OUT_DIMS as i32);
            let is_wanted = not_null(b, wanted);
            let (fill, done) = (b.create_block(), b.create_block());
            b.ins().brif(is_wanted, fill, &[], done, &[]);
            b.switch_to_block(fill);
            for (at, dim) in program.outputs.iter().flat_map(|p| &p.shape).enumerate() {
                let value = match dim.greatest(&program.dims) {
                    Some(bound) => index::value(b, &mut table, &bound),
                    None => b.ins().iconst(types::I64, -1),
                };
                b.ins().store(FLAGS, value, wanted, 8 * at as i32);
            }
            b.ins().jump(done, &[]);
            b.switch_to_block(done);
            answer(b, Status::Ok);
            Ok(())
        })
    }
}

/// Whether sizes are as they must be, and the two.
pub(super) fn check_sizes(
    b: &mut FunctionBuilder<'_>,
    table: &mut Table<'_>,
    check: &SizeCheck,
) -> (Value, [Value; 2]) {
    let (left, right) = (index::value(b, table, &check.left), index::value(b, table, &check.right));
    let condition = match check.relation {
        Relation::Equal => IntCC::Equal,
        Relation::AtMost => IntCC::SignedLessThanOrEqual,
    };
    (b.ins().icmp(condition, left, right), [left, right])
}

/// Every size over input symbols that a run relies on: when none overflows, no index does.
fn sizes(program: &nnc_kernels::Program) -> Vec<Dim> {
    let of_inputs = |dim: &Dim| {
        dim.symbols().iter().all(|s| program.dims.lookup(*s).is_some_and(|i| i.origin == SymbolOrigin::Input))
    };
    let outputs = program.outputs.iter().flat_map(|p| &p.shape).filter_map(|d| d.greatest(&program.dims));
    let mut seen = FxHashSet::default();
    std::iter::once(program.workspace_bytes.clone())
        .chain(outputs)
        .chain(program.checks.iter().flat_map(|c| [c.left.clone(), c.right.clone()]))
        .chain(program.buffers.iter().map(|b| b.bytes.clone()))
        .filter(|d| d.as_const().is_none() && of_inputs(d) && seen.insert(d.clone()))
        .collect()
}

/// Whether no partial result can overflow, whatever the inputs are.
fn bounded(dim: &Dim, table: &DimTable) -> bool {
    let view = dim.view();
    let mut total = i128::from(view.constant).abs();
    for (coefficient, atoms) in view.terms {
        let mut product = i128::from(coefficient).abs();
        for atom in atoms {
            let Atom::Sym(symbol) = atom else { return false };
            let Some(info) = table.lookup(*symbol) else { return false };
            product = product.saturating_mul(i128::from(info.max).abs().max(i128::from(info.min).abs()));
        }
        total = total.saturating_add(product);
    }
    total <= i128::from(i64::MAX)
}

/// The value, setting `overflow` (0 or 1) when an operation on the way leaves 64 bits.
pub(super) fn checked(b: &mut FunctionBuilder<'_>, table: &mut Table<'_>, dim: &Dim, overflow: &mut Value) -> Value {
    let view = dim.view();
    let mut sum = b.ins().iconst(types::I64, view.constant);
    for (coefficient, atoms) in view.terms {
        let mut product = b.ins().iconst(types::I64, coefficient);
        for atom in atoms {
            if let Atom::Op(_, dims) = atom {
                for dim in dims {
                    checked(b, table, dim, overflow);
                }
            }
            let single: Dim = match atom {
                Atom::Sym(s) => Dim::sym(*s),
                Atom::Op(op, dims) => Dim::apply(*op, dims),
            };
            let factor = index::value(b, table, &single);
            let high = b.ins().smulhi(product, factor);
            product = b.ins().imul(product, factor);
            let places = b.ins().iconst(types::I64, 63);
            let sign = b.ins().sshr(product, places);
            let lost = b.ins().icmp(IntCC::NotEqual, high, sign);
            *overflow = b.ins().bor(*overflow, lost);
        }
        let next = b.ins().iadd(sum, product);
        let (x, y) = (b.ins().bxor(sum, next), b.ins().bxor(product, next));
        let both = b.ins().band(x, y);
        let lost = compare(b, IntCC::SignedLessThan, both, 0);
        *overflow = b.ins().bor(*overflow, lost);
        sum = next;
    }
    sum
}

/// Returns `status` unless the condition holds, after `tell` has told a caller that gave room for it what is at fault.
fn refuse_unless(
    b: &mut FunctionBuilder<'_>,
    condition: Value,
    status: Status,
    fault: Value,
    tell: impl FnOnce(&mut FunctionBuilder<'_>),
) {
    require_or(b, condition, status, |b| {
        let (asked, leave) = (b.create_block(), b.create_block());
        let room = not_null(b, fault);
        b.ins().brif(room, asked, &[], leave, &[]);
        b.switch_to_block(asked);
        b.set_cold_block(asked);
        tell(b);
        b.ins().jump(leave, &[]);
        b.switch_to_block(leave);
        b.set_cold_block(leave);
    });
}

/// Tells which dimension of the inputs is at fault, and what it should be.
fn tell_dim(b: &mut FunctionBuilder<'_>, fault: Value, at: usize, expected: Option<Value>) {
    let at = b.ins().iconst(types::I64, at as i64);
    b.ins().store(FLAGS, at, fault, layout::plan_result::FAULT_DIM as i32);
    if let Some(expected) = expected {
        b.ins().store(FLAGS, expected, fault, layout::plan_result::FAULT_EXPECTED as i32);
    }
}

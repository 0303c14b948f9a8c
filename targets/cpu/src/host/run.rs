//! `run` of the binary interface: checks, frame, steps, output dimensions.

use super::frame::{ARGS, CONTEXT, FLAGS, SYMBOLS, Table, WEIGHTS, WORKSPACE};
use super::{Host, answer, compare, not_null, pass_on, require};
use crate::cranelift::index;
use crate::error::CodegenError;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{GlobalValueData, InstBuilder, StackSlotData, StackSlotKind, Value, types};
use cranelift_frontend::FunctionBuilder;
use cranelift_module::{FuncId, Module};
use nnc_abi::{Status, layout::run_args, layout::run_context};
use nnc_ir::{Dim, Symbol, SymbolOrigin};

impl<M: Module> Host<'_, M> {
    pub(super) fn run(&mut self, dims: FuncId, steps: FuncId) -> Result<FuncId, CodegenError> {
        let signature = self.signature(1);
        self.function("run", signature, |host, b, params| {
            let args = params[0];
            let program = host.program;
            let present = not_null(b, args);
            require(b, present, Status::NullArgument);
            for (n, (count, ty), array) in [
                (program.inputs.len(), (run_args::N_INPUTS, types::I32), run_args::INPUTS),
                (program.outputs.len(), (run_args::N_OUTPUTS, types::I32), run_args::OUTPUTS),
                (program.states.len(), (run_args::N_STATES, types::I64), run_args::STATES),
            ] {
                if n == 0 {
                    continue;
                }
                let given = b.ins().load(ty, FLAGS, args, count as i32);
                let given = if ty == types::I64 { given } else { b.ins().uextend(types::I64, given) };
                let enough = compare(b, IntCC::UnsignedGreaterThanOrEqual, given, n as i64);
                let array = b.ins().load(types::I64, FLAGS, args, array as i32);
                let present = not_null(b, array);
                let both = b.ins().band(enough, present);
                require(b, both, Status::NullArgument);
            }
            let bytes = SYMBOLS as u32 + host.table_bytes() + host.slot_bytes();
            let slot = b.create_sized_stack_slot(StackSlotData::new(StackSlotKind::ExplicitSlot, bytes, 4));
            let frame = b.ins().stack_addr(types::I64, slot, 0);
            let symbols = b.ins().stack_addr(types::I64, slot, SYMBOLS);
            let given = b.ins().load(types::I64, FLAGS, args, run_args::INPUT_DIMS as i32);
            let callee = host.module.declare_func_in_func(dims, b.func);
            let null = b.ins().iconst(types::I64, 0);
            let call = b.ins().call(callee, &[given, symbols, null]);
            let status = b.inst_results(call)[0];
            pass_on(b, status);
            let mut table = Table { dims: &program.dims, base: symbols };
            let inputs = program.inputs.iter().enumerate().filter(|(i, _)| program.state_of_input(*i).is_none());
            tensors(b, &mut table, args, run_args::INPUTS, inputs.map(|(i, p)| (i, p.stored_shape())));
            let outputs = program.outputs.iter().enumerate().filter(|(i, _)| program.state_of_output(*i).is_none());
            // A size that the data decides may have the bound 0, as that of the positions in an empty tensor.
            let bounds =
                |shape: Vec<Dim>| shape.iter().map(|d| d.greatest(&program.dims)).collect::<Option<Vec<Dim>>>();
            let outputs = outputs.filter_map(|(i, p)| Some((i, bounds(p.stored_shape())?)));
            tensors(b, &mut table, args, run_args::OUTPUTS, outputs);
            let blocks = program.states.iter().map(|state| bounds(program.block_shape(state)).unwrap_or_default());
            tensors(b, &mut table, args, run_args::STATES, blocks.enumerate());
            b.ins().store(FLAGS, args, frame, ARGS);
            workspace(b, &mut table, args, frame, &program.workspace_bytes);
            host.bind_weights(b, args, frame);
            let context = bind_context(b, args, frame);
            host.bind_allocator(b, frame, context);
            host.clear_slots(b, frame);
            if let Some(symbol) = program.dims.iter().find(|(_, i)| i.origin == SymbolOrigin::Run).map(|(s, _)| s) {
                bind_seed(b, args, symbols, symbol);
            }
            let depends = |d: &Dim| {
                d.symbols().iter().any(|s| program.dims.lookup(*s).is_some_and(|i| i.origin == SymbolOrigin::Node))
            };
            let out = b.ins().load(types::I64, FLAGS, args, run_args::OUTPUT_DIMS as i32);
            let wanted = not_null(b, out);
            let sizes = || program.outputs.iter().flat_map(|p| &p.shape);
            if sizes().any(depends) {
                require(b, wanted, Status::NullArgument);
            }
            let status = host.in_environment(b, |host, b| {
                let callee = host.module.declare_func_in_func(steps, b.func);
                let call = b.ins().call(callee, &[frame]);
                Ok(b.inst_results(call)[0])
            })?;
            host.release_all(b, frame);
            pass_on(b, status);
            let (fill, done) = (b.create_block(), b.create_block());
            b.ins().brif(wanted, fill, &[], done, &[]);
            b.switch_to_block(fill);
            for (at, dim) in sizes().enumerate() {
                let value = index::value(b, &mut table, dim);
                b.ins().store(FLAGS, value, out, 8 * at as i32);
            }
            b.ins().jump(done, &[]);
            b.switch_to_block(done);
            answer(b, Status::Ok);
            Ok(())
        })
    }

    /// The caller's weights if given, else the embedded ones.
    fn bind_weights(&mut self, b: &mut FunctionBuilder<'_>, args: Value, frame: Value) {
        let given = b.ins().load(types::I64, FLAGS, args, run_args::WEIGHTS as i32);
        let low = b.ins().iconst(types::I64, 63);
        let low = b.ins().band(given, low);
        let aligned = compare(b, IntCC::Equal, low, 0);
        require(b, aligned, Status::Misaligned);
        let weights = match self.weights {
            Some(data) => {
                let global = self.module.declare_data_in_func(data, b.func);
                if let GlobalValueData::Symbol { colocated, .. } = &mut b.func.global_values[global] {
                    *colocated = self.near;
                }
                let embedded = b.ins().symbol_value(types::I64, global);
                let present = not_null(b, given);
                b.ins().select(present, given, embedded)
            }
            None => {
                if self.beside {
                    let present = not_null(b, given);
                    require(b, present, Status::NullArgument);
                }
                given
            }
        };
        b.ins().store(FLAGS, weights, frame, WEIGHTS);
    }
}

/// Every tensor with elements has memory: of an array of `args`, those at some positions, with their shapes.
fn tensors(
    b: &mut FunctionBuilder<'_>,
    table: &mut Table<'_>,
    args: Value,
    field: usize,
    shapes: impl Iterator<Item = (usize, Vec<Dim>)>,
) {
    let mut array = None;
    for (i, shape) in shapes {
        let array = *array.get_or_insert_with(|| b.ins().load(types::I64, FLAGS, args, field as i32));
        if shape.iter().any(|d| d.is_const(0)) {
            continue;
        }
        let pointer = b.ins().load(types::I64, FLAGS, array, 8 * i as i32);
        let mut fine = not_null(b, pointer);
        for dim in shape.iter().filter(|d| d.as_const().is_none()) {
            let size = index::value(b, table, dim);
            let empty = compare(b, IntCC::Equal, size, 0);
            fine = b.ins().bor(fine, empty);
        }
        require(b, fine, Status::NullArgument);
    }
}

fn workspace(b: &mut FunctionBuilder<'_>, table: &mut Table<'_>, args: Value, frame: Value, bytes: &Dim) {
    let memory = b.ins().load(types::I64, FLAGS, args, run_args::WORKSPACE as i32);
    b.ins().store(FLAGS, memory, frame, WORKSPACE);
    if bytes.is_const(0) {
        return;
    }
    let needed = index::value(b, table, bytes);
    let none = compare(b, IntCC::SignedLessThanOrEqual, needed, 0);
    let given = b.ins().load(types::I64, FLAGS, args, run_args::WORKSPACE_BYTES as i32);
    let enough = b.ins().icmp(IntCC::UnsignedGreaterThanOrEqual, given, needed);
    let fine = b.ins().bor(enough, none);
    require(b, fine, Status::WorkspaceTooSmall);
    let present = not_null(b, memory);
    let fine = b.ins().bor(present, none);
    require(b, fine, Status::NullArgument);
    let low = b.ins().iconst(types::I64, 63);
    let low = b.ins().band(memory, low);
    let aligned = compare(b, IntCC::Equal, low, 0);
    let fine = b.ins().bor(aligned, none);
    require(b, fine, Status::Misaligned);
}

/// The seed's lower 63 bits, or 0 where there is no context.
fn bind_seed(b: &mut FunctionBuilder<'_>, args: Value, symbols: Value, symbol: Symbol) {
    let place = 8 * symbol.0 as i32;
    let none = b.ins().iconst(types::I64, 0);
    b.ins().store(FLAGS, none, symbols, place);
    let context = b.ins().load(types::I64, FLAGS, args, run_args::CONTEXT as i32);
    let (look, done) = (b.create_block(), b.create_block());
    let present = not_null(b, context);
    b.ins().brif(present, look, &[], done, &[]);
    b.switch_to_block(look);
    let seed = b.ins().load(types::I64, FLAGS, context, run_context::SEED as i32);
    let most = b.ins().iconst(types::I64, i64::MAX);
    let seed = b.ins().band(seed, most);
    b.ins().store(FLAGS, seed, symbols, place);
    b.ins().jump(done, &[]);
    b.switch_to_block(done);
}

/// Keeps the context in the frame, or null when it brings no threads; answers the context.
fn bind_context(b: &mut FunctionBuilder<'_>, args: Value, frame: Value) -> Value {
    let context = b.ins().load(types::I64, FLAGS, args, run_args::CONTEXT as i32);
    b.ins().store(FLAGS, context, frame, CONTEXT);
    let (look, done) = (b.create_block(), b.create_block());
    let present = not_null(b, context);
    b.ins().brif(present, look, &[], done, &[]);
    b.switch_to_block(look);
    let parallel_for = b.ins().load(types::I64, FLAGS, context, run_context::PARALLEL_FOR as i32);
    let usable = not_null(b, parallel_for);
    let null = b.ins().iconst(types::I64, 0);
    let kept = b.ins().select(usable, context, null);
    b.ins().store(FLAGS, kept, frame, CONTEXT);
    b.ins().jump(done, &[]);
    b.switch_to_block(done);
    context
}

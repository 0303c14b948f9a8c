//! What may stop a run: the table of texts in the descriptor, and the code that tells the caller which one did.

use super::frame::{ARGS, FLAGS};
use super::{Host, answer, not_null, require_or};
use crate::error::CodegenError;
use cranelift_codegen::ir::{InstBuilder, Value, types};
use cranelift_frontend::FunctionBuilder;
use cranelift_module::{FuncId, Module};
use nnc_abi::{Status, layout};
use nnc_ir::op::Relation;
use nnc_ir::{Dim, DimTable};
use nnc_kernels::{Program, SizeCheck, Step};
use rustc_hash::FxHashMap;

/// Stands for a size that is not told.
pub(super) const UNKNOWN: i64 = i64::MIN;

/// The faults of a program: first what `plan` checks, then the steps that may fail.
pub(crate) struct Faults {
    /// What the descriptor says of each.
    pub(crate) texts: Vec<String>,
    /// By the step's address.
    numbers: FxHashMap<*const Step, usize>,
}

impl Faults {
    /// Numbers all of them. `fails` says which kernels may fail.
    pub(crate) fn of(program: &Program, fails: &[bool]) -> Faults {
        let table = &program.dims;
        let mut faults = Faults { texts: vec![], numbers: FxHashMap::default() };
        faults.texts.extend(program.checks.iter().map(|check| check_text(check, table)));
        let mut rest: Vec<&Step> = program.steps.iter().rev().collect();
        while let Some(step) = rest.pop() {
            let text = match step {
                Step::Run { kernel, origin, .. } => {
                    fails.get(kernel.0 as usize).is_some_and(|f| *f).then(|| origin.clone())
                }
                Step::Bind { symbol, min, max, origin, .. } => Some(format!(
                    "{origin}: the size `{}`, which data gives, must be in {}..{}",
                    table.display(&Dim::sym(*symbol)),
                    table.display(min),
                    table.display(max)
                )),
                Step::Check(check) => Some(check_text(check, table)),
                Step::Allocate { bytes, origin, .. } => {
                    Some(format!("{origin}: memory of which data gives the size, {} bytes", table.display(bytes)))
                }
                Step::Release { .. } => None,
                Step::If { then, otherwise, .. } => {
                    rest.extend(then.iter().chain(otherwise).rev());
                    None
                }
                Step::While { body, .. } => {
                    rest.extend(body.iter().rev());
                    None
                }
            };
            if let Some(text) = text {
                faults.numbers.insert(step, faults.texts.len());
                faults.texts.push(text);
            }
        }
        faults
    }

    /// The number of a step.
    pub(super) fn number(&self, step: &Step) -> Option<usize> {
        self.numbers.get(&std::ptr::from_ref(step)).copied()
    }
}

fn check_text(check: &SizeCheck, table: &DimTable) -> String {
    let SizeCheck { left, relation, right, what, origin } = check;
    let show = |dim: &Dim| table.display(dim).to_string();
    match relation {
        Relation::AtMost if left.is_const(0) => format!("{origin}: {what}, `{}`, must not be negative", show(right)),
        Relation::AtMost => format!("{origin}: {what}, `{}`, must be at most `{}`", show(left), show(right)),
        Relation::Equal => format!("{origin}: {what}, `{}`, must be `{}`", show(left), show(right)),
    }
}

/// Fills in a fault of the binary interface.
pub(super) fn store(b: &mut FunctionBuilder<'_>, fault: Value, at: i32, values: [Value; 3]) {
    for (value, field) in values.into_iter().zip([layout::fault::NUMBER, layout::fault::LEFT, layout::fault::RIGHT]) {
        b.ins().store(FLAGS, value, fault, at + field as i32);
    }
}

impl<M: Module> Host<'_, M> {
    /// `fn(frame, number, left, right) -> 0`: tells the caller, if it wants to know.
    pub(super) fn report(&mut self) -> Result<FuncId, CodegenError> {
        let signature = self.signature(4);
        self.function("report", signature, |_, b, params| {
            let args = b.ins().load(types::I64, FLAGS, params[0], ARGS);
            let fault = b.ins().load(types::I64, FLAGS, args, layout::run_args::FAULT as i32);
            let wanted = not_null(b, fault);
            let (fill, done) = (b.create_block(), b.create_block());
            b.ins().brif(wanted, fill, &[], done, &[]);
            b.switch_to_block(fill);
            store(b, fault, 0, [params[1], params[2], params[3]]);
            b.ins().jump(done, &[]);
            b.switch_to_block(done);
            answer(b, Status::Ok);
            Ok(())
        })
    }

    /// Calls [`Host::report`] for a step.
    pub(super) fn tell(&mut self, b: &mut FunctionBuilder<'_>, frame: Value, step: &Step, sizes: Option<[Value; 2]>) {
        let (Some(report), Some(number)) = (self.report, self.faults.number(step)) else { return };
        let number = b.ins().iconst(types::I64, number as i64);
        let [left, right] = sizes.unwrap_or_else(|| [(); 2].map(|()| b.ins().iconst(types::I64, UNKNOWN)));
        let callee = self.module.declare_func_in_func(report, b.func);
        b.ins().call(callee, &[frame, number, left, right]);
    }

    /// Ends the run with `status` unless the condition holds, telling which step it is.
    pub(super) fn require_of(
        &mut self,
        b: &mut FunctionBuilder<'_>,
        frame: Value,
        step: &Step,
        (condition, status): (Value, Status),
        sizes: [Value; 2],
    ) {
        require_or(b, condition, status, |b| self.tell(b, frame, step, Some(sizes)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nnc_kernels::{Argument, BufferId, KernelId};

    #[test]
    fn steps_within_steps_are_numbered_in_their_order() {
        let condition = || Argument { buffer: BufferId(0), offset: Dim::ZERO };
        let run = |origin: &str| Step::Run {
            kernel: KernelId(0),
            arguments: vec![],
            params: vec![],
            extent: Dim::ONE,
            work: Dim::ONE,
            apart: false,
            origin: origin.to_owned(),
        };
        let branches = Step::If { condition: condition(), then: vec![run("b")], otherwise: vec![run("c"), run("d")] };
        let looped = Step::While { condition: condition(), body: vec![run("e"), run("f")] };
        let program = Program { steps: vec![run("a"), branches, looped, run("g")], ..crate::tests::empty_program("m") };
        assert_eq!(Faults::of(&program, &[true]).texts, ["a", "b", "c", "d", "e", "f", "g"]);
        assert!(Faults::of(&program, &[false]).texts.is_empty());
    }
}

//! Strings in kernels, and what an automaton makes of them, byte after byte.
//!
//! Invariants: a string is read only when it lies within its bytes, which is tested first; tables are constants and checked.

use super::super::builder::KernelBuilder;
use super::super::{LowerError, Lowering};
use super::{Lowered, binary, boolean};
use nnc_ir::op::BinaryOp;
use nnc_ir::{DType, Node, ValueId};
use nnc_kernels::kernel::{AxisKind, Expr, Index, Stmt};

/// The status of `nnc-abi` for a string that is not within its bytes.
const BAD_INDEX: i32 = nnc_abi::Status::BadIndex as i32;

/// A string in a kernel: from where, and how long.
pub(super) struct Span {
    pub begin: Index,
    pub length: Index,
}

pub(super) fn int(value: i64) -> Expr {
    Expr::Index(Index::from(value))
}

impl KernelBuilder<'_, '_> {
    /// A string by its number, which fails the run unless it is within `size` bytes.
    pub(super) fn span(&mut self, offsets: ValueId, number: &Index, size: &Index) -> Result<Span, LowerError> {
        let (begin, end) = (self.emit(offsets, std::slice::from_ref(number))?, self.emit(offsets, &[number + 1])?);
        let begin = Expr::Var(self.define_here("begin", begin));
        let end = Expr::Var(self.define_here("end", end));
        let bad = [
            binary(BinaryOp::Lt, begin.clone(), int(0)),
            binary(BinaryOp::Lt, end.clone(), begin.clone()),
            binary(BinaryOp::Gt, end.clone(), Expr::Index(size.clone())),
        ];
        let bad = bad.into_iter().reduce(|a, b| binary(BinaryOp::Or, a, b)).unwrap_or(boolean(false));
        self.push(Stmt::If(bad, vec![Stmt::Fail(BAD_INDEX)], vec![]));
        let most = size + 1;
        let length = binary(BinaryOp::Sub, end, begin.clone());
        Ok(Span { begin: self.freeze("first", begin, &most), length: self.freeze("length", length, &most) })
    }

    /// A byte of a string as a number.
    pub(super) fn byte(&mut self, bytes: ValueId, at: Index) -> Result<Expr, LowerError> {
        let byte = self.emit(bytes, &[at])?;
        Ok(Expr::convert(DType::I64, DType::U8, byte))
    }
}

impl Lowering<'_> {
    pub(super) fn lower_run_automaton(&mut self, node: &Node) -> Lowered {
        let &[offsets, bytes, classes, next] = &node.inputs[..] else {
            return Err(self.error("malformed automaton"));
        };
        let (class_table, states) = (self.constant_table(classes)?, self.constant_table(next)?);
        let (state_count, width) = (states.shape[0], states.shape[1]);
        let within = |state: i64| usize::try_from(state).is_ok_and(|state| state < state_count);
        let classes_fit = class_table.data.bytes().iter().all(|&class| usize::from(class) < width);
        if state_count == 0 || !classes_fit || !states.to_i64s().is_some_and(|all| all.into_iter().all(within)) {
            return Err(self.error("the automaton leads out of its states"));
        }
        let storage = self.storage(node.outputs[0])?;
        let strings = self.graph.shape(node.outputs[0])[0].clone();
        let byte_count = self.graph.shape(bytes)[0].clone();

        let mut b = KernelBuilder::new(self, "run_automaton");
        let number = b.parallel(&strings);
        let byte_count = b.import(&byte_count);
        let string = b.span(offsets, &number, &byte_count)?;
        let state = b.mutable("state", int(0));
        b.each(&string.length.clone(), AxisKind::Serial, |b, i| {
            let byte = b.byte(bytes, &string.begin + i)?;
            let byte = b.freeze("byte", byte, &Index::from(256));
            let class = b.byte(classes, byte)?;
            let class = b.freeze("class", class, &Index::from(width as i64));
            let from = b.freeze("from", Expr::Var(state), &Index::from(state_count as i64));
            let to = b.emit(next, &[from, class])?;
            b.assign(state, to);
            Ok(())
        })?;
        b.store_at(&storage, &[number], Expr::Var(state));
        b.finish()
    }
}

//! Reading what may be empty: a border around an axis without elements.
//!
//! A border reads its operand at the nearest index inside, and drops what it read where the index was outside. An axis
//! that may be empty has no such index, so such reads stand under a guard: the axis has an element. Guards are the same
//! for all iterations, so a finished kernel tests them once and holds its body twice: one as fast as if there were no
//! guards, and one that tests at each load.
//!
//! What is computed under a guard that does not hold is of no meaning, and is not remembered outside of it.

use super::LowerError;
use super::builder::KernelBuilder;
use nnc_ir::Dim;
use nnc_ir::op::BinaryOp;
use nnc_kernels::kernel::{AxisKind, BufferRef, Expr, Index, Kernel, Stmt, Var};
use nnc_kernels::walk::{Mention, walk};
use rustc_hash::FxHashMap;

/// `size >= 1` for each of these sizes.
fn all_have_elements(sizes: &[Index]) -> Option<Expr> {
    let tests = sizes.iter().map(|s| Expr::binary(BinaryOp::Ge, Expr::Index(s.clone()), Expr::Index(Index::ONE)));
    tests.reduce(|all, test| Expr::binary(BinaryOp::And, all, test))
}

impl KernelBuilder<'_, '_> {
    /// Emits what may read only when these sizes are not 0. Yields it and, unless they never are, that condition.
    pub fn guarded(
        &mut self,
        sizes: &[Index],
        emit: impl FnOnce(&mut Self) -> Result<Expr, LowerError>,
    ) -> Result<(Expr, Option<Expr>), LowerError> {
        let mut doubtful: Vec<Index> = vec![];
        for size in sizes {
            if !size.provably_ge(&Index::ONE, &self.ranges) && !doubtful.contains(size) {
                doubtful.push(size.clone());
            }
        }
        let before = self.guards.clone();
        for size in &doubtful {
            if !self.guards.contains(size) {
                self.guards.push(size.clone());
            }
        }
        let result = emit(self);
        self.guards = before;
        let condition = all_have_elements(&doubtful);
        if let Some(condition) = &condition {
            self.note_condition(condition, &doubtful);
        }
        Ok((result?, condition))
    }

    /// A load, under the guards that hold here.
    pub fn load(&mut self, buffer: BufferRef, index: Index) -> Expr {
        let guards = self.guards.clone();
        let Some(condition) = all_have_elements(&guards) else { return Expr::Load(buffer, index) };
        self.note_condition(&condition, &guards);
        let otherwise = Box::new(Expr::constant(self.kernel.buffers[buffer.0 as usize].dtype, 0.0));
        Expr::LoadIf { condition: Box::new(condition), buffer, index, otherwise }
    }

    fn note_condition(&mut self, condition: &Expr, sizes: &[Index]) {
        if !self.conditions.contains(condition) {
            self.conditions.push(condition.clone());
            for size in sizes {
                if !self.tested.contains(size) {
                    self.tested.push(size.clone());
                }
            }
        }
    }

    /// Tests the guards of a finished kernel once.
    pub(super) fn split_by_guards(&mut self) {
        let (tested, conditions) = (std::mem::take(&mut self.tested), std::mem::take(&mut self.conditions));
        let Some(all) = all_have_elements(&tested) else { return };
        let mut slow = self.kernel.body.clone();
        let mut fast = std::mem::take(&mut self.kernel.body);
        assume(&mut fast, &conditions);
        one_by_one(&mut slow);
        rename(&mut slow, &mut self.kernel);
        self.kernel.body = vec![Stmt::If(all, fast, slow)];
    }
}

/// Takes these conditions as true.
fn assume(statements: &mut [Stmt], conditions: &[Expr]) {
    walk(statements, &mut |mention| {
        let Mention::Expr(expr) = mention else { return };
        match expr {
            Expr::LoadIf { condition, buffer, index, .. } if conditions.contains(condition) => {
                *expr = Expr::Load(*buffer, index.clone());
            }
            Expr::Select(condition, x, _) if conditions.contains(condition) => {
                let x = std::mem::replace(&mut **x, Expr::Index(Index::ZERO));
                *expr = x;
            }
            _ => {}
        }
    });
}

/// Runs loops one iteration at a time: the generators of wide code need not know guarded loads of every type.
fn one_by_one(statements: &mut [Stmt]) {
    walk(statements, &mut |mention| {
        if let Mention::AxisKind(lanes @ AxisKind::Vector) = mention {
            *lanes = AxisKind::Serial;
        }
    });
}

/// Gives the variables that the statements define new names: a variable is defined in one place.
fn rename(statements: &mut [Stmt], kernel: &mut Kernel) {
    let mut new: FxHashMap<Var, Var> = FxHashMap::default();
    walk(statements, &mut |mention| match mention {
        Mention::Definition(var) => {
            let info = kernel.vars[var.0 as usize].clone();
            let copy = kernel.add_var(&info.name, info.dtype, info.min, info.max);
            new.insert(*var, copy);
            *var = copy;
        }
        Mention::Var(var) => *var = new.get(var).copied().unwrap_or(*var),
        Mention::Index(index) => *index = index.substitute(&|var| new.get(&var).map(|v| v.index())),
        Mention::Buffer(_) | Mention::AxisKind(_) | Mention::Expr(_) => {}
    });
}

/// That `size` is not 0 where anything has to be repeated, as an expression that is then 0.
pub(super) fn nothing_to_repeat(size: &Dim, repeated: &Dim) -> Dim {
    let any = repeated.min(&Dim::ONE);
    &any - &(&any * &size.min(&Dim::ONE))
}

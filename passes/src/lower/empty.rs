//! Reading what may be empty: a border around an axis without elements.
//!
//! A border reads its operand at the nearest index inside, and drops what it read where the index was outside. An axis
//! that may be empty has no such index, so such reads stand under a guard: the axis has an element. Guards are the same
//! for all iterations; `schedule` has a kernel test them once.
//!
//! What is computed under a guard that does not hold is of no meaning, and is not remembered outside of it.

use super::LowerError;
use super::builder::KernelBuilder;
use nnc_ir::Dim;
use nnc_ir::op::BinaryOp;
use nnc_kernels::kernel::{BufferRef, Expr, Index};

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
        Ok((result?, condition))
    }

    /// A load, under the guards that hold here.
    pub fn load(&mut self, buffer: BufferRef, index: Index) -> Expr {
        let guards = self.guards.clone();
        let Some(condition) = all_have_elements(&guards) else { return Expr::Load(buffer, index) };
        let otherwise = Box::new(Expr::constant(self.kernel.buffers[buffer.0 as usize].dtype, 0.0));
        Expr::LoadIf { condition: Box::new(condition), buffer, index, otherwise }
    }
}

/// That `size` is not 0 where anything has to be repeated, as an expression that is then 0.
pub(super) fn nothing_to_repeat(size: &Dim, repeated: &Dim) -> Dim {
    let any = repeated.min(&Dim::ONE);
    &any - &(&any * &size.min(&Dim::ONE))
}

//! Which loops become vector code, and in how many lanes.
//!
//! Four lanes hold elements of up to 32 bits (narrower ones are widened to `i32` in registers), two lanes elements of
//! 64 bits. A loop qualifies when everything that varies between iterations fits the lanes and neighbouring iterations
//! access neighbouring elements; all else runs iteration by iteration.

use super::kernel::Lower;
use nnc_ir::DType;
use nnc_ir::op::{BinaryOp, UnaryOp};
use nnc_kernels::affine::{AccessKind, Varying};
use nnc_kernels::kernel::Accumulator;
use nnc_kernels::{AxisKind, Contraction, Expr, Kernel, Stmt, Var};

impl Lower<'_, '_> {
    /// Lanes for a vector loop with this body; 1 when it has to be scalar.
    pub(super) fn lanes_of_block(&self, lane: Var, varying: &Varying, body: &[Stmt]) -> u32 {
        choose(|lanes| Judge { kernel: self.kernel, lane, varying, lanes }.block(body))
    }

    /// Likewise for a vector reduction.
    pub(super) fn lanes_of_reduce(
        &self,
        lane: Var,
        varying: &Varying,
        body: &[Stmt],
        accumulators: &[Accumulator],
    ) -> u32 {
        choose(|lanes| {
            let judge = Judge { kernel: self.kernel, lane, varying, lanes };
            judge.block(body)
                && accumulators.iter().all(|a| judge.fits(self.kernel.var_dtype(a.var)) && judge.expr(&a.value))
        })
    }

    /// Likewise for the epilogue of a micro-kernel.
    pub(super) fn lanes_of_epilogue(&self, varying: &Varying, gemm: &Contraction) -> u32 {
        let lane = gemm.epilogue.column;
        choose(|lanes| {
            let judge = Judge { kernel: self.kernel, lane, varying, lanes };
            judge.fits(gemm.accumulator) && judge.block(&gemm.epilogue.body)
        })
    }
}

fn choose(fits: impl Fn(u32) -> bool) -> u32 {
    [4, 2].into_iter().find(|lanes| fits(*lanes)).unwrap_or(1)
}

struct Judge<'a> {
    kernel: &'a Kernel,
    lane: Var,
    varying: &'a Varying,
    lanes: u32,
}

impl Judge<'_> {
    fn fits(&self, dtype: DType) -> bool {
        dtype == DType::Bool || (dtype.size() == 8) == (self.lanes == 2)
    }

    fn block(&self, stmts: &[Stmt]) -> bool {
        stmts.iter().all(|s| self.stmt(s))
    }

    fn stmt(&self, stmt: &Stmt) -> bool {
        match stmt {
            Stmt::Let(_, e) => !self.varying.expr(e) || self.expr(e),
            Stmt::Store(buffer, index, e) => {
                self.fits(self.kernel.buffers[buffer.0 as usize].dtype)
                    && self.varying.access(index) == AccessKind::Contiguous
                    && self.expr(e)
            }
            Stmt::For(l, body) => l.axis != AxisKind::Vector && !self.varying.index(&l.extent) && self.block(body),
            Stmt::Reduce(l, body, accumulators) => {
                l.axis != AxisKind::Vector
                    && !self.varying.index(&l.extent)
                    && self.block(body)
                    && accumulators.iter().all(|a| {
                        !(self.varying.expr(&a.init) || self.varying.expr(&a.value))
                            || (self.expr(&a.init) && self.expr(&a.value))
                    })
            }
            Stmt::If(condition, then, otherwise) => {
                !self.varying.expr(condition) && self.block(then) && self.block(otherwise)
            }
            Stmt::Mutable(..) | Stmt::Assign(..) | Stmt::While(..) | Stmt::Fail(_) | Stmt::Contract(_) => false,
        }
    }

    fn expr(&self, e: &Expr) -> bool {
        if !self.fits(self.kernel.dtype(e)) {
            return false;
        }
        if !self.varying.expr(e) {
            return true;
        }
        match e {
            Expr::Const(_) => true,
            Expr::Var(var) => *var != self.lane,
            Expr::Index(_) => false,
            Expr::Load(_, index) => self.contiguous(index),
            Expr::LoadIf { condition, index, otherwise, .. } => {
                !self.varying.expr(condition) && self.contiguous(index) && self.expr(otherwise)
            }
            Expr::Unary(op, x) => self.expr(x) && !matches!(op, UnaryOp::Sign | UnaryOp::Rsqrt),
            Expr::Binary(op, x, y) => {
                // Shifts take one constant amount for all lanes.
                let amount = !matches!(op, BinaryOp::Shl | BinaryOp::Shr) || matches!(**y, Expr::Const(_));
                amount && self.expr(x) && self.expr(y)
            }
            Expr::MulAdd(x, y, z) | Expr::Select(x, y, z) => self.expr(x) && self.expr(y) && self.expr(z),
            Expr::Convert(_, x) | Expr::Bitcast(_, x) => self.expr(x),
        }
    }

    fn contiguous(&self, index: &nnc_kernels::Index) -> bool {
        matches!(self.varying.access(index), AccessKind::Contiguous | AccessKind::Uniform)
    }
}

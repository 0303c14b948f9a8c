//! Statements and loops.

use super::kernel::{Binding, Lower, MEMORY, scalar_type};
use crate::error::CodegenError;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{BlockArg, InstBuilder, Value, types};
use nnc_ir::DType;
use nnc_ir::op::ReduceOp;
use nnc_kernels::affine::Varying;
use nnc_kernels::kernel::Accumulator;
use nnc_kernels::{AxisKind, BufferRef, Expr, Loop, Scalar, Stmt, Var};

/// The most copies an unrolled loop is written out in.
const MOST_COPIES: i64 = 64;

impl Lower<'_, '_> {
    pub(super) fn block(&mut self, stmts: &[Stmt]) -> Result<(), CodegenError> {
        stmts.iter().try_for_each(|s| self.stmt(s, 1))
    }

    /// Lowers a statement for this many lanes.
    pub(super) fn stmt(&mut self, stmt: &Stmt, lanes: u32) -> Result<(), CodegenError> {
        match stmt {
            Stmt::Let(var, e) => self.define(*var, e, lanes),
            Stmt::Store(buffer, index, e) => {
                let value = self.expr(e, lanes)?;
                let (address, offset) = self.address(*buffer, index);
                self.store(*buffer, value, address, offset, lanes);
                Ok(())
            }
            Stmt::Mutable(var, e) => {
                let value = self.expr(e, 1)?;
                let variable = self.b.declare_var(scalar_type(self.kernel.var_dtype(*var)));
                self.b.def_var(variable, value);
                self.env.bind(*var, Binding::Mutable(variable));
                Ok(())
            }
            Stmt::Assign(var, e) => {
                let value = self.expr(e, 1)?;
                let Some(Binding::Mutable(variable)) = self.env.get(*var) else {
                    return self.refuse("assignment to a variable that is not mutable");
                };
                self.b.def_var(variable, value);
                Ok(())
            }
            Stmt::If(condition, then, otherwise) => self.branch(condition, then, otherwise, lanes),
            Stmt::While(condition, body) => self.repeat(condition, body),
            Stmt::For(l, body) => self.for_loop(l, body, lanes),
            Stmt::Reduce(l, body, accumulators) => self.reduce(l, body, accumulators, lanes),
            Stmt::Fail(status) => {
                let status = self.b.ins().iconst(types::I32, i64::from(*status) & 0xffff_ffff);
                self.b.ins().return_(&[status]);
                // What follows is never reached.
                let after = self.b.create_block();
                self.b.switch_to_block(after);
                Ok(())
            }
            Stmt::Contract(gemm) => self.gemm(gemm),
        }
    }

    fn define(&mut self, var: Var, e: &Expr, lanes: u32) -> Result<(), CodegenError> {
        let varies = lanes > 1 && self.varies(e);
        let binding = if varies { Binding::Lanes(self.expr(e, lanes)?) } else { Binding::Uniform(self.expr(e, 1)?) };
        self.env.bind(var, binding);
        Ok(())
    }

    /// Whether lanes of the current vector loop may see different values.
    pub(super) fn varies(&self, e: &Expr) -> bool {
        self.varying.as_ref().is_some_and(|v| v.expr(e))
    }

    fn branch(&mut self, condition: &Expr, then: &[Stmt], otherwise: &[Stmt], lanes: u32) -> Result<(), CodegenError> {
        let condition = self.expr(condition, 1)?;
        let [yes, no, after] = [(); 3].map(|()| self.b.create_block());
        self.b.ins().brif(condition, yes, &[], no, &[]);
        for (block, stmts) in [(yes, then), (no, otherwise)] {
            self.b.switch_to_block(block);
            stmts.iter().try_for_each(|s| self.stmt(s, lanes))?;
            self.b.ins().jump(after, &[]);
        }
        self.b.switch_to_block(after);
        Ok(())
    }

    fn repeat(&mut self, condition: &Expr, body: &[Stmt]) -> Result<(), CodegenError> {
        let [header, inside, after] = [(); 3].map(|()| self.b.create_block());
        self.b.ins().jump(header, &[]);
        self.b.switch_to_block(header);
        self.env.depth += 1;
        let holds = self.expr(condition, 1)?;
        self.b.ins().brif(holds, inside, &[], after, &[]);
        self.b.switch_to_block(inside);
        self.block(body)?;
        self.b.ins().jump(header, &[]);
        self.env.depth -= 1;
        self.b.switch_to_block(after);
        Ok(())
    }

    /// `for i in (begin..end).step_by(step)`.
    pub(super) fn count(
        &mut self,
        begin: Value,
        end: Value,
        step: i64,
        body: impl FnOnce(&mut Self, Value) -> Result<(), CodegenError>,
    ) -> Result<(), CodegenError> {
        self.carry(begin, end, step, &[], |lower, i, _| {
            body(lower, i)?;
            Ok(vec![])
        })?;
        Ok(())
    }

    /// The same with values carried from iteration to iteration; answers the last ones.
    pub(super) fn carry(
        &mut self,
        begin: Value,
        end: Value,
        step: i64,
        init: &[Value],
        body: impl FnOnce(&mut Self, Value, &[Value]) -> Result<Vec<Value>, CodegenError>,
    ) -> Result<Vec<Value>, CodegenError> {
        let (inside, after) = (self.b.create_block(), self.b.create_block());
        let i = self.b.append_block_param(inside, types::I64);
        let mut carried = vec![];
        let mut results = vec![];
        for value in init {
            let ty = self.b.func.dfg.value_type(*value);
            carried.push(self.b.append_block_param(inside, ty));
            results.push(self.b.append_block_param(after, ty));
        }
        let arguments = |first: Option<Value>, rest: &[Value]| -> Vec<BlockArg> {
            first.into_iter().chain(rest.iter().copied()).map(BlockArg::Value).collect()
        };
        let some = self.b.ins().icmp(IntCC::SignedLessThan, begin, end);
        self.b.ins().brif(some, inside, &arguments(Some(begin), init), after, &arguments(None, init));
        self.b.switch_to_block(inside);
        self.env.depth += 1;
        let next = body(self, i, &carried)?;
        self.env.depth -= 1;
        let step = self.i64(step);
        let following = self.b.ins().iadd(i, step);
        let more = self.b.ins().icmp(IntCC::SignedLessThan, following, end);
        self.b.ins().brif(more, inside, &arguments(Some(following), &next), after, &arguments(None, &next));
        self.b.switch_to_block(after);
        Ok(results)
    }

    fn for_loop(&mut self, l: &Loop, body: &[Stmt], lanes: u32) -> Result<(), CodegenError> {
        match l.axis {
            AxisKind::Unrolled if l.extent.as_const().is_some_and(|n| n <= MOST_COPIES) => {
                for i in 0..l.extent.as_const().unwrap_or(0) {
                    let i = self.i64(i);
                    self.env.bind(l.var, Binding::Uniform(i));
                    body.iter().try_for_each(|s| self.stmt(s, lanes))?;
                }
                Ok(())
            }
            AxisKind::Vector if lanes == 1 && self.varying.is_none() => {
                let varying = Varying::new(l.var, body);
                let wide = self.lanes_of_block(l.var, &varying, body);
                self.varying = Some(varying);
                let result = self.in_lanes(l, wide, |lower, i, lanes| {
                    lower.env.bind(l.var, Binding::Uniform(i));
                    body.iter().try_for_each(|s| lower.stmt(s, lanes))
                });
                self.varying = None;
                result
            }
            _ => {
                let (begin, end) = (self.i64(0), self.index(&l.extent));
                self.count(begin, end, 1, |lower, i| {
                    lower.env.bind(l.var, Binding::Uniform(i));
                    body.iter().try_for_each(|s| lower.stmt(s, lanes))
                })
            }
        }
    }

    /// A vector loop: whole vectors, then single iterations.
    pub(super) fn in_lanes(
        &mut self,
        l: &Loop,
        lanes: u32,
        mut body: impl FnMut(&mut Self, Value, u32) -> Result<(), CodegenError>,
    ) -> Result<(), CodegenError> {
        let (begin, end) = (self.i64(0), self.index(&l.extent));
        if lanes == 1 {
            return self.count(begin, end, 1, |lower, i| body(lower, i, 1));
        }
        let whole = self.whole(end, lanes);
        self.count(begin, whole, i64::from(lanes), |lower, i| body(lower, i, lanes))?;
        if l.extent.as_const().is_some_and(|n| n % i64::from(lanes) == 0) {
            return Ok(());
        }
        self.count(whole, end, 1, |lower, i| body(lower, i, 1))
    }

    /// The number of iterations in whole vectors: not negative.
    fn whole(&mut self, n: Value, lanes: u32) -> Value {
        let zero = self.i64(0);
        let n = self.b.ins().smax(n, zero);
        let mask = self.i64(-i64::from(lanes));
        self.b.ins().band(n, mask)
    }

    fn reduce(
        &mut self,
        l: &Loop,
        body: &[Stmt],
        accumulators: &[Accumulator],
        lanes: u32,
    ) -> Result<(), CodegenError> {
        let vector = l.axis == AxisKind::Vector && lanes == 1 && self.varying.is_none();
        let mut init = vec![];
        for a in accumulators {
            // Inside a vector loop an accumulator may hold one value per lane.
            init.push(self.expr(&a.init, if self.accumulates_lanes(a, lanes) { lanes } else { 1 })?);
        }
        let (mut begin, end) = (self.i64(0), self.index(&l.extent));
        if vector {
            let varying = Varying::new(l.var, body);
            let wide = self.lanes_of_reduce(l.var, &varying, body, accumulators);
            if wide > 1 {
                self.varying = Some(varying);
                let result = self.reduce_in_lanes(l, body, accumulators, &init, end, wide);
                self.varying = None;
                (begin, init) = result?;
                if l.extent.as_const().is_some_and(|n| n % i64::from(wide) == 0) {
                    return self.finish(accumulators, &init, lanes);
                }
            }
        }
        let results = self.carry(begin, end, 1, &init, |lower, i, carried| {
            lower.env.bind(l.var, Binding::Uniform(i));
            body.iter().try_for_each(|s| lower.stmt(s, lanes))?;
            let mut next = vec![];
            for (a, old) in accumulators.iter().zip(carried) {
                let wide = if lower.accumulates_lanes(a, lanes) { lanes } else { 1 };
                let value = lower.expr(&a.value, wide)?;
                next.push(lower.combine(a.op, lower.kernel.var_dtype(a.var), *old, value, wide)?);
            }
            Ok(next)
        })?;
        self.finish(accumulators, &results, lanes)
    }

    fn accumulates_lanes(&self, a: &Accumulator, lanes: u32) -> bool {
        lanes > 1 && (self.varies(&a.init) || self.varies(&a.value))
    }

    fn finish(&mut self, accumulators: &[Accumulator], results: &[Value], lanes: u32) -> Result<(), CodegenError> {
        for (a, value) in accumulators.iter().zip(results) {
            let binding =
                if self.accumulates_lanes(a, lanes) { Binding::Lanes(*value) } else { Binding::Uniform(*value) };
            self.env.bind(a.var, binding);
        }
        Ok(())
    }

    /// The whole vectors of a reduction, folded into scalars: where the rest begins, and the values so far.
    fn reduce_in_lanes(
        &mut self,
        l: &Loop,
        body: &[Stmt],
        accumulators: &[Accumulator],
        init: &[Value],
        end: Value,
        lanes: u32,
    ) -> Result<(Value, Vec<Value>), CodegenError> {
        let whole = self.whole(end, lanes);
        let begin = self.i64(0);
        let mut identities = vec![];
        for a in accumulators {
            let dtype = self.kernel.var_dtype(a.var);
            identities.push(self.expr(&Expr::Const(identity(a.op, dtype)), lanes)?);
        }
        let sums = self.carry(begin, whole, i64::from(lanes), &identities, |lower, i, carried| {
            lower.env.bind(l.var, Binding::Uniform(i));
            body.iter().try_for_each(|s| lower.stmt(s, lanes))?;
            let mut next = vec![];
            for (a, old) in accumulators.iter().zip(carried) {
                let value = lower.expr(&a.value, lanes)?;
                next.push(lower.combine(a.op, lower.kernel.var_dtype(a.var), *old, value, lanes)?);
            }
            Ok(next)
        })?;
        let mut folded = vec![];
        for ((a, sum), first) in accumulators.iter().zip(sums).zip(init) {
            let dtype = self.kernel.var_dtype(a.var);
            let all = self.fold(a.op, dtype, sum, lanes)?;
            folded.push(self.combine(a.op, dtype, *first, all, 1)?);
        }
        Ok((whole, folded))
    }

    /// Combines the lanes of a vector.
    fn fold(&mut self, op: ReduceOp, dtype: DType, vector: Value, lanes: u32) -> Result<Value, CodegenError> {
        match (dtype, op) {
            (DType::Bool, ReduceOp::Max) => return Ok(self.b.ins().vany_true(vector)),
            (DType::Bool, ReduceOp::Min) => return Ok(self.b.ins().vall_true(vector)),
            _ => {}
        }
        let mut parts: Vec<Value> = (0..lanes).map(|lane| self.extract(vector, dtype, lane)).collect();
        // Pairs first, as a tree.
        while let [x, y, rest @ ..] = parts.as_slice() {
            let (x, y, rest) = (*x, *y, rest.to_vec());
            let both = self.combine(op, dtype, x, y, 1)?;
            parts = rest;
            parts.push(both);
        }
        Ok(parts.first().copied().unwrap_or(vector))
    }

    pub(super) fn combine(
        &mut self,
        op: ReduceOp,
        dtype: DType,
        x: Value,
        y: Value,
        lanes: u32,
    ) -> Result<Value, CodegenError> {
        self.binary(nnc_kernels::ops::reduce_function(op), dtype, x, y, lanes)
    }

    /// Writes a value, or one per lane to neighbouring elements.
    pub(super) fn store(&mut self, buffer: BufferRef, value: Value, address: Value, offset: i32, lanes: u32) {
        let dtype = self.kernel.buffers[buffer.0 as usize].dtype;
        let full = if lanes == 4 { 4 } else { 8 };
        if lanes == 1 || (dtype.size() == full && dtype != DType::Bool) {
            self.b.ins().store(MEMORY, value, address, offset);
            return;
        }
        for lane in 0..lanes {
            let element = self.extract(value, dtype, lane);
            self.b.ins().store(MEMORY, element, address, offset + (lane as usize * dtype.size()) as i32);
        }
    }
}

/// The value that changes nothing.
fn identity(op: ReduceOp, dtype: DType) -> Scalar {
    let value = match op {
        ReduceOp::Sum => 0.0,
        ReduceOp::Prod => 1.0,
        ReduceOp::Max => f64::NEG_INFINITY,
        ReduceOp::Min => f64::INFINITY,
    };
    // Infinities saturate to the limits of integer types.
    match (dtype, op) {
        (DType::Bool, ReduceOp::Max) => Scalar { dtype, bits: 0 },
        _ => Scalar::new(dtype, value),
    }
}

//! Reductions: serial ones in scalar or vector code, and vector ones that end with a horizontal combination.
//!
//! Several sets of accumulators take turns, so that the latency of an addition does not limit the loop; the sets are
//! combined after it. The order of combination is fixed when compiling, so results do not vary between runs.

use iced_x86::Mnemonic as M;
use nnc_ir::DType;
use nnc_ir::op::ReduceOp;
use nnc_kernels::kernel::{Accumulator, AxisKind};
use nnc_kernels::{Expr, Index, Loop, Stmt};
use regalloc2::{RegClass, VReg};

use super::loops::MAX_UNROLL;
use super::machine::{Operand, Size};
use super::reason::Reason;
use super::select::{Context, Lower, Lowered, Stop, Value};
use super::shape;

/// One iteration of a serial reduction: the accumulators before to those after.
type Step<'f, L> = dyn Fn(&mut L, &[VReg]) -> Lowered<Vec<VReg>> + 'f;

/// Sets of accumulators of a reduction: `[copy][accumulator]`.
type Sets = Vec<Vec<VReg>>;

impl Lower<'_> {
    /// A loop that combines values.
    pub fn reduce(
        &mut self,
        header: &Loop,
        body: &[Stmt],
        accumulators: &[Accumulator],
        context: &Context,
    ) -> Lowered<()> {
        let values: Vec<&Expr> = accumulators.iter().map(|a| &a.value).collect();
        if accumulators.iter().any(|a| self.dtype(&a.value) == DType::F64) {
            return Err(Stop::Unsupported(Reason::F64));
        }
        let shape = match header.axis {
            AxisKind::Vector if context.axis.is_some() => return Err(Stop::Unsupported(Reason::NestedLanes)),
            AxisKind::Vector => match shape::of_loop(self, header.var, body, &values, &[]) {
                Ok(shape) => Some(shape),
                // Cranelift has lanes of doubles.
                Err(Reason::F64) => return Err(Stop::Unsupported(Reason::F64)),
                Err(reason) => {
                    self.scalar_loops.insert(reason);
                    None
                }
            },
            _ => None,
        };
        match shape {
            Some(shape) => self.vector_reduce(header, body, accumulators, &shape),
            None => self.serial_reduce(header, body, accumulators, context),
        }
    }

    fn vector_reduce(
        &mut self,
        header: &Loop,
        body: &[Stmt],
        accumulators: &[Accumulator],
        shape: &shape::Shape,
    ) -> Lowered<()> {
        let full = Context { size: self.size, lanes: self.lanes, axis: Some(header.var), tail: None };
        let n = accumulators.len();
        let copies = if shape.nested { 1 } else { shape::reduce_copies(shape.weight, n) };
        // Accumulators of the copies one after the other, then one-lane ones for the remainder on AVX2.
        let mut inits = vec![];
        for _ in 0..=copies {
            for acc in accumulators {
                inits.push(self.identity(acc, &full)?);
            }
        }
        self.by_lane.clone_from(&shape.by_lane);
        let values = self.vector_loop(header, copies, shape.narrow, &inits, |lower, context, copy, values| {
            lower.statements(body, &context)?;
            let mut next = values.to_vec();
            let first = copy.min(copies) * n;
            for (i, acc) in accumulators.iter().enumerate() {
                next[first + i] = lower.accumulate(acc, values[first + i], &context)?;
            }
            Ok(next)
        })?;
        self.by_lane.clear();
        let mut sets: Sets = values.chunks(n.max(1)).map(<[VReg]>::to_vec).collect();
        let single = if shape.narrow && !self.f.evex { sets.pop() } else { None };
        sets.truncate(copies);
        for (i, acc) in accumulators.iter().enumerate() {
            let dtype = self.dtype(&acc.value);
            let total = self.combine_sets(acc, &sets, i, &full)?;
            let mut total = self.horizontal(acc.op, dtype, total)?;
            let scalar = self.scalar();
            if let Some(single) = &single {
                total = self.combine(acc.op, dtype, total, Value::Vec(single[i]), &scalar)?;
            }
            let init = self.scalar_value(&acc.init)?;
            self.forget(acc.var);
            let value = if dtype == DType::F32 {
                let init = Value::Vec(self.vec_reg(init, &scalar)?);
                Value::Vec(self.combine(acc.op, dtype, total, init, &scalar)?)
            } else {
                let lane = self.lane_to_int(total, dtype);
                self.scalar_combine(acc.op, dtype, Value::Int(lane), init)?
            };
            self.values.insert(acc.var, (value, self.depth(), false));
        }
        Ok(())
    }

    fn combine_sets(&mut self, acc: &Accumulator, sets: &Sets, i: usize, context: &Context) -> Lowered<VReg> {
        let dtype = self.dtype(&acc.value);
        let mut values: Vec<VReg> = sets.iter().map(|s| s[i]).collect();
        while values.len() > 1 {
            let mut next = vec![];
            for pair in values.chunks(2) {
                next.push(match pair {
                    [a, b] => self.combine(acc.op, dtype, *a, Value::Vec(*b), context)?,
                    _ => pair[0],
                });
            }
            values = next;
        }
        values.first().copied().ok_or(Stop::fault("reduction without copies"))
    }

    /// The accumulator after one more value.
    fn accumulate(&mut self, acc: &Accumulator, old: VReg, context: &Context) -> Lowered<VReg> {
        let dtype = self.dtype(&acc.value);
        let new = match (&acc.value, acc.op) {
            (Expr::Binary(nnc_ir::op::BinaryOp::Mul, x, y), ReduceOp::Sum) if dtype == DType::F32 => {
                let x = self.operand(x, context)?;
                let y = self.operand(y, context)?;
                let old_value = Value::Vec(old);
                self.mul_add(x, y, old_value, [false, false, true], context)?
            }
            _ => {
                let value = self.operand(&acc.value, context)?;
                self.combine(acc.op, dtype, old, value, context)?
            }
        };
        match context.tail {
            None => Ok(new),
            Some(mask) => {
                let result = self.blend(mask, Value::Vec(new), old, context)?;
                Ok(result)
            }
        }
    }

    /// The combination's neutral element in every lane.
    fn identity(&mut self, acc: &Accumulator, context: &Context) -> Lowered<VReg> {
        let dtype = self.dtype(&acc.value);
        let bits = match (dtype, acc.op) {
            (DType::F32, op) => match op {
                ReduceOp::Sum => 0f32,
                ReduceOp::Prod => 1.0,
                ReduceOp::Max => f32::NEG_INFINITY,
                ReduceOp::Min => f32::INFINITY,
            }
            .to_bits(),
            (DType::F64 | DType::I64 | DType::U64 | DType::F16 | DType::BF16 | DType::Bool, _) => {
                return Err(Stop::Unsupported(Reason::Reduction));
            }
            (_, ReduceOp::Sum) => 0,
            (_, ReduceOp::Prod) => 1,
            (_, op) => shape::int_extreme(dtype, op == ReduceOp::Max) as u32,
        };
        // A register of its own: carried values are overwritten.
        self.splat_bits(bits, context)
    }

    fn serial_reduce(
        &mut self,
        header: &Loop,
        body: &[Stmt],
        accumulators: &[Accumulator],
        context: &Context,
    ) -> Lowered<()> {
        let extent = self.resolve(&header.extent);
        let mut inits = vec![];
        for acc in accumulators {
            let dtype = self.dtype(&acc.value);
            let in_lanes = context.axis.is_some() || dtype == DType::F32;
            let value = if in_lanes {
                let value = self.operand(&acc.init, context)?;
                self.vec_reg(value, context)?
            } else {
                let value = self.scalar_value(&acc.init)?;
                self.int_reg(value)?
            };
            inits.push(value);
        }
        let step = |lower: &mut Self, values: &[VReg]| -> Lowered<Vec<VReg>> {
            lower.statements(body, context)?;
            let mut next = vec![];
            // Lanes past the end hold junk that nothing stores, so the mask does not matter here.
            let unmasked = Context { tail: None, ..*context };
            for (acc, &old) in accumulators.iter().zip(values) {
                next.push(if old.class() == RegClass::Int {
                    let dtype = lower.dtype(&acc.value);
                    let value = lower.scalar_value(&acc.value)?;
                    let new = lower.scalar_combine(acc.op, dtype, Value::Int(old), value)?;
                    lower.int_reg(new)?
                } else {
                    lower.accumulate_masked(acc, old, context, &unmasked)?
                });
            }
            Ok(next)
        };
        let constant = extent.as_const();
        let written_out = match header.axis {
            AxisKind::Unrolled => constant.filter(|n| *n <= MAX_UNROLL),
            _ => None,
        };
        let values = if let Some(count) = written_out {
            let mut values = inits;
            for i in 0..count {
                self.replaced.insert(header.var, Index::from(i));
                values = step(self, &values)?;
            }
            self.replaced.remove(&header.var);
            values
        } else {
            let copies = self.serial_copies(body, accumulators, constant, context);
            self.serial_sets(header, &extent, accumulators, inits, copies, context, &step)?
        };
        for (acc, value) in accumulators.iter().zip(values) {
            self.forget(acc.var);
            let depth = self.depth();
            if value.class() == RegClass::Int && self.kernel.var_dtype(acc.var) == DType::I64 {
                self.ints.insert(acc.var, (value, depth));
            } else {
                let is_int = value.class() == RegClass::Int;
                let value = if is_int { Value::Int(value) } else { Value::Vec(value) };
                self.values.insert(acc.var, (value, depth, context.axis.is_some()));
            }
        }
        Ok(())
    }

    /// How many independent sets of accumulators a serial reduction keeps.
    fn serial_copies(
        &self,
        body: &[Stmt],
        accumulators: &[Accumulator],
        extent: Option<i64>,
        context: &Context,
    ) -> usize {
        let lanes_only = accumulators.iter().all(|a| context.axis.is_some() || self.dtype(&a.value) == DType::F32);
        let weight = shape::weight(body) + accumulators.iter().map(|a| shape::expr_weight(&a.value)).sum::<usize>();
        let simple = body.iter().all(|s| matches!(s, Stmt::Let(..)));
        if lanes_only && simple && weight <= 24 && accumulators.len() <= 2 && extent.is_none_or(|n| n >= 8) {
            4
        } else {
            1
        }
    }

    #[allow(clippy::too_many_arguments, reason = "one call, all of it the reduction's description")]
    fn serial_sets(
        &mut self,
        header: &Loop,
        extent: &Index,
        accumulators: &[Accumulator],
        inits: Vec<VReg>,
        copies: usize,
        context: &Context,
        step: &Step<'_, Self>,
    ) -> Lowered<Vec<VReg>> {
        let (var, n) = (header.var, accumulators.len());
        let (mut values, mut at) = (inits, Index::ZERO);
        if copies > 1 {
            let mut all = values.clone();
            for _ in 1..copies {
                for acc in accumulators {
                    all.push(self.identity(acc, context)?);
                }
            }
            let done = self.counted(var, at, extent.clone(), copies as i64, &all, |lower, phis| {
                let base = lower.replaced.get(&var).cloned().unwrap_or_else(|| var.index());
                let mut next = vec![];
                for copy in 0..copies {
                    lower.replaced.insert(var, &base + copy as i64);
                    next.extend(step(lower, &phis[copy * n..(copy + 1) * n])?);
                }
                lower.replaced.remove(&var);
                Ok(next)
            })?;
            at = done.end;
            let sets: Sets = done.carried.chunks(n.max(1)).map(<[VReg]>::to_vec).collect();
            values.clear();
            for (i, acc) in accumulators.iter().enumerate() {
                values.push(self.combine_sets(acc, &sets, i, context)?);
            }
        }
        let done = self.counted(var, at, extent.clone(), 1, &values, |lower, phis| step(lower, phis))?;
        Ok(done.carried)
    }

    /// As [`Lower::accumulate`] with loads masked but the accumulator not.
    fn accumulate_masked(
        &mut self,
        acc: &Accumulator,
        old: VReg,
        loads: &Context,
        arithmetic: &Context,
    ) -> Lowered<VReg> {
        let dtype = self.dtype(&acc.value);
        match (&acc.value, acc.op) {
            (Expr::Binary(nnc_ir::op::BinaryOp::Mul, x, y), ReduceOp::Sum) if dtype == DType::F32 => {
                let x = self.operand(x, loads)?;
                let y = self.operand(y, loads)?;
                self.mul_add(x, y, Value::Vec(old), [false, false, true], arithmetic)
            }
            _ => {
                let value = self.operand(&acc.value, loads)?;
                self.combine(acc.op, dtype, old, value, arithmetic)
            }
        }
    }

    /// Lane 0 as an integer of a type.
    fn lane_to_int(&mut self, lanes: VReg, dtype: DType) -> VReg {
        let reg = self.f.int();
        self.def(M::Vmovd, vec![Operand::Reg(reg, Size::R32), Operand::Reg(lanes, Size::X)]);
        self.extend(reg, dtype)
    }
}

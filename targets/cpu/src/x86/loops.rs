//! Loops: counted loops with carried values, vector loops with tails, reductions.

use iced_x86::{ConditionCode, Mnemonic as M};
use nnc_ir::op::ReduceOp;
use nnc_ir::{DType, Dim, Symbol};
use nnc_kernels::kernel::{Accumulator, Lanes};
use nnc_kernels::{Expr, Loop, Stmt, Var};
use regalloc2::{RegClass, VReg};

use super::address::r64;
use super::machine::{Mem, Operand, Size};
use super::select::{Context, Lower, Lowered, OpenLoop, Scope, Stop, Value};
use super::shape;

/// Most copies of a loop body that is written out.
const MAX_UNROLL: i64 = 64;

/// What a loop leaves behind.
pub struct Finished {
    /// Carried values.
    pub carried: Vec<VReg>,
    /// The value of the loop variable for which the body did not run.
    pub end: Dim,
}

/// Sets of accumulators of a reduction: `[copy][accumulator]`.
type Sets = Vec<Vec<VReg>>;

impl Lower<'_> {
    /// Runs `body` for `var = start, start + step, ...` as long as `var + step <= limit`.
    pub fn counted(
        &mut self,
        var: Var,
        start: Dim,
        limit: Dim,
        step: i64,
        carried: &[VReg],
        body: impl FnOnce(&mut Self, &[VReg]) -> Lowered<Vec<VReg>>,
    ) -> Lowered<Finished> {
        self.while_below(var, start, limit - (step - 1), step, carried, body)
    }

    /// Runs `body` for `var = start, start + step, ...` as long as `var < bound`.
    pub fn while_below(
        &mut self,
        var: Var,
        start: Dim,
        bound: Dim,
        step: i64,
        carried: &[VReg],
        body: impl FnOnce(&mut Self, &[VReg]) -> Lowered<Vec<VReg>>,
    ) -> Lowered<Finished> {
        let symbol = Symbol(var.0);
        let trips = (&bound - &start).as_const().map(|n| if n <= 0 { 0 } else { (n - 1) / step + 1 });
        if trips == Some(0) {
            return Ok(Finished { carried: carried.to_vec(), end: start });
        }
        self.forget(var);
        if trips == Some(1) {
            self.replaced.insert(symbol, start.clone());
            let carried = body(self, carried)?;
            self.replaced.remove(&symbol);
            return Ok(Finished { carried, end: start + step });
        }
        self.replaced.remove(&symbol);
        let before = self.f.block();
        let head = self.f.block();
        let exit = self.f.block();
        let outer = self.depth();
        let bound_operand = match bound.as_const().filter(|b| i32::try_from(*b).is_ok()) {
            Some(value) => Operand::Imm(value),
            None => r64(self.index_reg(&bound)?),
        };
        self.f.place(before);
        self.scopes.push(Scope { before_loop: true, ..Scope::new(before) });
        let first = self.index_reg(&start)?;
        let iv = self.f.int();
        let phis: Vec<VReg> = carried.iter().map(|v| self.f.vreg(v.class())).collect();
        self.f.place(head);
        let open = OpenLoop { var, start: start.clone(), step, derived: vec![] };
        self.scopes.push(Scope { open: Some(open), ..Scope::new(head) });
        self.ints.insert(symbol, (iv, self.depth()));
        let results = body(self, &phis)?;

        let mut head_params = vec![iv];
        head_params.extend(&phis);
        let mut inits = vec![first];
        inits.extend(carried);
        let mut again = vec![];
        let derived = self.scope().open.take().map(|o| o.derived).unwrap_or_default();
        for (stride, reg, init) in derived {
            let advance = &stride * step;
            let next = match advance.as_const().filter(|a| i32::try_from(*a).is_ok()) {
                Some(bytes) => self.int_op(M::Add, reg, Operand::Imm(bytes)),
                None => {
                    let bytes = self.index_reg(&advance)?;
                    self.int_op(M::Add, reg, r64(bytes))
                }
            };
            head_params.push(reg);
            inits.push(init);
            again.push(next);
        }
        let next = self.int_op(M::Add, iv, Operand::Imm(step));
        let mut repeat = vec![next];
        repeat.extend(&results);
        repeat.extend(again);
        self.effect(M::Cmp, vec![r64(next), bound_operand]);
        let latch = self.block();
        self.scopes.truncate(outer + 2);
        let entry = self.block();
        self.scopes.truncate(outer + 1);
        self.f.blocks[head.0 as usize].params = head_params;
        self.f.jump(entry, head, inits);

        let leave = |last: VReg, values: &[VReg]| {
            let mut arguments = values.to_vec();
            arguments.push(last);
            arguments
        };
        self.f.branch(latch, ConditionCode::l, (head, repeat), (exit, leave(next, &results)));
        if trips.is_some() {
            let from = self.block();
            self.f.jump(from, before, vec![]);
        } else {
            // The same value as `first`, but in this scope: the block before the loop is not reached by the guard.
            let start_reg = self.index_reg(&start)?;
            self.effect(M::Cmp, vec![r64(start_reg), bound_operand]);
            let from = self.block();
            self.f.branch(from, ConditionCode::l, (before, vec![]), (exit, leave(start_reg, carried)));
        }
        self.ints.remove(&symbol);
        self.f.place(exit);
        self.scope().block = exit;
        let finals: Vec<VReg> = carried.iter().map(|v| self.f.vreg(v.class())).collect();
        let end_reg = self.f.int();
        self.f.blocks[exit.0 as usize].params = leave(end_reg, &finals);
        let end = match trips {
            Some(n) => start + step * n,
            None => self.bind_fresh(end_reg),
        };
        Ok(Finished { carried: finals, end })
    }

    /// A loop one iteration at a time.
    pub fn serial_for(&mut self, header: &Loop, body: &[Stmt], context: &Context) -> Lowered<()> {
        let extent = self.resolve(&header.extent);
        self.counted(header.var, Dim::ZERO, extent, 1, &[], |lower, _| {
            lower.statements(body, context)?;
            Ok(vec![])
        })?;
        Ok(())
    }

    /// A loop written out.
    pub fn unrolled_for(&mut self, header: &Loop, body: &[Stmt], context: &Context) -> Lowered<()> {
        let Some(extent) = self.resolve(&header.extent).as_const().filter(|n| *n <= MAX_UNROLL) else {
            return self.serial_for(header, body, context);
        };
        let symbol = Symbol(header.var.0);
        for i in 0..extent {
            self.replaced.insert(symbol, Dim::from(i));
            self.statements(body, context)?;
        }
        self.replaced.remove(&symbol);
        Ok(())
    }

    /// A loop whose iterations are lanes.
    pub fn vector_for(&mut self, header: &Loop, body: &[Stmt], context: &Context) -> Lowered<()> {
        if context.axis.is_some() {
            return Err(Stop::Unsupported("vector loop in a vector loop"));
        }
        let Some(shape) = shape::of_loop(self, header.var, body, &[], &[]) else {
            return self.serial_for(header, body, context);
        };
        let unroll = if shape.nested { 1 } else { shape::unroll(shape.weight) };
        self.vector_loop(header, unroll, shape.narrow, &[], |lower, context, _, values| {
            lower.statements(body, &context)?;
            Ok(values.to_vec())
        })?;
        Ok(())
    }

    /// Runs `body(context, copy, carried values)` over the lanes of a loop, `unroll` vectors per iteration, with tails.
    /// The tail changes the carried values as `body` says, which has to respect `context.tail`.
    fn vector_loop(
        &mut self,
        header: &Loop,
        unroll: usize,
        narrow: bool,
        carried: &[VReg],
        body: impl Fn(&mut Self, Context, usize, &[VReg]) -> Lowered<Vec<VReg>>,
    ) -> Lowered<Vec<VReg>> {
        let (var, symbol) = (header.var, Symbol(header.var.0));
        let extent = self.resolve(&header.extent);
        let full = Context { size: self.size, lanes: self.lanes, axis: Some(var), tail: None };
        let lanes = self.lanes as i64;
        let mut values = carried.to_vec();
        let mut at = Dim::ZERO;
        for copies in if unroll > 1 { vec![unroll, 1] } else { vec![1] } {
            let step = lanes * copies as i64;
            let done = self.counted(var, at, extent.clone(), step, &values, |lower, phis| {
                let base = lower.replaced.get(&symbol).cloned().unwrap_or_else(|| Dim::sym(symbol));
                let mut values = phis.to_vec();
                for copy in 0..copies {
                    lower.replaced.insert(symbol, &base + lanes * copy as i64);
                    values = body(lower, full, copy, &values)?;
                }
                lower.replaced.remove(&symbol);
                Ok(values)
            })?;
            (values, at) = (done.carried, done.end);
        }
        let rest = (&extent - &at).as_const();
        if rest == Some(0) {
            return Ok(values);
        }
        if narrow && !self.f.evex {
            // AVX2 masks only 32-bit elements: the others go one by one, in vector registers of one lane.
            let single = Context { size: Size::X, lanes: 1, axis: Some(var), tail: None };
            let done =
                self.counted(var, at, extent, 1, &values, |lower, phis| body(lower, single, usize::MAX, phis))?;
            return Ok(done.carried);
        }
        let done = self.while_below(var, at, extent.clone(), lanes, &values, |lower, phis| {
            let at = lower.resolve(&Dim::sym(symbol));
            let tail = lower.tail_mask(&(&extent - &at))?;
            body(lower, Context { tail: Some(tail), ..full }, 0, phis)
        })?;
        Ok(done.carried)
    }

    /// The mask of the first `count` lanes, `count` being resolved and less than a vector.
    pub fn tail_mask(&mut self, count: &Dim) -> Lowered<VReg> {
        if self.f.evex {
            let bits = match count.as_const() {
                Some(n) => self.imm_reg((1i64 << n.clamp(0, 16)) - 1),
                None => {
                    // bzhi takes the count modulo 256; callers pass small ones, larger are full vectors.
                    let count = self.index_reg(count)?;
                    let ones = self.imm_reg(0xFFFF);
                    let bits = self.f.int();
                    self.def(
                        M::Bzhi,
                        vec![Operand::Reg(bits, Size::R32), Operand::Reg(ones, Size::R32), Operand::Reg(count, Size::R32)],
                    );
                    bits
                }
            };
            let mask = self.f.kreg();
            self.def(M::Kmovw, vec![Operand::Reg(mask, Size::K), Operand::Reg(bits, Size::R32)]);
            return Ok(mask);
        }
        let mask = self.f.vec();
        if let Some(n) = count.as_const() {
            let words: Vec<u32> = (0..8).map(|i| if i < n { u32::MAX } else { 0 }).collect();
            let constant = self.f.constant(&words);
            self.def(M::Vmovups, vec![Operand::Reg(mask, Size::Y), Operand::Mem(constant)]);
            return Ok(mask);
        }
        let count = self.index_reg(count)?;
        let (low, all) = (self.f.vec(), self.f.vec());
        self.def(M::Vmovd, vec![Operand::Reg(low, Size::X), Operand::Reg(count, Size::R32)]);
        self.def(M::Vpbroadcastd, vec![Operand::Reg(all, Size::Y), Operand::Reg(low, Size::X)]);
        let iota = self.iota();
        self.def(M::Vpcmpgtd, vec![Operand::Reg(mask, Size::Y), Operand::Reg(all, Size::Y), Operand::Mem(iota)]);
        Ok(mask)
    }

    /// The constant 0, 1, 2, ...
    pub fn iota(&mut self) -> Mem {
        let words: Vec<u32> = (0..self.lanes as u32).collect();
        self.f.constant(&words)
    }

    /// A loop that combines values.
    pub fn reduce(
        &mut self,
        header: &Loop,
        body: &[Stmt],
        accumulators: &[Accumulator],
        context: &Context,
    ) -> Lowered<()> {
        let values: Vec<&Expr> = accumulators.iter().map(|a| &a.value).collect();
        let shape = match header.lanes {
            Lanes::Vector if context.axis.is_some() => return Err(Stop::Unsupported("vector loop in a vector loop")),
            Lanes::Vector => shape::of_loop(self, header.var, body, &values, &[]),
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
        let values = self.vector_loop(header, copies, shape.narrow, &inits, |lower, context, copy, values| {
            lower.statements(body, &context)?;
            let mut next = values.to_vec();
            let first = copy.min(copies) * n;
            for (i, acc) in accumulators.iter().enumerate() {
                next[first + i] = lower.accumulate(acc, values[first + i], &context)?;
            }
            Ok(next)
        })?;
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
        values.first().copied().ok_or(Stop::Unsupported("reduction without copies"))
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
                return Err(Stop::Unsupported("reduction of this type in lanes"));
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
        let symbol = Symbol(header.var.0);
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
        let written_out = match header.lanes {
            Lanes::Unrolled => constant.filter(|n| *n <= MAX_UNROLL),
            _ => None,
        };
        let values = if let Some(count) = written_out {
            let mut values = inits;
            for i in 0..count {
                self.replaced.insert(symbol, Dim::from(i));
                values = step(self, &values)?;
            }
            self.replaced.remove(&symbol);
            values
        } else {
            let copies = self.serial_copies(body, accumulators, constant, context);
            self.serial_sets(header, &extent, accumulators, inits, copies, context, &step)?
        };
        for (acc, value) in accumulators.iter().zip(values) {
            self.forget(acc.var);
            let depth = self.depth();
            if value.class() == RegClass::Int && self.kernel.var_dtype(acc.var) == DType::I64 {
                self.ints.insert(Symbol(acc.var.0), (value, depth));
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
        let lanes_only = accumulators.iter().all(|a| {
            context.axis.is_some() || self.dtype(&a.value) == DType::F32
        });
        let weight = shape::weight(body) + accumulators.iter().map(|a| shape::expr_weight(&a.value)).sum::<usize>();
        let simple = body.iter().all(|s| matches!(s, Stmt::Let(..)));
        if lanes_only && simple && weight <= 24 && accumulators.len() <= 2 && extent.is_none_or(|n| n >= 8) { 4 } else { 1 }
    }

    #[allow(clippy::too_many_arguments, reason = "one call, all of it the reduction's description")]
    fn serial_sets(
        &mut self,
        header: &Loop,
        extent: &Dim,
        accumulators: &[Accumulator],
        inits: Vec<VReg>,
        copies: usize,
        context: &Context,
        step: &dyn Fn(&mut Self, &[VReg]) -> Lowered<Vec<VReg>>,
    ) -> Lowered<Vec<VReg>> {
        let (var, symbol, n) = (header.var, Symbol(header.var.0), accumulators.len());
        let (mut values, mut at) = (inits, Dim::ZERO);
        if copies > 1 {
            let mut all = values.clone();
            for _ in 1..copies {
                for acc in accumulators {
                    all.push(self.identity(acc, context)?);
                }
            }
            let done = self.counted(var, at, extent.clone(), copies as i64, &all, |lower, phis| {
                let base = lower.replaced.get(&symbol).cloned().unwrap_or_else(|| Dim::sym(symbol));
                let mut next = vec![];
                for copy in 0..copies {
                    lower.replaced.insert(symbol, &base + copy as i64);
                    next.extend(step(lower, &phis[copy * n..(copy + 1) * n])?);
                }
                lower.replaced.remove(&symbol);
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

//! Loops: counted loops with carried values, loops written out, vector loops with their tails.

use iced_x86::{ConditionCode, Mnemonic as M};
use nnc_kernels::{Index, Loop, Stmt, Var};
use regalloc2::VReg;

use super::address::r64;
use super::machine::{Mem, Operand, Size};
use super::reason::Reason;
use super::select::{Context, Lower, Lowered, OpenLoop, Scope, Stop};
use super::shape;

/// Most copies of a loop body that is written out.
pub const MAX_UNROLL: i64 = 64;

/// Most iterations of a loop that is written out when it cannot run in lanes.
const SHORT: i64 = 8;

/// What a loop leaves behind.
pub struct Finished {
    /// Carried values.
    pub carried: Vec<VReg>,
    /// The value of the loop variable for which the body did not run.
    pub end: Index,
}

impl Lower<'_> {
    /// Runs `body` for `var = start, start + step, ...` as long as `var + step <= limit`.
    pub fn counted(
        &mut self,
        var: Var,
        start: Index,
        limit: Index,
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
        start: Index,
        bound: Index,
        step: i64,
        carried: &[VReg],
        body: impl FnOnce(&mut Self, &[VReg]) -> Lowered<Vec<VReg>>,
    ) -> Lowered<Finished> {
        if bound.as_const().is_some_and(|bound| bound > i64::MAX / 2) {
            return Err(Stop::fault("the bound of a loop is too large to be held"));
        }
        let trips = (&bound - &start).as_const().map(|n| if n <= 0 { 0 } else { (n - 1) / step + 1 });
        if trips == Some(0) {
            return Ok(Finished { carried: carried.to_vec(), end: start });
        }
        self.forget(var);
        if trips == Some(1) {
            self.replaced.insert(var, start.clone());
            let carried = body(self, carried)?;
            self.replaced.remove(&var);
            return Ok(Finished { carried, end: start + step });
        }
        self.replaced.remove(&var);
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
        let open = OpenLoop { var, start: start.clone(), derived: vec![] };
        self.scopes.push(Scope { open: Some(open), ..Scope::new(head) });
        self.ints.insert(var, (iv, self.depth()));
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
        self.ints.remove(&var);
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
        self.counted(header.var, Index::ZERO, extent, 1, &[], |lower, _| {
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
        for i in 0..extent {
            self.replaced.insert(header.var, Index::from(i));
            self.statements(body, context)?;
        }
        self.replaced.remove(&header.var);
        Ok(())
    }

    /// A loop whose iterations are lanes.
    pub fn vector_for(&mut self, header: &Loop, body: &[Stmt], context: &Context) -> Lowered<()> {
        if context.axis.is_some() {
            return Err(Stop::Unsupported(Reason::NestedLanes));
        }
        let short = self.resolve(&header.extent).as_const().filter(|n| *n <= SHORT);
        let shape = match shape::of_loop(self, header.var, body, &[], &[]) {
            Ok(shape) => shape,
            // Cranelift has lanes of doubles.
            Err(Reason::F64) => return Err(Stop::Unsupported(Reason::F64)),
            Err(reason) => {
                if short.is_some() {
                    return self.unrolled_for(header, body, context);
                }
                self.scalar_loops.insert(reason);
                return self.serial_for(header, body, context);
            }
        };
        // A gather costs more than the few loads it stands for.
        if short.is_some_and(|n| n <= 4) && (shape.gathers || shape.scatters) {
            return self.unrolled_for(header, body, context);
        }
        let unroll = if shape.nested { 1 } else { shape::unroll(shape.weight) };
        self.by_lane = shape.by_lane;
        self.vector_loop(header, unroll, shape.narrow, &[], |lower, context, _, values| {
            lower.statements(body, &context)?;
            Ok(values.to_vec())
        })?;
        self.by_lane.clear();
        Ok(())
    }

    /// Runs `body(context, copy, carried values)` over the lanes of a loop, `unroll` vectors per iteration, with tails.
    /// The tail changes the carried values as `body` says, which has to respect `context.tail`.
    pub fn vector_loop(
        &mut self,
        header: &Loop,
        unroll: usize,
        narrow: bool,
        carried: &[VReg],
        body: impl Fn(&mut Self, Context, usize, &[VReg]) -> Lowered<Vec<VReg>>,
    ) -> Lowered<Vec<VReg>> {
        let var = header.var;
        let extent = self.resolve(&header.extent);
        let full = Context { size: self.size, lanes: self.lanes, axis: Some(var), tail: None };
        let lanes = self.lanes as i64;
        let mut values = carried.to_vec();
        let mut at = Index::ZERO;
        for copies in if unroll > 1 { vec![unroll, 1] } else { vec![1] } {
            let step = lanes * copies as i64;
            let done = self.counted(var, at, extent.clone(), step, &values, |lower, phis| {
                let base = lower.replaced.get(&var).cloned().unwrap_or_else(|| var.index());
                let mut values = phis.to_vec();
                for copy in 0..copies {
                    lower.replaced.insert(var, &base + lanes * copy as i64);
                    values = body(lower, full, copy, &values)?;
                }
                lower.replaced.remove(&var);
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
            let at = lower.resolve(&var.index());
            let tail = lower.tail_mask(&(&extent - &at))?;
            lower.last = Some(&extent - 1);
            let result = body(lower, Context { tail: Some(tail), ..full }, 0, phis);
            lower.last = None;
            result
        })?;
        Ok(done.carried)
    }

    /// The mask of the first `count` lanes, `count` being resolved and less than a vector.
    pub fn tail_mask(&mut self, count: &Index) -> Lowered<VReg> {
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
                        vec![
                            Operand::Reg(bits, Size::R32),
                            Operand::Reg(ones, Size::R32),
                            Operand::Reg(count, Size::R32),
                        ],
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
}

//! Expressions in vector loops.
//!
//! What is the same in all lanes is evaluated once, in scalar code, as far out as its operands allow, and spread over
//! the lanes; the rest goes to `vector_ops`, with loads folded into the instruction that uses them.

use nnc_ir::DType;
use nnc_ir::op::BinaryOp;
use nnc_kernels::{BufferRef, Expr, Index};
use regalloc2::VReg;

use iced_x86::Mnemonic as M;

use super::machine::{Body, Form, Mem, Operand, Plain, Size};
use super::reason::Reason;
use super::select::{Context, Lower, Lowered, Stop, Value};

impl Lower<'_> {
    /// An expression in the context's code: lanes in a vector loop, else a scalar.
    pub fn operand(&mut self, expr: &Expr, context: &Context) -> Lowered<Value> {
        if context.axis.is_some() { self.vector_value(expr, context) } else { self.scalar_value(expr) }
    }

    /// An expression in a vector loop.
    pub fn vector_value(&mut self, expr: &Expr, context: &Context) -> Lowered<Value> {
        if !self.varies(expr, context) {
            return self.uniform(expr, context);
        }
        if self.by_lane.contains(expr) {
            return self.lane_by_lane(expr, context);
        }
        match expr {
            Expr::Const(_) => self.uniform(expr, context),
            Expr::Var(var) => match self.values.get(var) {
                Some(&(value, _, true)) => Ok(value),
                _ => Err(Stop::Unsupported(Reason::Lanes64)),
            },
            Expr::Index(_) => Err(Stop::Unsupported(Reason::Lanes64)),
            Expr::Load(buffer, index) => self.vector_load(*buffer, index, context),
            Expr::Unary(op, x) => {
                let dtype = self.dtype(x);
                let x = self.vector_value(x, context)?;
                self.lanes_unary(*op, dtype, x, context)
            }
            Expr::Binary(op, x, y) => {
                let dtype = self.dtype(x);
                if dtype == DType::I64 && op.is_comparison() {
                    return self.compare_indices(*op, x, y, context);
                }
                let (x, y) = self.pair(x, y, context)?;
                self.lanes_binary(*op, dtype, x, y, context)
            }
            Expr::MulAdd(x, y, z) => {
                let fresh = [x, y, z].map(|e| is_fresh(e));
                let (x, y) = self.pair(x, y, context)?;
                let z = self.vector_value(z, context)?;
                Ok(Value::Vec(self.mul_add(x, y, z, fresh, context)?))
            }
            Expr::Select(c, x, y) => {
                let dtype = self.dtype(x);
                if let Some(value) = self.clamp(c, x, y, context)? {
                    return Ok(value);
                }
                let c = self.vector_value(c, context)?;
                let (x, y) = self.pair(x, y, context)?;
                self.lanes_select(c, dtype, x, y, context)
            }
            Expr::LoadIf { condition, buffer, index, otherwise } => {
                self.guarded_load(condition, *buffer, index, otherwise, context)
            }
            Expr::Convert(to, x) => {
                let from = self.dtype(x);
                if let (DType::F32, DType::F16, Expr::Load(buffer, index)) = (*to, from, &**x)
                    && !self.by_lane.contains(&**x)
                    && self.lane_stride(index, context)? == 1
                {
                    let resolved = self.resolve(index);
                    let mem = self.address(*buffer, &resolved, 2)?;
                    return Ok(Value::Vec(self.load_half_as_f32(mem, context)?));
                }
                let x = self.vector_value(x, context)?;
                self.lanes_convert(*to, from, x, context)
            }
            Expr::Bitcast(_, x) => self.vector_value(x, context),
        }
    }

    /// An expression evaluated for one lane after the other and collected in the frame. Lanes past the end repeat the
    /// last one's value, so that they load nothing else.
    fn lane_by_lane(&mut self, expr: &Expr, context: &Context) -> Lowered<Value> {
        let dtype = self.dtype(expr);
        let Some(axis) = context.axis.filter(|_| context.lanes > 1) else {
            let value = self.scalar_value(expr)?;
            return Ok(match (dtype, value) {
                (DType::Bool, value) => Value::Mask(self.mask(value, context)?),
                (_, value) => Value::Vec(self.vec_reg(value, context)?),
            });
        };
        let base = self.replaced.get(&axis).cloned();
        let first = base.clone().unwrap_or_else(|| axis.index());
        let slot = self.f.frame(context.size.bytes(), 64);
        for lane in 0..context.lanes {
            let mut at = &first + lane as i64;
            if let (Some(_), Some(last)) = (context.tail, &self.last) {
                at = at.min(last);
            }
            self.replaced.insert(axis, at);
            let value = self.scalar_value(expr)?;
            let memory = Operand::Mem(Mem::frame(slot + 4 * lane as i32));
            match value {
                Value::Vec(reg) => self.effect(M::Vmovss, vec![memory, Operand::Reg(reg, Size::X)]),
                Value::Mem(mem, _) => {
                    let reg = self.f.int();
                    self.def(M::Mov, vec![Operand::Reg(reg, Size::R32), Operand::Mem(mem)]);
                    self.effect(M::Mov, vec![memory, Operand::Reg(reg, Size::R32)]);
                }
                Value::Bits(bits) => {
                    let reg = self.imm_reg(i64::from(bits));
                    self.effect(M::Mov, vec![memory, Operand::Reg(reg, Size::R32)]);
                }
                other => {
                    let reg = self.int_reg(other)?;
                    self.effect(M::Mov, vec![memory, Operand::Reg(reg, Size::R32)]);
                }
            }
        }
        match base {
            Some(base) => self.replaced.insert(axis, base),
            None => self.replaced.remove(&axis),
        };
        let lanes = self.vec_reg(Value::Mem(Mem::frame(slot), false), context)?;
        self.lanes_to_value(dtype, lanes, context)
    }

    /// `x < y ? x : y` and its like, in one instruction.
    pub fn clamp(&mut self, c: &Expr, x: &Expr, y: &Expr, context: &Context) -> Lowered<Option<Value>> {
        let Expr::Binary(op @ (BinaryOp::Lt | BinaryOp::Gt), a, b) = c else { return Ok(None) };
        let first = match () {
            () if **a == *x && **b == *y => true,
            () if **a == *y && **b == *x => false,
            () => return Ok(None),
        };
        if self.dtype(x) != DType::F32 {
            return Ok(None);
        }
        let a = self.operand(a, context)?;
        let b = self.operand(b, context)?;
        self.select_extreme(*op, (a, b), first, context)
    }

    fn pair(&mut self, x: &Expr, y: &Expr, context: &Context) -> Lowered<(Value, Value)> {
        let x = self.vector_value(x, context)?;
        let y = self.vector_value(y, context)?;
        Ok((x, y))
    }

    /// An expression that is the same in all lanes.
    fn uniform(&mut self, expr: &Expr, context: &Context) -> Lowered<Value> {
        let dtype = self.dtype(expr);
        match expr {
            Expr::Const(scalar) if dtype == DType::Bool => return Ok(Value::Imm(i64::from(scalar.bits != 0))),
            Expr::Const(scalar) if dtype.size() <= 4 => return Ok(Value::Bits(sign_extended(scalar.bits, dtype))),
            _ => {}
        }
        let resolved = self.resolve_expr(expr);
        let key = (resolved, context.size);
        for scope in self.scopes.iter().rev() {
            if let Some(&value) = scope.uniforms.get(&key) {
                return Ok(value);
            }
            if scope.barrier {
                break;
            }
        }
        let Some(depth) = self.hoisting_depth(&key.0) else {
            return self.spread(expr, dtype, context, false);
        };
        let value = self.within(depth, |lower| lower.spread(expr, dtype, context, true))?;
        self.scopes[depth].uniforms.insert(key, value);
        Ok(value)
    }

    /// A uniform expression evaluated here and spread over the lanes; in a register when it is to be kept.
    fn spread(&mut self, expr: &Expr, dtype: DType, context: &Context, keep: bool) -> Lowered<Value> {
        let value = self.scalar_value(expr)?;
        if dtype == DType::Bool {
            return Ok(Value::Mask(self.mask(value, context)?));
        }
        let wide = Context { tail: None, ..*context };
        let value = match value {
            Value::Mem(mem, _) => Value::Mem(mem, true),
            Value::Vec(reg) if context.lanes > 1 => {
                Value::Vec(self.vec_def(M::Vbroadcastss, context.size, vec![Operand::Reg(reg, Size::X)]))
            }
            other => other,
        };
        match value {
            Value::Mem(..) | Value::Int(_) | Value::Imm(_) if keep || !matches!(value, Value::Mem(..)) => {
                Ok(Value::Vec(self.vec_reg(value, &wide)?))
            }
            other => Ok(other),
        }
    }

    /// The outermost scope where an expression can be evaluated: where its variables are known and, when it loads,
    /// the block before the innermost loop, provided all buffers are read-only. `None`: here.
    fn hoisting_depth(&self, expr: &Expr) -> Option<usize> {
        let barrier = self.scopes.iter().rposition(|s| s.barrier).unwrap_or(0);
        let depth = self.known_depth(expr)?.max(barrier);
        if !expr.loads() {
            return Some(depth);
        }
        // Past a branch nothing that loads may be hoisted: scopes of branches are neither bodies nor before loops.
        let innermost = self.depth();
        let body = self.scopes[innermost].open.is_some();
        let before = innermost.checked_sub(1).filter(|&d| body && self.scopes[d].before_loop)?;
        (depth <= before && before >= barrier).then_some(before)
    }

    /// The scope in which all variables of an expression are known; `None` when it loads what may be written.
    fn known_depth(&self, expr: &Expr) -> Option<usize> {
        let own = match expr {
            Expr::Var(v) => self.values.get(v).map_or_else(|| self.depth_of(&self.resolve(&v.index())), |x| x.1),
            Expr::Load(b, _) if !self.read_only(*b) => return None,
            Expr::LoadIf { .. } => return None,
            _ => expr.index().map_or(0, |d| self.depth_of(&self.resolve(d))),
        };
        expr.operands().try_fold(own, |depth, x| Some(depth.max(self.known_depth(x)?)))
    }

    /// An expression with the current meaning of index variables put in.
    pub fn resolve_expr(&self, expr: &Expr) -> Expr {
        let is_index = |v: nnc_kernels::Var| self.kernel.vars.get(v.0 as usize).is_some_and(|i| i.dtype == DType::I64);
        let mut resolved = expr.clone();
        resolved.each_mut(&mut |e| {
            if let Expr::Var(v) = e
                && is_index(*v)
            {
                *e = Expr::Index(v.index());
            }
            if let Some(index) = e.index_mut() {
                *index = self.resolve(index);
            }
        });
        resolved
    }

    /// Compares indices: lane number times the stride against a number known to all lanes.
    fn compare_indices(&mut self, op: BinaryOp, x: &Expr, y: &Expr, context: &Context) -> Lowered<Value> {
        let index = |e: &Expr| match e {
            Expr::Index(d) => Ok(d.clone()),
            Expr::Var(v) => Ok(v.index()),
            Expr::Const(s) => Ok(Index::from(s.bits as i64)),
            _ => Err(Stop::Unsupported(Reason::Lanes64)),
        };
        let difference = index(x)? - index(y)?;
        let stride = self.lane_stride(&difference, context)?;
        let first = self.resolve(&difference);
        // first + stride * lane op 0, that is stride * lane op -first; clamping keeps the answer, lanes are few.
        let limit = i64::from(i32::MAX - 1);
        let bound = (-first).max(&Index::from(-limit)).min(&Index::from(limit));
        let bound = match bound.as_const() {
            Some(value) => Value::Bits(value as i32 as u32),
            None => {
                let reg = self.index_reg(&bound)?;
                Value::Vec(self.splat_int(reg, context))
            }
        };
        let lanes: Vec<u32> = (0..context.lanes as i32).map(|i| i.wrapping_mul(stride as i32) as u32).collect();
        let lanes = self.constant_reg(&lanes, context)?;
        Ok(Value::Mask(self.int_compare(op, false, lanes, bound, context)?))
    }

    /// A load of lanes that exist only where a condition holds.
    fn guarded_load(
        &mut self,
        condition: &Expr,
        buffer: BufferRef,
        index: &Index,
        otherwise: &Expr,
        context: &Context,
    ) -> Lowered<Value> {
        let condition = self.vector_value(condition, context)?;
        let otherwise = self.vector_value(otherwise, context)?;
        let mut mask = self.mask(condition, context)?;
        if let Some(tail) = context.tail {
            let both = self.lanes_binary(BinaryOp::And, DType::Bool, Value::Mask(mask), Value::Mask(tail), context)?;
            mask = self.mask(both, context)?;
        }
        let dtype = self.kernel.buffers[buffer.0 as usize].dtype;
        if self.lane_stride(index, context)? != 1 || dtype.size() != 4 {
            return Err(Stop::Unsupported(Reason::GuardedGather));
        }
        let resolved = self.resolve(index);
        let mem = self.address(buffer, &resolved, dtype.size())?;
        if context.lanes == 1 && !self.f.evex {
            // The other lanes of the mask are junk, and may not load.
            let first = self.constant_reg(&[u32::MAX, 0, 0, 0, 0, 0, 0, 0], context)?;
            mask = self.lanes_op(M::Vandps, mask, Value::Vec(first), context)?;
        }
        if otherwise == Value::Bits(0) {
            return self.load_lanes(dtype, mem, &Context { tail: Some(mask), ..*context });
        }
        if self.f.evex {
            let old = self.vec_reg(otherwise, context)?;
            let result: VReg = self.f.vec();
            let operands = vec![self.lane(result, context), Operand::Mem(mem)];
            let (form, mask) = (Form::Tied(old), Some(mask));
            self.push(Body::Plain(Plain { op: M::Vmovups, operands, form, mask, zeroing: false, broadcast: false }));
            return Ok(Value::Vec(result));
        }
        let loaded = self.load_lanes(dtype, mem, &Context { tail: Some(mask), ..*context })?;
        let otherwise = self.vec_reg(otherwise, context)?;
        Ok(Value::Vec(self.blend(mask, loaded, otherwise, context)?))
    }
}

/// Whether the value of an expression is a temporary, whose register may be overwritten.
pub fn is_fresh(expr: &Expr) -> bool {
    !matches!(expr, Expr::Var(_) | Expr::Const(_))
}

/// The bits of a constant in a 32-bit lane.
pub fn sign_extended(bits: u64, dtype: DType) -> u32 {
    match dtype {
        DType::I8 => bits as i8 as i32 as u32,
        DType::I16 => bits as i16 as i32 as u32,
        _ => bits as u32,
    }
}

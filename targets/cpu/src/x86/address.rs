//! Index polynomials to general registers, and elements to memory operands.
//!
//! An address is `[pointer + induction + displacement]`: the constant term becomes the displacement; the term linear
//! in the innermost loop's variable an induction variable that steps by its stride (or the variable itself, scaled,
//! when the stride is 1, 2, 4 or 8 bytes); everything else a pointer computed outside that loop. Accesses that differ
//! by constants share all registers, those with equal strides share the induction variable.

use iced_x86::Mnemonic as M;
use nnc_ir::dim::DimOp;
use nnc_kernels::index::{Factor, Polynomial, Ranges};
use nnc_kernels::{BufferRef, Index, Var, affine};
use regalloc2::VReg;

use super::machine::{Base, Body, Mem, Operand, Size};
use super::reason::Reason;
use super::select::{Lower, Lowered, Stop, Value};

/// A 64-bit register operand.
pub fn r64(v: VReg) -> Operand {
    Operand::Reg(v, Size::R64)
}

impl Lower<'_> {
    /// A resolved index as a scalar value.
    pub fn index_value(&mut self, index: &Index) -> Lowered<Value> {
        match index.as_const() {
            Some(value) => Ok(Value::Imm(value)),
            None => Ok(Value::Int(self.index_reg(index)?)),
        }
    }

    /// A constant in a register, in the current scope.
    pub fn imm_reg(&mut self, value: i64) -> VReg {
        let reg = self.f.int();
        match u32::try_from(value) {
            Ok(_) => self.def(M::Mov, vec![Operand::Reg(reg, Size::R32), Operand::Imm(value)]),
            Err(_) => self.def(M::Mov, vec![r64(reg), Operand::Imm(value)]),
        }
        reg
    }

    /// A resolved index in a register, computed in the outermost scope possible.
    pub fn index_reg(&mut self, index: &Index) -> Lowered<VReg> {
        if let Some(var) = index.as_var() {
            return self.int_var(var);
        }
        if let Some(value) = index.as_const() {
            return Ok(self.imm_reg(value));
        }
        let depth = self.depth_of(index);
        if let Some(&reg) = self.scopes[depth].ints.get(index) {
            return Ok(reg);
        }
        let view = index.view();
        let reg = match &view.terms[..] {
            [(1, factors)] if view.constant == 0 => self.within(depth, |lower| lower.monomial_reg(factors))?,
            _ => self.sum_reg(index, depth)?,
        };
        self.scopes[depth].ints.insert(index.clone(), reg);
        Ok(reg)
    }

    /// The sum of an index of scope `depth`. Its terms are kept without their coefficients: the addresses of a tile's rows
    /// differ in one of them.
    fn sum_reg(&mut self, index: &Index, depth: usize) -> Lowered<VReg> {
        // What does not depend on this scope's variables is computed further out.
        let view = index.view();
        let (mut outer, mut here) = (Index::from(view.constant), vec![]);
        for (coefficient, factors) in view.terms {
            let product = factors.iter().fold(Index::from(1), |product, factor| product * factor_index(factor));
            if self.depth_of(&product) < depth {
                outer = outer + product * coefficient;
            } else {
                here.push((coefficient, product));
            }
        }
        self.within(depth, |lower| {
            let mut sum: Option<VReg> = None;
            let constant = match outer.as_const() {
                Some(constant) => constant,
                None => {
                    sum = Some(lower.index_reg(&outer)?);
                    0
                }
            };
            for (coefficient, product) in here {
                let product = lower.index_reg(&product)?;
                sum = Some(lower.add_scaled(sum, product, coefficient));
            }
            let Some(sum) = sum else { return Ok(lower.imm_reg(constant)) };
            if constant == 0 {
                return Ok(sum);
            }
            Ok(lower.add_constant(sum, constant))
        })
    }

    /// A product of factors, each of which is kept for other products.
    fn monomial_reg(&mut self, factors: &[Factor<Index>]) -> Lowered<VReg> {
        if let [factor] = factors {
            return self.factor_reg(factor);
        }
        let mut product: Option<VReg> = None;
        for factor in factors {
            let value = self.index_reg(&factor_index(factor))?;
            product = Some(match product {
                None => value,
                Some(p) => self.int_op(M::Imul, p, r64(value)),
            });
        }
        Ok(product.unwrap_or_else(|| self.imm_reg(1)))
    }

    /// `a op b` on 64 bits.
    pub fn int_op(&mut self, op: M, a: VReg, b: Operand) -> VReg {
        let reg = self.f.int();
        self.tied(op, a, vec![r64(reg), b]);
        reg
    }

    /// `a + constant`.
    pub fn add_constant(&mut self, a: VReg, constant: i64) -> VReg {
        let reg = self.f.int();
        match i32::try_from(constant) {
            Ok(disp) => self.def(M::Lea, vec![r64(reg), Operand::Mem(Mem::at(a, disp))]),
            Err(_) => {
                let c = self.imm_reg(constant);
                let index = Some((c, 1));
                self.def(M::Lea, vec![r64(reg), Operand::Mem(Mem { base: Base::Reg(a), index, disp: 0 })]);
            }
        }
        reg
    }

    /// `sum + value * factor`.
    fn add_scaled(&mut self, sum: Option<VReg>, value: VReg, factor: i64) -> VReg {
        let scaled = |lower: &mut Self| match factor {
            1 => value,
            _ => lower.multiply(value, factor),
        };
        let Some(sum) = sum else { return scaled(self) };
        let (index, scale) = match factor {
            1 | 2 | 4 | 8 => (value, factor as u8),
            _ => (scaled(self), 1),
        };
        let reg = self.f.int();
        let mem = Mem { base: Base::Reg(sum), index: Some((index, scale)), disp: 0 };
        self.def(M::Lea, vec![r64(reg), Operand::Mem(mem)]);
        reg
    }

    /// `value * factor`.
    pub fn multiply(&mut self, value: VReg, factor: i64) -> VReg {
        let reg = self.f.int();
        if factor > 0 && factor & (factor - 1) == 0 {
            self.tied(M::Shl, value, vec![r64(reg), Operand::Imm(i64::from(factor.trailing_zeros()))]);
        } else if i32::try_from(factor).is_ok() {
            self.def(M::Imul, vec![r64(reg), r64(value), Operand::Imm(factor)]);
        } else {
            let f = self.imm_reg(factor);
            self.tied(M::Imul, value, vec![r64(reg), r64(f)]);
        }
        reg
    }

    fn factor_reg(&mut self, factor: &Factor<Index>) -> Lowered<VReg> {
        let (op, operands) = match factor {
            Factor::Var(var) => return self.int_var(*var),
            Factor::Op(op, operands) => (*op, operands.as_slice()),
        };
        match (op, operands) {
            (DimOp::FloorDiv | DimOp::Mod, [a, b]) => {
                let value = self.index_reg(a)?;
                match b.as_const() {
                    Some(k) if k > 0 && k & (k - 1) == 0 => Ok(if op == DimOp::FloorDiv {
                        self.int_op(M::Sar, value, Operand::Imm(i64::from(k.trailing_zeros())))
                    } else if i32::try_from(k - 1).is_ok() {
                        self.int_op(M::And, value, Operand::Imm(k - 1))
                    } else {
                        let mask = self.imm_reg(k - 1);
                        self.int_op(M::And, value, r64(mask))
                    }),
                    Some(k) if k > 0 => {
                        let divisor = self.imm_reg(k);
                        Ok(self.floor_divide(value, divisor, op))
                    }
                    _ => {
                        let divisor = self.index_reg(b)?;
                        match b.bounds(&Ranges::new(self.kernel)).0 {
                            1.. => Ok(self.floor_divide(value, divisor, op)),
                            _ => Ok(self.floor_divide_by_any(value, divisor, op)),
                        }
                    }
                }
            }
            (DimOp::Min | DimOp::Max, [first, rest @ ..]) => {
                let mut best = self.index_reg(first)?;
                for other in rest {
                    let other = self.index_reg(other)?;
                    let result = self.f.int();
                    self.effect(M::Cmp, vec![r64(other), r64(best)]);
                    let op = if op == DimOp::Min { M::Cmovl } else { M::Cmovg };
                    self.tied(op, best, vec![r64(result), r64(other)]);
                    best = result;
                }
                Ok(best)
            }
            (DimOp::Eq | DimOp::Lt, [a, b]) => {
                let (a, b) = (self.index_reg(a)?, self.index_reg(b)?);
                self.effect(M::Cmp, vec![r64(a), r64(b)]);
                Ok(self.set_flag(if op == DimOp::Eq { M::Sete } else { M::Setl }))
            }
            (DimOp::Select, [c, a, b]) => {
                let (c, a, b) = (self.index_reg(c)?, self.index_reg(a)?, self.index_reg(b)?);
                let result = self.f.int();
                self.effect(M::Test, vec![r64(c), r64(c)]);
                self.tied(M::Cmovne, b, vec![r64(result), r64(a)]);
                Ok(result)
            }
            _ => Err(Stop::fault("malformed index")),
        }
    }

    /// 0 or 1 from the flags.
    pub fn set_flag(&mut self, op: M) -> VReg {
        let (byte, wide) = (self.f.int(), self.f.int());
        self.def(op, vec![Operand::Reg(byte, Size::R8)]);
        self.def(M::Movzx, vec![Operand::Reg(wide, Size::R32), Operand::Reg(byte, Size::R8)]);
        wide
    }

    /// Quotient or remainder of a division by a positive number.
    fn floor_divide(&mut self, dividend: VReg, divisor: VReg, op: DimOp) -> VReg {
        let (quotient, remainder) = (self.f.int(), self.f.int());
        self.push(Body::Divide { quotient, remainder, dividend, divisor });
        // The hardware rounds toward zero: a negative remainder means one less, for a positive divisor.
        let sign = self.int_op(M::Sar, remainder, Operand::Imm(63));
        if op == DimOp::FloorDiv {
            return self.int_op(M::Add, quotient, r64(sign));
        }
        let correction = self.int_op(M::And, sign, r64(divisor));
        self.int_op(M::Add, correction, r64(remainder))
    }

    /// Quotient or remainder of a division by any number; by 0 both are 0. Sizes such as `width/2 - 1` may be negative
    /// as far as the compiler knows, and their divisions are computed ahead of loops that then never run.
    fn floor_divide_by_any(&mut self, dividend: VReg, divisor: VReg, op: DimOp) -> VReg {
        let (safe, odd) = self.safe_divisor(divisor);
        let (quotient, remainder) = (self.f.int(), self.f.int());
        self.push(Body::Divide { quotient, remainder, dividend, divisor: safe });
        // The hardware rounds toward zero: a remainder of the other sign than the divisor means one less.
        let differ = self.int_op(M::Xor, remainder, r64(safe));
        let sign = self.int_op(M::Sar, differ, Operand::Imm(63));
        let correct = self.f.int();
        self.effect(M::Test, vec![r64(remainder), r64(remainder)]);
        self.tied(M::Cmove, sign, vec![r64(correct), r64(remainder)]);
        if op == DimOp::FloorDiv {
            let quotient = self.int_op(M::Imul, quotient, r64(odd));
            return self.int_op(M::Add, quotient, r64(correct));
        }
        let correction = self.int_op(M::And, correct, r64(safe));
        self.int_op(M::Add, correction, r64(remainder))
    }

    /// For a divisor the number to divide by, and the number to multiply the quotient with: the hardware traps on
    /// divisors 0 and, with the lowest dividend, -1, so these divide by 1 instead and their remainder is 0.
    pub fn safe_divisor(&mut self, divisor: VReg) -> (VReg, VReg) {
        let above = self.add_constant(divisor, 1);
        let one = self.imm_reg(1);
        let (safe, odd) = (self.f.int(), self.f.int());
        self.effect(M::Cmp, vec![r64(above), Operand::Imm(1)]);
        self.tied(M::Cmovbe, divisor, vec![r64(safe), r64(one)]);
        self.effect(M::Cmp, vec![r64(above), Operand::Imm(1)]);
        self.tied(M::Cmovbe, one, vec![r64(odd), r64(divisor)]);
        (safe, odd)
    }

    /// The scope of the innermost loop body.
    fn innermost_body(&self) -> usize {
        (0..self.scopes.len()).rev().find(|&d| self.scopes[d].open.is_some()).unwrap_or(0)
    }

    /// For an index that depends on the variable of the loop whose body is scope `depth`: that variable, its
    /// coefficient and the rest, both known outside the loop.
    fn split_by_loop(&self, index: &Index, depth: usize) -> Option<(Var, Index, Index)> {
        let var = self.scopes[depth].open.as_ref()?.var;
        let (coefficient, rest) = affine::split(index, var)?;
        let outside = |d: &Index| self.depth_of(d) < depth;
        (coefficient != Index::ZERO && outside(&coefficient) && outside(&rest)).then_some((var, coefficient, rest))
    }

    /// The memory operand of a resolved element index.
    pub fn address(&mut self, buffer: BufferRef, index: &Index, bytes: usize) -> Lowered<Mem> {
        let constant = index.constant();
        let disp = constant.checked_mul(bytes as i64).and_then(|d| i32::try_from(d).ok());
        // Headroom for what callers add: offsets within a vector or a tile.
        let (poly, disp) = match disp {
            Some(disp) if disp.unsigned_abs() < 1 << 30 => (index - constant, disp),
            _ => (index.clone(), 0),
        };
        let depth = self.depth_of(&poly);
        if depth == self.innermost_body()
            && let Some((var, coefficient, rest)) = self.split_by_loop(&poly, depth)
        {
            let base = self.pointer(buffer, &rest, bytes)?;
            let index = self.induction(depth, var, &(&coefficient * bytes as i64))?;
            return Ok(Mem { base: Base::Reg(base), index: Some(index), disp });
        }
        Ok(Mem::at(self.pointer(buffer, &poly, bytes)?, disp))
    }

    /// The address of a resolved element index in a register.
    pub fn pointer(&mut self, buffer: BufferRef, index: &Index, bytes: usize) -> Lowered<VReg> {
        if *index == Index::ZERO {
            return self.buffer_base(buffer);
        }
        representable(index)?;
        let depth = self.depth_of(index);
        let key = (buffer, index.clone());
        if let Some(&reg) = self.scopes[depth].pointers.get(&key) {
            return Ok(reg);
        }
        let split = self.split_by_loop(index, depth);
        let reg = self.within(depth, |lower| {
            let (base, offset, disp) = if let Some((var, coefficient, rest)) = split {
                let base = lower.pointer(buffer, &rest, bytes)?;
                (base, Some(lower.induction(depth, var, &(&coefficient * bytes as i64))?), 0)
            } else {
                let base = lower.buffer_base(buffer)?;
                let constant = index.constant();
                let rest = index - constant;
                let disp = constant.checked_mul(bytes as i64).and_then(|d| i32::try_from(d).ok());
                match (disp, rest == Index::ZERO) {
                    (Some(disp), true) => (base, None, disp),
                    (Some(disp), false) => (base, Some((lower.index_reg(&rest)?, bytes as u8)), disp),
                    _ => (base, Some((lower.index_reg(index)?, bytes as u8)), 0),
                }
            };
            let reg = lower.f.int();
            lower.def(M::Lea, vec![r64(reg), Operand::Mem(Mem { base: Base::Reg(base), index: offset, disp })]);
            Ok(reg)
        })?;
        self.scopes[depth].pointers.insert(key, reg);
        Ok(reg)
    }

    /// A register and scale that hold the variable of the loop of scope `depth` times a number of bytes.
    fn induction(&mut self, depth: usize, var: Var, stride: &Index) -> Lowered<(VReg, u8)> {
        if let Some(scale @ (1 | 2 | 4 | 8)) = stride.as_const() {
            return Ok((self.int_var(var)?, scale as u8));
        }
        let Some(open) = &self.scopes[depth].open else { return Err(Stop::fault("no open loop")) };
        if let Some((_, reg, _)) = open.derived.iter().find(|(s, ..)| s == stride) {
            return Ok((*reg, 1));
        }
        let first = &open.start * stride;
        representable(stride)?;
        representable(&first)?;
        let init = self.within(depth - 1, |lower| lower.index_reg(&first))?;
        let reg = self.f.int();
        if let Some(open) = &mut self.scopes[depth].open {
            open.derived.push((stride.clone(), reg, init));
        }
        Ok((reg, 1))
    }
}

/// Refuses what became of an index that grew beyond what expressions may hold: an address made of it is of no element.
fn representable(index: &Index) -> Lowered<()> {
    if *index == Index::OVERFLOW { Err(Stop::Unsupported(Reason::LongIndex)) } else { Ok(()) }
}

/// A factor as an index.
fn factor_index(factor: &Factor<Index>) -> Index {
    let (op, operands) = match factor {
        Factor::Var(var) => return var.index(),
        Factor::Op(op, operands) => (*op, operands.as_slice()),
    };
    match (op, operands) {
        (DimOp::FloorDiv, [a, b]) => a.floor_div(b),
        (DimOp::Mod, [a, b]) => a.rem(b),
        (DimOp::Eq, [a, b]) => a.eq01(b),
        (DimOp::Lt, [a, b]) => a.lt01(b),
        (DimOp::Select, [c, a, b]) => c.select(a, b),
        (DimOp::Min, [first, rest @ ..]) => rest.iter().fold(first.clone(), |m, d| m.min(d)),
        (DimOp::Max, [first, rest @ ..]) => rest.iter().fold(first.clone(), |m, d| m.max(d)),
        _ => Index::OVERFLOW,
    }
}

//! Expressions outside vector loops: integers and bools in general registers, floats in lane 0 of a vector register.
//!
//! Integers are kept extended to 64 bits by their type; results that may leave the type are extended again.

use iced_x86::Mnemonic as M;
use nnc_ir::DType;
use nnc_ir::op::{BinaryOp, ReduceOp, UnaryOp};
use nnc_kernels::Expr;
use regalloc2::VReg;

use super::address::r64;
use super::machine::{Body, Operand, Size};
use super::reason::Reason;
use super::select::{Context, Lower, Lowered, Scope, Stop, Value};
use super::shape;
use super::vector::is_fresh;

impl Lower<'_> {
    /// A scalar expression.
    pub fn scalar_value(&mut self, expr: &Expr) -> Lowered<Value> {
        let context = self.scalar();
        let dtype = self.dtype(expr);
        match expr {
            Expr::Const(scalar) => Ok(match dtype {
                DType::F64 => Value::Vec(self.double_constant(scalar.bits)?),
                DType::F32 => Value::Bits(scalar.bits as u32),
                DType::I8 => Value::Imm(i64::from(scalar.bits as i8)),
                DType::I16 => Value::Imm(i64::from(scalar.bits as i16)),
                DType::I32 => Value::Imm(i64::from(scalar.bits as i32)),
                DType::Bool => Value::Imm(i64::from(scalar.bits != 0)),
                _ => Value::Imm(scalar.bits as i64),
            }),
            Expr::Var(var) => match self.values.get(var) {
                Some(&(value, _, false)) => Ok(value),
                Some(_) => Err(Stop::fault("lanes in scalar code")),
                None if dtype == DType::I64 => {
                    let index = self.resolve(&var.index());
                    self.index_value(&index)
                }
                None => Err(Stop::fault("unknown variable")),
            },
            Expr::Index(index) => {
                let index = self.resolve(index);
                self.index_value(&index)
            }
            Expr::Load(buffer, index) => {
                let resolved = self.resolve(index);
                let mem = self.address(*buffer, &resolved, dtype.size())?;
                match dtype {
                    DType::F32 => Ok(Value::Mem(mem, false)),
                    DType::F64 => Ok(Value::Vec(self.vec_def(M::Vmovsd, Size::X, vec![Operand::Mem(mem)]))),
                    _ => Ok(Value::Int(self.load_int(dtype, mem)?)),
                }
            }
            Expr::Unary(op, x) => self.scalar_unary(*op, x, &context),
            Expr::Binary(op, x, y) => {
                let from = self.dtype(x);
                let x = self.scalar_value(x)?;
                let y = self.scalar_value(y)?;
                if from == DType::F64 {
                    return self.double_binary(*op, x, y);
                }
                if from == DType::F32 {
                    return match self.lanes_binary(*op, from, x, y, &context)? {
                        Value::Mask(mask) => Ok(Value::Int(self.int_of_mask(mask))),
                        other => Ok(other),
                    };
                }
                self.int_binary(*op, from, x, y)
            }
            Expr::MulAdd(x, y, z) => {
                let fresh = [x, y, z].map(|e| is_fresh(e));
                let x = self.scalar_value(x)?;
                let y = self.scalar_value(y)?;
                let z = self.scalar_value(z)?;
                if dtype == DType::F64 {
                    return self.double_mul_add(x, y, z);
                }
                Ok(Value::Vec(self.mul_add(x, y, z, fresh, &context)?))
            }
            Expr::Select(c, x, y) => self.scalar_select(c, x, y, dtype),
            Expr::LoadIf { condition, buffer, index, otherwise } => {
                let condition = self.scalar_value(condition)?;
                let load = Expr::Load(*buffer, index.clone());
                match condition {
                    Value::Imm(0) => self.scalar_value(otherwise),
                    Value::Imm(_) => self.scalar_value(&load),
                    condition => {
                        let condition = self.int_reg(condition)?;
                        self.choose(condition, &load, otherwise, dtype)
                    }
                }
            }
            Expr::Convert(to, x) => self.scalar_convert(*to, x, &context),
            Expr::Bitcast(to, x) => {
                let from = self.dtype(x);
                let x = self.scalar_value(x)?;
                match (from, *to) {
                    (DType::F64, _) | (_, DType::F64) => self.double_bitcast(*to, from, x),
                    (DType::F32, to) if to.size() == 4 => {
                        let lanes = self.vec_reg(x, &context)?;
                        let reg = self.f.int();
                        self.def(M::Vmovd, vec![Operand::Reg(reg, Size::R32), Operand::Reg(lanes, Size::X)]);
                        Ok(Value::Int(self.extend(reg, to)))
                    }
                    (_, DType::F32) => Ok(Value::Vec(self.vec_reg(x, &context)?)),
                    (from, to) if !from.is_float() && !to.is_float() => {
                        let reg = self.int_reg(x)?;
                        Ok(Value::Int(self.extend(reg, to)))
                    }
                    _ => Err(Stop::Unsupported(Reason::Bitcast)),
                }
            }
        }
    }

    /// Evaluates one of two expressions, whichever the condition asks for.
    fn choose(&mut self, condition: VReg, yes: &Expr, no: &Expr, dtype: DType) -> Lowered<Value> {
        let context = self.scalar();
        let in_vector = matches!(dtype, DType::F32 | DType::F64);
        let merge = self.f.block();
        let mut starts = vec![];
        for expr in [yes, no] {
            let block = self.f.block();
            starts.push(block);
            self.f.place(block);
            self.scopes.push(Scope::new(block));
            let value = self.scalar_value(expr)?;
            let reg = if in_vector { self.vec_reg(value, &context)? } else { self.int_reg(value)? };
            let end = self.block();
            self.scopes.pop();
            self.f.jump(end, merge, vec![reg]);
        }
        self.effect(M::Test, vec![r64(condition), r64(condition)]);
        let from = self.block();
        self.f.push(from, Body::Branch(iced_x86::ConditionCode::ne, starts[0], starts[1]));
        let result = if in_vector { self.f.vec() } else { self.f.int() };
        self.f.blocks[merge.0 as usize].params = vec![result];
        self.f.place(merge);
        self.scope().block = merge;
        Ok(if in_vector { Value::Vec(result) } else { Value::Int(result) })
    }

    fn scalar_select(&mut self, c: &Expr, x: &Expr, y: &Expr, dtype: DType) -> Lowered<Value> {
        let context = self.scalar();
        if let Some(value) = self.clamp(c, x, y, &context)? {
            return Ok(value);
        }
        let condition = self.scalar_value(c)?;
        if let Value::Imm(value) = condition {
            return self.scalar_value(if value != 0 { x } else { y });
        }
        let condition = self.int_reg(condition)?;
        let x = self.scalar_value(x)?;
        let y = self.scalar_value(y)?;
        if dtype == DType::F64 {
            return self.double_select(condition, x, y);
        }
        if dtype == DType::F32 {
            return self.lanes_select(Value::Int(condition), dtype, x, y, &context);
        }
        let (x, y) = (self.int_reg(x)?, self.int_reg(y)?);
        let result = self.f.int();
        self.effect(M::Test, vec![r64(condition), r64(condition)]);
        self.tied(M::Cmovne, y, vec![r64(result), r64(x)]);
        Ok(Value::Int(result))
    }

    fn scalar_unary(&mut self, op: UnaryOp, x: &Expr, context: &Context) -> Lowered<Value> {
        let dtype = self.dtype(x);
        let x = self.scalar_value(x)?;
        if dtype == DType::F64 {
            return self.double_unary(op, x);
        }
        if dtype == DType::F32 {
            return match self.lanes_unary(op, dtype, x, context)? {
                Value::Mask(mask) => Ok(Value::Int(self.int_of_mask(mask))),
                other => Ok(other),
            };
        }
        let x = self.int_reg(x)?;
        let result = match (op, dtype) {
            (UnaryOp::Not, DType::Bool) => return Ok(Value::Int(self.int_op(M::Xor, x, Operand::Imm(1)))),
            (UnaryOp::Neg, _) => {
                let result = self.f.int();
                self.tied(M::Neg, x, vec![r64(result)]);
                result
            }
            (UnaryOp::BitNot, _) => self.int_op(M::Xor, x, Operand::Imm(-1)),
            (UnaryOp::Abs, _) if dtype.is_signed() => {
                let (negated, result) = (self.f.int(), self.f.int());
                self.tied(M::Neg, x, vec![r64(negated)]);
                self.effect(M::Test, vec![r64(x), r64(x)]);
                self.tied(M::Cmovs, x, vec![r64(result), r64(negated)]);
                result
            }
            (UnaryOp::Abs, _) => x,
            _ => return Err(Stop::Unsupported(Reason::IntegerFunction)),
        };
        Ok(Value::Int(self.extend(result, dtype)))
    }

    /// A binary operation on scalar integers or bools.
    pub fn int_binary(&mut self, op: BinaryOp, dtype: DType, x: Value, y: Value) -> Lowered<Value> {
        if matches!(dtype, DType::F16 | DType::BF16) {
            return Err(Stop::Unsupported(Reason::HalfArithmetic));
        }
        let constant = match y {
            Value::Imm(value) => Some(value),
            _ => None,
        };
        let small = constant.filter(|c| i32::try_from(*c).is_ok());
        let x = self.int_reg(x)?;
        if matches!(op, BinaryOp::Div | BinaryOp::Mod | BinaryOp::Rem) {
            return self.int_divide(op, dtype, x, y);
        }
        if matches!(op, BinaryOp::Shl | BinaryOp::Shr) {
            let Some(bits) = constant.filter(|c| (0..dtype.size() as i64 * 8).contains(c)) else {
                return Err(Stop::Unsupported(Reason::IntegerFunction));
            };
            let op = match (op, dtype.is_signed()) {
                (BinaryOp::Shl, _) => M::Shl,
                (_, true) => M::Sar,
                (_, false) => M::Shr,
            };
            let result = self.int_op(op, x, Operand::Imm(bits));
            return Ok(Value::Int(self.extend(result, dtype)));
        }
        let y = match small {
            Some(value) => Operand::Imm(value),
            None => r64(self.int_reg(y)?),
        };
        let unsigned = !dtype.is_signed();
        if op.is_comparison() {
            self.effect(M::Cmp, vec![r64(x), y]);
            let flag = match (op, unsigned) {
                (BinaryOp::Eq, _) => M::Sete,
                (BinaryOp::Ne, _) => M::Setne,
                (BinaryOp::Lt, false) => M::Setl,
                (BinaryOp::Le, false) => M::Setle,
                (BinaryOp::Gt, false) => M::Setg,
                (_, false) => M::Setge,
                (BinaryOp::Lt, true) => M::Setb,
                (BinaryOp::Le, true) => M::Setbe,
                (BinaryOp::Gt, true) => M::Seta,
                (_, true) => M::Setae,
            };
            return Ok(Value::Int(self.set_flag(flag)));
        }
        let result = match op {
            BinaryOp::Add => self.int_op(M::Add, x, y),
            BinaryOp::Sub => self.int_op(M::Sub, x, y),
            BinaryOp::And => return Ok(Value::Int(self.int_op(M::And, x, y))),
            BinaryOp::Or => return Ok(Value::Int(self.int_op(M::Or, x, y))),
            BinaryOp::Xor => return Ok(Value::Int(self.int_op(M::Xor, x, y))),
            BinaryOp::Mul => match y {
                Operand::Imm(value) => self.multiply(x, value),
                y => self.int_op(M::Imul, x, y),
            },
            BinaryOp::Max | BinaryOp::Min => {
                let y = match y {
                    Operand::Reg(y, _) => y,
                    _ => self.imm_reg(small.unwrap_or(0)),
                };
                let result = self.f.int();
                self.effect(M::Cmp, vec![r64(y), r64(x)]);
                let op = match (op, unsigned) {
                    (BinaryOp::Max, false) => M::Cmovg,
                    (BinaryOp::Max, true) => M::Cmova,
                    (_, false) => M::Cmovl,
                    (_, true) => M::Cmovb,
                };
                self.tied(op, x, vec![r64(result), r64(y)]);
                return Ok(Value::Int(result));
            }
            _ => return Err(Stop::Unsupported(Reason::IntegerFunction)),
        };
        Ok(Value::Int(self.extend(result, dtype)))
    }

    /// An integer quotient or remainder; by 0 it is 0.
    fn int_divide(&mut self, op: BinaryOp, dtype: DType, x: VReg, y: Value) -> Lowered<Value> {
        if dtype == DType::U64 {
            return Err(Stop::Unsupported(Reason::Division));
        }
        let positive = matches!(y, Value::Imm(1..));
        let divisor = self.int_reg(y)?;
        let (safe, odd) = if positive {
            (divisor, None)
        } else {
            let (safe, odd) = self.safe_divisor(divisor);
            (safe, Some(odd))
        };
        let (quotient, remainder) = (self.f.int(), self.f.int());
        self.push(Body::Divide { quotient, remainder, dividend: x, divisor: safe });
        let result = match op {
            BinaryOp::Div => match odd {
                Some(odd) => self.int_op(M::Imul, quotient, r64(odd)),
                None => quotient,
            },
            BinaryOp::Rem => remainder,
            _ => {
                // A remainder takes the divisor's sign.
                let differ = self.int_op(M::Xor, remainder, r64(safe));
                let sign = self.int_op(M::Sar, differ, Operand::Imm(63));
                let correction = self.int_op(M::And, sign, r64(safe));
                let correct = self.f.int();
                self.effect(M::Test, vec![r64(remainder), r64(remainder)]);
                self.tied(M::Cmove, correction, vec![r64(correct), r64(remainder)]);
                self.int_op(M::Add, correct, r64(remainder))
            }
        };
        Ok(Value::Int(self.extend(result, dtype)))
    }

    /// Combines two scalars of a reduction of integers.
    pub fn scalar_combine(&mut self, op: ReduceOp, dtype: DType, x: Value, y: Value) -> Lowered<Value> {
        let op = match op {
            ReduceOp::Sum => BinaryOp::Add,
            ReduceOp::Prod => BinaryOp::Mul,
            ReduceOp::Max => BinaryOp::Max,
            ReduceOp::Min => BinaryOp::Min,
        };
        self.int_binary(op, dtype, x, y)
    }

    fn scalar_convert(&mut self, to: DType, x: &Expr, context: &Context) -> Lowered<Value> {
        let from = self.dtype(x);
        let x = self.scalar_value(x)?;
        if from == to {
            return Ok(x);
        }
        match (from, to) {
            (DType::F64, _) => self.double_to(to, x),
            (_, DType::F64) => self.double_from(from, x),
            (DType::F16 | DType::BF16, _) => {
                let lanes = self.vec_reg(x, context)?;
                let single = self.lanes_convert(DType::F32, from, Value::Vec(lanes), context)?;
                self.scalar_from_f32(to, single, context)
            }
            (DType::F32, _) => self.scalar_from_f32(to, x, context),
            (_, DType::F32) => self.int_to_f32(from, x),
            (_, DType::F16 | DType::BF16) => {
                let single = self.int_to_f32(from, x)?;
                self.scalar_from_f32(to, single, context)
            }
            (_, DType::Bool) => {
                let reg = self.int_reg(x)?;
                self.effect(M::Test, vec![r64(reg), r64(reg)]);
                Ok(Value::Int(self.set_flag(M::Setne)))
            }
            _ => {
                let reg = self.int_reg(x)?;
                Ok(Value::Int(self.extend(reg, to)))
            }
        }
    }

    fn int_to_f32(&mut self, from: DType, x: Value) -> Lowered<Value> {
        if from == DType::U64 {
            return Err(Stop::Unsupported(Reason::UnsignedConversion));
        }
        let reg = self.int_reg(x)?;
        let context = self.scalar();
        let zero = self.splat_bits(0, &context)?;
        let operands = vec![Operand::Reg(zero, Size::X), r64(reg)];
        Ok(Value::Vec(self.vec_def(M::Vcvtsi2ss, Size::X, operands)))
    }

    fn scalar_from_f32(&mut self, to: DType, x: Value, context: &Context) -> Lowered<Value> {
        match to {
            DType::F32 => Ok(x),
            DType::Bool => match self.lanes_convert(to, DType::F32, x, context)? {
                Value::Mask(mask) => Ok(Value::Int(self.int_of_mask(mask))),
                other => Ok(other),
            },
            DType::U64 => Err(Stop::Unsupported(Reason::UnsignedConversion)),
            DType::F16 | DType::BF16 => {
                let lanes = self.lanes_convert(to, DType::F32, x, context)?;
                let lanes = self.vec_reg(lanes, context)?;
                let reg = self.f.int();
                self.def(M::Vmovd, vec![Operand::Reg(reg, Size::R32), Operand::Reg(lanes, Size::X)]);
                Ok(Value::Int(self.extend(reg, to)))
            }
            _ => self.f32_to_scalar_int(to, x, context),
        }
    }

    /// Truncates and saturates; NaN becomes 0.
    fn f32_to_scalar_int(&mut self, to: DType, x: Value, context: &Context) -> Lowered<Value> {
        let x = self.vec_reg(x, context)?;
        let lane = Operand::Reg(x, Size::X);
        let converted = self.f.int();
        self.def(M::Vcvttss2si, vec![r64(converted), lane]);
        // Beyond 64 bits the conversion yields the lowest value, which is wrong for large positive numbers and NaN.
        let highest = self.imm_reg(shape::int_extreme(to, false));
        let zero = self.imm_reg(0);
        let limit = self.constant_reg(&[9.223_372e18f32.to_bits()], context)?;
        let (large, number) = (self.f.int(), self.f.int());
        self.effect(M::Vucomiss, vec![lane, Operand::Reg(limit, Size::X)]);
        self.tied(M::Cmovae, converted, vec![r64(large), r64(highest)]);
        self.effect(M::Vucomiss, vec![lane, lane]);
        self.tied(M::Cmovp, large, vec![r64(number), r64(zero)]);
        self.saturated(to, number)
    }

    /// A 64-bit integer in the range of a type.
    pub fn saturated(&mut self, to: DType, number: VReg) -> Lowered<Value> {
        if to == DType::I64 {
            return Ok(Value::Int(number));
        }
        let low =
            self.int_binary(BinaryOp::Max, DType::I64, Value::Int(number), Value::Imm(shape::int_extreme(to, true)))?;
        self.int_binary(BinaryOp::Min, DType::I64, low, Value::Imm(shape::int_extreme(to, false)))
    }
}

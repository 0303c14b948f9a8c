//! Scalar `f64`: one double in the low half of a vector register.
//!
//! Coordinates of a resize over free sizes are computed so, once per row or pixel, around loops in lanes. Loops that
//! compute in `f64` themselves are Cranelift's: there are no lanes of doubles here.

use iced_x86::Mnemonic as M;
use nnc_ir::DType;
use nnc_ir::op::{BinaryOp, UnaryOp};
use regalloc2::VReg;

use super::address::r64;
use super::machine::{Operand, Size};
use super::reason::Reason;
use super::select::{Lower, Lowered, Stop, Value};
use super::shape;
use super::vector_ops::rounding;

fn x(v: VReg) -> Operand {
    Operand::Reg(v, Size::X)
}

impl Lower<'_> {
    /// A constant in a register.
    pub fn double_constant(&mut self, bits: u64) -> Lowered<VReg> {
        let context = self.scalar();
        self.constant_reg(&[bits as u32, (bits >> 32) as u32, 0, 0], &context)
    }

    fn double_reg(&self, value: Value) -> Lowered<VReg> {
        match value {
            Value::Vec(reg) => Ok(reg),
            _ => Err(Stop::fault("a double that is in no register")),
        }
    }

    fn double_op(&mut self, op: M, a: VReg, b: VReg) -> VReg {
        self.vec_def(op, Size::X, vec![x(a), x(b)])
    }

    fn bits_of_double(&mut self, value: VReg) -> VReg {
        let bits = self.f.int();
        self.def(M::Vmovq, vec![r64(bits), x(value)]);
        bits
    }

    fn double_of_bits(&mut self, bits: VReg) -> VReg {
        self.vec_def(M::Vmovq, Size::X, vec![r64(bits)])
    }

    /// `flag ? yes : no`, where `compare` sets the flags that `op`, a conditional move, reads.
    fn double_choice(&mut self, op: M, yes: VReg, no: VReg, compare: (M, Operand, Operand)) -> VReg {
        let (yes, no) = (self.bits_of_double(yes), self.bits_of_double(no));
        let chosen = self.f.int();
        self.effect(compare.0, vec![compare.1, compare.2]);
        self.tied(op, no, vec![r64(chosen), r64(yes)]);
        self.double_of_bits(chosen)
    }

    /// One of two doubles by a scalar bool.
    pub fn double_select(&mut self, condition: VReg, yes: Value, no: Value) -> Lowered<Value> {
        let (yes, no) = (self.double_reg(yes)?, self.double_reg(no)?);
        let condition = r64(condition);
        Ok(Value::Vec(self.double_choice(M::Cmovne, yes, no, (M::Test, condition, condition))))
    }

    /// A function of two doubles.
    pub fn double_binary(&mut self, op: BinaryOp, a: Value, b: Value) -> Lowered<Value> {
        let (a, b) = (self.double_reg(a)?, self.double_reg(b)?);
        if op.is_comparison() {
            return Ok(Value::Int(self.double_compare(op, a, b)));
        }
        Ok(Value::Vec(match op {
            BinaryOp::Add => self.double_op(M::Vaddsd, a, b),
            BinaryOp::Sub => self.double_op(M::Vsubsd, a, b),
            BinaryOp::Mul => self.double_op(M::Vmulsd, a, b),
            BinaryOp::Div => self.double_op(M::Vdivsd, a, b),
            BinaryOp::Max | BinaryOp::Min => {
                // The instruction yields its second operand when either is NaN, which is wrong for a NaN in the first.
                let op = if op == BinaryOp::Max { M::Vmaxsd } else { M::Vminsd };
                let best = self.double_op(op, a, b);
                self.double_choice(M::Cmovp, a, best, (M::Vucomisd, x(a), x(a)))
            }
            _ => return Err(Stop::Unsupported(Reason::F64)),
        }))
    }

    fn double_compare(&mut self, op: BinaryOp, a: VReg, b: VReg) -> VReg {
        let flag = |lower: &mut Self, a, b, op| {
            lower.effect(M::Vucomisd, vec![x(a), x(b)]);
            lower.set_flag(op)
        };
        // Unordered operands set carry, zero and parity: `above` is false for them, and so is `above or equal`.
        match op {
            BinaryOp::Gt => flag(self, a, b, M::Seta),
            BinaryOp::Ge => flag(self, a, b, M::Setae),
            BinaryOp::Lt => flag(self, b, a, M::Seta),
            BinaryOp::Le => flag(self, b, a, M::Setae),
            BinaryOp::Ne => {
                let (different, unordered) = (flag(self, a, b, M::Setne), flag(self, a, b, M::Setp));
                self.int_op(M::Or, different, r64(unordered))
            }
            _ => {
                let (same, ordered) = (flag(self, a, b, M::Sete), flag(self, a, b, M::Setnp));
                self.int_op(M::And, same, r64(ordered))
            }
        }
    }

    /// `a * b + c`, rounded twice.
    pub fn double_mul_add(&mut self, a: Value, b: Value, c: Value) -> Lowered<Value> {
        let product = self.double_binary(BinaryOp::Mul, a, b)?;
        self.double_binary(BinaryOp::Add, product, c)
    }

    /// A function of a double.
    pub fn double_unary(&mut self, op: UnaryOp, value: Value) -> Lowered<Value> {
        let value = self.double_reg(value)?;
        let one = 1f64.to_bits();
        Ok(Value::Vec(match op {
            UnaryOp::Neg => {
                let sign = self.double_constant(1 << 63)?;
                self.double_op(M::Vxorps, value, sign)
            }
            UnaryOp::Abs => {
                let rest = self.double_constant(u64::MAX >> 1)?;
                self.double_op(M::Vandps, value, rest)
            }
            UnaryOp::Sqrt => self.double_op(M::Vsqrtsd, value, value),
            UnaryOp::Recip => {
                let one = self.double_constant(one)?;
                self.double_op(M::Vdivsd, one, value)
            }
            UnaryOp::Rsqrt => {
                let root = self.double_op(M::Vsqrtsd, value, value);
                let one = self.double_constant(one)?;
                self.double_op(M::Vdivsd, one, root)
            }
            UnaryOp::Round | UnaryOp::Floor | UnaryOp::Ceil | UnaryOp::Trunc => {
                let round = if self.f.evex { M::Vrndscalesd } else { M::Vroundsd };
                self.vec_def(round, Size::X, vec![x(value), x(value), Operand::Imm(rounding(op))])
            }
            UnaryOp::IsNan => {
                self.effect(M::Vucomisd, vec![x(value), x(value)]);
                return Ok(Value::Int(self.set_flag(M::Setp)));
            }
            _ => return Err(Stop::Unsupported(Reason::F64)),
        }))
    }

    /// A conversion of a double to another type.
    pub fn double_to(&mut self, to: DType, value: Value) -> Lowered<Value> {
        let value = self.double_reg(value)?;
        match to {
            DType::F64 => Ok(Value::Vec(value)),
            DType::F32 => Ok(Value::Vec(self.double_op(M::Vcvtsd2ss, value, value))),
            DType::Bool => {
                let zero = self.double_constant(0)?;
                Ok(Value::Int(self.double_compare(BinaryOp::Ne, value, zero)))
            }
            DType::F16 | DType::BF16 => Err(Stop::Unsupported(Reason::F64)),
            DType::U64 => Err(Stop::Unsupported(Reason::UnsignedConversion)),
            _ => self.double_to_int(to, value),
        }
    }

    /// Truncates and saturates; NaN becomes 0.
    fn double_to_int(&mut self, to: DType, value: VReg) -> Lowered<Value> {
        let converted = self.f.int();
        self.def(M::Vcvttsd2si, vec![r64(converted), x(value)]);
        // Beyond 64 bits the conversion yields the lowest value, which is wrong for large positive numbers and NaN.
        let highest = self.imm_reg(shape::int_extreme(to, false));
        let zero = self.imm_reg(0);
        let limit = self.double_constant(9_223_372_036_854_775_808f64.to_bits())?;
        let (large, number) = (self.f.int(), self.f.int());
        self.effect(M::Vucomisd, vec![x(value), x(limit)]);
        self.tied(M::Cmovae, converted, vec![r64(large), r64(highest)]);
        self.effect(M::Vucomisd, vec![x(value), x(value)]);
        self.tied(M::Cmovp, large, vec![r64(number), r64(zero)]);
        self.saturated(to, number)
    }

    /// A conversion of another type to a double.
    pub fn double_from(&mut self, from: DType, value: Value) -> Lowered<Value> {
        let context = self.scalar();
        match from {
            DType::F64 => Ok(value),
            DType::F32 => {
                let value = self.vec_reg(value, &context)?;
                Ok(Value::Vec(self.double_op(M::Vcvtss2sd, value, value)))
            }
            DType::F16 | DType::BF16 => {
                let lanes = self.vec_reg(value, &context)?;
                let single = self.lanes_convert(DType::F32, from, Value::Vec(lanes), &context)?;
                self.double_from(DType::F32, single)
            }
            DType::U64 => Err(Stop::Unsupported(Reason::UnsignedConversion)),
            _ => {
                let value = self.int_reg(value)?;
                let zero = self.splat_bits(0, &context)?;
                Ok(Value::Vec(self.vec_def(M::Vcvtsi2sd, Size::X, vec![x(zero), r64(value)])))
            }
        }
    }

    /// The same bits, as a double or as a 64-bit integer.
    pub fn double_bitcast(&mut self, to: DType, from: DType, value: Value) -> Lowered<Value> {
        match (from, to) {
            (DType::F64, DType::I64 | DType::U64) => {
                let value = self.double_reg(value)?;
                Ok(Value::Int(self.bits_of_double(value)))
            }
            (DType::I64 | DType::U64, DType::F64) => {
                let bits = self.int_reg(value)?;
                Ok(Value::Vec(self.double_of_bits(bits)))
            }
            _ => Err(Stop::Unsupported(Reason::Bitcast)),
        }
    }
}

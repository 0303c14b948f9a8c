//! Operations on 32-bit lanes: arithmetic and reductions.
//!
//! Every operation works at any width, also on one lane in scalar code. Integers narrower than 32 bits live in 32-bit
//! lanes, extended by their type, and are brought back into range after each operation that may leave it.
//!
//! NaN: the x86 maximum returns its second operand when either is a NaN. With a constant as the first operand that
//! propagates NaN; between two unknowns the first operand is checked.

use iced_x86::Mnemonic as M;
use nnc_ir::DType;
use nnc_ir::op::{BinaryOp, ReduceOp, UnaryOp};
use regalloc2::VReg;

use super::machine::{Body, Form, Operand, Plain, Size};
use super::masks::{EQUAL, UNORDERED};
use super::reason::Reason;
use super::select::{Context, Lower, Lowered, Stop, Value};

/// What the rounding instructions take for a function: how to round, and that being inexact is no exception.
pub(super) fn rounding(op: UnaryOp) -> i64 {
    let how = match op {
        UnaryOp::Round => 0,
        UnaryOp::Floor => 1,
        UnaryOp::Ceil => 2,
        _ => 3,
    };
    8 | how
}

impl Lower<'_> {
    /// A value as the last source operand of an instruction: memory where the encoding allows it; `true` when the
    /// memory holds one element for all lanes.
    pub fn source(&mut self, value: Value, context: &Context) -> Lowered<(Operand, bool)> {
        Ok(match value {
            Value::Mem(mem, broadcast) if self.f.evex && (broadcast || context.lanes == 1) => (Operand::Mem(mem), true),
            Value::Mem(mem, false) if context.lanes > 1 => (Operand::Mem(mem), false),
            Value::Bits(bits) if self.f.evex => (Operand::Mem(self.f.constant(&[bits])), true),
            Value::Bits(bits) => (Operand::Mem(self.f.constant(&[bits; 8])), false),
            other => {
                let reg = self.vec_reg(other, context)?;
                (self.lane(reg, context), false)
            }
        })
    }

    /// `op result, a, b`.
    pub fn lanes_op(&mut self, op: M, a: VReg, b: Value, context: &Context) -> Lowered<VReg> {
        let (b, broadcast) = self.source(b, context)?;
        let result = self.f.vec();
        let operands = vec![self.lane(result, context), self.lane(a, context), b];
        self.push(Body::Plain(Plain { op, operands, form: Form::Def, mask: None, zeroing: false, broadcast }));
        Ok(result)
    }

    /// As [`Lower::lanes_op`], exchanging the operands when that saves a load.
    fn commutative(&mut self, op: M, a: Value, b: Value, context: &Context) -> Lowered<VReg> {
        let in_memory = |v: &Value| matches!(v, Value::Mem(..) | Value::Bits(_));
        let (a, b) = if in_memory(&a) && !in_memory(&b) { (b, a) } else { (a, b) };
        let a = self.vec_reg(a, context)?;
        self.lanes_op(op, a, b, context)
    }

    /// `op result, a` with an optional immediate.
    pub fn unary_op(&mut self, op: M, a: Value, imm: Option<i64>, context: &Context) -> Lowered<VReg> {
        let (a, broadcast) = self.source(a, context)?;
        let result = self.f.vec();
        let mut operands = vec![self.lane(result, context), a];
        operands.extend(imm.map(Operand::Imm));
        self.push(Body::Plain(Plain { op, operands, form: Form::Def, mask: None, zeroing: false, broadcast }));
        Ok(result)
    }

    /// `x * y + z`; `fresh` says which operands nothing needs afterwards, so that their register can be overwritten.
    pub fn mul_add(&mut self, x: Value, y: Value, z: Value, fresh: [bool; 3], context: &Context) -> Lowered<VReg> {
        let in_memory = |v: &Value| matches!(v, Value::Mem(..) | Value::Bits(_));
        let (x, y, fresh) =
            if in_memory(&x) && !in_memory(&y) { (y, x, [fresh[1], fresh[0], fresh[2]]) } else { (x, y, fresh) };
        // 231: z += x * m; 132: x = x * m + z; 213: x = x * y + m.
        let (op, tied, other, last) = if in_memory(&z) && !in_memory(&y) {
            let (x, y) = if fresh[1] && !fresh[0] { (y, x) } else { (x, y) };
            (M::Vfmadd213ps, x, y, z)
        } else if fresh[2] || !fresh[0] {
            (M::Vfmadd231ps, z, x, y)
        } else {
            (M::Vfmadd132ps, x, z, y)
        };
        let tied = self.vec_reg(tied, context)?;
        let other = self.vec_reg(other, context)?;
        let (last, broadcast) = self.source(last, context)?;
        let result = self.f.vec();
        let operands = vec![self.lane(result, context), self.lane(other, context), last];
        let form = Form::Tied(tied);
        self.push(Body::Plain(Plain { op, operands, form, mask: None, zeroing: false, broadcast }));
        Ok(result)
    }

    /// Brings lanes into the range of a type narrower than 32 bits.
    pub fn wrap(&mut self, value: VReg, dtype: DType, context: &Context) -> Lowered<VReg> {
        let shift = match dtype {
            DType::U8 => return self.lanes_op(M::Vandps, value, Value::Bits(0xFF), context),
            DType::U16 => return self.lanes_op(M::Vandps, value, Value::Bits(0xFFFF), context),
            DType::I8 => 24,
            DType::I16 => 16,
            _ => return Ok(value),
        };
        let up = self.shift(M::Vpslld, value, shift, context);
        Ok(self.shift(M::Vpsrad, up, shift, context))
    }

    pub fn shift(&mut self, op: M, value: VReg, bits: i64, context: &Context) -> VReg {
        let operands = vec![self.lane(value, context), Operand::Imm(bits)];
        self.vec_def(op, context.size, operands)
    }

    /// A binary operation on lanes of one type; comparisons yield a mask.
    pub fn lanes_binary(
        &mut self,
        op: BinaryOp,
        dtype: DType,
        a: Value,
        b: Value,
        context: &Context,
    ) -> Lowered<Value> {
        if dtype == DType::Bool {
            return self.mask_binary(op, a, b, context);
        }
        if op.is_comparison() {
            return self.lanes_compare(op, dtype, a, b, context);
        }
        let value = if dtype == DType::F32 {
            match op {
                BinaryOp::Add => self.commutative(M::Vaddps, a, b, context)?,
                BinaryOp::Mul => self.commutative(M::Vmulps, a, b, context)?,
                BinaryOp::Sub | BinaryOp::Div => {
                    let a = self.vec_reg(a, context)?;
                    let op = if op == BinaryOp::Sub { M::Vsubps } else { M::Vdivps };
                    self.lanes_op(op, a, b, context)?
                }
                BinaryOp::Max => self.extreme(M::Vmaxps, a, b, context)?,
                BinaryOp::Min => self.extreme(M::Vminps, a, b, context)?,
                _ => return Err(Stop::Unsupported(Reason::FloatFunction)),
            }
        } else {
            let signed = dtype.is_signed();
            let value = match op {
                BinaryOp::Add => self.commutative(M::Vpaddd, a, b, context)?,
                BinaryOp::Mul => self.commutative(M::Vpmulld, a, b, context)?,
                BinaryOp::And => self.commutative(M::Vandps, a, b, context)?,
                BinaryOp::Or => self.commutative(M::Vorps, a, b, context)?,
                BinaryOp::Xor => self.commutative(M::Vxorps, a, b, context)?,
                BinaryOp::Max => self.commutative(if signed { M::Vpmaxsd } else { M::Vpmaxud }, a, b, context)?,
                BinaryOp::Min => self.commutative(if signed { M::Vpminsd } else { M::Vpminud }, a, b, context)?,
                BinaryOp::Sub | BinaryOp::Shl | BinaryOp::Shr => {
                    let a = self.vec_reg(a, context)?;
                    let constant = match b {
                        Value::Bits(bits @ 0..32) => Some(i64::from(bits)),
                        _ => None,
                    };
                    match (op, signed) {
                        (BinaryOp::Shl, _) if let Some(bits) = constant => self.shift(M::Vpslld, a, bits, context),
                        (BinaryOp::Shr, true) if let Some(bits) = constant => self.shift(M::Vpsrad, a, bits, context),
                        (BinaryOp::Shr, false) if let Some(bits) = constant => self.shift(M::Vpsrld, a, bits, context),
                        (BinaryOp::Sub, _) => self.lanes_op(M::Vpsubd, a, b, context)?,
                        (BinaryOp::Shl, _) => self.lanes_op(M::Vpsllvd, a, b, context)?,
                        (_, true) => self.lanes_op(M::Vpsravd, a, b, context)?,
                        (_, false) => self.lanes_op(M::Vpsrlvd, a, b, context)?,
                    }
                }
                _ => return Err(Stop::Unsupported(Reason::IntegerFunction)),
            };
            self.wrap(value, dtype, context)?
        };
        Ok(Value::Vec(value))
    }

    /// Maximum or minimum that propagates NaN.
    fn extreme(&mut self, op: M, a: Value, b: Value, context: &Context) -> Lowered<VReg> {
        let number = |v: &Value| matches!(v, Value::Bits(bits) if !f32::from_bits(*bits).is_nan());
        if number(&b) {
            let constant = self.vec_reg(b, context)?;
            return self.lanes_op(op, constant, a, context);
        }
        if number(&a) {
            let constant = self.vec_reg(a, context)?;
            return self.lanes_op(op, constant, b, context);
        }
        let a = self.vec_reg(a, context)?;
        let best = self.lanes_op(op, a, b, context)?;
        let nan = self.float_compare(UNORDERED, a, Value::Vec(a), context)?;
        self.blend(nan, Value::Vec(a), best, context)
    }

    /// Combines two values of a reduction.
    pub fn combine(&mut self, op: ReduceOp, dtype: DType, a: VReg, b: Value, context: &Context) -> Lowered<VReg> {
        let op = match op {
            ReduceOp::Sum => BinaryOp::Add,
            ReduceOp::Prod => BinaryOp::Mul,
            ReduceOp::Max => BinaryOp::Max,
            ReduceOp::Min => BinaryOp::Min,
        };
        match self.lanes_binary(op, dtype, Value::Vec(a), b, context)? {
            Value::Vec(reg) => Ok(reg),
            _ => Err(Stop::Unsupported(Reason::Reduction)),
        }
    }

    /// Combines all lanes of a full vector into lane 0.
    pub fn horizontal(&mut self, op: ReduceOp, dtype: DType, value: VReg) -> Lowered<VReg> {
        let mut value = value;
        let mut size = self.size;
        let context = |size| Context { size, lanes: if size == Size::X { 4 } else { 8 }, axis: None, tail: None };
        while size != Size::X {
            let (extract, half) =
                if size == Size::Z { (M::Vextractf64x4, Size::Y) } else { (M::Vextractf128, Size::X) };
            let extract = if self.f.evex && half == Size::X { M::Vextractf32x4 } else { extract };
            let high = self.vec_def(extract, half, vec![Operand::Reg(value, size), Operand::Imm(1)]);
            value = self.combine(op, dtype, value, Value::Vec(high), &context(half))?;
            size = half;
        }
        for order in [0b01_00_11_10, 0b10_11_00_01] {
            let x = Operand::Reg(value, Size::X);
            let other = self.vec_def(M::Vshufps, Size::X, vec![x, x, Operand::Imm(order)]);
            value = self.combine(op, dtype, value, Value::Vec(other), &context(Size::X))?;
        }
        Ok(value)
    }

    /// A unary operation on lanes.
    pub fn lanes_unary(&mut self, op: UnaryOp, dtype: DType, x: Value, context: &Context) -> Lowered<Value> {
        if dtype == DType::Bool {
            let mask = self.mask(x, context)?;
            return Ok(Value::Mask(self.mask_not(mask, context)?));
        }
        if dtype != DType::F32 {
            let value = match op {
                UnaryOp::Neg => {
                    let zero = self.constant_reg(&[0], context)?;
                    self.lanes_op(M::Vpsubd, zero, x, context)?
                }
                UnaryOp::Abs if dtype.is_signed() => self.unary_op(M::Vpabsd, x, None, context)?,
                UnaryOp::Abs => self.vec_reg(x, context)?,
                UnaryOp::BitNot => self.commutative(M::Vxorps, x, Value::Bits(u32::MAX), context)?,
                _ => return Err(Stop::Unsupported(Reason::IntegerFunction)),
            };
            return Ok(Value::Vec(self.wrap(value, dtype, context)?));
        }
        let value = match op {
            UnaryOp::Neg => self.commutative(M::Vxorps, x, Value::Bits(1 << 31), context)?,
            UnaryOp::Abs => self.commutative(M::Vandps, x, Value::Bits(u32::MAX >> 1), context)?,
            UnaryOp::Sqrt => self.unary_op(M::Vsqrtps, x, None, context)?,
            UnaryOp::Rsqrt => {
                let root = self.unary_op(M::Vsqrtps, x, None, context)?;
                let one = self.constant_reg(&[1f32.to_bits()], context)?;
                self.lanes_op(M::Vdivps, one, Value::Vec(root), context)?
            }
            UnaryOp::Recip => {
                let one = self.constant_reg(&[1f32.to_bits()], context)?;
                self.lanes_op(M::Vdivps, one, x, context)?
            }
            UnaryOp::Round | UnaryOp::Floor | UnaryOp::Ceil | UnaryOp::Trunc => {
                let round = if self.f.evex { M::Vrndscaleps } else { M::Vroundps };
                self.unary_op(round, x, Some(rounding(op)), context)?
            }
            UnaryOp::IsNan => {
                let x = self.vec_reg(x, context)?;
                return Ok(Value::Mask(self.float_compare(UNORDERED, x, Value::Vec(x), context)?));
            }
            UnaryOp::IsInf => {
                let x = self.commutative(M::Vandps, x, Value::Bits(u32::MAX >> 1), context)?;
                let infinity = Value::Bits(f32::INFINITY.to_bits());
                return Ok(Value::Mask(self.float_compare(EQUAL, x, infinity, context)?));
            }
            _ => return Err(Stop::Unsupported(Reason::FloatFunction)),
        };
        Ok(Value::Vec(value))
    }
}

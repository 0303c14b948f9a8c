//! Operations on 32-bit lanes: arithmetic, comparison, selection, conversion.
//!
//! Every operation works at any width, also on one lane in scalar code. Bool lanes are mask registers on AVX-512 and
//! lanes of all ones or zeros on AVX2. Integers narrower than 32 bits live in 32-bit lanes, extended by their type, and
//! are brought back into range after each operation that may leave it.
//!
//! NaN: the x86 maximum returns its second operand when either is a NaN. With a constant as the first operand that
//! propagates NaN; between two unknowns the first operand is checked.

use iced_x86::Mnemonic as M;
use nnc_ir::DType;
use nnc_ir::op::{BinaryOp, ReduceOp, UnaryOp};
use regalloc2::VReg;

use super::machine::{Body, Form, Operand, Plain, Size};
use super::reason::Reason;
use super::select::{Context, Lower, Lowered, Stop, Value};
use super::shape;

/// Comparison of floats: predicates of `vcmpps` (quiet or signalling makes no difference, exceptions are masked).
const fn float_predicate(op: BinaryOp) -> i64 {
    match op {
        BinaryOp::Ne => 4,
        BinaryOp::Lt => 1,
        BinaryOp::Le => 2,
        BinaryOp::Gt => 0x1E,
        BinaryOp::Ge => 0x1D,
        _ => 0,
    }
}

/// Predicates of `vpcmpd`.
const fn int_predicate(op: BinaryOp) -> i64 {
    match op {
        BinaryOp::Ne => 4,
        BinaryOp::Lt => 1,
        BinaryOp::Le => 2,
        BinaryOp::Gt => 6,
        BinaryOp::Ge => 5,
        _ => 0,
    }
}

const UNORDERED: i64 = 3;
const ORDERED: i64 = 7;

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
    fn source(&mut self, value: Value, context: &Context) -> Lowered<(Operand, bool)> {
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
    fn unary_op(&mut self, op: M, a: Value, imm: Option<i64>, context: &Context) -> Lowered<VReg> {
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
    fn wrap(&mut self, value: VReg, dtype: DType, context: &Context) -> Lowered<VReg> {
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

    fn shift(&mut self, op: M, value: VReg, bits: i64, context: &Context) -> VReg {
        let operands = vec![self.lane(value, context), Operand::Imm(bits)];
        self.vec_def(op, context.size, operands)
    }

    /// `mask ? new : old`.
    pub fn blend(&mut self, mask: VReg, new: Value, old: VReg, context: &Context) -> Lowered<VReg> {
        let result = self.f.vec();
        let (lane, old) = (self.lane(result, context), self.lane(old, context));
        if self.f.evex {
            let (new, broadcast) = self.source(new, context)?;
            let operands = vec![lane, old, new];
            let mask = Some(mask);
            let op = M::Vblendmps;
            self.push(Body::Plain(Plain { op, operands, form: Form::Def, mask, zeroing: false, broadcast }));
        } else {
            let (new, _) = self.source(new, context)?;
            self.def(M::Vblendvps, vec![lane, old, new, Operand::Reg(mask, context.size)]);
        }
        Ok(result)
    }

    /// One of two constants by a mask.
    pub fn blend_bits(&mut self, mask: VReg, yes: u32, no: u32, context: &Context) -> Lowered<VReg> {
        if no == 0 && !self.f.evex {
            let lanes = mask;
            return self.lanes_op(M::Vandps, lanes, Value::Bits(yes), context);
        }
        let no = self.constant_reg(&[no], context)?;
        self.blend(mask, Value::Bits(yes), no, context)
    }

    /// A comparison of float lanes by predicate.
    fn float_compare(&mut self, predicate: i64, a: VReg, b: Value, context: &Context) -> Lowered<VReg> {
        let (b, broadcast) = self.source(b, context)?;
        let (result, size) = self.mask_reg(context);
        let operands = vec![Operand::Reg(result, size), self.lane(a, context), b, Operand::Imm(predicate)];
        let op = M::Vcmpps;
        self.push(Body::Plain(Plain { op, operands, form: Form::Def, mask: None, zeroing: false, broadcast }));
        Ok(result)
    }

    fn mask_reg(&mut self, context: &Context) -> (VReg, Size) {
        if self.f.evex { (self.f.kreg(), Size::K) } else { (self.f.vec(), context.size) }
    }

    /// A comparison of integer lanes.
    pub fn int_compare(&mut self, op: BinaryOp, unsigned: bool, a: VReg, b: Value, context: &Context) -> Lowered<VReg> {
        if self.f.evex {
            let (b, broadcast) = self.source(b, context)?;
            let result = self.f.kreg();
            let predicate = Operand::Imm(int_predicate(op));
            let operands = vec![Operand::Reg(result, Size::K), self.lane(a, context), b, predicate];
            let op = if unsigned { M::Vpcmpud } else { M::Vpcmpd };
            self.push(Body::Plain(Plain { op, operands, form: Form::Def, mask: None, zeroing: false, broadcast }));
            return Ok(result);
        }
        let mut a = a;
        let mut b = self.vec_reg(b, context)?;
        if unsigned && !matches!(op, BinaryOp::Eq | BinaryOp::Ne) {
            // Flipping the sign bits turns the unsigned order into the signed one.
            a = self.lanes_op(M::Vxorps, a, Value::Bits(1 << 31), context)?;
            b = self.lanes_op(M::Vxorps, b, Value::Bits(1 << 31), context)?;
        }
        let (inst, x, y, invert) = match op {
            BinaryOp::Eq => (M::Vpcmpeqd, a, b, false),
            BinaryOp::Ne => (M::Vpcmpeqd, a, b, true),
            BinaryOp::Gt => (M::Vpcmpgtd, a, b, false),
            BinaryOp::Le => (M::Vpcmpgtd, a, b, true),
            BinaryOp::Lt => (M::Vpcmpgtd, b, a, false),
            _ => (M::Vpcmpgtd, b, a, true),
        };
        let result = self.lanes_op(inst, x, Value::Vec(y), context)?;
        if invert { self.lanes_op(M::Vxorps, result, Value::Bits(u32::MAX), context) } else { Ok(result) }
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
            let a = self.vec_reg(a, context)?;
            return Ok(Value::Mask(if dtype == DType::F32 {
                self.float_compare(float_predicate(op), a, b, context)?
            } else {
                self.int_compare(op, !dtype.is_signed(), a, b, context)?
            }));
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

    fn mask_binary(&mut self, op: BinaryOp, a: Value, b: Value, context: &Context) -> Lowered<Value> {
        let (a, b) = (self.mask(a, context)?, self.mask(b, context)?);
        if self.f.evex {
            let op = match op {
                BinaryOp::And => M::Kandw,
                BinaryOp::Or => M::Korw,
                BinaryOp::Xor | BinaryOp::Ne => M::Kxorw,
                BinaryOp::Eq => M::Kxnorw,
                _ => return Err(Stop::Unsupported(Reason::BoolFunction)),
            };
            let result = self.f.kreg();
            self.def(op, [result, a, b].map(|r| Operand::Reg(r, Size::K)).to_vec());
            return Ok(Value::Mask(result));
        }
        let result = match op {
            BinaryOp::And => self.lanes_op(M::Vandps, a, Value::Vec(b), context)?,
            BinaryOp::Or => self.lanes_op(M::Vorps, a, Value::Vec(b), context)?,
            BinaryOp::Xor | BinaryOp::Ne => self.lanes_op(M::Vxorps, a, Value::Vec(b), context)?,
            BinaryOp::Eq => self.lanes_op(M::Vpcmpeqd, a, Value::Vec(b), context)?,
            _ => return Err(Stop::Unsupported(Reason::BoolFunction)),
        };
        Ok(Value::Mask(result))
    }

    /// Bool lanes as a mask.
    pub fn mask(&mut self, value: Value, context: &Context) -> Lowered<VReg> {
        match value {
            Value::Mask(mask) => Ok(mask),
            Value::Int(reg) => Ok(self.mask_of_int(reg, context)),
            Value::Imm(value) => {
                let reg = self.imm_reg(i64::from(value != 0));
                Ok(self.mask_of_int(reg, context))
            }
            _ => Err(Stop::fault("numbers where bool lanes are needed")),
        }
    }

    /// The inverse of a mask.
    fn mask_not(&mut self, mask: VReg, context: &Context) -> Lowered<VReg> {
        if self.f.evex {
            let result = self.f.kreg();
            self.def(M::Knotw, vec![Operand::Reg(result, Size::K), Operand::Reg(mask, Size::K)]);
            return Ok(result);
        }
        self.lanes_op(M::Vxorps, mask, Value::Bits(u32::MAX), context)
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
                return Ok(Value::Mask(self.float_compare(0, x, infinity, context)?));
            }
            _ => return Err(Stop::Unsupported(Reason::FloatFunction)),
        };
        Ok(Value::Vec(value))
    }

    /// A choice per lane.
    pub fn lanes_select(
        &mut self,
        condition: Value,
        dtype: DType,
        yes: Value,
        no: Value,
        context: &Context,
    ) -> Lowered<Value> {
        let mask = self.mask(condition, context)?;
        if dtype == DType::Bool {
            let yes = self.mask_binary(BinaryOp::And, Value::Mask(mask), yes, context)?;
            let inverse = self.mask_not(mask, context)?;
            let no = self.mask_binary(BinaryOp::And, Value::Mask(inverse), no, context)?;
            return self.mask_binary(BinaryOp::Or, yes, no, context);
        }
        let no = self.vec_reg(no, context)?;
        Ok(Value::Vec(self.blend(mask, yes, no, context)?))
    }

    /// A choice between the two floats that a comparison orders, as `exp`'s clamps are written: `a < b ? a : b` is what
    /// `vminps` does, NaN and signed zeros included. `None` when it is something else.
    pub fn select_extreme(
        &mut self,
        op: BinaryOp,
        compared: (Value, Value),
        chosen_first: bool,
        context: &Context,
    ) -> Lowered<Option<Value>> {
        let (a, b) = compared;
        let (op, x, y) = match (op, chosen_first) {
            (BinaryOp::Lt, true) => (M::Vminps, a, b),
            (BinaryOp::Lt, false) => (M::Vmaxps, b, a),
            (BinaryOp::Gt, true) => (M::Vmaxps, a, b),
            (BinaryOp::Gt, false) => (M::Vminps, b, a),
            _ => return Ok(None),
        };
        let x = self.vec_reg(x, context)?;
        Ok(Some(Value::Vec(self.lanes_op(op, x, y, context)?)))
    }

    /// A conversion of lanes.
    pub fn lanes_convert(&mut self, to: DType, from: DType, value: Value, context: &Context) -> Lowered<Value> {
        if to == from {
            return Ok(value);
        }
        match (from, to) {
            (DType::Bool, _) => {
                let mask = self.mask(value, context)?;
                let one = match to {
                    DType::F32 => 1f32.to_bits(),
                    DType::F16 => 0x3C00,
                    DType::BF16 => 0x3F80,
                    _ => 1,
                };
                Ok(Value::Vec(self.blend_bits(mask, one, 0, context)?))
            }
            (DType::F16 | DType::BF16, DType::F32) => {
                let value = self.vec_reg(value, context)?;
                Ok(Value::Vec(self.half_to_f32(from, value, context)?))
            }
            (DType::F16 | DType::BF16, _) => {
                let single = self.lanes_convert(DType::F32, from, value, context)?;
                self.lanes_convert(to, DType::F32, single, context)
            }
            (DType::F32, DType::Bool) => {
                let value = self.vec_reg(value, context)?;
                Ok(Value::Mask(self.float_compare(4, value, Value::Bits(0), context)?))
            }
            (DType::F32, DType::F16 | DType::BF16) => {
                let value = self.vec_reg(value, context)?;
                Ok(Value::Vec(self.f32_to_half(to, value, context)?))
            }
            (DType::F32, _) => {
                let value = self.vec_reg(value, context)?;
                Ok(Value::Vec(self.f32_to_int(to, value, context)?))
            }
            (_, DType::F16 | DType::BF16) => {
                let single = self.lanes_convert(DType::F32, from, value, context)?;
                self.lanes_convert(to, DType::F32, single, context)
            }
            (_, DType::Bool) => {
                let value = self.vec_reg(value, context)?;
                Ok(Value::Mask(self.int_compare(BinaryOp::Ne, false, value, Value::Bits(0), context)?))
            }
            (DType::U32, DType::F32) => {
                if self.f.evex {
                    return Ok(Value::Vec(self.unary_op(M::Vcvtudq2ps, value, None, context)?));
                }
                // The halves convert exactly; their sum rounds once.
                let value = self.vec_reg(value, context)?;
                let high = self.shift(M::Vpsrld, value, 16, context);
                let low = self.lanes_op(M::Vandps, value, Value::Bits(0xFFFF), context)?;
                let high = self.unary_op(M::Vcvtdq2ps, Value::Vec(high), None, context)?;
                let low = self.unary_op(M::Vcvtdq2ps, Value::Vec(low), None, context)?;
                let scale = Value::Bits(65536f32.to_bits());
                Ok(Value::Vec(self.mul_add(Value::Vec(high), scale, Value::Vec(low), [true; 3], context)?))
            }
            (_, DType::F32) => Ok(Value::Vec(self.unary_op(M::Vcvtdq2ps, value, None, context)?)),
            _ => {
                let value = self.vec_reg(value, context)?;
                Ok(Value::Vec(self.wrap(value, to, context)?))
            }
        }
    }

    fn half_to_f32(&mut self, from: DType, value: VReg, context: &Context) -> Lowered<VReg> {
        if from == DType::BF16 {
            return Ok(self.shift(M::Vpslld, value, 16, context));
        }
        let half = self.half_of(context);
        let words = if self.f.evex && context.lanes > 1 {
            self.vec_def(M::Vpmovdw, half, vec![self.lane(value, context)])
        } else if context.lanes > 1 {
            self.pack_words(value, from)
        } else {
            value
        };
        Ok(self.vec_def(M::Vcvtph2ps, context.size, vec![Operand::Reg(words, half)]))
    }

    fn f32_to_half(&mut self, to: DType, value: VReg, context: &Context) -> Lowered<VReg> {
        if to == DType::F16 {
            let half = self.half_of(context);
            let words = self.vec_def(M::Vcvtps2ph, half, vec![self.lane(value, context), Operand::Imm(0)]);
            return Ok(self.vec_def(M::Vpmovzxwd, context.size, vec![Operand::Reg(words, half)]));
        }
        // Round to nearest even on the upper half; a NaN keeps its upper bits and becomes quiet.
        let upper = self.shift(M::Vpsrld, value, 16, context);
        let odd = self.lanes_op(M::Vandps, upper, Value::Bits(1), context)?;
        let bias = self.lanes_op(M::Vpaddd, odd, Value::Bits(0x7FFF), context)?;
        let sum = self.lanes_op(M::Vpaddd, value, Value::Vec(bias), context)?;
        let rounded = self.shift(M::Vpsrld, sum, 16, context);
        let quiet = self.lanes_op(M::Vorps, upper, Value::Bits(0x40), context)?;
        let nan = self.float_compare(UNORDERED, value, Value::Vec(value), context)?;
        self.blend(nan, Value::Vec(quiet), rounded, context)
    }

    /// Truncates and saturates; NaN becomes 0.
    fn f32_to_int(&mut self, to: DType, value: VReg, context: &Context) -> Lowered<VReg> {
        let number = self.float_compare(ORDERED, value, Value::Vec(value), context)?;
        let zero = self.constant_reg(&[0], context)?;
        let value = self.blend(number, Value::Vec(value), zero, context)?;
        if matches!(to, DType::I32 | DType::U32) {
            if to == DType::U32 {
                if !self.f.evex {
                    return Err(Stop::Unsupported(Reason::UnsignedConversion));
                }
                // Too large becomes all ones by itself.
                let positive = self.lanes_op(M::Vmaxps, value, Value::Bits(0), context)?;
                return self.unary_op(M::Vcvttps2udq, Value::Vec(positive), None, context);
            }
            // Too large becomes the lowest value: flip it to the highest. Too small is right as it is.
            let limit = Value::Bits(2_147_483_648f32.to_bits());
            let large = self.float_compare(float_predicate(BinaryOp::Ge), value, limit, context)?;
            let converted = self.unary_op(M::Vcvttps2dq, Value::Vec(value), None, context)?;
            return self.blend(large, Value::Bits(i32::MAX as u32), converted, context);
        }
        let low = (shape::int_extreme(to, true) as f32).to_bits();
        let high = (shape::int_extreme(to, false) as f32).to_bits();
        let value = self.lanes_op(M::Vmaxps, value, Value::Bits(low), context)?;
        let value = self.lanes_op(M::Vminps, value, Value::Bits(high), context)?;
        self.unary_op(M::Vcvttps2dq, Value::Vec(value), None, context)
    }
}

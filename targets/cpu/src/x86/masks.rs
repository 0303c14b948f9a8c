//! Comparison and selection of 32-bit lanes, and bool lanes: mask registers on AVX-512, lanes of all ones or zeros on AVX2.

use iced_x86::Mnemonic as M;
use nnc_ir::DType;
use nnc_ir::op::BinaryOp;
use regalloc2::VReg;

use super::machine::{Body, Form, Operand, Plain, Size};
use super::reason::Reason;
use super::select::{Context, Lower, Lowered, Stop, Value};

/// Predicates of `vcmpps`.
pub(super) const EQUAL: i64 = 0;
pub(super) const UNORDERED: i64 = 3;
pub(super) const UNEQUAL: i64 = 4;
pub(super) const ORDERED: i64 = 7;
pub(super) const AT_LEAST: i64 = 0x1D;

/// Comparison of floats: predicates of `vcmpps` (quiet or signalling makes no difference, exceptions are masked).
const fn float_predicate(op: BinaryOp) -> i64 {
    match op {
        BinaryOp::Ne => UNEQUAL,
        BinaryOp::Lt => 1,
        BinaryOp::Le => 2,
        BinaryOp::Gt => 0x1E,
        BinaryOp::Ge => AT_LEAST,
        _ => EQUAL,
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

impl Lower<'_> {
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
    pub fn float_compare(&mut self, predicate: i64, a: VReg, b: Value, context: &Context) -> Lowered<VReg> {
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

    /// A comparison of lanes of one type.
    pub fn lanes_compare(
        &mut self,
        op: BinaryOp,
        dtype: DType,
        a: Value,
        b: Value,
        context: &Context,
    ) -> Lowered<Value> {
        let a = self.vec_reg(a, context)?;
        Ok(Value::Mask(if dtype == DType::F32 {
            self.float_compare(float_predicate(op), a, b, context)?
        } else {
            self.int_compare(op, !dtype.is_signed(), a, b, context)?
        }))
    }

    pub fn mask_binary(&mut self, op: BinaryOp, a: Value, b: Value, context: &Context) -> Lowered<Value> {
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
    pub fn mask_not(&mut self, mask: VReg, context: &Context) -> Lowered<VReg> {
        if self.f.evex {
            let result = self.f.kreg();
            self.def(M::Knotw, vec![Operand::Reg(result, Size::K), Operand::Reg(mask, Size::K)]);
            return Ok(result);
        }
        self.lanes_op(M::Vxorps, mask, Value::Bits(u32::MAX), context)
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
}

//! Conversion of 32-bit lanes from one element type to another.

use iced_x86::Mnemonic as M;
use nnc_ir::DType;
use nnc_ir::op::BinaryOp;
use regalloc2::VReg;

use super::machine::Operand;
use super::masks::{AT_LEAST, ORDERED, UNEQUAL, UNORDERED};
use super::reason::Reason;
use super::select::{Context, Lower, Lowered, Stop, Value};
use super::shape;

impl Lower<'_> {
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
                Ok(Value::Mask(self.float_compare(UNEQUAL, value, Value::Bits(0), context)?))
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
            let large = self.float_compare(AT_LEAST, value, limit, context)?;
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

//! Conversions between element types.
//!
//! Float to integer truncates and saturates, NaN becomes 0; to bool is `x != 0`; integers wrap. `f16` and `bf16` are
//! rounded to nearest even in integer arithmetic, since neither baseline has the instructions.
//!
//! Source: the `f16` methods are Fabian Giesen's "float->half variants" (gist.github.com/rygorous/2156668).

use super::kernel::{Lower, scalar_type};
use super::vector::lane_type;
use crate::error::CodegenError;
use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::{InstBuilder, Value, types};
use nnc_ir::DType;
use nnc_kernels::Scalar;

impl Lower<'_, '_> {
    /// Converts a value.
    pub(super) fn convert(&mut self, from: DType, to: DType, x: Value, lanes: u32) -> Result<Value, CodegenError> {
        use DType::*;
        if from == to {
            return Ok(x);
        }
        if matches!(from, F16 | BF16) {
            let single = if from == F16 { self.half_to_single(x, lanes) } else { self.bfloat_to_single(x, lanes) };
            return self.convert(F32, to, single, lanes);
        }
        if matches!(to, F16 | BF16) {
            // Kernels come here by way of `f32`.
            let single = self.convert(from, F32, x, lanes)?;
            return Ok(if to == F16 {
                self.single_to_half(single, lanes)
            } else {
                self.single_to_bfloat(single, lanes)
            });
        }
        if lanes > 1 {
            return self.convert_lanes(from, to, x, lanes);
        }
        let ty = scalar_type(to);
        Ok(match (from.is_float(), to) {
            (true, Bool) => {
                let zero = self.constant(Scalar::new(from, 0.0));
                self.b.ins().fcmp(FloatCC::NotEqual, x, zero)
            }
            (false, Bool) => {
                let zero = self.b.ins().iconst(scalar_type(from), 0);
                self.b.ins().icmp(IntCC::NotEqual, x, zero)
            }
            (true, F32) => self.b.ins().fdemote(ty, x),
            (true, F64) => self.b.ins().fpromote(ty, x),
            (true, U64) => self.b.ins().fcvt_to_uint_sat(types::I64, x),
            (true, I64) => self.b.ins().fcvt_to_sint_sat(types::I64, x),
            (true, U32) => self.b.ins().fcvt_to_uint_sat(types::I32, x),
            (true, I32) => self.b.ins().fcvt_to_sint_sat(types::I32, x),
            (true, _) => {
                let wide = self.b.ins().fcvt_to_sint_sat(types::I32, x);
                let clamped = self.clamp(wide, to, 1);
                self.b.ins().ireduce(ty, clamped)
            }
            (false, F32 | F64) => {
                let wide = self.extended(x, from, types::I32);
                if from.is_signed() || from.size() < 4 {
                    self.b.ins().fcvt_from_sint(ty, wide)
                } else {
                    self.b.ins().fcvt_from_uint(ty, wide)
                }
            }
            (false, _) if to.size() < from.size() => self.b.ins().ireduce(ty, x),
            (false, _) => self.extended(x, from, ty),
        })
    }

    /// The integer in at least this type.
    fn extended(&mut self, x: Value, from: DType, ty: cranelift_codegen::ir::Type) -> Value {
        if scalar_type(from).bits() >= ty.bits() {
            x
        } else if from.is_signed() {
            self.b.ins().sextend(ty, x)
        } else {
            self.b.ins().uextend(ty, x)
        }
    }

    /// Lanes that hold elements of less than 32 bits, extended as those of another type of that size are.
    pub(super) fn extend_again(&mut self, x: Value, from: DType, to: DType) -> Value {
        if from == DType::Bool {
            // A mask.
            return if to == DType::Bool { x } else { self.b.ins().ineg(x) };
        }
        let by_sign = |dtype: DType| dtype.is_int() && dtype.is_signed();
        if to.size() >= 4 || by_sign(from) == by_sign(to) {
            return x;
        }
        let unused = self.b.ins().iconst(types::I32, 32 - 8 * to.size() as i64);
        let high = self.b.ins().ishl(x, unused);
        if by_sign(to) { self.b.ins().sshr(high, unused) } else { self.b.ins().ushr(high, unused) }
    }

    /// Brings 32-bit integers into the range of a narrower type.
    fn clamp(&mut self, x: Value, to: DType, lanes: u32) -> Value {
        let (low, high) = match to {
            DType::U8 => (0, 255),
            DType::I8 => (-128, 127),
            DType::U16 => (0, 65535),
            _ => (-32768, 32767),
        };
        let bound = |l: &mut Self, value: i64| {
            let c = l.b.ins().iconst(types::I32, value & 0xffff_ffff);
            l.splat(c, DType::I32, lanes)
        };
        let (low, high) = (bound(self, low), bound(self, high));
        let x = self.b.ins().smax(x, low);
        self.b.ins().smin(x, high)
    }

    fn convert_lanes(&mut self, from: DType, to: DType, x: Value, lanes: u32) -> Result<Value, CodegenError> {
        use DType::*;
        let ty = lane_type(to, lanes);
        if from == Bool && lanes == 4 {
            // A mask: -1 becomes 1.
            let ones = self.b.ins().ineg(x);
            return Ok(if to == F32 { self.b.ins().fcvt_from_sint(ty, ones) } else { ones });
        }
        if to == Bool && lanes == 4 {
            if from != F32 {
                return Ok(self.mask(x));
            }
            let zero = self.constant(Scalar::new(F32, 0.0));
            let zero = self.splat(zero, F32, lanes);
            return Ok(self.b.ins().fcmp(FloatCC::NotEqual, x, zero));
        }
        match (from, to) {
            (U32 | I32, U32 | I32) | (U64 | I64, U64 | I64) => Ok(x),
            (F32, I32) => Ok(self.b.ins().fcvt_to_sint_sat(ty, x)),
            (F32, U8 | I8 | U16 | I16) => {
                let wide = self.b.ins().fcvt_to_sint_sat(types::I32X4, x);
                Ok(self.clamp(wide, to, lanes))
            }
            (I32 | U8 | I8 | U16 | I16, F32) => Ok(self.b.ins().fcvt_from_sint(ty, x)),
            (U8 | I8 | U16 | I16, U32 | I32) => Ok(x),
            _ => self.by_lane(&[(x, from)], to, lanes, |l, v| l.convert(from, to, v[0], 1)),
        }
    }

    /// An `i32` constant in all lanes.
    fn word(&mut self, value: u32, lanes: u32) -> Value {
        let c = self.b.ins().iconst(types::I32, i64::from(value));
        self.splat(c, DType::I32, lanes)
    }

    /// `x << by` for positive, `x >> -by` (logical) for negative `by`.
    fn shifted(&mut self, x: Value, by: i64) -> Value {
        let amount = self.b.ins().iconst(types::I32, by.abs());
        if by > 0 { self.b.ins().ishl(x, amount) } else { self.b.ins().ushr(x, amount) }
    }

    /// 16-bit patterns as 32-bit words.
    fn words(&mut self, x: Value, lanes: u32) -> Value {
        if lanes == 1 { self.b.ins().uextend(types::I32, x) } else { x }
    }

    fn halves(&mut self, x: Value, lanes: u32) -> Value {
        if lanes == 1 { self.b.ins().ireduce(types::I16, x) } else { x }
    }

    fn bfloat_to_single(&mut self, x: Value, lanes: u32) -> Value {
        let wide = self.words(x, lanes);
        let bits = self.shifted(wide, 16);
        self.recast(bits, lane_type(DType::F32, lanes))
    }

    fn single_to_bfloat(&mut self, x: Value, lanes: u32) -> Value {
        let bits = self.recast(x, lane_type(DType::I32, lanes));
        let (one, half) = (self.word(1, lanes), self.word(0x7fff, lanes));
        let upper = self.shifted(bits, -16);
        let lowest = self.b.ins().band(upper, one);
        let up = self.b.ins().iadd(half, lowest);
        let rounded = self.b.ins().iadd(bits, up);
        let rounded = self.shifted(rounded, -16);
        // NaN keeps its upper bits and turns quiet; rounding could make it infinite.
        let quiet = self.word(0x40, lanes);
        let nan = self.b.ins().bor(upper, quiet);
        let is_nan = self.b.ins().fcmp(FloatCC::Unordered, x, x);
        let result = self.select(is_nan, nan, rounded);
        self.halves(result, lanes)
    }

    fn half_to_single(&mut self, x: Value, lanes: u32) -> Value {
        let float = lane_type(DType::F32, lanes);
        let int = lane_type(DType::I32, lanes);
        let wide = self.words(x, lanes);
        let rest_mask = self.word(0x7fff, lanes);
        let rest = self.b.ins().band(wide, rest_mask);
        let rest = self.shifted(rest, 13);
        let exponents = self.word(0x0f80_0000, lanes);
        let exponent = self.b.ins().band(rest, exponents);
        let bias = self.word((127 - 15) << 23, lanes);
        let normal = self.b.ins().iadd(rest, bias);
        // Infinity and NaN need the bias twice more; subnormal numbers are renormalised by a subtraction.
        let more = self.word((128 - 16) << 23, lanes);
        let special = self.b.ins().iadd(normal, more);
        let step = self.word(1 << 23, lanes);
        let subnormal = self.b.ins().iadd(normal, step);
        let magic = self.word(113 << 23, lanes);
        let (s, m) = (self.recast(subnormal, float), self.recast(magic, float));
        let subnormal = self.b.ins().fsub(s, m);
        let subnormal = self.recast(subnormal, int);
        let zero = self.word(0, lanes);
        let is_special = self.b.ins().icmp(IntCC::Equal, exponent, exponents);
        let is_subnormal = self.b.ins().icmp(IntCC::Equal, exponent, zero);
        let result = self.select(is_special, special, normal);
        let result = self.select(is_subnormal, subnormal, result);
        let sign_mask = self.word(0x8000, lanes);
        let sign = self.b.ins().band(wide, sign_mask);
        let sign = self.shifted(sign, 16);
        let result = self.b.ins().bor(result, sign);
        self.recast(result, float)
    }

    fn single_to_half(&mut self, x: Value, lanes: u32) -> Value {
        let float = lane_type(DType::F32, lanes);
        let int = lane_type(DType::I32, lanes);
        let bits = self.recast(x, int);
        let sign_mask = self.word(0x8000_0000, lanes);
        let sign = self.b.ins().band(bits, sign_mask);
        let a = self.b.ins().bxor(bits, sign);
        // Normal results: rebias and round in the integer domain; the carry may reach infinity.
        let (one, bias) = (self.word(1, lanes), self.word((15u32.wrapping_sub(127) << 23).wrapping_add(0xfff), lanes));
        let odd = self.shifted(a, -13);
        let odd = self.b.ins().band(odd, one);
        let normal = self.b.ins().iadd(a, bias);
        let normal = self.b.ins().iadd(normal, odd);
        let normal = self.shifted(normal, -13);
        // Subnormal results: adding 0.5 lets the floating-point unit round.
        let half = self.word(0x3f00_0000, lanes);
        let (fa, fh) = (self.recast(a, float), self.recast(half, float));
        let subnormal = self.b.ins().fadd(fa, fh);
        let subnormal = self.recast(subnormal, int);
        let subnormal = self.b.ins().isub(subnormal, half);
        let (infinity, limit, normal_from) =
            (self.word(0x7c00, lanes), self.word(0x4780_0000, lanes), self.word(0x3880_0000, lanes));
        // Magnitudes have the sign bit clear, so signed comparison serves.
        let is_large = self.b.ins().icmp(IntCC::SignedGreaterThanOrEqual, a, limit);
        let is_small = self.b.ins().icmp(IntCC::SignedLessThan, a, normal_from);
        let result = self.select(is_small, subnormal, normal);
        let result = self.select(is_large, infinity, result);
        // NaN keeps the upper bits of its payload and turns quiet.
        let quiet = self.word(0x7e00, lanes);
        let payload = self.shifted(a, -13);
        let payload_mask = self.word(0x3ff, lanes);
        let payload = self.b.ins().band(payload, payload_mask);
        let nan = self.b.ins().bor(payload, quiet);
        let is_nan = self.b.ins().fcmp(FloatCC::Unordered, x, x);
        let result = self.select(is_nan, nan, result);
        let sign = self.shifted(sign, -16);
        let result = self.b.ins().bor(result, sign);
        self.halves(result, lanes)
    }
}

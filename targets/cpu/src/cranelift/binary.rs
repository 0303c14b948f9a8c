//! Functions of two operands, in one lane or several.

use super::index::safe_sdiv;
use super::kernel::{Lower, scalar_type};
use crate::error::CodegenError;
use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::{InstBuilder, Value, types};
use nnc_ir::DType;
use nnc_ir::op::BinaryOp;
use nnc_kernels::Scalar;

impl Lower<'_, '_> {
    /// A function of two operands of one type.
    pub(super) fn binary(
        &mut self,
        op: BinaryOp,
        dtype: DType,
        x: Value,
        y: Value,
        lanes: u32,
    ) -> Result<Value, CodegenError> {
        if op.is_comparison() {
            return Ok(self.compare(op, dtype, x, y, lanes));
        }
        let result = if dtype.is_float() { self.float(op, x, y, lanes) } else { self.int(op, dtype, x, y, lanes) };
        match result {
            Some(value) => Ok(value),
            None if lanes > 1 => {
                self.by_lane(&[(x, dtype), (y, dtype)], dtype, lanes, |l, v| l.binary(op, dtype, v[0], v[1], 1))
            }
            None => self.refuse(format!("the function {op:?} of {dtype} was not expanded")),
        }
    }

    fn compare(&mut self, op: BinaryOp, dtype: DType, x: Value, y: Value, lanes: u32) -> Value {
        if dtype.is_float() {
            let cc = match op {
                BinaryOp::Eq => FloatCC::Equal,
                BinaryOp::Ne => FloatCC::NotEqual,
                BinaryOp::Lt => FloatCC::LessThan,
                BinaryOp::Le => FloatCC::LessThanOrEqual,
                BinaryOp::Gt => FloatCC::GreaterThan,
                _ => FloatCC::GreaterThanOrEqual,
            };
            return self.b.ins().fcmp(cc, x, y);
        }
        // Narrow integers are extended in lanes, so that signed comparison is right; masks of bools compare as -1 < 0.
        let signed = dtype.is_signed() || (lanes > 1 && dtype.size() < 4 && dtype != DType::Bool);
        let cc = match (op, signed) {
            (BinaryOp::Eq, _) => IntCC::Equal,
            (BinaryOp::Ne, _) => IntCC::NotEqual,
            (BinaryOp::Lt, true) => IntCC::SignedLessThan,
            (BinaryOp::Lt, false) => IntCC::UnsignedLessThan,
            (BinaryOp::Le, true) => IntCC::SignedLessThanOrEqual,
            (BinaryOp::Le, false) => IntCC::UnsignedLessThanOrEqual,
            (BinaryOp::Gt, true) => IntCC::SignedGreaterThan,
            (BinaryOp::Gt, false) => IntCC::UnsignedGreaterThan,
            (_, true) => IntCC::SignedGreaterThanOrEqual,
            (_, false) => IntCC::UnsignedGreaterThanOrEqual,
        };
        self.b.ins().icmp(cc, x, y)
    }

    /// Arithmetic of floats; `None` when it has no form for these lanes.
    fn float(&mut self, op: BinaryOp, x: Value, y: Value, lanes: u32) -> Option<Value> {
        Some(match op {
            BinaryOp::Add => self.b.ins().fadd(x, y),
            BinaryOp::Sub => self.b.ins().fsub(x, y),
            BinaryOp::Mul => self.b.ins().fmul(x, y),
            BinaryOp::Div => self.b.ins().fdiv(x, y),
            BinaryOp::Max => self.b.ins().fmax(x, y),
            BinaryOp::Min => self.b.ins().fmin(x, y),
            BinaryOp::Rem if lanes == 1 => self.float_rem(x, y),
            BinaryOp::Mod if lanes == 1 => {
                let rem = self.float_rem(x, y);
                let ty = self.b.func.dfg.value_type(x);
                let zero = if ty == types::F32 { self.b.ins().f32const(0.0f32) } else { self.b.ins().f64const(0.0f64) };
                let some = self.b.ins().fcmp(FloatCC::NotEqual, rem, zero);
                let below = self.b.ins().fcmp(FloatCC::LessThan, rem, zero);
                let divisor_below = self.b.ins().fcmp(FloatCC::LessThan, y, zero);
                let differ = self.b.ins().bxor(below, divisor_below);
                let adjust = self.b.ins().band(some, differ);
                let moved = self.b.ins().fadd(rem, y);
                self.b.ins().select(adjust, moved, rem)
            }
            _ => return None,
        })
    }

    /// The exact remainder with the dividend's sign: multiples of the divisor, each by a power of two, are taken away
    /// from the largest down, which is exact.
    fn float_rem(&mut self, x: Value, y: Value) -> Value {
        let ty = self.b.func.dfg.value_type(x);
        let single = ty == types::F32;
        let (wx, wy) =
            if single { (self.b.ins().fpromote(types::F64, x), self.b.ins().fpromote(types::F64, y)) } else { (x, y) };
        let (a, d) = (self.b.ins().fabs(wx), self.b.ins().fabs(wy));
        // The bit pattern trick below needs normal numbers.
        let constant = |l: &mut Self, value: f64| l.b.ins().f64const(value);
        let (tiny, one) = (constant(self, 2f64.powi(-1000)), constant(self, 1.0));
        let (up, down) = (constant(self, 2f64.powi(100)), constant(self, 2f64.powi(-100)));
        let small = self.b.ins().fcmp(FloatCC::LessThan, d, tiny);
        let scale = self.b.ins().select(small, up, one);
        let unscale = self.b.ins().select(small, down, one);
        let (a, d) = (self.b.ins().fmul(a, scale), self.b.ins().fmul(d, scale));
        let (infinity, zero) = (constant(self, f64::INFINITY), constant(self, 0.0));
        let finite = self.b.ins().fcmp(FloatCC::LessThan, a, infinity);
        let positive = self.b.ins().fcmp(FloatCC::GreaterThan, d, zero);
        let defined = self.b.ins().band(finite, positive);
        // Without a meaning the loop does not run.
        let start = self.b.ins().select(defined, a, zero);
        let [header, inside, after] = [(); 3].map(|()| self.b.create_block());
        let rest = self.b.append_block_param(header, types::F64);
        self.b.ins().jump(header, &[start.into()]);
        self.b.switch_to_block(header);
        let more = self.b.ins().fcmp(FloatCC::GreaterThanOrEqual, rest, d);
        let go = self.b.ins().band(more, defined);
        self.b.ins().brif(go, inside, &[], after, &[]);
        self.b.switch_to_block(inside);
        let exponent_mask = self.i64(0x7ff0_0000_0000_0000);
        let fraction_mask = self.i64(0x000f_ffff_ffff_ffff);
        let (rest_bits, d_bits) = (self.recast(rest, types::I64), self.recast(d, types::I64));
        let exponent = self.b.ins().band(rest_bits, exponent_mask);
        let fraction = self.b.ins().band(d_bits, fraction_mask);
        let multiple = self.b.ins().bor(exponent, fraction);
        let multiple = self.recast(multiple, types::F64);
        let half = constant(self, 0.5);
        let halved = self.b.ins().fmul(multiple, half);
        let above = self.b.ins().fcmp(FloatCC::GreaterThan, multiple, rest);
        let multiple = self.b.ins().select(above, halved, multiple);
        let next = self.b.ins().fsub(rest, multiple);
        self.b.ins().jump(header, &[next.into()]);
        self.b.switch_to_block(after);
        let rem = self.b.ins().fmul(rest, unscale);
        let rem = self.copy_sign(rem, wx);
        let nan = constant(self, f64::NAN);
        let unordered = self.b.ins().fcmp(FloatCC::Unordered, a, d);
        let undefined = self.b.ins().bnot(defined);
        let bad = self.b.ins().bor(undefined, unordered);
        let one = self.b.ins().iconst(types::I8, 1);
        let bad = self.b.ins().band(bad, one);
        let rem = self.b.ins().select(bad, nan, rem);
        if single { self.b.ins().fdemote(types::F32, rem) } else { rem }
    }

    /// Arithmetic of integers and bools; `None` when it has no form for these lanes.
    fn int(&mut self, op: BinaryOp, dtype: DType, x: Value, y: Value, lanes: u32) -> Option<Value> {
        let narrow = lanes > 1 && dtype.size() < 4 && dtype != DType::Bool;
        // The greater of two masks is their union.
        let op = match (op, dtype) {
            (BinaryOp::Max, DType::Bool) => BinaryOp::Or,
            (BinaryOp::Min, DType::Bool) => BinaryOp::And,
            _ => op,
        };
        if lanes > 1 {
            // In lanes, narrow values are extended: only what keeps them so is done at once.
            let direct = match op {
                BinaryOp::And | BinaryOp::Or | BinaryOp::Xor => true,
                BinaryOp::Max | BinaryOp::Min => lanes == 4,
                BinaryOp::Add | BinaryOp::Sub => !narrow,
                BinaryOp::Mul => !narrow && lanes == 4,
                _ => false,
            };
            if !direct {
                return None;
            }
        }
        let signed = dtype.is_signed() || narrow;
        Some(match op {
            BinaryOp::Add => self.b.ins().iadd(x, y),
            BinaryOp::Sub => self.b.ins().isub(x, y),
            BinaryOp::Mul => self.b.ins().imul(x, y),
            BinaryOp::And => self.b.ins().band(x, y),
            BinaryOp::Or => self.b.ins().bor(x, y),
            BinaryOp::Xor => self.b.ins().bxor(x, y),
            BinaryOp::Max if signed => self.b.ins().smax(x, y),
            BinaryOp::Max => self.b.ins().umax(x, y),
            BinaryOp::Min if signed => self.b.ins().smin(x, y),
            BinaryOp::Min => self.b.ins().umin(x, y),
            BinaryOp::Div | BinaryOp::Rem | BinaryOp::Mod => self.divide(op, dtype, x, y),
            BinaryOp::Shl | BinaryOp::Shr => self.shift(op, dtype, x, y),
            _ => return None,
        })
    }

    /// Division that never traps: by zero it yields 0, the lowest number by -1 wraps.
    fn divide(&mut self, op: BinaryOp, dtype: DType, x: Value, y: Value) -> Value {
        let ty = scalar_type(dtype);
        // Narrow division instructions are slow and rare; 32 bits serve.
        let narrow = ty.bits() < 32;
        let extend = |l: &mut Self, v: Value| match (narrow, dtype.is_signed()) {
            (true, true) => l.b.ins().sextend(types::I32, v),
            (true, false) => l.b.ins().uextend(types::I32, v),
            _ => v,
        };
        let (a, d) = (extend(self, x), extend(self, y));
        let wide = self.b.func.dfg.value_type(a);
        let zero = self.b.ins().iconst(wide, 0);
        let (q, ok) = if dtype.is_signed() {
            safe_sdiv(&mut self.b, a, d)
        } else {
            let one = self.b.ins().iconst(wide, 1);
            let ok = self.b.ins().icmp(IntCC::NotEqual, d, zero);
            let safe = self.b.ins().select(ok, d, one);
            (self.b.ins().udiv(a, safe), ok)
        };
        let result = if op == BinaryOp::Div {
            q
        } else {
            let back = self.b.ins().imul(q, d);
            let rem = self.b.ins().isub(a, back);
            if op == BinaryOp::Mod && dtype.is_signed() {
                let differ = self.b.ins().bxor(rem, d);
                let opposite = self.b.ins().icmp(IntCC::SignedLessThan, differ, zero);
                let some = self.b.ins().icmp(IntCC::NotEqual, rem, zero);
                let adjust = self.b.ins().band(opposite, some);
                let by = self.b.ins().select(adjust, d, zero);
                self.b.ins().iadd(rem, by)
            } else {
                rem
            }
        };
        let result = self.b.ins().select(ok, result, zero);
        if narrow { self.b.ins().ireduce(ty, result) } else { result }
    }

    /// Shifts by the width or more leave nothing but the sign.
    fn shift(&mut self, op: BinaryOp, dtype: DType, x: Value, y: Value) -> Value {
        let ty = scalar_type(dtype);
        let width = self.b.ins().iconst(ty, i64::from(ty.bits()));
        let fits = self.b.ins().icmp(IntCC::UnsignedLessThan, y, width);
        let most = self.b.ins().iconst(ty, i64::from(ty.bits()) - 1);
        let zero = self.b.ins().iconst(ty, 0);
        let amount = self.b.ins().select(fits, y, most);
        if op == BinaryOp::Shr && dtype.is_signed() {
            return self.b.ins().sshr(x, amount);
        }
        let shifted = if op == BinaryOp::Shl { self.b.ins().ishl(x, amount) } else { self.b.ins().ushr(x, amount) };
        self.b.ins().select(fits, shifted, zero)
    }

    pub(super) fn shift_lanes(
        &mut self,
        op: BinaryOp,
        dtype: DType,
        x: Value,
        amount: Scalar,
        lanes: u32,
    ) -> Result<Value, CodegenError> {
        let width = if lanes == 2 { 64 } else { 32 };
        if dtype.size() * 8 != width || amount.bits >= width as u64 {
            return self.by_lane(&[(x, dtype)], dtype, lanes, |l, v| {
                let y = l.constant(amount);
                Ok(l.shift(op, dtype, v[0], y))
            });
        }
        let by = self.b.ins().iconst(types::I32, amount.bits as i64);
        Ok(match op {
            BinaryOp::Shl => self.b.ins().ishl(x, by),
            _ if dtype.is_signed() => self.b.ins().sshr(x, by),
            _ => self.b.ins().ushr(x, by),
        })
    }
}

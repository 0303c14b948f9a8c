//! Elementary expressions, in one lane or several.

use super::kernel::{Binding, Lower, scalar_type};
use super::vector::lane_type;
use crate::error::CodegenError;
use cranelift_codegen::ir::condcodes::FloatCC;
use cranelift_codegen::ir::immediates::{Ieee32, Ieee64};
use cranelift_codegen::ir::{InstBuilder, Value, types};
use nnc_ir::DType;
use nnc_ir::op::{BinaryOp, UnaryOp};
use nnc_kernels::{BufferRef, Expr, Scalar};

impl Lower<'_, '_> {
    /// The value of an expression, in one register for all lanes.
    pub(super) fn expr(&mut self, e: &Expr, lanes: u32) -> Result<Value, CodegenError> {
        if lanes > 1 && !self.varies(e) {
            let value = self.expr(e, 1)?;
            return Ok(self.splat(value, self.kernel.dtype(e), lanes));
        }
        match e {
            Expr::Const(s) => Ok(self.constant(*s)),
            Expr::Var(var) => match self.env.get(*var) {
                Some(Binding::Lanes(value)) => Ok(value),
                Some(Binding::Uniform(value)) => Ok(self.splat(value, self.kernel.var_dtype(*var), lanes)),
                Some(Binding::Mutable(variable)) => Ok(self.b.use_var(variable)),
                None => self.refuse(format!("variable {} has no value", self.kernel.vars[var.0 as usize].name)),
            },
            Expr::Index(index) => Ok(self.index(index)),
            Expr::Load(buffer, index) => {
                let (address, offset) = self.address(*buffer, index);
                Ok(self.load(self.dtype_of(*buffer), address, offset, lanes))
            }
            Expr::LoadIf { condition, buffer, index, otherwise } => {
                self.load_if(condition, *buffer, index, otherwise, lanes)
            }
            Expr::Unary(op, x) => {
                let value = self.expr(x, lanes)?;
                self.unary(*op, self.kernel.dtype(x), value, lanes)
            }
            Expr::Binary(op @ (BinaryOp::Shl | BinaryOp::Shr), x, y) if lanes > 1 => {
                let value = self.expr(x, lanes)?;
                let Expr::Const(amount) = **y else { return self.refuse("a shift that varies between lanes") };
                self.shift_lanes(*op, self.kernel.dtype(x), value, amount, lanes)
            }
            Expr::Binary(op, x, y) => {
                let (a, b) = (self.expr(x, lanes)?, self.expr(y, lanes)?);
                self.binary(*op, self.kernel.dtype(x), a, b, lanes)
            }
            Expr::MulAdd(x, y, z) => {
                let (x, y, z) = (self.expr(x, lanes)?, self.expr(y, lanes)?, self.expr(z, lanes)?);
                Ok(self.mul_add(x, y, z))
            }
            Expr::Select(c, x, y) => {
                let c = self.expr(c, lanes)?;
                let (x, y) = (self.expr(x, lanes)?, self.expr(y, lanes)?);
                Ok(self.select(c, x, y))
            }
            Expr::Convert(to, x) => {
                let value = self.expr(x, lanes)?;
                self.convert(self.kernel.dtype(x), *to, value, lanes)
            }
            Expr::Bitcast(to, x) => {
                let value = self.expr(x, lanes)?;
                let seen = self.recast(value, lane_type(*to, lanes));
                Ok(if lanes > 1 { self.extend_again(seen, self.kernel.dtype(x), *to) } else { seen })
            }
        }
    }

    fn dtype_of(&self, buffer: BufferRef) -> DType {
        self.kernel.buffers[buffer.0 as usize].dtype
    }

    /// A scalar constant.
    pub(super) fn constant(&mut self, s: Scalar) -> Value {
        match s.dtype {
            DType::F32 => self.b.ins().f32const(Ieee32::with_bits(s.bits as u32)),
            DType::F64 => self.b.ins().f64const(Ieee64::with_bits(s.bits)),
            _ => {
                let mask = if s.dtype.size() == 8 { u64::MAX } else { (1 << (8 * s.dtype.size())) - 1 };
                self.b.ins().iconst(scalar_type(s.dtype), (s.bits & mask) as i64)
            }
        }
    }

    /// `a * b + c` of floats.
    pub(super) fn mul_add(&mut self, x: Value, y: Value, z: Value) -> Value {
        if self.abilities.fma {
            return self.b.ins().fma(x, y, z);
        }
        let product = self.b.ins().fmul(x, y);
        self.b.ins().fadd(product, z)
    }

    pub(super) fn select(&mut self, c: Value, x: Value, y: Value) -> Value {
        let ty = self.b.func.dfg.value_type(x);
        if !ty.is_vector() {
            return self.b.ins().select(c, x, y);
        }
        let c = self.recast(c, ty);
        self.b.ins().bitselect(c, x, y)
    }

    fn load_if(
        &mut self,
        condition: &Expr,
        buffer: BufferRef,
        index: &nnc_kernels::Index,
        otherwise: &Expr,
        lanes: u32,
    ) -> Result<Value, CodegenError> {
        let dtype = self.dtype_of(buffer);
        let condition = self.expr(condition, 1)?;
        let otherwise = self.expr(otherwise, lanes)?;
        let (inside, after) = (self.b.create_block(), self.b.create_block());
        let result = self.b.append_block_param(after, lane_type(dtype, lanes));
        self.b.ins().brif(condition, inside, &[], after, &[otherwise.into()]);
        self.b.switch_to_block(inside);
        let (address, offset) = self.address(buffer, index);
        let varies = self.varying.as_ref().is_some_and(|v| v.index(index));
        let loaded = if lanes > 1 && !varies {
            let one = self.load(dtype, address, offset, 1);
            self.splat(one, dtype, lanes)
        } else {
            self.load(dtype, address, offset, lanes)
        };
        self.b.ins().jump(after, &[loaded.into()]);
        self.b.switch_to_block(after);
        Ok(result)
    }

    fn unary(&mut self, op: UnaryOp, dtype: DType, x: Value, lanes: u32) -> Result<Value, CodegenError> {
        if lanes > 1 && dtype.is_int() && dtype.size() < 4 {
            return self.by_lane(&[(x, dtype)], dtype, lanes, |l, v| l.unary(op, dtype, v[0], 1));
        }
        Ok(match op {
            UnaryOp::Neg if dtype.is_float() => self.b.ins().fneg(x),
            UnaryOp::Neg => self.b.ins().ineg(x),
            UnaryOp::Abs if dtype.is_float() => self.b.ins().fabs(x),
            UnaryOp::Abs if dtype.is_signed() => self.b.ins().iabs(x),
            UnaryOp::Abs => x,
            UnaryOp::Sqrt => self.b.ins().sqrt(x),
            UnaryOp::Recip => {
                let one = self.constant(Scalar::new(dtype, 1.0));
                let one = self.splat(one, dtype, lanes);
                self.b.ins().fdiv(one, x)
            }
            UnaryOp::Floor | UnaryOp::Ceil | UnaryOp::Round | UnaryOp::Trunc => self.round(op, dtype, x, lanes),
            UnaryOp::Not if lanes > 1 => self.b.ins().bnot(x),
            UnaryOp::Not => {
                let one = self.b.ins().iconst(types::I8, 1);
                self.b.ins().bxor(x, one)
            }
            UnaryOp::BitNot => self.b.ins().bnot(x),
            _ => return self.refuse(format!("the function {op:?} was not expanded")),
        })
    }

    fn round(&mut self, op: UnaryOp, dtype: DType, x: Value, lanes: u32) -> Value {
        if self.abilities.round {
            return match op {
                UnaryOp::Floor => self.b.ins().floor(x),
                UnaryOp::Ceil => self.b.ins().ceil(x),
                UnaryOp::Trunc => self.b.ins().trunc(x),
                _ => self.b.ins().nearest(x),
            };
        }
        // Adding and taking away 2^23 (2^52) rounds half to even; larger numbers have no fraction, NaN stays.
        let constant = |l: &mut Self, value: f64| {
            let c = l.constant(Scalar::new(dtype, value));
            l.splat(c, dtype, lanes)
        };
        let magic = constant(self, if dtype == DType::F32 { 8_388_608.0 } else { 4_503_599_627_370_496.0 });
        let a = self.b.ins().fabs(x);
        let sum = self.b.ins().fadd(a, magic);
        let rounded = self.b.ins().fsub(sum, magic);
        let small = self.b.ins().fcmp(FloatCC::LessThan, a, magic);
        let (zero, one) = (constant(self, 0.0), constant(self, 1.0));
        // For `Trunc` on the magnitude, for the others on the number with its sign.
        let signed = if op == UnaryOp::Trunc { rounded } else { self.copy_sign(rounded, x) };
        let adjusted = match op {
            UnaryOp::Floor => {
                let above = self.b.ins().fcmp(FloatCC::GreaterThan, signed, x);
                let by = self.select(above, one, zero);
                self.b.ins().fsub(signed, by)
            }
            UnaryOp::Ceil => {
                let below = self.b.ins().fcmp(FloatCC::LessThan, signed, x);
                let by = self.select(below, one, zero);
                self.b.ins().fadd(signed, by)
            }
            UnaryOp::Trunc => {
                let above = self.b.ins().fcmp(FloatCC::GreaterThan, signed, a);
                let by = self.select(above, one, zero);
                self.b.ins().fsub(signed, by)
            }
            _ => signed,
        };
        // A result of zero keeps the operand's sign.
        let adjusted = self.copy_sign(adjusted, x);
        self.select(small, adjusted, x)
    }

    /// The magnitude of one number with the sign of another.
    pub(super) fn copy_sign(&mut self, magnitude: Value, sign: Value) -> Value {
        let ty = self.b.func.dfg.value_type(magnitude);
        let (int, bits) = match ty {
            types::F32 => (types::I32, 0x8000_0000u64),
            types::F32X4 => (types::I32X4, 0x8000_0000),
            types::F64 => (types::I64, 1 << 63),
            _ => (types::I64X2, 1 << 63),
        };
        let mask = self.b.ins().iconst(int.lane_type(), bits as i64);
        let mask = if int.is_vector() { self.b.ins().splat(int, mask) } else { mask };
        let (m, s) = (self.recast(magnitude, int), self.recast(sign, int));
        let s = self.b.ins().band(s, mask);
        let m = self.b.ins().band_not(m, mask);
        let both = self.b.ins().bor(m, s);
        self.recast(both, ty)
    }
}

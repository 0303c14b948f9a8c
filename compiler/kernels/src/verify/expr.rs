//! Types of expressions: rules 5, 6 and 13.

use super::{Check, Checker, MAX_DEPTH, Problem, ensure};
use crate::kernel::{Expr, Scalar};
use crate::ops;
use nnc_ir::DType;

impl Checker<'_> {
    /// Type of an expression.
    pub(super) fn expr(&self, expr: &Expr) -> Check<DType> {
        self.typed(expr, 0)
    }

    fn typed(&self, expr: &Expr, depth: u32) -> Check<DType> {
        ensure(depth <= MAX_DEPTH, 13, || "an expression is nested too deeply".to_owned())?;
        let operand = |x: &Expr| self.typed(x, depth + 1);
        match expr {
            Expr::Const(value) => constant(*value),
            Expr::Var(var) => self.var(*var),
            Expr::Index(index) => self.index(index).map(|()| DType::I64),
            Expr::Load(buffer, index) => {
                self.index(index)?;
                self.buffer(*buffer).map(|decl| decl.dtype)
            }
            Expr::Unary(op, x) => {
                let dtype = operand(x)?;
                let name = op.name();
                ensure(ops::unary_accepts(*op, dtype), 6, || format!("{name} is not defined on {dtype}"))?;
                Ok(op.result(dtype))
            }
            Expr::Binary(op, x, y) => {
                let dtype = operand(x)?;
                same(dtype, operand(y)?)?;
                let name = op.name();
                ensure(ops::binary_accepts(*op, dtype), 6, || format!("{name} is not defined on {dtype}"))?;
                Ok(op.result(dtype))
            }
            Expr::MulAdd(x, y, z) => {
                let dtype = operand(x)?;
                same(dtype, operand(y)?)?;
                same(dtype, operand(z)?)?;
                let computes = matches!(dtype, DType::F32 | DType::F64);
                ensure(computes, 6, || format!("mul_add is not defined on {dtype}"))?;
                Ok(dtype)
            }
            Expr::Select(condition, x, y) => {
                boolean(operand(condition)?)?;
                let dtype = operand(x)?;
                same(dtype, operand(y)?)?;
                Ok(dtype)
            }
            Expr::LoadIf { condition, buffer, index, otherwise } => {
                boolean(operand(condition)?)?;
                self.index(index)?;
                let decl = self.buffer(*buffer)?;
                same(decl.dtype, operand(otherwise)?)?;
                Ok(decl.dtype)
            }
            Expr::Convert(to, x) => {
                let from = operand(x)?;
                let half = |t: DType| matches!(t, DType::F16 | DType::BF16);
                let sound = !(half(from) && *to != DType::F32 || half(*to) && from != DType::F32);
                ensure(sound, 6, || format!("conversion from {from} to {to} goes by f32"))?;
                Ok(*to)
            }
            Expr::Bitcast(to, x) => {
                let from = operand(x)?;
                let sound = from.size() == to.size() && (*to != DType::Bool || from == DType::Bool);
                ensure(sound, 6, || format!("bitcast from {from} to {to}"))?;
                Ok(*to)
            }
        }
    }
}

fn constant(value: Scalar) -> Check<DType> {
    let dtype = value.dtype;
    let fits = match dtype {
        DType::Bool => value.bits <= 1,
        _ => dtype.size() == 8 || value.bits >> (8 * dtype.size()) == 0,
    };
    ensure(fits, 6, || format!("{:#x} is no constant of {dtype}", value.bits))?;
    Ok(dtype)
}

fn same(x: DType, y: DType) -> Check {
    if x == y { Ok(()) } else { Err(Problem(6, format!("operands are {x} and {y}"))) }
}

fn boolean(dtype: DType) -> Check {
    ensure(dtype == DType::Bool, 7, || format!("the condition is {dtype}"))
}

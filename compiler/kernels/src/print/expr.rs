//! The text form of expressions and constants.

use super::Printer;
use crate::kernel::{Expr, Scalar};
use nnc_ir::DType;
use std::fmt::Write;

impl Printer<'_> {
    pub(super) fn expr(&mut self, expr: &Expr) {
        match expr {
            Expr::Const(value) => self.push(&scalar(*value)),
            Expr::Var(var) => self.var(*var),
            Expr::Index(index) => {
                self.push("index(");
                self.index(index);
                self.push(")");
            }
            Expr::Load(buffer, index) => {
                self.push("load ");
                self.element(*buffer, index);
            }
            Expr::Unary(op, x) => self.call(op.name(), &[x]),
            Expr::Binary(op, x, y) => self.call(op.name(), &[x, y]),
            Expr::MulAdd(x, y, z) => self.call("mul_add", &[x, y, z]),
            Expr::Select(condition, x, y) => self.call("select", &[condition, x, y]),
            Expr::LoadIf { condition, buffer, index, otherwise } => {
                self.push("load_if(");
                self.expr(condition);
                self.push(", ");
                self.element(*buffer, index);
                self.push(", ");
                self.expr(otherwise);
                self.push(")");
            }
            Expr::Convert(to, x) => self.call(&format!("convert.{to}"), &[x]),
            Expr::Bitcast(to, x) => self.call(&format!("bitcast.{to}"), &[x]),
        }
    }

    fn call(&mut self, function: &str, operands: &[&Expr]) {
        let _ = write!(self.out, "{function}(");
        for (i, operand) in operands.iter().enumerate() {
            self.push(if i == 0 { "" } else { ", " });
            self.expr(operand);
        }
        self.push(")");
    }
}

/// The value of a floating-point constant, exactly.
fn float(value: Scalar) -> f64 {
    match value.dtype {
        DType::F16 => half::f16::from_bits(value.bits as u16).to_f64(),
        DType::BF16 => half::bf16::from_bits(value.bits as u16).to_f64(),
        DType::F32 => f64::from(f32::from_bits(value.bits as u32)),
        _ => f64::from_bits(value.bits),
    }
}

/// The text of a constant: `0.5f32`, `-1i8`, `true`, `inf.f16`, and bits where there is no other.
pub(crate) fn scalar(value: Scalar) -> String {
    let dtype = value.dtype;
    let text = match dtype {
        DType::Bool if value.bits <= 1 => return (value.bits == 1).to_string(),
        DType::Bool => None,
        DType::F16 | DType::BF16 | DType::F32 | DType::F64 => {
            let number = float(value);
            if number.is_nan() {
                // Other NaNs are told apart by their bits.
                return if value == Scalar::new(dtype, f64::NAN) {
                    format!("nan.{dtype}")
                } else {
                    format!("bits.{dtype}({:#x})", value.bits)
                };
            }
            if number.is_infinite() {
                return format!("{}inf.{dtype}", if number < 0.0 { "-" } else { "" });
            }
            // The shortest text that reads back: for narrow types as `f32`, which holds them exactly.
            Some(if dtype == DType::F64 { format!("{number:?}") } else { format!("{:?}", number as f32) })
        }
        DType::I8 => Some((value.bits as i8).to_string()),
        DType::I16 => Some((value.bits as i16).to_string()),
        DType::I32 => Some((value.bits as i32).to_string()),
        DType::I64 => Some((value.bits as i64).to_string()),
        DType::U8 | DType::U16 | DType::U32 | DType::U64 => Some(value.bits.to_string()),
    };
    let fits = dtype.size() == 8 || value.bits >> (8 * dtype.size()) == 0;
    match text {
        Some(text) if fits => format!("{text}{dtype}"),
        _ => format!("bits.{dtype}({:#x})", value.bits),
    }
}

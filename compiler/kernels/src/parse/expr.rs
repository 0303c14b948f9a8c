//! Expressions and constants.

use super::{Parsed, Parser, is_word};
use crate::kernel::{Expr, Scalar};
use nnc_ir::DType;
use nnc_ir::op::{BinaryOp, UnaryOp};

impl Parser<'_> {
    pub(super) fn expr(&mut self) -> Parsed<Expr> {
        self.deeper(Self::nested_expr)
    }

    fn nested_expr(&mut self) -> Parsed<Expr> {
        self.skip_space();
        if self.rest.starts_with(|c: char| c.is_ascii_digit() || c == '-') {
            return self.number();
        }
        if self.rest.starts_with('"') {
            return self.variable();
        }
        let word = self.peek();
        let after = self.rest[word.len()..].trim_start();
        let (stem, suffix) = word.split_once('.').unwrap_or((word, ""));
        match stem {
            "true" | "false" if suffix.is_empty() => {
                self.rest = &self.rest[word.len()..];
                return Ok(Expr::Const(Scalar { dtype: DType::Bool, bits: u64::from(word == "true") }));
            }
            "load" => {
                self.rest = &self.rest[word.len()..];
                let (buffer, index) = self.element()?;
                return Ok(Expr::Load(buffer, index));
            }
            "inf" | "nan" => {
                let value = if stem == "inf" { f64::INFINITY } else { f64::NAN };
                let dtype = self.suffix(suffix)?;
                self.rest = &self.rest[word.len()..];
                return Ok(Expr::constant(dtype, value));
            }
            "bits" => {
                let dtype = self.suffix(suffix)?;
                self.rest = &self.rest[word.len()..];
                self.expect("(")?;
                let digits = self.peek();
                let bits = digits.strip_prefix("0x").and_then(|hex| u64::from_str_radix(hex, 16).ok());
                let Some(bits) = bits else { return Err(self.error("expected hexadecimal bits")) };
                self.rest = &self.rest[digits.len()..];
                self.expect(")")?;
                return Ok(Expr::Const(Scalar { dtype, bits }));
            }
            _ => {}
        }
        if !after.starts_with('(') {
            return self.variable();
        }
        self.call(word, stem, suffix)
    }

    fn suffix(&self, suffix: &str) -> Parsed<DType> {
        DType::from_name(suffix).ok_or_else(|| self.error("expected a type after the dot"))
    }

    fn variable(&mut self) -> Parsed<Expr> {
        let name = self.name()?;
        Ok(Expr::Var(self.find(&name)?))
    }

    /// A function and its operands.
    fn call(&mut self, word: &str, stem: &str, suffix: &str) -> Parsed<Expr> {
        let function = match (stem, suffix) {
            ("convert", dtype) => Function::Convert(self.suffix(dtype)?),
            ("bitcast", dtype) => Function::Bitcast(self.suffix(dtype)?),
            ("index", "") => Function::Index,
            ("load_if", "") => Function::LoadIf,
            ("select", "") => Function::Select,
            ("mul_add", "") => Function::MulAdd,
            (name, "") if let Some(op) = UnaryOp::from_name(name) => Function::Unary(op),
            (name, "") if let Some(op) = BinaryOp::from_name(name) => Function::Binary(op),
            _ => return Err(self.error("unknown function")),
        };
        self.rest = &self.rest[word.len()..];
        self.expect("(")?;
        let result = match function {
            Function::Index => Expr::Index(self.index_until(&[")"])?),
            Function::Convert(to) => Expr::Convert(to, self.boxed()?),
            Function::Bitcast(to) => Expr::Bitcast(to, self.boxed()?),
            Function::Unary(op) => Expr::Unary(op, self.boxed()?),
            Function::Binary(op) => Expr::Binary(op, self.boxed()?, self.next()?),
            Function::MulAdd => Expr::MulAdd(self.boxed()?, self.next()?, self.next()?),
            Function::Select => Expr::Select(self.boxed()?, self.next()?, self.next()?),
            Function::LoadIf => {
                let condition = self.boxed()?;
                self.expect(",")?;
                let (buffer, index) = self.element()?;
                Expr::LoadIf { condition, buffer, index, otherwise: self.next()? }
            }
        };
        self.expect(")")?;
        Ok(result)
    }

    fn boxed(&mut self) -> Parsed<Box<Expr>> {
        self.expr().map(Box::new)
    }

    /// A comma and an operand.
    fn next(&mut self) -> Parsed<Box<Expr>> {
        self.expect(",")?;
        self.boxed()
    }

    /// A number with its type: `0.5f32`, `-1i8`, `1e-8f64`; also `-inf.f32`.
    fn number(&mut self) -> Parsed<Expr> {
        if let Some(rest) = self.rest.strip_prefix("-inf.") {
            let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            let dtype = self.suffix(&rest[..end])?;
            self.rest = &rest[end..];
            return Ok(Expr::constant(dtype, f64::NEG_INFINITY));
        }
        let sign = usize::from(self.rest.starts_with('-'));
        let mut end = sign;
        let bytes = self.rest.as_bytes();
        // A sign is part of the number only after the exponent's `e`.
        while let Some(&b) = bytes.get(end) {
            let exponent_sign = b == b'-' && end > sign && bytes[end - 1] == b'e';
            if !(is_word(char::from(b)) || exponent_sign) {
                break;
            }
            end += 1;
        }
        let token = &self.rest[..end];
        let split = DType::ALL.iter().filter_map(|&t| Some((token.strip_suffix(t.name())?, t)));
        // `bf16` ends in `f16`: the longest type name counts.
        let Some((digits, dtype)) = split.min_by_key(|(digits, _)| digits.len()) else {
            return Err(self.error("expected a number with its type"));
        };
        let Some(bits) = bits_of(digits, dtype) else { return Err(self.error(format!("no number of type {dtype}"))) };
        self.rest = &self.rest[end..];
        Ok(Expr::Const(Scalar { dtype, bits }))
    }
}

enum Function {
    Convert(DType),
    Bitcast(DType),
    Index,
    LoadIf,
    Select,
    MulAdd,
    Unary(UnaryOp),
    Binary(BinaryOp),
}

/// The bits of a written number; `None` when it is none of this type.
fn bits_of(digits: &str, dtype: DType) -> Option<u64> {
    Some(match dtype {
        DType::Bool => return None,
        DType::U8 => u64::from(digits.parse::<u8>().ok()?),
        DType::U16 => u64::from(digits.parse::<u16>().ok()?),
        DType::U32 => u64::from(digits.parse::<u32>().ok()?),
        DType::U64 => digits.parse::<u64>().ok()?,
        DType::I8 => u64::from(digits.parse::<i8>().ok()? as u8),
        DType::I16 => u64::from(digits.parse::<i16>().ok()? as u16),
        DType::I32 => u64::from(digits.parse::<i32>().ok()? as u32),
        DType::I64 => digits.parse::<i64>().ok()? as u64,
        DType::F16 => u64::from(half::f16::from_f32(digits.parse::<f32>().ok()?).to_bits()),
        DType::BF16 => u64::from(half::bf16::from_f32(digits.parse::<f32>().ok()?).to_bits()),
        DType::F32 => u64::from(digits.parse::<f32>().ok()?.to_bits()),
        DType::F64 => digits.parse::<f64>().ok()?.to_bits(),
    })
}

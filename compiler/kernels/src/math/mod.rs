//! Transcendental functions written out in elementary operations, before either instruction selector sees a kernel.
//!
//! [`expand`] rewrites expressions into expressions; values needed twice become `Let`s before the statement. What is
//! left for instruction selectors is this set:
//!
//! - unary `Neg`, `Abs`, `Sqrt`, `Floor`, `Ceil`, `Round`, `Trunc`, `Not`, `BitNot`, `Recip`;
//! - binary `Add`, `Sub`, `Mul`, `Div`, `Max`, `Min`, `And`, `Or`, `Xor`, `Shl`, `Shr`, comparisons, and `Rem`, `Mod`;
//! - `Select`, `MulAdd`, `Load`, `LoadIf`, `Convert`, `Bitcast`, `Const`, `Var`, `Index`.
//!
//! Functions of `f32` that models spend time in (see `single`) use only `f32` and `i32`, so that vector loops keep
//! their lanes; the others go through `f64` (see `double`).
//!
//! Invariants: the rewritten kernel computes the same up to the error bounds stated in `single` and `double`;
//! `f32` functions do not depend on fused multiply-add; no expression is evaluated that the kernel did not evaluate
//! (loads stay under their `Expr::LoadIf`; the two sides of a `Select` may be evaluated anyway).

mod build;
mod double;
mod erf_table;
mod integer;
mod single;
#[cfg(test)]
mod tests;

use crate::kernel::Index;
use crate::{Expr, Kernel, Stmt};
use build::{Lets, X};
use nnc_ir::DType;
use nnc_ir::op::{BinaryOp, UnaryOp};

/// The kernel with every function outside the elementary set written out.
pub fn expand(kernel: &Kernel) -> Kernel {
    let mut out = kernel.clone();
    let body = std::mem::take(&mut out.body);
    out.body = block(&mut out, body);
    out
}

fn block(kernel: &mut Kernel, stmts: Vec<Stmt>) -> Vec<Stmt> {
    let mut out = Vec::with_capacity(stmts.len());
    for stmt in stmts {
        let stmt = statement(kernel, &mut out, stmt);
        out.push(stmt);
    }
    out
}

/// The statement rewritten; what it needs before it goes to `out`.
fn statement(kernel: &mut Kernel, out: &mut Vec<Stmt>, stmt: Stmt) -> Stmt {
    let mut rewrite = |kernel: &mut Kernel, e: Expr| expression(&mut Lets { kernel, stmts: out }, e);
    match stmt {
        Stmt::Let(var, e) => Stmt::Let(var, rewrite(kernel, e)),
        Stmt::Store(buffer, index, e) => Stmt::Store(buffer, index, rewrite(kernel, e)),
        Stmt::Mutable(var, e) => Stmt::Mutable(var, rewrite(kernel, e)),
        Stmt::Assign(var, e) => Stmt::Assign(var, rewrite(kernel, e)),
        Stmt::For(l, body) => Stmt::For(l, block(kernel, body)),
        Stmt::If(condition, then, otherwise) => {
            let condition = rewrite(kernel, condition);
            Stmt::If(condition, block(kernel, then), block(kernel, otherwise))
        }
        Stmt::Reduce(l, body, mut accumulators) => {
            for a in &mut accumulators {
                a.init = rewrite(kernel, a.init.clone());
            }
            let mut body = block(kernel, body);
            for a in &mut accumulators {
                a.value = expression(&mut Lets { kernel, stmts: &mut body }, a.value.clone());
            }
            Stmt::Reduce(l, body, accumulators)
        }
        Stmt::While(condition, body) => {
            let mut before = vec![];
            let first = expression(&mut Lets { kernel, stmts: &mut before }, condition.clone());
            let mut body = block(kernel, body);
            if before.is_empty() {
                return Stmt::While(first, body);
            }
            // The condition needs statements of its own: it is computed once before and again after each iteration.
            let holds = kernel.add_var("holds", DType::Bool, 0, 1);
            out.append(&mut before);
            out.push(Stmt::Mutable(holds, first));
            let again = expression(&mut Lets { kernel, stmts: &mut body }, condition);
            body.push(Stmt::Assign(holds, again));
            Stmt::While(Expr::Var(holds), body)
        }
        Stmt::Contract(mut c) => {
            c.epilogue.body = block(kernel, std::mem::take(&mut c.epilogue.body));
            Stmt::Contract(c)
        }
        Stmt::Fail(status) => Stmt::Fail(status),
    }
}

fn expression(b: &mut Lets<'_>, mut e: Expr) -> Expr {
    match e {
        Expr::Unary(op, x) => {
            let x = typed(b, *x);
            unary(b, op, x).expr
        }
        Expr::Binary(op, x, y) => {
            let (x, y) = (typed(b, *x), typed(b, *y));
            binary(b, op, x, y).expr
        }
        _ => {
            for operand in e.operands_mut() {
                let inner = std::mem::replace(operand, Expr::Index(Index::ZERO));
                *operand = expression(b, inner);
            }
            e
        }
    }
}

fn typed(b: &mut Lets<'_>, e: Expr) -> X {
    let dtype = b.kernel.dtype(&e);
    X::new(expression(b, e), dtype)
}

/// A function of `f32` by way of `f64`.
fn widened(b: &mut Lets<'_>, x: X, function: fn(&mut Lets<'_>, X) -> X) -> X {
    match x.dtype {
        DType::F32 => function(b, x.convert(DType::F64)).convert(DType::F32),
        _ => function(b, x),
    }
}

fn unary(b: &mut Lets<'_>, op: UnaryOp, x: X) -> X {
    use UnaryOp::*;
    let by_type = |b: &mut Lets<'_>, x: X, f32: fn(&mut Lets<'_>, X) -> X, f64: fn(&mut Lets<'_>, X) -> X| {
        if x.dtype == DType::F32 { f32(b, x) } else { f64(b, x) }
    };
    match op {
        Neg | Abs | Floor | Ceil | Round | Trunc | Sqrt | Recip | Not | BitNot => x.unary(op),
        Sign => {
            let x = b.share(x);
            let zero = x.like(0.0);
            let below = if x.dtype.is_signed() {
                x.clone().lt(zero.clone()).select(x.like(-1.0), x.clone())
            } else {
                x.clone()
            };
            zero.lt(x.clone()).select(x.like(1.0), below)
        }
        Rsqrt => x.unary(Sqrt).unary(Recip),
        IsNan if !x.dtype.is_float() => X::int(DType::Bool, 0),
        IsInf if !x.dtype.is_float() => X::int(DType::Bool, 0),
        IsNan => {
            let x = b.share(x);
            x.clone().binary(BinaryOp::Ne, x)
        }
        IsInf => {
            let infinity = x.like(f64::INFINITY);
            x.abs().eq(infinity)
        }
        Exp => by_type(b, x, single::exp, double::exp),
        Expm1 => by_type(b, x, single::expm1, double::expm1),
        Log => by_type(b, x, single::log, double::log),
        Log1p => by_type(b, x, single::log1p, double::log1p),
        Sin => by_type(b, x, single::sin, double::sin),
        Cos => by_type(b, x, single::cos, double::cos),
        Tan => by_type(b, x, single::tan, double::tan),
        Tanh => by_type(b, x, single::tanh, double::tanh),
        Erf => by_type(b, x, single::erf, double::erf),
        Sigmoid => by_type(b, x, single::sigmoid, double::sigmoid),
        Asin => widened(b, x, double::asin),
        Acos => widened(b, x, double::acos),
        Atan => widened(b, x, double::atan),
        Sinh => widened(b, x, double::sinh),
        Cosh => widened(b, x, double::cosh),
        Asinh => widened(b, x, double::asinh),
        Acosh => widened(b, x, double::acosh),
        Atanh => widened(b, x, double::atanh),
    }
}

fn binary(b: &mut Lets<'_>, op: BinaryOp, x: X, y: X) -> X {
    match op {
        BinaryOp::Pow if x.dtype.is_float() => pow(b, x, y),
        BinaryOp::Pow => integer::pow(b, x, y),
        BinaryOp::Atan2 if x.dtype == DType::F32 => {
            double::atan2(b, x.convert(DType::F64), y.convert(DType::F64)).convert(DType::F32)
        }
        BinaryOp::Atan2 => double::atan2(b, x, y),
        _ => x.binary(op, y),
    }
}

/// A floating power; the usual constant exponents cost what they should.
fn pow(b: &mut Lets<'_>, x: X, y: X) -> X {
    let exponent = match y.expr {
        Expr::Const(s) if s.dtype == DType::F32 => Some(f64::from(f32::from_bits(s.bits as u32))),
        Expr::Const(s) if s.dtype == DType::F64 => Some(f64::from_bits(s.bits)),
        _ => None,
    };
    if exponent == Some(1.0) {
        return x;
    }
    if exponent == Some(-1.0) {
        return x.unary(UnaryOp::Recip);
    }
    if exponent == Some(2.0) {
        let x = b.share(x);
        return &x * &x;
    }
    if exponent == Some(3.0) {
        let x = b.share(x);
        return &x * &x * &x;
    }
    if exponent == Some(0.5) {
        // C99: the power of minus infinity is infinity, that of minus zero is zero.
        let x = b.share(x);
        let root = (&x + 0.0).unary(UnaryOp::Sqrt);
        return x.clone().eq(x.like(f64::NEG_INFINITY)).select(x.like(f64::INFINITY), root);
    }
    if x.dtype == DType::F32 {
        return double::pow(b, x.convert(DType::F64), y.convert(DType::F64)).convert(DType::F32);
    }
    double::pow(b, x, y)
}

//! Questions about statements before lowering them: whether a loop can run in lanes, and how large its body is.
//!
//! Invariant: [`of_loop`] answers `None` whenever lowering in lanes could meet something unsupported; such a loop runs
//! one iteration at a time, in scalar code.

use nnc_ir::op::{BinaryOp, UnaryOp};
use nnc_ir::{DType, Dim};
use nnc_kernels::kernel::Lanes;
use nnc_kernels::{BufferRef, Expr, Stmt, Var, affine};
use std::collections::HashSet;

use super::select::Lower;

/// What is known of the body of a loop that can run in lanes.
pub struct Shape {
    /// Number of operations.
    pub weight: usize,
    /// Whether memory elements other than 32-bit ones are touched along the lanes.
    pub narrow: bool,
    /// Whether loops are inside.
    pub nested: bool,
}

/// How many vectors of a loop of some weight one iteration does.
pub fn unroll(weight: usize) -> usize {
    match weight {
        0..=8 => 4,
        9..=40 => 2,
        _ => 1,
    }
}

/// How many sets of accumulators a vector reduction keeps.
pub fn reduce_copies(weight: usize, accumulators: usize) -> usize {
    match (weight, accumulators) {
        (0..=24, 1..=2) => 4,
        (0..=60, 1..=3) => 2,
        _ => 1,
    }
}

/// The lowest value of an integer type, or the highest.
pub fn int_extreme(dtype: DType, lowest: bool) -> i64 {
    match (dtype, lowest) {
        (DType::Bool, false) => 1,
        (DType::U8, false) => 255,
        (DType::U16, false) => 65535,
        (DType::U32, false) => i64::from(u32::MAX),
        (DType::I8, true) => -128,
        (DType::I8, false) => 127,
        (DType::I16, true) => -32768,
        (DType::I16, false) => 32767,
        (DType::I32, true) => i64::from(i32::MIN),
        (DType::I32, false) => i64::from(i32::MAX),
        (DType::I64, true) => i64::MIN,
        (DType::I64, false) => i64::MAX,
        _ => 0,
    }
}

/// Whether an expression mentions a variable.
pub fn mentions(expr: &Expr, var: Var) -> bool {
    match expr {
        Expr::Const(_) => false,
        Expr::Var(v) => *v == var,
        Expr::Index(d) | Expr::Load(_, d) => affine::mentions(d, var),
        Expr::Unary(_, x) | Expr::Convert(_, x) | Expr::Bitcast(_, x) => mentions(x, var),
        Expr::Binary(_, x, y) => mentions(x, var) || mentions(y, var),
        Expr::MulAdd(x, y, z) | Expr::Select(x, y, z) => mentions(x, var) || mentions(y, var) || mentions(z, var),
        Expr::LoadIf { condition, index, otherwise, .. } => {
            affine::mentions(index, var) || mentions(condition, var) || mentions(otherwise, var)
        }
    }
}

/// Number of operations in an expression.
pub fn expr_weight(expr: &Expr) -> usize {
    match expr {
        Expr::Const(_) | Expr::Var(_) => 0,
        Expr::Index(_) | Expr::Load(..) => 1,
        Expr::Unary(_, x) | Expr::Convert(_, x) | Expr::Bitcast(_, x) => 1 + expr_weight(x),
        Expr::Binary(_, x, y) => 1 + expr_weight(x) + expr_weight(y),
        Expr::MulAdd(x, y, z) | Expr::Select(x, y, z) => 1 + expr_weight(x) + expr_weight(y) + expr_weight(z),
        Expr::LoadIf { condition, otherwise, .. } => 2 + expr_weight(condition) + expr_weight(otherwise),
    }
}

/// Number of operations in statements, loops counted once.
pub fn weight(body: &[Stmt]) -> usize {
    body.iter()
        .map(|s| match s {
            Stmt::Let(_, e) | Stmt::Mutable(_, e) | Stmt::Assign(_, e) => expr_weight(e),
            Stmt::Store(_, _, e) => 1 + expr_weight(e),
            Stmt::For(_, b) => 2 + weight(b),
            Stmt::While(c, b) => 2 + expr_weight(c) + weight(b),
            Stmt::Reduce(_, b, accs) => 2 + weight(b) + accs.iter().map(|a| 1 + expr_weight(&a.value)).sum::<usize>(),
            Stmt::If(c, a, b) => expr_weight(c) + weight(a) + weight(b),
            Stmt::Fail(_) | Stmt::Gemm(_) => 1,
        })
        .sum()
}

/// Whether a loop over `var` can run in lanes, and its shape. `in_lanes` holds one value per lane already.
pub fn of_loop(lower: &Lower<'_>, var: Var, body: &[Stmt], values: &[&Expr], in_lanes: &[Var]) -> Option<Shape> {
    let varying = in_lanes.iter().copied().collect();
    let mut check = Check { lower, axis: var, varying, indices: vec![], narrow: false, nested: false };
    let weight = weight(body) + values.iter().map(|v| 1 + expr_weight(v)).sum::<usize>();
    (check.body(body) && values.iter().all(|v| check.lanes_type(lower.dtype(v)) && check.expr(v))).then_some(Shape {
        weight,
        narrow: check.narrow,
        nested: check.nested,
    })
}

struct Check<'a, 'k> {
    lower: &'a Lower<'k>,
    axis: Var,
    varying: HashSet<Var>,
    /// `Let` indices that differ between lanes.
    indices: Vec<(Var, Dim)>,
    narrow: bool,
    nested: bool,
}

impl Check<'_, '_> {
    fn expand(&self, index: &Dim) -> Dim {
        let index = self.lower.expand(index);
        index.substitute(&|s| self.indices.iter().rev().find(|(v, _)| v.0 == s.0).map(|(_, d)| d.clone()))
    }

    fn varies(&self, expr: &Expr) -> bool {
        match expr {
            Expr::Const(_) => false,
            Expr::Var(v) => self.varying.contains(v) || self.index_varies(&v.index()),
            Expr::Index(d) | Expr::Load(_, d) => self.index_varies(d),
            Expr::Unary(_, x) | Expr::Convert(_, x) | Expr::Bitcast(_, x) => self.varies(x),
            Expr::Binary(_, x, y) => self.varies(x) || self.varies(y),
            Expr::MulAdd(x, y, z) | Expr::Select(x, y, z) => self.varies(x) || self.varies(y) || self.varies(z),
            Expr::LoadIf { condition, index, otherwise, .. } => {
                self.index_varies(index) || self.varies(condition) || self.varies(otherwise)
            }
        }
    }

    fn index_varies(&self, index: &Dim) -> bool {
        affine::mentions(&self.expand(index), self.axis)
            || index.symbols().iter().any(|s| self.varying.contains(&Var(s.0)))
    }

    /// Elements between lanes; `None` when that is not the same everywhere.
    fn stride(&self, index: &Dim) -> Option<Dim> {
        if index.symbols().iter().any(|s| self.varying.contains(&Var(s.0))) {
            return None;
        }
        affine::split(&self.expand(index), self.axis).map(|(coefficient, _)| coefficient)
    }

    fn lanes_type(&self, dtype: DType) -> bool {
        !matches!(dtype, DType::F64 | DType::I64 | DType::U64)
    }

    fn body(&mut self, body: &[Stmt]) -> bool {
        body.iter().all(|s| self.stmt(s))
    }

    fn stmt(&mut self, stmt: &Stmt) -> bool {
        match stmt {
            Stmt::Let(var, expr) => {
                let varies = self.varies(expr);
                if let (true, Expr::Index(index)) = (varies, expr) {
                    if index.symbols().iter().any(|s| self.varying.contains(&Var(s.0))) {
                        return false;
                    }
                    let meaning = self.expand(index);
                    self.indices.push((*var, meaning));
                    return true;
                }
                if varies {
                    self.varying.insert(*var);
                    return self.lanes_type(self.lower.dtype(expr)) && self.expr(expr);
                }
                self.varying.remove(var);
                self.expr(expr)
            }
            Stmt::For(header, body) => {
                self.nested = true;
                header.lanes != Lanes::Vector && !self.index_varies(&header.extent) && self.body(body)
            }
            Stmt::Reduce(header, body, accumulators) => {
                self.nested = true;
                if header.lanes == Lanes::Vector || self.index_varies(&header.extent) || !self.body(body) {
                    return false;
                }
                accumulators.iter().all(|a| {
                    let dtype = self.lower.dtype(&a.value);
                    let ok = self.lanes_type(dtype)
                        && !matches!(dtype, DType::Bool | DType::F16 | DType::BF16)
                        && self.expr(&a.init)
                        && self.expr(&a.value);
                    self.varying.insert(a.var);
                    ok
                })
            }
            Stmt::Store(buffer, index, value) => {
                let dtype = self.element(*buffer);
                self.narrow |= dtype.size() != 4;
                self.lanes_type(dtype) && self.stride(index).is_some_and(|s| s.is_const(1)) && self.expr(value)
            }
            Stmt::If(condition, then, otherwise) => {
                !self.varies(condition) && self.expr(condition) && self.body(then) && self.body(otherwise)
            }
            Stmt::Mutable(..) | Stmt::Assign(..) | Stmt::While(..) | Stmt::Fail(_) | Stmt::Gemm(_) => false,
        }
    }

    fn element(&self, buffer: BufferRef) -> DType {
        self.lower.kernel.buffers[buffer.0 as usize].dtype
    }

    fn load(&mut self, buffer: BufferRef, index: &Dim) -> bool {
        let dtype = self.element(buffer);
        let Some(stride) = self.stride(index) else { return false };
        match stride.as_const() {
            Some(0) => true,
            Some(1) => {
                self.narrow |= dtype.size() != 4;
                self.lanes_type(dtype)
            }
            // Gathered by 32-bit element offsets.
            Some(s) => dtype.size() == 4 && s.unsigned_abs() < 1 << 24,
            None => false,
        }
    }

    fn expr(&mut self, expr: &Expr) -> bool {
        if !self.varies(expr) {
            return true;
        }
        match expr {
            Expr::Const(_) | Expr::Var(_) => true,
            // 64-bit lanes: only inside comparisons, see below.
            Expr::Index(_) => false,
            Expr::Load(buffer, index) => self.load(*buffer, index),
            Expr::Unary(op, x) => {
                let dtype = self.lower.dtype(x);
                let float = matches!(
                    op,
                    UnaryOp::Neg
                        | UnaryOp::Abs
                        | UnaryOp::Floor
                        | UnaryOp::Ceil
                        | UnaryOp::Round
                        | UnaryOp::Trunc
                        | UnaryOp::Sqrt
                        | UnaryOp::Rsqrt
                        | UnaryOp::Recip
                        | UnaryOp::IsNan
                        | UnaryOp::IsInf
                );
                let int = matches!(op, UnaryOp::Neg | UnaryOp::Abs | UnaryOp::BitNot);
                let ok = match dtype {
                    DType::F32 => float,
                    DType::Bool => *op == UnaryOp::Not,
                    DType::F16 | DType::BF16 => false,
                    _ => int && self.lanes_type(dtype),
                };
                ok && self.expr(x)
            }
            Expr::Binary(op, x, y) => self.binary(*op, x, y),
            Expr::MulAdd(x, y, z) => self.lower.dtype(x) == DType::F32 && self.expr(x) && self.expr(y) && self.expr(z),
            Expr::Select(c, x, y) => {
                self.lanes_type(self.lower.dtype(x)) && self.expr(c) && self.expr(x) && self.expr(y)
            }
            Expr::LoadIf { condition, buffer, index, otherwise } => {
                let dtype = self.element(*buffer);
                let stride = self.stride(index);
                let plain = stride.as_ref().is_some_and(|s| s.is_const(1));
                // AVX2 masks 32-bit elements only.
                let ok = plain && dtype.size() == 4 && dtype != DType::Bool;
                ok && self.expr(condition) && self.expr(otherwise)
            }
            Expr::Convert(to, x) => {
                let from = self.lower.dtype(x);
                let unsigned_in_avx2 = !self.lower.f.evex && *to == DType::U32 && from.is_float();
                self.lanes_type(*to) && self.lanes_type(from) && !unsigned_in_avx2 && self.expr(x)
            }
            Expr::Bitcast(to, x) => {
                let from = self.lower.dtype(x);
                let word = |d| matches!(d, DType::F32 | DType::I32 | DType::U32);
                word(*to) && word(from) && self.expr(x)
            }
        }
    }

    fn binary(&mut self, op: BinaryOp, x: &Expr, y: &Expr) -> bool {
        use BinaryOp::*;
        let dtype = self.lower.dtype(x);
        if dtype == DType::I64 && op.is_comparison() {
            // Only comparisons of indices, which reduce to comparing lane numbers with a number.
            let stride = |e: &Expr| match e {
                Expr::Index(d) => self.stride(d),
                Expr::Var(v) if !self.varying.contains(v) => self.stride(&v.index()),
                Expr::Const(_) => Some(Dim::ZERO),
                _ => None,
            };
            return match (stride(x), stride(y)) {
                (Some(a), Some(b)) => (&a - &b).as_const().is_some_and(|c| c.unsigned_abs() < 1 << 20),
                _ => false,
            };
        }
        let ok = match dtype {
            DType::F32 => op.is_comparison() || matches!(op, Add | Sub | Mul | Div | Max | Min),
            DType::Bool => matches!(op, And | Or | Xor | Eq | Ne),
            DType::F16 | DType::BF16 => false,
            _ => {
                self.lanes_type(dtype)
                    && (op.is_comparison() || matches!(op, Add | Sub | Mul | Max | Min | And | Or | Xor | Shl | Shr))
            }
        };
        ok && self.expr(x) && self.expr(y)
    }
}

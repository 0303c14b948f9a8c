//! Random expressions that stay well-conditioned.

use super::Builder;
use crate::kernel::{BufferRef, Expr, Index, Var};
use nnc_ir::DType;
use nnc_ir::op::{BinaryOp, UnaryOp};

/// Largest magnitude of a value that may carry rounding errors.
const MAX_INEXACT: f64 = 256.0;

/// An expression and what is known of its values.
#[derive(Clone, Debug)]
pub(crate) struct Value {
    pub expr: Expr,
    pub dtype: DType,
    /// Every backend computes the same bits (but for a NaN's, and the sign of a zero).
    pub exact: bool,
    /// A loaded element or constant: never zero when it is a float.
    pub leaf: bool,
    /// Largest magnitude of a float; infinite when it may be infinite or NaN.
    pub bound: f64,
}

/// What leaves an expression is made of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Leaves {
    /// Elements: buffer, index, type, whether they are tame.
    pub loads: Vec<(BufferRef, Index, DType, bool)>,
    /// Loads that are done only where a condition over an index holds.
    pub guarded: Vec<(Expr, BufferRef, Index, DType)>,
    /// Integers in scope.
    pub indices: Vec<Index>,
    /// Variables in scope.
    pub vars: Vec<(Var, Value)>,
}

/// Types that arithmetic is done in.
const COMPUTED: [DType; 11] = [
    DType::Bool,
    DType::U8,
    DType::I8,
    DType::U16,
    DType::I16,
    DType::U32,
    DType::I32,
    DType::U64,
    DType::I64,
    DType::F32,
    DType::F64,
];

fn leaf(expr: Expr, dtype: DType, bound: f64) -> Value {
    Value { expr, dtype, exact: true, leaf: true, bound }
}

fn inner(expr: Expr, dtype: DType, exact: bool, bound: f64) -> Value {
    Value { expr, dtype, exact, leaf: false, bound }
}

impl Builder {
    /// A type to compute in, `f32` most often.
    pub fn computed(&mut self) -> DType {
        if self.rng.chance(40) { DType::F32 } else { self.rng.pick(&COMPUTED) }
    }

    /// An expression of any type, `f16` and `bf16` included.
    pub fn any(&mut self, leaves: &Leaves, dtype: DType, depth: u32) -> Value {
        if matches!(dtype, DType::F16 | DType::BF16) {
            if self.rng.chance(30)
                && let Some(load) = self.loaded(leaves, dtype)
            {
                return load;
            }
            let x = self.expr(leaves, DType::F32, depth);
            return inner(Expr::convert(dtype, DType::F32, x.expr), dtype, x.exact, x.bound);
        }
        self.expr(leaves, dtype, depth)
    }

    /// An expression of a type that arithmetic is done in.
    pub fn expr(&mut self, leaves: &Leaves, dtype: DType, depth: u32) -> Value {
        if depth == 0 || self.rng.chance(12) {
            return self.leaf(leaves, dtype);
        }
        if self.rng.chance(12) {
            let condition = self.exact(leaves, DType::Bool, depth - 1);
            let (x, y) = (self.expr(leaves, dtype, depth - 1), self.expr(leaves, dtype, depth - 1));
            let expr = Expr::select(condition.expr, x.expr, y.expr);
            return inner(expr, dtype, x.exact && y.exact, x.bound.max(y.bound));
        }
        match dtype {
            DType::Bool => self.boolean(leaves, depth - 1),
            DType::F32 | DType::F64 => self.float(leaves, dtype, depth - 1),
            _ => self.integer(leaves, dtype, depth - 1),
        }
    }

    fn exact(&mut self, leaves: &Leaves, dtype: DType, depth: u32) -> Value {
        let value = self.expr(leaves, dtype, depth);
        if value.exact { value } else { self.leaf_exact(leaves, dtype) }
    }

    /// A loaded element of this type, if there is one.
    fn loaded(&mut self, leaves: &Leaves, dtype: DType) -> Option<Value> {
        let fitting: Vec<_> = leaves.loads.iter().filter(|l| l.2 == dtype).collect();
        let guarded: Vec<_> = leaves.guarded.iter().filter(|g| g.3 == dtype).collect();
        if !guarded.is_empty() && (fitting.is_empty() || self.rng.chance(40)) {
            let (condition, buffer, index, _) = guarded[self.rng.below(guarded.len() as u64) as usize].clone();
            let otherwise = Box::new(Expr::constant(dtype, 1.0));
            let expr = Expr::LoadIf { condition: Box::new(condition), buffer, index, otherwise };
            return Some(leaf(expr, dtype, 2.0));
        }
        if fitting.is_empty() {
            return None;
        }
        let (buffer, index, _, tame) = fitting[self.rng.below(fitting.len() as u64) as usize].clone();
        Some(leaf(Expr::Load(buffer, index), dtype, if tame { 2.0 } else { f64::INFINITY }))
    }

    fn leaf(&mut self, leaves: &Leaves, dtype: DType) -> Value {
        let vars: Vec<_> = leaves.vars.iter().filter(|(_, v)| v.dtype == dtype).collect();
        if !vars.is_empty() && self.rng.chance(40) {
            let (var, value) = vars[self.rng.below(vars.len() as u64) as usize].clone();
            return Value { expr: Expr::Var(var), leaf: false, ..value };
        }
        self.leaf_exact(leaves, dtype)
    }

    fn leaf_exact(&mut self, leaves: &Leaves, dtype: DType) -> Value {
        if dtype == DType::I64 && !leaves.indices.is_empty() && self.rng.chance(30) {
            let at = self.rng.below(leaves.indices.len() as u64) as usize;
            return leaf(Expr::Index(leaves.indices[at].clone()), dtype, f64::INFINITY);
        }
        if self.rng.chance(85) {
            if let Some(load) = self.loaded(leaves, dtype) {
                return load;
            }
            // A load of another type, converted.
            let others: Vec<DType> = leaves.loads.iter().map(|l| l.2).collect();
            if !others.is_empty() {
                let from = self.rng.pick(&others);
                if let Some(load) = self.loaded(leaves, from) {
                    let half = matches!(from, DType::F16 | DType::BF16);
                    let wide = if half { DType::F32 } else { from };
                    let float = dtype.is_float() && from.is_float();
                    let expr = Expr::convert(dtype, wide, Expr::convert(wide, from, load.expr));
                    return Value { leaf: float, ..leaf(expr, dtype, if float { load.bound } else { f64::INFINITY }) };
                }
            }
        }
        let value = match dtype {
            DType::Bool => self.rng.below(2) as f64,
            t if t.is_float() => self.rng.pick(&[0.5, 1.0, 2.0, -1.5, 0.25]),
            t if t.is_signed() => self.rng.between(-9, 9) as f64,
            _ => self.rng.below(10) as f64,
        };
        leaf(Expr::constant(dtype, value), dtype, 2.0)
    }

    fn boolean(&mut self, leaves: &Leaves, depth: u32) -> Value {
        use BinaryOp::*;
        let expr = match self.rng.below(10) {
            0..=5 => {
                let dtype = self.computed();
                let op = self.rng.pick(&[Eq, Ne, Lt, Le, Gt, Ge]);
                let (x, y) = (self.exact(leaves, dtype, depth), self.exact(leaves, dtype, depth));
                Expr::binary(op, x.expr, y.expr)
            }
            6 => Expr::unary(UnaryOp::Not, self.exact(leaves, DType::Bool, depth).expr),
            7 => {
                let op = self.rng.pick(&[And, Or, Xor, Max, Min]);
                let (x, y) = (self.exact(leaves, DType::Bool, depth), self.exact(leaves, DType::Bool, depth));
                Expr::binary(op, x.expr, y.expr)
            }
            8 => {
                let dtype = self.rng.pick(&[DType::F32, DType::F64]);
                let op = self.rng.pick(&[UnaryOp::IsNan, UnaryOp::IsInf]);
                Expr::unary(op, self.exact(leaves, dtype, depth).expr)
            }
            _ => {
                let dtype = self.computed();
                Expr::convert(DType::Bool, dtype, self.exact(leaves, dtype, depth).expr)
            }
        };
        inner(expr, DType::Bool, true, 1.0)
    }

    fn integer(&mut self, leaves: &Leaves, dtype: DType, depth: u32) -> Value {
        use BinaryOp::*;
        let expr = match self.rng.below(12) {
            0..=6 => {
                let op = self.rng.pick(&[Add, Sub, Mul, Div, Mod, Rem, Max, Min, And, Or, Xor, Shl, Shr, Pow]);
                let x = self.expr(leaves, dtype, depth).expr;
                let mut y = self.expr(leaves, dtype, depth).expr;
                if matches!(op, Shl | Shr | Pow) {
                    // Amounts up to the width, exponents that are not negative.
                    let mask = if op == Pow { 3.0 } else { (16 * dtype.size() - 1) as f64 };
                    y = Expr::binary(And, y, Expr::constant(dtype, mask));
                }
                Expr::binary(op, x, y)
            }
            7 | 8 => {
                let op = self.rng.pick(&[UnaryOp::Neg, UnaryOp::Abs, UnaryOp::Sign, UnaryOp::BitNot]);
                Expr::unary(op, self.expr(leaves, dtype, depth).expr)
            }
            9 | 10 => {
                let from = self.computed();
                Expr::convert(dtype, from, self.exact(leaves, from, depth).expr)
            }
            _ => {
                let same_size = |t: &DType| t.size() == dtype.size() && *t != DType::Bool && *t != dtype;
                let from: Vec<DType> = COMPUTED.into_iter().filter(same_size).collect();
                let from = self.rng.pick(&from);
                match self.loaded(leaves, from) {
                    // A NaN's bits may change when it is converted, not when it is only loaded.
                    Some(load) => Expr::Bitcast(dtype, Box::new(load.expr)),
                    None => self.leaf_exact(leaves, dtype).expr,
                }
            }
        };
        inner(expr, dtype, true, f64::INFINITY)
    }

    fn float(&mut self, leaves: &Leaves, dtype: DType, depth: u32) -> Value {
        match self.rng.below(12) {
            0..=3 => self.arithmetic(leaves, dtype, depth),
            4..=6 => self.function(leaves, dtype, depth),
            7 => self.rounding(leaves, dtype, depth),
            8 => {
                let xyz = [0; 3].map(|_| self.expr(leaves, dtype, depth));
                let bound = xyz[0].bound * xyz[1].bound + xyz[2].bound;
                if bound > MAX_INEXACT {
                    return xyz.into_iter().next().unwrap_or_else(|| self.leaf_exact(leaves, dtype));
                }
                let [x, y, z] = xyz.map(|v| Box::new(v.expr));
                inner(Expr::MulAdd(x, y, z), dtype, false, bound)
            }
            9 => self.of_leaves(leaves, dtype),
            _ => {
                let from = self.computed();
                let x = self.expr(leaves, from, depth);
                // Integers and bools are at most 2^64; narrowing may overflow to infinity where `f64` is huge.
                let bound = if from.is_float() { x.bound } else { f64::INFINITY };
                inner(Expr::convert(dtype, from, x.expr), dtype, x.exact, bound)
            }
        }
    }

    fn arithmetic(&mut self, leaves: &Leaves, dtype: DType, depth: u32) -> Value {
        use BinaryOp::*;
        let op = self.rng.pick(&[Add, Sub, Mul, Max, Min]);
        let (x, y) = (self.expr(leaves, dtype, depth), self.expr(leaves, dtype, depth));
        let exact = x.exact && y.exact;
        let bound = match op {
            Add | Sub => x.bound + y.bound,
            Mul => x.bound * y.bound,
            _ => x.bound.max(y.bound),
        };
        if !exact && bound > MAX_INEXACT {
            return x;
        }
        inner(Expr::binary(op, x.expr, y.expr), dtype, exact, bound)
    }

    /// A transcendental function of an exact, small value.
    fn function(&mut self, leaves: &Leaves, dtype: DType, depth: u32) -> Value {
        use UnaryOp::*;
        let mut x = self.exact(leaves, dtype, depth);
        if x.bound > 5.0 {
            x = Value { expr: Expr::constant(dtype, 0.75), bound: 0.75, ..x };
        }
        let small = [Exp, Expm1, Sin, Cos, Atan, Sinh, Cosh, Tanh, Asinh, Erf, Sigmoid, Asin, Acos, Neg, Abs];
        let op = self.rng.pick(&small);
        let exact = matches!(op, Neg | Abs);
        inner(Expr::unary(op, x.expr), dtype, exact, 150.0)
    }

    fn rounding(&mut self, leaves: &Leaves, dtype: DType, depth: u32) -> Value {
        use UnaryOp::*;
        let op = self.rng.pick(&[Floor, Ceil, Round, Trunc, Sign, Neg, Abs]);
        let x = self.exact(leaves, dtype, depth);
        inner(Expr::unary(op, x.expr), dtype, true, x.bound + 1.0)
    }

    /// Functions where a zero's sign matters, or that are steep: of loaded elements alone.
    fn of_leaves(&mut self, leaves: &Leaves, dtype: DType) -> Value {
        let mut tame = || {
            let x = self.leaf_exact(leaves, dtype);
            if x.leaf && x.bound <= 2.0 { x.expr } else { Expr::constant(dtype, 1.25) }
        };
        let (x, y) = (tame(), tame());
        let (expr, exact, bound) = match self.rng.below(10) {
            0 => (Expr::binary(BinaryOp::Div, x, y), true, 1e4),
            1 => (Expr::binary(BinaryOp::Mod, x, y), true, 2.0),
            2 => (Expr::binary(BinaryOp::Rem, x, y), true, 2.0),
            3 => (Expr::binary(BinaryOp::Atan2, x, y), false, 4.0),
            // At most 2^-3 to the -2, or NaN, which later sums keep.
            4 => (Expr::binary(BinaryOp::Pow, Expr::unary(UnaryOp::Abs, x), y), false, 64.0),
            5 => (Expr::unary(UnaryOp::Recip, x), true, 8.0),
            6 => (Expr::unary(UnaryOp::Rsqrt, Expr::unary(UnaryOp::Abs, x)), false, 3.0),
            7 => (Expr::unary(UnaryOp::Log, Expr::unary(UnaryOp::Abs, x)), false, 3.0),
            8 => (Expr::unary(UnaryOp::Sqrt, x), true, f64::INFINITY),
            _ => (Expr::unary(UnaryOp::Acosh, x), false, 3.0),
        };
        inner(expr, dtype, exact, bound)
    }
}

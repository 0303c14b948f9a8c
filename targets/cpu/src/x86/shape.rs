//! Questions about statements before lowering them: whether a loop can run in lanes, and how large its body is.
//!
//! Invariant: [`of_loop`] answers a [`Reason`] whenever lowering in lanes could meet something unsupported; such a loop
//! runs one iteration at a time, in scalar code.

use nnc_ir::DType;
use nnc_ir::op::{BinaryOp, UnaryOp};
use nnc_kernels::kernel::AxisKind;
use nnc_kernels::{BufferRef, Expr, Index, Loop, Stmt, Var, affine};
use std::collections::HashSet;

use super::loops::MAX_UNROLL;
use super::reason::Reason;
use super::select::Lower;

/// What is known of the body of a loop that can run in lanes.
pub struct Shape {
    /// Number of operations.
    pub weight: usize,
    /// Whether memory elements other than 32-bit ones are touched along the lanes.
    pub narrow: bool,
    /// Whether loops are inside.
    pub nested: bool,
    /// Whether some elements are fetched one by one, or gathered.
    pub gathers: bool,
    /// Whether some elements are stored one by one.
    pub scatters: bool,
    /// Expressions that are evaluated lane by lane, in scalar code.
    pub by_lane: HashSet<Expr>,
}

/// Most operations that are done lane by lane in a loop that otherwise runs in lanes.
const MOST_BY_LANE: usize = 24;

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

/// Number of operations in an expression.
pub fn expr_weight(expr: &Expr) -> usize {
    let own = match expr {
        Expr::Const(_) | Expr::Var(_) => 0,
        Expr::LoadIf { .. } => 2,
        _ => 1,
    };
    own + expr.operands().map(expr_weight).sum::<usize>()
}

/// How many copies of its body a loop becomes.
fn written_out(header: &Loop) -> Option<usize> {
    let extent = header.extent.as_const().filter(|n| *n <= MAX_UNROLL && header.axis == AxisKind::Unrolled)?;
    usize::try_from(extent).ok()
}

/// Number of operations in statements; loops are counted once, unless they are written out.
pub fn weight(body: &[Stmt]) -> usize {
    body.iter()
        .map(|s| match s {
            Stmt::Let(_, e) | Stmt::Mutable(_, e) | Stmt::Assign(_, e) => expr_weight(e),
            Stmt::Store(_, _, e) => 1 + expr_weight(e),
            Stmt::For(header, b) => written_out(header).map_or(2 + weight(b), |copies| copies * weight(b)),
            Stmt::While(c, b) => 2 + expr_weight(c) + weight(b),
            Stmt::Reduce(header, b, accs) => {
                let once = weight(b) + accs.iter().map(|a| 1 + expr_weight(&a.value)).sum::<usize>();
                written_out(header).map_or(2 + once, |copies| copies * once)
            }
            Stmt::If(c, a, b) => expr_weight(c) + weight(a) + weight(b),
            Stmt::Fail(_) | Stmt::Contract(_) => 1,
        })
        .sum()
}

/// The shape of a loop over `var` that can run in lanes. `in_lanes` holds one value per lane already.
///
/// # Errors
/// Why it cannot.
pub fn of_loop(
    lower: &Lower<'_>,
    var: Var,
    body: &[Stmt],
    values: &[&Expr],
    in_lanes: &[Var],
) -> Result<Shape, Reason> {
    let varying = in_lanes.iter().copied().collect();
    let mut check = Check {
        lower,
        axis: var,
        varying,
        indices: vec![],
        narrow: false,
        nested: false,
        gathers: false,
        scatters: false,
        by_lane: HashSet::new(),
        by_lane_weight: 0,
    };
    check.body(body)?;
    for value in values {
        check.accumulated(value)?;
    }
    let weight = weight(body) + values.iter().map(|v| 1 + expr_weight(v)).sum::<usize>();
    Ok(Shape {
        weight: weight + check.by_lane_weight * lower.lanes,
        narrow: check.narrow,
        nested: check.nested,
        gathers: check.gathers || !check.by_lane.is_empty(),
        scatters: check.scatters,
        by_lane: check.by_lane,
    })
}

/// Whether something holds, or the reason that is the obstacle.
fn need(condition: bool, reason: Reason) -> Result<(), Reason> {
    if condition { Ok(()) } else { Err(reason) }
}

struct Check<'a, 'k> {
    lower: &'a Lower<'k>,
    axis: Var,
    varying: HashSet<Var>,
    /// `Let` indices that differ between lanes.
    indices: Vec<(Var, Index)>,
    narrow: bool,
    nested: bool,
    gathers: bool,
    scatters: bool,
    by_lane: HashSet<Expr>,
    by_lane_weight: usize,
}

impl Check<'_, '_> {
    fn expand(&self, index: &Index) -> Index {
        let index = self.lower.expand(index);
        index.substitute(&|var| self.indices.iter().rev().find(|(v, _)| *v == var).map(|(_, d)| d.clone()))
    }

    fn varies(&self, expr: &Expr) -> bool {
        expr.any(&|e| match e {
            Expr::Var(v) => self.varying.contains(v) || self.index_varies(&v.index()),
            _ => e.index().is_some_and(|d| self.index_varies(d)),
        })
    }

    fn index_varies(&self, index: &Index) -> bool {
        self.expand(index).mentions(self.axis) || index.vars().iter().any(|v| self.varying.contains(v))
    }

    /// Elements between lanes, when that is the same everywhere.
    fn stride(&self, index: &Index) -> Result<Index, Reason> {
        if index.vars().iter().any(|v| self.varying.contains(v)) {
            return Err(Reason::Gather);
        }
        affine::split(&self.expand(index), self.axis).map(|(coefficient, _)| coefficient).ok_or(Reason::Gather)
    }

    /// Types with a 32-bit lane.
    fn lanes_type(&self, dtype: DType) -> Result<(), Reason> {
        match dtype {
            DType::F64 => Err(Reason::F64),
            DType::I64 | DType::U64 => Err(Reason::Lanes64),
            _ => Ok(()),
        }
    }

    fn accumulated(&mut self, value: &Expr) -> Result<(), Reason> {
        self.lanes_type(self.lower.dtype(value))?;
        self.expr(value)
    }

    fn body(&mut self, body: &[Stmt]) -> Result<(), Reason> {
        body.iter().try_for_each(|s| self.stmt(s))
    }

    fn stmt(&mut self, stmt: &Stmt) -> Result<(), Reason> {
        match stmt {
            Stmt::Let(var, expr) => {
                let varies = self.varies(expr);
                if let (true, Expr::Index(index)) = (varies, expr) {
                    need(!index.vars().iter().any(|v| self.varying.contains(v)), Reason::IndexInLanes)?;
                    let meaning = self.expand(index);
                    self.indices.push((*var, meaning));
                    return Ok(());
                }
                if varies {
                    self.varying.insert(*var);
                    self.lanes_type(self.lower.dtype(expr))?;
                } else {
                    self.varying.remove(var);
                }
                self.expr(expr)
            }
            Stmt::For(header, body) => {
                self.nested |= written_out(header).is_none();
                need(header.axis != AxisKind::Vector, Reason::NestedLanes)?;
                need(!self.index_varies(&header.extent), Reason::BranchPerLane)?;
                self.body(body)
            }
            Stmt::Reduce(header, body, accumulators) => {
                self.nested |= written_out(header).is_none();
                need(header.axis != AxisKind::Vector, Reason::NestedLanes)?;
                need(!self.index_varies(&header.extent), Reason::BranchPerLane)?;
                self.body(body)?;
                accumulators.iter().try_for_each(|a| {
                    let dtype = self.lower.dtype(&a.value);
                    self.lanes_type(dtype)?;
                    need(!matches!(dtype, DType::Bool | DType::F16 | DType::BF16), Reason::Reduction)?;
                    self.expr(&a.init)?;
                    self.expr(&a.value)?;
                    self.varying.insert(a.var);
                    Ok(())
                })
            }
            Stmt::Store(buffer, index, value) => {
                let dtype = self.element(*buffer);
                self.narrow |= dtype.size() != 4;
                self.lanes_type(dtype)?;
                if !self.stride(index).is_ok_and(|s| s.is_const(1)) {
                    self.scatters = true;
                    self.by_lane_weight += 2;
                    let free = !index.vars().iter().any(|v| self.varying.contains(v));
                    need(free && self.by_lane_weight <= MOST_BY_LANE, Reason::Scatter)?;
                }
                self.expr(value)
            }
            Stmt::If(condition, then, otherwise) => {
                need(!self.varies(condition), Reason::BranchPerLane)?;
                self.expr(condition)?;
                self.body(then)?;
                self.body(otherwise)
            }
            Stmt::Mutable(..) | Stmt::Assign(..) | Stmt::While(..) | Stmt::Fail(_) => Err(Reason::Sequential),
            Stmt::Contract(_) => Err(Reason::NestedLanes),
        }
    }

    fn element(&self, buffer: BufferRef) -> DType {
        self.lower.kernel.buffers[buffer.0 as usize].dtype
    }

    fn load(&mut self, buffer: BufferRef, index: &Index) -> Result<(), Reason> {
        let dtype = self.element(buffer);
        match self.stride(index)?.as_const() {
            Some(0) => Ok(()),
            Some(1) => {
                self.narrow |= dtype.size() != 4;
                self.lanes_type(dtype)
            }
            // Gathered by 32-bit element offsets.
            Some(s) if s.unsigned_abs() < 1 << 24 => {
                self.gathers = true;
                need(dtype.size() == 4, Reason::NarrowGather)
            }
            Some(_) => Err(Reason::Gather),
            None => Err(Reason::RunTimeStride),
        }
    }

    /// Whether every lane can compute the expression by itself: it needs no value that only exists in lanes, and its
    /// own fits one.
    fn stands_alone(&self, expr: &Expr) -> bool {
        !expr.any(&|e| match e {
            Expr::Var(v) => self.varying.contains(v),
            _ => e.index().is_some_and(|d| d.vars().iter().any(|v| self.varying.contains(v))),
        })
    }

    fn expr(&mut self, expr: &Expr) -> Result<(), Reason> {
        if !self.varies(expr) {
            return Ok(());
        }
        let (narrow, weight, known) = (self.narrow, self.by_lane_weight, self.by_lane.clone());
        let Err(reason) = self.in_lanes(expr) else { return Ok(()) };
        (self.narrow, self.by_lane_weight, self.by_lane) = (narrow, weight, known);
        self.by_lane_weight += 1 + expr_weight(expr);
        let fits = self.lanes_type(self.lower.dtype(expr)).is_ok() && self.by_lane_weight <= MOST_BY_LANE;
        need(fits && self.stands_alone(expr), reason)?;
        self.by_lane.insert(expr.clone());
        Ok(())
    }

    fn in_lanes(&mut self, expr: &Expr) -> Result<(), Reason> {
        match expr {
            Expr::Const(_) | Expr::Var(_) => Ok(()),
            // 64-bit lanes: only inside comparisons, see below.
            Expr::Index(_) => Err(Reason::IndexInLanes),
            Expr::Load(buffer, index) => self.load(*buffer, index),
            Expr::Unary(op, x) => {
                self.unary(*op, self.lower.dtype(x))?;
                self.expr(x)
            }
            Expr::Binary(op, x, y) => self.binary(*op, x, y),
            Expr::MulAdd(x, y, z) => {
                need(self.lower.dtype(x) == DType::F32, Reason::F64)?;
                self.expr(x)?;
                self.expr(y)?;
                self.expr(z)
            }
            Expr::Select(c, x, y) => {
                self.lanes_type(self.lower.dtype(x))?;
                self.expr(c)?;
                self.expr(x)?;
                self.expr(y)
            }
            Expr::LoadIf { condition, buffer, index, otherwise } => {
                let dtype = self.element(*buffer);
                // AVX2 masks 32-bit elements only.
                need(self.stride(index)?.is_const(1) && dtype.size() == 4, Reason::GuardedGather)?;
                self.expr(condition)?;
                self.expr(otherwise)
            }
            Expr::Convert(to, x) => {
                let from = self.lower.dtype(x);
                let unsigned_in_avx2 = !self.lower.f.evex && *to == DType::U32 && from.is_float();
                self.lanes_type(*to)?;
                self.lanes_type(from)?;
                need(!unsigned_in_avx2, Reason::UnsignedConversion)?;
                self.expr(x)
            }
            Expr::Bitcast(to, x) => {
                let from = self.lower.dtype(x);
                let word = |d| matches!(d, DType::F32 | DType::I32 | DType::U32);
                need(word(*to) && word(from), Reason::Bitcast)?;
                self.expr(x)
            }
        }
    }

    fn unary(&self, op: UnaryOp, dtype: DType) -> Result<(), Reason> {
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
        match dtype {
            DType::F32 => need(float, Reason::FloatFunction),
            DType::Bool => need(op == UnaryOp::Not, Reason::BoolFunction),
            DType::F16 | DType::BF16 => Err(Reason::HalfArithmetic),
            _ => {
                self.lanes_type(dtype)?;
                need(int, Reason::IntegerFunction)
            }
        }
    }

    fn binary(&mut self, op: BinaryOp, x: &Expr, y: &Expr) -> Result<(), Reason> {
        use BinaryOp::*;
        let dtype = self.lower.dtype(x);
        if dtype == DType::I64 && op.is_comparison() {
            // Only comparisons of indices, which reduce to comparing lane numbers with a number.
            let stride = |e: &Expr| match e {
                Expr::Index(d) => self.stride(d),
                Expr::Var(v) if !self.varying.contains(v) => self.stride(&v.index()),
                Expr::Const(_) => Ok(Index::ZERO),
                _ => Err(Reason::Lanes64),
            };
            let difference = stride(x)? - stride(y)?;
            return need(difference.as_const().is_some_and(|c| c.unsigned_abs() < 1 << 20), Reason::IndexInLanes);
        }
        match dtype {
            DType::F32 => {
                need(op.is_comparison() || matches!(op, Add | Sub | Mul | Div | Max | Min), Reason::FloatFunction)?;
            }
            DType::Bool => need(matches!(op, And | Or | Xor | Eq | Ne), Reason::BoolFunction)?,
            DType::F16 | DType::BF16 => return Err(Reason::HalfArithmetic),
            _ => {
                self.lanes_type(dtype)?;
                need(!matches!(op, Div | Mod | Rem), Reason::Division)?;
                let known = matches!(op, Add | Sub | Mul | Max | Min | And | Or | Xor | Shl | Shr);
                need(op.is_comparison() || known, Reason::IntegerFunction)?;
            }
        }
        self.expr(x)?;
        self.expr(y)
    }
}

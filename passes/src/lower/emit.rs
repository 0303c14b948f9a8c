//! Emission: any value at any index as a scalar expression.
//!
//! Stored values load, views transform the index, elementwise values apply their function, reductions open their own
//! loop in the scope of the row they belong to. What is used twice, or does not depend on the innermost loop, is
//! named by a `Let` in the outermost scope that can hold it.
//!
//! Rows worth keeping (an exponential that is summed and then divided, as in softmax) are written to scratch memory
//! by the reduction and read back by the code after it.

use super::LowerError;
use super::builder::{KernelBuilder, Key};
use super::empty::nothing_to_repeat;
use crate::layout::operand_index;
use nnc_ir::op::{BinaryOp, Op, PadMode, ReduceOp, UnaryOp};
use nnc_ir::{DType, Dim, Node, ValueId};
use nnc_kernels::kernel::{Accumulator, AxisKind, BufferRef, Expr, Index, Stmt};

/// Most elements of a row that are kept in scratch memory.
const ROW_ELEMENTS: i64 = 8192;

/// What a reduction combines of an operand's element, from its index and value.
type PerElement<'a> = dyn Fn(&[Index], Expr) -> Result<Expr, LowerError> + 'a;

/// A row of a value in scratch memory.
#[derive(Clone, Debug)]
pub(crate) struct RowCache {
    buffer: BufferRef,
    /// The outer indices that the row belongs to.
    outer: Vec<Index>,
    /// The axis along which it lies.
    axis: usize,
}

/// The type in which values of `dtype` are computed.
pub(crate) fn compute_type(dtype: DType) -> DType {
    match dtype {
        DType::F16 | DType::BF16 => DType::F32,
        other => other,
    }
}

impl KernelBuilder<'_, '_> {
    /// The value at an index, in its compute type.
    pub fn emit(&mut self, value: ValueId, index: &[Index]) -> Result<Expr, LowerError> {
        if let Some(bound) = self.bound.get(&value) {
            return Ok(bound.clone());
        }
        let key = Key { value, index: index.to_vec(), guards: self.guards.clone() };
        if let Some(known) = self.recall(&key) {
            return Ok(known);
        }
        if let Some(row) = self.rows.get(&value)
            && row.outer == outer_of(index, row.axis)
        {
            return Ok(Expr::Load(row.buffer, index[row.axis].clone()));
        }
        let stored = Some(value) != self.root && self.cx.plan.layout.storage(value).is_some();
        let expr = if stored { self.emit_load(value, index)? } else { self.emit_definition(value, index)? };
        let shared = self.cx.plan.regions.uses(value) > 1;
        Ok(self.share(key, expr, shared))
    }

    /// Names an expression that is worth naming.
    fn share(&mut self, key: Key, expr: Expr, shared: bool) -> Expr {
        if matches!(expr, Expr::Const(_) | Expr::Var(_) | Expr::Index(_)) {
            return expr;
        }
        let level = self.expr_level(&expr);
        if !shared && level == self.level() {
            return expr;
        }
        let named = Expr::Var(self.define("t", expr));
        self.remember(level, key, named.clone());
        named
    }

    /// Loads a stored value.
    fn emit_load(&mut self, value: ValueId, index: &[Index]) -> Result<Expr, LowerError> {
        let storage = self.cx.storage(value)?;
        let dtype = self.cx.graph.ty(value).dtype;
        let buffer = self.buffer(storage.buffer, &storage.offset, false);
        let element = self.element(&storage.strides, index);
        Ok(Expr::convert(compute_type(dtype), dtype, self.load(buffer, element)))
    }

    /// The linear element of an index under strides of the graph.
    pub fn element(&mut self, strides: &[Dim], index: &[Index]) -> Index {
        let mut sum = Index::ZERO;
        for (stride, i) in strides.iter().zip(index) {
            sum = sum + i * &self.import(stride);
        }
        sum
    }

    /// Computes a value from its node's operands, whether or not it is stored.
    pub fn emit_definition(&mut self, value: ValueId, index: &[Index]) -> Result<Expr, LowerError> {
        let Some(node) = self.cx.definition(value) else {
            return Err(self.cx.error(format!("{value} has no definition")));
        };
        match &node.op {
            Op::Constant(_) | Op::Dims { .. } | Op::Iota { .. } => self.emit_source(node, value, index),
            Op::Unary(op) => {
                let x = self.emit(node.inputs[0], index)?;
                Ok(Expr::unary(*op, x))
            }
            Op::Binary(op) => {
                let [left, right] = [node.inputs[0], node.inputs[1]];
                // What a row has in common comes first: a reduction keeps the row that it reads, and it is there then.
                if self.is_spread(right) && !self.is_spread(left) {
                    let y = self.emit(right, index)?;
                    return Ok(Expr::binary(*op, self.emit(left, index)?, y));
                }
                let (x, y) = (self.emit(left, index)?, self.emit(right, index)?);
                Ok(Expr::binary(*op, x, y))
            }
            Op::Select => {
                let condition = self.emit(node.inputs[0], index)?;
                let (x, y) = (self.emit(node.inputs[1], index)?, self.emit(node.inputs[2], index)?);
                Ok(Expr::select(condition, x, y))
            }
            Op::Convert(_) | Op::Bitcast(_) => self.emit_conversion(node, index),
            Op::Broadcast { .. } | Op::Reshape { .. } | Op::Transpose { .. } | Op::Slice { .. } => {
                let operand = self.view_index(node, index)?;
                self.emit(node.inputs[0], &operand)
            }
            Op::Pad { low, mode, .. } => self.emit_pad(node, low, *mode, index),
            Op::Gather { .. } | Op::GatherElements { .. } | Op::GatherNd { .. } => {
                let operand = self.gathered_index(node, index)?;
                self.emit(node.inputs[0], &operand)
            }
            Op::Reduce { op, axes } => {
                let reduced = self.emit_reduce(node.inputs[0], axes, *op, index, &|_, x| Ok(x))?;
                Ok(reduced)
            }
            Op::ArgReduce { axis, max, last } => self.emit_arg_reduce(node, *axis, *max, *last, index),
            other => Err(self.cx.error(format!("{other:?} cannot be computed inside another kernel"))),
        }
    }

    /// A value without operands.
    fn emit_source(&mut self, node: &Node, value: ValueId, index: &[Index]) -> Result<Expr, LowerError> {
        let graph = self.cx.graph;
        let dtype = graph.ty(value).dtype;
        match &node.op {
            Op::Constant(id) => {
                let tensor = graph.consts.get(*id);
                match tensor.splat() {
                    Some(splat) if !matches!(dtype, DType::I64 | DType::U64) => {
                        Ok(Expr::constant(compute_type(dtype), splat))
                    }
                    // The largest integer is no index: there it means an overflow.
                    Some(_) if dtype == DType::I64 && tensor.get_i64(0) != i64::MAX => {
                        Ok(Expr::Index(Index::from(tensor.get_i64(0))))
                    }
                    Some(_) if dtype == DType::I64 => {
                        Ok(Expr::Const(nnc_kernels::Scalar { dtype, bits: i64::MAX as u64 }))
                    }
                    _ => self.emit_load(value, index),
                }
            }
            Op::Dims { dims, .. } => Ok(match index.first() {
                Some(at) => self.pick_dim(dims, 0, at),
                None => Expr::Index(dims.first().map_or(Index::ZERO, |dim| self.import(dim))),
            }),
            Op::Iota { axis, .. } => {
                Ok(Expr::convert(compute_type(dtype), DType::I64, Expr::Index(index[*axis].clone())))
            }
            other => Err(self.cx.error(format!("{other:?} has operands"))),
        }
    }

    /// A value of another type.
    fn emit_conversion(&mut self, node: &Node, index: &[Index]) -> Result<Expr, LowerError> {
        let graph = self.cx.graph;
        match &node.op {
            Op::Convert(to) => {
                let from = compute_type(graph.ty(node.inputs[0]).dtype);
                let mut x = self.emit(node.inputs[0], index)?;
                // Half precision is reached from f32 alone.
                let mut via = from;
                if compute_type(*to) != *to {
                    x = Expr::convert(DType::F32, from, x);
                    via = DType::F32;
                }
                let converted = Expr::convert(*to, via, x);
                Ok(Expr::convert(compute_type(*to), *to, converted))
            }
            Op::Bitcast(to) => {
                let from = graph.ty(node.inputs[0]).dtype;
                let x = self.emit(node.inputs[0], index)?;
                let raw = Expr::convert(from, compute_type(from), x);
                let bits = Expr::Bitcast(*to, Box::new(raw));
                Ok(Expr::convert(compute_type(*to), *to, bits))
            }
            other => Err(self.cx.error(format!("{other:?} converts nothing"))),
        }
    }

    /// Whether a value is one with fewer axes, repeated along the others.
    fn is_spread(&self, value: ValueId) -> bool {
        self.cx.definition(value).is_some_and(|node| matches!(node.op, Op::Broadcast { .. }))
    }

    /// The dimension at position `at` of a list that begins at `first`: halves of halves, as lists may be long.
    fn pick_dim(&mut self, dims: &[Dim], first: usize, at: &Index) -> Expr {
        match dims {
            [] => Expr::Index(Index::ZERO),
            [only] => Expr::Index(self.import(only)),
            _ => {
                let (low, high) = dims.split_at(dims.len() / 2);
                let middle = first + low.len();
                let is_low =
                    Expr::binary(BinaryOp::Lt, Expr::Index(at.clone()), Expr::Index(Index::from(middle as i64)));
                let (low, high) = (self.pick_dim(low, first, at), self.pick_dim(high, middle, at));
                Expr::select(is_low, low, high)
            }
        }
    }

    /// The operand's index of a view node.
    fn view_index(&mut self, node: &Node, index: &[Index]) -> Result<Vec<Index>, LowerError> {
        let graph = self.cx.graph;
        // Symbols must be parameters before the ranges are copied.
        for input in node.inputs.iter().chain(&node.outputs) {
            for dim in graph.shape(*input) {
                self.import(dim);
            }
        }
        if let Op::Slice { starts, .. } = &node.op {
            for start in starts {
                self.import(start);
            }
        }
        let ranges = self.ranges.clone();
        let result = operand_index(graph, node, index, &mut |d| self.import(d), &|| ranges.clone());
        result.ok_or_else(|| self.cx.error("not a view"))
    }

    fn emit_pad(&mut self, node: &Node, low: &[Dim], mode: PadMode, index: &[Index]) -> Result<Expr, LowerError> {
        let graph = self.cx.graph;
        let shape = graph.shape(node.inputs[0]).to_vec();
        let padded = graph.shape(node.outputs[0]).to_vec();
        let mut operand = Vec::with_capacity(index.len());
        let mut inside: Option<Expr> = None;
        let mut sizes = vec![];
        for (axis, i) in index.iter().enumerate() {
            if shape[axis] == padded[axis] {
                operand.push(i.clone());
                continue;
            }
            let size = self.import(&shape[axis]);
            let (zero, last) = (Index::ZERO, &size - 1);
            let at = i - &self.import(&low[axis]);
            match mode {
                PadMode::Constant => sizes.push(size.clone()),
                _ => self.cx.require(
                    nothing_to_repeat(&shape[axis], &(&padded[axis] - &shape[axis])),
                    Dim::ZERO,
                    "the border of an axis without elements",
                )?,
            }
            operand.push(match mode {
                PadMode::Constant => {
                    for condition in [
                        Expr::binary(BinaryOp::Ge, Expr::Index(at.clone()), Expr::Index(zero.clone())),
                        Expr::binary(BinaryOp::Lt, Expr::Index(at.clone()), Expr::Index(size.clone())),
                    ] {
                        inside = Some(match inside {
                            None => condition,
                            Some(rest) => Expr::binary(BinaryOp::And, rest, condition),
                        });
                    }
                    at.max(&zero).min(&last)
                }
                PadMode::Edge => at.max(&zero).min(&last),
                PadMode::Reflect => {
                    // Position in a period of 2 * last, folded back.
                    let period = (&last * 2).max(&Index::ONE);
                    let phase = &at - &(&at.floor_div(&period) * &period);
                    phase.min(&(&period - &phase)).min(&last)
                }
                PadMode::Wrap => {
                    let period = size.max(&Index::ONE);
                    &at - &(&at.floor_div(&period) * &period)
                }
            });
        }
        let (element, _) = self.guarded(&sizes, |b| b.emit(node.inputs[0], &operand))?;
        match inside {
            None => Ok(element),
            Some(condition) => {
                let border = self.emit(node.inputs[1], &[])?;
                Ok(Expr::select(condition, element, border))
            }
        }
    }

    /// Emits `op` over `axes` of an operand at the reduction's result index. `element` maps each operand element.
    fn emit_reduce(
        &mut self,
        operand: ValueId,
        axes: &[usize],
        op: ReduceOp,
        index: &[Index],
        element: &PerElement<'_>,
    ) -> Result<Expr, LowerError> {
        let shape = self.cx.graph.shape(operand).to_vec();
        let level = index.iter().map(|i| self.index_level(i)).max().unwrap_or(0);
        let suspended = self.suspend(level);
        let mut full = Vec::with_capacity(shape.len());
        let mut outer = index.iter();
        for axis in 0..shape.len() {
            full.push(if axes.contains(&axis) { Index::ZERO } else { outer.next().cloned().unwrap_or(Index::ZERO) });
        }
        // Lanes go along the last axis, if it is reduced and no loop around runs in lanes already.
        let loops: Vec<usize> = axes.iter().copied().filter(|&a| !shape[a].is_const(1)).collect();
        let last = shape.iter().rposition(|d| !d.is_const(1));
        let vector = !self.in_vector(level) && loops.last().copied() == last;
        for (k, &axis) in loops.iter().enumerate() {
            let lanes = if vector && k + 1 == loops.len() { AxisKind::Vector } else { AxisKind::Serial };
            let extent = self.import(&shape[axis]);
            full[axis] = self.open_loop("k", &extent, lanes);
        }
        let mut result = self.emit(operand, &full)?;
        // Lanes of a loop around would all write the same row.
        let keeps = !self.in_vector(level) && self.worth_keeping(operand);
        if let ([axis], true) = (loops.as_slice(), keeps) {
            result = self.keep_row(operand, *axis, &shape, &full, result);
        }
        result = element(&full, result)?;
        let narrow = self.kernel.dtype(&result);
        if narrow == DType::Bool {
            result = Expr::convert(DType::I32, DType::Bool, result);
        }
        let dtype = self.kernel.dtype(&result);
        for _ in &loops {
            let init = identity(op, dtype);
            let depth_before = self.level() - 1;
            let var = self.accumulator(dtype, depth_before);
            self.close_reduce(vec![Accumulator { var, op, init, value: result }]);
            result = Expr::Var(var);
        }
        self.resume(suspended);
        if narrow == DType::Bool {
            result = Expr::binary(BinaryOp::Ne, result, Expr::constant(DType::I32, 0.0));
        }
        Ok(result)
    }

    /// Index of the extreme element: the extreme first, then the first or last place where it stands.
    fn emit_arg_reduce(
        &mut self,
        node: &Node,
        axis: usize,
        max: bool,
        last: bool,
        index: &[Index],
    ) -> Result<Expr, LowerError> {
        let operand = node.inputs[0];
        let size = self.cx.graph.shape(operand)[axis].clone();
        let extreme = if max { ReduceOp::Max } else { ReduceOp::Min };
        let best = self.emit_reduce(operand, &[axis], extreme, index, &|_, x| Ok(x))?;
        let best = match best {
            Expr::Var(_) => best,
            other => Expr::Var(self.define("best", other)),
        };
        let dtype = self.kernel.dtype(&best);
        let miss = if last { Index::from(-1) } else { self.import(&size) };
        let place = if last { ReduceOp::Max } else { ReduceOp::Min };
        self.emit_reduce(operand, &[axis], place, index, &|full, x| {
            let mut hit = Expr::binary(BinaryOp::Eq, x.clone(), best.clone());
            if dtype.is_float() {
                hit = Expr::binary(BinaryOp::Or, hit, Expr::unary(UnaryOp::IsNan, x));
            }
            Ok(Expr::select(hit, Expr::Index(full[axis].clone()), Expr::Index(miss.clone())))
        })
    }

    /// Whether computing a value again costs more than keeping it: it ends in a transcendental function and is used
    /// again after the reduction.
    fn worth_keeping(&self, value: ValueId) -> bool {
        let costly = self.cx.definition(value).is_some_and(|n| {
            use UnaryOp::{Erf, Exp, Expm1, Log, Log1p, Sigmoid, Tanh};
            matches!(n.op, Op::Unary(Exp | Expm1 | Log | Log1p | Tanh | Erf | Sigmoid))
        });
        costly && self.cx.plan.regions.uses(value) > 1 && self.cx.plan.layout.storage(value).is_none()
    }

    fn keep_row(&mut self, value: ValueId, axis: usize, shape: &[Dim], full: &[Index], expr: Expr) -> Expr {
        let size = self.import(&shape[axis]).bounds(&self.ranges).1;
        let dtype = self.kernel.dtype(&expr);
        // A row written under a guard is no row outside of it.
        let guarded = !self.guards.is_empty();
        if size > ROW_ELEMENTS || self.rows.contains_key(&value) || dtype != DType::F32 || guarded {
            return expr;
        }
        let buffer = self.scratch(dtype, size as usize);
        let named = match expr {
            Expr::Var(_) => expr,
            other => Expr::Var(self.define("kept", other)),
        };
        self.push(Stmt::Store(buffer, full[axis].clone(), named.clone()));
        self.rows.insert(value, RowCache { buffer, outer: outer_of(full, axis), axis });
        named
    }
}

fn outer_of(index: &[Index], axis: usize) -> Vec<Index> {
    index.iter().enumerate().filter(|(a, _)| *a != axis).map(|(_, i)| i.clone()).collect()
}

/// What a reduction of nothing yields.
pub(crate) fn identity(op: ReduceOp, dtype: DType) -> Expr {
    let extreme = |low: bool| {
        if dtype.is_float() {
            return Expr::constant(dtype, if low { f64::NEG_INFINITY } else { f64::INFINITY });
        }
        let bits = 8 * dtype.size() as u32;
        let all = if bits == 64 { u64::MAX } else { (1 << bits) - 1 };
        let bits = match (dtype.is_signed(), low) {
            (true, true) => 1 << (bits - 1),
            (true, false) => all >> 1,
            (false, true) => 0,
            (false, false) => all,
        };
        Expr::Const(nnc_kernels::Scalar { dtype, bits })
    };
    match op {
        ReduceOp::Sum => Expr::constant(dtype, 0.0),
        ReduceOp::Prod => Expr::constant(dtype, 1.0),
        ReduceOp::Max => extreme(true),
        ReduceOp::Min => extreme(false),
    }
}

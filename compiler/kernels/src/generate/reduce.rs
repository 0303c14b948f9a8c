//! Row pipelines (reduce, then map with the result) and windows (a serial reduce inside a vector loop).

use super::expr::{Leaves, Value};
use super::{Builder, Fill};
use crate::kernel::{Access, Accumulator, AxisKind, Expr, Index, Loop, Stmt, Var};
use crate::ops;
use nnc_ir::DType;
use nnc_ir::op::{BinaryOp, ReduceOp};

/// Largest sum of inexact values.
const MAX_SUM: f64 = 256.0;

impl Builder {
    /// An accumulator over `count` values of this form, and what is known of its result.
    fn accumulator(&mut self, value: Value, count: i64) -> (Accumulator, Value) {
        let dtype = value.dtype;
        let float = dtype.is_float();
        let all = [ReduceOp::Sum, ReduceOp::Prod, ReduceOp::Max, ReduceOp::Min];
        let suits = |op: &ReduceOp| {
            let bound = match op {
                ReduceOp::Sum => value.bound * count as f64,
                ReduceOp::Prod => value.bound.max(1.0).powi(count as i32),
                _ => 0.0,
            };
            ops::reduce_accepts(*op, dtype) && (!float || bound <= MAX_SUM)
        };
        let fitting: Vec<ReduceOp> = all.into_iter().filter(suits).collect();
        let op = self.rng.pick(&fitting);
        let order = matches!(op, ReduceOp::Max | ReduceOp::Min);
        let init = match op {
            ReduceOp::Sum => 0.0,
            ReduceOp::Prod => 1.0,
            ReduceOp::Max if dtype == DType::Bool => 0.0,
            ReduceOp::Max => f64::NEG_INFINITY,
            ReduceOp::Min if dtype == DType::Bool => 1.0,
            ReduceOp::Min => f64::INFINITY,
        };
        let init = Expr::constant(dtype, init);
        let var = self.kernel.add_var("r", dtype, i64::MIN, i64::MAX);
        let bound = if order { value.bound } else { MAX_SUM };
        let exact = value.exact && (order || !float);
        let result = Value { expr: Expr::Var(var), dtype, exact, leaf: false, bound };
        (Accumulator { var, op, init, value: value.expr }, result)
    }

    fn vector(&mut self, var: Var, extent: &Index) -> Loop {
        Loop { var, extent: extent.clone(), axis: AxisKind::Vector }
    }
}

/// `reduce` over a row, one or two accumulators at once, then a map over the row that uses them; perhaps a second
/// reduce between, perhaps intermediate values in scratch.
pub(super) fn rows(b: &mut Builder) {
    let (rows, columns) = (b.rng.between(1, 5), b.rng.between(1, 70));
    let p = b.parallel(rows);
    let extent = b.extent_dim(columns);
    let inputs: Vec<_> = (0..b.rng.between(1, 3))
        .map(|_| {
            let dtype = b.any_dtype();
            let whole = b.rng.chance(70);
            let buffer = b.buffer(dtype, if whole { rows * columns } else { columns }, Fill::Tame);
            (buffer, dtype, whole)
        })
        .collect();
    let leaves_at = |j: Var| {
        let loads = inputs.iter().map(|&(buffer, dtype, whole)| {
            let start = if whole { p.index() * &extent } else { Index::ZERO };
            (buffer, start + j.index(), dtype, true)
        });
        Leaves { loads: loads.collect(), indices: vec![j.index(), p.index()], ..Leaves::default() }
    };
    let scratch = b.rng.chance(50);
    let mut results = vec![];
    let mut kept = None;
    for pass in 0..b.rng.between(1, 2) {
        let j = b.counter("j", columns);
        let mut leaves = leaves_at(j);
        leaves.vars.clone_from(&results);
        let mut body = vec![];
        let dtype = b.computed();
        let value = b.expr(&leaves, dtype, 2);
        b.bind(&mut body, &mut leaves, value.clone());
        if scratch && pass == 0 {
            // Its buffer is declared below, after the parameters.
            let var = leaves.vars[leaves.vars.len() - 1].0;
            body.push(Stmt::Store(crate::BufferRef(u32::MAX), j.index(), Expr::Var(var)));
            kept = Some(value);
        }
        let mut accumulators = vec![];
        let mut found = vec![];
        for _ in 0..b.rng.between(1, 2) {
            let dtype = b.computed();
            let value = b.expr(&leaves, dtype, 1);
            let (accumulator, result) = b.accumulator(value, columns);
            found.push((accumulator.var, result));
            accumulators.push(accumulator);
        }
        results.extend(found);
        let l = b.vector(j, &extent);
        b.kernel.body.push(Stmt::Reduce(l, body, accumulators));
    }
    let j = b.counter("j", columns);
    let mut leaves = leaves_at(j);
    leaves.vars = results;
    let mut body = vec![];
    let output = b.any_dtype();
    let target = b.buffer(output, rows * columns, Fill::Output);
    if let Some(value) = kept {
        let dtype = value.dtype;
        let buffer = b.kernel.add_buffer("s", dtype, Access::Scratch { elements: columns as usize });
        if let Some(Stmt::Reduce(_, body, _)) = b.kernel.body.first_mut() {
            for stmt in body {
                if let Stmt::Store(place, ..) = stmt {
                    *place = buffer;
                }
            }
        }
        let again = Value { expr: Expr::Load(buffer, j.index()), leaf: false, ..value };
        b.bind(&mut body, &mut leaves, again);
    }
    let value = b.any(&leaves, output, 3);
    body.push(Stmt::Store(target, p.index() * &extent + j.index(), value.expr));
    let l = b.vector(j, &extent);
    b.kernel.body.push(Stmt::For(l, body));
}

/// A one-dimensional window over rows, padded at both ends, vectorised over channels.
pub(super) fn pool(b: &mut Builder) {
    let (rows, channels, window) = (b.rng.between(1, 6), b.rng.between(1, 40), b.rng.between(1, 4));
    let pad = b.rng.between(0, window - 1);
    let p = b.parallel(rows);
    let (j, k) = (b.counter("j", channels), b.counter("k", window));
    let input = b.any_dtype();
    let buffer = b.buffer(input, rows * channels, Fill::Tame);
    let row = p.index() + k.index() - pad;
    let at = |op, bound: i64| Expr::binary(op, Expr::Index(row.clone()), Expr::constant(DType::I64, bound as f64));
    let inside = Expr::binary(BinaryOp::And, at(BinaryOp::Ge, 0), at(BinaryOp::Lt, rows));
    let leaves = Leaves {
        guarded: vec![(inside, buffer, &row * channels + j.index(), input)],
        indices: vec![k.index()],
        ..Leaves::default()
    };
    let dtype = if b.rng.chance(60) && !matches!(input, DType::F16 | DType::BF16) { input } else { b.computed() };
    let value = b.expr(&leaves, dtype, 1);
    let (accumulator, result) = b.accumulator(value, window);
    let lanes = b.rng.pick(&[AxisKind::Serial, AxisKind::Unrolled]);
    let window = Loop { var: k, extent: Index::from(window), axis: lanes };
    let after = Leaves { vars: vec![(accumulator.var, result)], ..Leaves::default() };
    let output = b.any_dtype();
    let target = b.buffer(output, rows * channels, Fill::Output);
    let value = b.any(&after, output, 2);
    let body = vec![
        Stmt::Reduce(window, vec![], vec![accumulator]),
        Stmt::Store(target, p.index() * channels + j.index(), value.expr),
    ];
    let l = b.vector(j, &Index::from(channels));
    b.kernel.body.push(Stmt::For(l, body));
}

//! Probabilities of classes from those of each pair of classes.
//!
//! Source: T.-F. Wu, C.-J. Lin and R. C. Weng, "Probability estimates for multi-class classification by pairwise coupling",
//! JMLR 5, 2004, <https://www.jmlr.org/papers/v5/wu04a.html>, algorithm 2, with the bound on iterations and the tolerance that
//! libsvm and ONNX Runtime have. Each row ends as if it stood alone: one that has converged stays as it is while others go on.

use crate::context::Context;
use crate::error::{Result, invalid};
use crate::subgraph::Iteration;
use nnc_ir::op::{BinaryOp, ReduceOp, UnaryOp};
use nnc_ir::{DType, Dim, Op, Tensor, ValueId};

/// Most rounds over all classes.
const MOST_ROUNDS: i64 = 100;
/// How far, over the number of classes, a row may be from the solution.
const TOLERANCE: f64 = 0.005;

/// The problem of each row: `p` such that `q p` is the same for all classes.
#[derive(Clone, Copy)]
struct Problem {
    /// `[rows, classes, classes]`, symmetric.
    q: ValueId,
    /// Its diagonal, `[rows, classes]`.
    diagonal: ValueId,
}

/// The state between two steps of a round, of each row.
#[derive(Clone, Copy)]
struct State {
    /// `[rows, classes]`.
    p: ValueId,
    /// `q p`, `[rows, classes]`.
    qp: ValueId,
    /// `p q p`, `[rows, 1]`.
    pqp: ValueId,
}

/// `f32[rows, classes]` from `first`, `f32[rows, pairs]`: how probable the first class is of each pair, `(0, 1)`, `(0, 2)`, ..
pub(crate) fn coupled(ctx: &mut Context, first: ValueId, classes: usize) -> Result<ValueId> {
    let rows = ctx.dim(first, 0);
    let problem = problem(ctx, first, classes)?;
    let start = ctx.full(DType::F32, 1.0 / classes as f64, &[rows, Dim::from(classes)])?;
    let found = ctx.repeat(MOST_ROUNDS, &[start], |ctx, _, states| {
        let problem = Problem { q: ctx.taken_in(problem.q), diagonal: ctx.taken_in(problem.diagonal) };
        let p = states[0];
        let state = products(ctx, problem, p)?;
        let apart = ctx.sub(state.qp, state.pqp)?;
        let apart = ctx.unary(UnaryOp::Abs, apart)?;
        let apart = ctx.reduce(ReduceOp::Max, apart, &[1], true)?;
        // False where something is NaN, so that such rows end.
        let open = ctx.binary_scalar(BinaryOp::Ge, apart, f64::from(TOLERANCE as f32 / classes as f32))?;
        let next = round(ctx, problem, state, classes)?;
        let p = ctx.select(open, next, p)?;
        let count = ctx.convert(open, DType::I64)?;
        let count = ctx.reduce(ReduceOp::Sum, count, &[0, 1], false)?;
        let again = ctx.binary_scalar(BinaryOp::Gt, count, 0.0)?;
        Ok(Iteration { again: Some(again), carried: vec![p] })
    })?;
    found.first().copied().ok_or_else(|| invalid("the loop has no result"))
}

/// `[rows, classes, classes]` from two values of each pair, `[rows, pairs]`: that of the first class at `[first, second]`, that
/// of the second at `[second, first]`, and 0 on the diagonal.
pub(crate) fn square(ctx: &mut Context, first: ValueId, second: ValueId, classes: usize) -> Result<ValueId> {
    let pairs = ctx.dim(first, 1);
    let none = ctx.full(ctx.dtype(first), 0.0, &[ctx.dim(first, 0), Dim::ONE])?;
    let all = ctx.concat(&[first, second, none], 1)?;
    let pairs = pairs.as_const().unwrap_or(0);
    let mut places = vec![2 * pairs; classes * classes];
    let mut pair = 0;
    for i in 0..classes {
        for j in i + 1..classes {
            places[i * classes + j] = pair;
            places[j * classes + i] = pairs + pair;
            pair += 1;
        }
    }
    let places = ctx.constant(Tensor::from_slice(&[classes, classes], &places));
    ctx.one(Op::Gather { axis: 1, batch: 0 }, &[all, places])
}

/// `q[i, j] = -r[j, i] r[i, j]`, and on the diagonal the sum of the squares of `r[j, i]`, where `r[i, j]` is how probable
/// `i` is where it is `i` or `j`.
fn problem(ctx: &mut Context, first: ValueId, classes: usize) -> Result<Problem> {
    let second = ctx.unary(UnaryOp::Neg, first)?;
    let second = ctx.binary_scalar(BinaryOp::Add, second, 1.0)?;
    let r = square(ctx, first, second, classes)?;
    let turned = ctx.transpose(r, &[0, 2, 1])?;
    let off = ctx.mul(r, turned)?;
    let off = ctx.unary(UnaryOp::Neg, off)?;
    let squares = ctx.mul(r, r)?;
    let diagonal = ctx.reduce(ReduceOp::Sum, squares, &[1], false)?;
    let size = Dim::from(classes);
    let shape = [size.clone(), size];
    let (row, column) = (ctx.iota(DType::I64, &shape, 0)?, ctx.iota(DType::I64, &shape, 1)?);
    let equal = ctx.binary(BinaryOp::Eq, row, column)?;
    let spread = ctx.unsqueeze(diagonal, &[2])?;
    Ok(Problem { q: ctx.select(equal, spread, off)?, diagonal })
}

/// The products with `p`, worked out anew.
fn products(ctx: &mut Context, problem: Problem, p: ValueId) -> Result<State> {
    let wide = ctx.unsqueeze(p, &[1])?;
    let qp = ctx.mul(problem.q, wide)?;
    let qp = ctx.reduce(ReduceOp::Sum, qp, &[2], false)?;
    let pqp = ctx.mul(p, qp)?;
    let pqp = ctx.reduce(ReduceOp::Sum, pqp, &[1], true)?;
    Ok(State { p, qp, pqp })
}

/// One round: for each class in turn the best value with the others in proportion.
fn round(ctx: &mut Context, problem: Problem, state: State, classes: usize) -> Result<ValueId> {
    let State { p, qp, pqp } = state;
    let left = ctx.repeat(classes as i64, &[p, qp, pqp], |ctx, class, states| {
        let problem = Problem { q: ctx.taken_in(problem.q), diagonal: ctx.taken_in(problem.diagonal) };
        let &[p, qp, pqp] = states else { return Err(invalid("the loop carries three values")) };
        let state = step(ctx, problem, State { p, qp, pqp }, class)?;
        Ok(Iteration { again: None, carried: vec![state.p, state.qp, state.pqp] })
    })?;
    left.first().copied().ok_or_else(|| invalid("the loop has no result"))
}

/// The step of one class, an `i64` scalar.
fn step(ctx: &mut Context, problem: Problem, state: State, class: ValueId) -> Result<State> {
    let State { p, qp, pqp } = state;
    let column = |ctx: &mut Context, x: ValueId| -> Result<ValueId> {
        let taken = ctx.one(Op::Gather { axis: 1, batch: 0 }, &[x, class])?;
        if ctx.rank(taken) == 1 { ctx.unsqueeze(taken, &[1]) } else { Ok(taken) }
    };
    let (q_row, q_own, own) = (column(ctx, problem.q)?, column(ctx, problem.diagonal)?, column(ctx, qp)?);
    let change = ctx.sub(pqp, own)?;
    let change = ctx.div(change, q_own)?;
    let total = ctx.binary_scalar(BinaryOp::Add, change, 1.0)?;
    let shape = ctx.shape(p);
    let classes = ctx.iota(DType::I64, &shape, 1)?;
    let here = ctx.binary(BinaryOp::Eq, classes, class)?;
    let more = ctx.add(p, change)?;
    let p = ctx.select(here, more, p)?;
    let p = ctx.div(p, total)?;
    let grown = ctx.mul(change, q_own)?;
    let twice = ctx.binary_scalar(BinaryOp::Mul, own, 2.0)?;
    let grown = ctx.add(grown, twice)?;
    let grown = ctx.mul(change, grown)?;
    let pqp = ctx.add(pqp, grown)?;
    let pqp = ctx.div(pqp, total)?;
    let pqp = ctx.div(pqp, total)?;
    let added = ctx.mul(change, q_row)?;
    let qp = ctx.add(qp, added)?;
    Ok(State { p, qp: ctx.div(qp, total)?, pqp })
}

#[cfg(test)]
mod tests {
    use crate::testing::sketch;
    use nnc_onnx::Attribute;

    /// The same algorithm, row by row, in `f64`.
    fn expected(r: &[f64], classes: usize) -> Vec<f64> {
        let at = |i: usize, j: usize| i * classes + j;
        let mut q = vec![0.0; classes * classes];
        for i in 0..classes {
            for j in (0..classes).filter(|&j| j != i) {
                q[at(i, i)] += r[at(j, i)] * r[at(j, i)];
                q[at(i, j)] = -r[at(j, i)] * r[at(i, j)];
            }
        }
        let mut p = vec![1.0 / classes as f64; classes];
        for _ in 0..100 {
            let mut qp: Vec<f64> = (0..classes).map(|i| (0..classes).map(|j| q[at(i, j)] * p[j]).sum()).collect();
            let mut pqp: f64 = p.iter().zip(&qp).map(|(p, q)| p * q).sum();
            if qp.iter().all(|q| (q - pqp).abs() < 0.005 / classes as f64) {
                break;
            }
            for i in 0..classes {
                let own = q[at(i, i)];
                let change = (pqp - qp[i]) / own;
                p[i] += change;
                pqp = (pqp + change * (change * own + 2.0 * qp[i])) / (1.0 + change).powi(2);
                for j in 0..classes {
                    qp[j] = (qp[j] + change * q[at(i, j)]) / (1.0 + change);
                    p[j] /= 1.0 + change;
                }
            }
        }
        p
    }

    /// Rows need different numbers of rounds: one at the start, one that is clear, and one that contradicts itself.
    #[test]
    fn rows_end_as_if_alone() {
        let (classes, rows) = (4, [[0.0; 6], [3.0, 2.0, 5.0, -1.0, 2.5, 4.0], [4.0, -4.0, 0.5, 5.0, -3.0, 2.0]]);
        let x = sketch().given("x", &[3, 6], rows.map(|row| row.map(|v| v as f32)).as_flattened());
        let mut model =
            x.node("SVMClassifier", "x -> l s").domain("ai.onnx.ml").int_list("classlabels_ints", &[0, 1, 2, 3]);
        // Each class has a vector per feature; pair `k` of the first class weighs feature `k`.
        let mut vectors = vec![];
        let mut coefficients = vec![vec![0.0f32; 24]; 3];
        let (mut pair, mut list) = (0, vec![]);
        for i in 0..classes {
            vectors.extend((0..36).map(|at| f32::from(u8::from(at % 7 == 0))));
            for j in i + 1..classes {
                coefficients[j - 1][6 * i + pair] = 1.0;
                list.push((i, j));
                pair += 1;
            }
        }
        for (name, value) in [
            ("support_vectors", vectors),
            ("coefficients", coefficients.concat()),
            ("rho", vec![0.0; 6]),
            ("prob_a", vec![-1.0; 6]),
            ("prob_b", vec![0.0; 6]),
        ] {
            model = model.attribute(name, Attribute::Floats(value));
        }
        let found = model.int_list("vectors_per_class", &[6; 4]).output("s").run();
        let found: Vec<f64> = found.split(' ').skip(2).map(|v| v.parse().unwrap()).collect();
        for (row, found) in rows.iter().zip(found.chunks(classes)) {
            let mut r = vec![0.0; classes * classes];
            for (&(i, j), score) in list.iter().zip(row) {
                r[i * classes + j] = 1.0 / (1.0 + f64::exp(-score));
                r[j * classes + i] = 1.0 - r[i * classes + j];
            }
            for (found, expected) in found.iter().zip(expected(&r, classes)) {
                assert!((found - expected).abs() < 1e-4, "{row:?}: {found} instead of {expected}");
            }
        }
    }
}

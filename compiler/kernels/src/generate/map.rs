//! Elementwise kernels: one to three loops, every way of addressing, scalar code around them.

use super::expr::{Leaves, Value};
use super::{Builder, Fill};
use crate::kernel::{AxisKind, Expr, Index, Loop, Stmt, Var};
use nnc_ir::DType;
use nnc_ir::op::BinaryOp;

/// Sizes and indices of a nest `parallel p { for i { for vector j {} } }`.
struct Nest {
    i: Var,
    j: Var,
    rows: i64,
    columns: i64,
    columns_dim: Index,
    row: Index,
    /// Row-major element.
    element: Index,
}

impl Builder {
    /// A size: a constant, or sometimes a parameter holding it.
    pub(super) fn extent_dim(&mut self, size: i64) -> Index {
        if self.rng.chance(75) {
            return Index::from(size);
        }
        let n = self.kernel.add_var("n", DType::I64, 0, 4096);
        self.kernel.params.push(n);
        self.params.push(size);
        n.index()
    }

    /// Makes the parallel loop run over this many iterations; returns its variable.
    pub(super) fn parallel(&mut self, size: i64) -> Var {
        self.extent = size;
        let dim = self.extent_dim(size);
        let p = self.kernel.parallel.0;
        self.kernel.parallel.1 = dim;
        self.kernel.vars[p.0 as usize].max = size - 1;
        p
    }

    pub(super) fn counter(&mut self, name: &str, size: i64) -> Var {
        self.kernel.add_var(name, DType::I64, 0, size - 1)
    }

    pub(super) fn any_dtype(&mut self) -> DType {
        if self.rng.chance(35) { DType::F32 } else { self.rng.pick(&DType::ALL) }
    }

    pub(super) fn bind(&mut self, body: &mut Vec<Stmt>, leaves: &mut Leaves, value: Value) -> Var {
        let var = self.kernel.add_var("t", value.dtype, i64::MIN, i64::MAX);
        body.push(Stmt::Let(var, value.expr.clone()));
        leaves.vars.push((var, value));
        var
    }
}

pub(super) fn map(b: &mut Builder) {
    let (parallel, inner) = (b.rng.between(1, 5), if b.rng.chance(50) { b.rng.between(1, 4) } else { 1 });
    let columns = if b.rng.chance(20) { b.rng.between(1, 130) } else { b.rng.between(1, 40) };
    let p = b.parallel(parallel);
    let columns_dim = b.extent_dim(columns);
    let (i, j) = (b.counter("i", inner), b.counter("j", columns));
    let row = p.index() * inner + i.index();
    let element = &row * &columns_dim + j.index();
    let nest = Nest { i, j, rows: parallel * inner, columns, columns_dim, row, element };

    let mut body = vec![];
    let mut leaves = Leaves { indices: vec![j.index(), nest.element.clone(), nest.row.clone()], ..Leaves::default() };
    for _ in 0..b.rng.between(1, 4) {
        input(b, &nest, &mut body, &mut leaves);
    }
    for _ in 0..b.rng.between(0, 2) {
        let dtype = b.computed();
        let value = b.expr(&leaves, dtype, 2);
        b.bind(&mut body, &mut leaves, value);
    }
    for _ in 0..b.rng.between(1, 2) {
        output(b, &nest, &mut body, &mut leaves);
    }
    let vector = Stmt::For(Loop { var: j, extent: nest.columns_dim.clone(), axis: AxisKind::Vector }, body);
    let lanes = b.rng.pick(&[AxisKind::Serial, AxisKind::Unrolled]);
    let nested = Stmt::For(Loop { var: nest.i, extent: Index::from(inner), axis: lanes }, vec![vector]);
    b.kernel.body.push(nested);
    if b.rng.chance(20) {
        scalar_loop(b, p, parallel);
    }
}

/// Adds an input and a way to read it.
fn input(b: &mut Builder, nest: &Nest, body: &mut Vec<Stmt>, leaves: &mut Leaves) {
    let dtype = b.any_dtype();
    let tame = b.rng.chance(70);
    let fill = if tame { Fill::Tame } else { Fill::Wild };
    let (rows, columns) = (nest.rows, nest.columns);
    let j = nest.j.index();
    let (size, index) = match b.rng.below(12) {
        0 | 1 => (rows * columns, nest.element.clone()),
        2 => (rows, nest.row.clone()),
        3 => (columns, j),
        // Strided: transposed, every third, backwards.
        4 => (rows * columns, j * &b.extent_dim(rows) + &nest.row),
        5 => (rows * columns * 3, &nest.element * 3 + 1),
        6 => (columns, &nest.columns_dim - j - 1),
        // Each element twice: opaque to affine analysis.
        7 => (columns, j.floor_div(&Index::from(2))),
        // Divisors that may be 0 or negative as far as their range tells, and one that is.
        8 => (rows * columns, nest.element.floor_div(&(&nest.columns_dim * 2 - 1))),
        // A dividend below 0, divided by a constant.
        9 => (rows * columns, Index::ZERO - (Index::ZERO - &nest.element).floor_div(&Index::from(3))),
        10 => (rows * columns, Index::ZERO - (Index::ZERO - &nest.element).rem(&(Index::ZERO - &nest.columns_dim))),
        _ => {
            let size = b.rng.between(1, 50);
            let positions = b.buffer(DType::I64, rows * columns, Fill::Below(size));
            let g = b.kernel.add_var("g", DType::I64, 0, size - 1);
            body.push(Stmt::Let(g, Expr::Load(positions, nest.element.clone())));
            (size, g.index())
        }
    };
    if b.rng.chance(15) {
        // The buffer ends before the loop does.
        let size = b.rng.between(1, columns);
        let buffer = b.buffer(dtype, size, Fill::Tame);
        let inside = Expr::binary(BinaryOp::Lt, Expr::Index(nest.j.index()), Expr::constant(DType::I64, size as f64));
        leaves.guarded.push((inside, buffer, nest.j.index(), dtype));
        return;
    }
    let buffer = b.buffer(dtype, size, fill);
    leaves.loads.push((buffer, index, dtype, tame));
}

fn output(b: &mut Builder, nest: &Nest, body: &mut Vec<Stmt>, leaves: &mut Leaves) {
    let dtype = b.any_dtype();
    let count = nest.rows * nest.columns;
    let (size, index) = match b.rng.below(6) {
        0 => (count, nest.j.index() * nest.rows + &nest.row),
        1 => (count * 2, &nest.element * 2),
        _ => (count, nest.element.clone()),
    };
    let buffer = b.buffer(dtype, size, Fill::Output);
    if b.rng.chance(15) && dtype != DType::Bool {
        // What is there already, updated in place.
        leaves.loads.push((buffer, index.clone(), dtype, false));
    }
    let value = b.any(leaves, dtype, 3);
    let store = Stmt::Store(buffer, index.clone(), value.expr);
    leaves.loads.retain(|l| l.0 != buffer);
    if b.rng.chance(15) {
        let p = b.kernel.parallel.0;
        let condition = Expr::binary(BinaryOp::Gt, Expr::Index(p.index()), Expr::constant(DType::I64, 1.0));
        let other = b.any(leaves, dtype, 1);
        body.push(Stmt::If(condition, vec![store], vec![Stmt::Store(buffer, index, other.expr)]));
    } else {
        body.push(store);
    }
}

/// Mutable variables, a while loop and a store at a computed place.
fn scalar_loop(b: &mut Builder, p: Var, parallel: i64) {
    let rounds = b.rng.between(1, 6);
    let buffer = b.buffer(DType::I64, parallel * rounds, Fill::Output);
    let k = b.kernel.add_var("k", DType::I64, 0, rounds);
    let sum = b.kernel.add_var("sum", DType::I64, i64::MIN, i64::MAX);
    let number = |v: i64| Expr::constant(DType::I64, v as f64);
    let next = Expr::binary(
        BinaryOp::Add,
        Expr::binary(BinaryOp::Mul, Expr::Var(sum), number(3)),
        Expr::Index(p.index() + k.index()),
    );
    let done = Expr::binary(BinaryOp::Gt, Expr::Var(sum), number(1 << 40));
    b.kernel.body.extend([
        Stmt::Mutable(k, number(0)),
        Stmt::Mutable(sum, Expr::Index(p.index() + 1)),
        Stmt::While(
            Expr::binary(BinaryOp::Lt, Expr::Var(k), number(rounds)),
            vec![
                Stmt::Assign(sum, next),
                Stmt::If(done, vec![Stmt::Fail(8)], vec![]),
                Stmt::Store(buffer, p.index() * rounds + k.index(), Expr::Var(sum)),
                Stmt::Assign(k, Expr::Index(k.index() + 1)),
            ],
        ),
    ]);
}

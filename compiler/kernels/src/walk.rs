//! The one recursion over expressions and statements: everything that looks for something in a kernel, or changes it in
//! place, goes through here. What gives each form a meaning of its own (printing, verifying, running, lowering) matches
//! the forms instead.
//!
//! Invariant: operands, values, definitions and blocks come in the order in which they are written.

use crate::contraction::{Fetch, RightLayout};
use crate::kernel::{Accumulator, AxisKind, BufferRef, Expr, Index, Stmt, Var};

impl Expr {
    /// The expressions that this one is directly made of.
    pub fn operands(&self) -> impl Iterator<Item = &Expr> {
        let operands: [Option<&Expr>; 3] = match self {
            Expr::Const(_) | Expr::Var(_) | Expr::Index(_) | Expr::Load(..) => [None; 3],
            Expr::Unary(_, x) | Expr::Convert(_, x) | Expr::Bitcast(_, x) => [Some(x), None, None],
            Expr::Binary(_, x, y) => [Some(x), Some(y), None],
            Expr::MulAdd(x, y, z) | Expr::Select(x, y, z) => [Some(x), Some(y), Some(z)],
            Expr::LoadIf { condition, otherwise, .. } => [Some(condition), Some(otherwise), None],
        };
        operands.into_iter().flatten()
    }

    /// The same, to be changed.
    pub fn operands_mut(&mut self) -> impl Iterator<Item = &mut Expr> {
        let operands: [Option<&mut Expr>; 3] = match self {
            Expr::Const(_) | Expr::Var(_) | Expr::Index(_) | Expr::Load(..) => [None, None, None],
            Expr::Unary(_, x) | Expr::Convert(_, x) | Expr::Bitcast(_, x) => [Some(x), None, None],
            Expr::Binary(_, x, y) => [Some(x), Some(y), None],
            Expr::MulAdd(x, y, z) | Expr::Select(x, y, z) => [Some(x), Some(y), Some(z)],
            Expr::LoadIf { condition, otherwise, .. } => [Some(condition), Some(otherwise), None],
        };
        operands.into_iter().flatten()
    }

    /// The index that this expression has itself: of a load, or as a number.
    pub fn index(&self) -> Option<&Index> {
        match self {
            Expr::Index(index) | Expr::Load(_, index) | Expr::LoadIf { index, .. } => Some(index),
            Expr::Const(_) | Expr::Var(_) | Expr::Unary(..) | Expr::Binary(..) => None,
            Expr::MulAdd(..) | Expr::Select(..) | Expr::Convert(..) | Expr::Bitcast(..) => None,
        }
    }

    /// The same, to be changed.
    pub fn index_mut(&mut self) -> Option<&mut Index> {
        match self {
            Expr::Index(index) | Expr::Load(_, index) | Expr::LoadIf { index, .. } => Some(index),
            Expr::Const(_) | Expr::Var(_) | Expr::Unary(..) | Expr::Binary(..) => None,
            Expr::MulAdd(..) | Expr::Select(..) | Expr::Convert(..) | Expr::Bitcast(..) => None,
        }
    }

    /// Calls `f` on all in this expression and then on itself.
    pub fn each_mut(&mut self, f: &mut dyn FnMut(&mut Expr)) {
        self.operands_mut().for_each(|x| x.each_mut(f));
        f(self);
    }

    /// Whether this expression or one in it passes the test.
    pub fn any(&self, test: &dyn Fn(&Expr) -> bool) -> bool {
        test(self) || self.operands().any(|x| x.any(test))
    }

    /// Whether the variable is mentioned, in an index or by itself.
    pub fn mentions(&self, var: Var) -> bool {
        self.any(&|e| *e == Expr::Var(var) || e.index().is_some_and(|index| index.mentions(var)))
    }

    /// Whether memory is read.
    pub fn loads(&self) -> bool {
        self.any(&|e| matches!(e, Expr::Load(..) | Expr::LoadIf { .. }))
    }
}

impl Stmt {
    /// The blocks of statements in this one.
    pub fn blocks(&self) -> impl Iterator<Item = &[Stmt]> {
        let blocks: [Option<&[Stmt]>; 2] = match self {
            Stmt::For(_, body) | Stmt::Reduce(_, body, _) | Stmt::While(_, body) => [Some(body), None],
            Stmt::If(_, then, otherwise) => [Some(then), Some(otherwise)],
            Stmt::Contract(c) => [Some(&c.epilogue.body), None],
            Stmt::Let(..) | Stmt::Store(..) | Stmt::Mutable(..) | Stmt::Assign(..) | Stmt::Fail(_) => [None, None],
        };
        blocks.into_iter().flatten()
    }

    /// The variables that this statement defines, without those of the blocks in it.
    pub fn definitions(&self) -> impl Iterator<Item = Var> {
        let (vars, accumulators): ([Option<Var>; 3], &[Accumulator]) = match self {
            Stmt::Let(var, _) | Stmt::Mutable(var, _) => ([Some(*var), None, None], &[]),
            Stmt::For(l, _) => ([Some(l.var), None, None], &[]),
            Stmt::Reduce(l, _, accumulators) => ([Some(l.var), None, None], accumulators),
            Stmt::Contract(c) => ([Some(c.epilogue.row), Some(c.epilogue.column), Some(c.epilogue.sum)], &[]),
            Stmt::Store(..) | Stmt::Assign(..) | Stmt::If(..) | Stmt::While(..) | Stmt::Fail(_) => ([None; 3], &[]),
        };
        vars.into_iter().flatten().chain(accumulators.iter().map(|a| a.var))
    }

    /// Whether this statement or one in it passes the test.
    pub fn any(&self, test: &dyn Fn(&Stmt) -> bool) -> bool {
        test(self) || self.blocks().flatten().any(|s| s.any(test))
    }
}

/// What a statement or expression mentions.
pub enum Mention<'a> {
    /// An index.
    Index(&'a mut Index),
    /// A buffer.
    Buffer(&'a mut BufferRef),
    /// A variable used or assigned as an expression of its own; those inside an index are not told.
    Var(&'a mut Var),
    /// A variable that is defined here.
    Definition(&'a mut Var),
    /// How a loop is laid onto the machine.
    AxisKind(&'a mut AxisKind),
    /// An expression, after everything in it.
    Expr(&'a mut Expr),
}

/// Calls `f` on everything the statements mention.
pub fn walk(statements: &mut [Stmt], f: &mut dyn FnMut(Mention<'_>)) {
    for statement in statements {
        match statement {
            Stmt::Let(v, e) | Stmt::Mutable(v, e) => {
                walk_expr(e, f);
                f(Mention::Definition(v));
            }
            Stmt::Assign(v, e) => {
                walk_expr(e, f);
                f(Mention::Var(v));
            }
            Stmt::For(l, body) => {
                f(Mention::Index(&mut l.extent));
                f(Mention::AxisKind(&mut l.axis));
                f(Mention::Definition(&mut l.var));
                walk(body, f);
            }
            Stmt::Reduce(l, body, accumulators) => {
                f(Mention::Index(&mut l.extent));
                f(Mention::AxisKind(&mut l.axis));
                f(Mention::Definition(&mut l.var));
                walk(body, f);
                for Accumulator { var, op: _, init, value } in accumulators {
                    walk_expr(init, f);
                    walk_expr(value, f);
                    f(Mention::Definition(var));
                }
            }
            Stmt::Store(b, i, e) => {
                f(Mention::Buffer(b));
                f(Mention::Index(i));
                walk_expr(e, f);
            }
            Stmt::If(c, a, b) => {
                walk_expr(c, f);
                walk(a, f);
                walk(b, f);
            }
            Stmt::While(c, body) => {
                walk_expr(c, f);
                walk(body, f);
            }
            Stmt::Fail(_) => {}
            Stmt::Contract(c) => {
                f(Mention::Buffer(&mut c.left.buffer));
                f(Mention::Buffer(&mut c.right.buffer));
                for i in [
                    &mut c.extents.m,
                    &mut c.extents.n,
                    &mut c.extents.k,
                    &mut c.left.offset,
                    &mut c.left.row_stride,
                    &mut c.right.offset,
                ] {
                    f(Mention::Index(i));
                }
                c.taps.iter_mut().for_each(|t| f(Mention::Index(&mut t.stride)));
                if let RightLayout::Rows { row_stride } = &mut c.right.layout {
                    f(Mention::Index(row_stride));
                }
                if let Some(grid) = &mut c.right.grid {
                    f(Mention::Buffer(&mut grid.buffer));
                    f(Mention::Index(&mut grid.offset));
                }
                if let Fetch::Next { offset, per_row } = &mut c.right.fetch {
                    f(Mention::Index(offset));
                    f(Mention::Index(per_row));
                }
                for v in [&mut c.epilogue.row, &mut c.epilogue.column, &mut c.epilogue.sum] {
                    f(Mention::Definition(v));
                }
                walk(&mut c.epilogue.body, f);
            }
        }
    }
}

fn walk_expr(expr: &mut Expr, f: &mut dyn FnMut(Mention<'_>)) {
    match expr {
        Expr::Var(v) => f(Mention::Var(v)),
        Expr::Load(b, _) | Expr::LoadIf { buffer: b, .. } => f(Mention::Buffer(b)),
        _ => {}
    }
    if let Some(index) = expr.index_mut() {
        f(Mention::Index(index));
    }
    expr.operands_mut().for_each(|x| walk_expr(x, f));
    f(Mention::Expr(expr));
}

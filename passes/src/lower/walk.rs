//! The walk over a kernel's statements that transformations of finished kernels share.

use nnc_kernels::kernel::{Accumulator, BufferRef, Expr, Index, Lanes, RightOperand, Stmt, Var};

/// What a statement or expression mentions.
pub(crate) enum Mention<'a> {
    /// An index.
    Index(&'a mut Index),
    /// A buffer.
    Buffer(&'a mut BufferRef),
    /// A variable used or assigned as an expression of its own; those inside an index are not told.
    Var(&'a mut Var),
    /// A variable that is defined here.
    Definition(&'a mut Var),
    /// How a loop is laid onto the machine.
    Lanes(&'a mut Lanes),
    /// An expression, after everything in it.
    Expr(&'a mut Expr),
}

/// Calls `f` on everything the statements mention.
pub(crate) fn walk(statements: &mut [Stmt], f: &mut dyn FnMut(Mention<'_>)) {
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
                f(Mention::Lanes(&mut l.lanes));
                f(Mention::Definition(&mut l.var));
                walk(body, f);
            }
            Stmt::Reduce(l, body, accumulators) => {
                f(Mention::Index(&mut l.extent));
                f(Mention::Lanes(&mut l.lanes));
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
            Stmt::Gemm(g) => {
                f(Mention::Buffer(&mut g.a));
                f(Mention::Buffer(&mut g.b));
                for i in [&mut g.m, &mut g.n, &mut g.k, &mut g.a_offset, &mut g.a_row_stride, &mut g.b_offset] {
                    f(Mention::Index(i));
                }
                g.taps.iter_mut().for_each(|t| f(Mention::Index(&mut t.1)));
                if let RightOperand::Rows { row_stride } = &mut g.b_layout {
                    f(Mention::Index(row_stride));
                }
                for v in [&mut g.row, &mut g.col, &mut g.acc] {
                    f(Mention::Definition(v));
                }
                walk(&mut g.epilogue, f);
            }
        }
    }
}

fn walk_expr(expr: &mut Expr, f: &mut dyn FnMut(Mention<'_>)) {
    match expr {
        Expr::Const(_) => {}
        Expr::Var(v) => f(Mention::Var(v)),
        Expr::Index(i) => f(Mention::Index(i)),
        Expr::Load(b, i) => {
            f(Mention::Buffer(b));
            f(Mention::Index(i));
        }
        Expr::Unary(_, x) | Expr::Convert(_, x) | Expr::Bitcast(_, x) => walk_expr(x, f),
        Expr::Binary(_, x, y) => {
            walk_expr(x, f);
            walk_expr(y, f);
        }
        Expr::MulAdd(x, y, z) | Expr::Select(x, y, z) => {
            walk_expr(x, f);
            walk_expr(y, f);
            walk_expr(z, f);
        }
        Expr::LoadIf { condition, buffer, index, otherwise } => {
            f(Mention::Buffer(buffer));
            f(Mention::Index(index));
            walk_expr(condition, f);
            walk_expr(otherwise, f);
        }
    }
    f(Mention::Expr(expr));
}

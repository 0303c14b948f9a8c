//! Testing once what is the same for all iterations: whether the axes that borders read have elements.
//!
//! Such conditions stand at each load (`lower/empty.rs`). A kernel with any holds its body twice: one as fast as if there were
//! none, and one that tests at each load.

use super::rename;
use nnc_ir::op::BinaryOp;
use nnc_kernels::kernel::{AxisKind, Expr, Index, Kernel, Stmt, Var};
use nnc_kernels::walk::{Mention, walk};
use rustc_hash::FxHashMap;

/// Tests the sizes of a kernel once.
pub(super) fn unswitch(kernel: &mut Kernel) {
    let (mut conditions, mut tests): (Vec<Expr>, Vec<Expr>) = (vec![], vec![]);
    let params = kernel.params.clone();
    walk(&mut kernel.body, &mut |mention| {
        let Mention::Expr(Expr::LoadIf { condition, .. } | Expr::Select(condition, ..)) = mention else { return };
        if conditions.contains(condition) {
            return;
        }
        let mut sizes = vec![];
        if has_elements(condition, &params, &mut sizes) {
            conditions.push((**condition).clone());
            sizes.retain(|test| !tests.contains(test));
            tests.append(&mut sizes);
        }
    });
    let Some(all) = tests.into_iter().reduce(|all, test| Expr::binary(BinaryOp::And, all, test)) else { return };
    let mut slow = kernel.body.clone();
    let mut fast = std::mem::take(&mut kernel.body);
    assume(&mut fast, &conditions);
    one_by_one(&mut slow);
    let vars = kernel.vars.clone();
    rename(&mut slow, &vars, kernel, FxHashMap::default());
    kernel.body = vec![Stmt::If(all, fast, slow)];
}

/// Whether a condition says of some sizes, all of them parameters, that they are not 0; collects what it says of each.
fn has_elements(condition: &Expr, params: &[Var], tests: &mut Vec<Expr>) -> bool {
    match condition {
        Expr::Binary(BinaryOp::And, x, y) => has_elements(x, params, tests) && has_elements(y, params, tests),
        Expr::Binary(BinaryOp::Ge, size, one) => match (&**size, &**one) {
            (Expr::Index(size), Expr::Index(one)) if *one == Index::ONE => {
                tests.push(condition.clone());
                size.vars().iter().all(|v| params.contains(v))
            }
            _ => false,
        },
        _ => false,
    }
}

/// Takes these conditions as true.
fn assume(statements: &mut [Stmt], conditions: &[Expr]) {
    walk(statements, &mut |mention| {
        let Mention::Expr(expr) = mention else { return };
        match expr {
            Expr::LoadIf { condition, buffer, index, .. } if conditions.contains(condition) => {
                *expr = Expr::Load(*buffer, index.clone());
            }
            Expr::Select(condition, x, _) if conditions.contains(condition) => {
                let x = std::mem::replace(&mut **x, Expr::Index(Index::ZERO));
                *expr = x;
            }
            _ => {}
        }
    });
}

/// Runs loops one iteration at a time: the generators of wide code need not know guarded loads of every type.
fn one_by_one(statements: &mut [Stmt]) {
    walk(statements, &mut |mention| {
        if let Mention::AxisKind(lanes @ AxisKind::Vector) = mention {
            *lanes = AxisKind::Serial;
        }
    });
}

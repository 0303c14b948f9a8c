//! What an index does when a loop variable advances: the question every backend asks of every load and store.
//!
//! Invariants: every answer fails closed. `None`, [`AccessKind::Gather`], "varies" and the full range of `i64` are
//! always correct, only slow.

use crate::contraction::Contraction;
use crate::index::{Factor, Polynomial};
use crate::kernel::{Accumulator, Expr, Index, Stmt, Var};
use rustc_hash::FxHashSet;

/// How the elements that one load or store touches lie, as the variable of a vector loop counts up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessKind {
    /// All lanes touch one element.
    Uniform,
    /// Neighbouring lanes touch neighbouring elements.
    Contiguous,
    /// Neighbouring lanes are this many elements apart (the same for all lanes; not the constants 0 and 1).
    Strided(Index),
    /// No pattern is known.
    Gather,
}

/// What the index gains when `var` grows by one: 0 when it is absent, `None` when that depends on `var` itself.
pub fn coefficient(index: &Index, var: Var) -> Option<Index> {
    split(index, var).map(|(coefficient, _)| coefficient)
}

/// Writes the index as `coefficient * var + rest` where neither part mentions `var`; `None` when it is not linear in
/// `var` or has it inside a division, minimum or other opaque operation.
pub fn split(index: &Index, var: Var) -> Option<(Index, Index)> {
    for (_, factors) in index.view().terms {
        let mut degree = 0;
        for factor in factors {
            match factor {
                Factor::Var(v) => degree += u32::from(v == var),
                Factor::Op(_, operands) if operands.iter().any(|i| i.mentions(var)) => return None,
                Factor::Op(..) => {}
            }
        }
        if degree > 1 {
            return None;
        }
    }
    // Linear, so the two values at 0 and 1 determine it.
    let at = |value: i64| index.substitute(&|v| (v == var).then(|| Index::from(value)));
    let rest = at(0);
    let coefficient = at(1) - &rest;
    (rest != Index::OVERFLOW && coefficient != Index::OVERFLOW).then_some((coefficient, rest))
}

/// The variables whose values differ between the lanes of one vector loop: its variable, and what is computed from it.
#[derive(Clone, Debug)]
pub struct Varying {
    lane: Var,
    vars: FxHashSet<Var>,
}

impl Varying {
    /// Of a loop over `lane` with this body (which, being a vector loop's, assigns no mutable variable).
    pub fn new(lane: Var, body: &[Stmt]) -> Varying {
        let mut varying = Varying { lane, vars: FxHashSet::default() };
        varying.vars.insert(lane);
        varying.block(body);
        varying
    }

    /// Of a contraction's epilogue, whose lanes are columns.
    pub fn of_epilogue(c: &Contraction) -> Varying {
        let mut varying = Varying { lane: c.epilogue.column, vars: FxHashSet::default() };
        varying.vars.extend([c.epilogue.column, c.epilogue.sum]);
        varying.block(&c.epilogue.body);
        varying
    }

    // Variables are assigned once and defined before use, so one walk in program order sees every dependence.
    fn block(&mut self, body: &[Stmt]) {
        for stmt in body {
            stmt.blocks().for_each(|inner| self.block(inner));
            match stmt {
                Stmt::Let(var, value) | Stmt::Mutable(var, value) | Stmt::Assign(var, value) => {
                    if self.expr(value) {
                        self.vars.insert(*var);
                    }
                }
                Stmt::Reduce(_, _, accumulators) => {
                    for Accumulator { var, init, value, .. } in accumulators {
                        if self.expr(init) || self.expr(value) {
                            self.vars.insert(*var);
                        }
                    }
                }
                Stmt::For(..)
                | Stmt::While(..)
                | Stmt::If(..)
                | Stmt::Contract(_)
                | Stmt::Store(..)
                | Stmt::Fail(_) => {}
            }
        }
    }

    /// Whether the variable differs between lanes.
    pub fn contains(&self, var: Var) -> bool {
        self.vars.contains(&var)
    }

    /// Whether the index differs between lanes.
    pub fn index(&self, index: &Index) -> bool {
        index.as_const().is_none() && index.vars().iter().any(|v| self.vars.contains(v))
    }

    /// Whether the expression may differ between lanes.
    pub fn expr(&self, expr: &Expr) -> bool {
        expr.any(&|e| match e {
            Expr::Var(var) => self.contains(*var),
            _ => e.index().is_some_and(|index| self.index(index)),
        })
    }

    /// How a load or store with this index lies over the lanes.
    pub fn access(&self, index: &Index) -> AccessKind {
        let vars = index.vars();
        if !vars.iter().any(|v| self.vars.contains(v)) {
            return AccessKind::Uniform;
        }
        if vars.iter().any(|v| *v != self.lane && self.vars.contains(v)) {
            return AccessKind::Gather;
        }
        match coefficient(index, self.lane) {
            None => AccessKind::Gather,
            Some(stride) => match stride.as_const() {
                Some(0) => AccessKind::Uniform,
                Some(1) => AccessKind::Contiguous,
                _ => AccessKind::Strided(stride),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::Ranges;
    use crate::kernel::{Access, BufferRef, Kernel};
    use nnc_ir::DType;

    #[test]
    fn coefficients() {
        let (i, j) = (Var(0), Var(1));
        let index = i.index() * 768 + &(i.index() * j.index()) + j.index() * 3 + 5;
        assert_eq!(coefficient(&index, i), Some(j.index() + 768));
        assert_eq!(split(&index, j), Some((i.index() + 3, i.index() * 768 + 5)));
        assert_eq!(coefficient(&index, Var(2)), Some(Index::ZERO));
        assert_eq!(coefficient(&(j.index() * j.index()), j), None);
        let opaque = j.index().floor_div(&Index::from(2)) + &i.index();
        assert_eq!(coefficient(&opaque, j), None);
        assert_eq!(coefficient(&opaque, i), Some(Index::ONE));
    }

    #[test]
    fn access_kinds() {
        let mut kernel = Kernel::new("k");
        let x = kernel.add_buffer("x", DType::I64, Access::Read);
        let i = kernel.add_var("i", DType::I64, 0, 9);
        let j = kernel.add_var("j", DType::I64, 0, 9);
        let t = kernel.add_var("t", DType::I64, 0, 9);
        let u = kernel.add_var("u", DType::I64, 0, 9);
        let body = vec![Stmt::Let(t, Expr::Load(x, j.index())), Stmt::Let(u, Expr::Load(BufferRef(0), i.index()))];
        let varying = Varying::new(j, &body);
        assert_eq!(varying.access(&(i.index() * 4 + u.index())), AccessKind::Uniform);
        assert_eq!(varying.access(&(i.index() * 4 + j.index())), AccessKind::Contiguous);
        assert_eq!(varying.access(&(i.index() * j.index())), AccessKind::Strided(i.index()));
        assert_eq!(varying.access(&(t.index() + j.index())), AccessKind::Gather);
        assert_eq!(varying.access(&j.index().floor_div(&Index::from(2))), AccessKind::Gather);
        assert!(varying.expr(&Expr::Var(t)) && !varying.expr(&Expr::Var(u)));
        assert_eq!((i.index() * 10 + j.index()).bounds(&Ranges::new(&kernel)), (0, 99));
    }
}

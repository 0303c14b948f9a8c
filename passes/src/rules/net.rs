//! The e-graph as rules see it: matching terms, and adding new ones with the obvious already simplified.
//!
//! Invariant: [`Net::add`] refuses operands that do not fit the operation, so a rule may propose freely; every class
//! holds terms of one type.

use super::facts::{Facts, Tables};
use super::groups::same_but_units;
use super::language::{Head, Term};
use crate::fold_constants::{Known, evaluate_op};
use egg::{EGraph, Id};
use nnc_ir::infer::infer;
use nnc_ir::op::{BinaryOp, Op, UnaryOp};
use nnc_ir::{DType, Dim, Tensor, TensorType};
use std::sync::Arc;

/// Constants up to this many elements are computed while rewriting, so that rules see their values.
const EAGER_ELEMENTS: usize = 1024;

/// An e-graph over core operations.
pub struct Net {
    /// The e-graph.
    pub egraph: EGraph<Term, Tables>,
}

impl Net {
    /// What is known of a class.
    pub fn facts(&self, id: Id) -> &Facts {
        &self.egraph[id].data
    }

    /// The type of a class.
    pub fn ty(&self, id: Id) -> Arc<TensorType> {
        self.facts(id).ty.clone()
    }

    /// The shape of a class.
    pub fn shape(&self, id: Id) -> Vec<Dim> {
        self.facts(id).ty.shape.clone()
    }

    /// The element type of a class.
    pub fn dtype(&self, id: Id) -> DType {
        self.facts(id).ty.dtype
    }

    /// The value that every element has, if there is one.
    pub fn splat(&self, id: Id) -> Option<f64> {
        self.facts(id).splat
    }

    /// Whether every element is known to be this value.
    pub fn is_splat(&self, id: Id, value: f64) -> bool {
        self.splat(id) == Some(value)
    }

    /// Whether the class depends on constants alone.
    pub fn is_known(&self, id: Id) -> bool {
        self.facts(id).known != Known::No
    }

    /// The data of a class that is a constant already.
    pub fn constant(&self, id: Id) -> Option<&Tensor> {
        self.facts(id).constant.map(|c| self.egraph.analysis.consts.get(c))
    }

    /// What `pick` says of the terms of a class, in a fixed order.
    pub fn pick<R>(&self, id: Id, mut pick: impl FnMut(&Op, &[Id]) -> Option<R>) -> Vec<R> {
        let heads = &self.egraph.analysis.heads;
        let term = |term: &Term| match &**heads.get(term.head) {
            Head::Op(op) => pick(op, &term.args),
            Head::Value(_) => None,
        };
        self.egraph[id].iter().filter_map(term).collect()
    }

    /// The first of [`Net::pick`].
    pub fn pick_one<R>(&self, id: Id, pick: impl FnMut(&Op, &[Id]) -> Option<R>) -> Option<R> {
        self.pick(id, pick).into_iter().next()
    }

    /// Whether two ids name one class.
    pub fn equal(&self, a: Id, b: Id) -> bool {
        self.egraph.find(a) == self.egraph.find(b)
    }

    /// The class of a term, made if need be; `None` when the operands do not fit.
    pub fn add(&mut self, op: Op, args: &[Id]) -> Option<Id> {
        let args: Vec<Id> = args.iter().map(|&id| self.egraph.find(id)).collect();
        let head = self.egraph.analysis.heads.intern(Head::Op(op.clone()));
        let term = Term { head, args: args.clone().into() };
        if let Some(id) = self.egraph.lookup(term.clone()) {
            return Some(id);
        }
        let types: Vec<Arc<TensorType>> = args.iter().map(|&id| self.ty(id)).collect();
        let types: Vec<&TensorType> = types.iter().map(|ty| &**ty).collect();
        let result = infer(&op, &types, &self.egraph.analysis.consts).ok()?;
        if result.len() != 1 {
            return None;
        }
        if !matches!(op, Op::Constant(_))
            && let Some(tensor) = self.fold(&op, &args, &result[0])
        {
            return Some(self.tensor(tensor));
        }
        Some(self.egraph.add(term))
    }

    /// The result of an operation over small constants.
    pub fn fold(&self, op: &Op, args: &[Id], result: &TensorType) -> Option<Tensor> {
        let small = |ty: &TensorType| {
            let count = ty.static_shape()?.iter().try_fold(1usize, |n, &d| n.checked_mul(d))?;
            (count <= EAGER_ELEMENTS).then_some(())
        };
        small(result)?;
        let operands = args.iter().map(|&id| {
            small(&self.facts(id).ty)?;
            self.constant(id).cloned()
        });
        let operands: Vec<Tensor> = operands.collect::<Option<_>>()?;
        let known = args.iter().map(|&id| (self.facts(id).known, &*self.facts(id).ty));
        match crate::fold_constants::known(op, known, result, &self.egraph.analysis.consts) {
            Known::Folded(_) => evaluate_op(op, &operands, &self.egraph.analysis.consts),
            _ => None,
        }
    }

    /// The class of a constant.
    pub fn tensor(&mut self, tensor: Tensor) -> Id {
        let id = self.egraph.analysis.consts.add(tensor);
        let head = self.egraph.analysis.heads.intern(Head::Op(Op::Constant(id)));
        self.egraph.add(Term { head, args: [].into() })
    }

    /// A constant that fills a shape.
    pub fn full(&mut self, dtype: DType, value: f64, shape: Vec<Dim>) -> Option<Id> {
        let scalar = self.tensor(Tensor::scalar_of(dtype, value));
        self.broadcast(scalar, shape, vec![])
    }

    /// `f(x)`.
    pub fn unary(&mut self, f: UnaryOp, x: Id) -> Option<Id> {
        self.add(Op::Unary(f), &[x])
    }

    /// `f(x, y)`.
    pub fn binary(&mut self, f: BinaryOp, x: Id, y: Id) -> Option<Id> {
        self.add(Op::Binary(f), &[x, y])
    }

    /// `x` in another shape. A reshape of a reshape is one reshape of its operand.
    pub fn reshape(&mut self, x: Id, shape: Vec<Dim>) -> Option<Id> {
        if self.facts(x).ty.shape == shape {
            return Some(x);
        }
        let inner = |op: &Op, args: &[Id]| matches!(op, Op::Reshape { .. }).then(|| args[0]);
        match self.pick_one(x, inner) {
            Some(inner) if self.facts(inner).ty.shape == shape => Some(inner),
            _ => self.add(Op::Reshape { shape }, &[x]),
        }
    }

    /// `x` with its axes reordered. A transpose of a transpose is one transpose of its operand.
    pub fn transpose(&mut self, x: Id, perm: Vec<usize>) -> Option<Id> {
        if is_identity(&perm) {
            return Some(x);
        }
        let inner = |op: &Op, args: &[Id]| match op {
            Op::Transpose { perm } => Some((perm.clone(), args[0])),
            _ => None,
        };
        for (first, inner) in self.pick(x, inner) {
            if first.len() == perm.len() && is_identity(&compose(&first, &perm)) {
                return Some(inner);
            }
        }
        self.add(Op::Transpose { perm }, &[x])
    }

    /// `x` spread over a shape.
    pub fn broadcast(&mut self, x: Id, shape: Vec<Dim>, axes: Vec<usize>) -> Option<Id> {
        if is_identity(&axes) && self.facts(x).ty.shape == shape {
            return Some(x);
        }
        self.add(Op::Broadcast { shape, axes }, &[x])
    }

    /// The broadcasts in a class: operand and axes.
    pub fn broadcasts(&self, id: Id) -> Vec<(Id, Vec<usize>)> {
        self.pick(id, |op, args| match op {
            Op::Broadcast { axes, .. } => Some((args[0], axes.clone())),
            _ => None,
        })
    }

    /// The transposes in a class: operand and permutation. Those that move only unit axes are left out, for they are
    /// reshapes, and of those that differ in unit axes alone there is one: following all would multiply the terms.
    pub fn transposes(&self, id: Id) -> Vec<(Id, Vec<usize>)> {
        let all = self.pick(id, |op, args| match op {
            Op::Transpose { perm } => Some((args[0], perm.clone())),
            _ => None,
        });
        let mut seen: Vec<Vec<usize>> = vec![];
        let mut distinct = vec![];
        for (x, perm) in all {
            let shape = &self.facts(x).ty.shape;
            let solid = |axis: &usize| shape.get(*axis).is_some_and(|d| !d.is_const(1));
            let moved: Vec<usize> =
                perm.iter().filter(|a| solid(a)).map(|&a| (0..a).filter(|b| solid(b)).count()).collect();
            if !moved.is_sorted() && !seen.contains(&moved) {
                seen.push(moved);
                distinct.push((x, perm));
            }
        }
        distinct
    }

    /// The reshapes in a class: their operands, one of those whose shapes differ in unit axes alone.
    pub fn reshapes(&self, id: Id) -> Vec<Id> {
        let mut distinct: Vec<Id> = vec![];
        for x in self.pick(id, |op, args| matches!(op, Op::Reshape { .. }).then(|| args[0])) {
            let shape = &self.facts(x).ty.shape;
            if !distinct.iter().any(|&other| same_but_units(&self.facts(other).ty.shape, shape)) {
                distinct.push(x);
            }
        }
        distinct
    }

    /// All reshapes in a class: their operands.
    pub fn all_reshapes(&self, id: Id) -> Vec<Id> {
        self.pick(id, |op, args| matches!(op, Op::Reshape { .. }).then(|| args[0]))
    }
}

/// Whether a list counts up from 0.
pub fn is_identity(perm: &[usize]) -> bool {
    perm.iter().enumerate().all(|(i, &p)| i == p)
}

/// The transpose that does `first` and then `second`.
pub fn compose(first: &[usize], second: &[usize]) -> Vec<usize> {
    second.iter().map(|&axis| first[axis]).collect()
}

/// The transpose that undoes one.
pub fn inverse(perm: &[usize]) -> Vec<usize> {
    let mut inverse = vec![0; perm.len()];
    for (i, &p) in perm.iter().enumerate() {
        inverse[p] = i;
    }
    inverse
}

//! What the e-graph knows of each class: type, constant value, whether it can be folded.
//!
//! Constants stay in the pool and are named by id; large ones are never computed here. A class all of whose leaves
//! are constants is *known*: it costs nothing, for `fold_constants` evaluates what extraction keeps of it. A broadcast
//! of a constant that would be much larger than the constant is known *virtually*: it stays an operation, but folding
//! may look through it.

use super::language::{Head, HeadId, Heads, Term};
use super::range::{Interval, Magnitudes};
use crate::fold_constants::{Known, known};
use egg::{Analysis, DidMerge, EGraph, Id};
use nnc_ir::infer::infer;
use nnc_ir::op::Op;
use nnc_ir::{ConstId, ConstPool, DType, DimTable, TensorType};
use rustc_hash::FxHashMap;
use std::cell::RefCell;
use std::sync::Arc;

/// Facts of one class.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Type of every term of the class.
    pub ty: Arc<TensorType>,
    /// The constant it is.
    pub constant: Option<ConstId>,
    /// Whether all its leaves are constants.
    pub known: Known,
    /// The value every element has, exactly.
    pub splat: Option<f64>,
    /// Whether a discrete operation sees it.
    pub discrete: bool,
    /// Index of the node it came from, for messages.
    pub origin: Option<u32>,
}

/// The analysis: tables that all classes share.
#[derive(Debug, Default)]
pub struct Tables {
    /// Operations by number.
    pub heads: Heads,
    /// Constants.
    pub consts: ConstPool,
    /// Symbols.
    pub dims: DimTable,
    /// Types of leaves.
    pub leaves: FxHashMap<HeadId, Arc<TensorType>>,
    /// The single value of constants that have one.
    splats: FxHashMap<ConstId, Option<f64>>,
    /// What the elements of constants lie within.
    pub intervals: RefCell<FxHashMap<ConstId, Interval>>,
    /// The magnitudes of the elements of constants.
    pub magnitudes: FxHashMap<ConstId, Option<Magnitudes>>,
    /// Given to classes made from now on.
    pub origin: Option<u32>,
    /// Whether classes made from now on are discrete.
    pub discrete: bool,
    /// Classes that a rule rounded differently.
    pub rounded: Vec<Id>,
    /// Classes made or changed since this was last emptied.
    pub changed: Vec<Id>,
    /// Two types met in one class: some rule is wrong and the rewriting is to be thrown away.
    pub conflict: bool,
}

impl Tables {
    /// Tables of an e-graph without terms.
    pub fn new(consts: ConstPool, dims: DimTable) -> Tables {
        Tables { consts, dims, ..Tables::default() }
    }

    /// The value every element of a constant has, when a double holds it exactly.
    pub fn splat_of(&mut self, id: ConstId) -> Option<f64> {
        let consts = &self.consts;
        *self.splats.entry(id).or_insert_with(|| {
            let tensor = consts.get(id);
            let value = tensor.splat()?;
            let wide = matches!(tensor.dtype, DType::I64 | DType::U64);
            // -0.0 stands for itself only: rules that compare with 0 would take it for 0.
            let exact = (!wide || value.abs() < 9e15) && !(value == 0.0 && value.is_sign_negative());
            exact.then_some(value)
        })
    }
}

impl Analysis<Term> for Tables {
    type Data = Facts;

    fn make(egraph: &mut EGraph<Term, Tables>, term: &Term, _: Id) -> Facts {
        let head = egraph.analysis.heads.get(term.head).clone();
        let origin = egraph.analysis.origin;
        let discrete = egraph.analysis.discrete;
        let unknown = |ty| Facts { ty, constant: None, known: Known::No, splat: None, discrete, origin };
        let Head::Op(op) = &*head else {
            let ty = egraph.analysis.leaves.get(&term.head).cloned();
            return unknown(ty.unwrap_or_else(|| Arc::new(TensorType::new(DType::Bool, vec![]))));
        };
        let args: Vec<Facts> = term.args.iter().map(|&id| egraph[id].data.clone()).collect();
        let types: Vec<&TensorType> = args.iter().map(|a| &*a.ty).collect();
        // `Net::add` has checked that the operands fit.
        let Some(ty) = infer(op, &types, &egraph.analysis.consts).ok().and_then(|mut types| types.pop()) else {
            egraph.analysis.conflict = true;
            return unknown(Arc::new(TensorType::new(DType::Bool, vec![])));
        };
        let mut facts = unknown(Arc::new(ty));
        facts.known = known(op, args.iter().map(|a| (a.known, &*a.ty)), &facts.ty, &egraph.analysis.consts);
        match op {
            Op::Constant(id) => {
                facts.constant = Some(*id);
                facts.splat = egraph.analysis.splat_of(*id);
            }
            Op::Broadcast { .. } | Op::Reshape { .. } | Op::Transpose { .. } | Op::Slice { .. } => {
                facts.splat = args[0].splat;
            }
            _ => {}
        }
        facts
    }

    fn merge(&mut self, a: &mut Facts, b: Facts) -> DidMerge {
        if a.ty != b.ty {
            self.conflict = true;
        }
        let (was, other) = ((a.constant, a.known, a.splat), (b.constant, b.known, b.splat));
        a.constant = a.constant.or(b.constant);
        a.known = a.known.max(b.known);
        a.splat = a.splat.or(b.splat);
        a.discrete |= b.discrete;
        a.origin = a.origin.or(b.origin);
        let now = (a.constant, a.known, a.splat);
        let gained = |old: (Option<ConstId>, Known, Option<f64>)| {
            old.0.is_none() && now.0.is_some() || old.1 < now.1 || old.2.is_none() && now.2.is_some()
        };
        DidMerge(gained(was), gained(other))
    }

    fn modify(egraph: &mut EGraph<Term, Tables>, id: Id) {
        egraph.analysis.changed.push(id);
    }
}

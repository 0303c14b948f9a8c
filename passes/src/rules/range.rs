//! Bounds of classes: of values computed when the model runs, and of constants.
//!
//! Bounds hold for every element that is not NaN. The answer is "unbounded" where nothing is known.

use super::net::Net;
use egg::Id;
use nnc_ir::op::{BinaryOp, Op, ReduceOp, UnaryOp};
use nnc_ir::{ConstId, DType, Dim, Tensor};

/// Operations looked through.
const DEPTH: u32 = 12;
/// Terms looked at for one answer: classes may hold many, and all their operands are looked at.
const TERMS: u32 = 1000;
/// Constants with more elements have no bounds where every element would be looked at each time.
const MOST: usize = 1 << 16;

/// A lower bound of every element.
pub fn at_least(net: &Net, id: Id) -> f64 {
    lower(net, id, DEPTH, &mut { TERMS })
}

fn lower(net: &Net, id: Id, depth: u32, left: &mut u32) -> f64 {
    const NOTHING: f64 = f64::NEG_INFINITY;
    if let Some(value) = net.splat(id) {
        return if value.is_nan() { NOTHING } else { value };
    }
    if let Some(tensor) = net.constant(id) {
        let least = |tensor: &Tensor| tensor.to_f64s().into_iter().fold(f64::INFINITY, f64::min);
        return if tensor.len() <= MOST { least(tensor) } else { NOTHING };
    }
    let Some(depth) = depth.checked_sub(1) else { return NOTHING };
    let terms = net.pick(id, |op, args| Some((op.clone(), args.to_vec())));
    terms.iter().map(|(op, args)| lower_of(net, op, args, depth, left)).fold(NOTHING, f64::max)
}

fn lower_of(net: &Net, op: &Op, args: &[Id], depth: u32, left: &mut u32) -> f64 {
    const NOTHING: f64 = f64::NEG_INFINITY;
    let Some(fewer) = left.checked_sub(1) else { return NOTHING };
    *left = fewer;
    let mut of = |i: usize| args.get(i).map_or(NOTHING, |&id| lower(net, id, depth, left));
    let if_positive = |bound: f64| if bound >= 0.0 { bound } else { NOTHING };
    match op {
        Op::Unary(UnaryOp::Abs) => of(0).max(0.0),
        Op::Unary(UnaryOp::Exp | UnaryOp::Sigmoid) => 0.0,
        Op::Unary(UnaryOp::Sqrt) => of(0).max(0.0).sqrt(),
        Op::Binary(BinaryOp::Add) => of(0) + of(1),
        Op::Binary(BinaryOp::Mul) if net.equal(args[0], args[1]) => 0.0,
        Op::Binary(BinaryOp::Mul) => if_positive(of(0)) * if_positive(of(1)).max(0.0),
        Op::Binary(BinaryOp::Div) if of(0) >= 0.0 && of(1) > 0.0 => 0.0,
        Op::Binary(BinaryOp::Pow) if net.is_splat(args[1], 2.0) => 0.0,
        Op::Binary(BinaryOp::Max) => of(0).max(of(1)),
        Op::Binary(BinaryOp::Min) => of(0).min(of(1)),
        Op::Select => of(1).min(of(2)),
        Op::Broadcast { .. } | Op::Reshape { .. } | Op::Transpose { .. } | Op::Slice { .. } => of(0),
        Op::Convert(DType::F32) => f64::from(of(0) as f32),
        Op::Convert(DType::F64) => of(0),
        Op::Reduce { op: ReduceOp::Sum, axes } if has_a_one(net, args[0], axes) => 1.0,
        Op::Reduce { op: ReduceOp::Sum, .. } | Op::Pool { op: ReduceOp::Sum, .. } if of(0) >= 0.0 => 0.0,
        Op::Reduce { op: ReduceOp::Min, .. } => of(0),
        Op::Reduce { op: ReduceOp::Max, axes } => {
            let shape = &net.facts(args[0]).ty.shape;
            let dims = &net.egraph.analysis.dims;
            let full = axes.iter().all(|&axis| shape[axis].provably_ge(&Dim::ONE, dims));
            if full { of(0) } else { NOTHING }
        }
        _ => NOTHING,
    }
}

/// Whether a class is `exp(x - max(x))`, as in softmax, with a maximum in each set over `axes`.
fn has_a_one(net: &Net, id: Id, axes: &[usize]) -> bool {
    let exponents = net.pick(id, |op, args| matches!(op, Op::Unary(UnaryOp::Exp)).then(|| args[0]));
    exponents.into_iter().any(|exponent| {
        let differences =
            net.pick(exponent, |op, args| matches!(op, Op::Binary(BinaryOp::Sub)).then(|| (args[0], args[1])));
        differences.into_iter().any(|(x, largest)| {
            net.broadcasts(largest).into_iter().any(|(row, places)| {
                let maxima = net.pick(row, |op, args| match op {
                    Op::Reduce { op: ReduceOp::Max, axes } => Some((args[0], axes.clone())),
                    _ => None,
                });
                maxima.into_iter().any(|(of, reduced)| {
                    let kept = (0..net.facts(of).ty.rank()).filter(|axis| !reduced.contains(axis));
                    net.equal(of, x) && kept.eq(places.iter().copied()) && reduced.iter().all(|a| axes.contains(a))
                })
            })
        })
    })
}

/// The magnitudes of the elements of a constant that are not 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Magnitudes {
    /// The least, infinity when all are 0.
    pub least: f64,
    /// The largest.
    pub most: f64,
}

impl Magnitudes {
    /// Those of a tensor; `None` when an element is not finite.
    pub fn of(tensor: &Tensor) -> Option<Magnitudes> {
        let mut found = Magnitudes { least: f64::INFINITY, most: 0.0 };
        for i in 0..tensor.len() {
            let value = tensor.get_f64(i).abs();
            if !value.is_finite() {
                return None;
            }
            if value != 0.0 {
                found = Magnitudes { least: found.least.min(value), most: found.most.max(value) };
            }
        }
        Some(found)
    }

    /// Whether all lie between two bounds, or are 0.
    pub fn within(self, least: f64, most: f64) -> bool {
        self.least >= least && self.most <= most
    }
}

/// The magnitudes of a known class; `None` when they are not known or not finite.
pub fn magnitudes(net: &mut Net, id: Id) -> Option<Magnitudes> {
    magnitudes_within(net, id, DEPTH, &mut { TERMS })
}

fn magnitudes_within(net: &mut Net, id: Id, depth: u32, left: &mut u32) -> Option<Magnitudes> {
    if let Some(constant) = net.facts(id).constant {
        return of_constant(net, constant);
    }
    let depth = depth.checked_sub(1)?;
    let terms = net.pick(id, |op, args| match op {
        Op::Broadcast { .. } | Op::Reshape { .. } | Op::Transpose { .. } | Op::Slice { .. } => {
            Some((false, args.to_vec()))
        }
        Op::Unary(UnaryOp::Neg | UnaryOp::Abs) => Some((false, args.to_vec())),
        Op::Binary(BinaryOp::Mul) => Some((true, args.to_vec())),
        _ => None,
    });
    for (product, args) in terms {
        *left = left.checked_sub(1)?;
        let Some(first) = magnitudes_within(net, args[0], depth, left) else { continue };
        if !product {
            return Some(first);
        }
        if let Some(second) = magnitudes_within(net, args[1], depth, left) {
            return Some(Magnitudes { least: first.least * second.least, most: first.most * second.most });
        }
    }
    None
}

fn of_constant(net: &mut Net, id: ConstId) -> Option<Magnitudes> {
    let tables = &mut net.egraph.analysis;
    let consts = &tables.consts;
    *tables.magnitudes.entry(id).or_insert_with(|| Magnitudes::of(consts.get(id)))
}

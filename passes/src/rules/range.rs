//! Bounds of classes: of values computed when the model runs, and of constants.
//!
//! An interval holds every element that is not NaN. What is not known is bounded by its type alone. Ends are in `f64`:
//! what a float operation yields is rounded as its type rounds, which is monotone, so that ends stay ends; ends of integers
//! that an `f64` does not hold exactly are taken to be the type's.
//!
//! Answers are computed when asked for, `DEPTH` operations deep. A fact found deeper than a rule looks does not make
//! saturation ask the rule again; what is missed that way is an opportunity.

use super::net::Net;
use egg::Id;
use nnc_ir::op::{BinaryOp, Op, PadMode, ReduceOp, UnaryOp};
use nnc_ir::{ConstId, DType, Dim, Tensor};

/// Operations looked through.
const DEPTH: u32 = 12;
/// Terms looked at for one answer: classes may hold many, and all their operands are looked at.
const TERMS: u32 = 1000;
/// Operands of a concatenation that are looked at.
const MOST_PARTS: usize = 64;
/// Constants with more elements have no bounds.
const MOST: usize = 1 << 16;

/// The least and the greatest of some numbers; the least is above the greatest when there are none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// No number is below.
    pub low: f64,
    /// No number is above.
    pub high: f64,
}

impl Interval {
    const ALL: Interval = Interval { low: f64::NEG_INFINITY, high: f64::INFINITY };

    fn new(low: f64, high: f64) -> Interval {
        let end = |value: f64, unknown: f64| if value.is_nan() { unknown } else { value };
        Interval { low: end(low, f64::NEG_INFINITY), high: end(high, f64::INFINITY) }
    }

    /// Of what a type holds.
    pub fn of_type(dtype: DType) -> Interval {
        let bits = dtype.size() as i32 * 8;
        match dtype {
            DType::Bool => Interval::new(0.0, 1.0),
            _ if dtype.is_float() => Interval::ALL,
            _ if dtype.is_signed() => Interval::new(-(2f64.powi(bits - 1)), 2f64.powi(bits - 1) - 1.0),
            _ => Interval::new(0.0, 2f64.powi(bits) - 1.0),
        }
    }

    /// Holding the numbers of either.
    fn union(self, other: Interval) -> Interval {
        Interval { low: self.low.min(other.low), high: self.high.max(other.high) }
    }

    /// Holding the numbers of both.
    fn both(self, other: Interval) -> Interval {
        Interval { low: self.low.max(other.low), high: self.high.min(other.high) }
    }

    /// With both ends changed by a function that does not decrease.
    fn map(self, f: impl Fn(f64) -> f64) -> Interval {
        Interval::new(f(self.low), f(self.high))
    }

    /// With both ends moved outward, by what rounding changes at most; what is beyond `most` may become infinite. No rounding
    /// changes a sign.
    fn spread(self, part: f64, step: f64, most: f64) -> Interval {
        let low = |end: f64| match end - (end.abs() * part + step) {
            _ if end < -most => f64::NEG_INFINITY,
            moved if end >= 0.0 => moved.clamp(0.0, most),
            moved => moved,
        };
        Interval { low: low(self.low), high: -low(-self.high) }
    }

    /// What an exact result within this becomes in a type: floats are rounded, integers beyond the type wrap.
    fn stored(self, dtype: DType) -> Interval {
        let all = Interval::of_type(dtype);
        match dtype {
            DType::F64 => self,
            DType::F32 => self.map(|value| f64::from(value as f32)),
            DType::F16 => self.spread(1.0 / 1024.0, 1e-7, 65_000.0),
            DType::BF16 => self.spread(1.0 / 128.0, 1e-40, 3e38),
            _ if self.low >= all.low && self.high <= all.high && self.low.abs().max(self.high.abs()) < EXACT => self,
            _ => all,
        }
    }
}

/// Integers below this are exact in `f64`.
const EXACT: f64 = (1u64 << 53) as f64;

/// A lower bound of every element.
pub fn at_least(net: &Net, id: Id) -> f64 {
    interval(net, id).low
}

/// What every element lies within, unless it is NaN.
pub fn interval(net: &Net, id: Id) -> Interval {
    within(net, id, DEPTH, &mut { TERMS })
}

fn within(net: &Net, id: Id, depth: u32, left: &mut u32) -> Interval {
    let dtype = net.dtype(id);
    let of_type = Interval::of_type(dtype);
    if let Some(value) = net.splat(id) {
        return Interval::new(value, value).both(of_type);
    }
    if let Some(constant) = net.facts(id).constant {
        let tables = &net.egraph.analysis;
        let tensor = tables.consts.get(constant);
        let known = || if tensor.len() <= MOST { of_tensor(tensor) } else { of_type };
        return *tables.intervals.borrow_mut().entry(constant).or_insert_with(known);
    }
    let Some(depth) = depth.checked_sub(1) else { return of_type };
    let terms = net.pick(id, |op, args| Some((op.clone(), args.to_vec())));
    terms.iter().fold(of_type, |found, (op, args)| match left.checked_sub(1) {
        Some(fewer) => {
            *left = fewer;
            found.both(of_term(net, op, args, dtype, depth, left))
        }
        None => found,
    })
}

fn of_tensor(tensor: &Tensor) -> Interval {
    let none = Interval { low: f64::INFINITY, high: f64::NEG_INFINITY };
    // `min` and `max` leave NaN out.
    let found = tensor.to_f64s().into_iter().fold(none, |i, v| Interval { low: i.low.min(v), high: i.high.max(v) });
    found.stored(tensor.dtype)
}

fn of_term(net: &Net, op: &Op, args: &[Id], dtype: DType, depth: u32, left: &mut u32) -> Interval {
    let mut of = |i: usize| args.get(i).map_or(Interval::ALL, |&id| within(net, id, depth, left));
    let unknown = Interval::ALL;
    match op {
        Op::Unary(f) => unary(*f, of(0)).stored(dtype),
        Op::Binary(BinaryOp::Mul) if net.equal(args[0], args[1]) => {
            let x = of(0);
            let most = x.low.abs().max(x.high.abs());
            Interval::new(0.0, most * most).stored(dtype)
        }
        Op::Binary(BinaryOp::Pow) if net.is_splat(args[1], 2.0) && dtype.is_float() => {
            Interval::new(0.0, f64::INFINITY)
        }
        // What is one of the operands, or closer to 0, needs no rounding and does not wrap.
        Op::Binary(f @ (BinaryOp::Max | BinaryOp::Min | BinaryOp::And | BinaryOp::Mod)) => {
            binary(*f, of(0), of(1)).unwrap_or(unknown)
        }
        Op::Binary(f) => binary(*f, of(0), of(1)).map_or(unknown, |exact| exact.stored(dtype)),
        Op::Select => of(1).union(of(2)),
        Op::Broadcast { .. } | Op::Reshape { .. } | Op::Transpose { .. } | Op::Slice { .. } => of(0),
        Op::Gather { .. } | Op::GatherElements { .. } | Op::GatherNd { .. } => of(0),
        Op::Pad { mode: PadMode::Constant, .. } => of(0).union(of(1)),
        Op::Pad { .. } => of(0),
        Op::Concat { .. } if args.len() <= MOST_PARTS => (1..args.len()).fold(of(0), |all, i| all.union(of(i))),
        Op::Iota { shape, axis, .. } => below(net, &shape[*axis]).stored(dtype),
        Op::ArgReduce { axis, .. } => below(net, &net.facts(args[0]).ty.shape[*axis]),
        Op::Dims { dims, .. } => {
            let ends = dims.iter().map(|d| d.bounds(&net.egraph.analysis.dims));
            ends.fold(None, |all: Option<Interval>, (low, high)| {
                let one = Interval::new(low as f64, high as f64).stored(dtype);
                Some(all.map_or(one, |all| all.union(one)))
            })
            .unwrap_or(unknown)
        }
        Op::Convert(to) => converted(of(0), net.dtype(args[0]), *to),
        Op::Reduce { op: ReduceOp::Sum, axes } if has_a_one(net, args[0], axes) => Interval::new(1.0, f64::INFINITY),
        Op::Reduce { op: ReduceOp::Sum, .. } | Op::Pool { op: ReduceOp::Sum, .. } if dtype.is_float() => {
            let x = of(0);
            let low = if x.low >= 0.0 { 0.0 } else { f64::NEG_INFINITY };
            Interval::new(low, if x.high <= 0.0 { 0.0 } else { f64::INFINITY })
        }
        Op::Reduce { op: ReduceOp::Min | ReduceOp::Max, axes } => {
            let shape = &net.facts(args[0]).ty.shape;
            let dims = &net.egraph.analysis.dims;
            let full = axes.iter().all(|&axis| shape[axis].provably_ge(&Dim::ONE, dims));
            if full { of(0) } else { unknown }
        }
        _ => unknown,
    }
}

/// Indices of an axis.
fn below(net: &Net, size: &Dim) -> Interval {
    let (_, most) = size.bounds(&net.egraph.analysis.dims);
    Interval::new(0.0, (most as f64 - 1.0).max(0.0))
}

fn unary(f: UnaryOp, x: Interval) -> Interval {
    use UnaryOp::*;
    let unit = Interval::new(-1.0, 1.0);
    match f {
        Neg => Interval::new(-x.high, -x.low),
        Abs if x.low >= 0.0 => x,
        Abs => Interval::new(0.0, x.low.abs().max(x.high.abs())),
        Sign => x.map(|v| if v == 0.0 { 0.0 } else { v.signum() }).both(unit),
        Floor => x.map(f64::floor),
        Ceil => x.map(f64::ceil),
        Round => x.map(f64::round_ties_even),
        Trunc => x.map(f64::trunc),
        Sqrt => x.map(|v| v.max(0.0).sqrt()),
        Exp => Interval::new(0.0, f64::INFINITY),
        Sigmoid => Interval::new(0.0, 1.0),
        Tanh | Erf | Sin | Cos => unit,
        IsNan | IsInf | Not => Interval::new(0.0, 1.0),
        _ => Interval::ALL,
    }
}

/// The exact results; `None` when nothing is known of them.
fn binary(f: BinaryOp, x: Interval, y: Interval) -> Option<Interval> {
    use BinaryOp::*;
    Some(match f {
        Add => Interval::new(x.low + y.low, x.high + y.high),
        Sub => Interval::new(x.low - y.high, x.high - y.low),
        Mul => {
            let ends = [x.low * y.low, x.low * y.high, x.high * y.low, x.high * y.high];
            // Zero times infinity: anything.
            if ends.iter().any(|end| end.is_nan()) {
                let positive = x.low >= 0.0 && y.low >= 0.0;
                return Some(Interval::new(if positive { 0.0 } else { f64::NAN }, f64::NAN));
            }
            ends.iter().fold(Interval::new(ends[0], ends[0]), |all, &end| all.union(Interval::new(end, end)))
        }
        Div if x.low >= 0.0 && y.low > 0.0 => Interval::new(0.0, x.high / y.low),
        Max => Interval::new(x.low.max(y.low), x.high.max(y.high)),
        Min => Interval::new(x.low.min(y.low), x.high.min(y.high)),
        Mod if y.low > 0.0 => Interval::new(0.0, y.high),
        And if x.low >= 0.0 && y.low >= 0.0 => Interval::new(0.0, x.high.min(y.high)),
        Eq | Ne | Lt | Le | Gt | Ge => Interval::new(0.0, 1.0),
        _ => return None,
    })
}

fn converted(x: Interval, from: DType, to: DType) -> Interval {
    let all = Interval::of_type(to);
    match (from.is_float(), to) {
        (_, DType::Bool) => all,
        (_, DType::F16 | DType::BF16 | DType::F32 | DType::F64) => x.stored(to),
        // Saturates; NaN becomes 0.
        (true, _) => x.map(f64::trunc).union(Interval::new(0.0, 0.0)).both(all).stored(to),
        (false, _) => x.stored(to),
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

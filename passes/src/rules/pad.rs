//! Explicit borders become the implicit borders of windows.

use super::net::Net;
use super::rule::{Rule, exact, exactly};
use super::saturate::Site;
use egg::Id;
use nnc_ir::op::{Op, PadMode, ReduceOp, Window};
use nnc_ir::{DType, Dim};

/// The rules.
pub const RULES: &[Rule] = &[
    exact("pad-nothing", "(pad:by ?x ?value) if no_border(by, x)", "?x"),
    exactly("pad-pad", 2, pad_pad),
    exactly("conv-pad", 2, conv_pad),
    exactly("pool-pad", 2, pool_pad),
];

/// Operand, value, sizes before, sizes after.
type Border = (Id, Id, Vec<Dim>, Vec<Dim>);

/// The constant borders of a class.
fn borders(net: &Net, id: Id) -> Vec<Border> {
    net.pick(id, |op, args| match op {
        Op::Pad { low, high, mode: PadMode::Constant } => Some((args[0], args[1], low.clone(), high.clone())),
        _ => None,
    })
}

fn pad_pad(net: &mut Net, site: &Site) -> Vec<Id> {
    let (Op::Pad { low, high, mode: PadMode::Constant }, &[x, value]) = (site.op, site.args) else { return vec![] };
    let mut found = vec![];
    for (inner, first, inner_low, inner_high) in borders(net, x) {
        if net.equal(first, value) {
            let sum = |a: &[Dim], b: &[Dim]| a.iter().zip(b).map(|(a, b)| a + b).collect();
            let op = Op::Pad { low: sum(low, &inner_low), high: sum(high, &inner_high), mode: PadMode::Constant };
            found.extend(net.add(op, &[inner, value]));
        }
    }
    found
}

/// The window with a border of `low` and `high` added; `None` when one is not constant or not of a spatial axis.
fn widen(window: &Window, low: &[Dim], high: &[Dim]) -> Option<Window> {
    let amount = |d: &Dim| d.as_const().and_then(|n| usize::try_from(n).ok());
    let low: Vec<usize> = low.iter().map(amount).collect::<Option<_>>()?;
    let high: Vec<usize> = high.iter().map(amount).collect::<Option<_>>()?;
    let rank = window.size.len();
    let outer = [low.first()?, high.first()?, low.get(rank + 1)?, high.get(rank + 1)?];
    if outer.iter().any(|&&n| n != 0) {
        return None;
    }
    let mut window = window.clone();
    for i in 0..rank {
        window.pad_low[i] = window.pad_low[i].checked_add(low[i + 1])?;
        window.pad_high[i] = window.pad_high[i].checked_add(high[i + 1])?;
    }
    Some(window)
}

fn conv_pad(net: &mut Net, site: &Site) -> Vec<Id> {
    let (Op::Conv { window, groups, out }, &[x, w]) = (site.op, site.args) else { return vec![] };
    let mut found = vec![];
    for (inner, value, low, high) in borders(net, x) {
        let window = widen(window, &low, &high).filter(|_| net.is_splat(value, 0.0));
        found.extend(window.and_then(|window| net.add(Op::Conv { window, groups: *groups, out: *out }, &[inner, w])));
    }
    found
}

fn pool_pad(net: &mut Net, site: &Site) -> Vec<Id> {
    let (Op::Pool { op, window }, &[x]) = (site.op, site.args) else { return vec![] };
    let neutral = match (op, net.dtype(x)) {
        (ReduceOp::Sum, _) => 0.0,
        (ReduceOp::Max, DType::F16 | DType::BF16 | DType::F32 | DType::F64) => f64::NEG_INFINITY,
        (ReduceOp::Min, DType::F16 | DType::BF16 | DType::F32 | DType::F64) => f64::INFINITY,
        (ReduceOp::Max, DType::U8 | DType::U16 | DType::U32 | DType::U64) => 0.0,
        _ => return vec![],
    };
    let mut found = vec![];
    for (inner, value, low, high) in borders(net, x) {
        let window = widen(window, &low, &high).filter(|_| net.is_splat(value, neutral));
        found.extend(window.and_then(|window| net.add(Op::Pool { op: *op, window }, &[inner])));
    }
    found
}
